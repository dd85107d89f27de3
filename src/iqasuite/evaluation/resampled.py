"""The metrics of `metrics.py` for many resamples at once.

`weights` (b, n) says how often each of n images is in each of b resamples (whole numbers, see `content_weights`); a row
of ones is the sample itself. Every function returns (b,) and equals the plain metric on the repeated images.
"""

from __future__ import annotations

import numpy as np

from iqasuite.evaluation.metrics import VOTES, soft_votes

# Pairs of images grow with the square: above this many a resampled Kendall correlation is left out (nan).
KENDALL_LIMIT = 4000


def mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean of values (n,) in each resample."""
    return weights @ values / weights.sum(1)


def _correlation(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pearson correlation of x and y, each (n,) or (b, n)."""
    total = weights.sum(1, keepdims=True)
    x = x - (weights * x).sum(1, keepdims=True) / total
    y = y - (weights * y).sum(1, keepdims=True) / total
    wx = weights * x
    xx, yy, xy = (wx * x).sum(1), (weights * y * y).sum(1), (wx * y).sum(1)
    spread = np.sqrt(xx * yy)
    constant = (xx <= 1e-12 * total[:, 0]) | (yy <= 1e-12 * total[:, 0])
    return np.where(constant, np.nan, xy / np.where(constant, 1, spread))


def plcc(prediction: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pearson correlation in each resample; nan where either is constant."""
    return _correlation(prediction - prediction.mean(), target - target.mean(), weights)


def ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean rank (b, n) of each image's value (n,) among the repeated images of each resample."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.searchsorted(ordered, ordered, side="left")
    last = np.searchsorted(ordered, ordered, side="right") - 1
    upto = np.zeros((len(weights), len(values) + 1))
    np.cumsum(weights[:, order], axis=1, out=upto[:, 1:])
    rank = np.empty_like(weights, dtype=float)
    rank[:, order] = (upto[:, first] + upto[:, last + 1] + 1) / 2
    return rank


def srocc(prediction: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Spearman correlation in each resample; nan where either is constant."""
    return _correlation(ranks(prediction, weights), ranks(target, weights), weights)


def krcc(prediction: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Kendall tau-b in each resample; nan where either is constant, or with more than KENDALL_LIMIT images."""
    if len(prediction) > KENDALL_LIMIT:
        return np.full(len(weights), np.nan)
    x = np.sign(prediction[:, None] - prediction[None, :]).astype(np.float32)
    y = np.sign(target[:, None] - target[None, :]).astype(np.float32)
    weights = weights.astype(np.float32)

    def pairs(sign: np.ndarray) -> np.ndarray:
        return np.einsum("bn,bn->b", weights @ sign, weights, dtype=float)

    xx, yy = pairs(x * x), pairs(y * y)
    constant = (xx == 0) | (yy == 0)
    return np.where(constant, np.nan, pairs(x * y) / np.sqrt(np.where(constant, 1, xx * yy)))


def qwk(prediction: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Quadratic-weighted kappa of whole votes 1–5 in each resample; nan where both are one constant."""
    total = weights.sum(1)
    observed = weights @ (prediction - target) ** 2 / total
    shares = [weights @ (votes[:, None] == VOTES).astype(float) / total[:, None] for votes in (prediction, target)]
    by_chance = np.einsum("bi,bj,ij->b", *shares, (VOTES[:, None] - VOTES) ** 2.0)
    constant = by_chance <= 1e-12
    return np.where(constant, np.nan, 1 - observed / np.where(constant, 1, by_chance))


def vote_metrics(
    p: np.ndarray, expected: np.ndarray, hard: np.ndarray, votes: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Everything that `metrics.evaluate_votes` returns, for each resample.

    Args:
        p: predicted distributions (n, 5), nan where there are none; expected: expected votes (n,); hard: whole votes
            (n,); votes: the person's votes (n,); weights: (b, n).
    """
    error, squared = np.abs(hard - votes).astype(float), (expected - votes) ** 2
    shares = weights @ (votes[:, None] == VOTES).astype(float) / weights.sum(1, keepdims=True)
    soft = soft_votes(votes)
    floored = np.log(np.maximum(p, 1e-7))  # nan stays nan: a method without a distribution has no entropy
    found = {
        "accuracy": mean((error == 0).astype(float), weights),
        "qwk": qwk(hard, votes, weights),
        "mae": mean(error, weights),
        "mse_hard": mean(error**2, weights),
        "mse_expected": mean(squared, weights),
        "rmse": np.sqrt(mean(squared, weights)),
        "srocc": srocc(expected, votes, weights),
        "plcc": plcc(expected, votes, weights),
        "krcc": krcc(expected, votes, weights),
        "cross_entropy": mean(-floored[np.arange(len(votes)), votes - 1], weights),
        "kl_divergence": mean((soft * (np.log(soft) - floored)).sum(1), weights),
        "entropy_predicted": mean(-(p * np.log(np.where(p > 0, p, 1))).sum(1) + 0 * p.sum(1), weights),
        "entropy_votes": -(shares * np.log(np.where(shares > 0, shares, 1))).sum(1),
    }
    return found


def mos_metrics(
    prediction: np.ndarray, mos: np.ndarray, mapped: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """srocc, plcc, plcc_logistic, krcc, rmse, mae of scores against MOS, for each resample.

    Args:
        prediction: scores (n,); mos: (n,); mapped: the scores after the logistic fitted to all images (n,) — it is not
            fitted again in every resample — or nan; weights: (b, n).
    """
    return {
        "srocc": srocc(prediction, mos, weights),
        "plcc": plcc(prediction, mos, weights),
        "plcc_logistic": plcc(mapped, mos, weights) if np.isfinite(mapped).all() else np.full(len(weights), np.nan),
        "krcc": krcc(prediction, mos, weights),
        "rmse": np.sqrt(mean((prediction - mos) ** 2, weights)),
        "mae": mean(np.abs(prediction - mos), weights),
    }
