"""The metrics of `metrics.py` for many resamples at once.

`weights` (b, n) says how often each of n images is in each of b resamples (whole numbers, see `content_weights`); a row
of ones is the sample itself. Every function returns (b,) and equals the plain metric on the repeated images, nan where
that is; `sroccs` and `plccs` take many predictions of the same images at once and return (methods, b). What has values
that are not finite is nan in every resample, and so is a correlation of fewer than three images.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from iqasuite.evaluation import metrics
from iqasuite.evaluation.metrics import LEAST, near_one, soft_votes
from iqasuite.inference.predictions import VOTES

# Pairs of images grow with the square: above this many, Kendall's correlation is known of the sample itself only.
KENDALL_LIMIT = 4000
# Images times resamples that a thread works on at once (1.3 MB an array: the cache of a core).
_BLOCK = 160_000
_STRIDE = 32  # neighbours in rank that are summed up one after another, all resamples at once


def mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean of values (n,) in each resample; nan where one of them, or their sum, is not finite."""
    values = np.asarray(values, float)
    if not np.isfinite(values).all():
        return np.full(len(weights), np.nan)
    found = weights @ values / weights.sum(1)
    return np.where(np.isfinite(found), found, np.nan)


def rmses(predictions: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Root mean squared error of predictions (m, n) in each resample, (m, b)."""
    predictions, target = np.atleast_2d(np.asarray(predictions, float)), np.asarray(target, float)
    finite = _finite(predictions, target)
    with np.errstate(over="ignore", invalid="ignore"):
        difference, exponent = near_one(np.where(finite[:, None], predictions - target, 0))
        found = np.ldexp(np.sqrt((weights @ (difference**2).T).T / weights.sum(1)), exponent)
    return np.where(finite[:, None] & np.isfinite(found), found, np.nan)


def _finite(predictions: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Which of the predictions (m, n) are finite (m,), and the target with them."""
    return np.isfinite(predictions).all(1) & np.isfinite(target).all()


def _enough(found: np.ndarray, predictions: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Correlations (m, b), nan where they cannot be known."""
    enough = (weights.sum(1) >= LEAST) & (len(target) >= LEAST)
    return np.where(_finite(predictions, target)[:, None] & enough, found, np.nan)


def plccs(predictions: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pearson correlation of predictions (m, n) with one target (n,) in each resample, (m, b); nan where constant."""
    predictions, target = np.atleast_2d(np.asarray(predictions, float)), np.asarray(target, float)
    x, y, weights = _standard(predictions), _standard(target), np.asarray(weights, float)
    total = weights.sum(1)
    mean_x, mean_y = (weights @ x.T).T / total, weights @ y / total
    xx = (weights @ (x * x).T).T - total * mean_x**2
    yy = weights @ (y * y) - total * mean_y**2
    xy = (weights @ (x * y).T).T - total * mean_x * mean_y
    return _enough(_ratio(xy, xx, yy, 1e-12 * total), predictions, target, weights)


def _standard(values: np.ndarray) -> np.ndarray:
    """Mean 0, standard deviation 1 over the last axis; a constant becomes 0, and so does what is not finite."""
    values = near_one(np.where(np.isfinite(values).all(-1, keepdims=True), values, 0))[0]
    centred = values - values.mean(-1, keepdims=True)
    spread = centred.std(-1, keepdims=True)
    constant = np.ptp(values, axis=-1, keepdims=True) == 0  # rounding may leave a spread that is none
    return np.where(constant, 0, centred / np.where(constant, 1, spread))


def _ratio(xy: np.ndarray, xx: np.ndarray, yy: np.ndarray, nothing: np.ndarray) -> np.ndarray:
    """Correlation from sums of squares and products; nan where a sum of squares is not above `nothing`."""
    defined = (xx > nothing) & (yy > nothing)
    return np.where(defined, np.clip(xy / np.sqrt(np.where(defined, xx * yy, 1)), -1, 1), np.nan)


def plcc(prediction: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pearson correlation in each resample; nan where either is constant."""
    return plccs(prediction, target, weights)[0]


def sroccs(predictions: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Spearman correlation of many predictions with one target in each resample, on all cores.

    The mean rank of an image in a resample is the number of images before it plus half of those level with it, hence a
    running sum of the weights in the order of the prediction; nothing is sorted more than once. The variance of the
    ranks follows from the sizes of the ties alone.

    Args:
        predictions: scores of m methods for the same images, shape (m, n).
        target: shape (n,).
        weights: shape (b, n).

    Returns:
        Correlations (m, b), images of one value sharing their mean rank; nan where either is constant or not a number.

    Reference: M. G. Kendall, "Rank correlation methods", 1948, chapter 3 (ties).
    """
    predictions, target = np.atleast_2d(np.asarray(predictions, float)), np.asarray(target, float)
    order, starts = _levels(target)
    ordered = [_levels(prediction[order]) for prediction in predictions]
    found = np.full((len(predictions), len(weights)), np.nan)
    size = max(1, _BLOCK // max(1, len(target)))

    def block(first: int) -> None:
        some = np.ascontiguousarray(weights[first : first + size].T[order], dtype=float)
        found[:, first : first + size] = _block_sroccs(some, starts, ordered)

    firsts = range(0, len(weights), size)
    with ThreadPoolExecutor(max(1, min(os.cpu_count() or 1, len(firsts)))) as pool:
        list(pool.map(block, firsts))
    return _enough(found, predictions, target, weights)


def _levels(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order (n,) of values and where in it each new value begins (levels,)."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    return order, np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))


def _block_sroccs(weights: np.ndarray, starts: np.ndarray, ordered: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Spearman correlations (m, c) with a target in whose order the images are.

    Args:
        weights: (n, c), resamples side by side.
        starts: of the levels of the target.
        ordered: order and starts of each prediction.
    """
    n, total = len(weights), weights.sum(0)
    levels = np.add.reduceat(weights, starts, axis=0)
    rank = np.cumsum(levels, axis=0) - levels / 2 - total / 2  # mean rank less that of all
    rank = np.repeat(rank, np.diff(starts, append=n), axis=0) * weights
    alone = _cubes(weights), np.einsum("nc,nc->c", weights, rank)  # what predictions without ties have in common
    products, spreads = [], []
    for order, begin in ordered:
        mine, theirs = weights, rank
        cubes, own = alone
        if len(begin) < n:  # ties: the images of a level are as one
            mine, theirs = (np.add.reduceat(values[order], begin, axis=0) for values in (weights, rank))
            order = np.arange(len(begin))
            cubes, own = _cubes(mine), np.einsum("nc,nc->c", mine, theirs)
        products.append(_sum_over_ranks(mine, theirs, order, total) - own / 2)
        spreads.append(total**3 - cubes)
    target_spread = total**3 - _cubes(levels)
    return _ratio(12 * np.array(products), np.array(spreads), target_spread, 1e-12 * total**3)


def _cubes(weights: np.ndarray) -> np.ndarray:
    """Σ weights³ of (n, c), shape (c,)."""
    return np.einsum("nc,nc,nc->c", weights, weights, weights)


def _sum_over_ranks(weights: np.ndarray, values: np.ndarray, order: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Σ values · (running sum of the weights in this order − total / 2), shape (c,); all arrays (n, c).

    The running sum is made in strides: place j of every stride lies together, so that each step adds long rows instead
    of one number to the next.
    """
    n, c = weights.shape
    strides = -(-n // _STRIDE)
    places = np.pad(order, (0, strides * _STRIDE - n), constant_values=order[-1])
    places = places.reshape(strides, _STRIDE).T.ravel()
    upto = weights.take(places, axis=0).reshape(_STRIDE, strides, c)
    value = values.take(places, axis=0).reshape(_STRIDE, strides, c)
    place = np.arange(strides * _STRIDE).reshape(strides, _STRIDE).T
    padding = place >= n
    upto[padding] = value[padding] = 0
    for j in range(1, _STRIDE):
        upto[j] += upto[j - 1]
    upto += np.cumsum(upto[-1], axis=0) - upto[-1] - total / 2
    upto *= value
    return upto.sum(0).sum(0)


def srocc(prediction: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Spearman correlation in each resample; nan where either is constant."""
    return sroccs(prediction, target, weights)[0]


def krcc(prediction: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Kendall tau-b in each resample; nan where either is constant.

    With more than KENDALL_LIMIT images nan in all resamples but those that have each image once.
    """
    prediction, target = np.asarray(prediction, float), np.asarray(target, float)
    unknown = np.full(len(weights), np.nan)
    if not (np.isfinite(prediction).all() and np.isfinite(target).all()):
        return unknown
    if len(prediction) > KENDALL_LIMIT:
        whole = (weights == 1).all(axis=1)
        return np.where(whole, metrics.krcc(prediction, target), unknown) if whole.any() else unknown
    x = np.sign(prediction[:, None] - prediction[None, :]).astype(np.float32)
    y = np.sign(target[:, None] - target[None, :]).astype(np.float32)
    agreeing = np.einsum("bn,bn->b", weights.astype(np.float32) @ (x * y), weights, dtype=float)
    xx, yy = (weights.sum(1) ** 2 - (_level_weights(values, weights) ** 2).sum(1) for values in (prediction, target))
    constant = (xx == 0) | (yy == 0)
    found = np.where(constant, np.nan, agreeing / np.sqrt(np.where(constant, 1, xx * yy)))
    return _enough(found, prediction[None], target, weights)[0]


def _level_weights(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """How often each distinct value is in each resample, (b, levels)."""
    order, starts = _levels(values)
    return np.add.reduceat(weights[:, order], starts, axis=1)


def qwk(prediction: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Quadratic-weighted kappa of whole votes 1–5 in each resample; nan where both are one constant."""
    prediction, target = np.asarray(prediction, float), np.asarray(target, float)
    total = weights.sum(1)
    observed = mean((prediction - target) ** 2, weights)
    shares = [weights @ (votes[:, None] == VOTES).astype(float) / total[:, None] for votes in (prediction, target)]
    by_chance = np.einsum("bi,bj,ij->b", *shares, (VOTES[:, None] - VOTES) ** 2.0)
    constant = by_chance <= 1e-12
    return np.where(constant, np.nan, 1 - observed / np.where(constant, 1, by_chance))


@np.errstate(over="ignore", invalid="ignore")  # of what is not finite: nan
def vote_metrics(
    p: np.ndarray, expected: np.ndarray, hard: np.ndarray, votes: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Everything that `metrics.evaluate_votes` returns, for each resample.

    Args:
        p: predicted distributions (n, 5), nan where there are none.
        expected: expected votes (n,).
        hard: whole votes (n,).
        votes: the observer's votes (n,).
        weights: (b, n).
    """
    p, expected, hard = (np.asarray(values, float) for values in (p, expected, hard))
    p = p if np.isfinite(p).all() else np.full_like(p, np.nan)
    error = np.abs(hard - votes)
    shares = weights @ (votes[:, None] == VOTES).astype(float) / weights.sum(1, keepdims=True)
    soft = soft_votes(votes)
    floored = np.log(np.maximum(p, 1e-7))  # nan stays nan: a method without a distribution has no entropy
    found = {
        "accuracy": mean(np.where(np.isnan(error), np.nan, error == 0), weights),
        "qwk": qwk(hard, votes, weights),
        "mae": mean(error, weights),
        "mse_hard": mean(error**2, weights),
        "mse_expected": mean((expected - votes) ** 2, weights),
        "rmse": rmses(expected, votes, weights)[0],
        "srocc": srocc(expected, votes, weights),
        "plcc": plcc(expected, votes, weights),
        "krcc": krcc(expected, votes, weights),
        "cross_entropy": mean(-floored[np.arange(len(votes)), votes - 1], weights),
        "kl_divergence": mean((soft * (np.log(soft) - floored)).sum(1), weights),
        "entropy_predicted": mean(-(p * np.log(np.where(p > 0, p, 1))).sum(1) + 0 * p.sum(1), weights),
        "entropy_votes": -(shares * np.log(np.where(shares > 0, shares, 1))).sum(1),
    }
    return found


@np.errstate(over="ignore", invalid="ignore")
def mos_metrics(
    prediction: np.ndarray, mos: np.ndarray, mapped: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """srocc, plcc, plcc_logistic, krcc, rmse, mae of scores against MOS, for each resample.

    Args:
        prediction: scores (n,).
        mos: (n,).
        mapped: the scores after the logistic fitted to all images (n,), which is not fitted again in every resample, or
            nan.
        weights: (b, n).
    """
    return {
        "srocc": srocc(prediction, mos, weights),
        "plcc": plcc(prediction, mos, weights),
        "plcc_logistic": plcc(mapped, mos, weights),
        "krcc": krcc(prediction, mos, weights),
        "rmse": rmses(prediction, mos, weights)[0],
        "mae": mean(np.abs(np.asarray(prediction, float) - mos), weights),
    }
