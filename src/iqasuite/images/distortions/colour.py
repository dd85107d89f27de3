"""Colour differences, palettes, and channels that lie apart."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

from iqasuite.images.distortions.pixels import to_uint8
from iqasuite.pixel_values import RGB_TO_YCC

TO_YCC = np.array(RGB_TO_YCC, np.float32)
FROM_YCC = np.linalg.inv(TO_YCC.astype(np.float64)).astype(np.float32)


def colour_quantisation(image: np.ndarray, colours: float) -> np.ndarray:
    """A palette of as many `colours` (median cut), each pixel its nearest one."""
    return _in_palette(image, int(colours), Image.Dither.NONE)


def dithering(image: np.ndarray, colours: float) -> np.ndarray:
    """A palette of as many `colours` (median cut), errors diffused to the neighbours (Floyd and Steinberg)."""
    return _in_palette(image, int(colours), Image.Dither.FLOYDSTEINBERG)


def colour_diffusion(image: np.ndarray, sigma: float) -> np.ndarray:
    """Colour differences (Cb, Cr) blurred by a Gaussian of `sigma` pixels, luma as it is."""
    ycc = image @ TO_YCC.T
    ycc[..., 1:] = ndimage.gaussian_filter(ycc[..., 1:], (sigma, sigma, 0), mode="reflect")
    return to_uint8(ycc @ FROM_YCC.T)


def colour_cast(image: np.ndarray, shift: float, rng: np.random.Generator) -> np.ndarray:
    """Colour differences (Cb, Cr) moved by `shift` gray levels in a random direction."""
    hue = rng.uniform(0, 2 * np.pi)
    offset = shift * np.array([0, np.cos(hue), np.sin(hue)], np.float32)
    return to_uint8(image + offset @ FROM_YCC.T)


def saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """Colour differences (Cb, Cr) times `factor`: below 1 paler, above 1 louder."""
    ycc = image @ TO_YCC.T
    ycc[..., 1:] *= factor
    return to_uint8(ycc @ FROM_YCC.T)


def chromatic_aberration(image: np.ndarray, shift: float, rng: np.random.Generator) -> np.ndarray:
    """Red and blue moved by `shift` pixels in opposite directions along a row or a column."""
    axis, shift = int(rng.integers(2)), int(shift)
    moved = image.copy()
    for channel, by in ((0, shift), (2, -shift)):
        places = np.clip(np.arange(image.shape[axis]) - by, 0, image.shape[axis] - 1)
        moved[..., channel] = np.take(image[..., channel], places, axis=axis)
    return moved


def _in_palette(image: np.ndarray, colours: int, dither: Image.Dither) -> np.ndarray:
    pixels = Image.fromarray(image)
    small = pixels.reduce(max(1, min(pixels.size) // 128))  # median cut takes long; it needs no detail
    palette = small.quantize(colours, Image.Quantize.MEDIANCUT)
    return np.array(pixels.quantize(palette=palette, dither=dither).convert("RGB"))
