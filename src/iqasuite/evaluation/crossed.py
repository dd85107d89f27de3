"""How good distributions of votes are over observers and contents, both of which a new study would draw anew."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from iqasuite.evaluation.uncertainty import drawn_contents, interval
from iqasuite.inference.predictions import VOTES

_BINS = 10  # of confidence, for the calibration error
RANK_DRAWS = 3  # draws whose orders are compared: they cost the most and differ the least
METRICS = ("accuracy", "qwk", "mae", "rps", "ece", "pairs", "srocc", "coverage", "set_size")


def crossed_scores(
    p: np.ndarray,
    votes: np.ndarray,
    contents: np.ndarray,
    members: np.ndarray | None = None,
    n_boot: int = 500,
    seed: int = 0,
) -> pd.DataFrame:
    """Metrics of predicted distributions, means over observers, with intervals over observers and contents.

    Where folds were predicted by observers who were asked about different images, as in a few-shot experiment, qwk,
    pairs and srocc compare images across these fits, which lowers them a little.

    Args:
        p: distributions (draws, observers, images, 5); nan where there is no prediction.
        votes: observers × images, nan where there is none.
        contents: of the images.
        members: vote sets (draws, observers, images, 5), bool, for coverage and set_size.
        n_boot, seed: resamples, and the seed of their draw.

    Returns:
        Rows metric, value, low, high: accuracy, qwk and mae of the most probable vote; rps (ranked probability score,
        0–1, lower is better); ece (expected calibration error of the most probable vote, all observers together);
        pairs (share of pairs of images with different votes of an observer whose expected votes are in that order);
        srocc of the expected vote, with an interval over observers alone; coverage and set_size of the sets.

    Reference: crossed resampling: A. B. Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1, 2007; E. S.
    Epstein, "A scoring system for probability forecasts of ranked categories", J. Applied Meteorology 8, 1969.
    """
    names, code = np.unique(contents.astype(str), return_inverse=True)
    known = np.isfinite(votes) & np.isfinite(p[0, :, :, 0])
    kept = known.any(1)
    p, votes, known = p[:, kept], votes[kept], known[kept]
    members = None if members is None else members[:, kept]
    observers, n = len(votes), len(names)
    by_observer = np.vstack([np.ones(observers), drawn_contents(observers, n_boot, seed)])
    by_content = np.vstack([np.ones(n), drawn_contents(n, n_boot, seed + 1)])

    place = np.eye(n)[code]

    def cells(values: np.ndarray) -> np.ndarray:
        """Sums (observers, contents, …) over the images of each content of values (observers, images, …)."""
        counted = np.where(known.reshape(*known.shape, *[1] * (values.ndim - 2)), values, 0)
        return np.moveaxis(np.tensordot(counted, place, (1, 0)), -1, 1)

    of = _per_image(p, votes, known, members)
    drawn = {}
    count = by_content @ cells(known.astype(float)).T
    for metric, values in of.items():
        drawn[metric] = _mean(_ratio(by_content @ cells(values).T, count), by_observer)
    drawn["qwk"] = _mean(_qwk(np.einsum("bc,ock->bok", by_content, cells(_confusions(p, votes, known)))), by_observer)
    drawn["ece"] = _ece(
        np.einsum("bo,bc,ocks->bks", by_observer, by_content, cells(_confidences(p, votes, known)), optimize=True)
    )
    right, pairs = _pairs(p, votes, known, code, n)
    by_pair = [np.einsum("bc,ocd,bd->bo", by_content, table, by_content, optimize=True) for table in (right, pairs)]
    drawn["pairs"] = _mean(_ratio(*by_pair), by_observer)
    drawn["srocc"] = _mean(np.tile(_sroccs(p, votes, known), (len(by_observer), 1)), by_observer)
    rows = [(m, drawn[m][0], *interval(drawn[m][1:], min(n, observers))) for m in METRICS if m in drawn]
    return pd.DataFrame(rows, columns=["metric", "value", "low", "high"])


def _mean(of_observers: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean over the observers whose value is known, (b, observers) -> (b,)."""
    weights = np.where(np.isfinite(of_observers), weights, 0)
    return _ratio((np.nan_to_num(of_observers) * weights).sum(1), weights.sum(1))


def _ratio(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Means; nan where a resample has nothing to count."""
    return np.where(counts > 0, sums / np.where(counts > 0, counts, 1), np.nan)


def _whole(votes: np.ndarray, known: np.ndarray) -> np.ndarray:
    return np.where(known, votes, 1).astype(int)


def _per_image(
    p: np.ndarray, votes: np.ndarray, known: np.ndarray, members: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Means over the draws of what is a mean over images, (observers, images) each."""
    vote = _whole(votes, known)
    hard = p.argmax(-1) + 1
    above = (np.cumsum(p, -1) - (vote[..., None] <= VOTES)) ** 2
    found = {
        "accuracy": (hard == vote).mean(0),
        "mae": np.abs(hard - vote).mean(0),
        "rps": np.nan_to_num(above.sum(-1).mean(0) / 4),
    }
    if members is not None:
        held = np.take_along_axis(members, vote[None, ..., None] - 1, -1)[..., 0]
        found |= {"coverage": held.mean(0), "set_size": members.sum(-1).mean(0)}
    return found


def _confusions(p: np.ndarray, votes: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Shares of the draws (observers, images, 25) in which each vote is predicted, beside the vote that was given."""
    table = np.zeros((*votes.shape, 5, 5))
    given, shares = _whole(votes, known), np.stack([(p.argmax(-1) == k).mean(0) for k in range(5)], -1)
    np.put_along_axis(table, given[..., None, None] - 1, shares[..., None, :], 2)
    return table.reshape(*votes.shape, 25)


def _qwk(tables: np.ndarray) -> np.ndarray:
    """Quadratic-weighted kappa of confusions (…, 25); nan where both votes are constant."""
    table = tables.reshape(*tables.shape[:-1], 5, 5)
    weights = (VOTES[:, None] - VOTES) ** 2
    chance = np.einsum("...i,...j,ij->...", table.sum(-1), table.sum(-2), weights)
    observed = (table * weights).sum((-2, -1)) * table.sum((-2, -1))
    return np.where(chance > 0, 1 - observed / np.where(chance > 0, chance, 1), np.nan)


def _confidences(p: np.ndarray, votes: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Confidence, hits and number (observers, images, bins, 3) of the most probable vote, means over draws."""
    table = np.zeros((*votes.shape, _BINS, 3))
    rows = np.indices(votes.shape)
    for of_draw in p:
        sure = np.nan_to_num(of_draw.max(-1))
        place = np.minimum((sure * _BINS).astype(int), _BINS - 1)
        hit = of_draw.argmax(-1) + 1 == _whole(votes, known)
        table[(*rows, place)] += np.stack([sure, hit, known], -1)
    return table / len(p)


def _ece(table: np.ndarray) -> np.ndarray:
    """|confidence − hits| summed over bins, over the number of votes, of tables (b, bins, 3)."""
    return _ratio(np.abs(table[..., 0] - table[..., 1]).sum(-1), table[..., 2].sum(-1))


def _pairs(
    p: np.ndarray, votes: np.ndarray, known: np.ndarray, code: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of images with different votes, and how many are predicted in that order, (observers, contents, contents).

    Ties of the prediction count half.
    """
    right, pairs = (np.zeros((len(votes), n, n)) for _ in range(2))
    place = np.eye(n)[code]
    for o, own in enumerate(known):
        vote, of = votes[o, own], place[own]
        higher = vote[:, None] > vote
        pairs[o] = of.T @ higher @ of
        for expected in p[:RANK_DRAWS, o, own] @ VOTES:
            order = (expected[:, None] > expected) + 0.5 * (expected[:, None] == expected)
            right[o] += of.T @ (order * higher) @ of / min(len(p), RANK_DRAWS)
    return right, pairs


def _sroccs(p: np.ndarray, votes: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Mean over draws for each observer; a constant prediction has 0, as it says nothing of the order."""
    values = np.zeros(len(votes))
    for o, own in enumerate(known):
        target = rankdata(votes[o, own])
        ranks = [rankdata(expected) for expected in (p[:RANK_DRAWS, o, own] @ VOTES).astype(np.float32)]
        values[o] = np.mean([np.corrcoef(r, target)[0, 1] if np.ptp(r) else 0.0 for r in ranks])
    return values
