"""Data-parallel training of ViT-IQA on this machine: images a second of several processes beside those of one.

All ways train on the same batches, each process with one thread of its own (on GPUs: one GPU of its own); "threads" is
one process with as many threads as there are processes, the obvious way to use a CPU's cores. Each way runs in a fresh
process, the ways in turn, so that all meet the same load; starting the other processes and each first epoch are left
out. `weights_differ_by` is the largest difference between the parameters of one and of several processes after these
steps without dropout, `weights_moved_by` the largest change since their start. Writes results/bench/data_parallel.csv.

    python tests/benchmarks/bench_data_parallel.py [--size small] [--processes 2] [--batch 32] [--rounds 3] [--steps 3]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

WAYS = ("one", "threads", "processes")


def train(size: str, batch: int, steps: int, weights: Path) -> list[float]:
    """Seconds of each step but the first, epochs of one batch; the weights before and afterwards go into a file."""
    import torch

    from iqasuite import models
    from iqasuite.training import losses
    from iqasuite.training.batches import ArrayBatches
    from iqasuite.training.loop import Schedule, fit

    torch.manual_seed(0)
    model = models.create("vit_iqa", trunk={"size": size, "dropout": 0.0, "emb_dropout": 0.0})
    start = {name: parameter.detach().cpu().clone() for name, parameter in model.named_parameters()}
    batches = ArrayBatches(torch.randn(batch, 3, 256, 256), losses.soft_labels(torch.randint(1, 6, (batch,))), batch)
    result = fit(model, batches, None, losses.soft_cross_entropy, Schedule(epochs=steps + 1, lr=5e-5))
    torch.save([start, {name: parameter.detach().cpu() for name, parameter in model.named_parameters()}], weights)
    return result.history["seconds"].tolist()[1:]


def measured(way: str, given: argparse.Namespace, weights: Path) -> float:
    """Images a second of one way, in a fresh process."""
    n = given.processes if way == "processes" else 1
    threads = 1 if way == "one" else given.processes  # all processes together
    places = {"IQASUITE_TRAINING_PROCESSES": str(n), "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, __file__, "--one", str(weights), "--size", given.size]
    command += ["--batch", str(given.batch), "--steps", str(given.steps)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | places)
    return given.batch / statistics.median(json.loads(done.stdout.splitlines()[-1]))


def differences(one: Path, several: Path) -> dict[str, float]:
    import torch

    (start, first), (_, second) = (torch.load(path, weights_only=True) for path in (one, several))

    def largest(a: dict, b: dict) -> float:
        return max((a[name] - b[name]).abs().max().item() for name in a)

    return {"weights_differ_by": largest(first, second), "weights_moved_by": largest(start, first)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="small", choices=["tiny", "small", "paper"])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32, help="images a step, of all processes together")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(train(given.size, given.batch, given.steps, given.one)))
        return

    import torch

    from iqasuite.paths import results_root, write_atomic

    speeds: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(given.rounds):
            for way in WAYS:
                speeds[way].append(measured(way, given, Path(folder) / way))
        differ = differences(Path(folder) / "one", Path(folder) / "processes")
    rows = []
    for way, values in speeds.items():
        ratios = [value / one for value, one in zip(values, speeds["one"], strict=True)]
        row = {"size": given.size, "batch": given.batch, "rounds": given.rounds, "steps": given.steps, "way": way}
        row |= {"processes": given.processes if way == "processes" else 1, "gpus": torch.cuda.device_count()}
        row |= {"images_per_s": round(statistics.median(values), 3), "ratio": round(statistics.median(ratios), 3)}
        row |= {"lowest_round": round(min(ratios), 3), "highest_round": round(max(ratios), 3)}
        rows.append(row | (differ if way == "processes" else {}))
    table = pd.DataFrame(rows)
    write_atomic(results_root("bench") / "data_parallel.csv", table.to_csv(index=False, float_format="%.3g"))
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
