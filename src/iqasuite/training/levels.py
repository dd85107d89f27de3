"""One observer at the level that their votes allow: population, few-shot, head or trunk.

Votes move what is personal (few-shot). Sensitivities to features that can be named, and from `HEAD_VOTES` on to main
axes of what the trunk sees (head), count where they make the votes more probable. A network of the observer's own takes
the trunk's place where it predicts votes better that it has not learnt from (`subjects.own_observer`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from iqasuite.images.nameable import NAMES
from iqasuite.training.few_shot import Observer, Population, fit_observer, with_features

POPULATION, FEW_SHOT, HEAD, TRUNK = LEVELS = ("population", "few-shot", "head", "trunk")
HEAD_VOTES = 40
MARGIN = 2.0  # nats of evidence: sensitivities make the votes seven times as probable
FOLDS = 10
AXIS = "axis_"  # begins the name of a main axis of what the trunk sees
ERRORS = np.geomspace(0.2, 1.6, 5)  # of the trunk, in votes, that are tried
EXPECTED_ERROR = (0.5, 0.5)  # before any vote: median, and standard deviation of its logarithm
_SPREADS = (0.1, 0.2, 0.4)  # of sensitivities over people, in votes per standard deviation, that are tried
_LIMIT = 5.0  # standard deviations: beyond, a feature says nothing of images like those that were rated
_STILL = 1e-6  # deviations below are those of a feature that all images share


def score_frame(quality: np.ndarray, features: np.ndarray | None, index: pd.Index | None = None) -> pd.DataFrame:
    """Columns quality (n,) and, of features (n, 5 + axes), `images.nameable.NAMES`, "axis_1", "axis_2" and so on."""
    x = np.zeros((len(quality), 0)) if features is None else features
    names = [*NAMES, *(f"{AXIS}{k}" for k in range(1, x.shape[1] - len(NAMES) + 1))][: x.shape[1]]
    return pd.DataFrame(np.column_stack([quality, x]), index, ["quality", *names])


@dataclass(frozen=True)
class Apart:
    """Features without what the quality of an image says of them, in their standard deviations over a set.

    Attributes:
        names: of the features.
        curves: what quality explains: coefficients of (q − 3)², q − 3 and 1, shape (3, features).
        spread: standard deviation of the rest, shape (features,); infinite where all images have the same.
    """

    names: tuple[str, ...]
    curves: np.ndarray
    spread: np.ndarray

    def of(self, features: pd.DataFrame, quality: pd.Series | np.ndarray) -> pd.DataFrame:
        """φ of images, within ±5, from features as they were measured and the quality of the same images."""
        rest = features[list(self.names)].to_numpy(float) - _design(quality) @ self.curves
        return pd.DataFrame(np.clip(rest / self.spread, -_LIMIT, _LIMIT), features.index, list(self.names))


def apart(features: pd.DataFrame, quality: pd.Series, train: pd.Series | None = None) -> Apart:
    """How features of a set stand apart from quality.

    Args:
        features, quality: index image.
        train: index image, bool: which images tell it; None = all.
    """
    at = np.ones(len(features), bool) if train is None else train.to_numpy()
    design, x = _design(quality)[at], features.to_numpy(float)[at]
    curves = np.linalg.lstsq(design, x, rcond=None)[0]
    spread = (x - design @ curves).std(0)
    return Apart(tuple(features), curves, np.where(spread > _STILL, spread, np.inf))


def _design(quality: pd.Series | np.ndarray) -> np.ndarray:
    return np.vander(np.asarray(quality, float) - 3, 3)


@dataclass(frozen=True)
class Fitted:
    """An observer, and what they are fitted behind.

    Attributes:
        level: of `LEVELS`.
        observer: the posterior.
        quality_sd: how far the trunk's quality is off, in votes.
        apart: of the features that the observer may be sensitive to; None = of none.
        why: a sentence about the level.
    """

    level: str
    observer: Observer
    quality_sd: float
    apart: Apart | None
    why: str

    def features(self, scores: pd.DataFrame) -> pd.DataFrame | None:
        """φ of images with these scores; None = the observer has none."""
        return None if self.apart is None else self.apart.of(scores, scores["quality"])

    def distribution(self, scores: pd.DataFrame) -> np.ndarray:
        """Distributions (n, 5) of the votes on images with these scores."""
        return self.observer.distribution(scores["quality"].to_numpy(), self.features(scores), self.quality_sd)

    def out_of_fold(self, scores: pd.DataFrame, votes: pd.Series, groups: Sequence[str]) -> np.ndarray:
        """Distributions (n, 5) of votes (index image), each by an observer who is fitted to the other folds' votes.

        `groups` of the votes' images (n,), such as contents, stay whole; level, features and trunk's error stay, too.
        """
        names, code = np.unique(np.asarray(groups, str), return_inverse=True)
        fold = np.random.default_rng(0).permutation(len(names))[code] % min(FOLDS, len(names))
        rated, p = scores.loc[votes.index], np.zeros((len(votes), 5))
        quality, phi, was = rated["quality"].to_numpy(), self.features(rated), self.observer
        for k in np.unique(fold):
            known = None if phi is None else phi[fold != k]
            data = quality[fold != k], votes.to_numpy()[fold != k], known, self.quality_sd
            other = replace(self, observer=fit_observer(was.population, *data, start=was.estimate))
            p[fold == k] = other.distribution(rated[fold == k])
        return p


def fit_level(
    population: Population, scores: pd.DataFrame, votes: pd.Series, expected_error: tuple[float, float] = EXPECTED_ERROR
) -> Fitted:
    """The observer of these votes behind one trunk: population, few-shot or head.

    The trunk's error and how much people differ in sensitivities are averaged as the votes make them probable.

    Args:
        population: the prior, without features.
        scores: of the set's images, as of `score_frame`.
        votes: index image.
        expected_error: of the trunk before any vote, in votes: median, standard deviation of its logarithm.

    Raises:
        InputError: as `fit_observer`.
    """
    rated, prior = scores.loc[votes.index], -0.5 * (np.log(ERRORS / expected_error[0]) / expected_error[1]) ** 2
    prior = prior - logsumexp(prior)

    def by_evidence(level: str, names: list[str]) -> tuple[float, Fitted]:
        of, spreads = (apart(scores[names], scores["quality"]), _SPREADS) if names else (None, _SPREADS[:1])
        phi = None if of is None else of.of(rated, rated["quality"]).to_numpy()
        data, start = (rated["quality"].to_numpy(), votes.to_numpy(), phi), None
        evidence = np.empty((len(spreads), len(ERRORS)))
        for i, j in np.ndindex(evidence.shape):
            people = with_features(population, tuple(names), spreads[i])
            found = fit_observer(people, *data, float(ERRORS[j]), start)
            start, evidence[i, j] = found.estimate, prior[j] + found.log_evidence - np.log(len(spreads))
        spread = _mean(np.array(spreads), logsumexp(evidence, axis=1))
        people = with_features(population, tuple(names), spread) if names else population
        error = _mean(ERRORS, logsumexp(evidence, axis=0))
        observer = fit_observer(people, *data, error, start if len(votes) else None)
        return float(logsumexp(evidence)), Fitted(level, observer, error, of, "")

    if not len(votes):
        why = "population: no votes yet, this is what people in general would vote."
        return replace(by_evidence(POPULATION, [])[1], why=why)
    names = [name for name in NAMES if name in scores]
    axes = [name for name in scores if name.startswith(AXIS)] if len(votes) >= HEAD_VOTES else []
    (evidence, best), most, chosen = by_evidence(FEW_SHOT, []), 0.0, ""
    for level, more in ((FEW_SHOT, []), (HEAD, axes)):
        if more or (names and level == FEW_SHOT):
            found, fitted = by_evidence(level, [*names, *more])
            if found - evidence > max(most, MARGIN):
                best, chosen = fitted, f" and sensitivities to {', '.join(names)}{', axes of the trunk' * bool(more)}"
            most = max(most, found - evidence)
    said = f"sensitivities gain {most:.1f} nats of evidence, and count from {MARGIN:g} on"
    why = f"{best.level}: bias, use of the scale, inconsistency, cut points{chosen} from {len(votes)} votes; {said}."
    return replace(best, why=why)


def _mean(values: np.ndarray, log_weights: np.ndarray) -> float:
    """Root of the mean square, weighted."""
    return float(np.sqrt(np.exp(log_weights - logsumexp(log_weights)) @ values**2))
