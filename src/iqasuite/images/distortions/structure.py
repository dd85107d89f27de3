"""Detail sharpened, moved, or covered."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from iqasuite.images.distortions.pixels import to_uint8


def jitter(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Each pixel taken from a place nearby, normally distributed with `sigma` pixels in both directions."""
    height, width = image.shape[:2]
    dy, dx = np.rint(sigma * rng.standard_normal((2, height, width), dtype=np.float32)).astype(np.int32)
    rows = np.clip(np.arange(height)[:, None] + dy, 0, height - 1)
    columns = np.clip(np.arange(width) + dx, 0, width - 1)
    return image[rows, columns]


def sharpening(image: np.ndarray, amount: float) -> np.ndarray:
    """What a Gaussian of 1.5 pixels takes away added `amount` times (unsharp mask)."""
    values = image.astype(np.float32)
    return to_uint8(values + amount * (values - ndimage.gaussian_filter(values, (1.5, 1.5, 0), mode="reflect")))


def patch_shift(image: np.ndarray, n: float, rng: np.random.Generator) -> np.ndarray:
    """`n` small squares (a sixteenth of the shorter side) replaced by what is beside them (non-eccentric patterns)."""
    height, width = image.shape[:2]
    changed = image.copy()
    for top, left, side in _squares(image, n, rng):
        dy, dx = rng.integers(-side, side + 1, 2)
        y, x = (int(np.clip(v, 0, end - side)) for v, end in ((top + dy, height), (left + dx, width)))
        changed[top : top + side, left : left + side] = image[y : y + side, x : x + side]
    return changed


def colour_blocks(image: np.ndarray, n: float, rng: np.random.Generator) -> np.ndarray:
    """`n` squares (a sixteenth of the shorter side) of one random colour each."""
    changed = image.copy()
    for top, left, side in _squares(image, n, rng):
        changed[top : top + side, left : left + side] = rng.integers(0, 256, 3)
    return changed


def _squares(image: np.ndarray, n: float, rng: np.random.Generator) -> Iterator[tuple[int, int, int]]:
    """Top, left and side of `n` squares at random places."""
    height, width = image.shape[:2]
    side = max(2, min(height, width) // 16)
    for _ in range(int(n)):
        yield int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1)), side
