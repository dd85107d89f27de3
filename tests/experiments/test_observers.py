"""Observers of one fold: who gets an AIO, what its settings mean, and its predictions beside its observer's votes."""

import numpy as np
import pytest

from iqasuite.datasets.splits import by_content
from iqasuite.errors import InputError
from iqasuite.experiments import observers
from iqasuite.training.aio import EVERYBODY, Fold, votes_by_part

TRAINING = {"epochs": 12, "batch_size": 32, "lr": 3e-4, "patience": 5, "refit": True}
DESCENT = {"loss": "emd", "sigma": 0.0, "weight_decay": 0.1, "scheduler": "none"}


@pytest.fixture
def fold(demo_set):
    return Fold(demo_set, by_content(demo_set.images, 3, 0, demo_set.sources), 0)


def sure_of(votes):
    """Distributions that are certain of these votes."""
    return np.eye(5)[np.asarray(votes, int) - 1]


def test_all_are_those_who_rated_enough(fold):
    rated = votes_by_part(fold.dataset, fold.split, 0)
    rated.loc[rated["observer"] == "Obs2", "enough"] = False
    assert observers.to_train(fold.dataset, rated, "all") == ["Obs1", "Obs3", "Obs4", "Obs5"]
    assert observers.to_train(fold.dataset, rated, "Obs2") == ["Obs2"]
    assert observers.to_train(fold.dataset, rated, EVERYBODY) == [EVERYBODY]
    with pytest.raises(InputError, match="observer 'Obs9' of demo: unknown"):
        observers.to_train(fold.dataset, rated, "Obs9")
    with pytest.raises(InputError, match="nobody rated 20 train"):
        observers.to_train(fold.dataset, rated.assign(enough=False), "all")


def test_without_patience_all_epochs_are_trained():
    chosen = observers.plan_of("finetune", "corrected", TRAINING, DESCENT)
    assert (chosen.schedule.patience, chosen.schedule.keep, chosen.loss, chosen.sigma) == (5, "best", "emd", 0.0)
    every = observers.plan_of("finetune", "corrected", TRAINING | {"patience": 0}, DESCENT)
    assert (every.schedule.patience, every.schedule.keep, every.schedule.weight_decay) == (None, "last", 0.1)


def test_a_label_is_spread_around_the_vote():
    table = observers.labels_table(0.49)
    assert table.loc[3].tolist() == pytest.approx([0.0002, 0.0997, 0.8002, 0.0997, 0.0002], abs=5e-5)


def test_predictions_stand_beside_votes_and_the_most_frequent_vote(fold):
    votes = observers.votes_of(fold, ["Obs1"])
    by_image = votes.set_index("image")["vote"]
    predicted = {part: sure_of(by_image[fold.part(part)]) for part in ("val", "test")}
    frame = observers.predictions_of(predicted, fold, "Obs1", "m", "corrected", 0)
    assert (frame["prediction"] == frame["target"]).all() and set(frame["observer"]) == {"Obs1"}
    rows = observers.validated(frame, "corrected")
    assert rows["image"].tolist() == fold.part("val")
    assert observers.validated(frame, "faithful")["image"].tolist() == fold.part("test")
    row = observers.validation_table(rows, votes).iloc[0]
    mode = votes.loc[votes["part"] == "train", "vote"].mode()[0]
    assert row["accuracy"] == row["qwk"] == 1
    assert row["accuracy of the most frequent vote"] == pytest.approx((rows["target"] == mode).mean())


def test_the_network_of_everybody_predicts_a_mean(fold):
    votes = observers.votes_of(fold, [EVERYBODY])
    mos = votes.groupby("image")["vote"].mean()
    predicted = {"val": sure_of(mos[fold.part("val")].round())}
    frame = observers.predictions_of(predicted, fold, EVERYBODY, "m", "corrected", 0)
    assert set(frame["observer"]) == {""} and frame["target"].tolist() == mos[fold.part("val")].tolist()
    row = observers.validation_table(frame, votes).iloc[0]
    assert row["observer"] == EVERYBODY and row["srocc"] > 0.8 and row["rmse"] < 0.5
