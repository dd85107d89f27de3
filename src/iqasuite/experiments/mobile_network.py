"""What is asked of a mobile network besides its scores: pseudo-labels, categories, spread of votes, speed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from iqasuite.datasets.dataset import Scale
from iqasuite.datasets.pseudo_labelled import CONSENSUS, kept_by_photograph, make
from iqasuite.datasets.splits import part
from iqasuite.errors import InputError
from iqasuite.evaluation.metrics import accuracy, qwk, srocc
from iqasuite.experiments.mos_task import MosTask
from iqasuite.experiments.run import Run
from iqasuite.images.distortions.registry import DISTORTIONS
from iqasuite.images.photographs import photographs
from iqasuite.inference.predict import predict_quality
from iqasuite.inference.predictions import P
from iqasuite.inference.predictor import Predictor
from iqasuite.models import create
from iqasuite.models.metrics.piq_metrics import qualities
from iqasuite.models.network import Network
from iqasuite.training.inputs import PixelInputs
from iqasuite.training.loop import Followed
from iqasuite.training.pretrain import LabelsPlan, pretrain_on_pseudo_labels
from iqasuite.training.schedule import Schedule
from iqasuite.weights.catalogue import CATEGORIES, Entry
from iqasuite.weights.export import quantised, run_onnx
from iqasuite.weights.files import save_weights

PSEUDO_SIZE, LARGEST_CROP = 256, 192  # pixels: sides of the distorted crops, and of what training cuts from them
CUTS = (1.5, 2.5, 3.5, 4.5)  # at which the original program cut every scale into categories


@dataclass(frozen=True)
class Pretrained:
    """A network that has learnt from pseudo-labels alone.

    Attributes:
        weights: its file.
        history: one row an epoch.
        learnt_from: what it learnt from, in words.
    """

    weights: Path
    history: pd.DataFrame
    learnt_from: str


def compared_networks(arguments: Mapping) -> dict[str, nn.Module]:
    """This network and others of its kind, untrained, by name: to count their parameters."""
    others: dict[str, dict[str, Any]] = {"from scratch × 0.25": {"width": 0.25}, "from scratch × 1": {"width": 1.0}}
    others |= {name: {"base": name, "pretrained": False} for name in ("mobilenet_v2", "mobilenet_v3_small")}
    return {name: create("mobile_nr", **given) for name, given in ({"this": dict(arguments)} | others).items()}


def learn_pseudo_labels(
    run: Run, network: Callable[[], Network], pretraining: Mapping, crop: int, seed: int
) -> Pretrained:
    """Train a network on distorted photographs that nobody has rated.

    Args:
        run: keeps the weights, as `<run>_pseudo`, and the checkpoint of a training that is killed.
        network: gives it untrained.
        pretraining: `photographs`, a set or folder; `kinds` of distortion, none = all; `epochs`.
        crop: side of the training crops in pixels, at most `LARGEST_CROP`.
        seed: of distortions, split, first weights and order.

    Raises:
        InputError: photographs that cannot be read, or an unknown kind.
    """
    name, kinds = pretraining["photographs"], pretraining["kinds"] or tuple(DISTORTIONS)
    distorted = make(photographs(name), qualities(CONSENSUS), kinds, PSEUDO_SIZE, 1, seed)
    kept = kept_by_photograph(run.results / "tables" / "split" / f"pseudo_{name}.csv", distorted.images, 3, seed)
    torch.manual_seed(seed)  # of its first weights
    untrained = network()
    result, _ = pretrain_on_pseudo_labels(
        untrained,
        distorted,
        [*part(kept, 0, "train"), *part(kept, 0, "test")],  # nothing is reported on the test part
        part(kept, 0, "val"),
        Schedule(epochs=pretraining["epochs"], lr=2e-3, warmup=1.0, weight_decay=0.02),
        LabelsPlan(min(crop, LARGEST_CROP)),
        seed,
        followed=Followed(run.checkpoints / "pseudo.pt", print),
    )
    n_photographs = distorted.images["content"].nunique()
    learnt_from = f"pseudo-labels of {len(distorted):,} distorted crops of {n_photographs} photographs ({name})"
    card = _pseudo_card(learnt_from, result.best_value, seed)
    return Pretrained(save_weights(untrained, run.weights("pseudo"), card), result.history, learnt_from)


def _pseudo_card(learnt_from: str, reached: float, seed: int) -> dict:
    return {
        "title": "Mobile network, from pseudo-labels alone",
        "trained_on": f"{learnt_from}; no observer's votes",
        "scale": {"name": "pseudo-label, as votes", "low": 1, "high": 5},
        "observer": "",
        "seed": seed,
        "preprocessing": {"shorter_side": PSEUDO_SIZE},
        "scores": {"srocc with pseudo-labels, validation photographs (chose the epoch)": round(float(reached), 4)},
        "limits": "No observer's votes were learnt. It knows distortions that code makes, not a camera's.",
        "licence": "MIT",
    }


def categories(entry: Entry, scores: Sequence[float]) -> np.ndarray:
    """Categories 1 (very poor) to 5 (excellent) of scores (n,): fifths of the model's own scale."""
    return np.array([CATEGORIES.index(entry.category(score)) + 1 for score in scores])


def categories_of_original(scores: Sequence[float]) -> dict[str, float]:
    """Share of each category if scores are cut at 1.5, 2.5, 3.5 and 4.5, whatever their scale is."""
    counts = np.bincount(np.digitize(np.asarray(scores, float), CUTS), minlength=len(CATEGORIES))
    return dict(zip(CATEGORIES, counts / len(scores), strict=True))


def category_table(predicted: np.ndarray, voted: np.ndarray) -> pd.DataFrame:
    """Three measures of predicted categories, beside those of always predicting the most frequent one.

    Args:
        predicted, voted: categories 1–5, (n,).
    """
    most = np.bincount(voted, minlength=6).argmax()
    near = "at most one category off"
    rows = [
        ("accuracy", accuracy(predicted, voted), (voted == most).mean()),
        (near, (np.abs(predicted - voted) <= 1).mean(), (np.abs(most - voted) <= 1).mean()),
        ("quadratic-weighted kappa", qwk(predicted, voted), 0.0),
    ]
    return pd.DataFrame(rows, columns=["measure", "network", "baseline: the most frequent category"]).round(3)


def predicted_spread(predictions: pd.DataFrame, scale: Scale) -> np.ndarray:
    """Standard deviation (n,) of the predicted votes, in the unit of the scale; nan without distributions."""
    p, votes = predictions[P].to_numpy(), np.arange(1, 6)
    return np.sqrt(p @ votes**2 - (p @ votes) ** 2) * (scale.high - scale.low) / 4


def middling(predictions: pd.DataFrame, scale: Scale) -> np.ndarray:
    """Nearness (n,) of each prediction to the middle of the scale: a rule for the spread that needs no distribution."""
    return -np.abs(predictions["prediction"].to_numpy() - (scale.low + scale.high) / 2)


def srocc_by_size(
    trained: Mapping[int, nn.Module], task: MosTask, shown_at: tuple[int, int], sizes: Sequence[int]
) -> pd.DataFrame:
    """SROCC of networks on the test part, its images brought to smaller sizes.

    Args:
        task: set, splits and seed (`mos_task.MosTask`).
        trained: fold -> network.
        shown_at: (height, width) in pixels at which they were trained.
        sizes: lengths in pixels of the shorter side.

    Returns:
        One row a size: size, srocc (median over the splits), low and high (range over them).
    """
    rows = []
    for size in sizes:
        factor = size / min(shown_at)
        smaller = PixelInputs(task.data, (round(shown_at[0] * factor), round(shown_at[1] * factor)))
        values = []
        for fold, network in trained.items():
            which = task.part(fold, "test")
            values.append(srocc(predict_quality(network, smaller, which)[0], task.mos[which].to_numpy()))
        rows.append((size, float(np.median(values)), min(values), max(values)))
    return pd.DataFrame(rows, columns=["size", "srocc", "low", "high"])


def speed_and_accuracy(times: pd.DataFrame, accuracy: pd.DataFrame) -> pd.DataFrame:
    """Rows of `figures.latency_accuracy_plot`, one a size and engine, from `latency_table` and `srocc_by_size`."""
    table = times[["engine", "size", "median_ms", "low_ms", "high_ms"]].merge(accuracy, on="size")
    return table.rename(columns={"srocc": "value"}).assign(model=table["size"].map("{} px".format))


def onnx_difference(predictor: Predictor, file: Path, images: Sequence[np.ndarray]) -> float:
    """Largest difference between the scores of a network and of its ONNX file, in the unit of the scale.

    Args:
        predictor: of the network, in float32.
        file: of `weights.export.export_onnx`.
        images: uint8 (H, W, 3), of any sizes.
    """
    ours = np.array([predictor.predict([predictor.shown(image)])[0].score for image in images])
    theirs = np.concatenate([run_onnx(file, [predictor.shown(image)]) for image in images])
    return float(np.abs(ours - theirs).max())


def files_to_compare(exported: Path, images: Sequence[np.ndarray], log: Callable[[str], None] = print) -> dict:
    """Name -> ONNX file: the exported one, and the one in 8-bit integers, written beside it unless it is refused.

    Args:
        exported: of `weights.export.export_onnx`.
        images: that set the ranges of the integers, uint8 (H, W, 3), of the training part.
        log: takes the reason where the 8-bit file is refused.
    """
    files = {"ONNX float32": exported}
    try:
        files["ONNX int8"] = quantised(exported, exported.with_name(f"{exported.stem}_int8.onnx"), images)
    except InputError as error:
        log(str(error))
    return files


def scored_by_files(files: Mapping[str, Path], task: MosTask, inputs: PixelInputs, fold: int) -> pd.DataFrame:
    """Predictions frame of ONNX files, each a method of its name, for a fold's test part."""
    images = [inputs.pixels(image) for image in task.part(fold, "test")]
    return pd.concat(task.predictions(name, fold, "test", run_onnx(file, images)) for name, file in files.items())
