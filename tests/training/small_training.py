"""One small training as a program that kills itself on the way: small_training.py CHECKPOINT BATCH (from 1)."""

import os
import signal
import sys

import torch

from iqasuite import models
from iqasuite.training import losses
from iqasuite.training.batches import ArrayBatches
from iqasuite.training.loop import Followed, Schedule, fit


class DeadlyBatches(ArrayBatches):
    """Batches of which one, counted over all epochs from 1, kills the process; None = none does."""

    killed_at: int | None = None
    given = 0

    def epoch(self, number):
        for batch in super().epoch(number):
            self.given += 1
            if self.given == self.killed_at:
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch


def run(checkpoint, killed_at=None, seed=0, **changes):
    """Train three epochs of four batches; final weights and the result."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(24, 3, 32, 32, generator=generator)
    labels = losses.soft_labels(torch.randint(1, 6, (24,), generator=generator))
    train, val = DeadlyBatches(images[:16], labels[:16], 4), ArrayBatches(images[16:], labels[16:], 8, shuffle=False)
    train.killed_at = killed_at
    torch.manual_seed(1)
    model = models.create("vit_iqa", image_size=32, trunk={"size": "tiny", "depth": 2, "dropout": 0.1})
    schedule = Schedule(**{"epochs": 3, "lr": 1e-3, "scheduler": "plateau", "plateau_patience": 0, **changes})
    result = fit(model, train, val, losses.soft_cross_entropy, schedule, seed, followed=Followed(checkpoint))
    return model, result


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(sys.argv[1], int(sys.argv[2]))
