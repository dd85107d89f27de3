"""Input pipeline: one epoch of random 224-pixel crops from a cached set, against decoding and augmenting each image.

The obvious way is what a training script does per image and per epoch: open, resize, random crop, mirror, to float,
normalise. Both ways give the same batches of float32 (B, 3, 224, 224), in one process and one thread, in turns; the
numbers are medians over the repetitions. The images are the demo set's photographs at their own sizes, compressed to
JPEG (few kilobytes each, as in the usual sets), brought to 384×512.

    python tests/benchmarks/bench_input_pipeline.py
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from iqasuite.images.cache import ImageCache, open_cache
from iqasuite.images.crops import normalise, random_crops
from iqasuite.images.distortions.compression import jpeg_bytes
from iqasuite.images.loading import read_image
from iqasuite.images.photographs import photographs
from iqasuite.paths import results_root, write_atomic
from iqasuite.pixel_values import IMAGENET_MEAN, IMAGENET_STD

SIZE, CROP, BATCH = (384, 512), 224, 32
QUALITIES = range(10, 100, 3)
REPETITIONS = 7


def make_images(folder: Path) -> list[Path]:
    """7 photographs × 30 JPEG qualities."""
    paths = []
    for source in photographs("demo"):
        pixels = read_image(source)
        for quality in QUALITIES:
            paths.append(folder / f"{source.stem}_{quality:02d}.jpg")
            paths[-1].write_bytes(jpeg_bytes(pixels, quality))
    return paths


def epoch_decoding(paths: list[Path]) -> None:
    """Everything for each image, as it comes."""
    mean, std = np.array(IMAGENET_MEAN, np.float32), np.array(IMAGENET_STD, np.float32)
    order = random.sample(range(len(paths)), len(paths))
    for start in range(0, len(order), BATCH):
        images = []
        for i in order[start : start + BATCH]:
            image = Image.open(paths[i]).convert("RGB").resize((SIZE[1], SIZE[0]), Image.Resampling.BICUBIC)
            left, top = random.randint(0, SIZE[1] - CROP), random.randint(0, SIZE[0] - CROP)
            image = image.crop((left, top, left + CROP, top + CROP))
            if random.random() < 0.5:
                image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            values = (np.asarray(image, dtype=np.float32) / 255 - mean) / std
            images.append(torch.from_numpy(values).permute(2, 0, 1))
        assert torch.stack(images).shape[1:] == (3, CROP, CROP)


def epoch_cached(cache: ImageCache, generator: torch.Generator) -> None:
    """Batches cut from the memory map, augmented and normalised as batches."""
    order = torch.randperm(len(cache), generator=generator).numpy()
    for start in range(0, len(order), BATCH):
        pixels = torch.from_numpy(cache[order[start : start + BATCH]]).permute(0, 3, 1, 2)
        batch = normalise(random_crops(pixels, CROP, generator), IMAGENET_MEAN, IMAGENET_STD)
        assert batch.shape[1:] == (3, CROP, CROP)


def seconds(epoch: Callable[[], None]) -> float:
    start = time.perf_counter()
    epoch()
    return time.perf_counter() - start


def measure() -> pd.DataFrame:
    """One row a way: benchmark, way, images_per_s, ratio (to the obvious way), n, repetitions."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    random.seed(0)
    with tempfile.TemporaryDirectory() as folder:
        paths = make_images(Path(folder))
        build = time.perf_counter()
        cache = open_cache(paths, SIZE, Path(folder) / "cache")
        build = time.perf_counter() - build
        ways = {"decode and augment per image": lambda: epoch_decoding(paths)}
        ways["cached"] = lambda: epoch_cached(cache, generator)
        times = {way: [] for way in ways}
        for repetition in range(REPETITIONS + 1):
            for way, epoch in ways.items():
                spent = seconds(epoch)
                if repetition:  # the first round warms up
                    times[way].append(spent)
    rate = {way: len(paths) / statistics.median(spent) for way, spent in times.items()}
    rate["building the cache, once"] = len(paths) / build
    obvious = rate["decode and augment per image"]
    rows = [("input_pipeline", way, value, value / obvious, len(paths), REPETITIONS) for way, value in rate.items()]
    rows[-1] = (*rows[-1][:5], 1)
    return pd.DataFrame(rows, columns=["benchmark", "way", "images_per_s", "ratio", "n", "repetitions"])


def main() -> None:
    table = measure().round({"images_per_s": 1, "ratio": 2})
    write_atomic(results_root("bench") / "input_pipeline.csv", table.to_csv(index=False, lineterminator="\n"))
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
