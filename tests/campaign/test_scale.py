"""100,000 images without pixels and 1,000 simulated observers through the whole chain; memory stays bounded.

python tests/campaign/test_scale.py [images] [observers]      # seconds and peak memory of each step, as CSV
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from iqasuite.csv_texts import frame_csv
from iqasuite.datasets import splits
from iqasuite.datasets.dataset import Dataset, Scale, first_votes, mean_votes
from iqasuite.datasets.frames import IMAGES, read_frame, validate
from iqasuite.evaluation.benchmark import median_scores, paired_significance
from iqasuite.evaluation.subjects.population import estimate_population
from iqasuite.inference.predictions import predictions_frame, read_predictions
from iqasuite.paths import write_atomic
from iqasuite.report.provenance import peak_memory_mib
from iqasuite.training.feature_store import opened, store
from iqasuite.training.few_shot import PEOPLE, Observer, fit_observer

MIB = 2**20
MEMORY = 2 * 2**30  # bytes
DIM, BLOCK = 64, 4096  # features of an image, images computed at once


def simulated(n_images: int, n_observers: int):
    """Names of images, their quality, and the votes of observers drawn from the population on 200 of them each."""
    rng = np.random.default_rng(0)
    names = np.array([f"photographs/{i // 5:06d}/{i:07d}.jpg" for i in range(n_images)])
    quality = rng.uniform(1, 5, n_images)
    frames = []
    for k in range(n_observers):
        rated = rng.choice(n_images, min(200, n_images), replace=False)
        p = Observer(PEOPLE, PEOPLE.mean() + PEOPLE.sd() * rng.standard_normal(6), np.zeros((6, 6)))
        vote = 1 + (rng.random((len(rated), 1)) > p.distribution(quality[rated]).cumsum(1)[:, :4]).sum(1)
        position = np.arange(1, len(rated) + 1)
        frames.append(
            pd.DataFrame(
                {
                    "observer": f"o{k}",
                    "session": 1,
                    "position": position,
                    "image": names[rated],
                    "vote": vote,
                    "duration": np.nan,
                    "timestamp": pd.NaT,
                }
            )
        )
    return names, quality, validate(pd.concat(frames, ignore_index=True), "votes")


def steps(n_images: int, n_observers: int, folder: Path):
    """Names of the steps, each after it was done."""
    names, quality, votes = simulated(n_images, n_observers)
    yield "simulated votes"
    images = pd.DataFrame({"image": names, "content": [name.split("/")[1] for name in names]}).reindex(
        columns=list(IMAGES)
    )
    means = images.drop(columns=["mos", "mos_std", "n_votes"]).merge(mean_votes(first_votes(votes)), how="left")
    images = validate(means.fillna({"n_votes": 0}).assign(reference="", distortion=""), "images")
    write_atomic(folder / "images.csv", frame_csv(images))
    write_atomic(folder / "votes.csv", frame_csv(votes))
    images, votes = read_frame(folder / "images.csv", "images"), read_frame(folder / "votes.csv", "votes")
    data = Dataset("scale", folder, images, votes, Scale(1, 5), simulated=True, has_pixels=False)
    assert len(data.hash()) == 64 and len(data.observers()) == n_observers
    yield "manifest"
    split = splits.kept_split(folder / "split.csv", images, 5)
    assert splits.part_table(split, images)["images"].sum() == 5 * n_images
    yield "five folds, saved, read and audited"

    def compute(some, first):
        for start in range(first, len(some), BLOCK):
            at = [int(name[-11:-4]) for name in some[start : start + BLOCK]]
            yield quality[at, None] * np.linspace(0, 1, DIM)

    listed = names.tolist()
    index = {"settings": {"made": "here"}, "dim": DIM, "images": listed, "contents": listed}
    index |= {"grids": [(1, 1)] * n_images, "sizes": [(1, 1)] * n_images}
    made = store(folder / "store", index, BLOCK, compute)
    assert store(folder / "store", index, BLOCK, compute) == made
    np.testing.assert_allclose(opened(made)[1][:, -1], quality, rtol=1e-3)
    yield "feature store"
    known = pd.Series(quality, index=names)
    grouped = [(known[own["image"]].to_numpy(), own["vote"].to_numpy()) for _, own in votes.groupby("observer")]
    fitted = [fit_observer(PEOPLE, q[:20], v[:20]) for q, v in grouped]
    assert all(np.isfinite(observer.estimate).all() for observer in fitted)
    yield "observers from 20 votes"
    population = estimate_population(votes, known)
    assert abs(population.bias_sd - PEOPLE.bias_sd) < 0.15
    yield "population, all observers jointly"
    for model, noise in (("a", 0.5), ("b", 0.6), ("c", 1.0)):
        of_folds = []
        for fold in range(5):
            for part in ("val", "test"):
                some = splits.part(split, fold, part)
                target = known[some].to_numpy()
                scores = target + noise * np.random.default_rng(fold).standard_normal(len(some))
                of_folds.append(predictions_frame("scale", model, "p", 0, fold, part, "", some, target, scores))
        write_atomic(folder / "predictions" / f"{model}.csv", frame_csv(pd.concat(of_folds)))
    predictions = read_predictions(folder / "predictions", "scale", split)
    yield "predictions of three methods, saved and read"
    contents = images.set_index("image")["content"]
    table = median_scores(predictions, contents, n_boot=100, names=("srocc", "plcc", "rmse"))
    assert table.set_index(["model", "metric"])["value"]["a", "srocc"] > 0.9
    pairs = paired_significance(predictions, contents, n_boot=100)
    assert (pairs["p_holm"] < 0.05).all() and pairs["model"].iloc[0] == "a"
    yield "benchmark tables"


def measure(n_images: int, n_observers: int) -> None:
    print("step,images,observers,seconds,cpu_seconds,peak_memory_mib", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        for step in steps(n_images, n_observers, Path(folder)):
            spent = time.perf_counter() - wall, time.process_time() - cpu
            print(f'"{step}",{n_images},{n_observers},{spent[0]:.1f},{spent[1]:.1f},{peak_memory_mib()}', flush=True)
            wall, cpu = time.perf_counter(), time.process_time()


def test_images_and_observers_by_the_thousand(share):
    if not share:
        pytest.skip("IQASUITE_CAMPAIGN is not set: it takes a minute")
    command = [sys.executable, __file__]
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    print(done.stdout)
    assert float(done.stdout.strip().rpartition(",")[2]) * MIB < MEMORY, done.stdout


if __name__ == "__main__":
    measure(*(int(number) for number in (*sys.argv[1:], *("100000", "1000")[len(sys.argv) - 1 :])))
