"""The kinds of distortion of the large databases, made anew, and two of today: 36 kinds, five levels, mild to strong.

After the lists of TID2013 and KADID-10k, with those of `images.distortions`, AVIF and what streaming does to pictures;
none of their code or images. Images are uint8 RGB arrays (H, W, 3) in and out, 16 pixels or more a side.
`KINDS[kind](image, level, rng)` makes a level; with generators in the same state the same places are hit at every
level, so that levels differ in strength only. The mean squared error grows with the level; in a picture that repeats
itself not always under `chromatic_aberration`.

References: N. Ponomarenko et al., "Image database TID2013", Signal Processing: Image Communication 30, 2015; H. Lin,
V. Hosu, D. Saupe, "KADID-10k: A Large-scale Artificially Distorted IQA Database", QoMEX 2019.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from PIL import Image
from scipy import fft, ndimage, signal

from iqasuite.errors import InputError
from iqasuite.images.distortions import LEVELS as FIRST_LEVELS
from iqasuite.images.distortions import gaussian_blur, jpeg, resolution_loss, white_noise

SMALLEST = 16  # pixels a side
N_LEVELS = 5

# What the five strengths are is said by the function of the same kind.
LEVELS: dict[str, tuple[float, ...]] = {
    "jpeg": (75, 45, 25, 14, 7),
    **FIRST_LEVELS,
    "motion_blur": (3, 5, 9, 15, 25),
    "lens_blur": (0.9, 1.5, 2.4, 3.9, 6.3),
    "jpeg2000": (8, 16, 32, 64, 128),
    "webp": (70, 40, 20, 8, 1),
    "avif": (70, 50, 32, 17, 3),
    "streaming": (1.3, 1.9, 2.8, 4.2, 6.5),
    "sparse_sampling": (20, 12, 7, 4, 2),
    "ringing": (0.6, 0.42, 0.3, 0.2, 0.12),
    "pixelation": (2, 3, 4, 6, 9),
    "jitter": (0.4, 0.8, 1.4, 2.4, 4.0),
    "impulse_noise": (0.002, 0.007, 0.02, 0.06, 0.15),
    "multiplicative_noise": (0.04, 0.08, 0.14, 0.24, 0.4),
    "colour_noise": (7, 14, 24, 40, 65),
    "correlated_noise": (4, 8, 13, 21, 34),
    "high_frequency_noise": (6, 11, 19, 32, 52),
    "denoising": (8, 15, 25, 40, 60),
    "brightening": (1.12, 1.3, 1.55, 1.95, 2.6),
    "darkening": (1.12, 1.3, 1.55, 1.95, 2.6),
    "mean_shift": (8, 16, 28, 45, 70),
    "contrast_loss": (0.85, 0.7, 0.53, 0.36, 0.2),
    "contrast_gain": (1.15, 1.35, 1.65, 2.1, 3.0),
    "quantisation": (24, 16, 10, 7, 4),
    "colour_quantisation": (64, 32, 16, 9, 5),
    "dithering": (64, 32, 16, 9, 5),
    "colour_diffusion": (2, 4, 7, 12, 20),
    "colour_cast": (6, 12, 20, 32, 50),
    "desaturation": (0.75, 0.55, 0.35, 0.17, 0.0),
    "oversaturation": (1.3, 1.7, 2.2, 3.0, 4.5),
    "chromatic_aberration": (1, 2, 3, 5, 8),
    "sharpening": (0.7, 1.5, 2.8, 5.0, 9.0),
    "patch_shift": (8, 16, 32, 60, 110),
    "colour_blocks": (2, 4, 8, 14, 24),
}

# BT.601 with full range, as in JPEG files: rows are Y, Cb, Cr.
_TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)
_FROM_YCC = np.linalg.inv(_TO_YCC.astype(np.float64)).astype(np.float32)


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


def jpeg2000(image: np.ndarray, ratio: float) -> np.ndarray:
    """JPEG 2000 (OpenJPEG, irreversible wavelets) at a compression ratio.

    Raises:
        InputError: Pillow was built without OpenJPEG.
    """
    resolutions = int(np.clip(np.log2(min(image.shape[:2])) - 2, 1, 6))
    return _recoded(
        image, "JPEG2000", irreversible=True, quality_mode="rates", quality_layers=[ratio], num_resolutions=resolutions
    )


def webp(image: np.ndarray, quality: float) -> np.ndarray:
    """WebP (lossy) at a quality from 0 to 100.

    Raises:
        InputError: Pillow was built without WebP.
    """
    return _recoded(image, "WEBP", quality=int(quality), method=2)


def avif(image: np.ndarray, quality: float) -> np.ndarray:
    """AVIF (stills of AV1, close to those of H.265) at a quality from 0 to 100.

    Raises:
        InputError: Pillow was built without AVIF.
    """
    return _recoded(image, "AVIF", quality=int(quality), speed=8, max_threads=1)


def streaming(image: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    """What adaptive streaming does: shrunk by `factor`, compressed there at a random AVIF quality of 15–75, enlarged.

    Raises:
        InputError: as `avif`.
    """
    height, width = image.shape[:2]
    small = (max(SMALLEST, round(width / factor)), max(SMALLEST, round(height / factor)))
    sent = avif(np.array(Image.fromarray(image).resize(small, Image.Resampling.BICUBIC)), int(rng.integers(15, 76)))
    return np.array(Image.fromarray(sent).resize((width, height), Image.Resampling.BICUBIC))


def sparse_sampling(image: np.ndarray, kept: float) -> np.ndarray:
    """Rebuilt from the `kept` largest of the 64 DCT coefficients of each 8×8 block and channel."""
    blocks, shape = _blocks(image, 8)
    spectrum = fft.dctn(blocks, axes=(1, 3), norm="ortho")
    size = np.abs(spectrum).transpose(0, 2, 4, 1, 3).reshape(*(blocks.shape[i] for i in (0, 2, 4)), 64)
    least = np.partition(size, 64 - int(kept), axis=-1)[..., 64 - int(kept)]
    spectrum[np.abs(spectrum) < least[:, None, :, None, :]] = 0
    return _to_uint8(_from_blocks(fft.idctn(spectrum, axes=(1, 3), norm="ortho"), shape))


def ringing(image: np.ndarray, share: float) -> np.ndarray:
    """All frequencies above a `share` of the highest cut off, in each direction: edges ring."""
    height, width = image.shape[:2]
    spectrum = fft.dctn(image.astype(np.float32), axes=(0, 1), norm="ortho")
    high = np.hypot(np.arange(height)[:, None] / height, np.arange(width) / width) > share
    spectrum[high] = 0
    return _to_uint8(fft.idctn(spectrum, axes=(0, 1), norm="ortho"))


def pixelation(image: np.ndarray, side: float) -> np.ndarray:
    """Mean colours of squares of `side` pixels."""
    height, width = image.shape[:2]
    small = (max(1, round(width / side)), max(1, round(height / side)))
    picture = Image.fromarray(image).resize(small, Image.Resampling.BOX)
    return np.array(picture.resize((width, height), Image.Resampling.NEAREST))


def jitter(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Each pixel taken from a place nearby, normally distributed with `sigma` pixels in both directions."""
    height, width = image.shape[:2]
    dy, dx = np.rint(sigma * rng.standard_normal((2, height, width), dtype=np.float32)).astype(np.int32)
    rows = np.clip(np.arange(height)[:, None] + dy, 0, height - 1)
    columns = np.clip(np.arange(width) + dx, 0, width - 1)
    return image[rows, columns]


def impulse_noise(image: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """A `share` of all values becomes 0 or 255, each channel by itself."""
    draw = rng.random(image.shape, dtype=np.float32)
    extreme = np.where(rng.random(image.shape, dtype=np.float32) < 0.5, 0, 255).astype(np.uint8)
    return np.where(draw < share, extreme, image)


def multiplicative_noise(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Each value times 1 + noise of standard deviation `sigma` (speckle)."""
    return _to_uint8(image * (1 + sigma * rng.standard_normal(image.shape, dtype=np.float32)))


def colour_noise(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """White noise in the two colour differences (Cb, Cr), `sigma` in gray levels, and a fifth of it in luma."""
    noise = sigma * rng.standard_normal(image.shape, dtype=np.float32) * np.array([0.2, 1, 1], np.float32)
    return _to_uint8(image + noise @ _FROM_YCC.T)


def correlated_noise(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Noise whose neighbours are alike (Gaussian, σ 1.5 pixels), of standard deviation `sigma` in gray levels."""
    noise = ndimage.gaussian_filter(rng.standard_normal(image.shape, dtype=np.float32), (1.5, 1.5, 0), mode="wrap")
    return _to_uint8(image + sigma * noise / noise.std())


def high_frequency_noise(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Noise without its low frequencies, of standard deviation `sigma` in gray levels."""
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    noise -= ndimage.gaussian_filter(noise, (1.0, 1.0, 0), mode="wrap")
    return _to_uint8(image + sigma * noise / noise.std())


def denoising(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """White noise of `sigma` gray levels, then taken out by a local Wiener filter (9×9), fine detail with it.

    Reference: J.-S. Lee, "Digital image enhancement and noise filtering by use of local statistics", IEEE PAMI 2, 1980.
    """
    noisy = image + sigma * rng.standard_normal(image.shape, dtype=np.float32)
    mean = ndimage.uniform_filter(noisy, (9, 9, 1), mode="reflect")
    variance = ndimage.uniform_filter((noisy - mean) ** 2, (9, 9, 1), mode="reflect")
    kept = np.clip(1 - 1.3 * sigma**2 / np.maximum(variance, 1e-6), 0, 1)  # 1.3: the noise's variance varies itself
    return _to_uint8(mean + kept * (noisy - mean))


def brightening(image: np.ndarray, exponent: float) -> np.ndarray:
    """Values in [0, 1] raised to 1 / `exponent`."""
    return _mapped(image, lambda v: v ** (1 / exponent))


def darkening(image: np.ndarray, exponent: float) -> np.ndarray:
    """Values in [0, 1] raised to `exponent`."""
    return _mapped(image, lambda v: v**exponent)


def mean_shift(image: np.ndarray, shift: float, rng: np.random.Generator) -> np.ndarray:
    """All values `shift` gray levels up or down."""
    return _to_uint8(image.astype(np.float32) + shift * rng.choice([-1, 1]))


def contrast_loss(image: np.ndarray, factor: float) -> np.ndarray:
    """Distances from the image's mean colour times a `factor` below 1."""
    mean = image.mean(axis=(0, 1), dtype=np.float32)
    return _to_uint8(mean + factor * (image - mean))


def contrast_gain(image: np.ndarray, steepness: float) -> np.ndarray:
    """Values through an S-shaped curve that is `steepness` times as steep as the identity in the middle."""
    k = steepness
    for _ in range(100):  # the curve's slope in the middle is k / tanh(k)
        k = steepness * np.tanh(k)
    return _mapped(image, lambda v: 0.5 + 0.5 * np.tanh(k * (2 * v - 1)) / np.tanh(k))


def quantisation(image: np.ndarray, levels: float) -> np.ndarray:
    """Values rounded to as many evenly spaced `levels` a channel."""
    return _mapped(image, lambda v: np.rint(v * (levels - 1)) / (levels - 1))


def colour_quantisation(image: np.ndarray, colours: float) -> np.ndarray:
    """A palette of as many `colours` (median cut), each pixel its nearest one."""
    return _in_palette(image, int(colours), Image.Dither.NONE)


def dithering(image: np.ndarray, colours: float) -> np.ndarray:
    """A palette of as many `colours` (median cut), errors diffused to the neighbours (Floyd and Steinberg)."""
    return _in_palette(image, int(colours), Image.Dither.FLOYDSTEINBERG)


def colour_diffusion(image: np.ndarray, sigma: float) -> np.ndarray:
    """Colour differences (Cb, Cr) blurred by a Gaussian of `sigma` pixels, luma as it is."""
    ycc = image @ _TO_YCC.T
    ycc[..., 1:] = ndimage.gaussian_filter(ycc[..., 1:], (sigma, sigma, 0), mode="reflect")
    return _to_uint8(ycc @ _FROM_YCC.T)


def colour_cast(image: np.ndarray, shift: float, rng: np.random.Generator) -> np.ndarray:
    """Colour differences (Cb, Cr) moved by `shift` gray levels in a random direction."""
    hue = rng.uniform(0, 2 * np.pi)
    offset = shift * np.array([0, np.cos(hue), np.sin(hue)], np.float32)
    return _to_uint8(image + offset @ _FROM_YCC.T)


def saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """Colour differences (Cb, Cr) times `factor`: below 1 paler, above 1 louder."""
    ycc = image @ _TO_YCC.T
    ycc[..., 1:] *= factor
    return _to_uint8(ycc @ _FROM_YCC.T)


def chromatic_aberration(image: np.ndarray, shift: float, rng: np.random.Generator) -> np.ndarray:
    """Red and blue moved by `shift` pixels in opposite directions along a row or a column."""
    axis, shift = int(rng.integers(2)), int(shift)
    moved = image.copy()
    for channel, by in ((0, shift), (2, -shift)):
        places = np.clip(np.arange(image.shape[axis]) - by, 0, image.shape[axis] - 1)
        moved[..., channel] = np.take(image[..., channel], places, axis=axis)
    return moved


def sharpening(image: np.ndarray, amount: float) -> np.ndarray:
    """What a Gaussian of 1.5 pixels takes away added `amount` times (unsharp mask)."""
    values = image.astype(np.float32)
    return _to_uint8(values + amount * (values - ndimage.gaussian_filter(values, (1.5, 1.5, 0), mode="reflect")))


def patch_shift(image: np.ndarray, n: float, rng: np.random.Generator) -> np.ndarray:
    """`n` small squares (a sixteenth of the shorter side) replaced by what is beside them (non-eccentric patterns)."""
    height, width = image.shape[:2]
    side = max(2, min(height, width) // 16)
    changed = image.copy()
    for _ in range(int(n)):
        top, left = (int(rng.integers(end - side + 1)) for end in (height, width))
        dy, dx = rng.integers(-side, side + 1, 2)
        y, x = (int(np.clip(v, 0, end - side)) for v, end in ((top + dy, height), (left + dx, width)))
        changed[top : top + side, left : left + side] = image[y : y + side, x : x + side]
    return changed


def colour_blocks(image: np.ndarray, n: float, rng: np.random.Generator) -> np.ndarray:
    """`n` squares (a sixteenth of the shorter side) of one random colour each."""
    height, width = image.shape[:2]
    side = max(2, min(height, width) // 16)
    changed = image.copy()
    for _ in range(int(n)):
        top, left = (int(rng.integers(end - side + 1)) for end in (height, width))
        changed[top : top + side, left : left + side] = rng.integers(0, 256, 3)
    return changed


def _without_chance(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda image, strength, rng: function(image, strength)


_FUNCTIONS: dict[str, Callable[[np.ndarray, float, np.random.Generator], np.ndarray]] = {
    **{
        f.__name__: _without_chance(f)
        for f in (
            jpeg,
            lens_blur,
            jpeg2000,
            webp,
            avif,
            sparse_sampling,
            ringing,
            pixelation,
            brightening,
            darkening,
            contrast_loss,
            contrast_gain,
            quantisation,
            colour_quantisation,
            dithering,
            colour_diffusion,
            sharpening,
        )
    },
    **{
        f.__name__: f
        for f in (
            motion_blur,
            streaming,
            jitter,
            impulse_noise,
            multiplicative_noise,
            colour_noise,
            correlated_noise,
            high_frequency_noise,
            denoising,
            mean_shift,
            colour_cast,
            chromatic_aberration,
            patch_shift,
            colour_blocks,
        )
    },
    "blur": _without_chance(gaussian_blur),
    "noise": white_noise,
    "resolution": _without_chance(resolution_loss),
    "desaturation": _without_chance(saturation),
    "oversaturation": _without_chance(saturation),
}


def distorted(kind: str, image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """An image after a distortion at a level.

    Args:
        kind: one of KINDS.
        image: uint8 (H, W, 3), 16 pixels or more a side.
        level: 1 (mild) to 5 (strong).
        rng: of whatever is drawn; the same state gives the same image.

    Returns:
        uint8 array of the same shape.

    Raises:
        InputError: unknown kind or level, another shape or type, a codec that Pillow was built without.
    """
    if kind not in _FUNCTIONS:
        raise InputError(f"distortion {kind!r}: expected one of {', '.join(_FUNCTIONS)}")
    if level not in range(1, N_LEVELS + 1):
        raise InputError(f"{kind}: level {level!r}, expected 1 to {N_LEVELS}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < SMALLEST:
        raise InputError(
            f"{kind}: image {image.dtype} {image.shape}, expected uint8 (H, W, 3) of {SMALLEST} pixels or more a side"
        )
    return _FUNCTIONS[kind](image, LEVELS[kind][int(level) - 1], rng)


KINDS: dict[str, Callable[[np.ndarray, int, np.random.Generator], np.ndarray]] = {
    kind: partial(distorted, kind) for kind in LEVELS
}


def _to_uint8(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _mapped(image: np.ndarray, curve: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Every value through a curve of [0, 1], computed once for the 256 values that there are."""
    return _to_uint8(255 * curve(np.arange(256) / 255))[image]


def _filtered(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    reach = kernel.shape[0] // 2
    padded = np.pad(image.astype(np.float32), ((reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    return _to_uint8(signal.oaconvolve(padded, kernel.astype(np.float32)[..., None], mode="valid", axes=(0, 1)))


def _blocks(image: np.ndarray, side: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Float32 blocks (rows, side, columns, side, 3), the last ones padded by repetition, and the image's own size."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, -height % side), (0, -width % side), (0, 0)), mode="edge").astype(np.float32)
    return padded.reshape(padded.shape[0] // side, side, -1, side, 3), (height, width)


def _from_blocks(blocks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    rows, side, columns = blocks.shape[:3]
    return blocks.reshape(rows * side, columns * side, 3)[: size[0], : size[1]]


def _recoded(image: np.ndarray, codec: str, **options: Any) -> np.ndarray:
    file = io.BytesIO()
    try:
        Image.fromarray(image).save(file, codec, **options)
        return np.array(Image.open(file).convert("RGB"))
    except (KeyError, OSError) as error:
        raise InputError(f"{codec}: this Pillow cannot write it ({error}); expected one built with it") from error


def _in_palette(image: np.ndarray, colours: int, dither: Image.Dither) -> np.ndarray:
    picture = Image.fromarray(image)
    small = picture.reduce(max(1, min(picture.size) // 128))  # median cut takes long; it needs no detail
    palette = small.quantize(colours, Image.Quantize.MEDIANCUT)
    return np.array(picture.quantize(palette=palette, dither=dither).convert("RGB"))
