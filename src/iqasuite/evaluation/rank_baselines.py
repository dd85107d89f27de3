"""What one statistic of an image says of its quality: baselines without training, which can only rank.

A trained network that does not rank better than one of these has not been shown to know anything about quality.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import torch

from iqasuite.datasets.dataset import Dataset
from iqasuite.evaluation.resampled import sroccs
from iqasuite.evaluation.subjects.observers import content_of
from iqasuite.evaluation.uncertainty import content_weights, interval
from iqasuite.images.file_facts import file_facts
from iqasuite.inference.predictions import P
from iqasuite.models.metrics.natural_scenes import luminance

PREFIX, SUFFIX = "baseline: ", " (rank only)"
OF_PIXELS = ("sharpness", "contrast", "brightness")
OF_FILE = "bits per pixel"
METRICS = ("srocc", "krcc")  # the statistics are on no scale of quality: everything else means nothing for them


def image_statistics(pixels: np.ndarray) -> dict[str, float]:
    """Sharpness, contrast and brightness of one image, each in gray levels of 255.

    Args:
        pixels: 8-bit RGB, shape (H, W, 3).

    Returns:
        sharpness (standard deviation of the Laplacian of luma, 4 neighbours, borders repeated), contrast (standard
        deviation of luma) and brightness (mean luma); all >= 0, and sharpness and contrast 0 for a constant image.

    Raises:
        InputError: pixels of another shape or type.

    Reference: J. L. Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy: a comparative study", ICPR
    2000 (the variance of the Laplacian as a measure of sharpness).
    """
    luma = luminance(torch.from_numpy(pixels).movedim(-1, 0)[None])[0, 0].numpy()
    around = np.pad(luma, 1, mode="edge")
    laplacian = around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:] - 4 * luma
    values = laplacian.std(dtype=float), luma.std(dtype=float), luma.mean(dtype=float)
    return dict(zip(OF_PIXELS, map(float, values), strict=True))


def rank_statistics(dataset: Dataset, images: Sequence[str]) -> pd.DataFrame:
    """The statistics of images of a set, in which higher is taken for better.

    Images are brought to the set's display size first, where it has one: observers saw them at that size, and the
    statistics of the file alone would compare images of different sizes.

    Args:
        dataset: where the images are.
        images: names, each once.

    Returns:
        Index image: `OF_PIXELS`, and "bits per pixel" of the file; nan where an image is a part of a file.

    Raises:
        InputError: an image that is missing or cannot be read; the set has no images.
    """
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        rows = list(pool.map(lambda image: image_statistics(dataset.read(image, dataset.display_size)), images))
    table = pd.DataFrame(rows, columns=list(OF_PIXELS), index=pd.Index(images, name="image"), dtype=float)
    files = file_facts({image: dataset.path(image) for image in images if image not in dataset.regions})
    return table.assign(**{OF_FILE: files["bits_per_pixel"].reindex(table.index)})


def rank_baselines(predictions: pd.DataFrame, statistics: pd.DataFrame) -> pd.DataFrame:
    """Predictions frame of every statistic, for the images, folds, parts and observers of other predictions.

    Args:
        predictions: predictions frame, of one method or of several.
        statistics: of `rank_statistics`, for all of its images; one that lacks an image's value is left out.

    Returns:
        Predictions frame with models "baseline: sharpness (rank only)" and so on, seed 0: for `METRICS` alone.
    """
    rows = predictions.drop_duplicates(["dataset", "protocol", "fold", "part", "observer", "image"])
    values = statistics.reindex(rows["image"]).dropna(axis="columns")
    rows = rows.assign(seed=0, **dict.fromkeys(P, np.nan))
    frames = [rows.assign(model=f"{PREFIX}{name}{SUFFIX}", prediction=values[name].to_numpy()) for name in values]
    return pd.concat(frames, ignore_index=True)


def rank_scores(
    predictions: pd.DataFrame, statistics: pd.DataFrame, contents: pd.Series, n_boot: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """SROCC of a method and of every rank baseline on the same images, and how far it is above the best of them.

    Args:
        predictions: predictions frame of one method, part and observer, each image once.
        statistics: of `rank_statistics`.
        contents: image -> content (or source image, where contents share one).
        n_boot: resamples of contents.
        seed: of the resampling.

    Returns:
        Rows model, n, metric ("srocc"), value, low, high (95 %): the method, then the baselines; last, the method with
        the metric "srocc above sharpness", say: the paired difference from the baseline that is best on these images.
    """
    both = pd.concat([predictions, rank_baselines(predictions, statistics)], ignore_index=True)
    scores = both.pivot(index="image", columns="model", values="prediction")[pd.unique(both["model"])]
    target = predictions.set_index("image")["target"][scores.index]
    content = content_of(scores.index, contents)
    weights, n_contents = content_weights(content, n_boot, seed), len(np.unique(content.astype(str)))
    values = sroccs(scores.to_numpy().T, target.to_numpy(), np.vstack([np.ones(len(scores)), weights]))
    rows = [(model, "srocc", of_model) for model, of_model in zip(scores, values, strict=True)]
    best = 1 + int(np.argmax(np.nan_to_num(values[1:, 0], nan=-1)))
    rows.append((scores.columns[0], f"srocc above {short_name(scores.columns[best])}", values[0] - values[best]))
    return pd.DataFrame(
        [(model, len(scores), metric, found[0], *interval(found[1:], n_contents)) for model, metric, found in rows],
        columns=["model", "n", "metric", "value", "low", "high"],
    )


def short_name(model: str) -> str:
    """The statistic's name: "sharpness" of "baseline: sharpness (rank only)"; other models keep theirs."""
    return model.removeprefix(PREFIX).removesuffix(SUFFIX) if model.endswith(SUFFIX) else model


def on_card(scores: pd.DataFrame) -> dict[str, Any]:
    """`rank_scores` as a card has them: n images, and [value, low, high] of each, [value] alone where there is no
    interval; what is nan is left out."""
    n, method, kept = int(scores["n"].iloc[0]), scores["model"].iloc[0], scores[np.isfinite(scores["value"])]
    found: dict[str, object] = {"n": n}
    for row in kept.itertuples():
        name = "this network" if row.model == method else short_name(row.model)
        name = row.metric if row.metric != "srocc" else name
        found[name] = [round(float(value), 4) for value in (row.value, row.low, row.high) if np.isfinite(value)]
    return found
