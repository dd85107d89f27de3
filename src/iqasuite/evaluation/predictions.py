"""The predictions frame: made from what a model says, and read as whole votes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from iqasuite.data.frames import PREDICTIONS
from iqasuite.evaluation.metrics import VOTES, hard_votes

P = ["p1", "p2", "p3", "p4", "p5"]


def predictions_frame(
    dataset: str,
    model: str,
    protocol: str,
    seed: int,
    fold: int,
    part: str,
    observer: str,
    images: Sequence[str],
    targets: Sequence[float],
    probabilities: np.ndarray | None = None,
    scores: Sequence[float] | None = None,
) -> pd.DataFrame:
    """A predictions frame of one model and part, one row an image.

    Args:
        dataset, model, protocol, seed, fold, part: as in the columns; `model` names the method, not the person.
        observer: whose artificial observer this is; "" for a model of MOS.
        images, targets: names and that person's votes (or MOS), length n.
        probabilities: (n, 5); `prediction` is then the expected vote. None: give `scores`, and p1–p5 are nan.
        scores: predictions without a distribution, length n.

    Raises:
        ValueError: neither or both of `probabilities` and `scores`, or lengths that differ.
    """
    if (probabilities is None) == (scores is None):
        raise ValueError("predictions_frame: expected either probabilities or scores")
    p = np.full((len(images), 5), np.nan) if probabilities is None else np.asarray(probabilities, float)
    expected = np.asarray(scores, float) if probabilities is None else p @ VOTES
    if not len(images) == len(targets) == len(p) == len(expected):
        raise ValueError(f"{len(images)} images, {len(targets)} targets, {len(p)} predictions: expected as many")
    targets = np.asarray(targets, float)
    values = (dataset, model, protocol, seed, fold, part, observer, list(images), targets, expected, *p.T)
    return pd.DataFrame(dict(zip(PREDICTIONS, values, strict=True)), index=range(len(images)))


def hard_predictions(predictions: pd.DataFrame) -> np.ndarray:
    """Whole votes (n,) of a predictions frame: most probable vote, or the rounded prediction without a distribution."""
    return hard_votes(predictions[P].to_numpy(float), predictions["prediction"])
