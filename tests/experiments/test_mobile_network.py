"""Categories, spread of votes, smaller sizes and files of a mobile network."""

import numpy as np
import pandas as pd
import pytest

from iqasuite import models
from iqasuite.datasets.dataset import Scale
from iqasuite.experiments import mobile_network as mobile
from iqasuite.experiments.quality_runs import predictor_of
from iqasuite.training.inputs import PixelInputs
from iqasuite.training.quality import save_quality
from iqasuite.weights.export import export_onnx


@pytest.fixture
def network():
    return models.create("mobile_nr", width=0.25).eval()


@pytest.fixture
def weights(network, noise, tmp_path):
    return save_quality(network, tmp_path / "n.safetensors", noise, 48, {})


def test_categories_are_fifths_of_the_own_scale(weights):
    entry = predictor_of(weights).entry
    assert mobile.categories(entry, [0, 19.9, 20, 59, 99, 100, 120]).tolist() == [1, 1, 2, 3, 5, 5, 5]
    assert mobile.categories_of_original([1, 2, 60, 70])["excellent"] == 0.5


def test_categories_stand_beside_the_most_frequent_one():
    table = mobile.category_table(np.array([1, 2, 3, 5]), np.array([1, 2, 2, 3])).set_index("measure")
    assert table["network"].round(2).tolist()[:2] == [0.5, 0.75]
    assert table["baseline: the most frequent category"].tolist() == [0.5, 1.0, 0.0]


def test_spread_of_votes_is_in_the_unit_of_the_scale():
    p = pd.DataFrame([[0.5, 0, 0, 0, 0.5], [0, 0, 1, 0, 0]], columns=["p1", "p2", "p3", "p4", "p5"])
    found = p.assign(prediction=[30.0, 60.0])
    assert mobile.predicted_spread(found, Scale(0, 100)).tolist() == [50, 0]
    assert mobile.middling(found, Scale(0, 100)).tolist() == [-20, -10]


def test_smaller_sizes_join_their_times(task, network):
    accuracy = mobile.srocc_by_size({0: network, 1: network}, task, (48, 64), [32, 48])
    assert accuracy["size"].tolist() == [32, 48] and (accuracy["low"] <= accuracy["high"]).all()
    times = pd.DataFrame({"engine": ["a", "b"], "size": 32, "median_ms": 1.0, "low_ms": 1.0, "high_ms": 1.0})
    joined = mobile.speed_and_accuracy(times, accuracy)
    assert joined["model"].tolist() == ["32 px", "32 px"] and {"value", "low", "high"} < set(joined)


def test_files_score_as_the_network_does(task, network, weights):
    predictor, inputs = predictor_of(weights, "float32"), PixelInputs(task.data, (48, 64))
    images = [inputs.pixels(image) for image in task.part(0, "train")]
    exported = export_onnx(network, weights.with_suffix(".onnx"), predictor.entry)
    assert mobile.onnx_difference(predictor, exported, [images[0], images[1][:, :48]]) < 1e-2
    lines = []
    files = mobile.files_to_compare(exported, images, lines.append)
    assert next(iter(files)) == "ONNX float32" and len(files) + len(lines) == 2
    found = mobile.scored_by_files(files, task, inputs, 0)
    assert found.groupby("model").size().to_dict() == dict.fromkeys(files, 4)
    assert found["prediction"].between(0, 100).all()


def test_compared_networks_are_named():
    assert list(mobile.compared_networks({"width": 0.5}))[:2] == ["this", "from scratch × 0.25"]
