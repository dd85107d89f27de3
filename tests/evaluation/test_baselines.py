"""Baselines: the ordinal probit against a peer optimiser and known thresholds; the lab set's published figures."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import approx_fprime
from scipy.stats import norm

from iqasuite import datasets
from iqasuite.datasets import splits
from iqasuite.datasets.frames import PREDICTIONS, validate
from iqasuite.errors import InputError
from iqasuite.evaluation import baselines
from iqasuite.evaluation.baselines import MonotoneThresholds, baseline_predictions
from iqasuite.evaluation.scores import score_frame
from iqasuite.inference.predictions import P, predictions_frame


def probit_votes(n, slope=1.5, thresholds=(-2.0, -0.5, 0.6, 1.8), seed=0):
    rng = np.random.default_rng(seed)
    s = rng.normal(size=n)
    s = (s - s.mean()) / s.std()
    return s, 1 + (slope * s[:, None] + rng.normal(size=(n, 1)) > np.array(thresholds)).sum(1)


def test_known_thresholds_are_recovered():
    s, votes = probit_votes(20_000)
    fitted = MonotoneThresholds().fit(7 + 3 * s, votes)  # any unit of the score
    assert fitted.slope_ == pytest.approx(1.5, abs=0.05)
    np.testing.assert_allclose(fitted.thresholds_, [-2.0, -0.5, 0.6, 1.8], atol=0.06)
    p = fitted.predict_proba(7 + 3 * s[:50])
    edges = norm.cdf(fitted.thresholds_ - fitted.slope_ * s[:50, None])
    np.testing.assert_allclose(p, np.diff(np.c_[np.zeros(50), edges, np.ones(50)], axis=1), atol=1e-9)
    np.testing.assert_array_equal(fitted.predict(7 + 3 * s[:50]), p.argmax(1) + 1)


def test_gradient_is_the_numerical_one():
    s, votes = probit_votes(60)
    at = np.array([0.8, -1.2, 0.1, -0.3, 0.2])
    model = MonotoneThresholds(penalty=0.3)
    numerical = approx_fprime(at, lambda x: model._loss(x, s, votes)[0], 1e-7)
    np.testing.assert_allclose(model._loss(at, s, votes)[1], numerical, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("direction", [1, -1])
def test_separated_votes_and_unused_votes_stay_finite(direction):
    score = direction * np.arange(30.0)
    votes = np.repeat([1, 2, 4], 10)
    fitted = MonotoneThresholds().fit(score, votes)
    np.testing.assert_array_equal(fitted.predict(score), votes)
    p = fitted.predict_proba(np.array([-1e6, 1e6, 15.0]))
    assert np.isfinite(p).all() and np.allclose(p.sum(1), 1)
    assert np.sign(fitted.slope_) == direction


def test_one_vote_only_and_a_constant_score():
    np.testing.assert_array_equal(MonotoneThresholds().fit(np.arange(9.0), np.full(9, 4)).predict(np.arange(9.0)), 4)
    assert MonotoneThresholds().fit(np.ones(9), np.array([1] * 6 + [2] * 3)).predict(np.ones(1)) == [1]
    with pytest.raises(ValueError, match="finite"):
        MonotoneThresholds().fit(np.array([1.0, np.nan]), np.array([1, 2]))


@pytest.fixture(scope="module")
def data(simulate):
    return simulate.people([-0.6, -0.2, 0.0, 0.3, 0.6], [0.3, 0.4, 0.5, 0.4, 0.3])


def test_frames_of_all_methods_in_order_of_what_they_know(simulate, data):
    folds = simulate.split(data)
    rng = np.random.default_rng(0)
    mos = data.quality + rng.normal(0, 0.3, len(data.quality))
    frames = []
    for fold in range(5):
        given = predictions_frame(
            "simulated", "mos", "corrected", 0, fold, "", "", mos.index, data.quality, predicted=mos
        )
        frames.append(baseline_predictions(data, folds, fold, given))
    predictions = validate(pd.concat(frames), "predictions")
    assert list(predictions.columns) == list(PREDICTIONS) and (predictions["part"] == "test").all()
    assert len(predictions) == 5 * 5 * 200  # methods, people, images: each image is tested once
    assert predictions.groupby("model")["p1"].apply(lambda p: p.isna().all()).to_dict() == {
        name: name == baselines.MOS_ROUNDED for name in predictions["model"].unique()
    }
    defined = predictions.dropna(subset=P)
    np.testing.assert_allclose(defined[P].sum(axis=1), 1)
    scores = score_frame(predictions, data.contents, n_boot=0).query("observer == 'mean' and metric == 'accuracy'")
    value = scores.set_index("model")["value"]
    assert value[baselines.MAJORITY] < value["baseline: thresholds on height"] < value[baselines.CEILING]
    assert value[baselines.MOS_ROUNDED] < value[baselines.MOS_PERSONAL]  # biased people need their own thresholds


def test_nothing_of_the_test_part_is_looked_at(simulate, data):
    folds = simulate.split(data)
    test = set(folds.query("fold == 0 and part == 'test'")["image"])
    changed = simulate.people([-0.6, -0.2, 0.0, 0.3, 0.6], [0.3, 0.4, 0.5, 0.4, 0.3])
    own = changed.votes["image"].isin(test) & (changed.votes["observer"] == "user1")
    changed.votes.loc[own, "vote"] = 6 - changed.votes.loc[own, "vote"]
    before, after = (baseline_predictions(d, folds, 0).query("observer == 'user1'") for d in (data, changed))
    np.testing.assert_array_equal(before[P], after[P])


def test_images_without_nuisance_get_the_shares_of_their_like(simulate, data):
    partly = simulate.people([0.0, 0.3], [0.3, 0.3])
    partly.nuisances.iloc[::2] = np.nan
    found = baseline_predictions(partly, simulate.split(partly), 0).query("model == 'baseline: thresholds on height'")
    without = found[found["image"].isin(partly.nuisances.index[::2]) & (found["observer"] == "user1")]
    assert without["p1"].nunique() == 1 and np.isfinite(found[P].to_numpy()).all()


def test_people_with_few_votes_are_left_out_and_end_nothing(simulate, data):
    folds = simulate.split(data)
    parts = folds[folds["fold"] == 0].set_index("image")["part"]
    in_test = data.votes["image"].map(parts) == "test"
    votes = data.votes[~((data.votes["observer"] == "user1") & ~in_test)]  # user1 has rated the test part alone
    fewer = SimpleNamespace(**vars(data) | {"votes": votes})
    val = parts.index[parts != "train"]  # a network's own training images are not in its predictions
    quality = data.quality[val]
    mos = predictions_frame("simulated", "mos", "corrected", 0, 0, "", "", val, quality, predicted=quality)
    only_train = votes[~((votes["observer"] == "user2") & (votes["image"].map(parts) == "val"))]
    fewer.votes = only_train
    found = baseline_predictions(fewer, folds, 0, mos)
    assert "user1" not in set(found["observer"])
    assert baselines.MOS_PERSONAL not in set(found.loc[found["observer"] == "user2", "model"])
    assert baselines.MOS_ROUNDED in set(found.loc[found["observer"] == "user2", "model"])
    one = baseline_predictions(fewer, folds, 0, mos, observers=["user3"])
    assert set(one["observer"]) == {"user3"}
    with pytest.raises(InputError, match="fold 0: nobody has votes on both"):
        baseline_predictions(fewer, folds, 0, mos, observers=["user1"])


def test_wrong_fold_or_missing_mos_predictions(simulate, data):
    with pytest.raises(InputError, match="fold 9: not in the split"):
        baseline_predictions(data, simulate.split(data), 9)
    few = predictions_frame("simulated", "mos", "corrected", 0, 0, "", "", ["i000"], [3.0], predicted=[3.0])
    with pytest.raises(InputError, match="test images of fold 0 absent"):
        baseline_predictions(data, simulate.split(data), 0, few)


def test_lab_set_reaches_its_known_figures(lab_folder):
    lab = datasets.load("tta_h265_lab", lab_folder, missing="drop")
    folds = splits.by_content(lab.images, n_folds=5, seed=0)
    predictions = pd.concat([baseline_predictions(lab, folds, fold) for fold in range(5)])
    scores = score_frame(predictions, lab.images.set_index("image")["content"], n_boot=0)
    mean = scores[scores["observer"] == "mean"].pivot(index="model", columns="metric", values="value")
    expected = {
        "baseline: majority": (0.348, -0.01),
        "baseline: thresholds on height": (0.608, 0.777),
        "ceiling: mean of the other people": (0.711, 0.851),
    }
    for model, figures in expected.items():
        np.testing.assert_allclose(mean.loc[model, ["accuracy", "qwk"]].to_numpy(float), figures, atol=0.02)


def people_of_two_codecs(simulate):
    """Whose votes the codec decides, and the person: one likes what the other does not."""
    data = simulate.people([0.0, 0.0, 0.0], [0.3, 0.3, 0.3])
    codec = pd.Series(np.where(np.arange(len(data.images)) % 2, "new", "old"), index=data.images["image"])
    likes = {"user1": "new", "user2": "old"}
    votes = data.votes["image"].map(codec) == data.votes["observer"].map(likes)
    data.votes["vote"] = np.where(data.votes["observer"] == "user3", 3, np.where(votes, 5, 2))
    data.nuisances = data.nuisances.assign(codec=codec.reindex(data.nuisances.index))
    return data


def test_each_nuisance_has_a_row_and_categories_are_told_apart_for_each_person(simulate):
    data = people_of_two_codecs(simulate)
    found = baseline_predictions(data, simulate.split(data), 0)
    names = baselines.nuisance_baselines(data.nuisances)
    assert names == {"height": "baseline: thresholds on height", "codec": "baseline: votes by codec"}
    assert set(names.values()) < set(found["model"])
    by_codec = found[found["model"] == names["codec"]]
    assert (by_codec[P].to_numpy().argmax(1) + 1 == by_codec["target"]).all() and (by_codec["p3"] < 1).any()
    np.testing.assert_allclose(by_codec[P].sum(axis=1), 1)


def test_an_unseen_category_gets_the_persons_shares_and_a_rare_one_is_drawn_to_them(simulate):
    data = people_of_two_codecs(simulate)
    folds = simulate.split(data)
    test = folds.query("fold == 0 and part == 'test'")["image"].tolist()
    train = folds.query("fold == 0 and part == 'train'")["image"].tolist()
    data.nuisances.loc[test[0], "codec"] = "nobody's"
    data.nuisances.loc[[test[1], train[0]], "codec"] = ""  # without a value: a category as others are
    found = baseline_predictions(data, folds, 0, observers=["user1"]).set_index(["model", "image"])[P]
    majority, by_codec = found.loc[baselines.MAJORITY], found.loc["baseline: votes by codec"]
    np.testing.assert_allclose(by_codec.loc[test[0]], majority.loc[test[0]])
    vote = data.votes.query("observer == 'user1' and image == @train[0]")["vote"].item()
    expected = (5 * majority.loc[test[1]] + np.eye(5)[vote - 1]) / 6
    np.testing.assert_allclose(by_codec.loc[test[1]], expected)


def test_nothing_of_the_test_part_is_in_the_categories(simulate):
    data = people_of_two_codecs(simulate)
    folds = simulate.split(data)
    before = baseline_predictions(data, folds, 0)
    test = set(folds.query("fold == 0 and part == 'test'")["image"])
    data.votes["vote"] = data.votes["vote"].where(~data.votes["image"].isin(test), 1)
    after = baseline_predictions(data, folds, 0)
    chosen = before["model"] == "baseline: votes by codec"
    assert chosen.any() and (before.loc[chosen, P] == after.loc[chosen, P]).all(axis=None)
