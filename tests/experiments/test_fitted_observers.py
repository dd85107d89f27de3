"""Observers fitted to a network's quality: known people are found again, and only from images out of fold."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from iqasuite.evaluation.baselines import MonotoneThresholds
from iqasuite.evaluation.metrics import accuracy
from iqasuite.experiments.fitted_observers import FEW_SUFFIX, SUFFIX, with_fitted_observers
from iqasuite.inference.predictions import P, hard_predictions, predictions_frame


@pytest.fixture(scope="module")
def data(simulate):
    return simulate.people([-0.8, 0.0, 0.8], [0.3, 0.3, 0.3], contents=20, each=8)


@pytest.fixture(scope="module")
def parts(data):
    """Images of three parts, contents apart."""
    number = data.contents.str.extract(r"(\d+)")[0].astype(int)
    names = pd.Series(np.select([number % 5 == 0, number % 5 == 1], ["test", "val"], "train"), data.contents.index)
    return {part: names.index[names == part] for part in ("train", "val", "test")}


def network(data, parts, names, model="trunk"):
    frames = [
        predictions_frame(
            data.name, model, "corrected", 0, 0, part, "", images, data.quality[images], data.quality[images]
        )
        for part, images in parts.items()
        if part in names
    ]
    return pd.concat(frames, ignore_index=True)


def test_known_observers_are_predicted_as_well_as_their_truth_allows(data, parts):
    made = with_fitted_observers(network(data, parts, ("train", "val", "test")), data)
    rows = made[made["model"] == f"trunk{SUFFIX}"]
    assert set(rows["part"]) == {"test"} and set(rows["observer"]) == set(data.observers())
    assert rows[P].sum(axis=1).to_numpy() == pytest.approx(1)
    right = accuracy(hard_predictions(rows), rows["target"].to_numpy(int))
    votes = data.votes.pivot(index="image", columns="observer", values="vote")
    ideal = [  # thresholds fitted to the test part itself
        (MonotoneThresholds().fit(q := data.quality[parts["test"]], v := votes.loc[q.index, o]).predict(q) == v).mean()
        for o in data.observers()
    ]
    assert right > np.mean(ideal) - 0.08
    shuffled = rows.assign(target=rows["target"].sample(frac=1, random_state=0).to_numpy())
    assert right > accuracy(hard_predictions(shuffled), shuffled["target"].to_numpy(int)) + 0.2


def test_twenty_votes_of_the_validation_part_with_the_others_as_prior(data, parts):
    alone = network(data, parts, ("val", "test"))
    made = with_fitted_observers(alone, data, 20)
    rows = made[made["observer"] != ""]
    assert set(rows["model"]) == {f"trunk{FEW_SUFFIX.format(20)}"} and set(rows["part"]) == {"test"}
    right = accuracy(hard_predictions(rows), rows["target"].to_numpy(int))
    rounded = np.rint(data.quality[rows["image"]]).clip(1, 5)
    assert right > (rounded.to_numpy() == rows["target"]).mean() + 0.1  # biases of ±0.8 are found
    shift = rows["prediction"].to_numpy() - data.quality[rows["image"]].to_numpy()
    bias = pd.Series(shift).groupby(rows["observer"].to_numpy()).mean()
    assert bias.to_numpy() == pytest.approx([-0.8, 0, 0.8], abs=0.3)
    changed = data.votes.assign(vote=data.votes["vote"].where(~data.votes["image"].isin(parts["train"]), 1))
    again = with_fitted_observers(alone, SimpleNamespace(name=data.name, votes=changed), 20)
    pd.testing.assert_frame_equal(again, made)  # other votes do not count


def test_networks_without_predictions_out_of_fold_are_left_alone(data, parts):
    alone = network(data, parts, ("val", "test"))
    assert with_fitted_observers(alone, data).equals(alone)
