"""How many votes an observer needs: a trunk that has not seen them, the population, and what the votes add."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import GroupKFold

from iqasuite.datasets.dataset import Dataset
from iqasuite.datasets.splits import kept_split
from iqasuite.evaluation.baselines import majority
from iqasuite.experiments.panel import of_observers
from iqasuite.training.few_shot import PEOPLE, Observer, Population, fit_gaussian, fit_observer, with_features
from iqasuite.training.levels import apart
from iqasuite.training.regressors import fit_pooled

POPULATION, FEW_SHOT, FEATURES, HEAD = "population", "few-shot", "few-shot, named features", "head"
BIAS, SLOPE, WIDE = "bias only (P.910)", "bias and slope", "thresholds without prior"
RIDGE, OTHERS, NEAREST, MAJORITY = "kernel ridge", "mean of the others' AIOs", "nearest observer", "majority"
METHODS = (POPULATION, FEW_SHOT, FEATURES, HEAD, BIAS, SLOPE, WIDE, RIDGE, OTHERS, NEAREST, MAJORITY)
_WIDE = 10.0  # times the population's standard deviations: no prior to speak of
_FOLDS = 5
_AXES = 8  # of the trunk's features, for the head


@dataclass(frozen=True)
class Case:
    """One part of the contents and one of the observers unseen: what the other observers' votes tell.

    Attributes:
        votes: of all observers, index image, columns observers; nan where there is none.
        parts: image -> train, val, test.
        unseen: observers whose votes neither trunk nor population has seen.
        quality: of all images, index image; for images of the training part predicted without them.
        features: named φ, index image, or None.
        axes: main axes of the trunk's features, index image, or None.
        of_panel: the quality is the seen observers' mean vote; each of them is then held against the others' mean.
    """

    votes: pd.DataFrame
    parts: pd.Series
    unseen: tuple[str, ...]
    quality: pd.Series
    features: pd.DataFrame | None = None
    axes: pd.DataFrame | None = None
    of_panel: bool = False

    @property
    def seen(self) -> list[str]:
        """The other observers."""
        return [name for name in self.votes if name not in self.unseen]

    def images(self, *parts: str) -> pd.Index:
        """Images of these parts."""
        return self.parts.index[self.parts.isin(parts)]

    def of(self, phi: pd.DataFrame | None) -> Population:
        """The population of the seen observers on the training part, with features."""
        start = PEOPLE if phi is None else with_features(PEOPLE, tuple(phi), 0.2)
        quality = None if self.of_panel else self.quality
        return of_observers(self.votes.loc[self.images("train"), self.seen], quality, phi, start)

    def quality_for(self, observer: str) -> pd.Series:
        """Quality of all images that holds nothing of this observer's votes, unless a trunk was trained on them."""
        if self.of_panel and observer in self.seen:
            return self.votes[[name for name in self.seen if name != observer]].mean(axis=1)
        return self.quality

    @cached_property
    def population(self) -> Population:
        """The seen observers', without sensitivities."""
        return self.of(None)

    @cached_property
    def with_named(self) -> Population:
        """The same with sensitivities to the named features."""
        return self.of(self.features)

    @cached_property
    def with_axes(self) -> Population:
        """The same with sensitivities to the axes of the trunk's features."""
        return self.of(self.axes)

    @cached_property
    def others(self) -> list[Observer]:
        """The seen observers, each fitted to all of their votes on the training and validation parts."""
        return self._fitted(self.population, None)

    @cached_property
    def others_with_named(self) -> list[Observer]:
        """The same with sensitivities to the named features."""
        return self._fitted(self.with_named, self.features)

    def _fitted(self, population: Population, phi: pd.DataFrame | None) -> list[Observer]:
        own = self.votes.loc[self.images("train", "val"), self.seen]
        return [fit_observer(population, self.quality_for(name), own[name].dropna(), phi) for name in own]

    @cached_property
    def disagreement(self) -> pd.Series:
        """Standard deviation of the seen observers' votes on each image."""
        return self.votes[self.seen].std(axis=1)

    @cached_property
    def kernel(self) -> np.ndarray:
        """Gaussian kernel of the trunk's features, or of the quality where there are none."""
        x = (self.quality.to_frame() if self.axes is None else self.axes).to_numpy()
        return rbf_kernel(x, gamma=1 / x.var(0).sum())


def cases(
    votes: pd.DataFrame,
    split: pd.DataFrame,
    groups: Sequence[Sequence[str]],
    vectors: pd.DataFrame | None = None,
    features: pd.DataFrame | None = None,
    kind: str = "svr",
) -> list[Case]:
    """Every fold of contents with every group of unseen observers.

    Args:
        votes: index image, columns observers.
        split: split frame.
        groups: of observers, each unseen once.
        vectors: features of a frozen backbone, index image; a regressor learns the seen observers' mean votes from
            those of the training part. None = the quality is the seen observers' mean vote itself, on all images: what
            a perfect trunk would say.
        features: named φ, index image.
        kind: of the regressor, see `training.regressors.fit_pooled`.
    """
    made = []
    for fold, rows in split.groupby("fold"):
        parts = rows.set_index("image")["part"]
        content = rows.set_index("image")["content"]
        for group in groups:
            mos = votes.loc[parts.index].drop(columns=list(group)).mean(axis=1)
            quality = mos if vectors is None else _trunk(vectors.loc[parts.index], mos, parts, content, kind, int(fold))
            axes = None if vectors is None else _axes(vectors.loc[parts.index], parts == "train")
            phi = None
            if features is not None:
                named = features.loc[parts.index]
                phi = apart(named, quality, parts == "train").of(named, quality)
            made.append(Case(votes.loc[parts.index], parts, tuple(group), quality, phi, axes, vectors is None))
    return made


def _trunk(
    vectors: pd.DataFrame, mos: pd.Series, parts: pd.Series, content: pd.Series, kind: str, seed: int
) -> pd.Series:
    """Quality of all images: of the training part out of fold, of the others by all of the training part."""
    x, train = vectors.to_numpy(), (parts == "train").to_numpy()
    val = (parts == "val").to_numpy()
    fitted = fit_pooled(kind, x[train], mos[train].to_numpy(), x[val], mos[val].to_numpy())
    quality = fitted.predict(x)
    rows, names = np.flatnonzero(train), content[train].to_numpy()
    for kept, left in GroupKFold(5).split(rows, groups=names):
        quality[rows[left]] = clone(fitted).fit(x[rows[kept]], mos.to_numpy()[rows[kept]]).predict(x[rows[left]])
    return pd.Series(np.clip(quality, 1, 5), vectors.index)


def _axes(vectors: pd.DataFrame, train: pd.Series) -> pd.DataFrame:
    """The first axes of the standardised features, of unit variance on the training part."""
    x = (vectors - vectors[train].mean()) / (vectors[train].std() + 1e-6)
    _, _, directions = np.linalg.svd(x[train].to_numpy(), full_matrices=False)
    placed = x.to_numpy() @ directions[:_AXES].T
    placed = placed / placed[train.to_numpy()].std(0)
    return pd.DataFrame(placed, vectors.index, [f"axis_{i + 1}" for i in range(placed.shape[1])])


def predictions(
    case: Case, q: pd.Series, asked: pd.Index, votes: pd.Series, at: pd.Index, methods: Sequence[str]
) -> dict[str, np.ndarray]:
    """Distributions (n, 5) of each method, of an observer who gave votes on the images asked about.

    Args:
        case: what is known of the others.
        q: quality of all images, index image.
        asked: images.
        votes: the observer's, index image.
        at: images to predict.
        methods: of `METHODS`.
    """
    index, own = case.parts.index, votes[asked].to_numpy(int)
    old, new, quality = index.get_indexer(asked), index.get_indexer(at), q.to_numpy()
    asked_q, q_at = quality[old], quality[new]

    def sensitive(population: Population, phi: pd.DataFrame) -> np.ndarray:
        values = phi.to_numpy()
        return fit_observer(population, asked_q, own, values[old]).distribution(q_at, values[new])

    say: dict[str, Callable[[], np.ndarray]] = {
        POPULATION: lambda: fit_observer(case.population, [], []).distribution(q_at),
        FEW_SHOT: lambda: fit_observer(case.population, asked_q, own).distribution(q_at),
        FEATURES: lambda: sensitive(case.with_named, case.features),
        HEAD: lambda: sensitive(case.with_axes, case.axes),
        BIAS: lambda: fit_gaussian(_plain(case.population, 0), asked_q, own).distribution(q_at),
        SLOPE: lambda: fit_gaussian(_plain(case.population, 1), asked_q, own).distribution(q_at),
        WIDE: lambda: fit_observer(_without_prior(case.population), asked_q, own).distribution(q_at),
        RIDGE: lambda: _kernel_ridge(case, old, own, new),
        OTHERS: lambda: np.mean([other.distribution(q_at) for other in case.others], axis=0),
        NEAREST: lambda: _nearest(case, asked_q, own).distribution(q_at),
        MAJORITY: lambda: majority(own, len(at)) if len(own) else np.full((len(at), 5), 0.2),
    }
    return {name: say[name]() for name in methods}


def _plain(population: Population, slope: int) -> Population:
    """Bias, and slope where it is 1, without prior; nothing else is personal."""
    slope_sd = 100.0 if slope else 1e-6
    return replace(population, bias_sd=100.0, slope_sd=slope_sd, inconsistency_sd=1e-6, gap_sd=1e-6)


def _without_prior(population: Population) -> Population:
    spreads = ("bias_sd", "slope_sd", "inconsistency_sd", "gap_sd")
    return replace(population, **{name: _WIDE * getattr(population, name) for name in spreads})


def _kernel_ridge(case: Case, old: np.ndarray, own: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The votes asked for as real numbers, by the kernel of the trunk's features; cut points where whole votes end."""
    mean = own.mean() if len(own) else 3.0
    kernel = case.kernel[np.ix_(old, old)] + 0.3 * np.eye(len(old))
    expected = mean + case.kernel[np.ix_(new, old)] @ np.linalg.solve(kernel, own - mean)
    sure = replace(case.population, bias=0.0, gaps=(1.0, 1.0, 1.0), bias_sd=1e-6, slope_sd=1e-6)
    return fit_observer(sure, [], []).distribution(expected)


def _nearest(case: Case, quality: np.ndarray, own: np.ndarray) -> Observer:
    rows = np.arange(len(own))
    fits = [np.log(other.distribution(quality)[rows, own - 1]).sum() for other in case.others]
    return case.others[int(np.argmax(fits))]


def split_of(folder: Path, data: Dataset, seed: int = 0) -> pd.DataFrame:
    """A set's split into five folds by content, kept in a folder as `<set>.csv`; see `datasets.splits.kept_split`."""
    return kept_split(folder / f"{data.name}.csv", data.images, _FOLDS, seed, data.sources)


def groups_of(observers: Sequence[str], n_groups: int, seed: int = 0) -> list[list[str]]:
    """Observers dealt into groups at random, each group unseen once."""
    dealt = [observers[i] for i in np.random.default_rng(seed).permutation(len(observers))]
    return [dealt[i::n_groups] for i in range(n_groups)]
