"""A set of 10,000 images: manifest, splits and leak audit, after the first decode; seconds and peak memory.

Drawn JPEG files of 512×384 with a CSV of scores are loaded as a folder of one's own, near-duplicates are looked for
among all pairs of images, sources joined, five folds and ten random splits made, the folds audited. The obvious way to
look for near-duplicates, each image's fingerprint against all others' and their crops' in turn, is timed on 300 of the
images and scaled up to all. Everything runs in a process of its own, so that its memory is its own.

    python tests/benchmarks/bench_manifest.py [images]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from iqasuite.paths import results_root, write_atomic

COUNT, SIZE, LOOPED = 10_000, (512, 384), 300


def draw(path: Path, number: int) -> None:
    """A picture of its own: colour noise at 32×24, enlarged."""
    cells = np.random.default_rng(number).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(cells).resize(SIZE, Image.Resampling.BICUBIC).save(path, quality=80)


def make(folder: Path, count: int) -> None:
    """Images and a CSV of scores; every hundredth image is a copy of the one before, compressed again."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda i: draw(folder / f"{i:05d}.jpg", i - (i % 100 == 99)), range(count)))
    for i in range(99, count, 100):
        with Image.open(folder / f"{i:05d}.jpg") as image:
            image.load()
        image.resize((400, 300)).save(folder / f"{i:05d}.jpg", quality=40)
    mos = np.random.default_rng(0).uniform(1, 5, count).round(3)
    pd.DataFrame({"image": [f"{i:05d}.jpg" for i in range(count)], "mos": mos}).to_csv(
        folder / "scores.csv", index=False
    )


def steps(folder: Path) -> dict[str, float]:
    """Seconds of each step."""
    from iqasuite.datasets import load
    from iqasuite.datasets.leakage import audit, joined_sources, near_duplicates
    from iqasuite.datasets.splits import by_content, repeated_by_content
    from iqasuite.images import fingerprints

    spent, last = {}, time.perf_counter()

    def note(step: str) -> None:
        nonlocal last
        now = time.perf_counter()
        spent[step], last = now - last, now

    data = load(str(folder))
    fingerprints.thumbnails(list(data.paths().values()))
    note("first decode")
    data = load(str(folder))
    note("manifest")
    pairs = near_duplicates(data.images, data.paths())
    note("near-duplicates, all pairs")
    assert len(pairs) >= len(data.images) // 100, "planted copies were not found"
    sources = joined_sources(data.sources, pairs)
    split = by_content(data.images, 5, sources=sources)
    repeated_by_content(data.images, 10, sources=sources)
    note("15 splits")
    assert audit(split, data.images, sources, pairs).empty
    assert not audit(by_content(data.images, 5), data.images, pairs=pairs).empty  # copies would have been shared
    note("audits")
    return spent


def looped(folder: Path) -> float:
    """Seconds of the obvious way, scaled up to all images."""
    from iqasuite.images import fingerprints

    paths = sorted(folder.glob("*.jpg"))
    pictures = fingerprints.thumbnails(paths)
    start = time.perf_counter()
    drawing = fingerprints._local_contrast(pictures)
    prints = [fingerprints._fingerprint(drawing, crop) for crop in fingerprints._crops()]
    prints.append(fingerprints._fingerprint(drawing[:, :, ::-1], fingerprints._WHOLE))
    ready = time.perf_counter()
    near = sum(int((others @ own > fingerprints.NEAR).sum()) for own in prints[0][:LOOPED] for others in prints)
    assert near > LOOPED  # each is like itself
    return ready - start + (time.perf_counter() - ready) * len(paths) / LOOPED


def measure(folder: Path) -> pd.DataFrame:
    """One row a step: benchmark, way, seconds, ratio, n, peak_memory_mib."""
    from iqasuite.report.provenance import peak_memory_mib

    spent = steps(folder)
    memory = peak_memory_mib()
    after = sum(seconds for step, seconds in spent.items() if step != "first decode")
    spent |= {"all after the first decode": after, "near-duplicates, image by image": looped(folder)}
    n = len(list(folder.glob("*.jpg")))
    ratio = spent["near-duplicates, image by image"] / spent["near-duplicates, all pairs"]
    rows = [
        ("manifest", step, round(seconds, 2), ratio if "all pairs" in step else np.nan, n, memory)
        for step, seconds in spent.items()
    ]
    return pd.DataFrame(rows, columns=["benchmark", "way", "seconds", "ratio", "n", "peak_memory_mib"]).round(2)


def main() -> None:
    if len(sys.argv) == 3 and sys.argv[1] == "--measure":
        print(measure(Path(sys.argv[2])).to_csv(index=False, lineterminator="\n"), end="")
        return
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as cache:
        make(Path(folder), int(sys.argv[1]) if len(sys.argv) > 1 else COUNT)
        table = subprocess.run(
            [sys.executable, __file__, "--measure", folder],
            env=os.environ | {"IQASUITE_CACHE": cache},
            check=True,
            text=True,
            stdout=subprocess.PIPE,
        ).stdout
    write_atomic(results_root("bench") / "manifest.csv", table)
    print(table)


if __name__ == "__main__":
    main()
