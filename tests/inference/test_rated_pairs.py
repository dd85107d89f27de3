"""Metrics and networks on the pairs of whole sets."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from iqasuite.datasets.dataset import Dataset, Scale
from iqasuite.datasets.frames import empty, validate
from iqasuite.inference.predictions import UNTRAINED, predictions_frame
from iqasuite.inference.rated_pairs import ensembles, metric_predictions, metric_predictor, predict_rated_pairs

SIDE = 32


@pytest.fixture
def rated(tmp_path) -> Dataset:
    """Two references, each with a brighter and a much brighter image."""
    rng, rows = np.random.default_rng(0), []
    for i in range(2):
        reference = rng.integers(0, 128, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(reference).save(tmp_path / f"r{i}.png")
        for level in (1, 2):
            Image.fromarray(reference + np.uint8(40 * level)).save(tmp_path / f"d{i}{level}.png")
            rows.append((f"d{i}{level}.png", f"c{i}", f"r{i}.png", "brighter", level, 5.0 - level, 1.0, 9))
    images = pd.DataFrame(rows, columns=empty("images").columns)
    return Dataset("small", tmp_path, images, empty("votes"), Scale(1, 5), sources={"c0": "photograph"})


def networks() -> pd.DataFrame:
    """Predictions of two folds, which share one image."""
    about = ("small", "simple", "corrected", 0)
    frames = [
        predictions_frame(*about, fold, "test", "", images, [4.0, 3.0], predicted=scores)
        for fold, images, scores in ((1, ["d01.png", "d02.png"], [3.0, 1.0]), (0, ["d02.png", "d11.png"], [2.0, 5.0]))
    ]
    return pd.concat(frames, ignore_index=True)


def test_every_predictor_sees_every_pair_at_one_size(rated):
    seen = []
    predictors = {
        "psnr": metric_predictor("psnr"),
        "half": lambda image, reference, distorted: np.nan if image.startswith("d0") else distorted.mean(),
        "seen": lambda image, reference, distorted: seen.append((image, reference.shape, distorted.shape)) or 0.0,
    }
    values = predict_rated_pairs(rated, predictors, 24)
    assert list(values.columns) == list(predictors) and values.index.name == "image"
    assert [image for image, *_ in seen] == list(values.index) == ["d01.png", "d02.png", "d11.png", "d12.png"]
    assert {shape for _, *shapes in seen for shape in shapes} == {(24, 24, 3)}
    assert values["half"].isna().tolist() == [True, True, False, False]
    assert values.loc["d01.png", "psnr"] == pytest.approx(20 * np.log10(255 / 40), abs=0.01)


def test_metrics_are_predicted_for_the_pairs_of_each_fold():
    values = pd.DataFrame({"PSNR": [30.0, 20.0, 10.0]}, index=["d01.png", "d02.png", "d11.png"])
    found = metric_predictions(networks(), values)
    assert validate(found, "predictions", "test") is not None
    assert found["fold"].tolist() == [0, 0, 1, 1] and found["prediction"].tolist() == [20.0, 10.0, 30.0, 20.0]
    assert set(found["protocol"]) == {UNTRAINED} and set(found["model"]) == {"PSNR"}


def test_an_ensemble_is_the_mean_of_a_methods_networks():
    found = ensembles(networks()).set_index("image")["prediction"]
    assert found.to_dict() == {"d01.png": 3.0, "d02.png": 1.5, "d11.png": 5.0}
    alone = networks().query("fold == 1")
    assert ensembles(alone).empty and list(ensembles(alone).columns) == list(alone.columns)


def test_sources_stand_for_the_contents_that_have_one(rated):
    assert rated.sources_of_images().to_dict() == {
        "d01.png": "photograph",
        "d02.png": "photograph",
        "d11.png": "c1",
        "d12.png": "c1",
    }
