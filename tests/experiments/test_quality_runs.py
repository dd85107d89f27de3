"""Predictions, errors and cards of networks that were trained on every split."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from iqasuite import models
from iqasuite.datasets.dataset import Dataset, Scale
from iqasuite.datasets.frames import empty
from iqasuite.evaluation.benchmark import median_scores
from iqasuite.experiments.quality_runs import errors_on_test, quality_card, quality_predictions, shown_size
from iqasuite.inference.predictor import Predictor
from iqasuite.training.inputs import PixelInputs
from iqasuite.training.quality import save_quality
from iqasuite.weights.catalogue import entry_of


@pytest.fixture
def noise(tmp_path) -> Dataset:
    rng, rows = np.random.default_rng(0), []
    for i in range(12):
        Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
        rows.append((f"{i}.png", f"c{i}", "", "", np.nan, 10.0 + 7 * i, 12.0, 9))
    columns = ["image", "content", "reference", "distortion", "level", "mos", "mos_std", "n_votes"]
    images = pd.DataFrame(rows, columns=columns)
    return Dataset("noise", tmp_path, images, empty("votes"), Scale(0, 100, name="continuous"), licence="CC0")


@pytest.fixture
def split(noise) -> pd.DataFrame:
    parts = (["train"] * 4 + ["val"] * 4 + ["test"] * 4, ["test"] * 4 + ["train"] * 4 + ["val"] * 4)
    frames = [noise.images[["image", "content"]].assign(fold=fold, part=part) for fold, part in enumerate(parts)]
    return pd.concat(frames, ignore_index=True)


def test_predictions_are_those_of_a_predictor_on_the_sets_scale(noise, split, tmp_path):
    networks = {fold: models.create("mobile_nr", width=0.25).eval() for fold in (0, 1)}
    inputs = PixelInputs(noise, (48, 64), None, views=0)
    said = quality_predictions(networks, inputs, noise, split, "mobile", "corrected", 0, refit=False)
    assert said.groupby(["fold", "part"]).size().to_dict() == {(f, p): 4 for f in (0, 1) for p in ("test", "val")}
    assert said[["p1", "p2", "p3", "p4", "p5"]].sum(axis=1).to_numpy() == pytest.approx(np.ones(16), abs=1e-6)
    assert set(quality_predictions(networks, inputs, noise, split, "m", "corrected", 0, refit=True)["part"]) == {"test"}
    path = save_quality(networks[1], tmp_path / "n.safetensors", noise, 48, {})
    predicted = Predictor(entry_of(path, "n")).predict([noise.read(f"{i}.png") for i in range(4)])
    own = said[(said["fold"] == 1) & (said["part"] == "test")].set_index("image")["prediction"]
    assert [own[f"{i}.png"] for i in range(4)] == pytest.approx([j.score for j in predicted], abs=0.1)


def test_errors_stand_beside_guessing_and_cards_say_where_from(noise, split):
    mos = noise.images.set_index("image")["mos"]
    rows = split[split["part"] == "test"]
    about = {"dataset": "noise", "model": "m", "protocol": "corrected", "seed": 0, "observer": ""}
    said = rows[["fold", "part", "image"]].assign(**about, target=mos[rows["image"]].to_numpy())
    said = said.assign(prediction=said["target"] + 3.0, p1=np.nan, p2=np.nan, p3=np.nan, p4=np.nan, p5=np.nan)
    errors = errors_on_test(said, noise, split)
    guess = [np.sqrt(((mos[test] - mos[train].mean()) ** 2).mean()) for test, train in (
        ([f"{i}.png" for i in range(8, 12)], [f"{i}.png" for i in range(4)]),
        ([f"{i}.png" for i in range(4)], [f"{i}.png" for i in range(4, 8)]),
    )]  # fmt: skip
    assert errors == {"MSE": 9.0, "RMSE": 3.0, "RMSE of the mean": pytest.approx(np.median(guess), rel=1e-3)}
    contents = noise.images.set_index("image")["content"]
    medians = median_scores(said, contents, 20, 0, ("srocc", "plcc", "rmse"))
    before = {"seen": {"files": "00000000", "unlisted": {"koniq10k": 7000}}}
    card = quality_card("T", "noise", noise, split, 1, 0, said, medians, "none", before)
    assert len(card["seen"]["files"].split()) == 1 + 8 and card["seen"]["unlisted"] == {"koniq10k": 7000}
    beside = card["rank_baselines"]["srocc, test part of this network"]
    assert beside["n"] == 4 and beside["this network"][0] == 1 and len(beside["sharpness"]) == 3
    assert card["scores"]["srocc, test part of this network"] == 1 and card["fold"] == 1
    assert card["scores"]["test images of this network"] == 4 and card["licence"] == "MIT; trained on noise: CC0"
    assert card["scores"]["rmse, test parts, median of 2 splits [95 %]"][0] == pytest.approx(3)


def test_images_are_shown_as_asked_or_as_they_are(noise):
    assert shown_size(noise, []) == (48, 64) and shown_size(noise, [30, 40]) == (30, 40)
