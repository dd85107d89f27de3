"""An observer made of the votes of one rating session: what is personal about them, how sure, and what they would vote.

Their own numbers are those of `training.few_shot`, with people in general as prior, behind the quality that a trunk
predicts. How far the trunk is off on these images is estimated from the same votes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from iqasuite.evaluation.subjects.population import population_here
from iqasuite.evaluation.subjects.trunk_scores import TrunkScores
from iqasuite.evaluation.uncertainty import Z, content_weights, interval
from iqasuite.images.nameable import NAMES
from iqasuite.paths import safe_name, weights_roots
from iqasuite.training.few_shot import PEOPLE, VOTES, Observer, fit_observer, set_in_words, vote_sets, with_features
from iqasuite.training.levels import TRUNK, Fitted, apart, fit_level
from iqasuite.weights.files import save_weights

MORE = (10, 20, 50)  # votes whose worth is foretold
SENSITIVITY_SD = 0.2  # votes per standard deviation of a feature, where the votes do not tell it


@dataclass(frozen=True)
class OwnObserver:
    """What one observer's votes say of them.

    Attributes:
        fitted: the observer that predicts, at the level that the votes allow.
        tastes: a posterior that is sensitive to the nameable features in any case, to be looked at.
        votes: first votes, index image.
        scores: of all images of the set, as `TrunkScores.frame`.
        same, repeated: images shown again that got the same vote, and all of them.
        others: how many others' votes on this set the population was estimated from.
    """

    fitted: Fitted
    tastes: Observer
    votes: pd.Series
    scores: pd.DataFrame
    same: int
    repeated: int
    others: int = 0

    def parameters(self) -> pd.DataFrame:
        """Index parameter: value, low, high (95 %), people (the median person), people_low, people_high (95 % of them).

        bias, slope and inconsistency, then votes per standard deviation of each nameable feature.
        """
        own = self.tastes.table()
        population = self.tastes.population
        width = Z * population.sd()
        ends = np.array([population.mean() - width, population.mean() + width])
        ends[:, 2:6] = np.exp(ends[:, 2:6])
        ends[:, 0] -= population.bias
        table = own.assign(people=own["prior"], people_low=ends[0], people_high=ends[1]).drop(columns="prior")
        table.loc["bias", "people"] = 0.0
        first = self.fitted.observer.table().loc[["bias", "slope", "inconsistency"], ["value", "low", "high"]]
        table.loc[first.index, first.columns] = first
        return table.loc[["bias", "slope", "inconsistency", *(name for name in NAMES if name in population.features)]]

    def predictions(self) -> pd.DataFrame:
        """Of the images without a vote, best first: index image, expected vote, p1 … p5, set (as "3 or 4")."""
        rest = self.scores.loc[self.scores.index.difference(self.votes.index)]
        p = self.fitted.distribution(rest)
        table = pd.DataFrame(p, rest.index, [f"p{vote}" for vote in VOTES])
        sets = vote_sets(p, self.fitted.observer.population.mass)
        table.insert(0, "expected", p @ VOTES)
        return table.assign(set=list(map(set_in_words, sets))).sort_values("expected", ascending=False, kind="stable")

    def worth_of_more(self) -> pd.Series:
        """Standard error of the expected vote of an image of this set: index more votes, 0 and `MORE`."""
        prior, n = np.diag(self.fitted.observer.population.sd() ** -2.0), max(1, self.fitted.observer.n)
        gained = np.linalg.inv(self.fitted.observer.covariance) - prior
        quality, phi = self.scores["quality"].to_numpy(), self.fitted.features(self.scores)
        errors = {}
        for more in (0, *MORE):
            covariance = np.linalg.inv(prior + gained * (n + more) / n)
            errors[more] = float(replace(self.fitted.observer, covariance=covariance).expected(quality, phi)[1].mean())
        return pd.Series(errors)


def own_observer(votes: pd.DataFrame, scores: pd.DataFrame, others: pd.DataFrame | None = None) -> OwnObserver:
    """The observer of some votes.

    Args:
        votes: votes frame of one observer; session 2 holds the images shown again.
        scores: of `TrunkScores.frame`; votes on other images are left out.
        others: votes frame of others who rated the set; where they are two or more, they are the population.

    Raises:
        InputError: no vote on an image with a score.
    """
    first = first_votes(votes).set_index("image")["vote"]
    again = votes[votes["session"] == 2].set_index("image")["vote"]
    first = first[first.index.isin(scores.index)]
    if not len(first):
        raise InputError("votes: none on an image that the model could score; expected 1 or more")
    quality, others = scores["quality"], votes.iloc[:0] if others is None else others
    population, error, n = population_here(others, quality)
    fitted, tastes = fit_level(population, scores, first, error), None
    if fitted.apart is None:
        named = apart(scores[list(NAMES)], quality)
        tasting, phi = with_features(population, NAMES, SENSITIVITY_SD), named.of(scores, quality)
        tastes = fit_observer(tasting, quality, first, phi, fitted.quality_sd)
    pairs = first.reindex(again.index)
    same, repeated = int((pairs == again).sum()), int(pairs.notna().sum())
    return OwnObserver(fitted, tastes or fitted.observer, first, scores, same, repeated, n)


def behind_own_network(own: OwnObserver, trunk: TrunkScores, seen: Sequence[str], contents: pd.Series) -> OwnObserver:
    """The same observer behind a network that has learnt from their votes, where that predicts other votes better.

    Args:
        own: behind the default trunk.
        trunk: scores of the observer's network.
        seen: images that the network has learnt from.
        contents: image -> content, which stays whole: the gain in the logarithm of the votes' probability, tenfold,
            must be more than its standard error, of `LEAST_IMAGES` other votes or more.
    """
    scores = trunk.frame()
    votes = own.votes[own.votes.index.isin(scores.index) & ~own.votes.index.isin(list(seen))]
    if len(votes) < LEAST_IMAGES:
        raise InputError(f"{trunk.entry.name}: {len(votes)} votes it has not learnt from; expected {LEAST_IMAGES}")
    fitted, default = fit_level(PEOPLE, scores, votes), own.fitted
    p = fitted.out_of_fold(scores, votes, contents[votes.index])
    before = default.out_of_fold(own.scores, own.votes, contents[own.votes.index])
    at = np.arange(len(votes)), votes.to_numpy(int) - 1
    gain = np.log(p[at] / before[own.votes.index.get_indexer(votes.index)][at])
    mean, error = gain.mean(), gain.std(ddof=1) / np.sqrt(len(gain))
    said = f"Your network gains {mean:+.2f} ± {error:.2f} nats a vote on {len(votes)} that it has not learnt from"
    if mean <= error:
        return replace(own, fitted=replace(default, why=f"{default.why} {said}: it is not used."))
    why = f"{TRUNK}, and behind it {fitted.why} {said}."
    return replace(own, fitted=replace(fitted, level=TRUNK, why=why), scores=scores, votes=votes, others=0)


def unseen_errors(own: OwnObserver, contents: pd.Series | None = None) -> pd.DataFrame:
    """Mean absolute error of the predicted vote on votes that were not fitted, beside rules that know less.

    Args:
        own: whose votes; each tenth is predicted from the others, level and trunk's error as they are.
        contents: image -> content, which stays whole; None = every image by itself.

    Returns:
        Index "your observer", "people in general" (the same without any vote; "your network alone" at the level
        trunk), "your mean vote": value, low, high (95 %, over contents), n; without rows below `LEAST_IMAGES` votes.
    """
    images = own.votes.index
    group = images.to_numpy() if contents is None else contents.reindex(images).to_numpy()
    n_groups = len(np.unique(group.astype(str)))
    if n_groups < LEAST_IMAGES:
        return pd.DataFrame(columns=["value", "low", "high", "n"])
    vote, rated = own.votes.to_numpy(), own.scores.loc[images]
    nobody = fit_observer(with_features(own.fitted.observer.population, (), SENSITIVITY_SD), [], [])
    alone = nobody.distribution(rated["quality"].to_numpy(), None, own.fitted.quality_sd) @ VOTES
    others = (vote.sum() - vote) / (len(vote) - 1)
    predicted = np.array([own.fitted.out_of_fold(own.scores, own.votes, group) @ VOTES, alone, others])
    errors = np.abs(predicted - vote)
    weights = content_weights(group, 1000)
    rows = [(error.mean(), *interval(weights @ error / weights.sum(1), n_groups), len(vote)) for error in errors]
    second = "your network alone" if own.fitted.level == TRUNK else "people in general"
    index = pd.Index(["your observer", second, "your mean vote"], name="prediction")
    return pd.DataFrame(rows, index, ["value", "low", "high", "n"])


def sentences(own: OwnObserver, errors: pd.DataFrame) -> list[str]:
    """What the numbers say, a sentence each, with intervals of 95 %."""
    table = own.parameters()
    told = {
        name: f"{row.value:.2f} [{row.low:.2f}, {row.high:.2f}]".replace("-", "−") for name, row in table.iterrows()
    }
    signs = [name for name in table.index[3:] if table.loc[name, "low"] > 0 or table.loc[name, "high"] < 0]
    beside = f"what the {own.others} others vote here" if own.others else "the quality that the model predicts"
    caution = "" if own.others else " What the model misses on these images is in it."
    more, people = own.worth_of_more(), own.fitted.observer.population
    stays = np.hypot(own.fitted.observer.inconsistency, own.fitted.quality_sd)
    foretold = ", ".join(f"{k} more votes to ±{more[k]:.2f}" for k in MORE)
    return [
        *([own.fitted.observer.remark] if own.fitted.observer.remark else []),
        f"Level {own.fitted.why}",
        f"Bias: {told['bias']} votes beside {beside}; 95 % of people are within "
        f"±{table.loc['bias', 'people_high']:.1f}.{caution}",
        f"Use of the scale: {told['slope']} votes per vote of predicted quality; people 1.",
        f"Inconsistency: {told['inconsistency']} votes around your own mean; people {people.inconsistency:.1f}. The "
        f"model itself is off by about {own.fitted.quality_sd:.1f}.",
        _agreement(own.same, own.repeated),
        f"Sensitivity beyond the predicted quality: {_listed(signs, told)}"
        f"{'; predictions use it' if own.fitted.apart else ''}.",
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
        return f"none to {', '.join(NAMES)} that these votes show"
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
    observer, dataset = own.fitted.observer, trunk.dataset
    population = {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(observer.population).items()}
    model = models.create(
        "few_shot",
        trunk=trunk.entry.name,
        trunk_hash=trunk.trunk_hash,
        quality_sd=own.fitted.quality_sd,
        population=population,
        level=own.fitted.level,
    )
    state = {"estimate": observer.estimate, "covariance": observer.covariance}
    if own.fitted.apart is not None:
        state |= {"curves": own.fitted.apart.curves, "spread": own.fitted.apart.spread}
    model.load_state_dict({key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in state.items()})
    card = {
        "observer": name,
        "dataset": dataset.name,
        "scale": {"name": "ACR", "low": 1, "high": 5},
        "method": f"observer, {own.fitted.level}",
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
