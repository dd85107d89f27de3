"""The scores frame: columns, pooled values, the joint interval of the mean over people."""

import numpy as np
import pandas as pd
import pytest

from iqasuite.datasets.frames import SCORES
from iqasuite.errors import InputError
from iqasuite.evaluation import metrics
from iqasuite.evaluation.scores import score_frame
from iqasuite.inference.predictions import P, predictions_frame


@pytest.fixture(scope="module")
def data(simulate):
    return simulate.people([-0.5, 0.0, 0.5], [0.4, 0.4, 0.4], contents=15, each=8)


def test_rows_are_the_plain_metrics_and_their_mean(simulate, data):
    predictions = simulate.aios(data)
    found = score_frame(predictions, data.contents, n_boot=200)
    assert list(found.columns) == list(SCORES)
    assert found["observer"].unique().tolist() == ["user1", "user2", "user3", "mean"]
    for observer, own in predictions.groupby("observer"):
        plain = metrics.evaluate_votes(own[P].to_numpy(), own["target"].to_numpy())
        rows = found[found["observer"] == observer].set_index("metric")
        assert set(rows.index) == set(plain)
        for metric, value in plain.items():
            assert rows.loc[metric, "value"] == pytest.approx(value, abs=1e-6)
            assert rows.loc[metric, "low"] <= value + 1e-9 and value - 1e-9 <= rows.loc[metric, "high"]
    people_rows = found[found["observer"] != "mean"]
    mean = found[found["observer"] == "mean"].set_index("metric")
    np.testing.assert_allclose(people_rows.groupby("metric")["value"].mean()[mean.index], mean["value"])
    assert (mean["n"] == 3 * 120).all() and (people_rows["n"] == 120).all() and (found["seeds"] == "0").all()


def test_the_mean_shares_its_resamples(simulate, data):
    one = simulate.aios(data).query("observer == 'user1'")
    alike = pd.concat([one.assign(observer=f"user{n}") for n in (1, 2, 3)])
    found = score_frame(alike, data.contents, n_boot=300).query("metric == 'accuracy'").set_index("observer")
    # Three identical people are one person: resampling them apart would shrink the interval of their mean.
    assert found.loc["mean", "low"] == pytest.approx(found.loc["user1", "low"])
    assert found.loc["mean", "high"] == pytest.approx(found.loc["user1", "high"])


def test_seeds_are_averaged_and_named(simulate, data):
    both = pd.concat([simulate.aios(data, seed=1, run_seed=0), simulate.aios(data, seed=2, run_seed=7)])
    found = score_frame(both, data.contents, n_boot=50)
    parts = [score_frame(both[both["seed"] == s], data.contents, n_boot=0) for s in (0, 7)]
    np.testing.assert_allclose(found["value"], (parts[0]["value"] + parts[1]["value"]) / 2)
    assert (found["seeds"] == "0,7").all() and (found["n"] == parts[0]["n"]).all()


def test_intervals_are_as_wide_as_the_trainings_lie_apart(data):
    """Trainings whose constant errors are known: no content changes their rmse, other trainings do."""
    errors = np.random.default_rng(5).normal(1, 0.2, 8)
    frames = [
        predictions_frame("d", "mos", "corrected", seed, 0, "test", "", data.quality.index, data.quality, shifted)
        for seed, shifted in enumerate(data.quality.to_numpy() + errors[:, None])
    ]
    for trainings in (8, 2):
        found = score_frame(pd.concat(frames[:trainings]), data.contents, n_boot=1000).set_index("metric").loc["rmse"]
        assert found["value"] == pytest.approx(np.abs(errors[:trainings]).mean())
        expected = 2 * 1.96 * errors.std(ddof=1) / np.sqrt(8) if trainings > 2 else 0  # two say nothing of others
        assert found["high"] - found["low"] == pytest.approx(expected, rel=0.1, abs=1e-9)


def test_models_of_mos_are_scored_with_correlations(data):
    score = np.exp(data.quality)
    frame = predictions_frame("d", "mos", "corrected", 0, 0, "test", "", score.index, data.quality, predicted=score)
    found = score_frame(frame, data.contents, n_boot=100).set_index("metric")
    assert set(found.index) == {"srocc", "plcc", "plcc_logistic", "krcc", "rmse", "mae"}
    assert found.loc["srocc", "value"] == pytest.approx(1)
    assert found.loc["plcc_logistic", "value"] > found.loc["plcc", "value"]
    assert (found["observer"] == "").all()


def test_people_who_rated_other_contents_have_intervals_too(simulate, data):
    predictions = simulate.aios(data)
    partly = predictions[(predictions["observer"] != "user1") | (predictions["image"] < "i008")]  # one content only
    found = score_frame(partly, data.contents, n_boot=200)
    assert np.isfinite(found.query("observer == 'mean' and metric == 'accuracy'")[["low", "high"]]).all(axis=None)


def test_images_that_a_person_has_not_rated_count_for_nothing(simulate, data):
    predictions = simulate.aios(data)
    unrated = (predictions["observer"] == "user2") & (predictions["image"] < "i050")
    with_gaps = predictions.assign(target=predictions["target"].mask(unrated))
    found = score_frame(with_gaps, data.contents, n_boot=50)
    pd.testing.assert_frame_equal(found, score_frame(predictions[~unrated], data.contents, n_boot=50))
    assert found.loc[found["observer"] == "user2", "n"].eq(70).all()


def test_doubled_images_and_missing_contents_are_refused(simulate, data):
    predictions = simulate.aios(data)
    with pytest.raises(InputError, match="twice, expected once a seed"):
        score_frame(pd.concat([predictions, predictions.head(1)]), data.contents)
    with pytest.raises(InputError, match="contents: none for image"):
        score_frame(predictions, data.contents.drop("i005"))
