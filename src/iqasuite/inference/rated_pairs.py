"""What predictors of pairs, networks and metrics, predict for the pairs of a whole set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from iqasuite.datasets.dataset import Dataset
from iqasuite.datasets.frames import PREDICTIONS
from iqasuite.datasets.pairs import rated_pairs
from iqasuite.datasets.pseudo_labelled import PseudoLabelled
from iqasuite.inference.predictions import UNTRAINED, P
from iqasuite.models.metrics.piq_metrics import quality
from iqasuite.training.machine import default_device

_AT_ONCE = 64  # pairs
OfPair = Callable[[str, np.ndarray, np.ndarray], float]


def metric_predictor(metric: str) -> OfPair:
    """A full-reference metric as a predictor of pairs, higher = better.

    Args:
        metric: one of `models.metrics.piq_metrics.METRICS`.
    """
    device = default_device(None)

    def predict(_: str, reference: np.ndarray, distorted: np.ndarray) -> float:
        pair = [torch.from_numpy(x).permute(2, 0, 1)[None].to(device) for x in (reference, distorted)]
        return quality(metric, *pair).item()

    return predict


def predict_rated_pairs(dataset: Dataset, predictors: Mapping[str, OfPair], side: int = 0) -> pd.DataFrame:
    """Predictions for every pair of a rated set; one pair is in memory at a time.

    Args:
        dataset: with references.
        predictors: name -> function of the image's name, its reference and the distorted image, both uint8 (H, W, 3);
            nan where it has nothing to predict.
        side: shorter side in pixels to which both images of a pair are brought; 0 = as the set was shown.

    Returns:
        Index image, one column a predictor.

    Raises:
        InputError: as `datasets.pairs.rated_pairs`.
    """
    names, rows = [], []
    for image, reference, distorted, _ in rated_pairs(dataset, side or None):
        names.append(image)
        rows.append([predict(image, reference, distorted) for predict in predictors.values()])
    return pd.DataFrame(rows, index=pd.Index(names, name="image"), columns=list(predictors), dtype=float)


def metric_predictions(predictions: pd.DataFrame, values: pd.DataFrame) -> pd.DataFrame:
    """Predictions frame of metrics for the pairs that networks predicted: of each fold the same pairs.

    Args:
        predictions: predictions frame of networks on one set, part test.
        values: index image; one column a metric, named as tables have it.
    """
    pairs = predictions.drop_duplicates(["fold", "image"]).sort_values("fold", kind="stable")
    pairs = pairs.assign(protocol=UNTRAINED, seed=0, **dict.fromkeys(P, np.nan))
    frames = [pairs.assign(model=name, prediction=values[name].loc[pairs["image"]].to_numpy()) for name in values]
    return pd.concat(frames, ignore_index=True)[list(PREDICTIONS)]


def ensembles(predictions: pd.DataFrame) -> pd.DataFrame:
    """Each method's networks averaged (folds and seeds), of the methods that have several.

    Returns:
        Predictions frame with models "<model>, ensemble", fold and seed 0.
    """
    several = predictions.groupby("model").filter(lambda own: len(own[["fold", "seed"]].drop_duplicates()) > 1)
    keys = ["dataset", "model", "protocol", "part", "observer", "image"]
    mean = several.groupby(keys, sort=False, as_index=False).mean(numeric_only=True)
    return mean.assign(model=mean["model"] + ", ensemble", seed=0, fold=0)[predictions.columns]


def metric_values(pairs: PseudoLabelled, images: Sequence[str], metrics: Sequence[str]) -> pd.DataFrame:
    """Full-reference metrics of pseudo-labelled pairs, higher = better.

    Args:
        pairs: those metrics that made its labels are there already.
        images: names of its pairs.
        metrics: some of `models.metrics.piq_metrics.METRICS`.

    Returns:
        Index image, one column a metric.
    """
    device = default_device(None)
    rows, values = pd.Index(pairs.images["image"]).get_indexer(list(images)), {}
    for metric in metrics:
        if metric in pairs.metrics:
            values[metric] = pairs.metrics[metric].to_numpy()[rows]
            continue
        parts = []
        for start in range(0, len(rows), _AT_ONCE):
            batch = pairs.pairs(rows[start : start + _AT_ONCE])
            parts.append(quality(metric, *(torch.from_numpy(x).permute(0, 3, 1, 2).to(device) for x in batch)).cpu())
        values[metric] = torch.cat(parts).numpy()
    return pd.DataFrame(values, index=pd.Index(images, name="image"))
