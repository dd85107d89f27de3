"""Training step of the four Siamese networks on this machine: `train_full_reference` beside a plain float32 loop.

Both read the same pairs from memory, cut random crops, normalise and take steps of Adam on the same loss. Each way runs
in a process of its own, the two in turn, so that both meet the same load. A step is the mean of a process's steps; a
process's first epoch is left out. Writes results/bench/full_reference.csv.

    python tests/benchmarks/bench_full_reference.py [--rounds 3] [--steps 8] [--crop 160]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import numpy as np
import pandas as pd

from iqasuite.paths import results_root, write_atomic
from iqasuite.report.provenance import git_revision

WIDTHS = {"simple": 0.5, "bn": 0.5, "attention": 0.5, "tiled": 0.25}  # as in notebooks/suites/fr.yaml
BATCH, SIDE = 16, 256


def pairs(n: int) -> tuple[np.ndarray, np.ndarray]:
    """References and noisy copies, uint8 (n, 256, 256, 3)."""
    rng = np.random.default_rng(0)
    reference = rng.integers(0, 256, (n, SIDE, SIDE, 3), dtype=np.uint8)
    return reference, np.clip(reference + rng.normal(0, 20, reference.shape), 0, 255).astype(np.uint8)


def plain(variant: str, width: float, steps: int, crop: int) -> float:
    """Seconds of a step of what anybody would write: float32, crop by crop."""
    import torch

    from iqasuite import models
    from iqasuite.training.ranking_losses import create

    model = models.create("siamese_fr", variant=variant, width=width, grid=9)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loss = create({"mse": 0.1, "plcc": 0.9})
    reference, distorted = pairs(BATCH * steps)
    target, rng = torch.randn(len(reference)), np.random.default_rng(1)
    for _ in range(2):
        began = time.perf_counter()
        for rows in np.array_split(rng.permutation(len(reference)), steps):
            cut, (y, x) = [], rng.integers(0, SIDE - crop, 2)
            for images in (reference[rows], distorted[rows]):
                part = torch.from_numpy(images[:, y : y + crop, x : x + crop].astype(np.float32)).permute(0, 3, 1, 2)
                cut.append((part / 255 - 0.5) / 0.5)
            optimizer.zero_grad()
            loss(model(*cut), target[rows]).backward()
            optimizer.step()
        seconds = time.perf_counter() - began
    return seconds / steps


def ours(variant: str, width: float, steps: int, crop: int) -> float:
    """Seconds of a step of the suite's loop."""
    from iqasuite.training.pairs import Schedule, ScoredPairs, Shown, train_full_reference
    from iqasuite.training.ranking_losses import create

    reference, distorted = pairs(BATCH * steps)
    target = np.random.default_rng(2).normal(size=len(reference))
    learnt = ScoredPairs(lambda rows: (reference[rows], distorted[rows]), target, range(len(reference)), [])
    fitted = train_full_reference(
        {"variant": variant, "width": width, "grid": 9},
        learnt,
        create({"mse": 0.1, "plcc": 0.9}),
        Schedule(epochs=2, lr=1e-3, optimizer="adam", weight_decay=0),
        shown=Shown(BATCH, crop),
    )
    return float(fitted.result.history["seconds"].iloc[-1]) / steps


WAYS = {"plain": plain, "ours": ours}


def measured(way: str, variant: str, steps: int, crop: int) -> float:
    """Seconds of a step of one way in a fresh process, on the CPU."""
    command = [sys.executable, __file__, "--one", way, variant, "--steps", str(steps), "--crop", str(crop)]
    on_cpu = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=on_cpu)
    return json.loads(done.stdout.splitlines()[-1])


def compare(variant: str, rounds: int, steps: int, crop: int) -> dict:
    """One row of the table."""
    found = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way in WAYS:
            found[way].append(measured(way, variant, steps, crop))
    ratios = [p / o for p, o in zip(found["plain"], found["ours"], strict=True)]
    return {
        "variant": variant,
        "width": WIDTHS[variant],
        "crop": crop,
        "batch": BATCH,
        "rounds": rounds,
        "plain_s": statistics.median(found["plain"]),
        "ours_s": statistics.median(found["ours"]),
        "speedup": statistics.median(ratios),
        "speedup_lowest_round": min(ratios),
        "speedup_highest_round": max(ratios),
        "revision": git_revision().get("revision", "")[:10],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--crop", type=int, default=160)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        way, variant = given.one
        print(json.dumps(WAYS[way](variant, WIDTHS[variant], given.steps, given.crop)))
        return
    table = pd.DataFrame([compare(variant, given.rounds, given.steps, given.crop) for variant in WIDTHS])
    write_atomic(results_root("bench") / "full_reference.csv", table.round(4).to_csv(index=False))
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
