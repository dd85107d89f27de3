"""Brightness, contrast and the number of levels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from iqasuite.images.distortions.pixels import to_uint8


def brightening(image: np.ndarray, exponent: float) -> np.ndarray:
    """Values in [0, 1] raised to 1 / `exponent`."""
    return _mapped(image, lambda v: v ** (1 / exponent))


def darkening(image: np.ndarray, exponent: float) -> np.ndarray:
    """Values in [0, 1] raised to `exponent`."""
    return _mapped(image, lambda v: v**exponent)


def mean_shift(image: np.ndarray, shift: float, rng: np.random.Generator) -> np.ndarray:
    """All values `shift` gray levels up or down."""
    return to_uint8(image.astype(np.float32) + shift * rng.choice([-1, 1]))


def contrast_loss(image: np.ndarray, factor: float) -> np.ndarray:
    """Distances from the image's mean colour times a `factor` below 1."""
    mean = image.mean(axis=(0, 1), dtype=np.float32)
    return to_uint8(mean + factor * (image - mean))


def contrast_gain(image: np.ndarray, steepness: float) -> np.ndarray:
    """Values through an S-shaped curve that is `steepness` times as steep as the identity in the middle."""
    k = steepness
    for _ in range(100):  # the curve's slope in the middle is k / tanh(k)
        k = steepness * np.tanh(k)
    return _mapped(image, lambda v: 0.5 + 0.5 * np.tanh(k * (2 * v - 1)) / np.tanh(k))


def quantisation(image: np.ndarray, levels: float) -> np.ndarray:
    """Values rounded to as many evenly spaced `levels` a channel."""
    return _mapped(image, lambda v: np.rint(v * (levels - 1)) / (levels - 1))


def _mapped(image: np.ndarray, curve: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Every value through a curve of [0, 1], computed once for the 256 values that there are."""
    return to_uint8(255 * curve(np.arange(256) / 255))[image]
