"""Blur and loss of resolution."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage, signal

from iqasuite.images.distortions.pixels import to_uint8


def gaussian_blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian low-pass of standard deviation `sigma` in pixels, borders mirrored."""
    return to_uint8(ndimage.gaussian_filter(image.astype(np.float64), (sigma, sigma, 0), mode="reflect"))


def motion_blur(image: np.ndarray, length: float, rng: np.random.Generator) -> np.ndarray:
    """Blur along a line of `length` pixels in a random direction."""
    angle = rng.uniform(0, np.pi)
    steps = np.linspace(-(length - 1) / 2, (length - 1) / 2, 8 * int(np.ceil(length)))
    radius = int(np.ceil(length / 2)) + 1
    kernel = np.zeros((2 * radius + 1,) * 2)
    y, x = radius + steps * np.sin(angle), radius + steps * np.cos(angle)
    for dy in (0, 1):  # each sample shared out to its four neighbours
        for dx in (0, 1):
            weights = np.abs(1 - dy - y % 1) * np.abs(1 - dx - x % 1)
            np.add.at(kernel, (np.floor(y).astype(int) + dy, np.floor(x).astype(int) + dx), weights)
    return _filtered(image, kernel / kernel.sum())


def lens_blur(image: np.ndarray, radius: float) -> np.ndarray:
    """Blur by a disc of `radius` pixels, as of a lens out of focus."""
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.clip(radius + 0.5 - np.hypot(y, x), 0, 1)  # the rim in part
    return _filtered(image, disc / disc.sum())


def resolution_loss(image: np.ndarray, factor: float) -> np.ndarray:
    """The image shrunk by `factor` on each side (anti-aliased bicubic) and brought back to its size (bicubic)."""
    return _shrunk_and_enlarged(image, factor, Image.Resampling.BICUBIC, Image.Resampling.BICUBIC)


def pixelation(image: np.ndarray, side: float) -> np.ndarray:
    """Mean colours of squares of `side` pixels."""
    return _shrunk_and_enlarged(image, side, Image.Resampling.BOX, Image.Resampling.NEAREST)


def _shrunk_and_enlarged(
    image: np.ndarray, factor: float, shrinking: Image.Resampling, enlarging: Image.Resampling
) -> np.ndarray:
    height, width = image.shape[:2]
    small = (max(1, round(width / factor)), max(1, round(height / factor)))
    return np.array(Image.fromarray(image).resize(small, shrinking).resize((width, height), enlarging))


def _filtered(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    reach = kernel.shape[0] // 2
    padded = np.pad(image.astype(np.float32), ((reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    return to_uint8(signal.oaconvolve(padded, kernel.astype(np.float32)[..., None], mode="valid", axes=(0, 1)))
