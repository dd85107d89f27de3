"""Does attention follow what is in the image? It is measured again with the centre covered or the image distorted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from PIL import Image

from iqasuite.explain.attention import minmax
from iqasuite.images.distortions.blur import gaussian_blur
from iqasuite.images.distortions.compression import jpeg

VIEW, CENTRE = 256, 96  # side of the view that the study's lengths are for, and of the covered square, in pixels


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
    """The image (H, W, 3) uint8 ("none"), its centre covered, gray, as JPEG of quality 10, with a blur of σ 6 px.

    Lengths are for a view of 256 px and grow with its shorter side.
    """
    return {
        "none": image,
        "centre covered": occlude_centre(image, _scaled(CENTRE, image.shape)),
        "gray": to_gray(image),
        "JPEG quality 10": jpeg(image, 10),
        "blur σ 6 px": gaussian_blur(image, 6.0 * min(image.shape[:2]) / VIEW),
    }


def _scaled(pixels: int, shape: tuple[int, ...]) -> int:
    return round(pixels * min(shape[:2]) / VIEW)


def centre_share(maps: np.ndarray, size: tuple[int, int], side: int = CENTRE) -> np.ndarray:
    """Share of each map's (…, rows, columns) attention within the central `side`² px of a view of `size` (h, w) px."""
    weights = []
    for cells, pixels in zip(maps.shape[-2:], size, strict=True):
        edges = np.linspace(0, pixels, cells + 1)
        low, high = (pixels - side) / 2, (pixels + side) / 2
        weights.append(np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0, None) / np.diff(edges))
    inside = (maps * np.outer(*weights)).sum((-2, -1))
    return inside / maps.sum((-2, -1))


def changes(maps: Mapping[str, np.ndarray], size: tuple[int, int]) -> pd.DataFrame:
    """How each perturbation changed a focus map.

    Args:
        maps: perturbation -> focus map (rows, columns); "none" is the image itself.
        size: of the view, (height, width) in pixels.

    Returns:
        perturbation, summed (sum of the min–max stretched map, the study's own measure), change (of it, against the
        image itself), difference (summed absolute difference of the maps as they are, 0 to 2) and centre_share (share
        of attention within the covered square).
    """
    plain = maps["none"]
    rows = [
        {
            "perturbation": name,
            "summed": float(minmax(changed).sum()),
            "change": float(minmax(changed).sum() - minmax(plain).sum()),
            "difference": float(np.abs(changed - plain).sum()),
            "centre_share": float(centre_share(changed, size, _scaled(CENTRE, size))),
        }
        for name, changed in maps.items()
    ]
    return pd.DataFrame(rows)
