"""Paired gains: what is added by hand must be found, whatever is hard for both methods."""

import numpy as np
import pandas as pd
import pytest

from iqasuite.errors import InputError
from iqasuite.evaluation.gains import gains


def missed(simulated, simulate, share, model, seed):
    """AIOs that are right but for a random share of the votes, which they miss by one."""
    frame = simulate.aios(simulated, error=0.0, model=model)
    wrong = np.random.default_rng(seed).random(len(frame)) < share
    p = np.eye(5)[frame["target"].to_numpy(int) - 1]
    neighbour = np.where(frame["target"] < 5, frame["target"], 3).astype(int)
    p[wrong] = np.eye(5)[neighbour[wrong]]
    frame[["p1", "p2", "p3", "p4", "p5"]] = p
    return frame


def test_gain_is_the_difference_of_the_error_rates(simulate):
    people = simulate.people([0.0, 0.5], [0.3, 0.3])
    rates = {"a": 0.1, "b": 0.4, "c": 0.1}
    frame = pd.concat([missed(people, simulate, rate, model, ord(model)) for model, rate in rates.items()])
    table = gains(frame, "a", people.contents, n_boot=300).set_index(["against", "metric"])
    found = table.loc[("b", "accuracy")]
    assert found["gain"] == pytest.approx(0.3, abs=0.07)
    assert found["gain"] == pytest.approx(found["own"] - found["other"])
    assert found["low"] < found["gain"] < found["high"] and found["p_holm"] < 0.01
    assert table.loc[("b", "mae"), "gain"] == pytest.approx(found["gain"])  # all misses are by one vote
    assert table.loc[("c", "accuracy"), "p_holm"] > 0.05
    assert (table["n"] == 400).all() and (table["n_contents"] == 20).all()


def test_only_votes_that_both_predict_count(simulate):
    people = simulate.people([0.0, 0.5], [0.3, 0.3])
    own, other = missed(people, simulate, 0.1, "a", 0), missed(people, simulate, 0.4, "b", 1)
    table = gains(pd.concat([own, other[other["observer"] == "user1"]]), "a", people.contents, n_boot=50)
    assert (table["n"] == 200).all()


def test_unknown_model_and_repeated_images_are_said(simulate):
    people = simulate.people([0.0], [0.3])
    frame = simulate.aios(people)
    with pytest.raises(InputError, match="no model 'other', expected one of"):
        gains(frame, "other", people.contents)
    with pytest.raises(InputError, match="twice, expected one part and protocol"):
        gains(pd.concat([frame, frame.assign(part="val")]), "vit_iqa", people.contents)
