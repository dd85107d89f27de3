"""Scoring a folder of images: `inference.stream.predicted` beside the obvious loop, in images a second, and its memory.

The pictures are JPEGs of 500 × 500 pixels (the size of LIVE in the Wild's), cut from the photographs that scikit-image
brings, with noise, written to a temporary folder for the time of the run. The network is a MobileNetV2 with random
weights, which costs what a trained one costs but magnifies what bfloat16 rounds; `--model` takes a trained one, whose
differences are the true ones. The obvious loop reads one picture after the other and computes it alone in float32. Ours
reads in threads ahead of the network, and computes batches in bfloat16 where the machine does. Both ways run in
processes of their own, in turn, each timed after its network is loaded and has seen a few pictures. Memory is the
largest that a process had, for a quarter of the pictures and for all of them. Writes results/bench/score.csv.

    python tests/benchmarks/bench_score.py [--pictures 1000] [--rounds 3] [--model NAME] [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from iqasuite.paths import results_root, write_atomic
from iqasuite.report.provenance import git_revision, peak_memory_mib

SIDE, WARMUP = 500, 16
WAYS = ("plain", "ours")


def make_pictures(folder: Path, n: int) -> None:
    """`n` JPEGs: crops of photographs at random places and scales, with noise, at qualities from 30 to 95."""
    from PIL import Image
    from skimage import data

    rng = np.random.default_rng(0)
    photographs = [
        Image.fromarray(photograph()) for photograph in (data.astronaut, data.coffee, data.chelsea, data.cat)
    ]
    for i in range(n):
        photograph = photographs[i % len(photographs)]
        side = int(rng.integers(200, min(photograph.size)))
        left, top = (int(rng.integers(0, edge - side + 1)) for edge in photograph.size)
        crop = np.asarray(photograph.resize((SIDE, SIDE), box=(left, top, left + side, top + side)), np.float32)
        noisy = (crop + rng.normal(0, rng.uniform(0, 12), crop.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{i:04d}.jpg", quality=int(rng.integers(30, 96)))


def make_weights(path: Path, pictures: list[Path]) -> None:
    """A MobileNetV2 of random weights, whose layers and head tell these pictures apart, with its card."""
    import torch
    from PIL import Image

    from iqasuite import models
    from iqasuite.weights.files import save_weights

    torch.manual_seed(0)
    network = models.create("mobile_nr", base="mobilenet_v2", pretrained=False)
    with torch.no_grad():
        pixels = np.stack([np.asarray(Image.open(path))[:256, :256] for path in pictures])
        x = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
        x = (x - network.mean.view(3, 1, 1)) / network.std.view(3, 1, 1)
        for layer in network.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = None
                layer.train()
        network(x)
        network.eval()
        network.head[-1].weight.div_(network(x).std(0).mean())
    scale = {"name": "continuous", "low": 0, "high": 100}
    save_weights(network, path, {"scale": scale, "preprocessing": {"shorter_side": SIDE}})


def plain(predictor, paths: list[Path]) -> list[float]:
    """Scores by what anybody would write: one picture after the other, in float32."""
    import torch
    from PIL import Image

    scores, votes = [], torch.arange(1.0, 6)
    mean, std = predictor.network.mean.view(3, 1, 1), predictor.network.std.view(3, 1, 1)
    with torch.no_grad():
        for path in paths:
            pixels = torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)
            shares = predictor.network((pixels[None] / 255 - mean) / std).softmax(-1)[0]
            scores.append(predictor.entry.score_of((shares @ votes).item()))
    return scores


def ours(predictor, paths: list[Path]) -> list[float]:
    """Scores by the suite."""
    from iqasuite.inference.stream import predicted

    return [prediction.score for _, prediction in predicted(predictor, paths)]


def one(way: str, model: str, folder: Path, n: int) -> dict:
    """Seconds, scores and peak memory of one way in this process."""
    import torch

    from iqasuite.inference.predictor import Predictor
    from iqasuite.weights.catalogue import find

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or torch.get_num_threads()))
    predictor = Predictor(find(model or folder / "network.safetensors"), "float32" if way == "plain" else "auto")
    if way == "plain":
        from iqasuite.weights.files import load_weights

        predictor.network = load_weights(predictor.entry.path)[0]  # as it is stored, batch norms and all
    score = {"plain": plain, "ours": ours}[way]
    paths = sorted(folder.glob("*.jpg"))[:n]
    score(predictor, paths[:WARMUP])
    began = time.perf_counter()
    scores = score(predictor, paths)
    return {"seconds": time.perf_counter() - began, "scores": scores, "mib": peak_memory_mib()}


def measured(way: str, model: str, folder: Path, n: int) -> dict:
    """`one` in a fresh process, on the CPU."""
    command = [sys.executable, __file__, "--one", way, model, str(folder), str(n)]
    on_cpu = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=on_cpu)
    return json.loads(done.stdout.splitlines()[-1])


def compare(model: str, folder: Path, n: int, rounds: int) -> dict:
    """The row of the table."""
    found = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way in WAYS:
            found[way].append(measured(way, model, folder, n))
    seconds = {way: [each["seconds"] for each in found[way]] for way in WAYS}
    ratios = [p / o for p, o in zip(seconds["plain"], seconds["ours"], strict=True)]
    scores = {way: np.array(found[way][0]["scores"]) for way in WAYS}
    return {
        "model": model or "MobileNetV2, random weights",
        "pictures": n,
        "rounds": rounds,
        "plain_per_s": n / statistics.median(seconds["plain"]),
        "ours_per_s": n / statistics.median(seconds["ours"]),
        "speedup": statistics.median(ratios),
        "speedup_lowest_round": min(ratios),
        "speedup_highest_round": max(ratios),
        "peak_mib_of_a_quarter": measured("ours", model, folder, n // 4)["mib"],
        "peak_mib_of_all": statistics.median(each["mib"] for each in found["ours"]),
        "spread_of_scores": float(np.ptp(scores["plain"])),
        "largest_difference": float(np.abs(scores["plain"] - scores["ours"]).max()),
        "rank_correlation": float(pd.Series(scores["plain"]).corr(pd.Series(scores["ours"]), method="spearman")),
        "revision": git_revision().get("revision", "")[:10],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="", help="a no-reference model that is shown whole pictures of 500 pixels")
    parser.add_argument("--quick", action="store_true", help="120 pictures, one round, no file is written")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        way, model, folder, n = given.one
        print(json.dumps(one(way, model, Path(folder), int(n))))
        return
    n, rounds = (120, 1) if given.quick else (given.pictures, given.rounds)
    with tempfile.TemporaryDirectory() as folder:
        make_pictures(Path(folder), n)
        make_weights(Path(folder) / "network.safetensors", sorted(Path(folder).glob("*.jpg"))[:24])
        table = pd.DataFrame([compare(given.model, Path(folder), n, rounds)]).round(4)
    if not given.quick:
        write_atomic(results_root("bench") / "score.csv", table.to_csv(index=False))
    print(table.T.to_string(header=False))


if __name__ == "__main__":
    main()
