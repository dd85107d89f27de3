"""Scores of images beside their references, the program behind `iqasuite score --reference`: pairs, scorers, lines.

Tasks (an image, with its reference where there is one) go through a scorer and come back with a score or an error, one
by one; a broken file stops its own task only. What is heavy is imported by the functions that need it. Images without a
reference go through the rest of `iqasuite.inference`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from iqasuite.csv_texts import csv_line, no_formula
from iqasuite.errors import InputError
from iqasuite.inference.image_files import images_in
from iqasuite.inference.tables import Row, printable

if TYPE_CHECKING:
    import numpy as np

_DISTORTED = re.compile(r"(?P<reference>.+?)_\d+_\d+")  # PIPAL's and the challenge's A0001_00_00, TID's i01_01_1
COLUMNS = {"score": ">10", "spread": ">8", "reference": "<16", "error": "<0", "image": "<0"}


@dataclass(frozen=True)
class Task:
    """An image to be scored, and the image that it is compared with; None for a model that needs none.

    `read` gives the pixels of either file, such as a set's images at its display size; None = as they are.
    """

    image: Path
    reference: Path | None = None
    read: Callable[[Path], np.ndarray] | None = None


@dataclass(frozen=True)
class Scored:
    """What came of a task: a score and its spread (nan: not known), or the reason why there is none."""

    task: Task
    score: float = math.nan
    spread: float = math.nan
    error: str = ""


@dataclass(frozen=True)
class Scorer:
    """A model as the program sees it.

    Attributes:
        scale: what its scores are on, in a few words: "Elo", "MS-SSIM".
        meaning: how to read them.
        needs_reference: whether it compares.
        measure: task -> score and spread; raises InputError.
    """

    scale: str
    meaning: str
    needs_reference: bool
    measure: Callable[[Task], tuple[float, float]]


def scorer_for(models: Sequence[str], views: str = "eight") -> Scorer:
    """The scorer of a metric, of a network, or of an ensemble of networks.

    Args:
        models: name of a metric (`models.metrics.piq_metrics.METRICS`) or file of weights with its card (a path, or
            a name in the weights folders); several files are averaged.
        views: of networks: "one", "eight" or "study".

    Raises:
        InputError: no or unknown model, a metric among several, weights that do not fit their card or compare no
            pairs, networks on different scales, unknown views.
    """
    if not models:
        raise InputError("score: no model, expected a metric or weights")
    metrics = [name for name in models if not name.endswith(".safetensors") and name in _metrics()]
    if metrics and len(models) > 1:
        raise InputError(f"score: metric {metrics[0]!r} among {len(models)} models; expected it alone, or weights only")
    return _metric(metrics[0]) if metrics else _networks([_weights(name) for name in models], views)


def _metric(name: str) -> Scorer:
    import torch

    from iqasuite.models.metrics.piq_metrics import METRICS, score

    def measure(task: Task) -> tuple[float, float]:
        reference, image = (torch.from_numpy(x).permute(2, 0, 1)[None] for x in read_pair(task))
        try:
            return score(name, reference, image).item(), math.nan
        except InputError as error:
            raise InputError(f"{task.image}: {error}") from None

    metric = METRICS[name]
    meaning = f"{'higher' if metric.sign > 0 else 'lower'} = better, {metric.identical:g} = the same image"
    return Scorer(metric.title, meaning, True, measure)


def _networks(paths: Sequence[Path], views: str) -> Scorer:
    from iqasuite.inference.pairs import VIEWS, load_pair_predictor

    if views not in VIEWS:
        raise InputError(f"score: views {views!r}, expected one of {', '.join(VIEWS)}")
    predictor = load_pair_predictor(paths, VIEWS[views])

    def measure(task: Task) -> tuple[float, float]:
        reference, image = read_pair(task)
        try:
            score, spread = predictor.predict([reference], [image])
        except InputError as error:
            raise InputError(f"{task.image}: {error}") from None
        return float(score[0]), float(spread[0])

    n, m = len(paths), len(VIEWS[views])
    how = f"{n} network{'s' * (n > 1)}, {m} view{'s' * (m > 1)}"
    return Scorer(predictor.scale, f"higher = better; {how}", True, measure)


def _weights(name: str) -> Path:
    from iqasuite.weights.files import find_weights

    try:
        return find_weights(name)
    except InputError:
        known = ", ".join(_metrics())
        nowhere = "no such file, here or in the weights folders"
        raise InputError(f"model {name!r}: {nowhere}, and no metric ({known})") from None


def _metrics() -> Iterable[str]:
    from iqasuite.models.metrics.piq_metrics import METRICS  # takes seconds: only where a name may be one

    return METRICS


def challenge_tasks(folder: Path, references: Path | None = None) -> tuple[list[Task], list[str]]:
    """The pairs of a folder by their names, as in the validation set of the NTIRE 2021 challenge, and what has no pair.

    `A0001_00_00.bmp` is a version of `A0001.bmp`, whatever the case, the endings and the folders below. Where the
    references are elsewhere, an image may also have its reference's own name, as `A0001.jpg` and `A0001.bmp`.

    Args:
        folder: of distorted images, and of references too where these are not elsewhere.
        references: folder of references; None = they are in `folder`.

    Returns:
        Tasks in the order of their names, and a message for each image or reference without a partner and for each
        name that is there twice.

    Raises:
        InputError: no such folder, or no image of such a name.
    """
    images = images_in(folder)
    by_name = _references(images if references is None else images_in(references), apart=references is not None)
    versions = {path: stem for path in images if (stem := _reference_of(path, by_name, references is not None))}
    if not versions:
        raise InputError(f"{folder}: {len(images)} images, none named like A0001_00_00.bmp; expected such pairs")
    tasks, problems, seen = [], [], dict[str, Path]()
    for path, stem in sorted(versions.items(), key=lambda item: (item[0].name, item[0])):
        matches = by_name.get(stem.lower(), [])
        if len(matches) != 1:
            where = f"{len(matches)} references" if matches else "no reference"
            problems.append(f"{path}: {where} {stem} in {references or folder}; expected one")
        elif path.name in seen:
            problems.append(f"{path}: a second image of this name, after {seen[path.name]}; expected each name once")
        else:
            seen[path.name] = path
            tasks.append(Task(path, matches[0]))
    if references is not None:
        problems += [f"{path}: expected a name like A0001_00_00.bmp" for path in images if path not in versions]
    with_versions = {stem.lower() for stem in versions.values()}
    alone = [path for stem, paths in by_name.items() if stem not in with_versions for path in paths]
    problems += [f"{path}: no distorted image {path.stem}_00_00; expected one or more" for path in alone]
    return tasks, problems


def paired(images: Iterable[Path | str], reference: Path) -> Iterator[Task]:
    """Each image with its reference: one file for all, or the one of its name (as in `challenge_tasks`) in a folder.

    An image that has none there, or several, comes without, for which `scored` gives an error.

    Raises:
        InputError: the reference is neither file nor folder.
    """
    if not reference.exists():
        raise InputError(f"{reference}: no such file or folder; expected a reference")
    if not reference.is_dir():
        return (Task(Path(image), reference) for image in images)
    by_name = _references(images_in(reference), apart=True)

    def task(image: Path) -> Task:
        matches = by_name.get((_reference_of(image, by_name, True) or "").lower(), [])
        return Task(image, matches[0] if len(matches) == 1 else None)

    return map(task, map(Path, images))


def _references(paths: Iterable[Path], apart: bool) -> dict[str, list[Path]]:
    """Stem in lower case -> references of that name; beside their versions, none of these."""
    by_name: dict[str, list[Path]] = {}
    for path in paths:
        if apart or not _DISTORTED.fullmatch(path.stem):
            by_name.setdefault(path.stem.lower(), []).append(path)
    return by_name


def _reference_of(path: Path, by_name: dict[str, list[Path]], apart: bool) -> str | None:
    """Stem of the reference that an image's name asks for; None where it asks for none."""
    if apart and path.stem.lower() in by_name:
        return path.stem
    match = _DISTORTED.fullmatch(path.stem)
    return match["reference"] if match else None


def scored(scorer: Scorer, tasks: Iterable[Task]) -> Iterator[Scored]:
    """Each task with its score, or with the reason why it has none, as they are done."""
    for task in tasks:
        try:
            yield Scored(task, *finite(scorer, task))
        except (InputError, OSError) as error:
            yield Scored(task, error=str(error))


def row(result: Scored) -> Row:
    """A result as a row of `COLUMNS`."""
    known = {"image": str(result.task.image)}
    if result.task.reference is not None:
        known["reference"] = str(result.task.reference)
    return known | ({"error": result.error} if result.error else {"score": result.score, "spread": result.spread})


def line(scorer: Scorer, result: Scored) -> str:
    """One score to read."""
    spread = "" if math.isnan(result.spread) else f" ± {result.spread:.2g}"
    return f"{printable(result.task.image.name)}: {result.score:.6g}{spread} {scorer.scale} ({scorer.meaning})"


def challenge_lines(results: Sequence[Scored]) -> str:
    """Scores as the challenge takes them: a line `name,score` for each distorted image; no name is a formula."""
    named = ((printable(result.task.image.name), f"{result.score:.8g}") for result in results)
    return "".join(f"{csv_line([no_formula(name), score])}\n" for name, score in named)


def read_pair(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Reference and image of a task, uint8 (H, W, 3) of the same size.

    Raises:
        InputError: a file that cannot be read; different sizes; one is stored gray, CMYK or with transparency, the
            other not, and the pixels show it.
    """
    from iqasuite.images.loading import read_image, stored_as

    assert task.reference is not None  # `finite` refuses others
    reference, image = map(task.read or read_image, (task.reference, task.image))
    if reference.shape != image.shape:
        sizes = [f"{x.shape[1]}×{x.shape[0]}" for x in (image, reference)]
        raise InputError(f"{task.image}: {sizes[0]} pixels, {task.reference.name} {sizes[1]}; expected one size")
    kinds = [stored_as(path) for path in (task.image, task.reference)]
    coloured = any((x != x[..., :1]).any() for x in (reference, image))
    if kinds[0] != kinds[1] and (coloured or "gray" not in kinds):
        raise InputError(f"{task.image}: {kinds[0]}, {task.reference.name} {kinds[1]}; expected one mode (convert one)")
    return reference, image


def finite(scorer: Scorer, task: Task) -> tuple[float, float]:
    """Score and spread of a task.

    Raises:
        InputError: files that are no pair, no reference where the scorer needs one, a score that is no number.
    """
    if scorer.needs_reference and task.reference is None:
        raise InputError(f"{task.image}: no reference; expected --reference with the image that it is a version of")
    score, spread = scorer.measure(task)
    if not math.isfinite(score):
        raise InputError(f"{task.image}: the score is {score}; expected a number")
    return score, spread
