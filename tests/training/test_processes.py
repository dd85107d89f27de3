"""Two processes that share out each batch come to what one comes to, and go on where it stopped."""

import os
import shutil
import signal
from types import SimpleNamespace

import pytest
import torch

from iqasuite import models
from iqasuite.errors import InputError
from iqasuite.training import processes
from iqasuite.training.batches import ArrayBatches
from iqasuite.training.checkpoints import load_checkpoint
from iqasuite.training.loop import Followed, Schedule, TrainingError, fit
from iqasuite.training.machine import share

one_card = pytest.mark.skipif(torch.cuda.device_count() == 1, reason="one GPU cannot be two processes' own")
SCHEDULE = Schedule(epochs=3, lr=1e-3, accumulate=2, keep="last", precision="no")


def network():
    torch.manual_seed(0)
    trunk = {"size": "tiny", "depth": 1, "dropout": 0.0, "emb_dropout": 0.0}
    model = models.create("vit_iqa", image_size=32, trunk=trunk)
    return model.double()  # so that rounding explains next to nothing


def trained(n, monkeypatch, checkpoint=None, observe=None, breaks=False):
    """Train with n processes: 17 images in batches of 6, augmented, with a loss that is no mean over images."""
    monkeypatch.setenv(processes.VARIABLE, str(n))
    generator = torch.Generator().manual_seed(0)
    images, votes = torch.randn(24, 3, 32, 32, generator=generator).double(), torch.rand(24, generator=generator)

    def noisy(x, drawn):
        if breaks and os.environ["RANK"] == "1" and len(x) == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return x + 0.1 * torch.randn(x.shape, generator=drawn)

    def error_and_order(logits, targets):
        x, y = logits[:, 0] - logits[:, 0].mean(), targets - targets.mean()
        return (logits[:, 0] - targets).square().mean() - (x * y).sum() / (x.norm() * y.norm() + 1)

    train = ArrayBatches(images[:17], votes[:17].double(), 6, transform=noisy)
    val = ArrayBatches(images[17:], votes[17:].double(), 7, shuffle=False)
    model = network()
    result = fit(model, train, val, error_and_order, SCHEDULE, followed=Followed(checkpoint, observe=observe))
    return model, result


def distance(a, b):
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return max((x - y).abs().max().item() for x, y in pairs)


@one_card
def test_two_processes_give_the_weights_of_one_and_each_goes_on_where_the_other_stopped(tmp_path, monkeypatch):
    def keeping(n):
        """In the last epoch, a copy of the checkpoint of the epoch before."""
        seen = []

        def observe(_):
            seen.append(1)
            if len(seen) == SCHEDULE.epochs:
                shutil.copy(tmp_path / f"{n}.pt", tmp_path / f"stopped_{n}.pt")
            return {}

        return observe

    threads = torch.get_num_threads()
    one, of_one = trained(1, monkeypatch, tmp_path / "1.pt", keeping(1))
    two, of_two = trained(2, monkeypatch, tmp_path / "2.pt", keeping(2))
    assert load_checkpoint(tmp_path / "stopped_2.pt")["epoch"] == 2 and distance(one, network()) > 1e-3
    then_two, _ = trained(2, monkeypatch, tmp_path / "stopped_1.pt")
    then_one, _ = trained(1, monkeypatch, tmp_path / "stopped_2.pt")
    for other in (two, then_two, then_one):
        assert distance(one, other) < 1e-9
    columns = ["epoch", "train_loss", "lr", "val_loss"]
    assert (of_one.history[columns] - of_two.history[columns]).abs().max().max() < 1e-9
    left = {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT"} & set(os.environ)
    assert not left and torch.get_num_threads() == threads


@one_card
def test_a_training_stops_whose_other_process_has_ended_and_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    with pytest.raises(TrainingError, match="process 2 of 2 ended with status -9; the last good checkpoint is kept"):
        trained(2, monkeypatch, tmp_path / "training.pt", breaks=True)
    assert not torch.distributed.is_initialized() and "RANK" not in os.environ


@pytest.mark.parametrize("text", ["0", "two", "-1", "1.5"])
def test_a_number_of_processes_that_is_none_is_refused(text, monkeypatch):
    monkeypatch.setenv(processes.VARIABLE, text)
    with pytest.raises(InputError, match=f"{processes.VARIABLE} is '{text}', expected a number"):
        processes.n_processes()


def test_more_processes_than_gpus_are_refused_and_each_gets_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6,7")
    _, second, third = processes._environments(3, threads=8)
    assert (second["CUDA_VISIBLE_DEVICES"], third["CUDA_VISIBLE_DEVICES"]) == ("6", "7")
    assert second["RANK"] == "1" and second["OMP_NUM_THREADS"] == "2"
    with pytest.raises(InputError, match="is 4 and this process sees 3 GPUs"):
        processes._environments(4, threads=8)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 12])
def test_shares_are_equal_and_make_up_the_batch(n):
    batch = torch.arange(7)
    parts = [share(SimpleNamespace(num_processes=n, process_index=i), batch)[0] for i in range(n)]
    assert len({len(part) for part in parts}) == 1
    assert torch.equal(torch.cat(parts)[:7], batch)
