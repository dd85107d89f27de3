"""AIOs of a suite beside rules and the ceiling: the same votes, the words of the captions, both protocols."""

import numpy as np
import pandas as pd
import pytest

from iqasuite.datasets.splits import by_content
from iqasuite.errors import InputError
from iqasuite.experiments import observer_sentences, observers, tested_observers
from iqasuite.training.aio import Fold


@pytest.fixture
def split(demo_set):
    return by_content(demo_set.images, 3, 0, demo_set.sources)


@pytest.fixture
def found(demo_set, split):
    """Two observers: one AIO that is always right, one a vote too high; under the faithful protocol both are right."""
    fold, frames = Fold(demo_set, split, 0), []
    for protocol, error in (("corrected", 1), ("faithful", 0)):
        for observer, by in (("Obs1", 0), ("Obs2", error)):
            votes = observers.votes_of(fold, [observer]).set_index("image")["vote"]
            p = np.eye(5)[(votes[fold.part("test")] + by).clip(1, 5) - 1]
            frames.append(observers.predictions_of({"test": p}, fold, observer, "m", protocol, 0))
    return tested_observers.tested(demo_set, pd.concat(frames, ignore_index=True), "", "corrected")


def test_what_is_looked_at_must_be_there(found):
    assert found.method == "m" and found.observers == ["Obs1", "Obs2"] and "simulated observers" in found.here
    with pytest.raises(InputError, match=r"method='x', .*there are m \(corrected\), m \(faithful\)"):
        tested_observers.tested(found.dataset, found.predictions, "x", "corrected")


def test_rules_predict_the_same_votes_and_are_beaten_by_who_is_right(found, split):
    rules = tested_observers.rules_of(found, split)
    votes = set(map(tuple, found.main[["observer", "image"]].to_numpy()))
    for model, own in rules.groupby("model"):
        assert set(map(tuple, own[["observer", "image"]].to_numpy())) <= votes, model
    scores = tested_observers.scores_of(found, rules, 20, 0)
    corrected = scores[scores["protocol"] == "corrected"]
    beside = tested_observers.beside_best_rule(found, corrected)
    assert beside.loc["Obs1", "own"] == 1 and beside.loc["Obs2", "own"] < beside.loc["Obs2", "rule"] < 1
    assert observer_sentences.for_whom(beside).endswith("1 of 2 AIOs lie above every rule for their observer.")
    headline = tested_observers.headline_of(found, corrected)
    assert headline["accuracy, AIO"] == pytest.approx(beside["own"].mean()) and headline["observers"] == 2


def test_the_protocols_are_compared_on_the_same_votes(found):
    effect = tested_observers.protocol_effect(found, 20, 0).set_index("metric")
    wrong = found.main[found.main["observer"] == "Obs2"]
    expected = (wrong["prediction"] != wrong["target"]).sum() / len(found.main)
    assert effect.loc["accuracy", "gain"] == pytest.approx(expected) and set(effect["method"]) == {"m"}
    models = set(tested_observers.protocol_scores(found, 20, 0)["model"])
    assert models == {"m, corrected", "m, faithful"}


def test_bias_is_found_again(found):
    bias = tested_observers.bias_table(found).set_index("observer")
    shift = bias["bias_aio"] - bias["bias"]
    assert shift["Obs1"] == pytest.approx(0, abs=0.05) and shift["Obs2"] > 0.4
    assert bias["bias_true"].notna().all()
