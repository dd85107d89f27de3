"""What a network learns from photographs before anybody has voted: which ones, what it is shown, how well it does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from iqasuite.datasets.dataset import Dataset
from iqasuite.errors import InputError
from iqasuite.evaluation import metrics, resampled
from iqasuite.evaluation.uncertainty import bootstrap_by_content
from iqasuite.experiments import distorted_photographs
from iqasuite.images.crops import normalise
from iqasuite.images.distortions.compression import jpeg_class
from iqasuite.images.distortions.registry import ALL, N_LEVELS
from iqasuite.images.encoding_stream import TARGETS, EncodingStream
from iqasuite.images.jpeg_stream import JPEGStream
from iqasuite.images.loading import read_image
from iqasuite.images.photographs import HELD_OUT, PHOTOGRAPHS, photograph, photographs
from iqasuite.models import create
from iqasuite.models.network import Network
from iqasuite.models.vit_iqa import ViTIQA
from iqasuite.training.batches import unzipped
from iqasuite.training.loop import Followed, Result
from iqasuite.training.outputs import outputs
from iqasuite.training.pretrain import JPEGPlan, pretrain_on_encodings, pretrain_on_jpeg
from iqasuite.training.schedule import Schedule
from iqasuite.weights.card import Card
from iqasuite.weights.files import load_weights

STARTS = ("vit_iqa", "jpeg_resnet")  # architectures that AIOs start from
OBJECTIVES = ("jpeg", "encodings", "distortions")
_SHOWN = ("jpeg", "h265_quarter", "blur", "noise", "contrast_loss")  # distortions that the examples show
_CHECKED, _BATCH = (256, 2048), 64  # crops that test a network of JPEG classes: fewest (of a try), most; in a batch
KEPT, SHIFTED, RESIZED = "block grid kept", "block grid shifted", "resized, as in the study"


@dataclass(frozen=True)
class Photographs:
    """Photographs to learn from.

    Attributes:
        learnt_from: files that training sees.
        held_out: files on which the epoch is chosen and the result is tested.
        left_out: names of those that training may not see, sorted: test contents are cut from them.
    """

    learnt_from: list[Path]
    held_out: list[Path]
    left_out: list[str]

    @property
    def unseen(self) -> list[str]:
        """Names of those that are not learnt from, whether left out or held out, sorted."""
        return sorted({*self.left_out, *map(_name, self.held_out)})


def photographs_for(sources: Sequence[str], dataset: Dataset, split: pd.DataFrame, fold: int) -> Photographs:
    """The photographs that a network of one fold may learn from: no test content is cut from any of them.

    Args:
        sources: "demo", "kodak24" or folders of images; of all that may be seen every sixth one is held out.
        dataset: on whose test part the network's successors are tested.
        split, fold: which contents are tested.

    Raises:
        InputError: a folder without images.
    """
    tested, every = tested_sources(dataset, split, fold), [path for source in sources for path in photographs(source)]
    allowed = [path for path in every if _name(path) not in tested]
    if not allowed:
        raise InputError(f"photographs: all {len(every)} are of the test part of {dataset.name}; expected others, too")
    held_out = allowed[HELD_OUT] or allowed[-1:]
    left_out = sorted({_name(path) for path in every} & tested)
    return Photographs([path for path in allowed if path not in held_out], held_out, left_out)


def tested_sources(dataset: Dataset, split: pd.DataFrame, fold: int) -> set[str]:
    """Source photographs, where they are known, of the test part of one fold."""
    tested = set(split[(split["fold"] == fold) & (split["part"] == "test")]["content"])
    return {dataset.sources[content] for content in tested if content in dataset.sources}


def learnt_before(card: Card | None, names: Collection[str]) -> list[str]:
    """Those of some source photographs, sorted, that by its card a network has learnt from before.

    Args:
        card: of the weights; its `photographs` and those of them that it has not learnt from, `left_out`.
        names: as in `Dataset.sources`.
    """
    if card is None:
        return []
    folders, unseen = {Path(source).name for source in card.photographs}, set(card.left_out)
    folder_of = {name: "demo" if name in PHOTOGRAPHS else name.rpartition("/")[0] for name in names}
    return sorted(name for name, folder in folder_of.items() if folder in folders and name not in unseen)


def _name(path: Path) -> str:
    """A photograph's name as the source of contents: "rocket" of the demo set's, else "<folder>/<name>"."""
    of_demo = (name for name in PHOTOGRAPHS if photograph(name) == path)
    return next(of_demo, f"{path.parent.name}/{path.stem}")


def network_to_train(network: Mapping[str, Any], find: Callable[[str], Path], seed: int) -> Network:
    """A new network, or the one that training goes on with.

    Args:
        network: arguments of the network `name`, one of `STARTS`, vit_iqa without it; or `start` alone, the name of
            weights.
        find: the file of weights by their name, such as `Run.find_weights`.
        seed: of new weights.

    Raises:
        InputError: another name, arguments beside `start`, no such weights, or weights of another architecture.
    """
    torch.manual_seed(seed)
    if "start" not in network:
        name = network.get("name", STARTS[0])
        if name not in STARTS:
            raise InputError(f"network: name {name!r}; expected one of {', '.join(STARTS)}")
        return create(name, **{key: value for key, value in network.items() if key != "name"})
    if len(network) > 1:
        raise InputError(f"network: {', '.join(network)}; expected start alone: weights say what network they are")
    model, card = load_weights(find(str(network["start"])))
    if card.architecture not in STARTS:
        raise InputError(
            f"network: start {network['start']!r} is a {card.architecture}; expected {' or '.join(STARTS)}"
        )
    return model


def network_title(model: Network) -> str:
    """What a network is called in tables: "ViT-IQA", or "JPEGResNet18" with its width where that is not 1."""
    if model.architecture != "jpeg_resnet":
        return "ViT-IQA"
    given = {"depth": 18, "width": 1.0} | dict(model.arguments)
    return f"JPEGResNet{given['depth']}" + (f", width {given['width']:g}" if given["width"] != 1 else "")


def aio0_card(model: Network, table: pd.DataFrame, n_photographs: int) -> dict[str, Any]:
    """What the card of AIO0 says to those who are given its weights; `table` as of `jpeg_table`."""
    rows = table[table["metric"] == "accuracy"].set_index("crops")["value"]
    network = network_title(model)
    of = "AIO0, the objective observer" if network == "ViT-IQA" else network
    return {
        "title": f"{of}: five classes of JPEG quality",
        "method": network,
        "trained_on": f"{n_photographs} undistorted photographs, compressed anew for every batch; nobody's votes",
        "scale": {"name": "JPEG class", "low": 1, "high": 5},
        "scores": {f"accuracy, {crops}": round(rows[crops], 4) for crops in (KEPT, SHIFTED, RESIZED)},
        "limits": "It reads JPEG's blocks where they begin at the corner of its crops, not in resized images. "
        "Photographs of bsds300 are for research and education that is not commercial.",
        "licence": "MIT",
    }


def examples(
    model: Network, objective: str, paths: list[Path], protocol: str, seed: int
) -> tuple[list[list[np.ndarray]], list[str], list[str]]:
    """What the network is shown, as arguments of `figures.image_grid`.

    Args:
        model: which will be trained.
        objective: "jpeg" gives five crops of each class, "encodings" five samples from slightly to strongly enlarged,
            "distortions" the levels of five distortions.
        paths: photographs.
        protocol: "corrected" or "faithful", see `JPEGStream`.
        seed: of what is drawn.

    Returns:
        Rows of uint8 images (H, W, 3), titles of the columns, labels of the rows.

    Raises:
        InputError: unknown objective.
    """
    if objective == "jpeg":
        pixels, classes = JPEGStream(paths, model.image_size, seed, protocol == "corrected").batch(25, 0)
        order = classes.argsort(stable=True).view(5, 5)
        rows = [[pixels[i].permute(1, 2, 0).numpy() for i in row] for row in order]
        return rows, [f"example {i}" for i in range(1, 6)], [f"class {k}" for k in range(1, 6)]
    if objective == "distortions":
        levels, part = range(1, N_LEVELS + 1), read_image(paths[0])[: model.image_size, : model.image_size]
        shown = [[ALL[kind](part, level, np.random.default_rng(seed)) for level in levels] for kind in _SHOWN]
        return shown, [f"level {level}" for level in levels], list(_SHOWN)
    _check_objective(objective)
    side = _with_spectrum(model).sharpness.spectrum.patch_size
    patches, targets = EncodingStream(paths, side, seed=seed).batch(30, 0)
    order = targets[:, 0].argsort()[::6]
    rows = [[patches[i, j].permute(1, 2, 0).numpy() for i in order] for j in range(2)]
    return rows, [f"× {targets[i, 0].exp():.1f}, {targets[i, 1]:.0f} dB" for i in order], ["patch 1", "patch 2"]


def pretrain(
    model: Network,
    objective: str,
    found: Photographs,
    training: Mapping[str, Any],
    protocol: str,
    seed: int,
    checkpoint: Path | None = None,
    log: Callable[[str], None] = print,
) -> tuple[Result, dict[str, pd.DataFrame]]:
    """Train a network on one of the objectives and test it on the photographs that were held out.

    Args:
        model: all of it is trained, with "encodings" the spectrum stem of a ViT-IQA alone. Changed in place.
        objective: one of `OBJECTIVES`.
        found: the photographs.
        training: epochs, lr, batch_size, steps (batches an epoch); small, mix and sigma of `JPEGPlan`.
        protocol: "corrected" or "faithful", see `JPEGStream`.
        seed: of order, crops and everything drawn.
        checkpoint: file where a killed training goes on.
        log: takes one line an epoch.

    Returns:
        What the training did; what the network reads in the held-out photographs: with "jpeg" `jpeg_classes` of each
        way of cutting crops, the one that was learnt first; with "encodings" "estimates" and "truth" of
        `encoding_stream.TARGETS`; with "distortions" `distorted_photographs.read`.

    Raises:
        InputError: unknown objective.
    """
    _check_objective(objective)
    schedule = Schedule(
        epochs=training["epochs"],
        lr=training["lr"],
        warmup=min(1.0, training["epochs"] / 10),
        precision="no" if objective == "encodings" else "auto",  # the small encoder is faster in float32
        keep="last",
    )
    parts = found.learnt_from, found.held_out
    followed = Followed(checkpoint, log)
    if objective == "distortions":
        result, frame = distorted_photographs.pretrain_on_distortions(model, *parts, training, schedule, seed, followed)
        return result, {objective: frame}
    common: dict[str, Any] = {"batch_size": training["batch_size"], "seed": seed, "followed": followed}
    if objective == "encodings":
        samples = training["steps"] * training["batch_size"]
        stem = _with_spectrum(model).sharpness
        result, estimates, truth = pretrain_on_encodings(stem, *parts, schedule, samples=samples, **common)
        values = {"estimates": estimates, "truth": truth}
        return result, {name: pd.DataFrame(of.numpy(), columns=TARGETS) for name, of in values.items()}
    side, native = model.image_size, protocol == "corrected"
    names = ("batch_size", "steps", "small", "mix", "sigma")
    how = JPEGPlan(native=native, **{name: training[name] for name in names if name in training})
    result = pretrain_on_jpeg(model, *parts, schedule, how, seed, followed)
    ways = {KEPT: (True, False), SHIFTED: (True, True), RESIZED: (False, False)}
    streams = {name: JPEGStream(found.held_out, side, seed + 2, *way) for name, way in ways.items()}
    learnt = KEPT if native else RESIZED
    count = int(np.clip(training["epochs"] * training["steps"] * training["batch_size"], *_CHECKED))
    ordered = sorted(ways, key=lambda name: name != learnt)
    return result, {name: jpeg_classes(model, streams[name], count) for name in ordered}


def held_out_table(reading: Mapping[str, pd.DataFrame], n_photographs: int) -> pd.DataFrame:
    """How well the held-out photographs are read, beside what is read without looking.

    Args:
        reading: of `pretrain`.
        n_photographs: that were held out.
    """
    if "distortions" in reading:
        return distorted_photographs.held_out_table(reading["distortions"])
    return encoding_table(reading, n_photographs) if "truth" in reading else jpeg_table(reading)


def jpeg_classes(model: nn.Module, stream: JPEGStream, count: int = _CHECKED[1]) -> pd.DataFrame:
    """What a network reads in `count` crops of a stream: `JPEGStream.described` and the column `predicted`, 1 to 5."""
    mean, std = model.get_buffer("mean"), model.get_buffer("std")

    def read(network: nn.Module, images: Tensor) -> Tensor:
        return network(normalise(images, mean, std)).argmax(1) + 1

    images, facts = unzipped(stream.described(_BATCH, step) for step in range(count // _BATCH))
    reading = zip(facts, outputs(model, images, read), strict=True)
    frames = [of.assign(predicted=classes.cpu().numpy()) for of, classes in reading]
    return pd.concat(frames, ignore_index=True)


def told_apart(width: int = 1) -> float:
    """Best accuracy, the classes balanced, of a reader that confuses qualities less than `width` + 1 apart.

    A quality of 10 belongs to class 1 and one of 11 to class 2, and no eye and hardly any network tells them apart. A
    reader that sees each quality up to an error uniform in -width…width decides by the class that is most probable.
    """
    class_of = np.array([jpeg_class(quality) for quality in range(2, 101)])
    weight = 1 / (5 * np.bincount(class_of)[class_of])  # of each quality, the classes balanced
    joint = np.zeros((len(class_of) + 2 * width, 6))  # of what is seen and the class
    for shift in range(2 * width + 1):
        np.add.at(joint, (np.arange(len(class_of)) + shift, class_of), weight / (2 * width + 1))
    return float(joint.max(axis=1).sum())


def jpeg_table(reading: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """How well JPEG classes are read, with 95 % intervals over photographs, beside a guess and what is possible.

    Args:
        reading: for each way of cutting crops what `jpeg_classes` gives; the classes one by one are of the first.

    Returns:
        Columns crops, metric, value, low, high, n, photographs.
    """

    def row(crops: str, metric: str, own: pd.DataFrame, weighted: Callable | np.ndarray, value: float) -> dict:
        low, high = bootstrap_by_content(weighted, own["photograph"])
        counts = {"n": len(own), "photographs": own["photograph"].nunique()}
        return {"crops": crops, "metric": metric, "value": value, "low": low, "high": high} | counts

    rows = []
    for crops, own in reading.items():
        right = (own["predicted"] == own["class"]).to_numpy(float)
        pair = own["predicted"].to_numpy(), own["class"].to_numpy()
        rows.append(row(crops, "accuracy", own, right, right.mean()))
        rows.append(row(crops, "qwk", own, partial(resampled.qwk, *pair), metrics.qwk(*pair)))
    crops, own = next(iter(reading.items()))
    for label, part in own.groupby("class"):
        right = (part["predicted"] == label).to_numpy(float)
        rows.append(row(crops, f"accuracy of class {label}", part, right, right.mean()))
    fixed = {"baseline: guess": 0.2, "ceiling: quality read to ± 1": told_apart(1), "ceiling: to ± 2": told_apart(2)}
    return pd.DataFrame(rows + [{"crops": name, "metric": "accuracy", "value": value} for name, value in fixed.items()])


def encoding_table(reading: Mapping[str, pd.DataFrame], n_photographs: int) -> pd.DataFrame:
    """How well the spectrum stem reads upscaling and coding, beside always predicting the mean."""
    rows = []
    for target, true in reading["truth"].items():
        estimate = reading["estimates"][target]
        reached = {"srocc": metrics.srocc(estimate, true), "rmse": metrics.rmse(estimate, true)}
        rows.append({"target": target} | reached | {"rmse of the mean": true.std(ddof=0)})
    return pd.DataFrame(rows).assign(n=len(reading["truth"]), photographs=n_photographs)


def headline(table: pd.DataFrame) -> dict[str, float]:
    """The numbers of `held_out_table` that stand for the run."""
    if "target" in table:
        return {f"srocc, {row.target}": round(row.srocc, 4) for row in table.itertuples()}
    if "what" in table:
        rows = table[~table["what"].str.startswith("baseline")]
        return {f"{row.metric}, {row.what}": round(row.value, 4) for row in rows.itertuples()}
    rows = table[table["crops"].isin([KEPT, SHIFTED, RESIZED]) & table["metric"].isin(["accuracy", "qwk"])]
    return {f"{row.metric}, {row.crops}": round(row.value, 4) for row in rows.itertuples()}


def _with_spectrum(model: Network) -> ViTIQA:
    if not isinstance(model, ViTIQA):
        raise InputError(f"objective 'encodings': the network is a {model.architecture}; expected a vit_iqa")
    return model


def _check_objective(objective: str) -> None:
    if objective not in OBJECTIVES:
        raise InputError(f"objective is {objective!r}, expected one of {', '.join(OBJECTIVES)}")
