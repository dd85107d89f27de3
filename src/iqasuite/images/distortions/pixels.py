"""What distortions share: the smallest image, and values as its 8 bits."""

from __future__ import annotations

import numpy as np

SMALLEST = 16  # pixels a side


def to_uint8(values: np.ndarray) -> np.ndarray:
    """Values in gray levels of 255, rounded and cut off at both ends."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
