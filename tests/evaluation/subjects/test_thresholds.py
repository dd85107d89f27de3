"""Personal thresholds: known cut points, intervals that cover them, and the published figures of five people."""

from itertools import combinations_with_replacement

import numpy as np
import pandas as pd
import pytest

from iqasuite.datasets.playlists import read_playlist, read_playlists
from iqasuite.errors import InputError
from iqasuite.evaluation.baselines import MonotoneThresholds, others_mean
from iqasuite.evaluation.subjects.thresholds import AccuracyThresholds, personal_thresholds, thresholds_on_others

TRUTH = {"1|2": 20.0, "2|3": 35.0, "3|4": 55.0, "4|5": 70.0, "slope": 0.1, "noise": 10.0}


def voter(seed, n=400, direction=1, observer="user1", shared=0.0):
    """Votes by TRUTH on qualities 0–100, 20 images a content, with a common deviation of `shared` within each."""
    rng = np.random.default_rng(seed)
    quality = rng.uniform(0, 100, n)
    content = np.repeat(np.arange(n // 20), 20)
    seen = quality + rng.normal(0, np.sqrt(100 - shared**2), n) + shared * rng.normal(size=n // 20)[content]
    vote = 1 + (seen[:, None] > np.array(list(TRUTH.values())[:4])).sum(1)
    images = [f"{observer}-{k}" for k in range(n)]
    frame = pd.DataFrame({"observer": observer, "session": 1, "position": 1, "image": images, "vote": vote})
    return frame, pd.Series(direction * quality, index=images), pd.Series(content, index=images)


def test_known_cut_points_are_recovered_and_covered():
    hits = []
    for seed in range(40):
        votes, quality, _ = voter(seed)
        found = personal_thresholds(votes, quality).set_index("parameter")
        assert list(found.index) == list(TRUTH) and (found["n"] == 400).all()
        hits.append([found.loc[k, "low"] <= v <= found.loc[k, "high"] for k, v in TRUTH.items()])
    assert np.mean(hits) == pytest.approx(0.95, abs=0.035)
    votes, quality, _ = voter(0, n=20_000)
    found = personal_thresholds(votes, quality).set_index("parameter")["value"]
    np.testing.assert_allclose(found[list(TRUTH)], list(TRUTH.values()), rtol=0.03)


def test_on_others_the_quality_is_the_mean_of_the_others(simulate):
    data = simulate.people([-1, 0, 1], [0.5, 0.5, 0.5])
    alone = data.votes.iloc[[0]].assign(observer="user4", image="seen by user4 only")
    found = thresholds_on_others(pd.concat([data.votes, alone]), data.contents)
    own = data.votes[data.votes["observer"] == "user2"]
    expected = personal_thresholds(own, others_mean(data.votes, "user2"), data.contents)
    pd.testing.assert_frame_equal(found[found["observer"] == "user2"].reset_index(drop=True), expected)
    assert set(found["observer"]) == {"user1", "user2", "user3"}
    assert thresholds_on_others(alone).empty


def test_intervals_by_content_allow_for_what_its_images_share():
    by_image, by_content = [], []
    for seed in range(40):
        votes, quality, contents = voter(seed, shared=8.0)
        for hits, given in ((by_image, None), (by_content, contents)):
            found = personal_thresholds(votes, quality, given).set_index("parameter")
            hits.append([found.loc[k, "low"] <= TRUTH[k] <= found.loc[k, "high"] for k in ("2|3", "3|4")])
    assert np.mean(by_content) > 0.85 > np.mean(by_image) + 0.05


def test_a_falling_scale_has_the_same_cuts_with_other_signs():
    votes, quality, _ = voter(0)
    rising = personal_thresholds(votes, quality).set_index("parameter")
    falling = personal_thresholds(votes, -quality).set_index("parameter")
    for name in ("1|2", "2|3", "3|4", "4|5", "slope"):
        signs = [-falling.loc[name, "value"], -falling.loc[name, "high"], -falling.loc[name, "low"]]
        np.testing.assert_allclose(signs, rising.loc[name, ["value", "low", "high"]].to_numpy(float), rtol=1e-3)
    assert falling.loc["noise", "value"] == pytest.approx(rising.loc["noise", "value"], rel=1e-3)


def test_votes_that_are_never_used_have_no_cut():
    votes, quality, _ = voter(0)
    found = personal_thresholds(votes.assign(vote=votes["vote"].clip(2, 4)), quality).set_index("parameter")
    assert found.loc[["1|2", "4|5"], ["value", "low", "high"]].isna().all(axis=None)
    assert found.loc["2|3", "value"] == pytest.approx(35, abs=4)
    gap = personal_thresholds(votes[votes["vote"] != 3], quality).set_index("parameter")
    assert gap.loc["2|3", "value"] == gap.loc["3|4", "value"] and 35 < gap.loc["2|3", "value"] < 55
    one = personal_thresholds(votes.assign(vote=4), quality)
    assert one["value"].isna().all() and len(one) == 6
    with pytest.raises(InputError, match="quality: no value"):
        personal_thresholds(votes, quality.rename(lambda name: f"other {name}"))


def test_several_people_each_get_their_own():
    votes = pd.concat([voter(1)[0], voter(2, observer="user2")[0]])
    quality = pd.concat([voter(1)[1], voter(2, observer="user2")[1]])
    found = personal_thresholds(votes, quality)
    assert list(found["observer"].unique()) == ["user1", "user2"]
    pd.testing.assert_frame_equal(found[found["observer"] == "user1"], personal_thresholds(*voter(1)[:2]))


@pytest.mark.parametrize("direction", [1, -1])
def test_cut_points_for_accuracy_are_the_best_of_all(direction):
    rng = np.random.default_rng(0)
    for _ in range(20):
        score = rng.integers(0, 7, 40).astype(float)
        votes = np.clip(np.round(score * 0.7 + rng.normal(0, 1.2, 40)), 1, 5).astype(int)
        fitted = AccuracyThresholds().fit(direction * score, votes)
        distinct = np.unique(score)
        best = 0
        for monotone in combinations_with_replacement(range(1, 6), len(distinct)):
            best = max(best, (np.array(monotone)[np.searchsorted(distinct, score)] == votes).sum())
        assert (fitted.predict(direction * score) == votes).sum() == best
        assert (np.diff(direction * fitted.predict(np.linspace(-9, 9, 50))) >= 0).all()


def test_cut_points_for_accuracy_lie_between_scores():
    fitted = AccuracyThresholds().fit(np.array([1.0, 2, 4, 5]), np.array([2, 2, 5, 5]))
    np.testing.assert_array_equal(fitted.scores_, [-np.inf, 3])
    np.testing.assert_array_equal(fitted.predict(np.array([-100, 2.9, 3.1, 100])), [2, 2, 5, 5])
    np.testing.assert_array_equal(AccuracyThresholds().fit(np.ones(3), np.array([4, 4, 1])).predict(np.ones(1)), [4])
    with pytest.raises(ValueError, match="finite"):
        AccuracyThresholds().fit(np.array([1.0, np.nan]), np.array([1, 2]))


def test_thresholds_on_jpeg_quality_predict_five_people_as_measured(playlists_folder):
    names = [f"Obs{k}" for k in range(1, 6)]
    votes = read_playlists(playlists_folder / "Obs_iterative", names).query("session <= 3")
    accuracy = {"cut points": [], "probit on the logarithm": []}
    for name in names:
        own, test = votes[votes["observer"] == name], read_playlist(playlists_folder / "Test" / f"{name}.csv")
        old, new = (f["image"].str.extract(r"_Q(\d+)")[0].to_numpy(float) for f in (own, test))
        right = AccuracyThresholds().fit(old, own["vote"]).predict(new) == test["vote"]
        accuracy["cut points"].append(right.mean())
        right = MonotoneThresholds().fit(np.log(old), own["vote"]).predict(np.log(new)) == test["vote"]
        accuracy["probit on the logarithm"].append(right.mean())
    np.testing.assert_allclose(accuracy["cut points"], [0.687, 0.640, 0.637, 0.650, 0.600], atol=0.005)
    # Equal noise along the scale needs a scale on which it is equal: on the quality itself this loses .05.
    assert np.mean(accuracy["probit on the logarithm"]) == pytest.approx(0.644, abs=0.005)
