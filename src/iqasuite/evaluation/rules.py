"""Rules that know one score of an image, such as the quality setting of its file: what they expect, what they reach."""

from __future__ import annotations

import numpy as np
import pandas as pd

from iqasuite.datasets.dataset import Dataset, first_votes
from iqasuite.datasets.frames import LEAST_IMAGES
from iqasuite.errors import InputError
from iqasuite.evaluation.baselines import MAJORITY, MonotoneThresholds, majority
from iqasuite.evaluation.subjects.observers import content_of
from iqasuite.evaluation.subjects.thresholds import AccuracyThresholds
from iqasuite.evaluation.uncertainty import bootstrap_by_content
from iqasuite.names import natural_order

MOST_PROBABLE, MOST_OFTEN_RIGHT = "thresholds, ordinal probit", "thresholds, most often right"


def expected_votes(votes: pd.DataFrame, score: pd.Series) -> pd.Series:
    """What each observer's vote is expected to be at an image's score, by the observer's own thresholds.

    For observers who rated different images, and so have no others to be compared with.

    Args:
        votes: votes frame.
        score: index image; images without a finite score are left out.

    Returns:
        Expected vote in [1, 5], index (observer, image); fitted to the same votes, with five parameters an observer.

    Raises:
        InputError: nobody voted on an image that has a score.
    """
    first = first_votes(votes)
    first = first.assign(score=first["image"].map(score).astype(float))
    first = first[np.isfinite(first["score"])]
    if first.empty:
        raise InputError("score: no value for any image that somebody voted on, expected index image")
    expected: dict[str, np.ndarray] = {}
    for observer in natural_order(first["observer"]):
        own = first[first["observer"] == observer]
        rule = MonotoneThresholds().fit(own["score"].to_numpy(), own["vote"].to_numpy(int))
        values = rule.predict_proba(own["score"].to_numpy()) @ np.arange(1, 6)
        expected |= {(observer, image): value for image, value in zip(own["image"], values, strict=True)}
    return pd.Series(expected, name="expected").rename_axis(["observer", "image"])


def rules_on_split(
    dataset: Dataset, score: pd.Series, split: pd.DataFrame, fold: int = 0, n_boot: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """How often simple rules on one score are right about each observer on the test part of a split.

    Three rules, fitted to the observer's first votes on the train and val parts: the most frequent vote; the most
    probable vote of an ordinal probit; and the monotone votes that are most often right (`AccuracyThresholds`).

    Args:
        dataset: its votes.
        score: index image, such as a numeric nuisance of the set; images without a finite one are left out.
        split: split frame, such as the set's official one.
        fold: which fold.
        n_boot, seed: of the intervals, by content.

    Returns:
        Long frame observer, model, n (test images), value (share of votes that are right), low, high; nan
        where n is below `LEAST_IMAGES`.

    Raises:
        InputError: the fold is not in the split.
    """
    parts = split[split["fold"] == fold].set_index("image")["part"]
    if parts.empty:
        raise InputError(f"{dataset.name}, fold {fold}: not in the split; expected one of its folds")
    votes = first_votes(dataset.votes)
    votes = votes.assign(score=votes["image"].map(score), part=votes["image"].map(parts))
    votes = votes.dropna(subset=["score", "part"])
    contents = dataset.images.set_index("image")["content"]
    rows = []
    for observer in natural_order(votes["observer"]):
        own = votes[votes["observer"] == observer]
        test = own["part"].to_numpy() == "test"
        at, vote = own["score"].to_numpy(float), own["vote"].to_numpy(int)
        if test.all() or not test.any():
            continue
        predicted = {
            MAJORITY: majority(vote[~test], test.sum()).argmax(1) + 1,
            MOST_PROBABLE: MonotoneThresholds().fit(at[~test], vote[~test]).predict(at[test]),
            MOST_OFTEN_RIGHT: AccuracyThresholds().fit(at[~test], vote[~test]).predict(at[test]),
        }
        groups = content_of(own["image"][test], contents)
        for model, votes_of_rule in predicted.items():
            right = (votes_of_rule == vote[test]).astype(float)
            right = right if len(right) >= LEAST_IMAGES else np.full(len(right), np.nan)
            rows.append((observer, model, len(right), right.mean(), *bootstrap_by_content(right, groups, n_boot, seed)))
    return pd.DataFrame(rows, columns=["observer", "model", "n", "value", "low", "high"])
