"""Patch features: `iqasuite.training.patch_features.extract` beside one patch at a time in float32.

Patches of 224 pixels, half overlapping, of images of the demo set brought to 384 × 512; all ways in one process, in
turns, medians over the rounds; decoding, cutting, folding and writing counted in. One by one, a fifth of the images is
measured. Weights: IQASUITE_WEIGHTS where it has them, else random ones (the time is the same). The machine's rate of
bf16 matrix products (10⁹ operations/s) is measured before and after every run. `srocc_with_float32`: ridge regression
on features of whole images, five folds by content, predictions from bf16 features against those from float32 features.
Writes results/bench/patch_features.csv.

    python tests/benchmarks/bench_patch_features.py [--networks resnet50 mobilenet_v2] [--images 10] [--rounds 3]
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, cross_val_predict
from torch.utils.flop_counter import FlopCounterMode

from iqasuite.datasets import demo
from iqasuite.datasets.dataset import Dataset
from iqasuite.images.crops import normalise
from iqasuite.images.loading import read_image, resized
from iqasuite.images.patches import cut, patch_boxes
from iqasuite.images.photographs import photograph
from iqasuite.models.backbones import Backbone, backbone
from iqasuite.paths import results_root, weights_roots, write_atomic
from iqasuite.training.patch_features import PatchFeatures, extract

SHOWN = (384, 512)
RIDGE_IMAGES = 105


def network(name: str) -> tuple[Backbone, str]:
    """Backbone and which weights it has."""
    if any((root / f"{name}.safetensors").is_file() for root in weights_roots()):
        return backbone(name).eval(), "ImageNet"
    torch.manual_seed(0)
    return calibrated(backbone(name, pretrained=False).eval()), "random"


@torch.no_grad()
def calibrated(net: Backbone) -> Backbone:
    """Batch norms with the statistics of photographs: without, random maps grow or vanish from layer to layer."""
    photographs = np.stack([resized(read_image(photograph(name)), (224, 224)) for name in demo.PHOTOGRAPHS])
    net.train()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    net(normalise(torch.from_numpy(photographs).permute(0, 3, 1, 2), net.mean, net.std))
    return net.eval()


@torch.inference_mode()
def plain(net: Backbone, dataset: Dataset, images: list[str]) -> int:
    """What anybody would write: each patch by itself, float32."""
    count = 0
    for image in images:
        pixels = dataset.read(image, SHOWN)
        for patch in cut(pixels, patch_boxes(*SHOWN)):
            x = normalise(torch.from_numpy(patch).permute(2, 0, 1)[None], net.mean, net.std)
            net.layers(x).mean((2, 3)).numpy()
            count += 1
    return count


def ours(net: Backbone, dataset: Dataset, images: list[str], **given) -> PatchFeatures:
    with tempfile.TemporaryDirectory() as folder:
        features = extract(dataset, net, images=images, root=Path(folder), **({"shown_at": SHOWN} | given))
        features._rows = np.array(features._rows)  # the folder goes
    return features


def seconds_of(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def matrix_rate() -> float:
    """Operations a second of a bf16 product of 1024 × 1024 matrices: the fastest one within a tenth of a second."""
    a = torch.ones(1024, 1024, dtype=torch.bfloat16)
    a @ a  # what the first product sets up is not measured
    fastest, began = float("inf"), time.perf_counter()
    while time.perf_counter() - began < 0.1:
        fastest = min(fastest, seconds_of(lambda: a @ a))
    return 2 * 1024**3 / fastest


def flops_a_patch(net: Backbone) -> float:
    """Operations of a patch's forward pass (a multiplication and an addition are two)."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(1, 3, 224, 224))
    return counter.get_total_flops()


def agreement(net: Backbone, dataset: Dataset) -> float:
    """SROCC between the predictions made from bf16 and from float32 features."""
    table = dataset.images.iloc[:: max(1, len(dataset.images) // RIDGE_IMAGES)]
    images, predictions = table["image"].tolist(), []
    for precision in ("bf16", "float32"):
        x = ours(net, dataset, images, shown_at=None, size=256, precision=precision).vectors(images)
        x = (x - x.mean(0)) / x.std()  # one scale for all: else units that hardly fire would count fully
        folds = GroupKFold(5).split(x, groups=table["content"])
        predictions.append(cross_val_predict(Ridge(alpha=100.0), x, table["mos"], cv=list(folds)))
    return spearmanr(*predictions).statistic


def compare(name: str, n_images: int, rounds: int) -> list[dict]:
    """One row a way; seconds are of one patch."""
    net, weights = network(name)
    dataset = demo.load()
    images = dataset.images["image"].iloc[:: max(1, len(dataset.images) // n_images)].tolist()[:n_images]
    few = images[: max(1, n_images // 5)]
    each = plain(net, dataset, images[:1])  # the first round warms up
    ours(net, dataset, images[:1])
    ways = {
        "one by one, float32": lambda: plain(net, dataset, few),
        "batches, float32": lambda: ours(net, dataset, images, precision="float32"),
        "batches, bf16": lambda: ours(net, dataset, images, precision="bf16"),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    rates, flops = [], flops_a_patch(net)
    for _ in range(rounds):
        for way, work in ways.items():
            before = matrix_rate()
            n = each * len(few if way.startswith("one") else images)
            seconds[way].append(seconds_of(work) / n)
            rates.append(statistics.mean([before, matrix_rate()]))
    agreed = agreement(net, dataset)
    slow, rows = seconds["one by one, float32"], []
    for way, spent in seconds.items():
        ratios = [a / b for a, b in zip(slow, spent, strict=True)]
        rows.append(
            {
                "benchmark": "patch_features",
                "network": name,
                "weights": weights,
                "way": way,
                "patches_per_s": 1 / statistics.median(spent),
                "ratio": statistics.median(slow) / statistics.median(spent),
                "lowest_ratio": min(ratios),
                "highest_ratio": max(ratios),
                "gflop_per_patch": flops / 1e9,
                "bf16_gflops_of_machine": statistics.median(rates) / 1e9,
                "srocc_with_float32": agreed if way.endswith("bf16") else 1.0,
                "n": each * len(images),
                "rounds": rounds,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["resnet50", "mobilenet_v2"])
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    table = pd.DataFrame([row for name in given.networks for row in compare(name, given.images, given.rounds)]).round(4)
    write_atomic(results_root("bench") / "patch_features.csv", table.to_csv(index=False, lineterminator="\n"))
    print(table.T.to_string(header=False))


if __name__ == "__main__":
    main()
