"""What every artificial observer must be compared with: trivial baselines, one model of MOS, and the other observers.

All are fitted per observer on the train and val parts of a fold and predict its test part.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import log_ndtr, ndtr

from iqasuite.datasets.dataset import Dataset, first_votes
from iqasuite.errors import InputError
from iqasuite.inference.predictions import predictions_frame

MAJORITY = "baseline: majority"
MOS_ROUNDED = "baseline: MOS model, rounded"
MOS_PERSONAL = "baseline: MOS model, personal thresholds"
CEILING = "ceiling: mean of the other people"


_SHRINK = 5.0  # votes: so much the shares of all of an observer's votes weigh beside those on images of one category


def thresholds_on(nuisance_name: str) -> str:
    """Name of the baseline that sees only a number which the file gives away: "baseline: thresholds on height"."""
    return f"baseline: thresholds on {nuisance_name}"


def nuisance_baselines(nuisances: pd.DataFrame) -> dict[str, str]:
    """Column of `Dataset.nuisances` -> name of its baseline: `thresholds_on` it, or "baseline: votes by codec"."""
    numbers = set(nuisances.select_dtypes("number"))
    return {name: thresholds_on(name) if name in numbers else f"baseline: votes by {name}" for name in nuisances}


def vote_shares(votes: np.ndarray) -> np.ndarray:
    """Shares (5,) of the votes 1–5 among votes (n,)."""
    return np.bincount(np.asarray(votes, int) - 1, minlength=5) / max(len(votes), 1)


def majority(votes: np.ndarray, n: int) -> np.ndarray:
    """Distributions (n, 5): everywhere the observer's shares among the training votes, so the hard vote is the mode."""
    return np.tile(vote_shares(votes), (n, 1))


def scores_and_votes(score: np.ndarray, votes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores (n,) as float and votes (n,) as int.

    Raises:
        ValueError: lengths differ, no votes, a score that is not finite, a vote outside 1–5.
    """
    score, votes = np.asarray(score, float), np.asarray(votes, int)
    if score.shape != votes.shape or score.ndim != 1 or len(score) == 0:
        raise ValueError(f"score {score.shape} and votes {votes.shape}: expected two vectors of one length")
    if not np.isfinite(score).all() or votes.min() < 1 or votes.max() > 5:
        raise ValueError("score: expected finite numbers; votes: expected whole numbers from 1 to 5")
    return score, votes


class MonotoneThresholds:
    """Ordinal probit on one score: P(vote ≤ k | s) = Φ(t_k − a·s), with t_1 < t_2 < t_3 < t_4.

    The score is standardised; slope and thresholds maximise the likelihood of the votes, with a weak penalty (on
    the squared slope and log gaps) that keeps the thresholds finite where a vote never occurs or a score separates the
    votes. The slope may be negative: the relation is monotone, in the direction that the votes ask for.

    Attributes:
        slope_: a; thresholds_: t_1…t_4 on the standardised score, shape (4,).

    Reference: P. McCullagh, "Regression models for ordinal data", J. Royal Statistical Society B 42, 1980.
    """

    def __init__(self, penalty: float = 0.01):
        self.penalty = penalty

    def fit(self, score: np.ndarray, votes: np.ndarray) -> MonotoneThresholds:
        """Fit on finite scores (n,) and votes 1–5 (n,).

        Raises:
            ValueError: lengths differ, no votes, a score that is not finite, a vote outside 1–5.
        """
        score, votes = scores_and_votes(score, votes)
        self.mean_, self.std_ = score.mean(), score.std() or 1.0
        s = (score - self.mean_) / self.std_
        slope = np.corrcoef(s, votes)[0, 1] if np.ptp(s) and np.ptp(votes) else 0.0
        start = np.array([2 * slope, -1.5, 0.0, 0.0, 0.0])
        best = minimize(self._loss, start, args=(s, votes), jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
        self.slope_ = float(best[0])
        self.thresholds_ = best[1] + np.concatenate([[0.0], np.cumsum(np.exp(best[2:]))])
        return self

    def _loss(self, parameters: np.ndarray, s: np.ndarray, votes: np.ndarray) -> tuple[float, np.ndarray]:
        slope, first, log_gaps = parameters[0], parameters[1], parameters[2:]
        gaps = np.exp(np.clip(log_gaps, -20, 5))
        inner = first + np.concatenate([[0.0], np.cumsum(gaps)])
        ends = np.concatenate([[-np.inf], inner, [np.inf]])
        upper, lower = ends[votes] - slope * s, ends[votes - 1] - slope * s
        # ln(Φ(upper) − Φ(lower)) on the side of zero where neither is rounded to 1.
        flip = lower > 0
        high, low = np.where(flip, -lower, upper), np.where(flip, -upper, lower)
        log_high, log_low = log_ndtr(high), log_ndtr(low)
        log_p = log_high + np.log1p(-np.minimum(np.exp(log_low - log_high), 1 - 1e-12))
        by_upper = np.exp(-0.5 * upper**2 - 0.9189385332046727 - log_p)  # density at the edge over the probability
        by_lower = np.exp(-0.5 * lower**2 - 0.9189385332046727 - log_p)
        by_edge = np.bincount(votes, weights=-by_upper, minlength=6)
        by_edge += np.bincount(votes - 1, weights=by_lower, minlength=6)
        by_inner = by_edge[1:5]  # loss by each of t_1…t_4
        gradient = np.concatenate(
            [[(s * (by_upper - by_lower)).sum()], [by_inner.sum()], gaps * np.cumsum(by_inner[::-1])[::-1][1:]]
        )
        shrunk = np.array([slope, 0.0, *log_gaps])
        return -log_p.sum() + self.penalty * (shrunk @ shrunk), gradient + 2 * self.penalty * shrunk

    def predict_proba(self, score: np.ndarray) -> np.ndarray:
        """Distributions (n, 5) for scores (n,)."""
        s = (np.asarray(score, float) - self.mean_) / self.std_
        below = ndtr(self.thresholds_[None, :] - self.slope_ * s[:, None])
        p = np.diff(np.pad(below, ((0, 0), (1, 1)), constant_values=((0, 0), (0, 1))), axis=1)
        return np.maximum(p, 0) / np.maximum(p, 0).sum(1, keepdims=True)

    def predict(self, score: np.ndarray) -> np.ndarray:
        """Whole votes (n,): the most probable one."""
        return self.predict_proba(score).argmax(1) + 1


def _fit_and_predict(score: pd.Series, train: pd.Series, test: pd.Series) -> tuple[pd.Series, np.ndarray]:
    """Personal thresholds on a score (index image): the test votes (index image) that can be predicted, and their
    distributions. Images whose score is nan get the vote shares of the training images whose score is nan."""
    train, test = train[train.index.isin(score.index)], test[test.index.isin(score.index)]
    old, new = score[train.index].to_numpy(float), score[test.index].to_numpy(float)
    known, new_known = np.isfinite(old), np.isfinite(new)
    votes = train.to_numpy()
    p = majority(votes[~known] if (~known).any() else votes, len(test))
    if known.any() and new_known.any():
        p[new_known] = MonotoneThresholds().fit(old[known], votes[known]).predict_proba(new[new_known])
    return test, p


def _votes_by_category(category: pd.Series, train: pd.Series, test: pd.Series) -> tuple[pd.Series, np.ndarray]:
    """The observer's training votes on images of each test vote's category, as `_fit_and_predict` returns them.

    The shares of all training votes count as `_SHRINK` votes more, so a category with few votes says little, and one
    without any says how the observer votes anyway.
    """
    old, new = category.reindex(train.index), category.reindex(test.index)
    counts = pd.get_dummies(train.to_numpy()).reindex(columns=range(1, 6), fill_value=0).groupby(old.to_numpy()).sum()
    own = counts.reindex(new.to_numpy()).fillna(0).to_numpy(float) + _SHRINK * vote_shares(train.to_numpy())
    return test, own / own.sum(axis=1, keepdims=True)


def others_mean(votes: pd.DataFrame, observer: str) -> pd.Series:
    """Mean vote of all observers but one on each image, index image, without images that nobody else rated."""
    return votes[votes["observer"] != observer].groupby("image")["vote"].mean()


def _rules(
    nuisances: pd.DataFrame, others: pd.Series, train: pd.Series, test: pd.Series
) -> dict[str, tuple[pd.Series, np.ndarray]]:
    """Baselines and ceiling that need no model: what `_fit_and_predict` returns, by name."""
    rules = {MAJORITY: (test, majority(train.to_numpy(), len(test))), CEILING: _fit_and_predict(others, train, test)}
    for nuisance, name in nuisance_baselines(nuisances).items():
        rule = _fit_and_predict if name == thresholds_on(nuisance) else _votes_by_category
        rules[name] = rule(nuisances[nuisance], train, test)
    return rules


def _mos_scores(mos_predictions: pd.DataFrame, fold: int) -> pd.Series:
    rows = mos_predictions[(mos_predictions["observer"] == "") & (mos_predictions["fold"] == fold)]
    if rows["image"].duplicated().any():
        twice = rows.loc[rows["image"].duplicated(), "image"].iloc[0]
        raise InputError(f"mos_predictions: image {twice!r} twice in fold {fold}, expected one model's rows")
    return rows.set_index("image")["prediction"]


def baseline_predictions(
    dataset: Dataset,
    split: pd.DataFrame,
    fold: int,
    mos_predictions: pd.DataFrame | None = None,
    protocol: str = "corrected",
    observers: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Every baseline and the ceiling, for every observer, on the test part of one fold.

    Majority class, one rule for each nuisance that is known (monotone thresholds on a number, or the observer's votes
    by category, shrunk towards all of the observer's votes), and the mean of the other observers with
    personal thresholds (the ceiling: about what is knowable); with `mos_predictions` also one model of MOS for
    every observer, rounded and with personal thresholds.

    Args:
        dataset: images, votes, nuisances. An observer's first vote on an image counts, repetitions do not.
        split: split frame; train and val parts of `fold` are fitted on.
        fold: which fold.
        mos_predictions: predictions frame of a model of MOS (observer ""), with this fold's test images and those of
            the other parts on which the personal thresholds are to be fitted. Give predictions that the model made for
            images it was not trained on (its val part, or out-of-fold predictions); those for its own training images
            are too good, and thresholds fitted on them too sharp.
        protocol: as in the frame's column.
        observers: whose; None = every observer's. Observers without a vote on the images that are fitted on, or on the
            test part, have no rows; a method has none for observers whose training votes are all on images that it has
            no score of.

    Returns:
        Predictions frame, rows per method, observer and test image that the observer rated.

    Raises:
        InputError: the fold is not in the split, `mos_predictions` lacks test images, or there is nobody to predict.
    """
    parts = split[split["fold"] == fold].set_index("image")["part"]
    if parts.empty:
        raise InputError(f"fold {fold}: not in the split, expected one of {sorted(split['fold'].unique())}")
    votes = first_votes(dataset.votes)
    mos = None if mos_predictions is None else _mos_scores(mos_predictions, fold)
    frames = []
    for observer in dataset.observers() if observers is None else observers:
        own = votes[votes["observer"] == observer].set_index("image")["vote"].astype(int)
        part = parts.reindex(own.index)
        train, test = own[part.isin(("train", "val"))], own[part == "test"]
        if train.empty or test.empty:
            continue
        methods = _rules(dataset.nuisances, others_mean(votes, observer), train, test)
        if mos is not None:
            absent = sorted(set(test.index) - set(mos.index))
            if absent:
                raise InputError(f"mos_predictions: {len(absent)} test images of fold {fold} absent: {absent[0]!r} …")
            methods[MOS_ROUNDED] = (test, mos[test.index].to_numpy(float))
            if train.index.isin(mos.index).any():
                methods[MOS_PERSONAL] = _fit_and_predict(mos, train, test)
        for name, (images, predicted) in methods.items():
            of = (dataset.name, name, protocol, 0, fold, "test", observer)
            frames.append(predictions_frame(*of, images.index, images, predicted))
    if not frames:
        raise InputError(f"fold {fold}: nobody has votes on both the images that are fitted on and the test part")
    return pd.concat(frames, ignore_index=True)
