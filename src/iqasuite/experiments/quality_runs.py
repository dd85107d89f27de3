"""Networks of mean opinion trained on every split of a set: their predictions, what guessing gives, and their cards."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from torch import nn

from iqasuite.datasets.dataset import Dataset
from iqasuite.datasets.splits import part, split_hash
from iqasuite.evaluation.metrics import rmse, srocc
from iqasuite.evaluation.rank_baselines import on_card, rank_scores, rank_statistics
from iqasuite.inference.predict import predict_quality
from iqasuite.inference.predictions import P, predictions_frame
from iqasuite.training.inputs import PixelInputs
from iqasuite.training.quality import scores_of
from iqasuite.weights import seen


def shown_size(dataset: Dataset, display: list[int]) -> tuple[int, int]:
    """Height and width at which images are shown: `display` where given, the set's, or those of its first image."""
    if display:
        return int(display[0]), int(display[1])
    return dataset.display_size or dataset.read(dataset.images["image"].iloc[0]).shape[:2]


def quality_predictions(trained: Mapping[int, nn.Module], inputs: PixelInputs, dataset: Dataset, split: pd.DataFrame,
                        label: str, protocol: str, seed: int, refit: bool) -> pd.DataFrame:  # fmt: skip
    """Predictions frame of one network a fold: its test part, and its validation part unless that was learnt from.

    Args:
        trained: fold -> network.
        inputs: how images reach the networks.
        dataset, split: whose images are predicted, and how they are split.
        label: name of the method.
        protocol, seed: as the frame's columns.
        refit: whether the validation part was learnt from.
    """
    mos, frames = dataset.images.set_index("image")["mos"], []
    for fold, network in trained.items():
        parts = set(split.loc[split["fold"] == fold, "part"]) & ({"test"} if refit else {"val", "test"})
        for name in sorted(parts):
            which = part(split, fold, name)
            votes, p = predict_quality(network, inputs, which)
            about = (dataset.name, label, protocol, seed, fold, name, "", which, mos[which])
            frame = predictions_frame(*about, scores=scores_of(votes, dataset.scale))
            frame[P] = np.nan if p is None else p
            frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def errors_on_test(predictions: pd.DataFrame, dataset: Dataset, split: pd.DataFrame) -> dict[str, float]:
    """Medians over the splits of the test part's MSE and RMSE, and the RMSE of the training part's mean.

    In the set's own unit (squared for the MSE), rounded to four digits.
    """
    mos, rows = dataset.images.set_index("image")["mos"], []
    for fold, own in predictions[predictions["part"] == "test"].groupby("fold"):
        guess = mos[part(split, fold, "train")].mean()
        error = rmse(own["prediction"].to_numpy(), own["target"].to_numpy())
        rows.append((error**2, error, rmse(np.full(len(own), guess), own["target"].to_numpy())))
    found = np.median(np.array(rows), axis=0)
    return {name: float(f"{value:.4g}") for name, value in zip(("MSE", "RMSE", "RMSE of the mean"), found, strict=True)}


def quality_card(title: str, trained_on: str, dataset: Dataset, split: pd.DataFrame, fold: int, seed: int,
                 predictions: pd.DataFrame, medians: pd.DataFrame, limits: str,
                 before: Mapping | None = None) -> dict:  # fmt: skip
    """The card of one fold's network, for `training.quality.save_quality`.

    Args:
        title, trained_on, limits: sentences.
        dataset, split, fold, seed: what it was trained on, and from which start.
        predictions: of all folds; this one's test part gives its own score, and those of the rank baselines.
        medians: rows of `benchmark.median_scores` of this method.
        before: card of the weights that training started from.
    """
    n_folds, values = predictions["fold"].nunique(), medians.set_index("metric")
    own = predictions[(predictions["fold"] == fold) & (predictions["part"] == "test")]
    scores: dict[str, object] = {
        f"{metric}, test parts, median of {n_folds} splits [95 %]": [
            round(float(number), 4) for number in values.loc[metric, ["value", "low", "high"]] if np.isfinite(number)
        ]
        for metric in ("srocc", "plcc", "krcc", "rmse")
        if metric in values.index and np.isfinite(values.loc[metric, "value"])
    }
    contents = dataset.images.set_index("image")["content"].map(lambda name: dataset.sources.get(name, name))
    ranked = rank_scores(own, rank_statistics(dataset, own["image"].tolist()), contents)
    parts = split[split["fold"] == fold].set_index("image")["part"]
    scores["srocc, test part of this network"] = round(srocc(own["prediction"].to_numpy(), own["target"].to_numpy()), 4)
    scores["test images of this network"] = len(own)
    licence = f"MIT; trained on {dataset.name}: {dataset.licence}" if dataset.licence else "MIT"
    return {
        "title": title, "trained_on": trained_on, "fold": int(fold), "seed": seed, "split_hash": split_hash(split),
        "scores": scores, "rank_baselines": {"srocc, test part of this network": on_card(ranked)}, "limits": limits,
        "licence": licence, "seen": seen.record(dataset, parts.index[parts != "test"].tolist(), before),
    }  # fmt: skip
