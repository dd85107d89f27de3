"""Run: parameters from the executed cell, files where later runs and the gallery look for them."""

import json
from dataclasses import replace

import matplotlib.figure
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell

from iqasuite.datasets import demo
from iqasuite.errors import InputError
from iqasuite.experiments.parameters import Parameter, parameters_in, settled
from iqasuite.experiments.run import Run
from iqasuite.report.outputs import captions

CELL = """epochs: int = 3  # passes
training: dict = {"lr": 1e-3, "refit": True}  # how
suite: str = "interactive"  # batch
run: str = "04"  # name
seed: int = 7  # of all
"""


@pytest.fixture
def shell(project):
    shell = InteractiveShell.instance()
    yield shell
    InteractiveShell.clear_instance()


def test_parameters_are_those_of_the_executed_cell(shell):
    for cell in ("import time", CELL, 'epochs = 5\nsuite = "s"\nrun = "a"\n', "other: int = 1"):
        shell.run_cell(cell, store_history=True).raise_error()
    shell.run_cell("from iqasuite.experiments.run import Run\nrun = Run.from_notebook()", store_history=True)
    run = shell.user_ns["run"]
    assert (run.suite, run.name) == ("s", "a")
    assert run.parameters == {"epochs": 5, "training": {"lr": 1e-3, "refit": True}, "seed": 7}
    shell.run_cell("run = Run.from_notebook()", store_history=True)  # the cell once more: its name is still known
    assert shell.user_ns["run"].name == "a"


def test_outside_of_a_notebook_it_says_what_is_missing(shell):
    with pytest.raises(InputError, match="no executed cell declares suite and run"):
        Run.from_notebook()


def test_files_lie_where_later_runs_and_the_gallery_look(project):
    run = Run("s", "a", {"seed": 7})
    fig = matplotlib.figure.Figure()
    assert run.figure(fig, "f", "A figure.") is fig
    table = run.table(pd.DataFrame({"x": [1]}), "t", "A table.")
    assert pd.read_csv("results/s/tables/a/t.csv").equals(table)
    assert captions(run.results / "figures" / "a") == {"f": "A figure."}
    run.predictions(table)
    assert pd.read_csv("work/s/predictions/a.csv").equals(table)
    assert run.weights() == run.work / "weights" / "a.safetensors"
    assert run.weights("0_1").name == "a_0_1.safetensors"
    assert run.weights("../x").parent == run.weights().parent


def test_weights_of_the_suite_come_first(project):
    run = Run("s", "a")
    own = run.work / "weights" / "mobile_nr.safetensors"
    own.parent.mkdir(parents=True)
    own.touch()
    assert run.find_weights("mobile_nr") == own
    with pytest.raises(InputError, match="nobody"):
        run.find_weights("nobody")


def test_what_was_used_is_recorded_and_checkpoints_go(project, repository, monkeypatch):
    monkeypatch.setenv("IQASUITE_CACHE", str(repository / ".cache"))  # the demo set is made at most once for all tests
    run = Run("s", "a", {"seed": 7, "epochs": 2})
    data = demo.load()
    split = run.folds(data, 4)
    assert run.folds(data, 4).equals(split) and run.folds(data).equals(split)
    run.checkpoints.mkdir(parents=True)
    assert run.finish({"accuracy": 0.5}) == "a.json"
    described = json.loads((run.results / "runs" / "a.json").read_text())
    assert described["parameters"] == {"seed": 7, "epochs": 2} and described["seeds"] == [7]
    assert described["data"]["name"] == "demo" and len(described["split_hash"]) == 64
    assert described["extra"] == {"accuracy": 0.5} and described["wall_s"] >= 0
    assert not run.checkpoints.exists()


def test_settings_are_laid_over_their_defaults_and_checked():
    parameter = parameters_in(CELL)["training"]
    assert settled({"lr": 1}, parameter, "p") == {"lr": 1, "refit": True}
    for given, message in (
        ({"epohcs": 1}, "p: unknown setting 'epohcs'; expected some of lr, refit"),
        ({"refit": "yes"}, r"p: refit: found 'yes' \(str\); expected bool, such as True"),
        ("fast", r"p: found 'fast' \(str\); expected dict"),
    ):
        with pytest.raises(InputError, match=message):
            settled(given, parameter, "p")


def test_a_mapping_with_keys_of_ones_own_is_taken_as_it_is():
    losses = Parameter("losses", "dict[str, float]", {"mse": 1.0}, "")
    assert settled({"plcc": 0.5}, losses, "p") == {"plcc": 0.5}


@pytest.mark.parametrize("source", ["x = 1", "import os", "%matplotlib inline", "epochs: int"])
def test_other_cells_declare_nothing(source):
    assert parameters_in(source) == {}


def test_the_split_that_comes_with_a_set(project, demo_set):
    images = demo_set.images[["image", "content"]]
    part = images["content"].map({"rocket-1": "val", "rocket-2": "val", "chelsea-1": "test"}).fillna("train")
    own = replace(demo_set, official_split=images.assign(fold=0, part=part))
    split = Run("s", "a").folds(own, 1)
    assert set(split.loc[split["part"] == "test", "content"]) == {"chelsea-1"}
    assert Run("s", "b").folds(own).equals(split)  # the run before has saved it
    with pytest.raises(InputError, match="n_folds=1: no split in train, val and test comes with demo"):
        Run("t", "a").folds(demo_set, 1)
