"""Predictions, errors and cards of networks that were trained on every split."""

import numpy as np
import pandas as pd
import pytest
import torch

from iqasuite import models
from iqasuite.experiments import quality_runs as runs
from iqasuite.experiments.mos_task import METRICS, MosTask
from iqasuite.experiments.run import Run
from iqasuite.training.inputs import PixelInputs
from iqasuite.training.quality import quality_loss
from iqasuite.weights.card import Card
from iqasuite.weights.files import load_weights, read_card, save_weights


def near(task: MosTask, difference: float) -> pd.DataFrame:
    """Predictions for both test parts that are off by so much."""
    frames = [task.predictions("m", fold, "test", task.mos[task.part(fold, "test")] + difference) for fold in (0, 1)]
    return pd.concat(frames, ignore_index=True)


def test_predictions_are_those_of_a_saved_network_on_the_sets_scale(task, project):
    networks = {fold: models.create("mobile_nr", width=0.25).eval() for fold in (0, 1)}
    inputs = PixelInputs(task.data, (48, 64), None, views=0)
    found = runs.quality_predictions(networks, inputs, task, "mobile", refit=False)
    assert found.groupby(["fold", "part"]).size().to_dict() == {(f, p): 4 for f in (0, 1) for p in ("test", "val")}
    assert found[["p1", "p2", "p3", "p4", "p5"]].sum(axis=1).to_numpy() == pytest.approx(np.ones(16), abs=1e-6)
    assert set(runs.quality_predictions(networks, inputs, task, "m", refit=True)["part"]) == {"test"}
    run, medians = Run("s", "a"), task.medians(found, 0, METRICS)
    files = runs.save_networks(run, networks, task, found, medians, {"title": "T"}, 48)
    assert files == [run.weights("0_0"), run.weights("1_0")]
    assert read_card(files[1]).protocol == "corrected" and read_card(files[1]).title == "T"
    predicted = runs.predictor_of(files[1]).predict([inputs.pixels(f"{i}.png") for i in range(4)])
    own = found[(found["fold"] == 1) & (found["part"] == "test")].set_index("image")["prediction"]
    assert [own[f"{i}.png"] for i in range(4)] == pytest.approx([j.score for j in predicted], abs=0.1)


def test_errors_stand_beside_guessing_and_cards_name_what_was_learnt(task):
    found, mos = near(task, 3.0), task.mos.to_numpy()
    guess = [np.sqrt(((mos[8:] - mos[:4].mean()) ** 2).mean()), np.sqrt(((mos[:4] - mos[4:8].mean()) ** 2).mean())]
    errors = runs.errors_on_test(found, task)
    assert errors == {"MSE": 9.0, "RMSE": 3.0, "RMSE of the mean": pytest.approx(np.median(guess), rel=1e-3)}
    medians = task.medians(found, 20, METRICS)
    assert runs.in_headline(medians, 2) == {f"{m}, test": 3.0 if m == "rmse" else 1.0 for m in METRICS} | {
        "trainings": 2
    }
    known = {"files": "00000000", "unlisted": {"koniq10k": 7000}}
    before = Card(architecture="mobile_nr", arguments={}, seen=known)
    card = runs.quality_card({"title": "T"}, task, 1, found, medians, before)
    assert len(card["seen"]["files"].split()) == 1 + 8 and card["seen"]["unlisted"] == {"koniq10k": 7000}
    beside = card["rank_baselines"]["srocc, test part of this network"]
    assert beside["n"] == 4 and beside["this network"][0] == 1 and len(beside["sharpness"]) == 3
    assert card["scores"]["srocc, test part of this network"] == 1 and card["fold"] == 1
    assert card["scores"]["test images of this network"] == 4 and card["licence"] == "MIT; trained on noise: CC0"
    assert card["scores"]["rmse, test parts, median of 2 splits [95 %]"][0] == pytest.approx(3)


def test_one_network_is_trained_for_every_fold(task, tmp_path):
    lines, inputs = [], PixelInputs(task.data, (48, 64), 32, views=0)
    training = {"epochs": 1, "lr": 1e-3, "batch_size": 2, "refit": True}
    networks, histories = runs.train_folds(
        lambda: models.create("mobile_nr", width=0.25),
        task,
        inputs,
        runs.schedule_of(training),
        quality_loss("none"),
        training,
        tmp_path,
        lines.append,
    )
    assert list(networks) == [0, 1] and histories["fold"].tolist() == [0, 1]
    assert [line.partition(":")[0] for line in lines] == ["epoch 1/1", "split 0", "split 1"]
    assert runs.schedule_of(training, constant=True).scheduler == "none"


def test_a_network_starts_from_all_weights_of_its_kind_or_from_the_features_of_another(tmp_path):
    given = models.create("mobile_nr", width=0.25)
    path = save_weights(given, tmp_path / "w.safetensors", {})
    same = runs.with_weights_of(models.create("mobile_nr", width=0.25), path)
    assert all(torch.equal(a, b) for a, b in zip(same.parameters(), given.parameters(), strict=True)) and same.steady
    other = runs.with_weights_of(models.create("trcnn", base="scratch", width=0.25, dim=8, heads=1), path)
    loaded = load_weights(path)[0].features.state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in other.features.state_dict().items())
    assert runs.with_weights_of(other, None) is other


def test_shuffled_places_change_what_a_network_with_places_predicts_and_are_undone(task):
    torch.manual_seed(0)
    network = models.create("trcnn", base="scratch", width=0.25, dim=8, heads=1, depth=1).eval()
    inputs = PixelInputs(task.data, (48, 64), None, views=0)
    found = runs.quality_predictions({0: network}, inputs, task, "m", refit=True)
    places = runs.srocc_with_shuffled_places({0: network}, inputs, task, found)
    assert list(places) == ["split", "places as they are", "places shuffled"] and len(places) == 1
    again = runs.quality_predictions({0: network}, inputs, task, "m", refit=True)
    assert again.equals(found)
    shuffled = runs._votes_with_shuffled_places(network, inputs, task.part(0, "test"), 0)
    assert not np.allclose(shuffled, 1 + 4 * found["prediction"] / 100, atol=1e-6)


def test_parameters_are_counted(task):
    table = runs.parameter_counts({"small": torch.nn.Linear(99, 100).requires_grad_(False)})
    assert table.to_dict("records") == [{"network": "small", "parameters": "10,000", "trained": "0"}]


def test_images_are_shown_as_asked_or_as_they_are(noise):
    assert runs.shown_size(noise, []) == (48, 64) and runs.shown_size(noise, [30, 40]) == (30, 40)
