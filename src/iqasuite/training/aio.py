"""Artificial observers (AIOs): one network for everybody, then one for each person.

An AIO is trained on the votes of one person. It can start from nothing (`scratch`), from a network that has learnt
something before (`finetune`: AIO0, or the AIO of everybody), or go session by session, each from the best of the one
before (`iterative`, as in the individual-observer study).
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from iqasuite.datasets.dataset import Dataset
from iqasuite.datasets.frames import LEAST_IMAGES
from iqasuite.datasets.splits import part
from iqasuite.errors import InputError
from iqasuite.models import create
from iqasuite.models.reduction import TokenReduction
from iqasuite.paths import safe_name
from iqasuite.training.inputs import PixelInputs, StoredInputs
from iqasuite.training.loop import Result, Schedule, fit
from iqasuite.training.losses import create as create_loss
from iqasuite.training.losses import soft_labels
from iqasuite.weights.files import load_weights

logger = logging.getLogger(__name__)
EVERYBODY = "everybody"
STRATEGIES, PROTOCOLS = ("scratch", "finetune", "iterative"), ("corrected", "faithful")
# Votes of a person on the parts of a fold below which no AIO is trained where everybody has one trained: fewer do not
# tell a person from the population, nor an AIO from a guess.
LEAST_VOTES = {"train": 20, "val": LEAST_IMAGES, "test": LEAST_IMAGES}


@dataclass(frozen=True)
class Plan:
    """How an observer is learnt.

    Attributes:
        strategy: "scratch" and "finetune" take all sessions at once, "iterative" one after the other.
        protocol: "corrected" chooses the epoch on the validation part; "faithful" repeats the study, which let the
            test part choose it, and drive the scheduler: its scores are claims to be understood, not to be believed.
        loss: see `losses.create`.
        sigma: softness of the vote labels in votes.
        batch_size: images a step.
        refit: after the epochs have been chosen on the validation part, train anew for as many epochs on training and
            validation part together (corrected protocol only).
    """

    strategy: str = "finetune"
    protocol: str = "corrected"
    loss: str = "soft_cross_entropy"
    sigma: float = 0.49
    batch_size: int = 32
    refit: bool = True

    def __post_init__(self):
        for name, known in (("strategy", STRATEGIES), ("protocol", PROTOCOLS)):
            if getattr(self, name) not in known:
                raise InputError(f"{name} is {getattr(self, name)!r}, expected one of {', '.join(known)}")


@dataclass
class Stage:
    """One training of a chain: a session, all sessions, or the refit of either."""

    name: str
    result: Result
    n_train: int
    n_val: int


def starting_model(path: Path, strategy: str, seed: int) -> nn.Module:
    """The network of a weights file; with "scratch" all that is not a frozen stem begins anew, at random.

    Raises:
        InputError: no such file, or weights of another architecture.
    """
    model, card = load_weights(path)
    if strategy != "scratch":
        return model
    torch.manual_seed(seed)
    fresh = create(card["architecture"], **card["arguments"] | {"pretrained": False})
    if not any(p.requires_grad for p in model.get_submodule("stem").parameters()):
        fresh.stem = model.stem
    fresh.card = dict(model.card)  # type: ignore[arg-type, assignment]  # torch: tensors and modules
    return fresh


def set_dropout(model: nn.Module, p: float) -> None:
    """Let all dropout of a model have probability p, 0 to 1, from now on.

    People differ most in their cut points on the score. With dropout these would be fitted to noisier scores than those
    that the network gives at test time: AIOs that start from everybody's network are tuned without.
    """
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = p


def first_votes(dataset: Dataset, observer: str) -> pd.DataFrame:
    """Votes frame of one person (or of everybody), each image's first vote of each person only.

    A session that repeats another is for measuring self-agreement: nothing is trained on it.

    Raises:
        InputError: nobody of that name voted.
    """
    votes = dataset.votes.sort_values(["observer", "session", "position"], kind="stable")
    votes = votes.drop_duplicates(["observer", "image"])
    return votes if observer == EVERYBODY else votes[votes["observer"] == dataset.check_observer(observer)]


def votes_by_part(dataset: Dataset, split: pd.DataFrame, fold: int) -> pd.DataFrame:
    """How many images of each part of a fold every person has rated, and whether these are enough for an AIO.

    Args:
        dataset: whose votes; people may have rated some images only.
        split, fold: which images are of which part.

    Returns:
        observer, train, val, test (images rated), enough (all of `LEAST_VOTES` reached), in natural order.
    """
    parts = split[split["fold"] == fold].set_index("image")["part"]
    votes = dataset.votes.drop_duplicates(["observer", "image"])
    counts = pd.crosstab(votes["observer"], votes["image"].map(parts))
    counts = counts.reindex(index=dataset.observers(), columns=list(LEAST_VOTES), fill_value=0)
    enough = (counts >= pd.Series(LEAST_VOTES)).all(axis=1)
    return counts.assign(enough=enough).rename_axis(index="observer", columns=None).reset_index()


def targets_of(votes: pd.DataFrame, sigma: float) -> tuple[list[str], Tensor]:
    """Images that were voted on, sorted, and their target distributions (n, 5): the mean of the votes' soft labels."""
    labels = soft_labels(torch.from_numpy(votes["vote"].to_numpy(np.int64, copy=True)), sigma).numpy()
    table = pd.DataFrame(labels).groupby(votes["image"].to_numpy(), sort=True).mean()
    return table.index.tolist(), torch.from_numpy(table.to_numpy(np.float32, copy=True))


def train_observer(model: nn.Module, inputs: PixelInputs | StoredInputs, dataset: Dataset, split: pd.DataFrame,
                   fold: int, observer: str, plan: Plan, schedule: Schedule, seed: int = 0,
                   checkpoints: Path | None = None, chosen: Callable[[], None] | None = None,
                   refit_from: Mapping[str, Tensor] | None = None,
                   log: Callable[[str], None] = logger.info) -> list[Stage]:  # fmt: skip
    """Train `model` into the AIO of `observer` (or of `EVERYBODY`) on one fold; its weights change in place.

    Args:
        model: as it starts: random, AIO0, or another AIO.
        inputs: how images reach it, and with that which part of it is trained.
        dataset, split, fold: whose votes, and which images are for what.
        observer: whose votes are learnt.
        plan, schedule: how; `schedule.epochs` is the most for each stage.
        seed: of order, augmentation and dropout.
        checkpoints: folder where unfinished stages are kept; None = nowhere.
        chosen: called when the epochs have been chosen and before the refit, while the model has not yet learnt from
            the validation part.
        refit_from: weights of `model` where the refit starts; None = where all of it starts. Weights that have learnt
            from the validation part belong here: an epoch cannot be chosen with them. Not where the head alone is
            trained: the trunk's stored features are those of the weights in `model`.
        log: takes one line an epoch.

    Returns:
        The stages in their order, each with its history.

    Raises:
        InputError: unknown observer or fold, or a part without votes.
    """
    votes, network = first_votes(dataset, observer), inputs.network(model)
    train, test = (part(split, fold, name) for name in ("train", "test"))
    val = part(split, fold, "val") if plan.protocol == "corrected" else test
    if plan.protocol == "faithful":
        train = train + part(split, fold, "val")
    sessions = sorted(votes["session"].unique()) if plan.strategy == "iterative" else [None]

    def stage(name: str, session, images: list[str], val_images: list[str], schedule: Schedule) -> Stage:
        of_session = votes if session is None else votes[votes["session"] == session]
        training = batches(of_session, images, True)
        # all of the validation part's votes, whatever their session: a stage more than one session's could support
        validation = batches(votes, val_images, False) if val_images else None
        path = checkpoints / f"{safe_name(name)}.pt" if checkpoints else None
        result = fit(network, training, validation, create_loss(plan.loss), schedule, seed, path, log=log)
        return Stage(name, result, len(training.targets), len(validation.targets) if validation else 0)

    def batches(votes: pd.DataFrame, images: list[str], training: bool):
        votes = votes[votes["image"].isin(images)]
        if votes.empty:
            raise InputError(f"observer {observer!r}, fold {fold}: no votes on the {len(images)} images of a part")
        return inputs.batches(model, *targets_of(votes, plan.sigma), plan.batch_size, seed, training)

    reduction = model.reduce if isinstance(inputs, StoredInputs) and inputs.part == "trunk" else None
    if isinstance(inputs, StoredInputs) and isinstance(reduction, TokenReduction) and not reduction.fitted:
        reduction.fit(inputs.stored(train).flatten(0, 1), seed)
    start = copy.deepcopy(network.state_dict())
    names = {session: f"{observer}_{fold}" + ("" if session is None else f"_session{session}") for session in sessions}
    stages = [stage(names[session], session, train, val, schedule) for session in sessions]
    if chosen:
        chosen()
    if plan.refit and plan.protocol == "corrected":
        network.load_state_dict(start)
        if refit_from is not None:
            model.load_state_dict(refit_from)
        for session, first in zip(sessions, list(stages), strict=True):
            epochs = first.result.best_epoch + 1
            again = replace(schedule, epochs=epochs, patience=None, warmup=min(schedule.warmup, epochs / 2))
            stages.append(stage(f"{names[session]}_refit", session, train + val, [], again))
    return stages
