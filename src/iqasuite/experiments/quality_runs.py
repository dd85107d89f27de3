"""Networks of the mean opinion trained on every split of a set: predictions, what guessing gives, cards."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from iqasuite.datasets.dataset import Dataset
from iqasuite.datasets.splits import split_hash
from iqasuite.evaluation.metrics import rmse, srocc
from iqasuite.evaluation.rank_baselines import on_card, rank_scores, rank_statistics
from iqasuite.experiments.mos_task import METRICS, MosTask
from iqasuite.experiments.run import Run
from iqasuite.inference.predict import predict_quality
from iqasuite.inference.predictor import Predictor
from iqasuite.models.network import Network
from iqasuite.models.sequence import n_parameters
from iqasuite.training.inputs import PixelInputs
from iqasuite.training.loop import Followed
from iqasuite.training.quality import save_quality, scores_of, targets_of, train_on_fold
from iqasuite.training.schedule import Schedule
from iqasuite.weights import seen
from iqasuite.weights.card import Card
from iqasuite.weights.catalogue import entry_of
from iqasuite.weights.files import load_into, load_weights, read_card


def shown_size(dataset: Dataset, display: Sequence[int]) -> tuple[int, int]:
    """Height and width at which images are shown: `display` where given, the set's, or those of its first image."""
    if display:
        return int(display[0]), int(display[1])
    return dataset.display_size or dataset.read(dataset.images["image"].iloc[0]).shape[:2]


def parameter_counts(networks: Mapping[str, nn.Module]) -> pd.DataFrame:
    """Rows network, parameters and trained (those that training changes), as text with thousands apart."""
    counts = {name: (sum(p.numel() for p in net.parameters()), n_parameters(net)) for name, net in networks.items()}
    rows = [(name, f"{all_of_them:,}", f"{trained:,}") for name, (all_of_them, trained) in counts.items()]
    return pd.DataFrame(rows, columns=["network", "parameters", "trained"])


def with_weights_of(network: Network, weights: Path | None) -> Network:
    """A network that starts from the weights of another one; without any, as it is.

    Of a network of the same architecture all weights are taken over, of a mobile network those of its convolutions.
    Its batch norm then keeps the statistics that it came with: a few images a batch are too few for new ones.

    Raises:
        InputError: weights that do not fit.
    """
    if weights is None:
        return network
    begun_from, _ = load_weights(weights)
    if begun_from.architecture == network.architecture:
        load_into(network, weights)
    else:
        network.get_submodule("features").load_state_dict(begun_from.get_submodule("features").state_dict())
    network.steady = True
    return network


def schedule_of(training: Mapping, constant: bool = False) -> Schedule:
    """Schedule of `epochs` and `lr`: AdamW along a cosine after an epoch of warm-up.

    Args:
        training: the settings `epochs` and `lr`.
        constant: Adam at one learning rate, without weight decay and clipping, as TRCNN was trained by its author.
    """
    how = {name: training[name] for name in ("epochs", "lr")}
    if constant:
        return Schedule(**how, optimizer="adam", scheduler="none", weight_decay=0.0, grad_clip=None)
    return Schedule(**how, warmup=1.0, weight_decay=0.05)


def train_folds(
    make: Callable[[], nn.Module],
    task: MosTask,
    inputs: PixelInputs,
    schedule: Schedule,
    loss: Callable[[Tensor, Tensor], Tensor],
    training: Mapping,
    checkpoints: Path,
    log: Callable[[str], None] = print,
) -> tuple[dict[int, nn.Module], pd.DataFrame]:
    """One network for every fold of the task.

    Args:
        task: set, splits and seed (`mos_task.MosTask`).
        make: gives the network as training starts.
        inputs: how images reach it.
        schedule, loss: of `training.quality.train_on_fold`.
        training: `batch_size`, images a step, and `refit`: learn from the validation part as well, all epochs.
        checkpoints: folder where a killed training goes on.
        log: takes the lines of the first training, and one for each of them.

    Returns:
        Fold -> network, and the history of all trainings: one row an epoch, with columns fold and seed.
    """
    trained, histories, target = {}, [], targets_of(task.data)
    for fold in task.folds:
        began = time.time()
        trained[fold], result = train_on_fold(
            make,
            inputs,
            target,
            task.split,
            fold,
            schedule,
            task.seed,
            training["refit"],
            loss=loss,
            batch_size=training["batch_size"],
            followed=Followed(checkpoints / f"{fold}_{task.seed}.pt", log if fold == task.folds[0] else lambda _: None),
        )
        histories.append(result.history.assign(fold=fold, seed=task.seed))
        log(f"split {fold}: {result.epochs_run} epochs, {time.time() - began:.0f} s")
    return trained, pd.concat(histories)


def quality_predictions(
    trained: Mapping[int, nn.Module], inputs: PixelInputs, task: MosTask, label: str, refit: bool
) -> pd.DataFrame:
    """Predictions frame of one network a fold: its test part, and its validation part unless that was learnt from.

    Args:
        task: set, splits and seed (`mos_task.MosTask`).
        trained: fold -> network.
        inputs: how images reach the networks.
        label: name of the method.
        refit: whether the validation part was learnt from.
    """
    frames = []
    for fold, network in trained.items():
        parts = set(task.split.loc[task.split["fold"] == fold, "part"]) & ({"test"} if refit else {"val", "test"})
        for name in sorted(parts):
            votes, p = predict_quality(network, inputs, task.part(fold, name))
            frames.append(task.predictions(label, fold, name, scores_of(votes, task.data.scale), probabilities=p))
    return pd.concat(frames, ignore_index=True)


def errors_on_test(predictions: pd.DataFrame, task: MosTask) -> dict[str, float]:
    """Medians over the splits of the test part's MSE and RMSE, and the RMSE of the training part's mean.

    In the set's own unit (squared for the MSE), rounded to four digits.
    """
    rows = []
    for fold, own in predictions[predictions["part"] == "test"].groupby("fold"):
        guess = task.mos[task.part(fold, "train")].mean()
        error = rmse(own["prediction"].to_numpy(), own["target"].to_numpy())
        rows.append((error**2, error, rmse(np.full(len(own), guess), own["target"].to_numpy())))
    medians = np.median(np.array(rows), axis=0)
    names = ("MSE", "RMSE", "RMSE of the mean")
    return {name: float(f"{value:.4g}") for name, value in zip(names, medians, strict=True)}


def srocc_with_shuffled_places(
    trained: Mapping[int, nn.Module], inputs: PixelInputs, task: MosTask, predictions: pd.DataFrame
) -> pd.DataFrame:
    """SROCC on the test part as it is, and with the positions of the feature map shuffled, in one way for all images.

    Args:
        inputs: how images reach the networks.
        task: set, splits and seed (`mos_task.MosTask`).
        trained: fold -> network with a feature map `features` (B, C, h, w).
        predictions: of these networks.

    Returns:
        One row a split: split, places as they are, places shuffled.
    """
    rows = []
    tested = predictions[predictions["part"] == "test"]
    for fold, network in trained.items():
        which = task.part(fold, "test")
        known = task.mos[which].to_numpy()
        as_is = tested[tested["fold"] == fold].set_index("image").loc[which, "prediction"].to_numpy()
        votes = _votes_with_shuffled_places(network, inputs, which, task.seed)
        rows.append((fold, srocc(as_is, known), srocc(votes, known)))
    return pd.DataFrame(rows, columns=["split", "places as they are", "places shuffled"])


def _votes_with_shuffled_places(network: nn.Module, inputs: PixelInputs, images: list[str], seed: int) -> np.ndarray:
    def shuffle(module: nn.Module, given: tuple, features: Tensor) -> Tensor:
        order = torch.randperm(features[0, 0].numel(), generator=torch.Generator().manual_seed(seed))
        return features.flatten(2)[..., order.to(features.device)].view_as(features)

    hook = network.get_submodule("features").register_forward_hook(shuffle)
    try:
        return predict_quality(network, inputs, images)[0]
    finally:
        hook.remove()


def quality_card(
    about: Mapping[str, str],
    task: MosTask,
    fold: int,
    predictions: pd.DataFrame,
    medians: pd.DataFrame,
    before: Card | None = None,
) -> dict:
    """The card of one fold's network, for `training.quality.save_quality`.

    Args:
        task: set, splits and seed (`mos_task.MosTask`).
        fold: whose network it is.
        about: title, trained_on, limits: sentences.
        predictions: of all folds; this one's test part gives its own score, and those of the rank baselines.
        medians: rows of `benchmark.median_scores` of this method.
        before: card of the weights that training started from.
    """
    dataset, n_folds, values = task.data, predictions["fold"].nunique(), medians.set_index("metric")
    own = predictions[(predictions["fold"] == fold) & (predictions["part"] == "test")]
    scores: dict[str, object] = {
        f"{metric}, test parts, median of {n_folds} splits [95 %]": [
            round(float(number), 4) for number in values.loc[metric, ["value", "low", "high"]] if np.isfinite(number)
        ]
        for metric in METRICS
        if metric in values.index and np.isfinite(values.loc[metric, "value"])
    }
    ranked = rank_scores(own, rank_statistics(dataset, own["image"].tolist()), dataset.sources_of_images())
    parts = task.split[task.split["fold"] == fold].set_index("image")["part"]
    scores["srocc, test part of this network"] = round(srocc(own["prediction"].to_numpy(), own["target"].to_numpy()), 4)
    scores["test images of this network"] = len(own)
    return {
        **about,
        "protocol": task.protocol,
        "fold": int(fold),
        "seed": task.seed,
        "split_hash": split_hash(task.split),
        "scores": scores,
        "rank_baselines": {"srocc, test part of this network": on_card(ranked)},
        "licence": f"MIT; trained on {dataset.name}: {dataset.licence}" if dataset.licence else "MIT",
        "seen": seen.record(dataset, parts.index[parts != "test"].tolist(), before),
    }


def save_networks(
    run: Run,
    trained: Mapping[int, nn.Module],
    task: MosTask,
    predictions: pd.DataFrame,
    medians: pd.DataFrame,
    about: Mapping[str, str],
    shorter_side: int,
    start: Path | None = None,
) -> list[Path]:
    """Write the network of every fold with its card, as `<run>_<fold>_<seed>.safetensors`.

    Args:
        run: whose folders are read and written.
        task: set, splits and seed (`mos_task.MosTask`).
        trained: fold -> network.
        predictions, medians, about: as in `quality_card`.
        shorter_side: pixels to which an image's shorter side is brought.
        start: weights that training started from.
    """
    before, files = read_card(start) if start else None, []
    for fold, network in trained.items():
        card = quality_card(about, task, fold, predictions, medians, before)
        files.append(save_quality(network, run.weights(f"{fold}_{task.seed}"), task.data, shorter_side, card))
    return files


def predictor_of(weights: Path, precision: str = "auto") -> Predictor:
    """A saved network as it is used: on images of any size, with scores on the set's scale."""
    return Predictor(entry_of(weights, weights.stem), precision)


def in_headline(medians: pd.DataFrame, trainings: int) -> dict[str, float]:
    """Every metric of one method, for a run's record."""
    values = medians.set_index("metric")["value"]
    return {f"{name}, test": round(float(values[name]), 4) for name in METRICS} | {"trainings": trainings}
