"""A frozen classifier with a small head: its features, one head a split, how well its intervals hold, other sets."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from iqasuite.datasets import load
from iqasuite.evaluation.rank_baselines import on_card
from iqasuite.evaluation.uncertainty import bootstrap_by_content
from iqasuite.experiments import evaluating
from iqasuite.experiments.mos_task import MosTask
from iqasuite.inference.predictor import Predictor
from iqasuite.models.backbones import backbone
from iqasuite.models.frozen_nr import FrozenNR
from iqasuite.models.network import LEVELS
from iqasuite.training.frozen_head import fit_frozen
from iqasuite.training.patch_features import Patches, extract
from iqasuite.training.quality import SPREAD, scores_of, votes_of
from iqasuite.weights.files import load_weights, save_weights

REACHES = [f"reach {level:.0%}" for level in LEVELS]  # columns: half of each interval, in the unit of the scale


def described(task: MosTask, network: Mapping) -> pd.DataFrame:
    """Mean and standard deviation of each channel over each rated image (index), computed once and stored.

    Args:
        task: set and splits (`mos_task.MosTask`).
        network: `base` and `taps` of `models.frozen_nr.FrozenNR`, and `size`, the side in pixels of the images.
    """
    shown = (network["size"], network["size"])
    patches, images = Patches(shown, 0.0, tuple(network["taps"]), "moments"), list(task.mos.index)
    store = extract(
        task.data, network["base"], patches, images=images, shown_at=shown, precision="float32", batch_size=1
    )
    return pd.DataFrame(store.vectors(images), index=images)


def train_folds(task: MosTask, features: pd.DataFrame, network: Mapping) -> dict[int, FrozenNR]:
    """Fold -> network whose head learnt from the training and validation parts; cross-validation there chose it.

    Args:
        task, features, network: of `described`.
    """
    frozen, trained, extent = backbone(network["base"]), {}, (task.data.scale.high - task.data.scale.low) / 4
    spread = task.images.set_index("image")["mos_std"].fillna(SPREAD * extent) / extent
    for fold in task.folds:
        learnt = task.part(fold, "train") + task.part(fold, "val")
        votes = votes_of(task.mos[learnt].to_numpy(), task.data.scale)
        x, contents = features.loc[learnt].to_numpy(), task.contents[learnt].tolist()
        given = (network["base"], frozen, network["taps"], x, votes, spread[learnt].to_numpy(), contents)
        trained[fold] = fit_frozen(*given, seed=task.seed)
    return trained


@torch.inference_mode()
def predictions(task: MosTask, trained: Mapping[int, FrozenNR], features: pd.DataFrame, label: str) -> pd.DataFrame:
    """Predictions frame of the test part of every fold, with columns `REACHES`.

    Args:
        task, features: of `described`.
        trained: of `train_folds`.
        label: name of the method.
    """
    frames, extent = [], (task.data.scale.high - task.data.scale.low) / 4
    for fold, network in trained.items():
        x = torch.tensor(features.loc[task.part(fold, "test")].to_numpy(np.float32))
        logits, reach = network.answers(x)
        shares = logits.double().softmax(1).numpy()
        scores = scores_of(shares @ np.arange(1.0, 6.0), task.data.scale)
        frame = task.predictions(label, fold, "test", scores, probabilities=shares)
        frames.append(frame.assign(**dict(zip(REACHES, extent * reach.numpy().T, strict=True))))
    return pd.concat(frames, ignore_index=True)


def coverage(task: MosTask, predicted: pd.DataFrame) -> pd.DataFrame:
    """Share of test images whose MOS lies in their interval, and how wide it is, beside one that knows no image.

    Args:
        task: set and splits.
        predicted: of `predictions`.

    Returns:
        A row a level: interval, coverage (with low and high, 95 % over contents), width (mean, in the set's unit), and
        of the rule that gives every image the middle of the training part's MOS: its coverage and width.
    """
    rows, error = [], (predicted["prediction"] - predicted["target"]).abs()
    contents = task.contents[predicted["image"]].to_numpy()
    learnt = {fold: task.mos[task.part(fold, "train") + task.part(fold, "val")] for fold in predicted["fold"].unique()}
    for level, name in zip(LEVELS, REACHES, strict=True):
        inside = (error <= predicted[name]).to_numpy(float)
        low, high = bootstrap_by_content(inside, contents)
        ends = np.array([learnt[fold].quantile([(1 - level) / 2, (1 + level) / 2]) for fold in predicted["fold"]])
        ruled = (predicted["target"] >= ends[:, 0]) & (predicted["target"] <= ends[:, 1])
        widths = 2 * predicted[name].mean(), (ends[:, 1] - ends[:, 0]).mean()
        rows.append((f"{level:.0%}", inside.mean(), low, high, widths[0], ruled.mean(), widths[1]))
    columns = ["interval", "coverage", "low", "high", "width", "coverage of the rule", "width of the rule"]
    return pd.DataFrame(rows, columns=columns).round(4)


def on_other_sets(predictor: Predictor, names: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Set that it has never seen -> SROCC of a network and of the rank baselines (`rank_baselines.rank_scores`)."""
    tables = {}
    for name in names:
        data = load(name, missing="drop")
        rows = evaluating.rated(data)
        predicted = evaluating.predicted_rows(predictor, data, rows, "", "all", drop=True, say=print)
        tables[name] = evaluating.above_statistics(data, predicted, rows)
    return tables


def note_on_card(weights: Path, covered: pd.DataFrame, others: Mapping[str, pd.DataFrame]) -> None:
    """Write onto a network's card how well intervals hold, and what it reaches on sets that it has never seen.

    Args:
        weights: its file.
        covered: of `coverage`.
        others: of `on_other_sets`.
    """
    network, card = load_weights(weights)
    scores, ranked, limits = dict(card.scores), dict(card.rank_baselines), [card.limits]
    for row in covered.itertuples():
        values = [float(row.coverage), float(row.low), float(row.high)]
        scores[f"share of test images within their {row.interval} intervals [95 %]"] = values
    ranked |= {f"srocc, {name}, which it has never seen": on_card(table) for name, table in others.items()}
    for name, table in others.items():
        own, *_, ahead = (f"{r.value:.3f} [{r.low:.3f}, {r.high:.3f}]".replace("-", "−") for r in table.itertuples())
        shown = "shown" if table["low"].iloc[-1] > 0 else "not shown"
        best = table["metric"].iloc[-1].removeprefix("srocc above ")
        limits.append(
            f"On {int(table['n'].iloc[0]):,} images of {name}, which it has never seen, its SROCC is {own}, above that "
            f"of {best} by {ahead}: it is {shown} to be ahead of it there."
        )
    save_weights(network, weights, {"scores": scores, "rank_baselines": ranked, "limits": " ".join(limits)})


def seconds_an_image(predictor: Predictor, images: Sequence[np.ndarray], repeats: int) -> np.ndarray:
    """Seconds (repeats,) from an image uint8 (H, W, 3) to its score, one image at a time, in turn."""
    predictor.predict(images[:1])
    times = []
    for number in range(repeats):
        began = time.perf_counter()
        predictor.predict([images[number % len(images)]])
        times.append(time.perf_counter() - began)
    return np.array(times)
