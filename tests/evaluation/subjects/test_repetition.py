"""Repetition: planted drift, fatigue and hesitation are recovered; nothing is found where there is nothing."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from iqasuite.errors import InputError
from iqasuite.evaluation.subjects.repetition import (
    duration_by_disagreement,
    position_effects,
    repeated_votes,
    response_time,
    session_drift,
)


def sessions(observers=("user1", "user2"), images=300, drift=0.0, tilt=0.0, seed=0):
    """Two sessions of the same images in random order; `tilt`: votes per 100 images; durations follow the noise."""
    rng = np.random.default_rng(seed)
    quality = rng.uniform(2, 4, images)
    frames = []
    for observer in observers:
        for session in (1, 4):
            order, noise = rng.permutation(images), rng.normal(0, 0.5, images)
            place = np.arange(1, images + 1)
            vote = quality[order] + noise + tilt * (place - images / 2) / 100 + drift * (session == 4)
            duration = np.exp(-0.3 * place / 100 + np.abs(noise) + rng.normal(0, 0.3, images))
            frame = pd.DataFrame({"observer": observer, "session": session, "position": place, "duration": duration})
            frames.append(frame.assign(image=[f"i{k:03d}" for k in order], vote=np.clip(np.round(vote), 1, 5)))
    expected = pd.Series(quality, index=[f"i{k:03d}" for k in range(images)])
    return pd.concat(frames, ignore_index=True), expected


def test_drift_between_sessions_is_found_where_it_is():
    votes, _ = sessions(drift=0.3)
    found = session_drift(votes)
    assert list(found["observer"]) == ["user1", "user2"]
    assert set(found["session"]) == {4} and set(found["repeats"]) == {1} and set(found["n"]) == {300}
    assert (found["low"] < 0.3).all() and (found["high"] > 0.3).all() and (found["p"] < 0.001).all()
    assert found["drift"].to_numpy() == pytest.approx([0.3, 0.3], abs=0.1)
    still = pd.concat([session_drift(sessions(drift=0, seed=seed)[0]) for seed in range(15)])
    assert ((still["low"] < 0) & (still["high"] > 0)).mean() > 0.85 and (still["p"] < 0.05).mean() < 0.15
    assert session_drift(votes[votes["session"] == 1]).empty


def test_repeated_votes_stand_beside_each_other():
    votes, _ = sessions(("user1",), images=20)
    pairs = repeated_votes(votes.iloc[::-1])
    table = votes.pivot(index="image", columns="session", values="vote")
    np.testing.assert_array_equal(pairs.set_index("image").loc[table.index, ["vote_early", "vote_late"]], table)
    few = votes[(votes["session"] == 1) | (votes["image"] < "i004")]
    assert len(repeated_votes(few)) == 4  # all of a short session
    assert repeated_votes(votes[(votes["session"] == 1) ^ (votes["image"] < "i004")]).empty


@pytest.mark.parametrize("given", [False, True])
def test_slopes_over_the_position_are_recovered(given):
    hits = {"residual": [], "disagreement": [], "log_duration": []}
    slopes = {name: [] for name in hits}
    truth = {"residual": 0.2, "disagreement": 0.0, "log_duration": -0.3}
    for seed in range(15):
        votes, expected = sessions(("user1", "user2", "user3"), tilt=0.2, seed=seed)
        person = votes[votes["observer"] == "user1"] if given else votes
        found = position_effects(person, expected if given else None).query("observer == 'user1'")
        assert set(found["n"]) == {300} and list(found["session"]) == [1, 1, 1, 4, 4, 4]
        for row in found.itertuples():
            slopes[row.effect].append(row.slope)
            hits[row.effect].append(row.low <= truth[row.effect] <= row.high)
    for effect, known in truth.items():
        assert np.mean(slopes[effect]) == pytest.approx(known, abs=0.05), effect
        assert np.mean(hits[effect]) >= 0.8, effect


def test_observers_without_common_images_need_what_is_expected():
    votes, expected = sessions()
    apart = votes.assign(image=votes["observer"] + votes["image"])
    found = position_effects(apart)
    assert set(found["effect"]) == {"log_duration"}
    index = pd.MultiIndex.from_product([["user1", "user2"], expected.index], names=["observer", "image"])
    pair = pd.Series(np.tile(expected.to_numpy(), 2), index=index)
    pd.testing.assert_frame_equal(position_effects(votes, pair), position_effects(votes, expected))
    with pytest.raises(InputError, match="twice"):
        position_effects(votes, pd.concat([expected, expected]))


def test_positions_and_durations_may_be_unknown():
    votes, expected = sessions()
    bare = votes.assign(duration=np.nan)
    assert set(position_effects(bare)["effect"]) == {"residual", "disagreement"}
    assert position_effects(votes.assign(position=0)).empty
    assert response_time(bare).empty and duration_by_disagreement(bare).empty
    assert list(response_time(bare)) == ["observer", "n", "srocc", "low", "high", "median"]
    zero = votes.assign(duration=votes["duration"].where(votes["position"] > 50, 0.0))
    found = position_effects(zero, expected).set_index("effect")["n"]
    assert set(found["log_duration"]) == {250} and set(found["residual"]) == {300}
    assert set(response_time(zero, expected, n_boot=20)["n"]) == {600}


def test_durations_follow_disagreement_and_outliers_do_no_harm():
    votes, expected = sessions()
    found = response_time(votes, expected)
    own = votes[votes["observer"] == "user1"]
    away = (own["vote"] - own["image"].map(expected)).abs()
    assert found.loc[0, "srocc"] == pytest.approx(spearmanr(own["duration"], away).statistic)
    assert (found["low"] > 0).all() and (found["low"] < found["srocc"]).all() and (found["srocc"] < found["high"]).all()
    table = duration_by_disagreement(votes, expected).query("observer == 'user1'").set_index("disagreement")
    assert table["n"].sum() == 600 and table.loc["0", "median"] < table.loc["1", "median"]
    votes.loc[votes["duration"].idxmax(), "duration"] = 1e9
    again = duration_by_disagreement(votes, expected).query("observer == 'user1'").set_index("disagreement")
    np.testing.assert_allclose(again["median"], table["median"])
    np.testing.assert_allclose(response_time(votes, expected)["srocc"], found["srocc"])


def test_the_mean_of_the_others_leaves_the_own_vote_out():
    votes = pd.DataFrame({"observer": ["a"] * 12 + ["b"] * 12, "session": 1, "position": [*range(1, 13)] * 2})
    votes = votes.assign(image=[f"i{k}" for k in range(12)] * 2, vote=[3] * 12 + [5] * 12, duration=1.0)
    assert duration_by_disagreement(votes)["disagreement"].tolist() == ["2+", "2+"]
