"""How well predictions agree with observers: correlations and errors for scores, agreement for votes.

Every metric is `(prediction, target) -> float` on numpy arrays. Votes are whole numbers 1 (bad) to 5 (excellent); a
distribution over votes is an array `(n, 5)` whose rows sum to 1. Numbers are taken as 64-bit floats. What cannot be
known is nan, never 0 and no error: a correlation with a constant, a kappa of two constants; and, with a warning that
says so, anything of values that are not finite, a correlation of fewer than three images, an error too large for a
float.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
from scipy.optimize import curve_fit
from scipy.stats import kendalltau, rankdata

from iqasuite.inference.predictions import VOTES, hard_votes

# Standard deviation (in votes) of the softened label [.0002 .0997 .8002 .0997 .0002]: the AIO study's .7².
SOFT_LABEL_SIGMA = 0.49


LEAST = 3  # images below which nothing is a correlation: two images always lie on a line


def _pair(prediction: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    prediction, target = np.asarray(prediction, float), np.asarray(target, float)
    if prediction.ndim != 1 or prediction.shape != target.shape:
        raise ValueError(f"prediction {prediction.shape} and target {target.shape}: expected two vectors of one length")
    return prediction, target


def why_unknown(prediction: np.ndarray, target: np.ndarray, least: int = LEAST) -> str:
    """Why no metric of predictions (n,) and targets (n,) can be known that needs `least` images; "" where it can."""
    for name, values in (("predictions", prediction), ("targets", target)):
        bad = len(values) - np.isfinite(values).sum()
        if bad:
            return f"{bad} of {len(values)} {name} are not finite"
    return "" if len(target) >= least else f"{len(target)} images, expected {least} or more"


def _known(least: int) -> Callable[..., Any]:
    """A metric that is nan, with a warning that says why, where it cannot be known; see the top of this module."""

    def checked(metric: Callable[[np.ndarray, np.ndarray], float]) -> Callable[[np.ndarray, np.ndarray], float]:
        @wraps(metric)
        def value(prediction: np.ndarray, target: np.ndarray) -> float:
            prediction, target = _pair(prediction, target)
            reason, found = why_unknown(prediction, target, least), np.nan
            if not reason:
                with np.errstate(over="ignore"):
                    found = metric(prediction, target)
                reason = "too large for a 64-bit float" if np.isinf(found) else ""
            if reason:
                warnings.warn(f"{metric.__name__}: {reason}; the result is nan", stacklevel=2)
            return float("nan") if reason else float(found)

        return value

    return checked


def near_one(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values (…, n) and exponents (…, 1): times 2^-exponent, which loses nothing, their squares fit into a float.

    Exponents are 0 where they do already.
    """
    largest = np.abs(values).max(-1, keepdims=True, initial=0)
    exponent = np.where((largest > 1e50) | (largest < 1e-50), np.frexp(largest)[1], 0)
    return np.ldexp(values, -exponent), exponent


def _constant(values: np.ndarray) -> bool:
    return bool((values == values[0]).all())


@_known(LEAST)
def srocc(prediction: np.ndarray, target: np.ndarray) -> float:
    """Spearman rank-order correlation between predicted and subjective quality.

    Args:
        prediction: scores of any monotone scale, shape (n,).
        target: mean opinion scores or votes, higher = better, shape (n,).

    Returns:
        Correlation in [-1, 1], ties sharing their mean rank; nan where either input is constant, and, with a warning,
        with fewer than three images or values that are not finite.

    Raises:
        ValueError: shapes differ.

    Reference: C. Spearman, "The proof and measurement of association between two things", 1904.
    """
    return plcc(rankdata(prediction), rankdata(target))


@_known(LEAST)
def plcc(prediction: np.ndarray, target: np.ndarray) -> float:
    """Pearson linear correlation, shapes (n,) and (n,); in [-1, 1], nan as `srocc`.

    Raises:
        ValueError: shapes differ.
    """
    if _constant(prediction) or _constant(target):
        return np.nan
    (prediction, _), (target, _) = near_one(prediction), near_one(target)
    x, y = prediction - prediction.mean(), target - target.mean()
    return np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1, 1)


@_known(LEAST)
def krcc(prediction: np.ndarray, target: np.ndarray) -> float:
    """Kendall rank correlation (tau-b, corrected for ties), shapes (n,) and (n,); in [-1, 1], nan as `srocc`.

    Raises:
        ValueError: shapes differ.

    Reference: M. G. Kendall, "The treatment of ties in ranking problems", Biometrika 33, 1945.
    """
    if _constant(prediction) or _constant(target):
        return np.nan
    return kendalltau(prediction, target).statistic


def _logistic(x: np.ndarray, top: float, bottom: float, centre: float, width: float) -> np.ndarray:
    return bottom + (top - bottom) / (1 + np.exp(-np.clip((x - centre) / (abs(width) + 1e-9), -60, 60)))


def _logistics(x: np.ndarray, target: np.ndarray, starts: list[Any], **bounds: Any) -> list[tuple[float, np.ndarray]]:
    """Squared error and parameters of the logistics that are found from several starts."""
    curves = []
    for start in starts:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an undetermined covariance says nothing about the curve itself
                curve, _ = curve_fit(_logistic, x, target, p0=start, maxfev=4000, **bounds)
        except (RuntimeError, ValueError):  # scipy's words for "did not converge": another start may
            continue
        curves.append((float(np.sum((_logistic(x, *curve) - target) ** 2)), curve))
    return [(error, curve) for error, curve in curves if np.isfinite(error)]


def logistic_map(prediction: np.ndarray, target: np.ndarray) -> Callable[[np.ndarray], np.ndarray] | None:
    """Monotone 4-parameter logistic that maps predictions to the scale of the target; None where no fit is found.

    Args:
        prediction: scores of any scale, shape (n,); with values that are not finite, or fewer than 4, there is no fit.
        target: mean opinion scores, shape (n,).

    Reference: VQEG, "Final report on the validation of objective models of video quality assessment, phase II", 2003.
    """
    prediction, target = _pair(prediction, target)
    if why_unknown(prediction, target, 4) or _constant(prediction) or _constant(target):
        return None
    (prediction, exponent), (target, of_target) = near_one(prediction), near_one(target)
    centre, spread = prediction.mean(), prediction.std()
    if spread == 0:
        return None
    x = (prediction - centre) / spread
    ends = (target.max(), target.min()) if plcc(x, target) >= 0 else (target.min(), target.max())
    near = [(*ends, 0.0, 0.5), (*ends, float(np.median(x)), 1.0), (*ends, 0.0, 3.0)]  # steep, plain, almost linear
    # One end may be so far away that the curve is an exponential, after which an unbounded fit runs without end.
    reach = 3 * np.ptp(target)
    low, high = target.min() - reach, target.max() + reach
    top, bottom = (high, low) if ends[0] > ends[1] else (low, high)
    far = [((top + ends[0]) / 2, ends[1], 2.0, 1.0), (ends[0], (bottom + ends[1]) / 2, -2.0, 1.0)]
    found = [
        *_logistics(x, target, near),
        *_logistics(x, target, far, bounds=((low, low, -10, 1e-3), (high, high, 10, 30))),
    ]
    if not found:
        return None
    _, best = min(found, key=lambda error_and_curve: error_and_curve[0])

    def mapping(score: np.ndarray) -> np.ndarray:
        x = (np.ldexp(np.asarray(score, float), -exponent) - centre) / spread
        return np.ldexp(_logistic(x, *best), of_target)

    return mapping


@_known(4)
def plcc_logistic(prediction: np.ndarray, target: np.ndarray) -> float:
    """Pearson correlation after a 4-parameter logistic has been fitted to the very same images (VQEG's custom).

    Args:
        prediction: scores of any scale, shape (n,).
        target: mean opinion scores, shape (n,).

    Returns:
        Correlation in [0, 1]; nan, with a warning, where no logistic could be fitted (constant input, fewer than 4
        images, values that are not finite, no convergence).

    Reference: VQEG, final report, phase II, 2003.
    """
    mapping = logistic_map(prediction, target)
    if mapping is None:
        warnings.warn("plcc_logistic: no 4-parameter logistic could be fitted; the result is nan", stacklevel=3)
        return np.nan
    return plcc(mapping(prediction), target)


@_known(1)
def rmse(prediction: np.ndarray, target: np.ndarray) -> float:
    """Root mean squared error, in the unit of the target; shapes (n,) and (n,)."""
    difference, exponent = near_one(prediction - target)
    return np.ldexp(np.sqrt(np.mean(difference**2)), exponent[0])


@_known(1)
def mae(prediction: np.ndarray, target: np.ndarray) -> float:
    """Mean absolute error, in the unit of the target; shapes (n,) and (n,)."""
    return np.mean(np.abs(prediction - target))


@_known(1)
def mse_hard(prediction: np.ndarray, target: np.ndarray) -> float:
    """Mean squared error of whole votes (n,), in votes squared."""
    return np.square(rmse(prediction, target))


@_known(1)
def mse_expected(prediction: np.ndarray, target: np.ndarray) -> float:
    """Mean squared error of expected votes (n,), real numbers, in votes squared."""
    return np.square(rmse(prediction, target))


@_known(1)
def accuracy(prediction: np.ndarray, target: np.ndarray) -> float:
    """Share of images whose predicted whole vote is the observer's vote, in [0, 1]; shapes (n,) and (n,)."""
    return np.mean(prediction == target)


def confusion(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Counts (5, 5) of whole votes: rows the observer's vote 1–5, columns the predicted vote 1–5.

    Raises:
        ValueError: a vote that is not a whole number from 1 to 5.
    """
    prediction, target = _pair(prediction, target)
    for name, votes in (("prediction", prediction), ("target", target)):
        if not np.isin(votes, VOTES).all():
            found = votes[~np.isin(votes, VOTES)][0]
            raise ValueError(f"{name}: found {found:g}, expected whole votes from 1 to 5")
    flat = (target.astype(int) - 1) * 5 + prediction.astype(int) - 1
    return np.bincount(flat, minlength=25).reshape(5, 5)


@_known(1)
def qwk(prediction: np.ndarray, target: np.ndarray) -> float:
    """Cohen's kappa with quadratic weights between whole votes 1–5, shapes (n,) and (n,).

    Returns:
        Agreement beyond chance, at most 1, 0 = chance; nan where both are one and the same constant.

    Reference: J. Cohen, "Weighted kappa", Psychological Bulletin 70, 1968.
    """
    observed = confusion(prediction, target).astype(float)
    weight = (VOTES[:, None] - VOTES[None, :]) ** 2
    by_chance = observed.sum(1)[:, None] * observed.sum(0)[None, :] / max(observed.sum(), 1)
    disagreement = (weight * by_chance).sum()
    return 1 - (weight * observed).sum() / disagreement if disagreement > 0 else np.nan


def soft_votes(votes: np.ndarray, sigma: float = SOFT_LABEL_SIGMA) -> np.ndarray:
    """Distributions (n, 5) around whole votes (n,): a Gaussian of `sigma` votes, sampled at 1–5 and normalised."""
    distance = VOTES[None, :] - np.asarray(votes, float)[:, None]
    weight = np.exp(-0.5 * (distance / sigma) ** 2)
    return weight / weight.sum(1, keepdims=True)


def _or_nan(p: np.ndarray) -> np.ndarray:
    p = np.asarray(p, float)
    return p if np.isfinite(p).all() else np.full_like(p, np.nan)


def entropy(p: np.ndarray) -> float:
    """Mean entropy (nats, 0 to ln 5) of distributions (n, 5), predicted or true; nan where one is not finite."""
    p = _or_nan(p)
    return float(-(p * np.log(np.where(p > 0, p, 1))).sum(1).mean())


def cross_entropy(p: np.ndarray, votes: np.ndarray) -> float:
    """Mean −ln of the probability (n, 5) given to the votes (n,), in nats; probabilities are floored at 1e-7."""
    p, votes = _or_nan(p), np.asarray(votes, int)
    return float(-np.log(np.maximum(p[np.arange(len(votes)), votes - 1], 1e-7)).mean())


def kl_divergence(p: np.ndarray, target: np.ndarray) -> float:
    """Mean Kullback–Leibler divergence KL(target ‖ p) of distributions (n, 5), in nats; `p` is floored at 1e-7."""
    p, target = _or_nan(p), _or_nan(target)
    ratio = np.where(target > 0, target, 1) / np.maximum(p, 1e-7)
    return float((target * np.log(ratio)).sum(1).mean())


_OF_SCORES, _OF_WHOLE_VOTES = (srocc, plcc, plcc_logistic, krcc, rmse, mae), (accuracy, qwk, mse_hard)
_OF_DISTRIBUTIONS = (mse_expected, cross_entropy, kl_divergence)
METRICS = {metric.__name__: metric for metric in (*_OF_SCORES, *_OF_WHOLE_VOTES, *_OF_DISTRIBUTIONS)}
LOWER_IS_BETTER = {"rmse", "mae", "mse_hard", "mse_expected", "cross_entropy", "kl_divergence"}


def evaluate_votes(p: np.ndarray, votes: np.ndarray, expected: np.ndarray | None = None) -> dict[str, float]:
    """All vote metrics of one observer's predictions.

    Args:
        p: predicted distributions, shape (n, 5); nan where a method predicts no distribution (then give `expected`).
        votes: the observer's votes 1–5, shape (n,).
        expected: expected votes, shape (n,); by default the mean of `p`.

    Returns:
        accuracy, qwk, mae and mse_hard of the whole vote; mse_expected, rmse, srocc, plcc and krcc of the expected
        vote; cross_entropy (against the vote), kl_divergence (against the softened vote) and entropy_predicted of the
        distribution; entropy_votes, the entropy of the observer's own votes taken together. Entropies in nats.
    """
    p, votes = np.asarray(p, float), np.asarray(votes, int)
    expected = p @ VOTES if expected is None else np.asarray(expected, float)
    hard = hard_votes(p, expected) if np.isfinite(expected).all() else np.full(len(votes), np.nan)
    shares = np.bincount(votes - 1, minlength=5)[None, :] / len(votes)
    return {
        "accuracy": accuracy(hard, votes),
        "qwk": qwk(hard, votes),
        "mae": mae(hard, votes),
        "mse_hard": mse_hard(hard, votes),
        "mse_expected": mse_expected(expected, votes),
        "rmse": rmse(expected, votes),
        "srocc": srocc(expected, votes),
        "plcc": plcc(expected, votes),
        "krcc": krcc(expected, votes),
        "cross_entropy": cross_entropy(p, votes),
        "kl_divergence": kl_divergence(p, soft_votes(votes)),
        "entropy_predicted": entropy(p),
        "entropy_votes": entropy(shares),
    }
