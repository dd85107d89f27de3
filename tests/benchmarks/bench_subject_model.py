"""Subject model of ITU-T P.910: `fit_subject_model` beside sureal's maximum likelihood, on the same votes.

The votes are those of the lab set (371 images × 21 observers) where `IQASUITE_DATA` has it, else simulated ones of that
size. Both in one process and one thread, in turns; medians over the repetitions. Written to
results/bench/subject_model.csv, with the largest difference between the two estimates.

    python tests/benchmarks/bench_subject_model.py
"""

from __future__ import annotations

import contextlib
import io
import os
import statistics
import time
from types import SimpleNamespace

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: one thread

import numpy as np
import pandas as pd
from sureal.dataset_reader import RawDatasetReader
from sureal.subjective_model import (
    MaximumLikelihoodEstimationModel,
    MaximumLikelihoodEstimationModelContentOblivious,
)

from iqasuite.evaluation.subjects.subject_model import fit_subject_model
from iqasuite.paths import data_root, results_root, write_atomic

REPETITIONS = 7


def vote_table() -> tuple[str, pd.DataFrame, pd.Series]:
    """Name, votes (images, observers) and contents (index image)."""
    path = data_root() / "tta_h265_lab" / "test_1" / "per_user.csv"
    if path.is_file():
        table = pd.read_csv(path, index_col="image_name").filter(regex=r"^user\d+$")
        return "tta_h265_lab", table, pd.Series(table.index.str.split("_crf").str[0], index=table.index)
    rng = np.random.default_rng(0)
    quality, bias, noise = rng.uniform(1, 5, 371), rng.normal(0, 0.3, 21), rng.uniform(0.4, 0.7, 21)
    votes = np.clip(np.round(quality[:, None] + bias + noise * rng.normal(size=(371, 21))), 1, 5)
    table = pd.DataFrame(votes, [f"i{k:03d}" for k in range(371)], [f"user{k + 1}" for k in range(21)])
    return "simulated", table, pd.Series([f"c{k // 10}" for k in range(371)], index=table.index)


def sureal_dataset(table: pd.DataFrame, contents: pd.Series) -> SimpleNamespace:
    code, names = pd.factorize(contents[table.index])
    shown = [
        {"content_id": int(code[k]), "asset_id": k, "path": f"shown{k}", "os": list(row)}
        for k, row in enumerate(table.to_numpy(float))
    ]
    refs = [{"content_id": k, "path": f"ref{k}"} for k in range(len(names))]
    return SimpleNamespace(dataset_name="votes", ref_videos=refs, dis_videos=shown)


def by_sureal(dataset: SimpleNamespace, model: type) -> dict:
    with contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
        return model(RawDatasetReader(dataset)).run_modeling()


def measure() -> pd.DataFrame:
    """One row a model and way: seconds, ratio (sureal's time over ours), largest differences, n votes."""
    name, table, contents = vote_table()
    votes = table.reset_index(names="image").melt("image", var_name="observer", value_name="vote").assign(session=1)
    dataset = sureal_dataset(table, contents)
    rows = []
    for model, peer, given in (
        ("bias and inconsistency", MaximumLikelihoodEstimationModelContentOblivious, None),
        ("with ambiguity", MaximumLikelihoodEstimationModel, contents),
    ):
        ways = {"sureal": lambda p=peer: by_sureal(dataset, p), "ours": lambda g=given: fit_subject_model(votes, g)}
        times: dict[str, list[float]] = {way: [] for way in ways}
        found = {}
        for repetition in range(REPETITIONS + 1):
            for way, fit in ways.items():
                began = time.perf_counter()
                found[way] = fit()
                if repetition:  # the first round warms up
                    times[way].append(time.perf_counter() - began)
        quality = found["ours"].quality.loc[table.index, "value"] - found["sureal"]["quality_scores"]
        bias = found["ours"].bias.loc[table.columns, "value"] - found["sureal"]["observer_bias"]
        difference = max(np.abs(quality).max(), np.abs(bias).max())
        seconds = {way: statistics.median(spent) for way, spent in times.items()}
        for way, spent in seconds.items():
            ratio = seconds["sureal"] / spent
            rows.append(("subject_model", name, model, way, spent, ratio, difference, len(votes), REPETITIONS))
    columns = ["benchmark", "votes", "model", "way", "seconds", "ratio", "largest_difference", "n", "repetitions"]
    return pd.DataFrame(rows, columns=columns)


def main() -> None:
    table = measure().round({"seconds": 4, "ratio": 1, "largest_difference": 10})
    write_atomic(results_root("bench") / "subject_model.csv", table.to_csv(index=False, lineterminator="\n"))
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
