"""Artificial observers (AIOs): one network for all observers, then one for each.

An AIO is trained on the votes of one observer. It can start from nothing (`scratch`), from a network that has learnt
something before (`finetune`: AIO0, or the AIO of everybody), or go session by session, each from the best of the one
before (`iterative`, as in the individual-observer study).
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from iqasuite.datasets import dataset as sets
from iqasuite.datasets.dataset import Dataset
from iqasuite.datasets.frames import LEAST_IMAGES
from iqasuite.datasets.splits import part
from iqasuite.errors import InputError
from iqasuite.models import create
from iqasuite.models.network import Network
from iqasuite.models.reduction import TokenReduction
from iqasuite.models.vit_iqa import ViTIQA
from iqasuite.paths import safe_name
from iqasuite.training.batches import unzipped
from iqasuite.training.inputs import PixelInputs, StoredInputs
from iqasuite.training.loop import Followed, Result, Schedule, fit
from iqasuite.training.losses import create as create_loss
from iqasuite.training.losses import soft_labels
from iqasuite.training.outputs import outputs
from iqasuite.weights.files import load_weights

logger = logging.getLogger(__name__)
EVERYBODY = "everybody"
STRATEGIES, PROTOCOLS = ("scratch", "finetune", "iterative", "crossed"), ("corrected", "faithful")
N_CROSSED = 4  # networks that are trained without a group of contents each
# Votes on the parts of a fold below which an observer has no AIO where all are trained: fewer do not tell an observer
# from the population, nor an AIO from a guess.
LEAST_VOTES = {"train": 20, "val": LEAST_IMAGES, "test": LEAST_IMAGES}


@dataclass(frozen=True)
class Plan:
    """How an observer is learnt.

    Attributes:
        strategy: "scratch", "finetune" and "crossed" take all sessions at once, "iterative" one after the other; with
            "crossed", `cross_fits` follow.
        protocol: "corrected" chooses the epoch on the validation part; "faithful" repeats the study, which let the
            test part choose it, and drive the scheduler: its scores are claims to be understood, not to be believed.
        loss: see `losses.create`.
        sigma: softness of the vote labels in votes.
        batch_size: images a step.
        refit: after the epochs have been chosen on the validation part, train anew for as many epochs on training and
            validation part together (corrected protocol only).
        schedule: how long and how fast; its `epochs` are the most for each stage.
    """

    strategy: str = "finetune"
    protocol: str = "corrected"
    loss: str = "soft_cross_entropy"
    sigma: float = 0.49
    batch_size: int = 32
    refit: bool = True
    schedule: Schedule = field(default_factory=Schedule)

    def __post_init__(self):
        for name, known in (("strategy", STRATEGIES), ("protocol", PROTOCOLS)):
            if getattr(self, name) not in known:
                raise InputError(f"{name} is {getattr(self, name)!r}, expected one of {', '.join(known)}")


@dataclass(frozen=True)
class Fold:
    """Whose votes, and which images are for what.

    Attributes:
        dataset: images and votes.
        split: which images are of which part of which fold.
        number: of the fold.
    """

    dataset: Dataset
    split: pd.DataFrame
    number: int

    def part(self, name: str) -> list[str]:
        """Images of the part "train", "val" or "test"; InputError where the fold has none."""
        return part(self.split, self.number, name)


@dataclass
class Stage:
    """One training of a chain: a session, all sessions, or the refit of either."""

    name: str
    result: Result
    n_train: int
    n_val: int


@dataclass
class Start:
    """Where the training of every observer of a fold starts.

    Attributes:
        model: the network; each observer's training changes its weights.
        state: its weights when an observer's training begins.
        refit_from: weights where the refit begins instead; None = `state`.
    """

    model: Network
    state: dict[str, Tensor]
    refit_from: dict[str, Tensor] | None = None


def starting_model(path: Path, strategy: str, seed: int) -> Network:
    """The network of a weights file; with "scratch" all that is not a frozen stem begins anew, at random.

    Raises:
        InputError: no such file, or weights of another architecture.
    """
    model, card = load_weights(path)
    if strategy != "scratch":
        model.steady = True  # its batch norm has learnt from more images than one observer has rated
        return model
    torch.manual_seed(seed)
    fresh = create(card.architecture, **card.arguments | {"pretrained": False})
    if isinstance(model, ViTIQA) and not any(p.requires_grad for p in model.stem.parameters()):
        fresh.stem = model.stem
    fresh.arguments, fresh.card = model.arguments, card
    return fresh


def start_from(path: Path, strategy: str, tune: str, seed: int, without: str = "") -> Start:
    """The start of a weights file, for all observers of a fold.

    The network of everybody has learnt from the validation part in its refit. An epoch cannot be chosen with such
    weights, so where `<name>_chosen.safetensors` lies beside them, those from before the refit, training begins there,
    and the refit of each observer with `path` itself.

    Args:
        path: weights file.
        strategy: see `Plan`; with "scratch" only the architecture and a frozen stem are taken.
        tune: what is trained, see `inputs.inputs_for`. The head alone is trained on stored features of `path`, so that
            nothing else can be the start.
        seed: of what begins anew.
        without: name of one of several stems that the trunk sees nothing of; "" = it sees all.

    Raises:
        InputError: as `starting_model`; no such stem.
    """
    model = starting_model(path, strategy, seed)
    if without:
        cast(ViTIQA, model).hide(without)
    state, before = copy.deepcopy(model.state_dict()), chosen_file(path)
    if strategy == "scratch" or tune == "head" or not before.is_file():
        return Start(model, state)
    return Start(model, starting_model(before, strategy, seed).state_dict(), state)


def chosen_file(path: Path) -> Path:
    """File for the weights of a network from before its refit, beside the file of the final ones."""
    return path.with_name(f"{path.stem}_chosen{path.suffix}")


def set_dropout(model: nn.Module, p: float) -> None:
    """Let all dropout of a model have probability p, 0 to 1, from now on.

    Observers differ most in their cut points on the score. With dropout these would be fitted to noisier scores than
    the network gives at test time: AIOs that start from everybody's network are tuned without.
    """
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = p


def first_votes(dataset: Dataset, observer: str) -> pd.DataFrame:
    """Votes frame of one observer (or of `EVERYBODY`), each image's first vote of each observer only.

    A session that repeats another is for measuring self-agreement: nothing is trained on it.

    Raises:
        InputError: nobody of that name voted.
    """
    votes = sets.first_votes(dataset.votes)
    return votes if observer == EVERYBODY else votes[votes["observer"] == dataset.check_observer(observer)]


def votes_by_part(dataset: Dataset, split: pd.DataFrame, fold: int) -> pd.DataFrame:
    """How many images of each part of a fold every observer has rated, and whether these are enough for an AIO.

    Args:
        dataset: whose votes; observers may have rated some images only.
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


def train_observer(
    model: nn.Module,
    inputs: PixelInputs | StoredInputs,
    fold: Fold,
    observer: str,
    plan: Plan,
    seed: int = 0,
    checkpoints: Path | None = None,
    chosen: Callable[[], None] | None = None,
    refit_from: Mapping[str, Tensor] | None = None,
    log: Callable[[str], None] = logger.info,
) -> list[Stage]:
    """Train `model` into the AIO of `observer` (or of `EVERYBODY`) on one fold; its weights change in place.

    Args:
        model: as it starts: random, AIO0, or another AIO.
        inputs: how images reach it, and with that which part of it is trained.
        fold: whose votes, and which images are for what.
        observer: somebody who voted, or `EVERYBODY`.
        plan: how.
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
    learnt = fold.part("train")
    val = fold.part("val" if plan.protocol == "corrected" else "test")
    if plan.protocol == "faithful":
        learnt = learnt + fold.part("val")
    chain = _Chain(model, inputs, fold, observer, plan, seed, checkpoints, log)
    _fit_reduction(model, inputs, learnt, seed)
    network = inputs.network(model)
    chain.soften(learnt)
    start = copy.deepcopy(network.state_dict())
    rated = chain.votes[chain.votes["image"].isin(learnt)]  # a session may be for tests alone
    sessions = sorted(rated["session"].unique()) if plan.strategy == "iterative" else [None]
    stages = [chain.stage(session, learnt, val, plan.schedule) for session in sessions]
    if chosen:
        chosen()
    if plan.refit and plan.protocol == "corrected":
        network.load_state_dict(start)
        if refit_from is not None:
            model.load_state_dict(refit_from)
        for session, first in zip(sessions, list(stages), strict=True):
            epochs = first.result.best_epoch + 1
            warmup = min(plan.schedule.warmup, epochs / 2)
            again = replace(plan.schedule, epochs=epochs, patience=None, warmup=warmup)
            stages.append(chain.stage(session, learnt + val, [], again, "_refit"))
    return stages


def cross_fits(
    start: Start,
    inputs: PixelInputs | StoredInputs,
    fold: Fold,
    observer: str,
    plan: Plan,
    epochs: int,
    seed: int = 0,
    checkpoints: Path | None = None,
    log: Callable[[str], None] = logger.info,
) -> Iterator[list[str]]:
    """Train `N_CROSSED` networks, each without a group of the training part's contents, and give that group's images.

    What a network predicts for images that it has learnt from is too good to fit an observer's cut points to. While the
    images are given, the model has learnt from the other groups and the validation part, and from none of these.

    Args:
        start: where each training begins; its model has the weights of the last one.
        inputs, fold, observer, plan, seed, checkpoints, log: as of `train_observer`; all sessions at once.
        epochs: how long each is trained, as was chosen on the validation part.

    Raises:
        InputError: fewer contents than groups.
    """
    learnt, model, n = fold.part("train"), start.model, N_CROSSED
    contents = fold.dataset.images.set_index("image")["content"][learnt]
    names = contents.unique()
    if len(names) < n:
        raise InputError(f"fold {fold.number}: {len(names)} contents to learn from, expected {n} or more: one a group")
    group = pd.Series(np.random.default_rng(seed).permutation(len(names)) % n, names)
    schedule = replace(plan.schedule, epochs=epochs, patience=None, warmup=min(plan.schedule.warmup, epochs / 2))
    for number in range(n):
        model.load_state_dict(start.state)
        left_out = contents.index[contents.map(group) == number].tolist()
        rest = sorted(set(learnt) - set(left_out))
        _fit_reduction(model, inputs, rest, seed)
        chain = _Chain(model, inputs, fold, observer, plan, seed, checkpoints, log)
        chain.soften(rest)
        chain.stage(None, rest + fold.part("val"), [], schedule, f"_without_{number}")
        yield left_out


def _fit_reduction(model: nn.Module, inputs: PixelInputs | StoredInputs, learnt: list[str], seed: int) -> None:
    """Fit what reduces the tokens of a trunk to the images that are learnt from, where that was not done before."""
    reduction = model.reduce if isinstance(inputs, StoredInputs) and inputs.part == "trunk" else None
    if isinstance(inputs, StoredInputs) and isinstance(reduction, TokenReduction) and not reduction.fitted:
        reduction.fit(inputs.stored(learnt).flatten(0, 1), seed)


class _Chain:
    """The stages of one observer's training: each goes on with the weights that the one before has left."""

    def __init__(self, model, inputs, fold: Fold, observer: str, plan: Plan, seed: int, checkpoints, log):
        self.model, self.inputs, self.plan, self.seed = model, inputs, plan, seed
        self.checkpoints, self.log = checkpoints, log
        self.name, self.votes = f"{observer}_{fold.number}", first_votes(fold.dataset, observer)
        self.where = f"observer {observer!r}, fold {fold.number}"

    def stage(
        self, session: int | None, images: list[str], val_images: list[str], schedule: Schedule, suffix: str = ""
    ) -> Stage:
        """Train on the votes of one session, or of all."""
        name = self.name + ("" if session is None else f"_session{session}") + suffix
        of_session = self.votes if session is None else self.votes[self.votes["session"] == session]
        training = self._batches(of_session, images, True)
        # all of the validation part's votes, whatever their session: a stage more than one session's could support
        validation = self._batches(self.votes, val_images, False) if val_images else None
        result = fit(
            self.inputs.network(self.model),
            training,
            validation,
            create_loss(self.plan.loss),
            schedule,
            self.seed,
            followed=Followed(self.checkpoints / f"{safe_name(name)}.pt" if self.checkpoints else None, self.log),
        )
        return Stage(name, result, len(training.targets), len(validation.targets) if validation else 0)

    def soften(self, images: list[str]) -> None:
        """Divide AIO0's logits by the temperature, 1 or more, at which the loss is least.

        AIO0 has learnt classes of JPEG quality, and is far surer of them than votes are: training would spend its
        epochs on unlearning that. What starts elsewhere stays as it is, and so does the faithful protocol.

        Reference: C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
        """
        network = self.inputs.network(self.model)
        last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
        of_aio0 = getattr(self.model.card, "objective", "") == "jpeg" and self.plan.strategy != "scratch"
        if not of_aio0 or self.plan.protocol == "faithful" or last.out_features != 5:  # 5: one logit a class
            return
        given, targets = unzipped(self._batches(self.votes, images, False).epoch(0))
        logits, wanted = torch.cat([out.float().cpu() for out in outputs(network, given)]), torch.cat(list(targets))
        loss, temperatures = create_loss(self.plan.loss), torch.logspace(0, 2, 101)
        best = temperatures[min(range(101), key=lambda n: loss(logits / temperatures[n], wanted).item())].item()
        with torch.no_grad():
            for parameter in last.parameters():
                parameter.div_(best)

    def _batches(self, votes: pd.DataFrame, images: list[str], training: bool):
        votes = votes[votes["image"].isin(images)]
        if votes.empty:
            raise InputError(f"{self.where}: no votes on the {len(images)} images of a part")
        targets = targets_of(votes, self.plan.sigma)
        return self.inputs.batches(self.model, *targets, self.plan.batch_size, self.seed, training)
