"""People with few votes: in every table with their n, and without weight in a mean over people."""

import logging

import numpy as np
import pandas as pd
import pytest

from iqasuite.datasets.frames import LEAST_IMAGES
from iqasuite.evaluation.scores import score_frame
from iqasuite.evaluation.subjects import agreement, aios, observers, repetition, screening, subject_model
from iqasuite.training.aio import LEAST_VOTES

MEASURES = ["value", "low", "high"]


@pytest.fixture(scope="module")
def data(simulate):
    return simulate.people([-0.5, 0.0, 0.5, 1.5], [0.4, 0.4, 0.4, 0.4])


def with_few(frame, n, images=None):
    """The frame with but `n` images of user4, who votes a vote and a half above the others."""
    kept = sorted(frame["image"].unique())[::12][:n] if images is None else images
    return frame[(frame["observer"] != "user4") | frame["image"].isin(kept)]


def test_who_gets_an_aio_has_enough_to_be_counted():
    assert LEAST_VOTES["test"] == LEAST_VOTES["val"] == LEAST_IMAGES <= LEAST_VOTES["train"]


@pytest.mark.parametrize("n", [1, 2, LEAST_IMAGES - 1, LEAST_IMAGES])
def test_the_mean_over_people_is_of_those_with_enough_images(simulate, data, n, caplog):
    predictions = simulate.aios(data)
    with caplog.at_level(logging.WARNING):
        found = score_frame(with_few(predictions, n), data.contents, n_boot=50)
    person = found[found["observer"] == "user4"]
    assert len(person) and (person["n"] == n).all()
    mean = found[found["observer"] == "mean"].reset_index(drop=True)
    others = score_frame(predictions[predictions["observer"] != "user4"], data.contents, n_boot=50)
    without = others[others["observer"] == "mean"].reset_index(drop=True)
    few = n < LEAST_IMAGES
    assert person.set_index("metric").loc[["accuracy", "mae"], "value"].notna().all()  # their own, beside their n
    assert np.isnan(person.set_index("metric").loc["srocc", "value"]) == (n < 3)
    assert (f"user4 ({n} of part test)" in caplog.text) == few
    if few:
        pd.testing.assert_frame_equal(mean, without)
    else:
        assert (mean["value"] != without["value"]).any() and (mean["n"] == 3 * 200 + n).all()


def test_without_anybody_who_counts_there_is_no_mean(simulate, data):
    few = simulate.aios(data)
    few = few[few["image"].isin(["i000", "i050", "i100"])]
    found = score_frame(few, data.contents, n_boot=20)
    mean = found[found["observer"] == "mean"]
    assert len(mean) and mean[MEASURES].isna().all(axis=None) and (mean["n"] == 0).all()
    assert found[found["metric"] == "accuracy"]["value"].notna().sum() == 4


def test_of_two_contents_there_is_no_interval(simulate, data):
    few = simulate.aios(data)
    few = few[few["image"] < "i020"]  # ten images of each
    found = score_frame(few, data.contents, n_boot=50)
    assert found["value"].notna().all() and found[["low", "high"]].isna().all(axis=None)


def test_specificity_says_nothing_of_people_with_few_images(simulate, data):
    predictions, votes = simulate.aios(data), with_few(data.votes, 3)
    found = aios.specificity(predictions, votes, data.contents, n_boot=50)
    person = found[found["observer"] == "user4"]
    assert (person["n"] == 3).all() and person[["own", "other", "gain", "low", "high", "p", "p_holm"]].isna().all(
        axis=None
    )
    others = aios.specificity(predictions, votes[votes["observer"] != "user4"], data.contents, n_boot=50)
    rest = found[found["observer"] != "user4"].reset_index(drop=True)
    pd.testing.assert_frame_equal(rest, others)  # nor is a p-value adjusted for them


def test_specificity_is_summed_up_over_those_who_count(simulate, data):
    predictions = simulate.aios(data)
    found = aios.specificity_summary(predictions, with_few(data.votes, 4), data.contents, n_boot=50)
    without = aios.specificity_summary(
        predictions, data.votes[data.votes["observer"] != "user4"], data.contents, n_boot=50
    )
    assert (found["observers"] == 3).all() and set(found["metric"]) == {"accuracy", "qwk", "srocc"}
    pd.testing.assert_frame_equal(found, without)
    nobody = data.votes[data.votes["image"].isin(["i000", "i050", "i100"])]
    nothing = aios.specificity_summary(predictions, nobody, data.contents, n_boot=20).set_index("metric")
    assert nothing.loc["accuracy", "observers"] == 0 and np.isnan(nothing.loc["accuracy", "gain"])


def test_agreement_of_few_images_is_a_dash_beside_its_n(data):
    votes = with_few(data.votes, 2)
    others = agreement.agreement_with_others(votes, data.contents, n_boot=50).set_index("observer")
    assert others.loc["user4", "n"] == 2 and others.loc["user4", ["srocc", "low", "high"]].isna().all()
    assert others["srocc"].drop("user4").notna().all()
    pairs = agreement.pairwise_agreement(votes)
    few = pairs[pairs["observer_b"] == "user4"]
    assert (few["n"] == 2).all() and few[["accuracy", "qwk", "srocc"]].isna().all(axis=None) and len(few) == 3
    assert pairs.drop(few.index).notna().all(axis=None)


def test_screening_flags_nobody_on_few_images(data):
    votes = with_few(data.votes, 4).copy()
    own = votes["observer"] == "user4"
    votes.loc[own, "vote"] = 6 - votes.loc[own, "vote"]  # upside down: r is -1 or so
    for found in (screening.screen_bt500(votes), screening.screen_p913(votes)):
        person = found.set_index("observer").loc["user4"]
        assert person["n"] == 4 and not person["flagged"] and np.isnan(person.get("r1", person.get("share")))
    more = with_few(data.votes, 12).copy()
    own = more["observer"] == "user4"
    more.loc[own, "vote"] = 6 - more.loc[own, "vote"]
    assert screening.screen_p913(more).set_index("observer").loc["user4", "flagged"]


def test_somebody_with_few_votes_moves_nobodys_bias(data):
    rest = data.votes[data.votes["observer"] != "user4"]
    alone = subject_model.fit_subject_model(rest)
    with_them = subject_model.fit_subject_model(with_few(data.votes, 4))
    np.testing.assert_allclose(with_them.bias["value"].drop("user4"), alone.bias["value"], atol=0.02)
    np.testing.assert_allclose(with_them.bias["std"].drop("user4"), alone.bias["std"], rtol=0.05)
    assert with_them.bias["value"].drop("user4").mean() == pytest.approx(0, abs=1e-9)
    assert with_them.bias.loc["user4", "value"] > 1
    found = observers.bias_and_inconsistency(with_few(data.votes, 4), data.quality).set_index("observer")
    assert found.loc["user4", "n"] == 4 and found.loc["user4", ["bias", "inconsistency"]].isna().all()


def test_few_repeated_images_measure_no_repetition(data):
    again = data.votes[data.votes["image"] < "i010"].assign(session=4)
    again = with_few(again, 3, ["i001", "i002", "i003"])
    votes = pd.concat([with_few(data.votes, 3, ["i001", "i002", "i003"]), again])
    found = repetition.retest(votes, n_boot=20)
    few = found["observer"] == "user4"
    assert (found.loc[few, "n"] == 3).all() and found.loc[few, MEASURES].isna().all(axis=None) and few.sum() == 4
    assert (found.loc[~few, "n"] == 10).all() and found.loc[~few, "value"].notna().all()
    drift = repetition.session_drift(votes, n_boot=20).set_index("observer")
    assert drift.loc["user4", "n"] == 3 and drift.loc["user4", ["drift", "low", "high", "p"]].isna().all()


def test_response_times_of_few_votes_are_there_with_their_n(data):
    votes = with_few(data.votes, 7).assign(duration=lambda rows: np.arange(1.0, len(rows) + 1))
    found = repetition.response_time(votes, n_boot=20).set_index("observer")
    assert found.loc["user4", "n"] == 7 and found.loc["user4", ["srocc", "low", "high", "median"]].isna().all()
    assert found["srocc"].drop("user4").notna().all()


def test_pairs_of_an_aio_and_somebody_with_few_votes(simulate, data):
    found = aios.cross_comparison(simulate.aios(data), with_few(data.votes, 2))
    few = found["observer"] == "user4"
    assert found.loc[few, "value"].isna().all() and (found.loc[few, "n"] == 2).all()
    assert found.loc[~few & (found["metric"] == "srocc"), "value"].notna().all()
