"""Classical features: BRISQUE and NIQE here beside piq's BRISQUE, on the same photographs at 500×500.

piq's way is what `piq.brisque` does before its support vector machine: luma, statistics, half size, statistics. All in
one process and one thread, in turns; medians over the repetitions. One image at a time, as sets of photographs of
different sizes are read. Written to results/bench/classical.csv.

    python tests/benchmarks/bench_classical.py
"""

from __future__ import annotations

import importlib
import os
import statistics
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: one thread

import numpy as np
import pandas as pd
import torch
from PIL import Image
from piq.functional import imresize, rgb2yiq

from iqasuite.datasets import demo
from iqasuite.images.loading import read_image
from iqasuite.images.photographs import photograph
from iqasuite.models.metrics.brisque import brisque_features
from iqasuite.models.metrics.niqe import niqe_features
from iqasuite.paths import results_root, write_atomic

SIDE, REPETITIONS = 500, 15
peer = importlib.import_module("piq.brisque")  # as an attribute of piq it is the function


def photographs() -> list[torch.Tensor]:
    """The demo's photographs, uint8 (1, 3, 500, 500)."""
    images = []
    for name in demo.PHOTOGRAPHS:
        picture = Image.fromarray(read_image(photograph(name))).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        images.append(torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None])
    return images


def piq_features(image: torch.Tensor) -> torch.Tensor:
    luma, features = torch.round(rgb2yiq(image / 255 * 255)[:, :1]), []  # as it does where data_range is 255
    for _ in range(2):
        features.append(peer._natural_scene_statistics(luma))
        luma = imresize(luma, sizes=(luma.shape[2] // 2, luma.shape[3] // 2))
    return torch.cat(features, dim=-1)


def measure() -> pd.DataFrame:
    """One row a way: images_per_s, ratio (to piq's BRISQUE), n images, repetitions."""
    torch.set_num_threads(1)
    images = photographs()
    ways = {
        "piq BRISQUE": piq_features,
        "BRISQUE": brisque_features,
        "NIQE features": lambda image: niqe_features(image[0]),
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    with torch.no_grad():
        for repetition in range(REPETITIONS + 1):
            for way, features in ways.items():
                began = time.perf_counter()
                for image in images:
                    features(image)
                if repetition:  # the first round warms up
                    times[way].append((time.perf_counter() - began) / len(images))
    seconds = {way: statistics.median(spent) for way, spent in times.items()}
    rows = [
        ("classical", way, 1 / spent, seconds["piq BRISQUE"] / spent, len(images), REPETITIONS)
        for way, spent in seconds.items()
    ]
    return pd.DataFrame(rows, columns=["benchmark", "way", "images_per_s", "ratio", "n", "repetitions"])


def main() -> None:
    table = measure().round({"images_per_s": 1, "ratio": 2})
    write_atomic(results_root("bench") / "classical.csv", table.to_csv(index=False, lineterminator="\n"))
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
