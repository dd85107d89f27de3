"""Predictions kept beside a suite's results, and its scores computed anew from them: nothing is trained for it.

What is kept holds no vote and no score of a set: `targets` are looked up in the set itself, which whoever recomputes
needs. Predicted numbers are rounded to six significant digits: a small probability keeps its logarithm.
"""

from __future__ import annotations

import lzma
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from iqasuite.csv_texts import frame_csv, read_csv, without_guard
from iqasuite.datasets import load
from iqasuite.datasets.dataset import Dataset, first_votes
from iqasuite.datasets.frames import PREDICTIONS, read_frame
from iqasuite.errors import InputError
from iqasuite.experiments.suite import Suite, read_suite
from iqasuite.inference.predictions import P, read_table
from iqasuite.paths import (
    cache_root,
    data_root,
    project_root,
    results_root,
    scratch_folder,
    work_root,
    write_atomic,
)
from iqasuite.report.outputs import significant
from iqasuite.report.provenance import read_runs

OF_OBSERVERS, OF_MOS = "predictions", "mos_predictions"  # folders in work/<suite>, by what is predicted
SCORED_BY = ("05_evaluate_aios", "13_benchmark")  # notebooks that read nothing but predictions, the split and the set
TOLERANCE = 0.005  # between scores of predictions and of those rounded to six digits
_KEYS = ["dataset", "model", "protocol", "observer", "part", "metric"]
_TEXTS = ["run", "dataset", "model", "protocol", "part", "observer", "image"]


def keep(suite: Suite) -> list[Path]:
    """Write `results/<suite>/predictions/<kind>.csv.xz` from what a suite's runs predicted; nothing where none did.

    Returns:
        The files, the same bytes for the same predictions.
    """
    written, names = [], {run.name for run in suite.runs}
    for kind in (OF_OBSERVERS, OF_MOS):
        files = sorted(path for path in (work_root(suite.name) / kind).glob("*.csv") if path.stem in names)
        if not files:
            continue
        frames = [read_table(path).drop(columns="target").assign(run=path.stem) for path in files]
        together = pd.concat(frames, ignore_index=True)[["run", *(c for c in PREDICTIONS if c != "target")]]
        content = lzma.compress(frame_csv(significant(together)).encode())
        written.append(write_atomic(results_root(suite.name) / "predictions" / f"{kind}.csv.xz", content))
    return written


def recompute(name: str) -> pd.DataFrame:
    """Scores of a suite from its kept predictions, beside those in its results.

    The notebooks `SCORED_BY` are executed in a folder of their own, with the suite's parameters.

    Args:
        name: of the suite.

    Returns:
        dataset, model, protocol, observer, part, metric, and value, low, high of the results and, with the suffix
        "_again", of the recomputed ones; rows of these notebooks only.

    Raises:
        InputError: no kept predictions, no such notebook in the suite, a set whose files are absent, or a notebook
            that stops with an error.
    """
    suite, results = read_suite(name), results_root(name)
    runs = [run.name for run in suite.runs if run.notebook in SCORED_BY]
    files = sorted((results / "predictions").glob("*.csv.xz"))
    if not runs or not files:
        found = f"{len(files)} files of predictions in {results / 'predictions'}, {len(runs)} runs of notebooks"
        raise InputError(f"suite {name}: {found} {', '.join(SCORED_BY)}; expected one or more of each")
    described = read_runs(name)
    datasets = [str(described[run]["parameters"]["dataset"]) for run in runs if run in described]
    by_path = {path: load(path, missing="drop") for path in dict.fromkeys(datasets)}
    by_name = {data.name: data for data in by_path.values()}
    with scratch_folder() as root:
        shutil.copytree(project_root() / "notebooks", root / "notebooks")
        shutil.copytree(results / "tables" / "split", root / "results" / name / "tables" / "split")
        for dataset in map(Path, by_path):
            if not dataset.is_absolute() and (project_root() / dataset).exists():  # a study in the project's folder
                (root / dataset).parent.mkdir(parents=True, exist_ok=True)
                (root / dataset).symlink_to(project_root() / dataset)
        for file in files:
            _restore(file, root / "work" / name / file.name.removesuffix(".csv.xz"), by_name)
        for run in runs:
            _execute(root, name, run)
        again = [_scores(root / "results" / name, run) for run in runs]
    before = [_scores(results, run) for run in runs]
    return pd.concat(before).merge(pd.concat(again), on=_KEYS, how="outer", suffixes=("", "_again"))


def largest_difference(compared: pd.DataFrame) -> float:
    """Between scores and ends of intervals in the results and those of `recompute`; infinite where one is missing."""
    before, again = (compared[[f"{c}{s}" for c in ("value", "low", "high")]].to_numpy(float) for s in ("", "_again"))
    if (np.isnan(before) != np.isnan(again)).any():
        return float("inf")
    return float(np.nanmax(np.abs(before - again), initial=0.0))


def kept(file: Path) -> pd.DataFrame:
    """Predictions of a file of `keep`: columns run and those of a predictions frame, without target.

    Raises:
        InputError: it is none.
    """
    numbers = {column: [""] for column in ("prediction", *P)}
    expected = "predictions as `iqasuite gallery` keeps them"
    frame = read_csv(file, expected, dtype=dict.fromkeys(_TEXTS, str), keep_default_na=False, na_values=numbers)
    absent = {"run", *PREDICTIONS} - {"target", *frame.columns}
    if absent:
        raise InputError(f"{file}: no column {', '.join(sorted(absent))}; expected {expected}")
    return frame.assign(**{column: frame[column].map(without_guard) for column in _TEXTS})


def _restore(file: Path, into: Path, sets: Mapping[str, Dataset]) -> None:
    """Predictions of these sets as the runs left them, with the targets that the sets give now."""
    frame = kept(file)
    for run, own in frame[frame["dataset"].isin(sets)].groupby("run", sort=False):
        of_sets = [
            each.assign(target=_targets(sets[str(name)], each, into.name == OF_MOS))
            for name, each in own.groupby("dataset", sort=False)
        ]
        write_atomic(into / f"{run}.csv", frame_csv(pd.concat(of_sets).sort_index()[list(PREDICTIONS)]))


def _targets(data: Dataset, predicted: pd.DataFrame, of_mos: bool) -> np.ndarray:
    """Of each prediction the observer's first vote, the mean of all first votes, or the set's MOS; nan where none."""
    if of_mos:
        return data.images.set_index("image")["mos"].reindex(predicted["image"]).to_numpy(float)
    votes = first_votes(data.votes)
    own = votes.set_index(["observer", "image"])["vote"].astype(float)
    mean = votes.groupby("image")["vote"].mean().reindex(predicted["image"]).to_numpy(float)
    of_observer = own.reindex(pd.MultiIndex.from_frame(predicted[["observer", "image"]])).to_numpy()
    return np.where(predicted["observer"] == "", mean, of_observer)


def _execute(root: Path, suite: str, run: str) -> None:
    folders = {"IQASUITE_DATA": data_root(), "IQASUITE_CACHE": cache_root()}
    command = [sys.executable, "-m", "iqasuite", "run-notebook", suite, run]
    environment = dict(os.environ) | {name: str(path.resolve()) for name, path in folders.items()}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"suite {suite}, run {run}, computed anew: {(done.stderr.splitlines() or ['no word'])[-1]}")


def _scores(results: Path, run: str) -> pd.DataFrame:
    return read_frame(results / "tables" / run / "scores.csv", "scores")[[*_KEYS, "value", "low", "high"]]
