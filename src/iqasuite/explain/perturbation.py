"""Does attention follow what is in the image? It is measured again with the centre covered or the image spoilt."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from PIL import Image

from iqasuite.data.distortions import gaussian_blur, jpeg
from iqasuite.explain.attention import minmax

CENTRE = 96  # side of the covered square, for a 256 px view


def occlude_centre(image: np.ndarray, side: int = CENTRE) -> np.ndarray:
    """Image (H, W, 3) uint8 whose central `side`² px (at most the whole image) are mid gray (128)."""
    height, width = image.shape[:2]
    top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
    covered = image.copy()
    covered[top : top + side, left : left + side] = 128
    return covered


def to_gray(image: np.ndarray) -> np.ndarray:
    """Image (H, W, 3) uint8 without colour: its luma (ITU-R BT.601) in all three channels."""
    return np.repeat(np.asarray(Image.fromarray(image).convert("L"))[..., None], 3, axis=2)


def perturbed(image: np.ndarray) -> dict[str, np.ndarray]:
    """The image (H, W, 3) uint8 ("none"), its centre covered, gray, as JPEG of quality 10, with a blur of σ 6 px."""
    return {
        "none": image,
        "centre covered": occlude_centre(image),
        "gray": to_gray(image),
        "JPEG quality 10": jpeg(image, 10),
        "blur σ 6 px": gaussian_blur(image, 6.0),
    }


def centre_share(maps: np.ndarray, size: tuple[int, int], side: int = CENTRE) -> np.ndarray:
    """Share of each map's (…, rows, columns) attention within the central `side`² px of a view of `size` (h, w) px."""
    weights = []
    for cells, pixels in zip(maps.shape[-2:], size, strict=True):
        edges = np.linspace(0, pixels, cells + 1)
        low, high = (pixels - side) / 2, (pixels + side) / 2
        weights.append(np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0, None) / np.diff(edges))
    inside = (maps * np.outer(*weights)).sum((-2, -1))
    return inside / maps.sum((-2, -1))


def perturbation_study(
    attend: Callable[[np.ndarray], np.ndarray], image: np.ndarray
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Attention to one image before and after each perturbation.

    Args:
        attend: uint8 views (n, H, W, 3) -> focus maps (n, rows, columns).
        image: one view (H, W, 3), uint8.

    Returns:
        A frame with perturbation, summed (sum of the min–max stretched map, the study's own measure), change (of it,
        against the image itself), difference (summed absolute difference of the maps as they are, 0 to 2) and
        centre_share (share of attention within the covered square); and the maps by perturbation.
    """
    versions = perturbed(image)
    maps = dict(zip(versions, attend(np.stack(list(versions.values()))), strict=True))
    plain = maps["none"]
    rows = [
        {
            "perturbation": name,
            "summed": float(minmax(found).sum()),
            "change": float(minmax(found).sum() - minmax(plain).sum()),
            "difference": float(np.abs(found - plain).sum()),
            "centre_share": float(centre_share(found, image.shape[:2])),
        }
        for name, found in maps.items()
    ]
    return pd.DataFrame(rows), maps
