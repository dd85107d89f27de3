"""Where an observer's votes change along a quality scale: four cut points, fitted as probabilities or for accuracy."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import ndtr

from iqasuite.datasets.dataset import first_votes
from iqasuite.errors import InputError
from iqasuite.evaluation.baselines import MonotoneThresholds, others_mean, scores_and_votes
from iqasuite.evaluation.subjects.observers import content_of
from iqasuite.evaluation.uncertainty import Z
from iqasuite.names import natural_order

CUTS = ("1|2", "2|3", "3|4", "4|5")


def personal_thresholds(votes: pd.DataFrame, quality: pd.Series, contents: pd.Series | None = None) -> pd.DataFrame:
    """Each observer's cut points on a quality scale, and how sharply their votes change there.

    P(vote ≤ k) = Φ((cut_k − quality)/noise), the ordinal probit of `MonotoneThresholds` on the quality's own scale;
    where votes fall as quality rises, with the signs turned. Intervals are Wald's, from the sandwich covariance with
    whole contents as clusters, so images of one content may have more in common than their quality.

    Args:
        votes: votes frame; first votes on images with finite quality count.
        quality: image -> a score such as JPEG quality, the MOS of other observers, or a model's prediction.
        contents: image -> content; None = every image by itself.

    Returns:
        Long frame observer, n (images), parameter ("1|2" … "4|5", slope in probits per unit of quality, noise =
        1/|slope|), value, low, high (95 %). A cut with no vote below or above it is nan; around a vote that is never
        used between others, both cuts are one.

    Raises:
        InputError: an image without content, or no voted image that has a quality.

    Reference: P. McCullagh, "Regression models for ordinal data", J. Royal Statistical Society B 42, 1980; clusters:
    K.-Y. Liang & S. L. Zeger, Biometrika 73, 1986.
    """
    votes = first_votes(votes)
    votes = votes.assign(quality=votes["image"].map(quality).astype(float))
    votes = votes[np.isfinite(votes["quality"])]
    if votes.empty:
        raise InputError("quality: no value for any image that somebody voted on, expected index image")
    rows = []
    for observer in natural_order(votes["observer"]):
        own = votes[votes["observer"] == observer]
        groups = content_of(own["image"], contents)
        found = _cuts(own["quality"].to_numpy(), own["vote"].to_numpy(int), groups)
        rows += [(observer, len(own), parameter, *values) for parameter, values in found.items()]
    return pd.DataFrame(rows, columns=["observer", "n", "parameter", "value", "low", "high"])


def thresholds_on_others(votes: pd.DataFrame, contents: pd.Series | None = None) -> pd.DataFrame:
    """Each observer's cut points on the mean vote of the other observers.

    Args:
        votes: votes frame; first votes on images that others have rated count.
        contents: image -> content; None = every image by itself.

    Returns:
        As `personal_thresholds`; without rows of observers who rated no image that others have rated.
    """
    votes, found = first_votes(votes), []
    for observer in natural_order(votes["observer"]):
        quality, own = others_mean(votes, observer), votes[votes["observer"] == observer]
        own = own[own["image"].isin(quality.index)]
        found += [personal_thresholds(own, quality, contents)] if len(own) else []
    columns = ["observer", "n", "parameter", "value", "low", "high"]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=columns)


def _cuts(score: np.ndarray, votes: np.ndarray, groups: np.ndarray) -> dict[str, tuple[float, float, float]]:
    used = np.unique(votes)
    found = dict.fromkeys((*CUTS, "slope", "noise"), (np.nan, np.nan, np.nan))
    if len(used) < 2 or np.ptp(score) == 0:
        return found
    # Fitted to the votes that occur, numbered without gaps: a gap would be held open by the fit's penalty only.
    rank = np.searchsorted(used, votes) + 1
    fitted = MonotoneThresholds().fit(score, rank)
    slope, edges = fitted.slope_, fitted.thresholds_[: len(used) - 1]
    covariance = _sandwich((score - fitted.mean_) / fitted.std_, rank, slope, edges, groups)
    unit = fitted.std_
    slope_std = np.sqrt(covariance[0, 0])
    for k, cut in enumerate(CUTS):
        below = int((used <= k + 1).sum())  # how many of the used votes lie below this cut
        if not 0 < below < len(used):
            continue
        place = edges[below - 1] / slope
        direction = np.zeros(len(covariance))
        direction[0], direction[below] = -place / slope, 1 / slope
        found[cut] = _interval(fitted.mean_ + unit * place, unit * np.sqrt(direction @ covariance @ direction))
    found["slope"] = _interval(slope / unit, slope_std / unit)
    low, high = abs(slope) - Z * slope_std, abs(slope) + Z * slope_std
    found["noise"] = (unit / abs(slope), unit / high, unit / low if low > 0 else np.inf)
    return found


def _interval(value: float, std: float) -> tuple[float, float, float]:
    return float(value), float(value - Z * std), float(value + Z * std)


def _sandwich(s: np.ndarray, rank: np.ndarray, slope: float, edges: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Covariance (1 + edges, same) of slope and thresholds on the standardised score, robust to what contents share."""
    argument = edges - slope * s[:, None]
    density = np.exp(-0.5 * argument**2) / np.sqrt(2 * np.pi)
    below = ndtr(argument)
    ends = np.zeros((len(s), 1))
    p = np.maximum(np.diff(np.concatenate([ends, below, ends + 1], axis=1), axis=1), 1e-12)
    # How each vote's probability moves with slope and thresholds: (n, votes, parameters).
    moves = np.zeros((len(s), len(edges) + 1, len(edges) + 1))
    for k in range(len(edges)):
        moves[:, k, k + 1], moves[:, k + 1, k + 1] = density[:, k], -density[:, k]
    moves[:, :, 0] = -s[:, None] * moves[:, :, 1:].sum(2)
    information = np.einsum("nvj,nvk->jk", moves / p[:, :, None], moves)
    scores = moves[np.arange(len(s)), rank - 1] / p[np.arange(len(s)), rank - 1][:, None]
    names, group = np.unique(groups, return_inverse=True)
    summed = np.zeros((len(names), scores.shape[1]))
    np.add.at(summed, group, scores)
    bread = np.linalg.pinv(information)
    return bread @ (summed.T @ summed) @ bread * len(names) / max(len(names) - 1, 1)


class AccuracyThresholds:
    """Cut points on one score whose votes agree with as many of the given ones as monotone votes can.

    No distribution and no curve: the sharpest use of a score that is monotone, found exactly by dynamic programming
    over the distinct scores; of equally good votes the lower ones. A cut lies halfway between two scores. Whether votes
    rise or fall with the score is taken from their correlation. Votes that never occur never come out, nor need those
    that occur seldom.

    Attributes:
        scores_: where each step of the votes begins, increasing (m,), the first −inf; votes_: votes there (m,).
    """

    def fit(self, score: np.ndarray, votes: np.ndarray) -> AccuracyThresholds:
        """Fit on finite scores (n,) and votes 1–5 (n,).

        Raises:
            ValueError: lengths differ, no votes, a score that is not finite, a vote outside 1–5.
        """
        score, votes = scores_and_votes(score, votes)
        falling = bool(np.ptp(score) and np.ptp(votes) and np.corrcoef(score, votes)[0, 1] < 0)
        distinct, place = np.unique(score, return_inverse=True)
        counts = np.bincount(5 * place + votes - 1, minlength=5 * len(distinct)).reshape(-1, 5)
        path = _best_monotone(counts[::-1] if falling else counts)
        path = path[::-1] if falling else path
        steps = np.flatnonzero(np.diff(path)) + 1
        self.scores_ = np.concatenate([[-np.inf], (distinct[steps - 1] + distinct[steps]) / 2])
        self.votes_ = np.concatenate([path[:1], path[steps]]) + 1
        return self

    def predict(self, score: np.ndarray) -> np.ndarray:
        """Whole votes (n,) for scores (n,)."""
        return self.votes_[np.searchsorted(self.scores_, np.asarray(score, float), side="right") - 1]


def _best_monotone(value: np.ndarray) -> np.ndarray:
    """Non-decreasing classes (m,) in 0…4 with the largest sum of value (m, 5); of equally good ones the lower."""
    total, came = value[0].astype(float), np.zeros(value.shape, int)
    for i in range(1, len(value)):
        best = np.maximum.accumulate(total)
        # The lowest class that reaches the best so far, for each upper limit.
        came[i] = np.maximum.accumulate(np.where(total > np.concatenate([[-np.inf], best[:-1]]), np.arange(5), 0))
        total = best + value[i]
    path = np.empty(len(value), int)
    path[-1] = int(total.argmax())
    for i in range(len(value) - 1, 0, -1):
        path[i - 1] = came[i, path[i]]
    return path
