"""How long and how fast a network is trained, as pure functions of what has been measured so far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from iqasuite.errors import InputError

OPTIMIZERS, SCHEDULERS, PRECISIONS = ("adamw", "adam"), ("plateau", "cosine", "none"), ("auto", "no", "bf16")
KEPT = ("best", "last")


@dataclass(frozen=True)
class Schedule:
    """Settings of one training.

    Attributes:
        epochs: passes at most.
        lr: highest learning rate.
        optimizer: "adamw" or "adam".
        weight_decay: applied to matrices, not to biases and norms.
        scheduler: "plateau" (× plateau_factor after plateau_patience epochs without a lower validation loss),
            "cosine" (down to 0 at the last step) or "none".
        patience: epochs without a better validation value before training stops; None = never.
        keep: whose weights the model has in the end: those of the epoch that was "best" on the validation part, or of
            the "last" one. With few validation contents the best epoch is a matter of chance, and with it what is
            learnt: two machines or seeds choose others. A cosine schedule ends where it should.
        warmup: epochs (also fractions) of linear increase from 0.
        min_delta: what a validation value must be better by to count.
        grad_clip: largest norm of the gradient; None = as it is.
        accumulate: batches whose gradients are averaged into one step.
        precision: "auto" (bfloat16 where the machine computes in it, else float32), "no" or "bf16".
    """

    epochs: int = 20
    lr: float = 3e-4
    optimizer: str = "adamw"
    weight_decay: float = 0.01
    scheduler: str = "cosine"
    patience: int | None = None
    keep: str = "best"
    warmup: float = 0.0
    min_delta: float = 0.0
    grad_clip: float | None = 1.0
    accumulate: int = 1
    precision: str = "auto"
    plateau_factor: float = 0.5
    plateau_patience: int = 5

    def __post_init__(self):
        choices = {"optimizer": OPTIMIZERS, "scheduler": SCHEDULERS, "precision": PRECISIONS, "keep": KEPT}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise InputError(f"schedule: {name} is {getattr(self, name)!r}, expected one of {', '.join(known)}")
        if self.keep == "last" and self.patience is not None:
            raise InputError(f"schedule: patience {self.patience} with keep 'last'; expected None: no epoch is chosen")
        if self.epochs < 1 or self.accumulate < 1 or not self.lr > 0:
            raise InputError(
                f"schedule: epochs {self.epochs}, accumulate {self.accumulate}, lr {self.lr}: expected 1 or more, "
                "1 or more, above 0"
            )


def learning_rate(schedule: Schedule, progress: float, val_losses: Sequence[float]) -> float:
    """Learning rate after `progress` epochs (fractions within one), of which the past ones ended with `val_losses`."""
    warm = min(1.0, progress / schedule.warmup) if schedule.warmup else 1.0
    if schedule.scheduler == "cosine":
        share = (progress - schedule.warmup) / max(schedule.epochs - schedule.warmup, 1e-9)
        return schedule.lr * warm * 0.5 * (1 + math.cos(math.pi * min(max(share, 0.0), 1.0)))
    if schedule.scheduler == "plateau":
        return schedule.lr * warm * schedule.plateau_factor ** plateaus(val_losses, schedule.plateau_patience)
    return schedule.lr * warm


def plateaus(values: Sequence[float], patience: int) -> int:
    """How often more than `patience` values in a row were not lower than the lowest before, by a share of 1e-4.

    The rule of `torch.optim.lr_scheduler.ReduceLROnPlateau`.
    """
    lowest, waited, count = math.inf, 0, 0
    for value in values:
        lowest, waited = (value, 0) if value < lowest * (1 - 1e-4) else (lowest, waited + 1)
        if waited > patience:
            waited, count = 0, count + 1
    return count
