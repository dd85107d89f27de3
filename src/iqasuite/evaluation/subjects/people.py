"""People as raters: agreement with themselves and with each other, bias and inconsistency."""

from __future__ import annotations

from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from iqasuite.datasets.dataset import first_votes as first_votes  # noqa: PLC0414 (part of what people say)
from iqasuite.datasets.frames import LEAST_IMAGES
from iqasuite.errors import InputError
from iqasuite.evaluation import metrics, resampled
from iqasuite.evaluation.uncertainty import bootstrap_by_content
from iqasuite.names import natural_order


def content_of(images: pd.Series, contents: pd.Series) -> np.ndarray:
    """Content of each image (n,), looked up in `contents` (index image).

    Raises:
        InputError: an image without content.
    """
    found = contents.reindex(images)
    if found.isna().any():
        raise InputError(f"contents: none for image {found.index[found.isna()][0]!r}, expected one for each image")
    return found.to_numpy()


def retest(votes: pd.DataFrame, contents: pd.Series | None = None, n_boot: int = 1000, seed: int = 0) -> pd.DataFrame:
    """How well people agree with themselves where a session repeats another (at least half of its images).

    Args:
        votes: votes frame.
        contents: image -> content for intervals by content; None = images are resampled one by one.
        n_boot, seed: resamples, and the seed of their draw.

    Returns:
        Long frame observer, session, repeats, n, metric (accuracy, within_one, qwk, mae), value, low, high; empty where
        no session repeats another, nan where n is below `LEAST_IMAGES`.
    """
    rows = []
    for observer in natural_order(votes["observer"]):
        sessions = {s: v.set_index("image")["vote"] for s, v in votes[votes["observer"] == observer].groupby("session")}
        for early, late in combinations(sorted(sessions), 2):
            both = sessions[early].index.intersection(sessions[late].index)
            if len(both) == 0 or 2 * len(both) < min(len(sessions[early]), len(sessions[late])):
                continue
            rows += [
                {"observer": observer, "session": late, "repeats": early, "n": len(both), **found}
                for found in _agreement(sessions[late][both], sessions[early][both], contents, n_boot, seed)
            ]
    return pd.DataFrame(rows, columns=["observer", "session", "repeats", "n", "metric", "value", "low", "high"])


def _agreement(
    votes: pd.Series, reference: pd.Series, contents: pd.Series | None, n_boot: int, seed: int
) -> list[dict[str, Any]]:
    x, y = votes.to_numpy(int), reference.to_numpy(int)
    groups = votes.index.to_numpy() if contents is None else content_of(votes.index, contents)
    error = np.abs(x - y).astype(float)
    statistics = {
        "accuracy": lambda weights: resampled.mean(error == 0, weights),
        "within_one": lambda weights: resampled.mean(error <= 1, weights),
        "qwk": lambda weights: resampled.qwk(x, y, weights),
        "mae": lambda weights: resampled.mean(error, weights),
    }
    found = []
    for metric, statistic in statistics.items():
        value = low = high = np.nan
        if len(x) >= LEAST_IMAGES:
            low, high = bootstrap_by_content(statistic, groups, n_boot, seed)
            value = float(statistic(np.ones((1, len(x))))[0])
        found.append({"metric": metric, "value": value, "low": low, "high": high})
    return found


def agreement_with_others(
    votes: pd.DataFrame, contents: pd.Series | None = None, n_boot: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Rank correlation of each person with the mean of the others: observer, n, srocc, low, high (95 % by content).

    n counts the images that others rated, too; below `LEAST_IMAGES` the rest is nan.
    """
    votes = first_votes(votes)
    total = votes.groupby("image")["vote"].agg(["sum", "count"])
    rows = []
    for observer in natural_order(votes["observer"]):
        own = votes[votes["observer"] == observer].set_index("image")["vote"]
        rest = total.loc[own.index]
        own, rest = own[(rest["count"] > 1).to_numpy()], rest[rest["count"] > 1]
        if len(own) < LEAST_IMAGES:
            rows.append((observer, len(own), np.nan, np.nan, np.nan))
            continue
        others = ((rest["sum"] - own) / (rest["count"] - 1)).to_numpy()
        mine = own.to_numpy(float)
        groups = own.index.to_numpy() if contents is None else content_of(own.index, contents)
        low, high = bootstrap_by_content(partial(resampled.srocc, mine, others), groups, n_boot, seed)
        rows.append((observer, len(own), metrics.srocc(mine, others), low, high))
    return pd.DataFrame(rows, columns=["observer", "n", "srocc", "low", "high"])


def bias_and_inconsistency(votes: pd.DataFrame, mos: pd.Series | None = None) -> pd.DataFrame:
    """Each person's bias and inconsistency, in votes: vote = quality + bias + inconsistency · noise.

    Args:
        votes: votes frame; first votes count.
        mos: quality of each image (index image). None = the mean vote of these people; as a person's own vote is part
            of that mean, it hides a part of their inconsistency, which is then put back (exactly so where everybody
            rated every image).

    Returns:
        observer, bias (mean of vote − quality), inconsistency (standard deviation of what remains), n; bias and
        inconsistency are nan where n is below `LEAST_IMAGES`.

    Reference: Z. Li & C. Bampis, "Recover subjective quality scores from noisy measurements", DCC 2017; the model of
    ITU-T P.910 (2022) and P.913.
    """
    votes = first_votes(votes)
    quality = votes.groupby("image")["vote"].transform("mean") if mos is None else votes["image"].map(mos)
    residual = votes.assign(residual=votes["vote"] - quality).dropna(subset="residual")
    table = residual.groupby("observer")["residual"].agg(bias="mean", variance="var", n="count")
    table.loc[table["n"] < LEAST_IMAGES, ["bias", "variance"]] = np.nan
    people = len(votes) / votes["image"].nunique()
    if mos is None and people > 2:
        # var_j = s_j²(1 − 2/m) + S/m² with S = Σ s², hence Σ var = S(1 − 1/m), for m people.
        total = people * table["variance"].mean() / (1 - 1 / people)
        table["variance"] = ((table["variance"] - total / people**2) / (1 - 2 / people)).clip(lower=0)
    table["inconsistency"] = np.sqrt(table.pop("variance"))
    return table.loc[natural_order(votes["observer"]), ["bias", "inconsistency", "n"]].reset_index()
