"""What a batch makes of wrong input: one line that says what and where, exit status other than 0, the rest goes on."""

import json
import shutil
import subprocess
import sys

import pytest

RUNS = """
parameters: {seed: 0}
runs:
  - {name: nobody, notebook: 04_finetune_aio, parameters: {observer: Obs9, network: {start: good}}}
  - {name: fine, notebook: write}
"""
UNKNOWN = "observer 'Obs9' of demo: unknown, expected one of Obs1, Obs2, Obs3, Obs4, Obs5"


@pytest.fixture
def batch(project, repository, monkeypatch):
    """The real notebook of one AIO in a project of its own; the demo set is made at most once for all tests."""
    monkeypatch.setenv("IQASUITE_CACHE", str(repository / ".cache"))
    for name in ("Snakefile", "notebooks/04_finetune_aio.ipynb"):
        shutil.copy(repository / name, project.root / name)
    project.notebook("write", "", "open('written', 'w').write(run)")
    project.suite(RUNS)
    return project.root


def suite_run(name: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "iqasuite", "suite", "run", name]
    return subprocess.run(command, capture_output=True, text=True, timeout=1200)


@pytest.mark.slow
def test_an_unknown_observer_fails_its_run_and_the_rest_goes_on(batch):
    done = suite_run("small")
    assert done.returncode == 1
    assert any("run nobody failed" in line and UNKNOWN in line for line in done.stderr.splitlines()), done.stderr
    results = batch / "results" / "small"
    assert json.loads((results / "runs" / "nobody.json").read_text())["status"] == "failed"
    assert json.loads((results / "runs" / "fine.json").read_text())["status"] == "ok"
    assert (batch / "written").read_text() == "fine"
    assert not list((batch / "work" / "small").glob("predictions/*"))
    assert not list((batch / "work" / "small").glob("weights/*"))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ("{name: nobody, notebook: 04_finetune_aio, parameters: {observers: Obs1}}", "did you mean 'observer'"),
        ("{name: nobody, notebook: 04_finetune_aio, parameters: {training: {epochs: two}}}", "'two' (str)"),
        ("{name: nobody, notebook: 04_finetune, parameters: {}}", "'04_finetune'"),
        ("{name: nobody, notebook: write, parameters: {run: &x [*x]}}", "line 3, key 'run'"),
    ],
)
def test_a_wrong_parameter_stops_the_batch_before_it_starts(batch, changed, words):
    path = batch / "notebooks" / "suites" / "small.yaml"
    path.write_text(f"suite: small\nruns:\n  - {changed}\n  - {{name: fine, notebook: write}}\n")
    done = suite_run("small")
    assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1
    assert not (batch / "results").exists()


def test_an_unknown_suite_is_one_line(batch):
    done = suite_run("smal")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "'smal'" in done.stderr and "small" in done.stderr
