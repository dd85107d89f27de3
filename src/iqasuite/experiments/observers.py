"""Artificial observers (AIOs) of one fold as a notebook makes them: who gets one, how it learns, what it predicts."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from iqasuite.datasets.dataset import Dataset
from iqasuite.datasets.splits import split_hash
from iqasuite.errors import InputError
from iqasuite.evaluation import metrics
from iqasuite.evaluation.baselines import majority
from iqasuite.inference.predict import predict
from iqasuite.inference.predictions import P, hard_predictions, predictions_frame
from iqasuite.models.network import Network
from iqasuite.training.aio import (
    EVERYBODY,
    LEAST_VOTES,
    N_CROSSED,
    Fold,
    Plan,
    Stage,
    Start,
    cross_fits,
    first_votes,
    train_observer,
)
from iqasuite.training.inputs import PixelInputs, StoredInputs
from iqasuite.training.losses import soft_labels
from iqasuite.training.schedule import Schedule
from iqasuite.weights import seen
from iqasuite.weights.files import save_weights

AVERAGED = f", mean of {N_CROSSED + 1}"  # behind the name of a method whose networks are averaged
LEAST = ", ".join(f"{number} {part}" for part, number in LEAST_VOTES.items())  # images of each part, in words


def to_train(dataset: Dataset, rated: pd.DataFrame, observer: str) -> list[str]:
    """Names of the observers that get an AIO, as they are in the votes.

    Args:
        dataset: who voted.
        rated: of `training.aio.votes_by_part`.
        observer: a name; `EVERYBODY`; "all": each one who rated enough images of every part; or "each": `EVERYBODY`,
            and then all of them.

    Raises:
        InputError: no observer of that name; "all" or "each", and no observer rated enough.
    """
    if observer not in ("all", "each"):
        return [observer if observer == EVERYBODY else dataset.check_observer(observer)]
    enough = rated.loc[rated["enough"], "observer"].tolist()
    if not enough:
        raise InputError(f"observer={observer!r}: nobody rated {LEAST} images; expected one or more observers who did")
    return [EVERYBODY, *enough] if observer == "each" else enough


def votes_of(fold: Fold, observers: Sequence[str]) -> pd.DataFrame:
    """First votes of these observers as a votes frame with one more column, `part` of the fold."""
    votes = pd.concat([first_votes(fold.dataset, observer) for observer in observers], ignore_index=True)
    parts = {image: name for name in ("train", "val", "test") for image in fold.part(name)}
    return votes.assign(part=votes["image"].map(parts))


def view(dataset: Dataset, model: Network, viewing: Mapping[str, float]) -> tuple[tuple[int, int], int | None]:
    """How images are shown to the network: (height, width) in pixels, and the side of the crops; None = whole images.

    Args:
        dataset: whose display size counts where `viewing["size"]` is 0.
        model: what it was made for is the crop where `viewing["crop"]` is 0.
        viewing: size (side of a square) and crop, in pixels.
    """
    size = (int(viewing["size"]),) * 2 if viewing["size"] else dataset.display_size
    side = int(viewing["crop"]) or model.image_size
    if size is None:
        raise InputError(f"{dataset.name}: no display size; expected a size of images above 0")
    return size, side if side < min(size) else None


def plan_of(strategy: str, protocol: str, training: Mapping, descent: Mapping) -> Plan:
    """The plan that a notebook's settings describe.

    Args:
        strategy, protocol: see `Plan`.
        training: epochs, batch_size, lr and refit as in `Plan` and `Schedule`; patience, where 0 means that all epochs
            are trained and the last one's weights are kept.
        descent: loss and sigma as in `Plan`, weight_decay and scheduler as in `Schedule`.
    """
    epochs, patience = training["epochs"], training["patience"]
    schedule = Schedule(
        epochs=epochs,
        lr=training["lr"],
        weight_decay=descent["weight_decay"],
        scheduler=descent["scheduler"],
        patience=patience or None,
        keep="best" if patience else "last",
        warmup=min(1.0, epochs / 10),
    )
    labels = descent["loss"], descent["sigma"]
    return Plan(strategy, protocol, *labels, training["batch_size"], training["refit"], schedule)


def labels_table(sigma: float) -> pd.DataFrame:
    """What a network is taught of each vote: rows are votes, columns the target's probabilities of 1 to 5."""
    labels = soft_labels(torch.arange(1, 6), sigma).numpy()
    return pd.DataFrame(labels, index=pd.Index(range(1, 6), name="vote"), columns=P)


def train(
    start: Start,
    inputs: PixelInputs | StoredInputs,
    fold: Fold,
    observer: str,
    plan: Plan,
    seed: int,
    checkpoints: Path | None = None,
    before_refit: Path | None = None,
) -> tuple[list[Stage], dict[str, np.ndarray]]:
    """Train one observer's AIO and let it predict the validation part, before the refit, and the test part, after it.

    Args:
        start: where training begins; its model has the AIO's weights afterwards. The network of `EVERYBODY` becomes the
            start of those who come next.
        inputs: how images reach the network.
        fold: whose votes, and which images are for what.
        observer: a name, or `EVERYBODY`.
        plan: how.
        seed: of order, augmentation and dropout.
        checkpoints: folder where a killed training goes on.
        before_refit: file for the network of all observers before its refit: epochs of AIOs are chosen from it.

    Returns:
        Stages of the training; distributions (n, 5) that are predicted for the images of "val" and "test".

    Raises:
        InputError: as `train_observer`.
    """
    model, predicted = start.model, {}
    model.load_state_dict(start.state)

    before: dict[str, torch.Tensor] = {}

    def chosen() -> None:
        predicted["val"] = predict(model, inputs, fold.part("val"))
        before.update(copy.deepcopy(model.state_dict()))
        if observer == EVERYBODY and plan.refit and before_refit is not None:
            save_weights(model, before_refit, {"dataset": fold.dataset.name, "fold": fold.number})

    stages = train_observer(model, inputs, fold, observer, plan, seed, checkpoints, chosen, start.refit_from, log=print)
    if observer == EVERYBODY:
        start.state, start.refit_from = before, copy.deepcopy(model.state_dict())
    return stages, predicted | {"test": predict(model, inputs, fold.part("test"))}


def cross_fitted(
    start: Start,
    inputs: PixelInputs | StoredInputs,
    fold: Fold,
    plan: Plan,
    stages: Sequence[Stage],
    seed: int,
    predicted: Mapping[str, np.ndarray],
    checkpoints: Path | None = None,
) -> dict[str, np.ndarray]:
    """The network of all observers trained several times more, each time without a group of contents.

    Args:
        start, inputs, fold, plan, seed, checkpoints: as of `train`.
        stages, predicted: what `train` returns; epochs are those of the first stage.

    Returns:
        Distributions (n, 5) for the images of "train", each by the network that has not learnt from it; of "val", as
        predicted before the refit; of "test", the mean over these networks and the refitted one.
    """
    of_train: dict[str, np.ndarray] = {}
    of_test = [predicted["test"]]
    epochs = stages[0].result.best_epoch + 1
    for left_out in cross_fits(start, inputs, fold, EVERYBODY, plan, epochs, seed, checkpoints, print):
        of_train |= dict(zip(left_out, predict(start.model, inputs, left_out), strict=True))
        of_test.append(predict(start.model, inputs, fold.part("test")))
    train = np.array([of_train[image] for image in fold.part("train")])
    return {"train": train, "val": predicted["val"], "test": np.mean(of_test, axis=0)}


def predictions_of(
    predicted: Mapping[str, np.ndarray], fold: Fold, observer: str, method: str, protocol: str, seed: int
) -> pd.DataFrame:
    """Predictions frame of one AIO, beside its observer's first votes (of `EVERYBODY`: beside their mean).

    Args:
        predicted: part -> distributions (n, 5) of its images.
        fold: whose votes, and which images are of which part.
        observer: a name, or `EVERYBODY`.
        method, protocol, seed: as in the frame's columns.
    """
    target = first_votes(fold.dataset, observer).groupby("image")["vote"].mean()
    frames = []
    for name, p in predicted.items():
        images = fold.part(name)
        about = fold.dataset.name, method, protocol, seed, fold.number, name, on_card(observer)
        frames.append(predictions_frame(*about, images, target.reindex(images), p))
    return pd.concat(frames, ignore_index=True)


def on_card(observer: str) -> str:
    """An observer's name as predictions and cards have it: "" for `EVERYBODY`."""
    return "" if observer == EVERYBODY else observer


def card_of(
    fold: Fold, start: Start, protocol: str, inputs: PixelInputs | StoredInputs, size: tuple[int, int], **facts: object
) -> dict:
    """What the cards of all AIOs of a fold have in common.

    Args:
        fold: which images were learnt from.
        start: the weights that training began with, whose images count as seen as well.
        protocol: see `Plan`.
        inputs: how images reach the network.
        size: (height, width) in pixels at which they are shown.
        facts: further facts for the cards.
    """
    learnt_from = fold.part("train") + fold.part("val")
    cropped = {"crop": inputs.crop, "views": inputs.views} if inputs.crop else {}
    return {
        "dataset": fold.dataset.name,
        "fold": fold.number,
        "protocol": protocol,
        **facts,
        "split_hash": split_hash(fold.split),
        "seen": seen.record(fold.dataset, learnt_from, start.model.card),
        "preprocessing": {"display_size": list(size)} | cropped,
        "scale": {"name": "ACR", "low": 1, "high": 5},
    }


def stages_table(stages: Mapping[str, list[Stage]]) -> pd.DataFrame:
    """One row a stage of every observer's training: votes and epochs, and how long it took."""
    rows = [
        {
            "observer": observer,
            "stage": stage.name,
            "votes": stage.n_train,
            "validation": stage.n_val,
            "epochs": stage.result.epochs_run,
            "best epoch": stage.result.best_epoch + 1,
            "seconds": stage.result.seconds,
        }
        for observer, of_observer in stages.items()
        for stage in of_observer
    ]
    return pd.DataFrame(rows)


def validated(predictions: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """The rated images on which the epoch was chosen: the validation part; under the faithful protocol the test part.

    Args:
        predictions: predictions frame of `predictions_of`.
        protocol: "corrected" or "faithful".
    """
    part = "val" if protocol == "corrected" else "test"
    return predictions[predictions["part"] == part].dropna(subset="target")


def validation_table(rows: pd.DataFrame, votes: pd.DataFrame) -> pd.DataFrame:
    """How well each AIO predicts, beside its observer's most frequent vote on the training part.

    Args:
        rows: of `validated`.
        votes: of `votes_of`.

    Returns:
        observer, n, accuracy, qwk, accuracy of the most frequent vote; for the network of all observers, which predicts
        a mean, observer, n, srocc, rmse.
    """
    table = []
    for observer, own in rows.groupby("observer", sort=False):
        if observer == "":
            pair = own["prediction"].to_numpy(), own["target"].to_numpy()
            scores = {"srocc": metrics.srocc(*pair), "rmse": metrics.rmse(*pair)}
            table.append({"observer": EVERYBODY, "n": len(own)} | scores)
            continue
        truth, hard = own["target"].to_numpy().astype(int), hard_predictions(own)
        learnt = votes[(votes["observer"] == observer) & (votes["part"] == "train")]["vote"]
        guess = majority(learnt.to_numpy(), 1).argmax() + 1
        scores = {"accuracy": metrics.accuracy(hard, truth), "qwk": metrics.qwk(hard, truth)}
        of_guess = {"accuracy of the most frequent vote": (truth == guess).mean()}
        table.append({"observer": observer, "n": len(own)} | scores | of_guess)
    return pd.DataFrame(table)
