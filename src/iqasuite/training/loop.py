"""The training loop of the suite. There is one."""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from iqasuite.errors import InputError
from iqasuite.training.checkpoints import load_checkpoint, save_checkpoint
from iqasuite.training.machine import accelerator_for, own_randomness, prepared, progress
from iqasuite.training.schedule import Schedule, learning_rate

__all__ = ["Result", "Schedule", "TrainingError", "fit"]
logger = logging.getLogger(__name__)
_OTHER = {
    "train": "other train: its images, their scores, order or how they are shown",
    "val": "other val: its images, their scores or how they are shown",
    "start": "other start: the weights that it began with",
}


class TrainingError(RuntimeError):
    """Training cannot go on: the loss is not a number. The last good checkpoint is kept."""


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


def fit(
    model: nn.Module,
    train,
    val,
    loss: Callable[[Tensor, Tensor], Tensor],
    schedule: Schedule,
    seed: int = 0,
    checkpoint: Path | str | None = None,
    metric: Callable[[Tensor, Tensor], float] | None = None,
    log: Callable[[str], None] = logger.info,
    observe: Callable[[], dict[str, float]] | None = None,
) -> Result:
    """Train `model` and leave it with the weights that were best on `val`, or with the last ones (`schedule.keep`).

    The same seed gives the same weights, also after an interruption: the model's randomness is seeded by (seed, epoch).

    Args:
        model: inputs -> outputs; parameters without `requires_grad` stay as they are.
        train, val: see `iqasuite.training.batches`; val None = train all epochs, keep the last weights.
        loss: (outputs, targets) -> scalar batch mean, lowered.
        schedule: how long and how fast.
        seed: of dropout and the like.
        checkpoint: file written after each epoch. Where it exists, training goes on from it, or, where it is finished,
            only the best weights are read.
        metric: (outputs, targets) of all of val -> number, raised: picks the best epoch instead of the loss.
        log: takes one line an epoch, the first with an estimate of the longest time that the training can take on this
            machine; where somebody is watching, a progress bar is shown besides.
        observe: called after each epoch, the model in evaluation mode; its numbers go into the history, and decide
            nothing.

    Raises:
        InputError: the checkpoint is of another training.
        TrainingError: the loss is infinite or not a number.
    """
    identity = _identity(model, train, val, loss, metric, schedule, seed)
    accelerator = accelerator_for(schedule.precision)
    model.to(accelerator.device)
    optimizer = _optimizer(model, schedule, accelerator.device)
    state: dict[str, Any] = {
        "epoch": 0,
        "history": [],
        "best": None,
        "best_epoch": 0,
        "best_value": math.nan,
        "finished": False,
    }
    if checkpoint is not None and Path(checkpoint).exists():
        state = _resume(Path(checkpoint), identity, model, optimizer)
    name, sign = (f"val_{metric.__name__}", 1) if metric else ("val_loss", -1)

    with own_randomness(accelerator), prepared(accelerator, model, optimizer) as (wrapped, stepper):
        while not state["finished"]:
            epoch, began = state["epoch"], time.perf_counter()
            torch.manual_seed((seed * 1_000_003 + epoch) * 1009 + accelerator.process_index)
            watched_losses = [row["train_loss" if val is None else "val_loss"] for row in state["history"]]
            row = {"epoch": epoch}
            row |= _train(accelerator, wrapped, stepper, train, loss, schedule, epoch, watched_losses)
            if val is not None:
                row |= _validate(accelerator, wrapped, val, loss, metric, f"validation after epoch {epoch + 1}")
            row["seconds"] = time.perf_counter() - began
            if observe is not None:
                model.eval()
                row |= observe()

            value = row.get(name, math.nan)
            if val is None:
                state |= {"best": model.state_dict(), "best_epoch": epoch}
            elif (
                state["best"] is None
                or schedule.keep == "last"
                or sign * (value - state["best_value"]) > schedule.min_delta
            ):
                best = {key: tensor.detach().clone() for key, tensor in model.state_dict().items()}
                state |= {"best": best, "best_epoch": epoch, "best_value": value}
            waited = epoch - state["best_epoch"]
            stop = schedule.patience is not None and val is not None and waited >= schedule.patience
            finished = stop or epoch + 1 == schedule.epochs
            state |= {"history": [*state["history"], row], "epoch": epoch + 1, "finished": finished}

            if accelerator.is_main_process:
                if checkpoint is not None:
                    weights = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
                    save_checkpoint(checkpoint, {"identity": identity, **weights, **state})
                chosen = val is not None and schedule.keep == "best"
                best_so_far = f" (best: epoch {state['best_epoch'] + 1})" if chosen else ""
                duration = _whole_training(time.perf_counter() - began, schedule.epochs) if epoch == 0 else ""
                log(f"epoch {epoch + 1}/{schedule.epochs}: {_line(row)}{best_so_far}{duration}")

    model.load_state_dict(state["best"])
    history = pd.DataFrame(state["history"])
    return Result(history, state["best_epoch"], state["best_value"], len(history), float(history["seconds"].sum()))


def _train(accelerator, model, optimizer, batches, loss, schedule, epoch, watched_losses) -> dict[str, float]:
    """One epoch: mean training loss, last learning rate, images/s."""
    model.train()
    began, total, n_images, n = time.perf_counter(), 0.0, 0, accelerator.num_processes
    steps = len(batches) // n
    if steps == 0:
        raise InputError(f"fit: {len(batches)} training batches for {n} processes, expected at least one each")
    mine = islice(batches.epoch(epoch), accelerator.process_index, steps * n, n)  # every n-th batch
    bar = progress(mine, f"epoch {epoch + 1}/{schedule.epochs}", steps, shown=accelerator.is_main_process)
    for step, (inputs, targets) in enumerate(bar):
        lr = learning_rate(schedule, epoch + (step + 0.5) / steps, watched_losses)
        for group in optimizer.param_groups:
            group["lr"] = lr
        update = (step + 1) % schedule.accumulate == 0 or step + 1 == steps
        with nullcontext() if update else accelerator.no_sync(model):
            value = loss(model(inputs.to(accelerator.device)), targets.to(accelerator.device))
            total += len(inputs) * _finite(value.item(), f"epoch {epoch + 1}, step {step + 1}, lr {lr:.3g}")
            accelerator.backward(value / schedule.accumulate)
        if update:
            if schedule.grad_clip:
                accelerator.clip_grad_norm_(model.parameters(), schedule.grad_clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        n_images += len(inputs)
    speed = n_images * n / (time.perf_counter() - began)
    return {"train_loss": total / n_images, "lr": lr, "images_per_s": speed}


@torch.no_grad()
def _validate(accelerator, model, batches, loss, metric, where) -> dict[str, float]:
    """Mean loss and metric over all of val, whole on each process."""
    model.eval()
    outputs, targets, total = [], [], 0.0
    for inputs, target in batches.epoch(0):
        target = target.to(accelerator.device)
        output = model(inputs.to(accelerator.device))
        total += len(target) * loss(output, target).item()
        outputs.append(output.float().cpu())
        targets.append(target.cpu())
    output, target = torch.cat(outputs), torch.cat(targets)
    row = {"val_loss": _finite(total / len(target), where)}
    return row | ({f"val_{metric.__name__}": float(metric(output, target))} if metric else {})


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
    signatures = {
        part: batches.signature() if hasattr(batches, "signature") else None
        for part, batches in (("train", train), ("val", val))
    }
    names = {"loss": getattr(loss, "__name__", str(loss)), "metric": getattr(metric, "__name__", None)}
    start = hashlib.sha256()
    for tensor in model.state_dict().values():
        start.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy().tobytes() if tensor.ndim else b"")
    return {**asdict(schedule), "seed": seed, **names, **signatures, "parameters": shapes, "start": start.hexdigest()}


def _resume(path: Path, identity: dict, model: nn.Module, optimizer) -> dict:
    state = load_checkpoint(path)
    found = state.get("identity", {})
    for key, value in identity.items():
        if found.get(key) != value:
            shown = key in asdict(Schedule()) or key in ("seed", "loss", "metric")
            what = f"{key} {found.get(key)!r}, expected {value!r}" if shown else _OTHER.get(key, f"other {key}")
            raise InputError(f"{path}: checkpoint of another training ({what}); remove it to start anew")
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    logger.info("%s: %s after epoch %d", path, "finished" if state["finished"] else "resumed", state["epoch"])
    return {key: state[key] for key in ("epoch", "history", "best", "best_epoch", "best_value", "finished")}


def _line(row: dict[str, float]) -> str:
    values = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name not in ("epoch", "images_per_s"))
    return f"{values}, {row['images_per_s']:.1f} images/s"


def _whole_training(seconds: float, epochs: int) -> str:
    """How long all epochs take if each takes as many seconds as the first; "" where that is hardly a minute."""
    minutes = math.ceil(seconds * epochs / 60)
    if epochs == 1 or minutes < 2:
        return ""
    duration = f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
    return f"; about {duration} for all {epochs} epochs at most"
