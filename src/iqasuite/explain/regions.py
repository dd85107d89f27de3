"""Does a network's score depend on the regions that it attends to? These, others, or any are blurred."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from iqasuite.inference.predictor import Predictor, enlarged

REGIONS = ("most attended", "at random", "least attended")


def region_masks(attention: np.ndarray, share: float = 0.25, seed: int = 0) -> dict[str, np.ndarray]:
    """Which positions of an attention map are the most and the least attended ones, and as many at random.

    Args:
        attention: (rows, columns).
        share: of the positions, above 0 to .5; at least one.
        seed: of the random ones.

    Returns:
        Region (`REGIONS`) -> boolean (rows, columns), all with as many positions.

    Raises:
        ValueError: a share outside of that range.
    """
    if not 0 < share <= 0.5:
        raise ValueError(f"share is {share}, expected above 0 to .5")
    flat, rng = np.asarray(attention).ravel(), np.random.default_rng(seed)
    n = max(1, round(share * flat.size))
    order = np.argsort(-flat, kind="stable")
    chosen = (order[:n], rng.permutation(flat.size)[:n], order[-n:])
    masks = {}
    for name, positions in zip(REGIONS, chosen, strict=True):
        mask = np.zeros(flat.size, bool)
        mask[positions] = True
        masks[name] = mask.reshape(np.shape(attention))
    return masks


def blurred_where(image: np.ndarray, mask: np.ndarray, sigma: float = 4.0) -> np.ndarray:
    """An image uint8 (H, W, 3) blurred where a mask (rows, columns) over the whole of it is set.

    The edge between sharp and blurred parts is soft (the mask is interpolated), so that it is no defect of its own.
    """
    weight = enlarged(mask.astype(np.float32), image.shape[:2])[..., None]
    soft = gaussian_filter(image.astype(np.float32), (sigma, sigma, 0))
    return (image * (1 - weight) + soft * weight).round().clip(0, 255).astype(np.uint8)


def region_changes(
    predictor: Predictor, images: dict[str, np.ndarray], share: float = 0.25, sigma: float = 4.0, seed: int = 0
) -> pd.DataFrame:
    """Change of the score when a share of each image is blurred: what is attended most, least, and at random.

    Args:
        predictor: of a network with attention.
        images: name -> uint8 (H, W, 3).
        share, seed: see `region_masks`.
        sigma: of the blur, in pixels of the image as the network sees it.

    Returns:
        image, region, change (score with the blur less score without, on the model's own scale), attended (share of the
        attention that the region has).
    """
    rows = []
    for number, (name, image) in enumerate(images.items()):
        shown = predictor.shown(image)
        attention = predictor.map(shown).values
        masks = region_masks(attention, share, seed + number)
        versions = [shown, *(blurred_where(shown, mask, sigma) for mask in masks.values())]
        before, *after = [prediction.score for prediction in predictor.predict(versions)]
        rows += [
            (name, region, score - before, float(attention[mask].sum() / attention.sum()))
            for (region, mask), score in zip(masks.items(), after, strict=True)
        ]
    return pd.DataFrame(rows, columns=["image", "region", "change", "attended"])
