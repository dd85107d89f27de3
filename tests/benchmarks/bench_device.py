"""Whether a device computes what the CPU computes, and how much of it the suite uses, in five minutes on a GPU.

Equality: committed networks predict photographs on the device in float32 and in what it does by itself ("auto",
bfloat16 where the hardware has it), beside float32 on the CPU, in votes from 1 to 5; gradients of ViT-IQA in float32,
as a share of their length. The limits leave room for other orders of the sums and for TF32 in convolutions (ten bits,
1e-3), and for bfloat16 (eight bits, 4e-3 in each of some ten layers). Speed: model FLOP utilisation (MFU) is the FLOPs
of a forward and a backward pass, as `torch.utils.flop_counter` counts them for one image, times images a second of
`training.loop.fit`, divided by the fastest of some large matrix products in the same precision in this run. Features:
patches of 224 pixels through a MobileNetV2, decoding and writing counted in. Memory is the largest that this process
had: on a GPU what torch had taken there, else all of it. Writes results/bench/device.csv; the exit status is 1 where
a difference exceeds its limit.

    python tests/benchmarks/bench_device.py [--device cuda|cpu] [--size paper] [--batch 64] [--images 40]
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from iqasuite import models
from iqasuite.datasets import demo
from iqasuite.images.loading import read_image, resized
from iqasuite.images.photographs import photograph
from iqasuite.inference.predictor import Predictor
from iqasuite.models.backbones import backbone
from iqasuite.paths import results_root, write_atomic
from iqasuite.report.provenance import peak_memory_mib
from iqasuite.training.batches import ArrayBatches
from iqasuite.training.loop import Schedule, fit
from iqasuite.training.losses import soft_cross_entropy, soft_labels
from iqasuite.training.machine import computes_in_bf16, default_device
from iqasuite.training.patch_features import extract
from iqasuite.weights.catalogue import find

NETWORKS = ("aio0", "jpeg_resnet18", "lite2_nr")
LIMITS = {"float32": 0.01, "auto": 0.15, "gradients": 0.01}
Row = tuple[str, float, str, float]  # what, value, unit, limit (nan = none)


def network(size: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return models.create("vit_iqa", trunk={"size": size, "dropout": 0.0, "emb_dropout": 0.0})


def batch_of(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.Generator().manual_seed(0)
    return torch.randn(n, 3, 256, 256, generator=drawn), soft_labels(torch.randint(1, 6, (n,), generator=drawn))


def predictions(device: torch.device) -> list[Row]:
    images = [resized(read_image(photograph(name)), (384, 512)) for name in demo.PHOTOGRAPHS]

    def votes(name: str, *how: str) -> np.ndarray:
        return np.array([prediction.vote for prediction in Predictor(find(name), *how).predict(images)])

    rows = []
    for name in NETWORKS:
        expected = votes(name, "float32", "cpu")
        for precision in ("float32", "auto"):
            difference = np.abs(votes(name, precision, str(device)) - expected).max()
            rows.append((f"{name} in {precision}, largest difference", difference, "votes", LIMITS[precision]))
    return rows


def gradients(device: torch.device) -> Row:
    def of(where: torch.device) -> torch.Tensor:
        model, (images, targets) = network("tiny").to(where), batch_of(2)
        soft_cross_entropy(model(images.to(where)), targets.to(where)).backward()
        return torch.cat([p.grad.flatten().cpu() for p in model.parameters() if p.grad is not None])

    expected = of(torch.device("cpu"))
    difference = (of(device) - expected).norm() / expected.norm()
    return "gradients in float32, difference", difference.item(), "of their length", LIMITS["gradients"]


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Seconds until the device has done it."""
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def matrix_rate(device: torch.device, dtype: torch.dtype, seconds: float = 2.0) -> float:
    """FLOP/s of the fastest product of two large matrices."""
    n = 8192 if device.type == "cuda" else 1024
    a, fastest, began = torch.randn(n, n, device=device).to(dtype), math.inf, time.perf_counter()
    seconds_of(lambda: a @ a, device)
    while time.perf_counter() - began < seconds:
        fastest = min(fastest, seconds_of(lambda: a @ a, device))
    return 2 * n**3 / fastest


def flops_an_image(size: str) -> float:
    """FLOPs of a forward and a backward pass; attention as the plain products that it is."""
    model, (images, targets) = network(size), batch_of(1)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        soft_cross_entropy(model(images), targets).backward()
    return counter.get_total_flops()


def training(size: str, batch: int, steps: int) -> float:
    """Images a second of the second epoch."""
    images, targets = batch_of(batch)
    batches = ArrayBatches(lambda rows: images[rows % batch], targets.repeat(steps, 1), batch)
    result = fit(network(size), batches, None, soft_cross_entropy, Schedule(epochs=2, lr=5e-5))
    return result.history["images_per_s"].iloc[-1]


def features(device: torch.device, n: int) -> float:
    """Patches a second."""
    data, net = demo.load(), backbone("mobilenet_v2", pretrained=False).eval()
    images = data.images["image"].tolist()[:n]
    with tempfile.TemporaryDirectory() as folder:

        def all_of(images: list[str]) -> int:
            found = extract(data, net, images=images, shown_at=(384, 512), device=device, root=Path(folder))
            return sum(len(found[image]) for image in images)

        all_of(images[:1])  # what the first batch sets up is not measured
        began = time.perf_counter()
        return all_of(images) / (time.perf_counter() - began)


def measure(device: torch.device, size: str, batch: int, steps: int, images: int) -> pd.DataFrame:
    """One row a check: device, what, value, unit, limit, passed (empty where there is no limit)."""
    dtype = torch.bfloat16 if computes_in_bf16(device) else torch.float32
    rows: list[Row] = [*predictions(device), gradients(device)]
    peak, flops = matrix_rate(device, dtype), flops_an_image(size)
    speed = training(size, batch, steps)
    peak = max(peak, matrix_rate(device, dtype))  # clocks change
    where = f"ViT-IQA {size}, batch {batch}, {str(dtype).removeprefix('torch.')}"
    rows += [
        ("largest matrix products", peak / 1e12, "TFLOP/s", math.nan),
        (f"{where}: FLOPs of a training image", flops / 1e9, "GFLOP", math.nan),
        (f"{where}: training", speed, "images/s", math.nan),
        (f"{where}: MFU", speed * flops / peak, "of the matrix products", math.nan),
        ("features of MobileNetV2", features(device, images), "patches/s", math.nan),
    ]
    on_gpu = device.type == "cuda"
    memory = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else peak_memory_mib() or math.nan
    rows.append(("peak memory", memory, "MiB", math.nan))
    table = pd.DataFrame(rows, columns=["what", "value", "unit", "limit"])
    table.insert(0, "device", torch.cuda.get_device_name() if on_gpu else "CPU")
    return table.assign(passed=(table["value"] <= table["limit"]).where(table["limit"].notna()))


def main(*arguments: str) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], help="the GPU where there is one")
    parser.add_argument("--size", choices=["tiny", "small", "paper"], help="paper; on a CPU small")
    parser.add_argument("--batch", type=int, help="images a step; 64, on a CPU 8")
    parser.add_argument("--steps", type=int, help="steps that are timed; 30, on a CPU 3")
    parser.add_argument("--images", type=int, help="images whose features are computed; 100, on a CPU 10")
    given = parser.parse_args(arguments or None)
    device = default_device(given.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: there is no GPU that torch can use; expected cpu")
    size, *numbers = ("paper", 64, 30, 100) if device.type == "cuda" else ("small", 8, 3, 10)
    asked = zip((given.batch, given.steps, given.images), numbers, strict=True)
    table = measure(device, given.size or size, *(one or other for one, other in asked))
    write_atomic(results_root("bench") / "device.csv", table.to_csv(index=False, float_format="%.4g"))
    print(table.to_string(index=False))
    return int(table["passed"].eq(False).any())


if __name__ == "__main__":
    sys.exit(main())
