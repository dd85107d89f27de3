"""What a network learns from photographs before anybody has voted: which ones, what it is shown, how well it does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from torch import nn

from iqasuite.datasets.dataset import Dataset
from iqasuite.errors import InputError
from iqasuite.evaluation import metrics
from iqasuite.images.encoding_stream import TARGETS, EncodingStream
from iqasuite.images.jpeg_stream import JPEGStream
from iqasuite.images.photographs import HELD_OUT, PHOTOGRAPHS, photograph, photographs
from iqasuite.models.vit_iqa import ViTIQA
from iqasuite.training.aio import made_for
from iqasuite.training.batches import StreamBatches
from iqasuite.training.loop import Result
from iqasuite.training.pretrain import pretrain_on_encodings, pretrain_on_jpeg
from iqasuite.training.schedule import Schedule

OBJECTIVES = ("jpeg", "encodings")
_CHECKED = (64, 8)  # crops a batch and batches on which a network of JPEG classes is tested


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

    @property
    def free(self) -> list[Path]:
        """Those to learn from whose pixels may be shown: the demo set's."""
        free = set(photographs("demo"))
        return [path for path in self.learnt_from if path in free]


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


def learnt_before(card: Mapping[str, Any], names: Collection[str]) -> list[str]:
    """Those of some source photographs, sorted, that by its card a network has learnt from before.

    Args:
        card: of the weights; its `photographs` and those of them that it has not learnt from, `left_out`.
        names: as in `Dataset.sources`.
    """
    folders, unseen = {Path(source).name for source in card.get("photographs", [])}, set(card.get("left_out", []))
    folder_of = {name: "demo" if name in PHOTOGRAPHS else name.rpartition("/")[0] for name in names}
    return sorted(name for name, folder in folder_of.items() if folder in folders and name not in unseen)


def _name(path: Path) -> str:
    """A photograph's name as the source of contents: "rocket" of the demo set's, else "<folder>/<name>"."""
    of_demo = (name for name in PHOTOGRAPHS if photograph(name) == path)
    return next(of_demo, f"{path.parent.name}/{path.stem}")


def examples(
    model: nn.Module, objective: str, paths: list[Path], protocol: str, seed: int
) -> tuple[list[list[np.ndarray]], list[str], list[str]]:
    """What the network is shown, as arguments of `figures.image_grid`.

    Args:
        model: which will be trained.
        objective: "jpeg" gives five crops of each class, "encodings" five samples from slightly to strongly enlarged.
        paths: photographs.
        protocol: "corrected" or "faithful", see `JPEGStream`.
        seed: of what is drawn.

    Returns:
        Rows of uint8 images (H, W, 3), titles of the columns, labels of the rows.

    Raises:
        InputError: unknown objective.
    """
    if objective == "jpeg":
        pixels, classes = JPEGStream(paths, made_for(model), seed, protocol == "corrected").batch(25, 0)
        order = classes.argsort(stable=True).view(5, 5)
        rows = [[pixels[i].permute(1, 2, 0).numpy() for i in row] for row in order]
        return rows, [f"example {i}" for i in range(1, 6)], [f"class {k}" for k in range(1, 6)]
    _check_objective(objective)
    patches, targets = EncodingStream(paths, cast(ViTIQA, model).sharpness.spectrum.patch_size, seed=seed).batch(30, 0)
    order = targets[:, 0].argsort()[::6]
    rows = [[patches[i, j].permute(1, 2, 0).numpy() for i in order] for j in range(2)]
    return rows, [f"× {targets[i, 0].exp():.1f}, {targets[i, 1]:.0f} dB" for i in order], ["patch 1", "patch 2"]


def pretrain(
    model: nn.Module,
    objective: str,
    found: Photographs,
    training: Mapping[str, Any],
    protocol: str,
    seed: int,
    checkpoint: Path | None = None,
    log: Callable[[str], None] = print,
) -> tuple[Result, np.ndarray, np.ndarray]:
    """Train a network on one of the two objectives and test it on the photographs that were held out.

    Args:
        model: a ViT-IQA; with "jpeg" all of it is trained, with "encodings" its spectrum stem. Changed in place.
        objective: "jpeg" or "encodings".
        found: the photographs.
        training: epochs, lr, batch_size, steps (batches an epoch); small_crops and sigma of `pretrain_on_jpeg`.
        protocol: "corrected" or "faithful", see `JPEGStream`.
        seed: of order, crops and everything drawn.
        checkpoint: file where a killed training goes on.
        log: takes one line an epoch.

    Returns:
        What the training did; what the network predicts of the held-out photographs; the truth. Classes from 1 to 5
        (n,) with "jpeg", `encoding_stream.TARGETS` (n, 2) with "encodings".

    Raises:
        InputError: unknown objective.
    """
    _check_objective(objective)
    schedule = Schedule(
        epochs=training["epochs"],
        lr=training["lr"],
        warmup=min(1.0, training["epochs"] / 10),
        precision="auto" if objective == "jpeg" else "no",  # the small encoder is faster in float32
        keep="last",
    )
    parts = found.learnt_from, found.held_out
    common: dict[str, Any] = {"batch_size": training["batch_size"], "seed": seed, "checkpoint": checkpoint, "log": log}
    if objective == "encodings":
        samples = training["steps"] * training["batch_size"]
        stem = cast(ViTIQA, model).sharpness
        result, estimates, truth = pretrain_on_encodings(stem, *parts, schedule, samples=samples, **common)
        return result, estimates.numpy(), truth.numpy()
    side, native = made_for(model), protocol == "corrected"
    common |= {name: training[name] for name in ("steps", "small_crops", "sigma")}
    result = pretrain_on_jpeg(model, *parts, schedule, crop=side, native=native, **common)
    return result, *jpeg_classes(model, JPEGStream(found.held_out, side, seed + 2, native))


@torch.inference_mode()
def jpeg_classes(model: nn.Module, stream: JPEGStream) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and true JPEG classes, 1 to 5, of 512 crops of a stream, each of shape (512,)."""
    vit = cast(ViTIQA, model)
    batches = StreamBatches(stream, *_CHECKED, vit.mean, vit.std, fixed=True, device=vit.mean.device)
    pairs = [(model.eval()(x).argmax(1) + 1, y.argmax(1) + 1) for x, y in batches.epoch(0)]
    predicted, true = (torch.cat(values).cpu().numpy() for values in zip(*pairs, strict=True))
    return predicted, true


def held_out_table(objective: str, predicted: np.ndarray, true: np.ndarray, n_photographs: int) -> pd.DataFrame:
    """How well the held-out photographs are read, beside what a guess reaches.

    Args:
        objective: "jpeg" or "encodings".
        predicted, true: of `pretrain`.
        n_photographs: that were held out.
    """
    counts = {"n": len(true), "photographs": n_photographs}
    if objective == "jpeg":
        reached = [metrics.accuracy(predicted, true), metrics.qwk(predicted, true)]
        return pd.DataFrame({"metric": ["accuracy", "qwk"], "AIO0": reached, "guess": [0.2, 0.0]} | counts)
    columns = list(zip(predicted.T, true.T, strict=True))
    scores = {"srocc": [metrics.srocc(*pair) for pair in columns], "rmse": [metrics.rmse(*pair) for pair in columns]}
    return pd.DataFrame({"target": TARGETS} | scores | {"rmse of the mean": true.std(0)} | counts)


def _check_objective(objective: str) -> None:
    if objective not in OBJECTIVES:
        raise InputError(f"objective is {objective!r}, expected one of {', '.join(OBJECTIVES)}")
