"""Observers of one set side by side: votes as a table, qualities, and features that may be named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from iqasuite.datasets import load, simulated
from iqasuite.datasets.dataset import Dataset, first_votes
from iqasuite.datasets.tables import csv_table
from iqasuite.evaluation.metrics import evaluate_votes
from iqasuite.evaluation.subjects.population import estimate_population, panels, people_statistics
from iqasuite.evaluation.subjects.taste import variance_parts
from iqasuite.images.loading import read_image
from iqasuite.images.nameable import NAMES, nameable_features
from iqasuite.paths import data_root
from iqasuite.training.asking import images_to_ask
from iqasuite.training.few_shot import Observer, Population, fit_observer, set_mass, with_features
from iqasuite.training.levels import apart
from iqasuite.training.patch_features import Patches, extract

TAPS = {"efficientnet_lite2": (3, 4, 5, 6, 7, 8, 10)}  # from edges to parts of objects; of others the last layer
_BATCH = 8  # whole images a step
LIKING = "dogs55"
Voted = tuple[pd.DataFrame, pd.DataFrame | None, pd.Series]  # votes frame, features, image -> content


@dataclass(frozen=True)
class Panel:
    """What a few-shot experiment needs of a set.

    Attributes:
        data: the set.
        votes: first votes, index image, columns observers; nan where there is none.
        contents: image -> content.
        quality: on the scale of votes, index image, where the truth is known; otherwise the mean vote.
        features: φ that may be named, index image; no columns where nothing is known.
        truth: simulated observers: observer, bias, inconsistency and a column of each feature; otherwise None.
    """

    data: Dataset
    votes: pd.DataFrame
    contents: pd.Series
    quality: pd.Series
    features: pd.DataFrame
    truth: pd.DataFrame | None = None


def panel(data: Dataset, n_simulated: int = 40, side: int = 720, seed: int = 0) -> Panel:
    """The observers of a set; of the demo set, as many other simulated ones as asked for.

    Args:
        data: set with votes of observers.
        n_simulated: how many simulated observers where the set is simulated.
        side: pixels to which the shorter side is brought for all features but blockiness.
        seed: of the simulated observers and their votes.
    """
    images = data.images.set_index("image")
    if data.truth is None:
        votes = first_votes(data.votes).pivot(index="image", columns="observer", values="vote")
        votes = votes.reindex(columns=data.observers()).astype(float)
        quality, features = votes.mean(axis=1), pd.DataFrame(index=votes.index)
        if data.has_pixels:
            features = named_features(data, votes.index, side)
            features = apart(features, quality).of(features, quality)
        return Panel(data, votes, images["content"].reindex(votes.index), quality, features)
    quality = data.truth.groupby("image")["quality"].first().rename_axis("image")
    observers, kind = simulated.other_observers(n_simulated, seed), images["distortion"][quality.index].to_numpy()
    rng = np.random.default_rng(seed)
    votes = {each.name: simulated.vote(each, quality.to_numpy(), kind, rng) for each in observers}
    features = by_distortion(images["distortion"][quality.index], quality)
    truth = simulated.table(observers).rename(columns={f"taste_{name}": name for name in features})
    table = pd.DataFrame(votes, quality.index, dtype=float)
    return Panel(data, table, images["content"][quality.index], quality, features, truth)


def by_distortion(distortion: pd.Series, quality: pd.Series) -> pd.DataFrame:
    """φ of simulated observers: (5 − quality) / 4 in the column of an image's distortion, 0 in the others."""
    shares = {name: (distortion == name) * (5 - quality) / 4 for name in simulated.DISTORTIONS}
    return pd.DataFrame(shares, quality.index)


def named_features(data: Dataset, images: pd.Index, side: int = 720) -> pd.DataFrame:
    """`images.nameable.NAMES` of images as observers saw them, blockiness of the file's own pixels.

    Args:
        data, images: the set and which of its images.
        side: pixels of the shorter side at which they are measured.
    """
    rows = []
    for image in images:
        rows.append(nameable_features(data.read(image, (side, side)), data.read(image)))
    return pd.DataFrame(rows, images, list(NAMES))


def trunk_vectors(data: Dataset, images: pd.Index, bases: Sequence[str]) -> pd.DataFrame:
    """Mean and deviation of the maps of frozen backbones, images brought to two sizes; kept by the store of features.

    Args:
        data, images: the set and which of its images.
        bases: see `models.backbones.backbone`; side by side.
    """
    vectors = []
    for base in bases:
        for side in (540, 1080):  # pixels of the shorter one
            whole = Patches(side, 0.0, TAPS.get(base, (-1,)), "moments")
            features = extract(data, base, whole, images=list(images), shown_at=(side, side), batch_size=_BATCH)
            vectors.append(features.vectors(list(images)))
    return pd.DataFrame(np.concatenate(vectors, axis=1), images)


def steps(
    of: Panel, observer: str, population: Population, quality: pd.Series, asked: pd.Index, counts: tuple[int, ...]
) -> pd.DataFrame:
    """The posterior of an observer after so many votes: votes, parameter, value, low, high.

    Args:
        of: panel with the observer's votes.
        observer: who votes.
        population: the prior; its features are columns of the panel's.
        quality: index image.
        asked: images in the order of asking.
        counts: numbers of votes.
    """
    frames = []
    for count in counts:
        fitted = fit_observer(population, quality, of.votes.loc[asked[:count], observer], of.features)
        frames.append(fitted.table().reset_index().assign(votes=count))
    return pd.concat(frames, ignore_index=True)


def people_elsewhere(folder: str) -> pd.DataFrame:
    """`people_statistics` of the tests in a folder of the data folder."""
    return people_statistics(panels(data_root() / folder))


def prior_table(of: Panel, population: Population) -> pd.DataFrame:
    """Numbers of people elsewhere and of this set's other observers: parameter, elsewhere, of this set."""
    table = pd.DataFrame({"elsewhere": _numbers(prior_of(of)), "of this set": _numbers(population)})
    return table.rename_axis("parameter").reset_index()


def _numbers(population: Population) -> dict[str, float]:
    gaps = {f"gap_{i}": gap for i, gap in enumerate(population.gaps, 1)}
    return {
        name: value for name, value in vars(population).items() if isinstance(value, float) and name != "mass"
    } | gaps


def two_fits(ordinal: Observer, gaussian: Observer) -> pd.DataFrame:
    """Bias, slope and sensitivities with their intervals by both fits."""
    rows = ["bias", "slope", *ordinal.population.features]
    of = {"ordinal": ordinal, "closed form": gaussian}
    both = pd.concat({name: each.table().loc[rows, ["value", "low", "high"]] for name, each in of.items()}, axis=1)
    both.columns = [", ".join(names) for names in both.columns]
    return both.reset_index()


def gained(before: np.ndarray, after: np.ndarray, votes: pd.Series) -> pd.DataFrame:
    """Scores of two distributions (n, 5), without votes and with: prediction, accuracy, qwk, mae, srocc."""
    of = {"population": before, "few-shot": after}
    scores = pd.DataFrame({name: evaluate_votes(p, votes.to_numpy(int)) for name, p in of.items()}).T
    return scores[["accuracy", "qwk", "mae", "srocc"]].rename_axis("prediction").reset_index()


def recovered(of: Panel, population: Population, counts: tuple[int, ...], order: str, seed: int = 0) -> pd.DataFrame:
    """Bias and sensitivities of simulated observers beside the truth.

    Args:
        of: panel of simulated observers.
        population: the prior.
        counts: numbers of votes.
        order: of the images asked about, see `training.asking.images_to_ask`.
        seed: of the order; each observer has their own.

    Returns:
        Rows votes, observer, parameter (bias and features), truth, estimate.
    """
    assert of.truth is not None
    rows, names = [], ["bias", *population.features]
    for i, truth in of.truth.set_index("observer").iterrows():
        number = of.votes.columns.get_loc(i)
        for count in counts:
            about = of.quality.to_numpy(), population, of.features.to_numpy(), of.votes.std(axis=1).to_numpy()
            asked = of.votes.index[images_to_ask(order, count, *about, seed=seed + 1000 * number)]
            found = fit_observer(population, of.quality, of.votes.loc[asked, i], of.features)
            estimates = [found.bias, *found.sensitivities]
            rows += [(count, i, name, truth[name], value) for name, value in zip(names, estimates, strict=True)]
    return pd.DataFrame(rows, columns=["votes", "observer", "parameter", "truth", "estimate"])


def at_votes(table: pd.DataFrame, votes: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Truth and estimates (observers, parameters) of `recovered` at a number of votes, and the parameters' names."""
    names = list(dict.fromkeys(table["parameter"]))
    wide = table[table["votes"] == votes].pivot(index="observer", columns="parameter", values=["truth", "estimate"])
    return wide["truth"][names].to_numpy(), wide["estimate"][names].to_numpy(), names


def agreement_with_truth(table: pd.DataFrame) -> pd.DataFrame:
    """Pearson's r of estimate and truth over observers, by votes (rows) and parameter (columns; "all" together)."""
    both = pd.concat([table, table.assign(parameter="all")])
    groups = both.groupby(["votes", "parameter"], sort=False)
    r = groups[["truth", "estimate"]].apply(lambda x: x["truth"].corr(x["estimate"])).unstack()
    return r[list(dict.fromkeys(both["parameter"]))]


def prior_of(of: Panel) -> Population:
    """Before anything of the set is known: people as they are elsewhere, with the panel's features."""
    spread = 0.7 if of.truth is not None else 0.2
    return with_features(Population(), tuple(of.features), spread)


def without(of: Panel, observer: str) -> tuple[Population, pd.Series]:
    """The population of all other observers, and qualities that hold nothing of this one: the truth, or their mean."""
    others = of.votes.drop(columns=observer)
    quality = others.mean(axis=1) if of.truth is None else of.quality
    return of_observers(others, None if of.truth is None else quality, of.features, prior_of(of)), quality


def of_observers(
    votes: pd.DataFrame, quality: pd.Series | None, phi: pd.DataFrame | None, start: Population
) -> Population:
    """`estimate_population` of a table of votes (index image, columns observers)."""
    return estimate_population(long_votes(votes), quality, phi, start)


def long_votes(votes: pd.DataFrame) -> pd.DataFrame:
    """Votes frame of a table of votes (index image, columns observers)."""
    rows = votes.rename_axis("image").melt(ignore_index=False, var_name="observer", value_name="vote").dropna()
    return rows.reset_index().assign(session=1, position=0)


def calibrated(of: Panel, observer: str, fitted: Observer, n_votes: int, seed: int = 0) -> tuple[Population, Observer]:
    """The population and the observer with a mass of vote sets that holds nine in ten of other observers' votes.

    Each of the first twenty others is taken as new, with as many votes on images drawn at random.

    Args:
        of: panel.
        observer: who is new, and does not count.
        fitted: the same, fitted.
        n_votes: number of votes.
        seed: of the draws.
    """
    p, votes = [], []
    for i, name in enumerate(of.votes.columns.drop(observer)[:20]):
        own = of.votes[name].dropna()
        quality = of.votes.drop(columns=[name, observer]).mean(axis=1) if of.truth is None else of.quality
        asked = own.sample(min(n_votes, len(own) // 2), random_state=seed + i)
        rest = own.index.difference(asked.index)
        other = fit_observer(fitted.population, quality, asked, of.features)
        p.append(other.distribution(quality[rest], of.features.loc[rest]))
        votes.append(own[rest])
    population = replace(fitted.population, mass=set_mass(np.concatenate(p), np.concatenate(votes)))
    return population, replace(fitted, population=population)


def retested(names: Sequence[str]) -> dict[str, Voted]:
    """Votes, features and contents of sets with repeated votes, for `taste`.

    Args:
        names: "aio_playlists" (quality; names without pixels), or "dogs55" (liking, from 0 to 1: taste, not quality).

    Raises:
        InputError: a set that is not there.
    """
    found: dict[str, Voted] = {}
    for name in names:
        if name == LIKING:
            found[name] = _liking(data_root() / name)
            continue
        data = load(name)
        found[name] = data.votes, None, data.images.set_index("image")["content"]
    return found


def _liking(root: Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
    votes = csv_table(root / "ratings.csv", ("observer", "session", "position", "image", "vote", "content"))
    content = votes.drop_duplicates("image").set_index("image")["content"]
    rows = [nameable_features(read_image(root / image)) for image in content.index]
    return votes, pd.DataFrame(rows, content.index, list(NAMES)), content


def taste(of: Mapping[str, Voted], n_permutations: int = 499, seed: int = 0) -> pd.DataFrame:
    """`variance_parts` of several sets, with a column dataset.

    Args:
        of: set -> votes frame, features or None, contents.
        n_permutations, seed: permutations, and the seed of their draw.
    """
    parts = [
        variance_parts(votes, phi, contents, n_permutations, seed).assign(dataset=name)
        for name, (votes, phi, contents) in of.items()
    ]
    return pd.concat(parts, ignore_index=True)


def own_votes(of: Panel) -> Voted:
    """The panel's votes as `taste` takes them, with the set's repeated sessions where it has the observers' own."""
    votes = of.data.votes if of.truth is None else long_votes(of.votes)
    return votes, of.features if len(of.features.columns) else None, of.contents
