"""Training step of ViT-IQA on this machine: `iqasuite.training.loop.fit` beside the plain vit-pytorch float32 loop.

Each way runs in a process of its own, the two in turn, so that both meet the same load and each has its own peak
memory. Time is the median over all steps but the first of each process. Writes results/bench/training_step.csv.

    python tests/benchmarks/bench_training_step.py [--sizes small paper] [--rounds 3] [--steps 3]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import pandas as pd

BATCH = {"tiny": 32, "small": 32, "paper": 16}


def plain(size: str, batch: int, steps: int) -> list[float]:
    """Seconds of each step of what anybody would write: vit-pytorch's network, torch's Adam, float32."""
    import torch
    import torch.nn.functional as F
    from vit_pytorch.vit_for_small_dataset import ViT

    from iqasuite.models.vit_iqa import SIZES

    model = ViT(image_size=256, patch_size=16, num_classes=5, emb_dropout=0.1, **SIZES[size])
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-5)
    images, votes = torch.randn(batch, 3, 256, 256), torch.randint(0, 5, (batch,))
    seconds = []
    for _ in range(steps + 1):
        began = time.perf_counter()
        optimizer.zero_grad()
        F.cross_entropy(model(images), votes).backward()
        optimizer.step()
        seconds.append(time.perf_counter() - began)
    return seconds


def ours(size: str, batch: int, steps: int) -> list[float]:
    """Seconds of each step of the suite's loop: epochs of one batch."""
    import torch

    from iqasuite import models
    from iqasuite.training import losses
    from iqasuite.training.batches import ArrayBatches
    from iqasuite.training.loop import Schedule, fit

    model = models.create("vit_iqa", trunk={"size": size})
    images, votes = torch.randn(batch, 3, 256, 256), torch.randint(1, 6, (batch,))
    batches = ArrayBatches(images, losses.soft_labels(votes), batch)
    schedule = Schedule(epochs=steps + 1, lr=5e-5, optimizer="adam", weight_decay=0, grad_clip=None)
    return fit(model, batches, None, losses.soft_cross_entropy, schedule).history["seconds"].tolist()


WAYS = {"plain": plain, "ours": ours}


def measured(way: str, size: str, batch: int, steps: int) -> dict:
    """Run one way in a fresh process: seconds of its steps, the first left out, and its peak memory in MiB."""
    command = [sys.executable, __file__, "--one", way, "--sizes", size, "--batch", str(batch), "--steps", str(steps)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def compare(size: str, batch: int, steps: int, rounds: int) -> dict:
    """One row of the table."""
    runs = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way in WAYS:
            runs[way].append(measured(way, size, batch, steps))
    row: dict = {"size": size, "batch": batch, "rounds": rounds, "steps": steps}
    for way, found in runs.items():
        seconds = statistics.median(s for run in found for s in run["seconds"])
        row |= {f"{way}_images_per_s": batch / seconds, f"{way}_peak_mib": max(run["peak_mib"] for run in found)}
    pairs = zip(runs["plain"], runs["ours"], strict=True)
    ratios = [statistics.median(p["seconds"]) / statistics.median(o["seconds"]) for p, o in pairs]
    return (
        row
        | matmul_rates()
        | {
            "speedup": row["ours_images_per_s"] / row["plain_images_per_s"],
            "speedup_lowest_round": min(ratios),
            "speedup_highest_round": max(ratios),
            "memory_ratio": row["ours_peak_mib"] / row["plain_peak_mib"],
        }
    )


def matmul_rates() -> dict:
    """Best rates of matrix products in 10⁹ operations/s: what the machine's arithmetic alone allows as a speed-up."""
    import torch

    rates = {}
    for name, dtype in (("float32", torch.float32), ("bf16", torch.bfloat16)):
        a, b, fastest = torch.ones(2048, 1024, dtype=dtype), torch.ones(1024, 1024, dtype=dtype), float("inf")
        for _ in range(20):
            began = time.perf_counter()
            a @ b
            fastest = min(fastest, time.perf_counter() - began)
        rates[f"{name}_gflops"] = 2 * 2048 * 1024 * 1024 / fastest / 1e9
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["small", "paper"], choices=list(BATCH))
    parser.add_argument("--batch", type=int, help="images a step; 32, at paper size 16")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", choices=list(WAYS), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        seconds = WAYS[given.one](given.sizes[0], given.batch, given.steps)[1:]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": seconds, "peak_mib": peak}))
        return

    from iqasuite.paths import results_root, write_atomic

    rows = [compare(size, given.batch or BATCH[size], given.steps, given.rounds) for size in given.sizes]
    table = pd.DataFrame(rows).round(3)
    write_atomic(results_root("bench") / "training_step.csv", table.to_csv(index=False))
    print(table.T.to_string(header=False))


if __name__ == "__main__":
    main()
