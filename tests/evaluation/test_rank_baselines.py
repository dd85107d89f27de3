"""Statistics of an image as baselines that need no training: known values, the right order, the right intervals."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter

from iqasuite.datasets.dataset import Dataset, Scale
from iqasuite.datasets.frames import empty
from iqasuite.errors import InputError
from iqasuite.evaluation import rank_baselines as ranks
from iqasuite.evaluation.metrics import srocc
from iqasuite.evaluation.scores import score_frame
from iqasuite.inference.predictions import predictions_frame


def gray(values) -> np.ndarray:
    return np.repeat(np.asarray(values, np.uint8)[..., None], 3, axis=-1)


def test_a_constant_image_has_brightness_alone():
    assert ranks.image_statistics(gray(np.full((7, 5), 77))) == {"sharpness": 0, "contrast": 0, "brightness": 77}
    assert ranks.image_statistics(gray([[200]]))["brightness"] == 200  # one pixel


def test_a_checkerboard_has_the_statistics_that_arithmetic_gives():
    board = np.indices((8, 8)).sum(0) % 2 * 100
    found = ranks.image_statistics(gray(board))
    assert found["brightness"] == 50 and found["contrast"] == 50
    # Inside, four neighbours differ by 100: ±400; at an edge 3 do, in a corner 2. As many of either sign: mean 0.
    squares = 36 * 400**2 + 24 * 300**2 + 4 * 200**2
    assert found["sharpness"] == pytest.approx(np.sqrt(squares / 64))


def test_luma_is_that_of_bt_601():
    green = np.zeros((4, 4, 3), np.uint8)
    green[..., 1] = 200
    assert ranks.image_statistics(green)["brightness"] == round(0.587 * 200)


def test_blur_takes_sharpness_and_a_ramp_has_none():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))
    blurred = [np.array(noise.filter(ImageFilter.GaussianBlur(r))) for r in (0, 0.5, 1, 2)]
    sharpness = [ranks.image_statistics(image)["sharpness"] for image in blurred]
    assert sharpness == sorted(sharpness, reverse=True) and sharpness[0] > 5 * sharpness[-1]
    ramp = ranks.image_statistics(gray(np.tile(np.arange(0, 200, 2), (9, 1))))
    assert ramp["contrast"] > 50 and ramp["sharpness"] < 0.5


@pytest.fixture
def scenes(tmp_path) -> Dataset:
    """Six scenes in two strengths of blur, sharp ones rated higher; a quarter of the first is an image of its own."""
    rng, rows = np.random.default_rng(1), []
    for scene in range(6):
        noise = Image.fromarray(rng.integers(0, 256, (24, 24 + 8 * (scene % 2), 3), dtype=np.uint8))
        for level in range(2):
            name = f"s{scene}_{level}.png"
            noise.filter(ImageFilter.GaussianBlur(1.5 * level)).save(tmp_path / name)
            rows.append((name, f"s{scene}", "", "", np.nan, 80.0 - 50 * level + scene, 5.0, 9))
    columns = ["image", "content", "reference", "distortion", "level", "mos", "mos_std", "n_votes"]
    return Dataset("scenes", tmp_path, pd.DataFrame(rows, columns=columns), empty("votes"), Scale(0, 100))


def method(dataset: Dataset, scores, observer: str = "") -> pd.DataFrame:
    images = dataset.images
    return predictions_frame(
        dataset.name, "net", "corrected", 3, 0, "test", observer, images["image"], images["mos"], predicted=scores
    )


def test_statistics_are_of_images_as_they_were_seen_and_of_their_files(scenes):
    names = scenes.images["image"].tolist()
    table = ranks.rank_statistics(scenes, names)
    assert list(table.index) == names and list(table) == [*ranks.OF_PIXELS, "bits per pixel"]
    file = scenes.path("s1_0.png")
    assert table.loc["s1_0.png", "bits per pixel"] == 8 * file.stat().st_size / (24 * 32)
    assert table.loc["s0_0.png", "sharpness"] == ranks.image_statistics(scenes.read("s0_0.png"))["sharpness"]
    scenes.display_size = (96, 96)
    shown = ranks.rank_statistics(scenes, names)
    assert (shown["sharpness"] < table["sharpness"]).all()  # enlarged four times, they are softer
    assert (shown["bits per pixel"] == table["bits per pixel"]).all()
    scenes.fit = "letterbox"
    padded = ranks.rank_statistics(scenes, names).loc["s1_0.png", list(ranks.OF_PIXELS)]
    assert padded.to_dict() == ranks.image_statistics(scenes.read("s1_0.png", (96, 96)))
    assert padded["sharpness"] != shown.loc["s1_0.png", "sharpness"]
    scenes.regions["s0_0.png"] = ("s0_0.png", (0.0, 0.0, 0.5, 0.5))
    parts = ranks.rank_statistics(scenes, names)["bits per pixel"]
    assert parts.isna().tolist() == [True] + [False] * 11
    (scenes.root / "s2_0.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"s2_0\.png"):
        ranks.rank_statistics(scenes, names)


def test_predictions_of_baselines_follow_those_of_the_methods(scenes):
    table = ranks.rank_statistics(scenes, scenes.images["image"].tolist())
    one = method(scenes, np.zeros(12))
    found = ranks.rank_baselines(pd.concat([one, one.assign(model="another", seed=4)]), table)
    assert list(found) == list(one) and len(found) == 4 * 12 and set(found["seed"]) == {0}
    assert pd.unique(found["model"]).tolist() == [
        f"baseline: {name} (rank only)" for name in ("sharpness", "contrast", "brightness", "bits per pixel")
    ]
    sharp = found[found["model"] == "baseline: sharpness (rank only)"]
    assert sharp["prediction"].tolist() == table["sharpness"].tolist() and sharp["target"].equals(one["target"])
    table.loc["s0_0.png", "bits per pixel"] = np.nan
    assert ranks.rank_baselines(one, table)["model"].nunique() == 3


def test_the_difference_is_that_from_the_best_baseline_on_the_same_images(scenes):
    names, contents = scenes.images["image"].tolist(), scenes.images.set_index("image")["content"]
    table = ranks.rank_statistics(scenes, names)
    scores = np.random.default_rng(2).normal(size=12)
    found = ranks.rank_scores(method(scenes, scores), table, contents, 200)
    assert found["model"].iloc[0] == "net" and set(found["n"]) == {12}
    mos, rows = scenes.images["mos"].to_numpy(), found.set_index(["model", "metric"])["value"]
    for name in table:
        expected = srocc(table[name].to_numpy(), mos)
        assert rows[f"baseline: {name} (rank only)", "srocc"] == pytest.approx(expected)
    best = max(rows[f"baseline: {name} (rank only)", "srocc"] for name in table)
    last = found.iloc[-1]
    assert last["metric"].startswith("srocc above ") and last["value"] == pytest.approx(rows["net", "srocc"] - best)
    # As in any scores frame of the suite: the same resamples of contents.
    usual = score_frame(method(scenes, scores), contents, 200).set_index("metric").loc["srocc"]
    assert found.iloc[0][["value", "low", "high"]].tolist() == pytest.approx(usual[["value", "low", "high"]].tolist())
    # A method that ranks as the best baseline does is not above it, however the contents are drawn.
    same = ranks.rank_scores(method(scenes, table["sharpness"] * 2 + 1), table, contents, 50).iloc[-1]
    assert same["metric"] == "srocc above sharpness" and same["value"] == same["low"] == same["high"] == 0


def test_a_card_has_numbers_with_their_intervals(scenes):
    table = ranks.rank_statistics(scenes, scenes.images["image"].tolist()).assign(contrast=1.0)
    contents = scenes.images.set_index("image")["content"]
    card = ranks.on_card(ranks.rank_scores(method(scenes, table["sharpness"], "Ann"), table, contents, 50))
    assert card["n"] == 12 and card["this network"] == card["sharpness"] and len(card["sharpness"]) == 3
    assert card["srocc above sharpness"] == [0, 0, 0] and "contrast" not in card  # constant: no correlation
