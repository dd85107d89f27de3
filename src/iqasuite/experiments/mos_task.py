"""What experiments with models of the mean opinion share: the set, its splits, and the scores of what is predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from iqasuite.datasets import load
from iqasuite.datasets.dataset import Dataset
from iqasuite.datasets.splits import audit, part, part_table, random_folds
from iqasuite.errors import InputError
from iqasuite.evaluation.benchmark import median_scores
from iqasuite.evaluation.scores import numbers_of
from iqasuite.experiments.run import Run
from iqasuite.inference.predictions import P, predictions_frame
from iqasuite.training.aio import PROTOCOLS

METRICS = ("srocc", "plcc", "krcc", "rmse")
RANDOM_FOLDS = 5  # of the faithful protocol, as in the studies
EXAMPLES = (0.02, 0.35, 0.65, 0.98)  # places in the order of quality of the images that are shown


@dataclass(frozen=True)
class MosTask:
    """Mean opinion scores (MOS) that methods learn to predict, on the same splits.

    Attributes:
        data: the set.
        split: split frame; of the corrected protocol by content, of the faithful one random folds without val.
        sources: content -> source photograph.
        folds: those of the split that methods are trained and tested on.
        protocol: "corrected" or "faithful".
        seed: of the split, and of resampling.
    """

    data: Dataset
    split: pd.DataFrame
    sources: dict[str, str]
    folds: list[int]
    protocol: str = "corrected"
    seed: int = 0

    @classmethod
    def of(
        cls,
        run: Run,
        dataset: str,
        protocol: str = "corrected",
        n_folds: int = 0,
        folds: Sequence[int] = (),
        seed: int = 0,
        missing: str = "drop",
    ) -> MosTask:
        """The task of a notebook's run.

        Args:
            run: whose suite the split is kept for.
            dataset: name of a set with scores, or the path of a folder.
            protocol: "corrected", or "faithful": images are dealt to five folds at random, whatever they show.
            n_folds: folds by content; 0 = ten random splits by content.
            folds: some of them; none = all.
            seed: of the split.
            missing: "drop" goes on without files of the set that are absent, "error" stops.

        Raises:
            InputError: another protocol, a fold that the split does not have, or a set that cannot be loaded or split.
        """
        if protocol not in PROTOCOLS:
            raise InputError(f"protocol={protocol!r}: expected {' or '.join(PROTOCOLS)}")
        data = load(dataset, missing=missing)
        split, sources = run.mos_split(data, n_folds=n_folds, seed=seed)
        if protocol == "faithful":
            split = random_folds(data.images.dropna(subset="mos"), RANDOM_FOLDS, seed)
        there = sorted(int(fold) for fold in split["fold"].unique())
        if not set(folds) <= set(there):
            raise InputError(f"folds={list(folds)}: expected some of {there}")
        return cls(data, split, sources, [fold for fold in there if not folds or fold in folds], protocol, seed)

    @property
    def faithful(self) -> bool:
        """Whether the study's own protocol is followed."""
        return self.protocol == "faithful"

    @cached_property
    def images(self) -> pd.DataFrame:
        """Images frame of those with a MOS."""
        return self.data.images.dropna(subset="mos")

    @cached_property
    def mos(self) -> pd.Series:
        """Image -> MOS, on the set's own scale."""
        return self.images.set_index("image")["mos"]

    @cached_property
    def contents(self) -> pd.Series:
        """Image -> source photograph, or content where its source is not known: what intervals are over."""
        return self.images.set_index("image")["content"].map(lambda content: self.sources.get(content, content))

    @property
    def unit(self) -> str:
        """MOS with the ends of its scale, for axes."""
        return f"MOS ({self.data.scale.low:g}–{self.data.scale.high:g})"

    def part(self, fold: int, name: str) -> list[str]:
        """Images of a part ("train", "val", "test") of a fold."""
        return part(self.split, fold, name)

    def parts(self) -> pd.DataFrame:
        """What is in every part of the first fold: images, contents and their mean MOS."""
        first = self.split[self.split["fold"] == self.folds[0]]
        return part_table(first, self.images).drop(columns="fold")

    def leaks(self) -> int:
        """How many contents or source photographs lie in two parts of a fold."""
        of_the_set = set(self.images["content"])
        joined = {content: source for content, source in self.sources.items() if content in of_the_set}
        return len(audit(self.split, self.images, joined))

    def examples(self, fold: int) -> list[str]:
        """Four images of a fold's test part, from nearly the worst to nearly the best."""
        tested = sorted(self.part(fold, "test"), key=self.mos.get)
        return [tested[round(place * (len(tested) - 1))] for place in EXAMPLES]

    def heading(self) -> str:
        """The set, its splits and the protocol in one Markdown line."""
        data, n_absent = self.data, len(self.data.absent)
        text = f"**{data.name}**: {len(self.images)} images of {self.contents.nunique()} contents, {data.scale.name}, "
        text += f"{self.unit}; {_splits(len(self.folds))}, {self.protocol} protocol."
        text += " Its votes are **simulated**." if data.simulated else ""
        return text + (f" {n_absent} files of the set are absent and left out." if n_absent else "")

    def predictions(
        self,
        model: str,
        fold: int,
        name: str,
        scores: Sequence[float] | np.ndarray,
        seed: int | None = None,
        probabilities: np.ndarray | None = None,
    ) -> pd.DataFrame:
        """Predictions frame of one method for one part of a fold.

        Args:
            model: name of the method.
            fold, name: of the part.
            scores: on the set's scale, in the order of `part`.
            seed: of the training; None = the task's.
            probabilities: distributions of the votes 1–5 (n, 5), kept beside the scores.
        """
        images, seed = self.part(fold, name), self.seed if seed is None else seed
        about = (self.data.name, model, self.protocol, seed, fold, name, "", images, self.mos[images].to_numpy())
        frame = predictions_frame(*about, predicted=scores)
        if probabilities is not None:
            frame[P] = probabilities
        return frame

    def medians(
        self, predictions: pd.DataFrame, n_boot: int, metrics: Sequence[str] = ("srocc", "plcc")
    ) -> pd.DataFrame:
        """Scores frame: the median of each metric over the splits' test parts; see `benchmark.median_scores`."""
        return median_scores(predictions, self.contents, n_boot, self.seed, metrics)

    def about(self, predictions: pd.DataFrame) -> str:
        """What predictions are of, for captions: set, test images, contents, splits, seeds and protocol."""
        tested = predictions[predictions["part"] == "test"]
        images, seeds = tested["image"].unique(), numbers_of(tested["seed"])
        text = f"{self.data.name}: {len(images)} test images of {self.contents[images].nunique()} contents, "
        text += f"{_splits(tested['fold'].nunique())}, seed{'s' if ',' in seeds else ''} {seeds}"
        return f"{text}, {self.protocol} protocol"


def headline(medians: pd.DataFrame) -> dict[str, float]:
    """SROCC of every method, for a run's record."""
    best = medians[medians["metric"] == "srocc"]
    return {f"SROCC, {row.model}": round(float(row.value), 4) for row in best.itertuples()}


def _splits(n: int) -> str:
    return "1 split" if n == 1 else f"{n} splits"
