"""Regressors on patch sequences, trained on every split, and what is asked of them afterwards."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from iqasuite.datasets.dataset import Dataset
from iqasuite.errors import InputError
from iqasuite.experiments import patch_sequences as recurrent
from iqasuite.experiments.patch_methods import features_of

NETWORK = {"kinds": ["mean_pooling"], "cell": "gru", "dropout": 0.0, "order": "snake", "drop": 0.0, "loss": "mse"}
TRAINING = {"epochs": 2, "batch_size": 4, "lr": 1e-3, "patience": 5, "refit": False, "n_seeds": 2}


@pytest.fixture
def sequences(task):
    rng = np.random.default_rng(0)
    return {image: (rng.normal(size=(4, 6)) + score / 20).astype(np.float32) for image, score in task.mos.items()}


def trained(task, sequences, **changed):
    network, training = NETWORK, TRAINING | changed
    arguments = recurrent.network_arguments(network, sequences, task.faithful)
    return recurrent.train_sequences(task, sequences, arguments, network, training, "made up", lambda line: None)


def test_every_split_and_seed_is_trained(task, sequences):
    found = trained(task, sequences)
    assert list(found.networks) == [("mean_pooling", fold, seed) for fold in (0, 1) for seed in (0, 1)]
    assert found.labels == {"mean_pooling": "mean pooling (made up)"}
    counts = found.predictions.groupby(["fold", "seed", "part"]).size()
    assert set(counts) == {4} and len(counts) == 8
    assert {"model", "seed", "fold", "epoch", "val", "test"} <= set(found.histories) and len(found.histories) == 8


def test_a_refit_is_tested_while_val_is_predicted_before_it(task, sequences):
    plain, again = trained(task, sequences, n_seeds=1), trained(task, sequences, n_seeds=1, refit=True)
    same = plain.predictions["prediction"] == again.predictions["prediction"]
    assert same[plain.predictions["part"] == "val"].all() and not same[plain.predictions["part"] == "test"].any()
    assert set(again.predictions["model"]) == {"mean pooling (made up), refit"}


def test_the_studys_network_needs_one_length_and_no_refit(task, sequences):
    faithful = replace(task, protocol="faithful")
    arguments = recurrent.network_arguments(NETWORK | {"kinds": []}, sequences, faithful=True)
    assert list(arguments) == ["birnn"] and arguments["birnn"]["n_patches"] == 4
    with pytest.raises(InputError, match="kinds mean_pooling and 4 to 4 patches"):
        recurrent.network_arguments(NETWORK, sequences, faithful=True)
    with pytest.raises(InputError, match="refit=True"):
        recurrent.train_sequences(faithful, sequences, arguments, NETWORK, TRAINING | {"refit": True}, "b")
    with pytest.raises(InputError, match="kinds: found 'rnn'"):
        recurrent.network_arguments(NETWORK | {"kinds": ["rnn"]}, sequences)
    assert recurrent.schedule_of(TRAINING, faithful=True).optimizer == "adam"


def parts_of(task) -> Dataset:
    """Left and right of every image, rated: the right one higher."""
    rows = task.images.loc[task.images.index.repeat(2)].reset_index(drop=True)
    regions = {}
    for i, image in enumerate(rows["image"]):
        regions[f"{image}#{i % 2}"] = (image, (0.0, i % 2 * 0.5, 1.0, i % 2 * 0.5 + 0.5))
    rows = rows.assign(image=list(regions), mos=rows["mos"] + np.tile([0.0, 5.0], 12))
    return replace(task.data, name="parts", images=rows, regions=regions)


def test_other_sets_are_predicted_without_contents_that_were_learnt(task, sequences):
    found, parts = trained(task, sequences, n_seeds=1), parts_of(task)
    theirs = {name: sequences[region[0]] for name, region in parts.regions.items()}
    elsewhere = recurrent.predictions_elsewhere(found, task, parts, theirs)
    assert elsewhere.groupby("fold").size().to_dict() == {0: 8, 1: 8} and set(elsewhere["dataset"]) == {"parts"}
    assert set(elsewhere.query("fold == 0")["image"].str.partition("#")[0]) == set(task.part(0, "test"))
    table = recurrent.elsewhere_table(elsewhere)
    assert table["images"].tolist() == [16] and {"srocc", "plcc"} < set(table)


def test_differences_within_an_image_are_compared_with_votes(task):
    parts = parts_of(task)
    about = {"dataset": "parts", "model": "m", "fold": 0, "seed": 0, "image": parts.images["image"]}
    right = pd.DataFrame(about | {"target": parts.images["mos"], "prediction": parts.images["mos"] ** 2})
    assert recurrent.within_images(right, parts)["median"].tolist() == [pytest.approx(1, abs=0.2)]
    wrong = right.assign(prediction=-right["prediction"])
    assert recurrent.within_images(wrong, parts)["median"].tolist() == [pytest.approx(-1, abs=0.2)]


def test_places_of_an_image_and_parts_of_it_are_read_from_stored_features(task, project):
    patches = {"base": "spectrum", "size": 32, "overlap": 0.5, "taps": [-1], "pooling": "moments"}
    features = features_of(task.data, patches, None)
    sequences = {image: features.sequence(image, "snake") for image in features}
    fitted = trained(task, sequences, n_seeds=1, epochs=1).networks["mean_pooling", 0, 0]
    local, attention = recurrent.local_maps(fitted, features, "0.png", "snake")
    assert local.shape == attention.shape == (6, 8) and attention == pytest.approx(np.ones((6, 8)))
    parts = parts_of(task)
    assert recurrent.is_of_parts(parts, features) and not recurrent.is_of_parts(task.data, features)
    read = recurrent.sequences_of(parts, features, patches, [], "snake")
    assert len(read) == 24 and 0 < len(read["0.png#1"]) < len(sequences["0.png"])
    whole = recurrent.sequences_of(task.data, features, patches, [], "snake")
    assert np.array_equal(whole["3.png"], sequences["3.png"])
