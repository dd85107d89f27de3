"""Noise, and what is left of an image when noise is taken out."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from iqasuite.images.distortions.colour import FROM_YCC
from iqasuite.images.distortions.pixels import to_uint8


def white_noise(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Additive white Gaussian noise, independent in each channel, `sigma` in gray levels of 255."""
    return to_uint8(image + sigma * rng.standard_normal(image.shape))


def impulse_noise(image: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """A `share` of all values becomes 0 or 255, each channel by itself."""
    draw = rng.random(image.shape, dtype=np.float32)
    extreme = np.where(rng.random(image.shape, dtype=np.float32) < 0.5, 0, 255).astype(np.uint8)
    return np.where(draw < share, extreme, image)


def multiplicative_noise(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Each value times 1 + noise of standard deviation `sigma` (speckle)."""
    return to_uint8(image * (1 + sigma * rng.standard_normal(image.shape, dtype=np.float32)))


def colour_noise(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """White noise in the two colour differences (Cb, Cr), `sigma` in gray levels, and a fifth of it in luma."""
    noise = sigma * rng.standard_normal(image.shape, dtype=np.float32) * np.array([0.2, 1, 1], np.float32)
    return to_uint8(image + noise @ FROM_YCC.T)


def correlated_noise(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Noise whose neighbours are alike (Gaussian, σ 1.5 pixels), of standard deviation `sigma` in gray levels."""
    noise = ndimage.gaussian_filter(rng.standard_normal(image.shape, dtype=np.float32), (1.5, 1.5, 0), mode="wrap")
    return to_uint8(image + sigma * noise / noise.std())


def high_frequency_noise(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Noise without its low frequencies, of standard deviation `sigma` in gray levels."""
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    noise -= ndimage.gaussian_filter(noise, (1.0, 1.0, 0), mode="wrap")
    return to_uint8(image + sigma * noise / noise.std())


def denoising(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """White noise of `sigma` gray levels, then taken out by a local Wiener filter (9×9), fine detail with it.

    Reference: J.-S. Lee, "Digital image enhancement and noise filtering by use of local statistics", IEEE PAMI 2, 1980.
    """
    noisy = image + sigma * rng.standard_normal(image.shape, dtype=np.float32)
    mean = ndimage.uniform_filter(noisy, (9, 9, 1), mode="reflect")
    variance = ndimage.uniform_filter((noisy - mean) ** 2, (9, 9, 1), mode="reflect")
    kept = np.clip(1 - 1.3 * sigma**2 / np.maximum(variance, 1e-6), 0, 1)  # 1.3: the noise's variance varies itself
    return to_uint8(mean + kept * (noisy - mean))
