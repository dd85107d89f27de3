"""How well predictions agree with people: correlations and errors for scores, agreement for votes.

Every metric is `(prediction, target) -> float` on numpy arrays. Votes are whole numbers 1 (bad) to 5 (excellent); a
distribution over votes is an array `(n, 5)` whose rows sum to 1. What is not defined (a correlation with a constant, a
kappa of two constants) is nan, never 0.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from scipy.optimize import curve_fit
from scipy.stats import kendalltau, rankdata

VOTES = np.arange(1, 6)
# Standard deviation (in votes) of the softened label [.0002 .0997 .8002 .0997 .0002]: the AIO study's .7².
SOFT_LABEL_SIGMA = 0.49


def _pair(prediction: np.ndarray, target: np.ndarray, at_least: int = 2) -> tuple[np.ndarray, np.ndarray]:
    prediction, target = np.asarray(prediction, float), np.asarray(target, float)
    if prediction.ndim != 1 or prediction.shape != target.shape:
        raise ValueError(f"prediction {prediction.shape} and target {target.shape}: expected two vectors of one length")
    if len(prediction) < at_least:
        raise ValueError(f"{len(prediction)} images: expected at least {at_least}")
    return prediction, target


def srocc(prediction: np.ndarray, target: np.ndarray) -> float:
    """Spearman rank-order correlation between predicted and subjective quality.

    Args:
        prediction: scores of any monotone scale, shape (n,).
        target: mean opinion scores or votes, higher = better, shape (n,).

    Returns:
        Correlation in [-1, 1], ties sharing their mean rank; nan where either input is constant.

    Raises:
        ValueError: shapes differ or fewer than two images.

    Reference: C. Spearman, "The proof and measurement of association between two things", 1904.
    """
    prediction, target = _pair(prediction, target)
    return plcc(rankdata(prediction), rankdata(target))


def plcc(prediction: np.ndarray, target: np.ndarray) -> float:
    """Pearson linear correlation, shapes (n,) and (n,); in [-1, 1], nan where either input is constant.

    Raises:
        ValueError: shapes differ or fewer than two images.
    """
    prediction, target = _pair(prediction, target)
    if np.ptp(prediction) == 0 or np.ptp(target) == 0:
        return float("nan")
    x, y = prediction - prediction.mean(), target - target.mean()
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1, 1))


def krcc(prediction: np.ndarray, target: np.ndarray) -> float:
    """Kendall rank correlation (tau-b, corrected for ties), shapes (n,) and (n,); in [-1, 1], nan where constant.

    Raises:
        ValueError: shapes differ or fewer than two images.

    Reference: M. G. Kendall, "The treatment of ties in ranking problems", Biometrika 33, 1945.
    """
    prediction, target = _pair(prediction, target)
    if np.ptp(prediction) == 0 or np.ptp(target) == 0:
        return float("nan")
    return float(kendalltau(prediction, target).statistic)


def _logistic(x: np.ndarray, top: float, bottom: float, centre: float, width: float) -> np.ndarray:
    return bottom + (top - bottom) / (1 + np.exp(-np.clip((x - centre) / (abs(width) + 1e-9), -60, 60)))


def _logistics(x: np.ndarray, target: np.ndarray, starts: list, **bounds) -> list[tuple[float, np.ndarray]]:
    """Squared error and parameters of the logistics that are found from several starts."""
    curves = []
    for start in starts:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an undetermined covariance says nothing about the curve itself
                curve, _ = curve_fit(_logistic, x, target, p0=start, maxfev=4000, **bounds)
        except RuntimeError:  # scipy's word for "did not converge": another start may
            continue
        curves.append((float(np.sum((_logistic(x, *curve) - target) ** 2)), curve))
    return [(error, curve) for error, curve in curves if np.isfinite(error)]


def logistic_map(prediction: np.ndarray, target: np.ndarray) -> Callable[[np.ndarray], np.ndarray] | None:
    """Monotone 4-parameter logistic that maps predictions to the scale of the target; None where no fit is found.

    Args:
        prediction: scores of any scale, shape (n,).
        target: mean opinion scores, shape (n,).

    Reference: VQEG, "Final report on the validation of objective models of video quality assessment, phase II", 2003.
    """
    prediction, target = _pair(prediction, target)
    centre, spread = prediction.mean(), prediction.std()
    if spread == 0 or np.ptp(target) == 0 or len(prediction) < 4:
        return None
    x = (prediction - centre) / spread
    ends = (target.max(), target.min()) if plcc(x, target) >= 0 else (target.min(), target.max())
    near = [(*ends, 0.0, 0.5), (*ends, float(np.median(x)), 1.0), (*ends, 0.0, 3.0)]  # steep, plain, almost linear
    # One end may be so far away that the curve is an exponential, after which an unbounded fit runs without end.
    reach = 3 * np.ptp(target)
    low, high = target.min() - reach, target.max() + reach
    top, bottom = (high, low) if ends[0] > ends[1] else (low, high)
    far = [((top + ends[0]) / 2, ends[1], 2.0, 1.0), (ends[0], (bottom + ends[1]) / 2, -2.0, 1.0)]
    found = [*_logistics(x, target, near),
             *_logistics(x, target, far, bounds=((low, low, -10, 1e-3), (high, high, 10, 30)))]  # fmt: skip
    if not found:
        return None
    _, best = min(found, key=lambda error_and_curve: error_and_curve[0])
    return lambda score: _logistic((np.asarray(score, float) - centre) / spread, *best)


def plcc_logistic(prediction: np.ndarray, target: np.ndarray) -> float:
    """Pearson correlation after a 4-parameter logistic has been fitted to the very same images (VQEG's custom).

    Args:
        prediction: scores of any scale, shape (n,).
        target: mean opinion scores, shape (n,).

    Returns:
        Correlation in [0, 1]; nan, with a warning, where no logistic could be fitted (constant input, fewer than 4
        images, no convergence).

    Reference: VQEG, final report, phase II, 2003.
    """
    mapping = logistic_map(prediction, target)
    if mapping is None:
        warnings.warn("plcc_logistic: no 4-parameter logistic could be fitted; the result is nan", stacklevel=2)
        return float("nan")
    return plcc(mapping(prediction), target)


def rmse(prediction: np.ndarray, target: np.ndarray) -> float:
    """Root mean squared error, in the unit of the target; shapes (n,) and (n,)."""
    prediction, target = _pair(prediction, target, 1)
    return float(np.sqrt(np.mean((prediction - target) ** 2)))


def mae(prediction: np.ndarray, target: np.ndarray) -> float:
    """Mean absolute error, in the unit of the target; shapes (n,) and (n,)."""
    prediction, target = _pair(prediction, target, 1)
    return float(np.mean(np.abs(prediction - target)))


def mse_hard(prediction: np.ndarray, target: np.ndarray) -> float:
    """Mean squared error of whole votes (n,), in votes squared."""
    return rmse(prediction, target) ** 2


def mse_expected(prediction: np.ndarray, target: np.ndarray) -> float:
    """Mean squared error of expected votes (n,), real numbers, in votes squared."""
    return rmse(prediction, target) ** 2


def accuracy(prediction: np.ndarray, target: np.ndarray) -> float:
    """Share of images whose predicted whole vote is the person's vote, in [0, 1]; shapes (n,) and (n,)."""
    prediction, target = _pair(prediction, target, 1)
    return float(np.mean(prediction == target))


def confusion(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Counts (5, 5) of whole votes: rows the person's vote 1–5, columns the predicted vote 1–5.

    Raises:
        ValueError: a vote that is not a whole number from 1 to 5.
    """
    prediction, target = _pair(prediction, target, 0)
    for name, votes in (("prediction", prediction), ("target", target)):
        if not np.isin(votes, VOTES).all():
            found = votes[~np.isin(votes, VOTES)][0]
            raise ValueError(f"{name}: found {found:g}, expected whole votes from 1 to 5")
    flat = (target.astype(int) - 1) * 5 + prediction.astype(int) - 1
    return np.bincount(flat, minlength=25).reshape(5, 5)


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
    return float(1 - (weight * observed).sum() / disagreement) if disagreement > 0 else float("nan")


def soft_votes(votes: np.ndarray, sigma: float = SOFT_LABEL_SIGMA) -> np.ndarray:
    """Distributions (n, 5) around whole votes (n,): a Gaussian of `sigma` votes, sampled at 1–5 and normalised."""
    distance = VOTES[None, :] - np.asarray(votes, float)[:, None]
    weight = np.exp(-0.5 * (distance / sigma) ** 2)
    return weight / weight.sum(1, keepdims=True)


def entropy(p: np.ndarray) -> float:
    """Mean entropy (nats, 0 to ln 5) of distributions (n, 5): of predictions or of true distributions, as given."""
    p = np.asarray(p, float)
    return float(-(p * np.log(np.where(p > 0, p, 1))).sum(1).mean())


def cross_entropy(p: np.ndarray, votes: np.ndarray) -> float:
    """Mean −ln of the probability (n, 5) given to the votes (n,), in nats; probabilities are floored at 1e-7."""
    p, votes = np.asarray(p, float), np.asarray(votes, int)
    return float(-np.log(np.maximum(p[np.arange(len(votes)), votes - 1], 1e-7)).mean())


def kl_divergence(p: np.ndarray, target: np.ndarray) -> float:
    """Mean Kullback–Leibler divergence KL(target ‖ p) of distributions (n, 5), in nats; `p` is floored at 1e-7."""
    p, target = np.asarray(p, float), np.asarray(target, float)
    ratio = np.where(target > 0, target, 1) / np.maximum(p, 1e-7)
    return float((target * np.log(ratio)).sum(1).mean())


def hard_votes(p: np.ndarray, expected: np.ndarray | None = None) -> np.ndarray:
    """Whole votes (n,): the most probable vote of `p` (n, 5); where a row has nan, `expected` (n,) rounded to 1–5."""
    p = np.asarray(p, float)
    most_probable = np.argmax(np.nan_to_num(p), axis=1) + 1
    if expected is None:
        return most_probable
    # Half a vote goes up: numpy's rounding to even would make 2.5 a 2 and 3.5 a 4.
    rounded = np.clip(np.floor(np.asarray(expected, float) + 0.5), 1, 5).astype(int)
    return np.where(np.isnan(p).any(1), rounded, most_probable)


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "srocc": srocc,
    "plcc": plcc,
    "plcc_logistic": plcc_logistic,
    "krcc": krcc,
    "rmse": rmse,
    "mae": mae,
    "accuracy": accuracy,
    "qwk": qwk,
    "mse_hard": mse_hard,
    "mse_expected": mse_expected,
    "cross_entropy": cross_entropy,
    "kl_divergence": kl_divergence,
}


def evaluate_votes(p: np.ndarray, votes: np.ndarray, expected: np.ndarray | None = None) -> dict[str, float]:
    """All vote metrics of one observer's predictions.

    Args:
        p: predicted distributions, shape (n, 5); nan where a method predicts no distribution (then give `expected`).
        votes: the person's votes 1–5, shape (n,).
        expected: expected votes, shape (n,); by default the mean of `p`.

    Returns:
        accuracy, qwk, mae and mse_hard of the whole vote; mse_expected, rmse, srocc, plcc and krcc of the expected
        vote; cross_entropy (against the vote), kl_divergence (against the softened vote) and entropy_predicted of the
        distribution; entropy_votes, the entropy of the person's own votes taken together. Entropies in nats.
    """
    p, votes = np.asarray(p, float), np.asarray(votes, int)
    expected = p @ VOTES if expected is None else np.asarray(expected, float)
    hard = hard_votes(p, expected)
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
        "cross_entropy": cross_entropy(p, votes) if not np.isnan(p).any() else float("nan"),
        "kl_divergence": kl_divergence(p, soft_votes(votes)) if not np.isnan(p).any() else float("nan"),
        "entropy_predicted": entropy(p) if not np.isnan(p).any() else float("nan"),
        "entropy_votes": entropy(shares),
    }
