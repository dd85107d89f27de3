"""The smoke suite in a copy of the tree: what a newcomer's first `make suite` does.

Artificial observers, their ratings, evaluation and attention are those of the study in test_study.py, so they are left
out here: together the two execute every notebook.
"""

import json
import os
import shutil
import subprocess
import sys
from itertools import groupby

import pandas as pd
import pytest
import yaml

from iqasuite.experiments.suite import known_suites, read_suite

COPIED = ("Snakefile", "notebooks", "playlists", "weights")
OF_THE_STUDY = {"ratings", "sheet", "aio_{observer}_0", "evaluate", "attention"}


@pytest.mark.slow
def test_smoke_suite_runs_from_end_to_end(repository, tmp_path, monkeypatch):
    for name in COPIED:
        source = repository / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
        elif source.is_file():
            shutil.copy(source, tmp_path / name)
    shorten(tmp_path / "notebooks" / "suites" / "smoke.yaml")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("IQASUITE_")}
    environment["IQASUITE_CACHE"] = str(repository / ".cache")  # the demo set is made at most once for all tests
    done = subprocess.run(
        [sys.executable, "-m", "iqasuite", "suite", "run", "smoke", "--jobs", "1"],  # the other core has its own tests
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    monkeypatch.chdir(tmp_path)
    results = tmp_path / "results" / "smoke"
    executed = {path.stem for path in (results / "notebooks").glob("*.html")}
    for kind, runs in groupby(read_suite("smoke").runs, lambda run: run.template):
        names = [run.name for run in runs]
        for name in names:
            assert json.loads((results / "runs" / f"{name}.json").read_text())["status"] == "ok"
        shown = [name for name in names if name in executed]
        assert len(shown) == 1, kind  # one executed notebook of a kind
        assert "it/s]" not in (results / "notebooks" / f"{shown[0]}.ipynb").read_text()  # lines, no progress bars
    assert (results / "scores.csv").is_file() and (results / "README.md").is_file()
    asked_about_photographs_that_taught_nothing(tmp_path / "work" / "smoke", "fr_plcc")
    for file in results.rglob("*"):
        assert not file.is_file() or str(tmp_path).encode() not in file.read_bytes(), file


def shorten(path):
    suite = yaml.safe_load(path.read_text())
    assert {run["name"] for run in suite["runs"]} > OF_THE_STUDY
    suite["runs"] = [run | {"cores": 1} for run in suite["runs"] if run["name"] not in OF_THE_STUDY]
    path.write_text(yaml.safe_dump(suite | {"highlights": []}))


def test_smoke_and_the_study_execute_every_notebook(repository):
    of_the_study = {"01_look_at_the_ratings", "02_data_sets", "05_evaluate_aios", "06_attention_maps"}  # test_study.py
    suite = yaml.safe_load((repository / "notebooks" / "suites" / "smoke.yaml").read_text())
    here = {run["notebook"] for run in suite["runs"] if run["name"] not in OF_THE_STUDY}
    assert here | of_the_study == {path.stem for path in (repository / "notebooks").glob("*.ipynb")}


def asked_about_photographs_that_taught_nothing(work, run):
    card = json.loads((work / "weights" / f"{run}_0_0.json").read_text())
    predictions = pd.read_csv(work / "pair_predictions" / f"{run}.csv")
    asked = predictions[predictions["dataset"] == "demo"]["image"]
    assert len(asked) >= 25 and len(card["photographs"]) == 5
    assert not any(photograph in image for image in asked for photograph in card["photographs"])


def test_smoke_runs_every_notebook_of_the_demo(repository, monkeypatch):
    monkeypatch.chdir(repository)
    assert "smoke" in known_suites()
    folder = repository / "notebooks" / "suites"
    used = {
        name: {run["notebook"] for run in yaml.safe_load((folder / f"{name}.yaml").read_text())["runs"]}
        for name in ("smoke", "demo")
    }
    assert used["demo"] <= used["smoke"]
