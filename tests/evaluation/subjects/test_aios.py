"""AIO against person: every pair, and whether the own AIO is told from the others."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from iqasuite.errors import InputError
from iqasuite.evaluation.subjects import aios, observers
from iqasuite.inference.predictions import P, hard_votes, predictions_frame


@pytest.fixture(scope="module")
def data(simulate):
    return simulate.people([-0.8, 0.0, 0.8], [0.4, 0.4, 0.4])


@pytest.fixture(scope="module")
def predictions(simulate, data):
    return simulate.aios(data)


def test_every_pair_is_compared(data, predictions):
    found = aios.cross_comparison(predictions, data.votes)
    pairs = found[["aio", "observer"]].drop_duplicates()
    assert len(pairs) == 9 and list(found.columns) == ["aio", "observer", "metric", "value", "n"]
    aio1 = predictions[predictions["observer"] == "user1"].sort_values("image")
    votes2 = data.votes[data.votes["observer"] == "user2"].sort_values("image")["vote"]
    expected = accuracy_score(votes2, hard_votes(aio1[P].to_numpy()))
    accuracy = found[found["metric"] == "accuracy"].pivot(index="aio", columns="observer", values="value")
    assert accuracy.loc["user1", "user2"] == pytest.approx(expected)
    assert (np.diag(accuracy) > accuracy.to_numpy().mean(0)).all()
    matrices = aios.confusion_matrices(predictions, data.votes)
    assert list(matrices)[:2] == [("user1", "user1"), ("user1", "user2")]
    counts = matrices["user1", "user2"]
    assert np.trace(counts) / counts.sum() == pytest.approx(expected)


def test_specificity_is_seen_where_it_is_and_not_where_it_is_not(data, predictions):
    found = aios.specificity(predictions, data.votes, data.contents)
    assert len(found) == 3 * 2 * 2
    assert (found["gain"] > 0).all() and (found["p_holm"] < 0.05).all() and (found["low"] > 0).all()
    assert (found["p_holm"] >= found["p"]).all() and (found["n_contents"] == 20).all()
    assert found["p_least"].to_numpy() == pytest.approx(3 * 2 / 2**20)
    row = found.query("observer == 'user1' and metric == 'accuracy' and against == 'best other'").iloc[0]
    assert row["best_other"] == "user2" and row["gain"] == pytest.approx(row["own"] - row["other"])
    same = pd.concat([predictions.query("observer == 'user1'").assign(observer=f"user{n}") for n in (1, 2, 3)])
    nothing = aios.specificity(same, data.votes, data.contents)
    assert (nothing["gain"] == 0).all() and (nothing["p_holm"] == 1).all()


def test_what_is_individual_may_be_no_more_than_how_strict_somebody_is(data, predictions):
    """A rule that knows a person's bias alone beats the mean of the others as an AIO does, but orders images alike."""
    shared = data.quality
    biases = {"user1": -0.8, "user2": 0.0, "user3": 0.8}
    rules = [
        predictions_frame("d", "shared, own bias", "c", 0, 0, "test", name, shared.index, own, predicted=shared + b)
        for name, b in biases.items()
        for own in [data.votes[data.votes["observer"] == name].set_index("image")["vote"].reindex(shared.index)]
    ]
    found = aios.specificity_summary(pd.concat([predictions, *rules]), data.votes, data.contents, 200)
    table = found.set_index(["model", "metric"])
    assert (table["observers"] == 3).all()
    for model in ("vit_iqa", "shared, own bias"):
        assert (table.loc[(model, "accuracy"), ["ahead_of_mean", "ahead_of_best"]] == 3).all()
        assert table.loc[(model, "accuracy"), "low"] > 0
    assert ("shared, own bias", "srocc") not in table.index and ("vit_iqa", "srocc") in table.index
    plain = aios.cross_comparison(predictions, data.votes)
    square = plain[plain["metric"] == "accuracy"].pivot(index="aio", columns="observer", values="value").to_numpy()
    own, others = np.diag(square), (square.sum(0) - np.diag(square)) / 2
    assert table.loc[("vit_iqa", "accuracy"), "gain"] == pytest.approx((own - others).mean())


def test_people_who_rated_a_part_of_the_images_are_compared_on_these(simulate, data, predictions):
    """Each person rated other images, and the AIO of one was not made for all of them."""
    images = np.sort(predictions["image"].unique())
    rated = {"user1": images[:140], "user2": images[60:], "user3": images[::2]}
    keep = [image in set(rated[who]) for who, image in zip(data.votes["observer"], data.votes["image"], strict=True)]
    votes = data.votes[keep]
    fewer = predictions[(predictions["observer"] != "user3") | (predictions["image"] >= images[50])]
    found = aios.specificity(fewer, votes, data.contents, 100)
    mean = found.query("metric == 'accuracy' and against == 'mean of others'").set_index("observer")
    assert mean["n"].to_dict() == {"user1": 140, "user2": 140, "user3": 75} and (mean["gain"] > 0).all()
    best = found.query("metric == 'accuracy' and against == 'best other'").set_index("observer")
    assert best.loc["user2", "n"] == 140 and best.loc["user1", "best_other"] == "user2"
    summary = aios.specificity_summary(fewer, votes, data.contents, 100).set_index("metric")
    assert summary.loc["accuracy", "ahead_of_mean"] == 3 and np.isfinite(summary.loc["srocc", "gain"])


def test_bias_of_aios_follows_their_people(data, predictions):
    true = observers.bias_and_inconsistency(data.votes)
    found = aios.aio_bias(predictions)
    assert np.corrcoef(true["bias"], found["bias"])[0, 1] > 0.95
    given = aios.aio_bias(predictions, data.quality)
    assert given["bias"].is_monotonic_increasing


def test_classification_report_is_scikit_learns(data, predictions):
    found = aios.classification_report(predictions)
    own = predictions[predictions["observer"] == "user2"]
    expected = precision_recall_fscore_support(own["target"], hard_votes(own[P].to_numpy()), labels=range(1, 6))
    for column, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        np.testing.assert_allclose(found.loc[found["observer"] == "user2", column], values)


def test_several_models_or_doubled_images_are_refused(data, predictions):
    with pytest.raises(InputError, match="expected the AIOs of exactly one"):
        aios.cross_comparison(pd.concat([predictions, predictions.assign(model="other")]), data.votes)
    with pytest.raises(InputError, match="twice"):
        aios.cross_comparison(pd.concat([predictions, predictions.assign(part="val")]), data.votes)
    with pytest.raises(InputError, match="at least two"):
        aios.specificity(predictions[predictions["observer"] == "user1"], data.votes, data.contents)
    with pytest.raises(InputError, match="contents: none for image 'i000'"):
        aios.specificity(predictions, data.votes, data.contents.drop("i000"))


def test_predictions_frame_checks_what_it_is_given():
    with pytest.raises(ValueError, match="as many"):
        predictions_frame("d", "m", "corrected", 0, 0, "test", "", ["a"], [1.0, 2.0], predicted=[1.0])
