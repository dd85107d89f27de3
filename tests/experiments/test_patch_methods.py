"""Regression on one vector an image, rules without training, and what the files of a set give away."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from iqasuite.experiments import patch_methods as methods

PATCHES = {"base": "spectrum", "size": 32, "overlap": 0.5, "taps": [-1], "pooling": "moments"}


def test_what_tells_the_score_is_learnt_without_the_test_part(task):
    vectors = pd.DataFrame(
        {"x": task.mos / 10, "noise": np.random.default_rng(0).normal(size=12)}, index=task.mos.index
    )
    found = methods.regression(task, vectors, "r", "ridge")
    assert found.groupby(["fold", "part"]).size().to_dict() == {(f, p): 4 for f in (0, 1) for p in ("val", "test")}
    again = methods.regression(task, vectors, "r", "ridge", refit=True)
    assert set(again["model"]) == {"r, refit"}
    of_val, of_test = (found["part"] == part for part in ("val", "test"))
    assert found.loc[of_val, "prediction"].equals(again.loc[of_val, "prediction"])
    error, refitted = ((frame["prediction"] - frame["target"])[of_test].abs().mean() for frame in (found, again))
    assert refitted < error < 30


def test_rules_predict_as_they_are(task):
    found = methods.rule(task, -task.mos, "upside down")
    assert (found["prediction"] == -found["target"]).all() and len(found) == 16


def test_main_axes_are_uncorrelated_and_the_first_has_most(task):
    rng = np.random.default_rng(0)
    x = rng.normal(size=50)
    axes = methods.main_axes(pd.DataFrame({"a": x, "b": x + 0.1 * rng.normal(size=50), "c": rng.normal(size=50)}))
    assert axes.shape == (50, 2) and np.corrcoef(axes.T)[0, 1] == pytest.approx(0, abs=1e-9)
    assert axes[:, 0].std() > axes[:, 1].std()


def test_nuisances_become_numbers_that_are_known_or_columns_of_categories(task):
    nuisances = pd.DataFrame({"height": [100.0, np.nan, *range(10)], "codec": ["a", "b"] * 6}, index=task.mos.index)
    found = methods.file_vectors(replace(task, data=replace(task.data, nuisances=nuisances)))
    assert list(found) == [methods.OF_FILE, "baseline: height alone", "baseline: codec alone"]
    assert found["baseline: height alone"]["known"].tolist() == [1, 0, *[1] * 10]
    assert list(found["baseline: codec alone"]) == ["a", "b"]
    assert found[methods.OF_FILE]["height"].eq(48).all()


def test_a_base_model_describes_patches_as_the_store_does(task, project):
    features = methods.features_of(task.data, PATCHES, methods.shown_at(task.data, []))
    assert list(features) == list(task.mos.index)
    pixels = task.data.read("0.png")
    described = methods.describer(PATCHES)(np.stack([pixels[:32, :32]]))
    assert np.corrcoef(described[0], features["0.png"][0])[0, 1] > 0.999
    assert methods.shown_at(task.data, [24, 32]) == (24, 32)
