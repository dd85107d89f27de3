"""What `iqasuite train` does: split, train, choose, test once, write weights with their card."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import nn

from iqasuite import datasets as sets
from iqasuite.datasets import splits
from iqasuite.datasets.dataset import Dataset, Scale
from iqasuite.errors import InputError
from iqasuite.evaluation.rank_baselines import on_card
from iqasuite.evaluation.uncertainty import LEAST_CONTENTS
from iqasuite.experiments import evaluating
from iqasuite.images.loading import image_size
from iqasuite.inference.predictor import LONGEST, Predictor
from iqasuite.models import accepts, create
from iqasuite.models.network import Network
from iqasuite.paths import check_writable, scratch_folder
from iqasuite.report.tables import with_interval
from iqasuite.training.inputs import PixelInputs
from iqasuite.training.loop import Followed, Result, TrainingError
from iqasuite.training.losses import FAITHFUL_SIGMA, soft_labels
from iqasuite.training.quality import RANKING, quality_loss, save_quality, targets_of, train_quality
from iqasuite.training.schedule import Schedule
from iqasuite.weights import catalogue, seen
from iqasuite.weights.files import load_weights

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Settings", "TrainingError", "check", "run"]
ARCHITECTURES = ("mobile_nr", "trcnn", "trcnn_faithful")
LARGEST = 500  # pixels of the shorter side, unless asked for more
CROP, CROP_STEP = 224, 32  # side of the training crops, and what it is a multiple of where images are smaller
IN_CARD = ("mse", "plcc", "plcc_logistic", "srocc", "krcc", "accuracy", "qwk")


@dataclass(frozen=True)
class Settings:
    """The options of `iqasuite train`, see there; `arguments` are the network's own, observer "" = the mean opinion,
    crop None = not given, 0 = whole images."""

    data: str
    output: Path
    model: str | None
    epochs: int
    batch_size: int
    learning_rate: float
    crop: int | None
    shown_at: int | None
    pretrained: bool
    ranking: str
    observer: str
    seed: int
    start: str | None
    checkpoint: Path
    missing: str
    precision: str
    arguments: dict = field(default_factory=dict)


def check(settings: Settings, resume: bool, overwrite: bool) -> None:
    """Check what can be checked before anything is read.

    Raises:
        InputError: options that cannot be, weights that are there already, no checkpoint to go on from, or one that
            was not asked for; a folder that cannot be written.
    """
    if settings.output.suffix != ".safetensors":
        raise InputError(f"--output {settings.output}: ending {settings.output.suffix!r}, expected .safetensors")
    if settings.output.exists() and not overwrite:
        raise InputError(f"--output {settings.output}: there already; expected another name, or --overwrite")
    if settings.model is not None and settings.model not in ARCHITECTURES:
        raise InputError(f"--model {settings.model}: expected one of {', '.join(ARCHITECTURES)}")
    if settings.ranking not in RANKING:
        raise InputError(f"--ranking {settings.ranking}: expected one of {', '.join(RANKING)}")
    if settings.start and settings.arguments:
        named = ", ".join(f"--{name}" for name in settings.arguments)
        raise InputError(f"{named} with --start: the weights have their own; expected one or the other")
    there = settings.checkpoint.exists()
    if resume and not there:
        raise InputError(f"--resume: no checkpoint {settings.checkpoint}; expected the one of the same command")
    if there and not resume:
        raise InputError(f"{settings.checkpoint}: of a training that was interrupted; --resume goes on, or remove it")
    check_writable(settings.output.parent)


def run(
    settings: Settings, say: Callable[[str], None], warn: Callable[[str], None], rated_here: Dataset | None = None
) -> Path:
    """Train, choose, test, write; the path of the weights.

    Args:
        settings: the options.
        say: takes lines about what is done.
        warn: takes what is wrong with the test part before training starts.
        rated_here: the set with votes of `iqasuite rate`; None = it is loaded with its own.

    Raises:
        InputError: a set that cannot be read or split, weights that do not fit.
        TrainingError: the loss is no number.
    """
    dataset = sets.load(settings.data, missing=settings.missing) if rated_here is None else rated_here
    if dataset.regions:
        raise InputError(f"{dataset.name}: its images are parts of files; expected a set of whole ones to train on")
    if settings.observer:
        settings = replace(settings, observer=dataset.check_observer(settings.observer))
    rated = evaluating.rated(dataset, settings.observer)
    split = split_of(dataset, rated, settings.seed)
    parts = {name: evaluating.in_part(rated, split, 0, name) for name in ("train", "val", "test")}
    size = shown_size(dataset, settings.shown_at)
    smaller = settings.crop is None and min(size) < CROP
    settings = replace(settings, crop=training_crop(dataset, settings.crop, size))
    model = network(settings)
    start = catalogue.find(settings.start) if settings.start else None
    no_test = seen.warning(start, dataset, parts["test"]["image"].tolist(), "test", split) if start else ""
    if no_test:
        warn(no_test)
    counts = (f"{name} {len(rows):,} images of {rows['content'].nunique():,} contents" for name, rows in parts.items())
    crops = f"crops of {settings.crop}" if settings.crop else "whole"
    crops += f" (the default {CROP} is larger than the images)" if smaller else ""
    say(f"{dataset.name}: {', '.join(counts)}; shown at {size[1]}×{size[0]} pixels, in training {crops}")
    result = _train(model, dataset, parts, size, settings, say)
    facts = card(settings, dataset, split, rated, result)
    facts["limits"] += f" About the weights that it started from: {no_test}." if no_test else ""
    facts["seen"] = seen.record(
        dataset, [*parts["train"]["image"], *parts["val"]["image"]], start.card if start else None
    )
    scores, ranked = tested(model, dataset, parts, min(size), facts, settings)
    _say_scores(scores, ranked, parts["test"]["content"].nunique(), say)
    splits.save_split(split, settings.output.with_name(f"{settings.output.stem}_split.csv"))
    path = save_quality(model, settings.output, dataset, min(size), facts | in_card(scores, ranked))
    settings.checkpoint.unlink(missing_ok=True)
    say(f"{path}; next: iqasuite score --model {path} IMAGES")
    return path


def _train(
    model: nn.Module,
    dataset: Dataset,
    parts: dict[str, pd.DataFrame],
    size: tuple[int, int],
    settings: Settings,
    say: Callable[[str], None],
) -> Result:
    epochs, precision = settings.epochs, "auto" if settings.precision == "auto" else "no"
    result = train_quality(
        model,
        PixelInputs(dataset, size, settings.crop, views=0),
        targets(dataset, settings.observer),
        parts["train"]["image"].tolist(),
        parts["val"]["image"].tolist(),
        Schedule(epochs, settings.learning_rate, warmup=min(1.0, epochs / 10), precision=precision),
        settings.seed,
        quality_loss(settings.ranking),
        settings.batch_size,
        Followed(settings.checkpoint, say),
    )
    say(f"epoch {result.best_epoch + 1} of {result.epochs_run} is the best on val, SROCC {result.best_value:.4f}")
    return result


def _say_scores(scores: pd.DataFrame, ranked: pd.DataFrame, n_contents: int, say: Callable[[str], None]) -> None:
    if n_contents < evaluating.FEW:
        rough = "rough" if n_contents >= LEAST_CONTENTS else f"not known, which takes {LEAST_CONTENTS}"
        say(f"the test part has {n_contents} contents: its intervals are {rough}")
    for row in evaluating.beside_baseline(scores):
        value = with_interval(row["value"], row["low"], row["high"], 4)
        say(f"test {row['metric']:14} {value:27} baseline {with_interval(row['baseline'], digits=4)}, n {row['n']:,}")
    for row in evaluating.beside_model(ranked):
        say(f"test {row['rank baseline']:21} SROCC {with_interval(row['value'], row['low'], row['high'], 4)}")


def split_of(dataset: Dataset, rated: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Train, val and test (.6, .2, .2) of the rated images, by content, near-duplicates together; fold 0.

    Raises:
        InputError: fewer than five contents.
    """
    images = dataset.images[dataset.images["image"].isin(rated["image"])]
    return splits.repeated_by_content(images, 1, seed, splits.leak_free_sources(dataset))


def shown_size(dataset: Dataset, shorter: int | None) -> tuple[int, int]:
    """(height, width) at which the images are shown: the set's display size, or the shape that is usual in it.

    Args:
        dataset: whose images are shown.
        shorter: pixels of the shorter side; None = as they are, at most `LARGEST`.

    Raises:
        InputError: images too elongated to be shown whole.
    """
    if dataset.display_size is not None:
        height, width = dataset.display_size
    else:
        sizes = [
            image_size(dataset.path(image)) for image in dataset.images["image"].iloc[:: len(dataset.images) // 200 + 1]
        ]
        width, height = (int(median(side)) for side in zip(*sizes, strict=True))
    if max(height, width) > LONGEST * min(height, width):
        raise InputError(f"{dataset.name}: images of {width}×{height} pixels; expected sides within 1 : {LONGEST:g}")
    side = shorter or min(height, width, LARGEST)
    factor = side / min(height, width)
    return max(side, round(height * factor)), max(side, round(width * factor))


def training_crop(dataset: Dataset, crop: int | None, shown: tuple[int, int]) -> int | None:
    """Side of the training crops; None = whole images.

    Args:
        dataset: whose images.
        crop: as asked for, 0 = whole images; None = `CROP`, or the largest multiple of `CROP_STEP` that images hold.
        shown: (height, width) at which they are shown.

    Raises:
        InputError: a crop that was asked for is larger than the images, or these are smaller than `CROP_STEP`.
    """
    height, width = shown
    side = min(height, width)
    if side < CROP_STEP or (crop or 0) > side:
        sizes = {image: image_size(dataset.path(image)) for image in dataset.images["image"]}
        smallest = min(sizes, key=lambda image: min(sizes[image]))
        found = f"images are shown at {width}×{height} pixels ({smallest} has {'×'.join(map(str, sizes[smallest]))})"
        expected = f"{CROP_STEP} or more a side" if side < CROP_STEP else f"a crop of at most {side}"
        raise InputError(f"{dataset.name if side < CROP_STEP else f'--crop {crop}'}: {found}; expected {expected}")
    if crop is None:
        return min(CROP, side // CROP_STEP * CROP_STEP)
    return crop or None


def targets(dataset: Dataset, observer: str) -> dict[str, np.ndarray]:
    """Image -> distribution of votes (5,): of all observers, or soft labels of one observer's first votes."""
    if not observer:
        return targets_of(dataset)
    rated = evaluating.rated(dataset, observer)
    labels = soft_labels(torch.from_numpy(rated["target"].to_numpy(np.int64, copy=True)), FAITHFUL_SIGMA)
    return dict(zip(rated["image"], labels.numpy(), strict=True))


def network(settings: Settings) -> Network:
    """The network as it starts.

    Raises:
        InputError: weights of another architecture, or arguments that it does not have.
    """
    if settings.start:
        entry = catalogue.find(settings.start)
        wanted = (settings.model,) if settings.model else ARCHITECTURES
        if entry.architecture not in wanted:
            raise InputError(f"--start {settings.start}: weights of {entry.architecture}, expected {', '.join(wanted)}")
        model, _ = load_weights(entry.path)
        model.card = None  # it tells of another training
        model.steady = True  # its batch norm has learnt from more images than are here
        return model.train()
    name = settings.model or ARCHITECTURES[0]
    arguments = dict(settings.arguments)
    if accepts(name, "pretrained") and not settings.pretrained:
        arguments["pretrained"] = False
    torch.manual_seed(settings.seed)
    return create(name, **arguments)


def card(settings: Settings, dataset: Dataset, split: pd.DataFrame, rated: pd.DataFrame, result: Result) -> dict:
    """What the weights' card has besides scores, scale and preprocessing."""
    who = f"votes of {settings.observer}" if settings.observer else "mean opinions"
    simulated = " (simulated observers)" if dataset.simulated else ""
    contents = rated["content"].nunique()
    about = {
        "title": f"{'AIO of ' + settings.observer if settings.observer else 'Quality without a reference'}, "
        f"learnt from {dataset.name}{simulated}",
        "trained_on": f"{who} of {dataset.name}{simulated}, training part",
        "split_hash": splits.split_hash(split),
        "fold": 0,
        "seed": settings.seed,
        "start": settings.start or "",
        "epochs": result.epochs_run,
        "best_epoch": result.best_epoch + 1,
        "batch_size": settings.batch_size,
        "learning_rate": settings.learning_rate,
        "ranking": settings.ranking,
        "training_crop": settings.crop,
        "limits": f"Knows what {len(rated):,} images of {contents:,} contents of {dataset.name} show: other contents, "
        "distortions and ways of viewing are unknown to it.",
        "licence": f"as the data set's, {dataset.name}: {dataset.licence or 'none stated'}",
    }
    if settings.observer:
        votes = Scale(1, 5)
        about |= {"observer": settings.observer, "scale": {"name": votes.name, "low": votes.low, "high": votes.high}}
    return about


def tested(
    model: nn.Module,
    dataset: Dataset,
    parts: dict[str, pd.DataFrame],
    shorter_side: int,
    facts: dict,
    settings: Settings,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores frames of the test part, read as `iqasuite score` will read images: beside the training part's mean, and
    beside the rank baselines.
    """
    with scratch_folder() as folder:
        path = save_quality(model, folder / settings.output.name, dataset, shorter_side, facts)
        predictor = Predictor(catalogue.entry_of(path, settings.output.stem), settings.precision)
    test = parts["test"]
    predictions = evaluating.predicted_rows(predictor, dataset, test, settings.observer, "test", settings.batch_size)
    both = evaluating.beside_trivial(predictions, parts["train"]["target"])
    return evaluating.scores(both, test), evaluating.above_statistics(dataset, predictions, test)


def in_card(scores: pd.DataFrame, ranked: pd.DataFrame) -> dict:
    """Scores of the test part as the card has them: number, n, interval, and the numbers of all baselines."""
    trivial = scores["model"].str.startswith("baseline: ")
    named, baseline = scores["metric"].isin(IN_CARD), scores.loc[trivial, "model"].iloc[0]

    def numbers(rows: pd.DataFrame) -> dict[str, float]:
        return {f"{row.metric}, test": round(row.value, 4) for row in rows.itertuples() if np.isfinite(row.value)}

    own = scores[named & ~trivial]
    intervals = {
        f"{row.metric}, test": [round(row.low, 4), round(row.high, 4)]
        for row in own.itertuples()
        if np.isfinite(row.low)
    }
    return {
        "scores": numbers(own),
        "intervals_95": intervals,
        "n_test": int(own["n"].iloc[0]),
        "baseline": baseline,
        "baseline_scores": numbers(scores[named & trivial]),
        "rank_baselines": {"srocc, test": on_card(ranked)},
    }
