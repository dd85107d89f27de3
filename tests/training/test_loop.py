import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from small_training import run

from iqasuite.errors import InputError
from iqasuite.paths import unfinished
from iqasuite.training import loop
from iqasuite.training.batches import ArrayBatches
from iqasuite.training.checkpoints import load_checkpoint, save_checkpoint
from iqasuite.training.loop import Followed, Schedule, TrainingError, fit
from iqasuite.training.losses import soft_cross_entropy
from iqasuite.training.machine import computes_in_bf16


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted training: network, result and the checkpoint that it has left."""
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("whole") / "training.pt"
    return *run(path), path


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_same_seed_same_weights_and_the_callers_randomness_is_left_alone(whole):
    one = whole[0]
    torch.manual_seed(5)
    two, _ = run(None)
    after = torch.get_rng_state()
    other, _ = run(None, seed=1)
    assert same(one, two) and not same(one, other)
    assert torch.equal(after, torch.get_rng_state())  # both left what building the model left


def test_killed_mid_epoch_and_resumed_gives_the_weights_of_an_uninterrupted_training(whole, tmp_path):
    expected, uninterrupted, _ = whole
    path, script = tmp_path / "training.pt", Path(__file__).parent / "small_training.py"
    in_epoch_2 = 6  # the second of its four batches
    killed = subprocess.run([sys.executable, str(script), str(path), str(in_epoch_2)])
    assert killed.returncode == -signal.SIGKILL
    state = load_checkpoint(path)
    assert not state["finished"] and state["epoch"] == 1
    resumed, result = run(path)
    assert same(expected, resumed)
    columns = ["epoch", "train_loss", "val_loss", "lr"]
    pd.testing.assert_frame_equal(result.history[columns], uninterrupted.history[columns], check_exact=True)
    assert load_checkpoint(path)["finished"]


def test_finished_checkpoint_is_read_and_not_trained_again(whole):
    first, result, path = whole
    written = path.stat().st_mtime_ns
    second, again = run(path)
    assert same(first, second) and path.stat().st_mtime_ns == written
    pd.testing.assert_frame_equal(result.history, again.history)  # its seconds, too
    assert (again.best_epoch, again.best_value) == (result.best_epoch, result.best_value)


@pytest.mark.parametrize(
    ("change", "word"), [({"lr": 0.1}, "lr 0.001, expected 0.1"), ({"seed": 9}, "seed 0, expected 9")]
)
def test_checkpoint_of_another_training_is_refused(whole, change, word):
    with pytest.raises(InputError, match=word):
        run(whole[2], **change)


def test_half_a_checkpoint_that_a_killed_process_left_is_removed_when_it_is_old(tmp_path):
    old, new = (tmp_path / f"{unfinished(tmp_path / 'training.pt')}{age}" for age in ("old", "new"))
    for half in (old, new):
        half.write_bytes(b"half a checkpoint")
    os.utime(old, (0, 0))
    save_checkpoint(tmp_path / "training.pt", {"epoch": 1})
    assert new.exists() and not old.exists()  # another process may be writing the new one


def test_half_a_checkpoint_is_refused(tmp_path):
    path = tmp_path / "training.pt"
    path.write_bytes(b"half a checkpoint")
    with pytest.raises(InputError, match="not a checkpoint"):
        run(path)


class Line(torch.nn.Module):
    """y = weight · x, which a test can follow by hand."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([1.0]))

    def forward(self, x):
        return self.weight * x


def squared(prediction, target):
    return (prediction - target).square().mean()


def line_batches(target, n=8, size=4):
    return ArrayBatches(torch.ones(n, 1), torch.full((n, 1), float(target)), size, shuffle=False)


def test_weights_of_the_best_epoch_are_restored_and_patience_stops():
    # Training pulls the weight from 1 to 3, validation wants 2: it gets better, then worse.
    model, lines = Line(), []
    schedule = Schedule(epochs=50, lr=0.1, scheduler="none", optimizer="adam", patience=3, precision="no")
    result = fit(model, line_batches(3), line_batches(2), squared, schedule, followed=Followed(log=lines.append))
    history = result.history
    assert result.best_epoch == history["val_loss"].idxmin() == len(history) - 1 - 3
    assert result.best_value == history["val_loss"].min()
    assert (model.weight.item() - 2) ** 2 == pytest.approx(result.best_value, abs=1e-6)
    assert list(history) == ["epoch", "train_loss", "lr", "images_per_s", "val_loss", "seconds"]
    assert len(lines) == len(history) == result.epochs_run and "images/s" in lines[0]


def test_the_last_epoch_is_kept_whatever_validation_says_where_that_is_asked_for():
    settings = {"epochs": 20, "lr": 0.1, "scheduler": "none", "optimizer": "adam", "precision": "no"}
    model, lines = Line(), []
    result = fit(
        model,
        line_batches(3),
        line_batches(2),
        squared,
        Schedule(**settings, keep="last"),
        followed=Followed(log=lines.append),
    )
    assert result.history["val_loss"].idxmin() < 19 == result.best_epoch  # validation wanted 2 and was passed
    assert model.weight.item() > 2.5 and result.best_value == result.history["val_loss"].iloc[-1]
    assert "best" not in lines[-1]


def test_metric_is_raised_and_named_in_the_history():
    def closeness(prediction, target):
        return -float((prediction - target).abs().max())

    schedule = Schedule(epochs=4, lr=0.1, scheduler="none", optimizer="adam", precision="no")
    result = fit(Line(), line_batches(3), line_batches(2), squared, schedule, metric=closeness)
    assert result.best_value == result.history["val_closeness"].max()


def test_what_is_observed_stands_in_the_history_and_decides_nothing():
    def trained(observe):
        model = Line()
        schedule = Schedule(epochs=5, lr=0.1, scheduler="none", optimizer="adam", precision="no")
        result = fit(model, line_batches(3), line_batches(2), squared, schedule, followed=Followed(observe=observe))
        return model.weight.item(), result

    weight, result = trained(lambda model: {"weight": model.weight.item(), "training": float(model.training)})
    assert result.history["weight"].is_monotonic_increasing and not result.history["training"].any()
    assert weight == result.history["weight"][result.best_epoch] == trained(None)[0]


def test_without_validation_the_last_weights_stay():
    model = Line()
    result = fit(model, line_batches(3), None, squared, Schedule(epochs=3, lr=0.1, scheduler="none", precision="no"))
    assert result.best_epoch == 2 and result.epochs_run == 3 and model.weight > 1.4


def test_accumulated_batches_make_the_step_of_a_large_batch():
    settings = {"epochs": 2, "lr": 0.1, "scheduler": "none", "optimizer": "adam", "precision": "no"}
    large, small = Line(), Line()
    fit(large, line_batches(3, size=8), None, squared, Schedule(**settings))
    fit(small, line_batches(3, size=2), None, squared, Schedule(**settings, accumulate=4))
    torch.testing.assert_close(large.weight, small.weight)


def test_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint(tmp_path):
    class Breaking(ArrayBatches):
        def epoch(self, number):
            for x, y in super().epoch(number):
                yield (x * float("nan") if number == 1 else x), y

    path, model = tmp_path / "training.pt", Line()
    train = Breaking(torch.ones(8, 1), torch.zeros(8, 1), 4)
    schedule = Schedule(epochs=3, lr=0.1, scheduler="none", precision="no")
    with pytest.raises(TrainingError, match=r"nan at epoch 2, step 1, lr 0\.1"):
        fit(model, train, line_batches(2), squared, schedule, followed=Followed(path))
    kept = load_checkpoint(path)
    assert kept["epoch"] == 1 and torch.isfinite(kept["model"]["weight"]).all()
    assert [p.name for p in tmp_path.iterdir()] == ["training.pt"]


def test_precisions_follow_one_another_in_a_process_and_leave_the_model_as_it_was():
    seen = []

    class Seeing(torch.nn.Linear):
        def forward(self, x):
            y = super().forward(x)
            seen.append(y.dtype)
            return y

    batches = ArrayBatches(torch.randn(8, 4), torch.full((8, 5), 0.2), 8)
    for precision in ("no", "bf16", "no"):
        model = Seeing(4, 5)
        fit(model, batches, None, soft_cross_entropy, Schedule(epochs=1, precision=precision))
        assert model(torch.randn(1, 4)).dtype == model.weight.dtype == torch.float32
        assert "forward" not in model.__dict__
    assert seen[::2] == [torch.float32, torch.bfloat16, torch.float32]  # every other one is of the test's own call


def test_frozen_parameters_stay():
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 5))
    model[0].requires_grad_(False)
    before = model[0].weight.clone(), model[1].weight.clone()
    batches = ArrayBatches(torch.randn(8, 4), torch.full((8, 5), 0.2), 4)
    fit(model, batches, None, soft_cross_entropy, Schedule(epochs=1))
    assert torch.equal(model[0].weight, before[0]) and not torch.equal(model[1].weight, before[1])


def test_bf16_is_not_computed_on_a_processor_without_it():
    command = "from iqasuite.training.machine import computes_in_bf16; print(computes_in_bf16('cpu'))"
    older = os.environ | {"ATEN_CPU_CAPABILITY": "avx2"}
    found = subprocess.run([sys.executable, "-c", command], env=older, capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
    assert computes_in_bf16("meta") is False


@pytest.mark.parametrize("capability", ["AVX2", "AVX512", "SVE256"])
@pytest.mark.parametrize("instructions", ["avx512_bf16", "amx_bf16", "bf16", "avx512_f"])
def test_bf16_is_computed_where_the_processor_has_instructions_for_it(monkeypatch, capability, instructions):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {instructions: True})
    assert computes_in_bf16("cpu") is (capability != "AVX2" and instructions.endswith("bf16"))


class SlowBatches(ArrayBatches):
    """Batches that put a clock forward by some seconds an epoch."""

    def __init__(self, clock, seconds, *arrays, **given):
        super().__init__(*arrays, **given)
        self.clock, self.seconds = clock, seconds

    def epoch(self, number):
        self.clock[0] += self.seconds
        yield from super().epoch(number)


@pytest.mark.parametrize(
    ("seconds", "epochs", "duration"),
    [
        (90, 8, "about 12 min for all 8 epochs at most"),
        (91, 8, "about 13 min for all 8 epochs at most"),
        (1500, 5, "about 2 h 05 min for all 5 epochs at most"),
        (5, 8, None),
        (5000, 1, None),
    ],
)
def test_the_first_line_says_how_long_the_training_takes(monkeypatch, seconds, epochs, duration):
    clock, lines = [0.0], []
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    train = SlowBatches(clock, seconds - 1, torch.ones(8, 1), torch.ones(8, 1), 4)
    val = SlowBatches(clock, 1, torch.ones(8, 1), torch.ones(8, 1), 4)
    fit(Line(), train, val, squared, Schedule(epochs=epochs, precision="no"), followed=Followed(log=lines.append))
    assert len(lines) == epochs and not any("at most" in line for line in lines[1:])
    assert lines[0].endswith(f"(best: epoch 1); {duration}" if duration else "(best: epoch 1)")
