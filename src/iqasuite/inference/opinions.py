"""Predictions of no-reference models as rows: a column a model, and what else was asked for."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from iqasuite.datasets.spreadsheets import composed
from iqasuite.errors import InputError
from iqasuite.images.loading import read_image
from iqasuite.inference.stream import predicted_by
from iqasuite.inference.tables import Row
from iqasuite.weights import catalogue
from iqasuite.weights.catalogue import Entry

if TYPE_CHECKING:
    import numpy as np

    from iqasuite.inference.predictor import Prediction, Predictor

DEFAULTS = ("lite2_nr", "mobile_nr")  # of which the first that is here with all of its parts is the default
ALL = "all"
OF_INTERVAL, _ENDS = 0.8, ("low", "high")


@dataclass(frozen=True)
class Wanted:
    """What the rows hold besides scores.

    Attributes:
        category: the fifth of the scale that a score lies in.
        distribution: shares of the votes 1…5 (empty for a model that gives one number).
        spread: mean and standard deviation (n − 1) over the models.
        interval: low and high end, between which the mean opinion of eight in ten images lies (empty for a model that
            does not know).
        save_map: (predictor, what it was shown, file) -> file of the map; None = no maps.
    """

    category: bool = False
    distribution: bool = False
    spread: bool = False
    interval: bool = False
    save_map: Callable[[Predictor, np.ndarray, Path], Path] | None = None


def chosen(models: Sequence[str], observers: Sequence[str]) -> list[Entry]:
    """The models that are named, and the artificial observers (AIOs); each once, in this order.

    Args:
        models: names or files; the default model where neither models nor observers are named.
        observers: each NAME, SET/NAME, "all" or SET/all; without SET where there is but one set.

    Raises:
        InputError: no such model, set or observer; several sets and none named.
    """
    entries = [catalogue.find(name) for name in models] or ([] if observers else [default()])
    for observer in observers:
        entries += _observers(observer)
    return list({entry.path: entry for entry in entries}.values())


def preferred(entries: Iterable[Entry]) -> list[Entry]:
    """Models with those of `DEFAULTS` first, as far as the classifiers that they describe images with are here."""

    def place(entry: Entry) -> int:
        return DEFAULTS.index(entry.name) if entry.name in DEFAULTS and _complete(entry) else len(DEFAULTS)

    return sorted(entries, key=place)


def default() -> Entry:
    """The model that is used where none is named: the first of `DEFAULTS` that is here with all of its parts."""
    best = next(iter(preferred(catalogue.available())), None)
    return best if best is not None and best.name in DEFAULTS else catalogue.find(DEFAULTS[-1])


def _complete(entry: Entry) -> bool:
    from iqasuite.models.classifiers import has_weights  # takes seconds: where something is scored, or the page is made

    return entry.architecture != "frozen_nr" or has_weights(str(entry.card.arguments.get("base")))


def _observers(name: str) -> list[Entry]:
    group, _, observer = composed(name).rpartition("/")
    if not group:
        sets = catalogue.sets()
        having = [known for known in sets if observer in map(composed, _names(known))] if len(sets) > 1 else sets
        if len(having) != 1:
            known = (
                ", ".join(f"{known}/{observer}" for known in having or sets) or "none: no set is in the weights folders"
            )
            raise InputError(f"--observer {name}: {len(sets)} sets of artificial observers; expected {known}")
        group = having[0]
    entries = catalogue.observers_of(next((known for known in catalogue.sets() if composed(known) == group), group))
    if observer == ALL:
        return entries
    matches = [entry for entry in entries if composed(entry.observer) == observer]
    if not matches:
        known = ", ".join([entry.observer for entry in entries] + [ALL])
        raise InputError(f"--observer {name}: no such observer in {group}; expected one of {known}")
    return matches


def _names(group: str) -> list[str]:
    return [entry.observer for entry in catalogue.observers_of(group)]


_TAKEN = ("mean", "spread", "image", "error")  # columns of their own


def labels(entries: Sequence[Entry]) -> list[str]:
    """What each model's column is called: "score" for one alone, else the observer or the name, none of them twice."""
    if len(entries) == 1:
        return ["score"]
    short = [entry.observer or Path(entry.name).stem for entry in entries]
    return [
        name if short.count(name) == 1 and name not in _TAKEN else entry.name
        for name, entry in zip(short, entries, strict=True)
    ]


def columns(entries: Sequence[Entry], wanted: Wanted) -> dict[str, str]:
    """Names of the rows' columns and how a table aligns them, see `tables.lines`."""
    aligned: dict[str, str] = {}
    for label in labels(entries):
        aligned[label] = ">8"
        if wanted.category:
            aligned[_of(entries, label, "category")] = "<9"
        if wanted.interval:
            aligned |= {_of(entries, label, end): ">8" for end in _ENDS}
        if wanted.distribution:
            aligned |= {_of(entries, label, f"p{k}"): ">6" for k in range(1, 6)}
        if wanted.save_map is not None:
            aligned[_of(entries, label, "map")] = "<40"
    aligned |= {"mean": ">8", "spread": ">8"} if wanted.spread else {}
    return aligned | {"error": "<0", "image": "<0"}


def legend(entries: Sequence[Entry]) -> list[str]:
    """A line for each scale: which columns are on it and what its ends are."""
    by_scale: dict[str, list[str]] = {}
    for label, entry in zip(labels(entries), entries, strict=True):
        ends = "" if math.isnan(entry.low) else f", {entry.low:g} to {entry.high:g}"
        name = f"{label} ({entry.name})" if label == "score" else label
        by_scale.setdefault(f"{entry.scale}{ends}, higher = better", []).append(name)
    return [f"{', '.join(names)}: {scale}" for scale, names in by_scale.items()]


def rows(
    predictors: Sequence[Predictor],
    paths: Iterable[Path],
    wanted: Wanted,
    batch_size: int = 16,
    workers: int | None = None,
) -> Iterator[Row]:
    """A row for each image file, in their order, as they are done; of one that cannot be read, image and error."""
    entries = [predictor.entry for predictor in predictors]
    if wanted.spread and len({(entry.low, entry.high) for entry in entries}) > 1:
        raise InputError("--observer all: models on several scales; expected one for their mean and spread")
    for path, predicted in predicted_by(predictors, paths, read_image, batch_size, workers):
        yield (
            {"image": str(path), "error": predicted}
            if isinstance(predicted, str)
            else _row(predictors, path, predicted, wanted)
        )


def _row(
    predictors: Sequence[Predictor], path: Path, predicted: Sequence[tuple[Prediction, np.ndarray]], wanted: Wanted
) -> Row:
    row: dict[str, float | int | str | None] = {}
    entries = [predictor.entry for predictor in predictors]
    for predictor, label, (prediction, seen) in zip(predictors, labels(entries), predicted, strict=True):
        row[label] = prediction.score
        if wanted.category:
            row[_of(entries, label, "category")] = prediction.category
        if wanted.interval:
            ends = prediction.intervals.get(OF_INTERVAL, (None, None))
            row |= {_of(entries, label, end): value for end, value in zip(_ENDS, ends, strict=True)}
        if wanted.distribution:
            shares = [None] * 5 if prediction.distribution is None else map(float, prediction.distribution)
            row |= {_of(entries, label, f"p{k}"): share for k, share in enumerate(shares, 1)}
        if wanted.save_map is not None:
            row[_of(entries, label, "map")] = wanted.save_map(predictor, seen, path).name
    if wanted.spread:
        scores = [prediction.score for prediction, _ in predicted]
        row |= {"mean": statistics.fmean(scores), "spread": statistics.stdev(scores) if len(scores) > 1 else math.nan}
    return row | {"image": str(path)}


def _of(entries: Sequence[Entry], label: str, what: str) -> str:
    return what if len(entries) == 1 else f"{label} {what}"
