import numpy as np
import pytest
import torch

from iqasuite.errors import InputError
from iqasuite.training.schedule import Schedule, learning_rate, plateaus


def test_plateau_is_torchs_rule():
    values = np.random.default_rng(0).normal(size=60).cumsum() + 20
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    peer = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=5)
    schedule = Schedule(lr=1.0, scheduler="plateau")
    for i, value in enumerate(values):
        peer.step(value)
        assert learning_rate(schedule, i + 1, values[: i + 1]) == optimizer.param_groups[0]["lr"]
    assert plateaus(values, 5) > 1


def test_cosine_and_warmup():
    schedule = Schedule(epochs=10, lr=2.0, scheduler="cosine", warmup=2)
    assert learning_rate(schedule, 1, []) == pytest.approx(1.0)
    assert learning_rate(schedule, 2, []) == pytest.approx(2.0)
    assert learning_rate(schedule, 6, []) == pytest.approx(1.0)
    assert learning_rate(schedule, 10, []) == pytest.approx(0.0)
    assert learning_rate(Schedule(lr=2.0, scheduler="none"), 7, []) == 2.0


@pytest.mark.parametrize(
    ("name", "value"),
    [("optimizer", "sgd"), ("scheduler", "step"), ("precision", "fp8"), ("epochs", 0), ("lr", 0), ("keep", "first")],
)
def test_wrong_settings_are_named(name, value):
    with pytest.raises(InputError, match=name):
        Schedule(**{name: value})


def test_patience_has_nothing_to_wait_for_where_the_last_epoch_is_kept():
    with pytest.raises(InputError, match="patience 3 with keep 'last'"):
        Schedule(keep="last", patience=3)
