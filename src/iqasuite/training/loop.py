"""The training loop of the suite. There is one."""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from iqasuite.errors import InputError
from iqasuite.training.batches import Batches, unzipped
from iqasuite.training.checkpoints import load_checkpoint, save_checkpoint
from iqasuite.training.machine import (
    accelerator_for,
    of_all,
    own_randomness,
    prepared,
    progress,
    same_statistics,
    share,
)
from iqasuite.training.outputs import Step, forward, on_device, outputs
from iqasuite.training.processes import TrainingError, beside
from iqasuite.training.schedule import Schedule, learning_rate

__all__ = ["Followed", "Result", "Schedule", "TrainingError", "fit"]
logger = logging.getLogger(__name__)
Loss = Callable[[Tensor, Tensor], Tensor]
Metric = Callable[[Tensor, Tensor], float]
_OTHER = {
    "train": "other train: its images, their scores, order or how they are shown",
    "val": "other val: its images, their scores or how they are shown",
    "start": "other start: the weights that it began with",
}


@dataclass
class Result:
    """What a training did.

    Attributes:
        history: one row an epoch: epoch (from 0), train_loss, val_loss, val_<metric>, lr, seconds, images_per_s.
        best_epoch: whose weights the model has now; the last one where there was no validation, or `keep` is "last".
        best_value: its metric, or its validation loss without a metric; nan without validation.
        epochs_run: rows of the history.
        seconds: of all epochs together, those before an interruption included.
    """

    history: pd.DataFrame
    best_epoch: int
    best_value: float
    epochs_run: int
    seconds: float


@dataclass(frozen=True)
class Followed:
    """How a training is kept and followed.

    Attributes:
        checkpoint: file written after each epoch. Where it exists, training goes on from it, or, where it is finished,
            only the best weights are read.
        log: takes one line an epoch, the first with an estimate of the longest time that the training can take on this
            machine; in a terminal or a live notebook, a progress bar is shown besides.
        observe: called after each epoch with the model, in evaluation mode; its numbers go into the history, and decide
            nothing.
    """

    checkpoint: Path | str | None = None
    log: Callable[[str], None] = logger.info
    observe: Callable[[Any], dict[str, float]] | None = None


LOGGED, QUIET = Followed(), Followed(log=logger.debug)  # the latter for many small trainings


def fit(
    model: nn.Module,
    train: Batches,
    val: Batches | None,
    loss: Loss,
    schedule: Schedule,
    seed: int = 0,
    metric: Metric | None = None,
    step: Step = forward,
    followed: Followed = LOGGED,
) -> Result:
    """Train `model` and leave it with the weights that were best on `val`, or with the last ones (`schedule.keep`).

    The same seed gives the same weights, also after an interruption: the model's randomness is seeded by (seed, epoch).
    Several processes (`processes`) share out each batch: without dropout and trained batch norm, they come to the
    weights of one process but for what rounding does, and one goes on from the checkpoint of the other.

    Args:
        model: parameters without `requires_grad` stay as they are. It is in evaluation mode afterwards.
        train, val: see `iqasuite.training.batches`; val None = train all epochs, keep the last weights.
        loss: (outputs, targets) -> scalar batch mean, lowered.
        schedule: how long and how fast.
        seed: of dropout and the like.
        metric: (outputs, targets) of all of val -> number, raised: picks the best epoch instead of the loss.
        step: (model, *inputs of a batch) -> outputs.
        followed: how the training is kept and followed.

    Raises:
        InputError: the checkpoint is of another training.
        TrainingError: the loss is infinite or not a number, or another process has ended.
    """
    identity = _identity(model, train, val, loss, metric, schedule, seed)
    state = _begun(followed.checkpoint, identity)
    if state["finished"]:
        model.to(accelerator_for(schedule.precision).device)
    else:
        how = (loss, schedule, seed, metric, step)
        with beside(fit, model, train, val, *how, replace(QUIET, checkpoint=followed.checkpoint)):
            _train(model, train, val, *how, followed, state)
    model.load_state_dict(state["best"])
    model.eval()
    history = pd.DataFrame(state["history"])
    return Result(history, state["best_epoch"], state["best_value"], len(history), float(history["seconds"].sum()))


def _train(model, train, val, loss, schedule, seed, metric, step, followed, state) -> None:
    """Go on from a state, which changes, to the end."""
    accelerator = accelerator_for(schedule.precision)
    model.to(accelerator.device)
    optimizer = _optimizer(model, schedule, accelerator.device)
    if weights := state.pop("weights", None):
        model.load_state_dict(weights["model"])
        optimizer.load_state_dict(weights["optimizer"])
    with own_randomness(accelerator), prepared(accelerator, model, optimizer) as (wrapped, stepper):
        training = _Training(accelerator, wrapped, stepper, loss, schedule, step)
        while not state["finished"]:
            epoch, began = state["epoch"], time.perf_counter()
            torch.manual_seed((seed * 1_000_003 + epoch) * 1009 + accelerator.process_index)
            watched_losses = [past["train_loss" if val is None else "val_loss"] for past in state["history"]]
            row = {"epoch": epoch} | training.epoch(train, epoch, watched_losses)
            if val is not None:
                row |= training.validation(val, metric, epoch)
            row["seconds"] = time.perf_counter() - began
            if followed.observe is not None:
                row |= followed.observe(model.eval())
            state |= _after(state, row, model, schedule, metric)
            if accelerator.is_main_process:
                if followed.checkpoint is not None:
                    weights = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
                    save_checkpoint(followed.checkpoint, {**weights, **state})
                followed.log(_line(row, state["best_epoch"], schedule, time.perf_counter() - began))
        accelerator.wait_for_everyone()  # the checkpoint is there for all


@dataclass
class _Training:
    """What the epochs of a training share."""

    accelerator: Any
    model: nn.Module
    optimizer: Any
    loss: Loss
    schedule: Schedule
    step: Step

    def epoch(self, batches: Batches, epoch: int, watched_losses: list[float]) -> dict[str, float]:
        """One epoch: mean training loss, last learning rate, images/s."""
        self.model.train()
        accelerator, schedule = self.accelerator, self.schedule
        began, total, n_images, steps = time.perf_counter(), 0.0, 0, len(batches)
        what, shown = f"epoch {epoch + 1}/{schedule.epochs}", accelerator.is_main_process
        bar = progress(batches.epoch(epoch), what, steps, shown=shown)
        for number, (inputs, targets) in enumerate(bar, 1):
            lr = learning_rate(schedule, epoch + (number - 0.5) / steps, watched_losses)
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            update = number % schedule.accumulate == 0 or number == steps
            with nullcontext() if update else accelerator.no_sync(self.model):
                mine = on_device(share(accelerator, inputs), accelerator.device)
                output = of_all(accelerator, self.step(self.model, *mine), len(targets))
                value = self.loss(output, targets.to(accelerator.device))
                total += len(targets) * _finite(value.item(), f"epoch {epoch + 1}, step {number}, lr {lr:.3g}")
                # gradients of the processes, each of its share, are averaged: times their number, they are summed up
                accelerator.backward(value * accelerator.num_processes / schedule.accumulate)
            if update:
                if schedule.grad_clip:
                    accelerator.clip_grad_norm_(self.model.parameters(), schedule.grad_clip)
                self.optimizer.step()
                self.optimizer.zero_grad(set_to_none=True)
            n_images += len(targets)
        same_statistics(accelerator, self.model)
        speed = n_images / (time.perf_counter() - began)
        return {"train_loss": total / n_images, "lr": lr, "images_per_s": speed}

    @torch.no_grad()
    def validation(self, batches: Batches, metric: Metric | None, epoch: int) -> dict[str, float]:
        """Mean loss and metric over all of val."""
        predicted, wanted, total, accelerator = [], [], 0.0, self.accelerator
        inputs, targets = unzipped(batches.epoch(0))
        model, mine = accelerator.unwrap_model(self.model), (share(accelerator, x) for x in inputs)
        for target, part in zip(targets, outputs(model, mine, self.step), strict=True):
            output = of_all(accelerator, part, len(target))
            total += len(target) * self.loss(output, target.to(output.device)).item()
            predicted.append(output.float().cpu())
            wanted.append(target.cpu())
        output, target = torch.cat(predicted), torch.cat(wanted)
        row = {"val_loss": _finite(total / len(target), f"validation after epoch {epoch + 1}")}
        return row | ({f"val_{metric.__name__}": float(metric(output, target))} if metric else {})


def _after(state: dict[str, Any], row: dict, model: nn.Module, schedule: Schedule, metric: Metric | None) -> dict:
    """What an epoch changes in the state of a training: its row, whether it is the best and whether it is the last."""
    epoch, best = row["epoch"], {}
    name, sign = (f"val_{metric.__name__}", 1) if metric else ("val_loss", -1)
    validated, value = "val_loss" in row, row.get(name, math.nan)
    if not validated:
        best = {"best": model.state_dict(), "best_epoch": epoch}
    elif state["best"] is None or schedule.keep == "last" or sign * (value - state["best_value"]) > schedule.min_delta:
        weights = {key: tensor.detach().clone() for key, tensor in model.state_dict().items()}
        best = {"best": weights, "best_epoch": epoch, "best_value": value}
    waited = epoch - best.get("best_epoch", state["best_epoch"])
    stop = schedule.patience is not None and validated and waited >= schedule.patience
    finished = stop or epoch + 1 == schedule.epochs
    return {**best, "history": [*state["history"], row], "epoch": epoch + 1, "finished": finished}


def _finite(value: float, where: str) -> float:
    if not math.isfinite(value):
        raise TrainingError(f"the loss is {value} at {where}: try a lower one; the last good checkpoint is kept")
    return value


def _optimizer(model: nn.Module, schedule: Schedule, device: torch.device) -> torch.optim.Optimizer:
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": schedule.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW if schedule.optimizer == "adamw" else torch.optim.Adam
    return optimizer(groups, lr=schedule.lr, fused=device.type in ("cpu", "cuda"))


def _identity(model, train, val, loss, metric, schedule, seed) -> dict[str, object]:
    """What two trainings must share for one to go on where the other stopped."""
    shapes = [f"{name} {tuple(p.shape)} {p.requires_grad}" for name, p in model.named_parameters()]
    signatures = {"train": train.signature(), "val": None if val is None else val.signature()}
    names = {"loss": loss.__name__, "metric": metric.__name__ if metric else None}
    start = hashlib.sha256()
    for tensor in model.state_dict().values():
        start.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy().tobytes() if tensor.ndim else b"")
    return {**asdict(schedule), "seed": seed, **names, **signatures, "parameters": shapes, "start": start.hexdigest()}


def _begun(path: Path | str | None, identity: dict) -> dict[str, Any]:
    """The state of a training as its checkpoint has it, with the weights of model and optimiser; else of a new one."""
    state: dict[str, Any] = {"identity": identity, "epoch": 0, "history": [], "finished": False}
    state |= {"best": None, "best_epoch": 0, "best_value": math.nan}
    if path is None or not Path(path).exists():
        return state
    saved = load_checkpoint(path)
    before = saved.get("identity", {})
    for key, value in identity.items():
        if before.get(key) != value:
            shown = key in asdict(Schedule()) or key in ("seed", "loss", "metric")
            what = f"{key} {before.get(key)!r}, expected {value!r}" if shown else _OTHER.get(key, f"other {key}")
            raise InputError(f"{path}: checkpoint of another training ({what}); remove it to start anew")
    logger.info("%s: %s after epoch %d", path, "finished" if saved["finished"] else "resumed", saved["epoch"])
    return {key: saved[key] for key in state} | {"weights": {key: saved[key] for key in ("model", "optimizer")}}


def _line(row: dict[str, float], best_epoch: int, schedule: Schedule, seconds: float) -> str:
    """One epoch in words; of the first, which took so many seconds, how long all of them take."""
    values = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name not in ("epoch", "images_per_s"))
    best = f" (best: epoch {best_epoch + 1})" if "val_loss" in row and schedule.keep == "best" else ""
    duration = _whole_training(seconds, schedule.epochs) if row["epoch"] == 0 else ""
    return f"epoch {row['epoch'] + 1}/{schedule.epochs}: {values}, {row['images_per_s']:.1f} images/s{best}{duration}"


def _whole_training(seconds: float, epochs: int) -> str:
    """How long all epochs take if each takes as many seconds as the first; "" where that is hardly a minute."""
    minutes = math.ceil(seconds * epochs / 60)
    if epochs == 1 or minutes < 2:
        return ""
    duration = f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
    return f"; about {duration} for all {epochs} epochs at most"
