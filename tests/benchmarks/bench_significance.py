"""Intervals and all pairwise tests of 10 methods × 10,000 images × 1,000 resamples, beside a loop over scipy.

Ours is `median_scores` and `paired_significance` of a predictions frame (SROCC, every image its own content), whole, on
all cores, each with its own resampling. The loop scores every method in every resample with `scipy.stats.spearmanr`,
which serves intervals and tests alike; it is timed on some of the resamples, in turns with ours, and its time is
proportional to their number. Written to results/bench/significance.csv, with the largest difference between the two in
the resamples that both scored.

    python tests/benchmarks/bench_significance.py
"""

from __future__ import annotations

import os
import statistics
import time

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from iqasuite.evaluation import resampled
from iqasuite.evaluation.benchmark import median_scores, paired_significance
from iqasuite.evaluation.uncertainty import drawn_contents
from iqasuite.inference.predictions import predictions_frame
from iqasuite.paths import results_root, write_atomic

METHODS, IMAGES, RESAMPLES, TIMED, REPETITIONS = 10, 10_000, 1_000, 10, 5


def data() -> tuple[np.ndarray, np.ndarray, pd.DataFrame, pd.Series]:
    """Scores (methods, images), MOS (images,), the same as a predictions frame, contents."""
    rng = np.random.default_rng(0)
    mos = rng.uniform(1, 5, IMAGES)
    scores = mos + rng.normal(size=(METHODS, IMAGES)) * np.linspace(0.4, 0.8, METHODS)[:, None]
    images = [f"i{k:05d}" for k in range(IMAGES)]
    frames = [
        predictions_frame("simulated", f"method {k}", "corrected", 0, 0, "test", "", images, mos, predicted=score)
        for k, score in enumerate(scores)
    ]
    return scores, mos, pd.concat(frames, ignore_index=True), pd.Series(images, index=images)


def by_scipy(scores: np.ndarray, mos: np.ndarray, weights: np.ndarray) -> np.ndarray:
    found = np.empty((len(scores), len(weights)))
    for row, repeats in enumerate(weights.astype(int)):
        drawn = np.repeat(np.arange(len(mos)), repeats)
        for method, score in enumerate(scores):
            found[method, row] = spearmanr(score[drawn], mos[drawn]).statistic
    return found


def measure() -> pd.DataFrame:
    """One row a way: seconds (median) for all resamples, ratio (the loop's time over it), largest difference."""
    scores, mos, predictions, contents = data()
    some = drawn_contents(IMAGES, TIMED)
    ways = {
        "intervals": lambda: median_scores(predictions, contents, RESAMPLES, names=["srocc"]),
        "pairwise tests": lambda: paired_significance(predictions, contents, n_boot=RESAMPLES),
        "loop over scipy": lambda: by_scipy(scores, mos, some),
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    for repetition in range(REPETITIONS + 1):
        for way, compute in ways.items():
            began = time.perf_counter()
            compute()
            if repetition:  # the first round warms up
                times[way].append(time.perf_counter() - began)
    seconds = {way: statistics.median(spent) for way, spent in times.items()}
    seconds["loop over scipy"] *= RESAMPLES / TIMED
    seconds["intervals and pairwise tests"] = seconds["intervals"] + seconds["pairwise tests"]
    difference = np.abs(resampled.sroccs(scores, mos, some) - by_scipy(scores, mos, some)).max()
    rows = [
        (
            "significance",
            way,
            spent,
            seconds["loop over scipy"] / spent,
            difference,
            METHODS,
            IMAGES,
            RESAMPLES,
            os.cpu_count(),
            REPETITIONS,
        )
        for way, spent in seconds.items()
    ]
    columns = ["benchmark", "way", "seconds", "ratio", "largest_difference", "methods", "images", "resamples", "cores"]
    return pd.DataFrame(rows, columns=[*columns, "repetitions"])


def main() -> None:
    table = measure().round({"seconds": 2, "ratio": 1})
    write_atomic(results_root("bench") / "significance.csv", table.to_csv(index=False, lineterminator="\n"))
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
