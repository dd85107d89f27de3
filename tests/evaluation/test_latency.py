"""The statistics of latency and what is counted of a network; never how fast it is."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from iqasuite.errors import InputError
from iqasuite.evaluation import latency as module
from iqasuite.evaluation.latency import ENGINES, latency, latency_table, median_interval, million_macs
from iqasuite.models.mobile_nr import MobileNR, Separable


@pytest.mark.parametrize(
    ("n", "ranks"), [(6, (1, 6)), (8, (1, 8)), (9, (2, 8)), (10, (2, 9)), (15, (4, 12)), (20, (6, 15)), (25, (8, 18))]
)
def test_median_interval_has_the_ranks_of_the_tables(n, ranks):
    # W. J. Conover, "Practical Nonparametric Statistics", 1999, and any table of the sign test
    values = np.random.default_rng(0).permutation(np.arange(1, n + 1))
    assert median_interval(values) == ranks


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_values_have_their_smallest_and_largest(n):
    assert median_interval(list(range(n))) == (0, n - 1)


def test_median_interval_covers_the_median_as_often_as_it_says():
    rng = np.random.default_rng(1)
    drawn = rng.lognormal(0, 1, (2000, 20))
    covered = np.mean([low <= 1 <= high for low, high in map(median_interval, drawn)])
    assert 0.945 < covered < 0.975  # exactly .9586 for 20 values


def test_latency_is_the_median_of_the_calls_after_the_warm_up(monkeypatch):
    spent = [900e6, 800e6, 1e6, 5e6, 3e6, 2e6, 4e6]  # nanoseconds; the first two are the warm-up
    clock, calls = [0.0], iter(spent)
    monkeypatch.setattr(module.time, "perf_counter_ns", lambda: clock[0])

    def call():
        clock[0] += next(calls)

    found = latency(call, repeats=5, warmup=2)
    assert found == (3.0, 1.0, 5.0) and found.median == 3.0
    assert next(calls, None) is None


@pytest.mark.parametrize("given", [{"repeats": 0}, {"repeats": 5, "warmup": -1}])
def test_no_repeats_are_refused(given):
    with pytest.raises(InputError, match="repeats"):
        latency(lambda: None, **given)


def test_multiply_adds_are_those_of_the_layers_by_hand():
    layer = Separable(16, 24, stride=1).eval()

    class OfThree(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.layer = nn.Conv2d(3, 16, 3, padding=1), layer

        def forward(self, x):
            return self.layer(self.first(x))

    by_hand = 20 * 30 * (3 * 16 * 9 + 16 * 9 + 16 * 24)
    assert million_macs(OfThree(), (20, 30)) == pytest.approx(by_hand / 1e6)


def test_table_has_a_row_for_everything_and_float32_engines_agree():
    torch.manual_seed(0)
    networks = {"0.25": MobileNR(width=0.25, hidden=8), "scores": MobileNR(width=0.25, hidden=8, n_classes=1)}
    pictures = list(np.random.default_rng(0).integers(0, 256, (2, 70, 90, 3), dtype=np.uint8))
    table = latency_table(networks, pictures, (32, 64), repeats=2, warmup=0)
    assert len(table) == 2 * 2 * len(ENGINES) and not table.isna().any().any()
    assert (table["low_ms"] <= table["median_ms"]).all() and (table["median_ms"] <= table["high_ms"]).all()
    assert table.groupby("network")["parameters"].nunique().eq(1).all()
    by_size = table.groupby("size")["million_macs"].first()
    assert by_size[64] / by_size[32] == pytest.approx(4, rel=0.01)
    by_engine = table.groupby("engine")
    assert by_engine["difference"].max()[["torch float32", "ONNX float32"]].max() < 1e-4
    assert by_engine["megabytes"].first()["ONNX int8"] < by_engine["megabytes"].first()["ONNX float32"]
    own = sum(t.numel() * t.element_size() for t in networks["0.25"].state_dict().values())
    row = table.query("network == '0.25' and engine == 'torch float32'").iloc[0]
    assert row["megabytes"] == own / 1e6 and isinstance(table, pd.DataFrame)
    assert row["parameters"] == sum(p.numel() for p in networks["0.25"].parameters())


@pytest.mark.parametrize(
    "given", [{"engines": ("torch float64",)}, {"sizes": (96,)}, {"images": []}], ids=lambda g: next(iter(g))
)
def test_what_cannot_be_measured_is_refused(given):
    usual = {"images": [np.zeros((64, 80, 3), np.uint8)], "sizes": (32,)}
    with pytest.raises(InputError, match="latency"):
        latency_table({"a": MobileNR(width=0.25)}, **usual | given)
