"""Distortions with a known place: an image that is distorted in one part of it, and how well maps find that part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import gaussian_filter, gaussian_gradient_magnitude, label
from scipy.stats import rankdata

from iqasuite.errors import InputError
from iqasuite.images.distortions.registry import distorted
from iqasuite.inference.predictor import enlarged

PLACES = ("quarter", "blob", "edges")
CONTRAST = "baseline: local contrast"
GRID = 32  # places a side at which maps and true places are compared
_SHARE = 0.2  # of the image that a blob is cut from, and that edges fill


@dataclass(frozen=True)
class Planted:
    """Images with a distortion in one place.

    Attributes:
        images: uint8 (n, H, W, 3).
        masks: where each is distorted, bool (n, H, W).
        facts: content, distortion, level, place and share (of the image) of each.
    """

    images: np.ndarray
    masks: np.ndarray
    facts: pd.DataFrame


def mixed(image: np.ndarray, other: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """An image uint8 (H, W, 3) with another in its place where a weight (H, W) is 1, a mean of both between 0 and 1."""
    return (image * (1 - weight[..., None]) + other * weight[..., None]).round().clip(0, 255).astype(np.uint8)


def place_mask(place: str, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One of `PLACES` in an image uint8 (H, W, 3), or all of it: bool (H, W).

    "quarter" is one of the four; "blob" a random shape of up to a fifth of the image; "edges" the fifth that has the
    strongest edges, which local contrast finds without any network.

    Raises:
        InputError: another place.
    """
    height, width = image.shape[:2]
    if place == "whole":
        return np.ones((height, width), bool)
    if place == "quarter":
        row, column = rng.integers(0, 2, 2) * (height // 2, width // 2)
        mask = np.zeros((height, width), bool)
        mask[row : row + height // 2, column : column + width // 2] = True
        return mask
    if place == "blob":
        field = gaussian_filter(rng.standard_normal((height, width)), min(height, width) / 10)
        parts, _ = label(field >= np.quantile(field, 1 - _SHARE))
        return parts == np.bincount(parts.ravel())[1:].argmax() + 1
    if place == "edges":
        field = gaussian_filter(gaussian_gradient_magnitude(_luma(image), 1.0), min(height, width) / 16)
        return field >= np.quantile(field, 1 - _SHARE)
    raise InputError(f"place is {place!r}, expected one of {', '.join(PLACES)}")


def plant(
    contents: Mapping[str, np.ndarray],
    distortions: Sequence[str] = ("jpeg", "blur", "noise"),
    level: int = 4,
    places: Sequence[str] = PLACES,
    seed: int = 0,
) -> Planted:
    """Each content once for every place, with the distortions in turn, so that all meet as often.

    The border between distorted and pristine pixels is some pixels soft: a hard one would be a defect of its own.

    Args:
        contents: name -> undistorted image, uint8 (H, W, 3), all of one size.
        distortions, level: of `images.distortions.registry`.
        places: some of `PLACES`, or "whole".
        seed: of places and of distortions that draw.

    Raises:
        InputError: unknown place, distortion or level; nothing to plant.
    """
    if not contents or not distortions or not places:
        found = f"{len(contents)} contents, {len(distortions)} distortions, {len(places)} places"
        raise InputError(f"plant: {found}; expected one or more of each")
    images, masks, facts = [], [], []
    for number, (content, image) in enumerate(contents.items()):
        for turn, place in enumerate(places):
            kind, rng = distortions[(number + turn) % len(distortions)], np.random.default_rng([seed, number, turn])
            mask = place_mask(place, image, rng)
            other = distorted(kind, image, level, rng)
            images.append(mixed(image, other, gaussian_filter(mask.astype(float), 1.5)))
            masks.append(mask)
            facts.append((content, kind, level, place, mask.mean()))
    table = pd.DataFrame(facts, columns=["content", "distortion", "level", "place", "share"])
    return Planted(np.stack(images), np.stack(masks), table)


def baselines(images: np.ndarray) -> dict[str, np.ndarray]:
    """Maps (n, rows, columns) of images uint8 (n, H, W, 3) that take no network: the standard deviation of the luma in
    each place, nearness to the middle, and a constant.
    """
    rows = [part for image in images for part in np.array_split(_luma(image), GRID, axis=0)]
    cells = [[part.std() for part in np.array_split(row, GRID, axis=1)] for row in rows]
    contrast = np.array(cells, np.float32).reshape(len(images), GRID, GRID)
    away = np.abs(np.linspace(-1, 1, GRID, dtype=np.float32))
    centre = np.broadcast_to(2 - away[:, None] - away, contrast.shape)
    return {"baseline: constant": np.ones_like(contrast), "baseline: centre": centre, CONTRAST: contrast}


def localisation(maps: np.ndarray, masks: np.ndarray) -> pd.DataFrame:
    """How well maps (n, rows, columns) point at true places (n, H, W), one row an image.

    Returns:
        auc: probability that a distorted place has more of the map than another one, ties half; pointing: whether the
        place with most of the map is distorted, where several have most their mean. By chance .5 and the mask's share.
    """
    values = enlarged(maps, (GRID, GRID)).reshape(len(maps), -1).astype(np.float64)
    rows = []
    for value, mask in zip(values, _on_grid(masks), strict=True):
        n = mask.sum()
        auc = (rankdata(value)[mask].sum() - n * (n + 1) / 2) / (n * (len(mask) - n)) if 0 < n < len(mask) else np.nan
        rows.append((auc, mask[value == value.max()].mean()))
    return pd.DataFrame(rows, columns=["auc", "pointing"])


def _on_grid(masks: np.ndarray) -> np.ndarray:
    """Which places of the grid lie more than half within masks (n, H, W): bool (n, GRID²)."""
    small = [Image.fromarray(mask.astype(np.uint8) * 255).resize((GRID, GRID), Image.Resampling.BOX) for mask in masks]
    return np.stack([np.asarray(each).ravel() > 127 for each in small])


def _luma(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(image).convert("L"), np.float64)
