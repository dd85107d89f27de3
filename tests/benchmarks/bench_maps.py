"""Seconds that maps of a network take: every map of one image, and a page of the attention of 21 AIOs.

The image is one of the demo set's photographs at 256 × 256 pixels, the networks are of size tiny: ViT-IQA with shifted
patch tokens and JPEGResNet18, an eighth as wide. The page has six images, all drawn. Medians over the repetitions;
written to results/bench/maps.csv.

    python tests/benchmarks/bench_maps.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from iqasuite.explain.maps import maps, methods_of
from iqasuite.images.photographs import contents
from iqasuite.models import create
from iqasuite.paths import results_root, write_atomic
from iqasuite.report import figures

REPETITIONS, AIOS, IMAGES = 5, 21, 6


def seconds(call: Callable[[], object]) -> float:
    times = []
    for repetition in range(REPETITIONS + 1):
        began = time.perf_counter()
        call()
        if repetition:  # the first warms up
            times.append(time.perf_counter() - began)
    return statistics.median(times)


def page(network, images: np.ndarray) -> None:
    """What notebook 06 draws of 21 observers; here all of them are the same network."""
    focus = np.stack([maps(network, images, "attention") for _ in range(AIOS)])
    labels = [str(number) for number in range(IMAGES)]
    plt.close(figures.attention_across_aios(list(images), focus, [f"AIO {n}" for n in range(AIOS)], labels, 0.0))


def measure() -> pd.DataFrame:
    photograph = next(image for image in contents().values() if min(image.shape[:2]) >= 256)
    images = np.stack([photograph[:256, :256]] * IMAGES)
    vit = create("vit_iqa", image_size=256, stem={"shift": "diagonal"}, trunk={"size": "tiny"}).eval()
    resnet = create("jpeg_resnet", image_size=256, depth=18, width=0.125).eval()
    rows = []
    for name, network in (("ViT-IQA, tiny", vit), ("JPEGResNet18, width 0.125", resnet)):
        of = {method: seconds(lambda m=method, n=network: maps(n, images[:1], m)) for method in methods_of(network)}
        rows += [(name, method, taken) for method, taken in of.items()] + [(name, "all of one image", sum(of.values()))]
    rows.append(
        ("ViT-IQA, tiny", f"attention of {AIOS} AIOs on {IMAGES} images, drawn", seconds(lambda: page(vit, images)))
    )
    table = pd.DataFrame(rows, columns=["network", "maps", "seconds"])
    return table.assign(benchmark="maps", repetitions=REPETITIONS)[
        ["benchmark", "network", "maps", "seconds", "repetitions"]
    ]


if __name__ == "__main__":
    measured = measure()
    print(measured.to_string(index=False))
    text = measured.round({"seconds": 4}).to_csv(index=False, lineterminator="\n")
    print("written:", write_atomic(results_root("bench") / "maps.csv", text))
