"""The program behind `iqasuite score`: which images are scored, by what, and how that is written.

Tasks (an image, with its reference where there is one) go through a scorer and come back with a score or an error, one
by one; a broken file stops its own task only. What is heavy is imported by the functions that need it.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from iqasuite.errors import InputError
from iqasuite.paths import write_atomic

if TYPE_CHECKING:
    import numpy as np

ENDINGS = (".bmp", ".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".jp2", ".avif")
_DISTORTED = re.compile(r"(?P<reference>.+?)_\d+_\d+")  # PIPAL's and the challenge's A0001_00_00, TID's i01_01_1
_GRAY = ("1", "L", "LA", "La", "F")


@dataclass(frozen=True)
class Task:
    """An image to be scored, and the image that it is compared with; None for a model that needs none."""

    image: Path
    reference: Path | None = None


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


def run(image: Path, reference: Path | None, models: Sequence[str], views: str, output: Path,
        say: Callable[[str], None], complain: Callable[[str], None]) -> int:  # fmt: skip
    """Score an image, or a folder of pairs; the command's exit status.

    Args:
        image: file, or folder of the challenge's naming.
        reference: its reference; of a folder, where the references are if they are not in it.
        models: see `scorer_for`.
        views: name in `evaluation.full_reference.VIEWS`.
        output: file for the scores of a folder.
        say, complain: take a line for standard output, for standard error.

    Raises:
        InputError: nothing can be scored: a model that is none, no such file, a pair that is none.
    """
    if not image.exists():
        raise InputError(f"{image}: no such file or folder")
    if image.is_dir():
        return _run_folder(image, reference, models, views, output, say, complain)
    scorer, task = scorer_for(models, views), Task(image, reference)
    if scorer.needs_reference and reference is None:
        raise InputError(f"{image}: no reference; expected --reference FILE, which {scorer.scale} compares it with")
    say(line(scorer, Scored(task, *_finite(scorer, task))))
    return 0


def _run_folder(folder: Path, references: Path | None, models: Sequence[str], views: str, output: Path,
                say: Callable[[str], None], complain: Callable[[str], None]) -> int:  # fmt: skip
    from tqdm import tqdm

    if output.is_dir():
        raise InputError(f"{output}: a folder; expected --output FILE for the scores")
    tasks, problems = challenge_tasks(folder, references)
    scorer = scorer_for(models, views)
    for problem in problems:
        complain(f"error: {problem}")
    done, quiet = [], not sys.stderr.isatty()
    for result in tqdm(scored(scorer, tasks), total=len(tasks), unit="pair", leave=False, disable=quiet):
        done.append(result)
        if result.error:
            complain(f"error: {result.error}")
    good = [result for result in done if not result.error]
    if good:
        write_atomic(output, challenge_lines(good))
        say(f"{output}: {len(good):,} of {len(done):,} pairs; {scorer.scale}, {scorer.meaning}")
    return 0 if good and len(good) == len(done) and not problems else 1


def scorer_for(models: Sequence[str], views: str = "eight") -> Scorer:
    """The scorer of a metric, of a network, or of an ensemble of networks.

    Args:
        models: name of a metric (`models.piq_metrics.METRICS`) or file of weights with its card (a path, or a name in
            the weights folders); several files are averaged.
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

    from iqasuite.models.piq_metrics import METRICS, score

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
    import torch

    from iqasuite.evaluation.full_reference import VIEWS, load_full_reference, predict_pairs

    if views not in VIEWS:
        raise InputError(f"score: views {views!r}, expected one of {', '.join(VIEWS)}")
    loaded = [load_full_reference(path) for path in paths]
    cards = [card for _, card in loaded]
    shown = [card.get("preprocessing", {}) for card in cards]
    for key, of in (("scale", cards), ("tile", shown), ("reduce_to", shown)):
        values = {str(facts.get(key)) for facts in of}
        if len(values) > 1:
            raise InputError(f"score: models with {key} {', '.join(sorted(values))}; expected an ensemble with one")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    networks = [model.to(device) for model, _ in loaded]
    tile, reduce_to = shown[0].get("tile"), shown[0].get("reduce_to")

    def measure(task: Task) -> tuple[float, float]:
        reference, image = read_pair(task)
        try:
            score, spread = predict_pairs(networks, [reference], [image], VIEWS[views], tile, reduce_to)
        except InputError as error:
            raise InputError(f"{task.image}: {error}") from None
        return float(score[0]), float(spread[0])

    of = f"{len(networks)} network{'s' * (len(networks) > 1)}, {len(VIEWS[views])} view{'s' * (len(VIEWS[views]) > 1)}"
    return Scorer(cards[0]["scale"], f"higher = better; {of}", True, measure)


def _weights(name: str) -> Path:
    from iqasuite.models.weights import find_weights

    try:
        return find_weights(name)
    except InputError:
        known = ", ".join(_metrics())
        found = "no such file, here or in the weights folders"
        raise InputError(f"model {name!r}: {found}, and no metric ({known})") from None


def _metrics() -> Iterable[str]:
    from iqasuite.models.piq_metrics import METRICS  # takes seconds: only where a name may be one

    return METRICS


def challenge_tasks(folder: Path, references: Path | None = None) -> tuple[list[Task], list[str]]:
    """The pairs of a folder by their names, as in the validation set of the NTIRE 2021 challenge, and what has no pair.

    `A0001_00_00.bmp` is a version of `A0001.bmp`, whatever the case, the endings and the folders below.

    Args:
        folder: of distorted images, and of references too where these are not elsewhere.
        references: folder of references; None = they are in `folder`.

    Returns:
        Tasks in the order of their names, and a message for each image or reference without a partner and for each
        name that is there twice.

    Raises:
        InputError: no such folder, or no image of such a name.
    """
    images = _images(folder)
    named = {path: match for path in images if (match := _DISTORTED.fullmatch(path.stem))}
    if not named:
        raise InputError(f"{folder}: {len(images)} images, none named like A0001_00_00.bmp; expected such pairs")
    originals, problems = {}, []
    for path in images if references is None else _images(references):
        if path not in named:
            originals.setdefault(path.stem.lower(), []).append(path)
    tasks, seen = [], {}
    for path, match in sorted(named.items(), key=lambda item: (item[0].name, item[0])):
        found = originals.get(match["reference"].lower(), [])
        if len(found) != 1:
            where = f"{len(found)} references" if found else "no reference"
            problems.append(f"{path}: {where} {match['reference']} in {references or folder}; expected one")
        elif path.name in seen:
            problems.append(f"{path}: a second image of this name, after {seen[path.name]}; expected each name once")
        else:
            seen[path.name] = path
            tasks.append(Task(path, found[0]))
    if references is not None:
        problems += [f"{path}: expected a name like A0001_00_00.bmp" for path in images if path not in named]
    with_versions = {match["reference"].lower() for match in named.values()}
    alone = [path for stem, paths in originals.items() if stem not in with_versions for path in paths]
    problems += [f"{path}: no distorted image {path.stem}_00_00; expected one or more" for path in alone]
    return tasks, problems


def scored(scorer: Scorer, tasks: Iterable[Task]) -> Iterator[Scored]:
    """Each task with its score, or with the reason why it has none, as they are done."""
    for task in tasks:
        try:
            yield Scored(task, *_finite(scorer, task))
        except (InputError, OSError) as error:
            yield Scored(task, error=str(error))


def line(scorer: Scorer, result: Scored) -> str:
    """One score for people to read."""
    spread = "" if math.isnan(result.spread) else f" ± {result.spread:.2g}"
    return f"{result.task.image.name}: {result.score:.6g}{spread} {scorer.scale} ({scorer.meaning})"


def challenge_lines(results: Sequence[Scored]) -> str:
    """Scores as the challenge takes them: a line `name,score` for each distorted image."""
    return "".join(f"{result.task.image.name},{result.score:.8g}\n" for result in results)


def read_pair(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Reference and image of a task, uint8 (H, W, 3) of the same size.

    Raises:
        InputError: a file that cannot be read; different sizes; one is stored gray, CMYK or with transparency, the
            other not, and the pixels show it.
    """
    from iqasuite.data.loading import read_image

    reference, image = read_image(task.reference), read_image(task.image)
    if reference.shape != image.shape:
        sizes = [f"{x.shape[1]}×{x.shape[0]}" for x in (image, reference)]
        raise InputError(f"{task.image}: {sizes[0]} pixels, {task.reference.name} {sizes[1]}; expected one size")
    kinds = [_kind(path) for path in (task.image, task.reference)]
    coloured = any((x != x[..., :1]).any() for x in (reference, image))
    if kinds[0] != kinds[1] and (coloured or "gray" not in kinds):
        raise InputError(f"{task.image}: {kinds[0]}, {task.reference.name} {kinds[1]}; expected one mode (convert one)")
    return reference, image


def _kind(path: Path) -> str:
    """How a readable file is stored, as far as it matters beside another."""
    from PIL import Image

    with Image.open(path) as file:
        if file.has_transparency_data and file.convert("RGBA").getextrema()[3][0] < 255:
            return f"{file.mode} with transparency"
        if file.mode in _GRAY or file.mode.startswith("I"):
            return "gray"
        return "CMYK" if file.mode == "CMYK" else "RGB"


def _finite(scorer: Scorer, task: Task) -> tuple[float, float]:
    score, spread = scorer.measure(task)
    if not math.isfinite(score):
        raise InputError(f"{task.image}: the score is {score}; expected a number")
    return score, spread


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in ENDINGS and path.is_file()
        and not any(part.startswith(".") or part == "__MACOSX" for part in path.relative_to(folder).parts)
    ]  # fmt: skip
