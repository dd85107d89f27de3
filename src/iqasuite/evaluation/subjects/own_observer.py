"""An observer made of the votes of one rating session: what is personal about them, how sure, and what they would vote.

Their own numbers are those of `training.few_shot`, with people in general as prior, behind the quality that a trunk
predicts. How far the trunk is off on these images is estimated from the same votes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import binomtest

from iqasuite import models
from iqasuite.datasets.dataset import first_votes
from iqasuite.datasets.frames import LEAST_IMAGES
from iqasuite.datasets.rating_session import rated_set
from iqasuite.errors import InputError
from iqasuite.evaluation.rank_baselines import OF_PIXELS
from iqasuite.evaluation.subjects.trunk_scores import TrunkScores
from iqasuite.evaluation.uncertainty import Z, content_weights, interval
from iqasuite.paths import safe_name, weights_roots
from iqasuite.training.few_shot import (
    PEOPLE,
    VOTES,
    Observer,
    Population,
    fit_observer,
    set_in_words,
    vote_sets,
    with_features,
)
from iqasuite.weights.files import save_weights

FOLDS = 10
MORE = (10, 20, 50)  # votes whose worth is foretold
SENSITIVITY_SD = 0.2  # votes per standard deviation of a statistic: a choice, as wide as the population's slopes
_ERRORS = np.geomspace(0.2, 1.6, 7)  # of the trunk, in votes, that are tried
_ERROR, _ERROR_SD = 0.5, 0.5  # what is expected of it before any vote: median, and SD of its logarithm


@dataclass(frozen=True)
class OwnObserver:
    """What one observer's votes say of them.

    Attributes:
        observer: the posterior, that predicts.
        quality_sd: how far the trunk's quality is off on these images, in votes.
        tastes: a posterior that may also be sensitive to sharpness, contrast and brightness; to be looked at only.
        votes: first votes, index image.
        scores: of all images of the set, as `TrunkScores.frame`.
        same, repeated: images shown again that got the same vote, and all of them.
    """

    observer: Observer
    quality_sd: float
    tastes: Observer
    votes: pd.Series
    scores: pd.DataFrame
    same: int
    repeated: int

    def parameters(self) -> pd.DataFrame:
        """Index parameter: value, low, high (95 %), people (the median person), people_low, people_high (95 % of them).

        bias, slope and inconsistency, then votes per standard deviation of each image statistic.
        """
        own = self.tastes.table()
        population = self.tastes.population
        width = Z * population.sd()
        ends = np.array([population.mean() - width, population.mean() + width])
        ends[:, 2:6] = np.exp(ends[:, 2:6])
        ends[:, 0] -= population.bias
        table = own.assign(people=own["prior"], people_low=ends[0], people_high=ends[1]).drop(columns="prior")
        table.loc["bias", "people"] = 0.0
        first = self.observer.table().loc[["bias", "slope", "inconsistency"], ["value", "low", "high"]]
        table.loc[first.index, first.columns] = first
        return table.loc[["bias", "slope", "inconsistency", *population.features]]

    def predictions(self) -> pd.DataFrame:
        """Of the images without a vote, best first: index image, expected vote, p1 … p5, set (as "3 or 4")."""
        rest = self.scores.loc[self.scores.index.difference(self.votes.index)]
        p = self.observer.distribution(rest["quality"].to_numpy(), None, self.quality_sd)
        table = pd.DataFrame(p, rest.index, [f"p{vote}" for vote in VOTES])
        sets = vote_sets(p, self.observer.population.mass)
        table.insert(0, "expected", p @ VOTES)
        return table.assign(set=list(map(set_in_words, sets))).sort_values("expected", ascending=False, kind="stable")

    def worth_of_more(self) -> pd.Series:
        """Standard error of the expected vote of an image of this set: index more votes, 0 and `MORE`."""
        prior, n = np.diag(self.observer.population.sd() ** -2.0), max(1, self.observer.n)
        gained = np.linalg.inv(self.observer.covariance) - prior
        quality = self.scores["quality"].to_numpy()
        errors = {}
        for more in (0, *MORE):
            covariance = np.linalg.inv(prior + gained * (n + more) / n)
            errors[more] = float(replace(self.observer, covariance=covariance).expected(quality)[1].mean())
        return pd.Series(errors)


def own_observer(votes: pd.DataFrame, scores: pd.DataFrame, population: Population = PEOPLE) -> OwnObserver:
    """The observer of some votes.

    Args:
        votes: votes frame of one observer; session 2 holds the images shown again.
        scores: of `TrunkScores.frame`; votes on other images are left out.
        population: what people are like.

    Raises:
        InputError: no vote on an image with a score.
    """
    first = first_votes(votes).set_index("image")["vote"]
    again = votes[votes["session"] == 2].set_index("image")["vote"]
    first = first[first.index.isin(scores.index)]
    if not len(first):
        raise InputError("votes: none on an image that the model could score; expected 1 or more")
    quality = scores["quality"]
    quality_sd = _trunk_error(population, quality, first)
    statistics = _standardised(scores)
    tasting = with_features(population, tuple(OF_PIXELS), SENSITIVITY_SD)
    pairs = first.reindex(again.index)
    return OwnObserver(
        fit_observer(population, quality, first, None, quality_sd),
        quality_sd,
        fit_observer(tasting, quality, first, statistics, quality_sd),
        first,
        scores,
        int((pairs == again).sum()),
        int(pairs.notna().sum()),
    )


def _trunk_error(population: Population, quality: pd.Series, votes: pd.Series) -> float:
    """The error of the trunk, in votes, that makes the votes most probable, given what is expected of it."""
    prior = -0.5 * (np.log(_ERRORS / _ERROR) / _ERROR_SD) ** 2
    evidence, start = [], None
    for error in _ERRORS:
        fitted = fit_observer(population, quality, votes, None, error, start)
        evidence.append(fitted.log_evidence)
        start = fitted.estimate
    return float(_ERRORS[int(np.argmax(prior + evidence))])


def _standardised(scores: pd.DataFrame) -> pd.DataFrame:
    """Statistics of the images, of mean 0 and standard deviation 1 over the set; sharpness as its logarithm."""
    table = scores[list(OF_PIXELS)].assign(sharpness=np.log1p(scores["sharpness"]))
    spread = table.std(ddof=0)
    return (table - table.mean()) / spread.where(spread > 1e-9, 1.0)


def unseen_errors(own: OwnObserver, contents: pd.Series | None = None) -> pd.DataFrame:
    """Mean absolute error of the predicted vote on votes that were not fitted, beside rules that know less.

    Args:
        own: whose votes; each tenth is predicted from the others, with the trunk's error as it is.
        contents: image -> content, which stays whole; None = every image by itself.

    Returns:
        Index "your observer", "people in general" (the same without any vote), "your mean vote": value, low, high
        (95 %, over contents), n; without rows below `LEAST_IMAGES` votes.
    """
    images = own.votes.index
    group = images.to_numpy() if contents is None else contents.reindex(images).to_numpy()
    names, code = np.unique(group.astype(str), return_inverse=True)
    if len(names) < LEAST_IMAGES:
        return pd.DataFrame(columns=["value", "low", "high", "n"])
    fold = np.random.default_rng(0).permutation(len(names))[code] % min(FOLDS, len(names))
    population, quality = own.observer.population, own.scores["quality"][images].to_numpy()
    vote, predicted = own.votes.to_numpy(), np.zeros((3, len(images)))
    nobody = fit_observer(population, quality[:0], vote[:0])
    predicted[1] = nobody.distribution(quality, None, own.quality_sd) @ VOTES
    for k in np.unique(fold):
        test, train = fold == k, fold != k
        start = own.observer.estimate
        fitted = fit_observer(population, quality[train], vote[train], None, own.quality_sd, start)
        predicted[0, test] = fitted.distribution(quality[test], None, own.quality_sd) @ VOTES
        predicted[2, test] = vote[train].mean()
    errors = np.abs(predicted - vote)
    weights = content_weights(group, 1000)
    rows = [(error.mean(), *interval(weights @ error / weights.sum(1), len(names)), len(vote)) for error in errors]
    index = pd.Index(["your observer", "people in general", "your mean vote"], name="prediction")
    return pd.DataFrame(rows, index, ["value", "low", "high", "n"])


def sentences(own: OwnObserver, errors: pd.DataFrame) -> list[str]:
    """What the numbers say, a sentence each, with intervals of 95 %."""
    table = own.parameters()
    told = {
        name: f"{row.value:.2f} [{row.low:.2f}, {row.high:.2f}]".replace("-", "−") for name, row in table.iterrows()
    }
    signs = [name for name in OF_PIXELS if table.loc[name, "low"] > 0 or table.loc[name, "high"] < 0]
    more, people = own.worth_of_more(), own.observer.population
    stays = np.hypot(own.observer.inconsistency, own.quality_sd)
    foretold = ", ".join(f"{k} more votes to ±{more[k]:.2f}" for k in MORE)
    return [
        *([own.observer.remark] if own.observer.remark else []),
        f"Bias: {told['bias']} votes beside the quality that the model predicts; 95 % of people are within "
        f"±{table.loc['bias', 'people_high']:.1f}. What the model misses on these images is in it.",
        f"Use of the scale: {told['slope']} votes per vote of predicted quality; people 1.",
        f"Inconsistency: {told['inconsistency']} votes around your own mean; people {people.inconsistency:.1f}. The "
        f"model itself is off by about {own.quality_sd:.1f}.",
        _agreement(own.same, own.repeated),
        f"Sensitivity beyond the predicted quality: {_listed(signs, told)}.",
        *_unseen(errors),
        f"The vote that you would give on average to an image is known to ±{more[0]:.2f}; with {foretold}. Your "
        f"inconsistency and the model's error, together {stays:.1f} votes, stay.",
    ]


def _agreement(same: int, n: int) -> str:
    if n == 0:
        return "Self-agreement: no image was shown again yet."
    low, high = binomtest(same, n).proportion_ci(method="wilson")
    return f"Self-agreement: {same} of {n} images that were shown again got the same vote ({low:.0%} to {high:.0%})."


def _listed(names: list[str], told: Mapping[str, str]) -> str:
    if not names:
        return f"none to {', '.join(OF_PIXELS)} that these votes show"
    return "; ".join(f"{name} {told[name]} votes per standard deviation" for name in names)


def _unseen(errors: pd.DataFrame) -> list[str]:
    if errors.empty:
        return [f"How well unseen votes are predicted is told from {LEAST_IMAGES} votes on."]
    listed = "; ".join(
        f"{name} {row.value:.2f}" + (f" [{row.low:.2f}, {row.high:.2f}]" if np.isfinite(row.low) else "")
        for name, row in errors.iterrows()
    )
    return [f"Mean absolute error on votes left out of the fit (n = {errors['n'].iloc[0]}): {listed}."]


def save_own(own: OwnObserver, name: str, trunk: TrunkScores, errors: pd.DataFrame) -> Path:
    """Write the observer as `weights/<set>/<name>.safetensors` with a card, for `iqasuite score --observer`.

    Args:
        own: fitted.
        name: of the observer.
        trunk: whose scores it was fitted on.
        errors: of `unseen_errors`.

    Raises:
        InputError: the folder cannot be written.
    """
    observer, dataset = own.observer, trunk.dataset
    population = {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(observer.population).items()}
    model = models.create(
        "few_shot",
        trunk=trunk.entry.name,
        trunk_hash=trunk.trunk_hash,
        quality_sd=own.quality_sd,
        population=population,
    )
    model.load_state_dict(
        {"estimate": torch.from_numpy(observer.estimate), "covariance": torch.from_numpy(observer.covariance)}
    )
    card = {
        "observer": name,
        "dataset": dataset.name,
        "scale": {"name": "ACR", "low": 1, "high": 5},
        "method": "few-shot observer",
        "title": f"Observer {name}, learnt from {observer.n} votes on {dataset.name}",
        "trained_on": f"{observer.n} votes of {name} on {dataset.name}, behind {trunk.entry.name}",
        "scores": {
            f"mean absolute error, {row} (n = {numbers['n']:g})": [
                round(float(numbers[key]), 3) for key in ("value", "low", "high")
            ]
            for row, numbers in errors.iterrows()
            if np.isfinite(numbers["low"])
        },
        "caution": trunk.entry.card.caution,
        "limits": "Holds for images like those that were rated; what the trunk does not see, this observer does not.",
    }
    path = weights_roots()[-1] / rated_set(dataset) / f"{safe_name(name)}.safetensors"
    return save_weights(model, path, card)
