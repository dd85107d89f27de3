"""People as raters: recovery of known parameters, peers, and the published self-agreement of five observers."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score

from iqasuite.datasets.dataset import first_votes
from iqasuite.evaluation.subjects import agreement, observers, repetition


def test_bias_and_inconsistency_are_recovered(simulate):
    biases, noise = [-0.6, -0.2, 0.0, 0.3, 0.5], [0.3, 0.8, 0.5, 0.4, 0.6]
    # Qualities away from the ends of the scale, where nothing is clipped.
    found = observers.bias_and_inconsistency(
        simulate.people(biases, noise, contents=60, each=20, low=2.6, high=3.4).votes
    )
    assert list(found["observer"]) == [f"user{n}" for n in range(1, 6)]
    np.testing.assert_allclose(found["bias"], biases, atol=0.06)
    np.testing.assert_allclose(found["inconsistency"], np.sqrt(np.square(noise) + 1 / 12), atol=0.05)  # + rounding


def test_bias_against_a_given_mos(simulate):
    data = simulate.people([0.4, -0.4], [0.2, 0.2], low=2.6, high=3.4)
    found = observers.bias_and_inconsistency(data.votes, data.quality)
    np.testing.assert_allclose(found["bias"], [0.4, -0.4], atol=0.06)


def test_repeated_sessions_are_found_and_compared(simulate):
    data = simulate.people([0, 0.3], [0.4, 0.6])
    again = data.votes[data.votes["image"] < "i100"].assign(session=4)
    other = np.where(again["vote"] > 1, again["vote"] - 1, 2)
    again["vote"] = np.where(np.arange(len(again)) % 4 == 0, other, again["vote"])
    found = repetition.retest(pd.concat([data.votes, again]), data.contents)
    assert set(found["observer"]) == {"user1", "user2"} and set(found["repeats"]) == {1}
    assert (found[found["metric"] == "within_one"]["value"] == 1).all()  # no vote was moved further
    accuracy = found[found["metric"] == "accuracy"]
    np.testing.assert_allclose(accuracy["value"], 0.75)
    assert (accuracy["low"] <= accuracy["value"]).all() and (accuracy["high"] >= accuracy["value"]).all()
    early = data.votes.query("observer == 'user1' and image < 'i100'")["vote"]
    expected = cohen_kappa_score(early, again.query("observer == 'user1'")["vote"], weights="quadratic")
    assert found.query("observer == 'user1' and metric == 'qwk'")["value"].item() == pytest.approx(expected)
    assert repetition.retest(data.votes).empty
    assert len(first_votes(pd.concat([again, data.votes]))) == len(data.votes)


def test_agreement_with_others_is_spearman_with_their_mean(simulate):
    data = simulate.people([0, 0.3, -0.2], [0.4, 0.6, 0.9])
    found = agreement.agreement_with_others(data.votes, data.contents).set_index("observer")
    table = data.votes.pivot(index="image", columns="observer", values="vote")
    expected = spearmanr(table["user1"], table[["user2", "user3"]].mean(axis=1)).statistic
    assert found.loc["user1", "srocc"] == pytest.approx(expected)
    assert found["srocc"].idxmin() == "user3"


def test_self_agreement_of_the_individual_observer_study(playlists_folder):
    frames = []
    for number in range(1, 6):
        for session in (1, 4):
            found = sorted(playlists_folder.rglob(f"Obs{number}_{session}*.csv"))
            table = pd.read_csv(found[0])
            frames.append(
                pd.DataFrame({"observer": f"Obs{number}", "session": session, "position": range(len(table))}).assign(
                    image=table["Image Name"], vote=table["Vote"]
                )
            )
    found = repetition.retest(pd.concat(frames)).query("metric == 'accuracy'")
    np.testing.assert_allclose(found["value"], [0.580, 0.623, 0.727, 0.567, 0.470], atol=0.002)
