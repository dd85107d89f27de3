"""The device check (`make gpu-check`): at tiny size on the CPU, where all is equal, and as it is on a GPU."""

import importlib.util

import pandas as pd
import pytest
import torch

from iqasuite.training.machine import computes_in_bf16


@pytest.fixture
def check(repository, tmp_path, monkeypatch):
    """The program; it writes into an empty project."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setenv("IQASUITE_WEIGHTS", str(repository / "weights"))
    spec = importlib.util.spec_from_file_location("bench_device", repository / "tests/benchmarks/bench_device.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_cpu_computes_what_the_cpu_computes(check, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(check, "matrix_rate", lambda device, dtype: 1e12)
    monkeypatch.setattr(check, "NETWORKS", ("jpeg_resnet18",))
    assert check.main("--device", "cpu", "--size", "tiny", "--batch", "2", "--steps", "1", "--images", "1") == 0
    table = pd.read_csv(tmp_path / "results" / "bench" / "device.csv").set_index("what")
    in_float32 = table[table["limit"] == check.LIMITS["float32"]]["value"]
    assert len(in_float32) == len(check.NETWORKS) + 1 and (in_float32 == 0).all()
    if not computes_in_bf16("cpu"):
        assert (table["value"][table["limit"] == check.LIMITS["auto"]] == 0).all()
    flops, speed, mfu = (table["value"].filter(like=name).iloc[0] for name in (": FLOPs", ": training", ": MFU"))
    assert mfu == pytest.approx(flops * 1e9 * speed / 1e12, rel=1e-2)


def test_flops_are_those_of_the_products_in_the_network(check):
    # Tiny: 256 patches of 16² · 15 values to 128, a class token, 4 layers, the last one for the class token alone; a
    # backward pass is two forward passes, less the gradient of the images, which nobody asks for.
    n, dim, inner, mlp = 257, 128, 4 * 32, 256

    def layer(queries):
        keys_and_values, outputs = 2 * n * dim * inner, queries * (inner * dim + 2 * dim * mlp)
        return keys_and_values + queries * dim * inner + 2 * queries * n * inner + outputs

    multiplications = 2 * 256 * 3840 * dim + 3 * (3 * layer(n) + layer(1))
    assert check.flops_an_image("tiny") == pytest.approx(2 * multiplications, rel=0.05)


@pytest.mark.gpu
def test_a_gpu_computes_what_the_cpu_computes(check):
    assert check.main("--device", "cuda", "--steps", "3", "--images", "10") == 0


def test_a_difference_beyond_its_limit_fails(check, monkeypatch):
    table = pd.DataFrame({"value": [0.2, 5.0], "limit": [0.1, float("nan")], "passed": [False, None]})
    monkeypatch.setattr(check, "measure", lambda *given: table)
    assert check.main("--device", "cpu") == 1
