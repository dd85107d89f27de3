"""A general start: what it learns from, and what its tables say of a reader whose skill is known."""

import numpy as np
import pandas as pd
import pytest

from iqasuite.experiments import distorted_photographs, pretraining
from iqasuite.images.distortions.registry import ALL
from iqasuite.images.photographs import photographs
from iqasuite.models import create
from iqasuite.report import figures

TRAINING = {"epochs": 1, "steps": 1, "batch_size": 2, "lr": 1e-3, "small": 1.0, "sigma": 0.0}


@pytest.fixture(scope="module")
def reading():
    """Of a reader that knows qualities up to a fifth of their deviation, half of the kinds, and levels up to one."""
    rng = np.random.default_rng(0)
    kinds, contents, levels = map(np.ravel, np.meshgrid(sorted(ALL), [f"c{i}" for i in range(12)], range(1, 6)))
    mos = rng.normal(size=len(kinds))
    return pd.DataFrame(
        {
            "image": [f"{c}/{k}_{v}" for k, c, v in zip(kinds, contents, levels, strict=True)],
            "content": contents,
            "distortion": kinds,
            "level": levels,
            "mos": mos,
            "vote": mos + 0.2 * rng.normal(size=len(mos)),
            "read_distortion": np.where(rng.random(len(mos)) < 0.5, kinds, "none"),
            "read_level": levels.astype(int) % 5 + 1,
            "sharpness": rng.random(len(mos)),
        }
    )


def test_the_table_says_what_a_reader_of_known_skill_can(reading):
    table = distorted_photographs.held_out_table(reading).set_index("what")
    values = table["value"]
    # normal variables with a correlation r: ρ = 6 / π · asin(r / 2)
    expected = 6 / np.pi * np.arcsin(1 / np.sqrt(1.04) / 2)
    assert values["quality"] == pytest.approx(expected, abs=0.01) and abs(values["baseline: sharpness"]) < 0.06
    assert values["distortion"] == pytest.approx(0.5, abs=0.03) and values["level"] == 0
    assert values["level, within 1"] == pytest.approx(0.8) and values["baseline: guessed level"] == 0.2
    assert values["baseline: most frequent distortion"] == pytest.approx(1 / 45)
    known = table.dropna(subset="low")
    assert (known["low"] <= known["value"]).all() and (known["value"] <= known["high"]).all()
    assert set(table["photographs"]) == {12} and set(table["n"]) == {2700}
    assert distorted_photographs.card(table.reset_index(), 297)["scores"]["accuracy, which of 45 distortions"] > 0.4


def test_within_each_distortion(reading):
    table = distorted_photographs.by_distortion(reading)
    assert len(table) == 90 and set(table["n"]) == {60}
    means = table.groupby("model")["srocc"].mean()
    assert means["this network"] > 0.95 and abs(means["sharpness"]) < 0.1
    assert figures.per_distortion_heatmap(table).axes


def test_a_network_is_trained_and_looked_at(tmp_path, monkeypatch):
    monkeypatch.setenv("IQASUITE_CACHE", str(tmp_path))
    model = create("vit_iqa", image_size=160, trunk={"size": "tiny", "dim": 32, "depth": 1})
    learnt, held_out = photographs("demo", ["china", "coffee"]), photographs("demo", ["flower"])
    rows, columns, names = pretraining.examples(model, "distortions", learnt, "corrected", 0)
    assert np.shape(rows)[:2] == (5, 5) and columns[0] == "level 1" and "h265_quarter" in names
    photos = pretraining.Photographs(learnt, held_out, [])
    result, reading = pretraining.pretrain(model, "distortions", photos, TRAINING, "corrected", 0, log=lambda _: None)
    frame = reading["distortions"]
    assert result.epochs_run == 1 and set(frame["content"]) == {"flower"} and frame["vote"].between(1, 5).all()
    table = pretraining.held_out_table(reading, 1)
    assert set(pretraining.headline(table)) == {
        "srocc, quality",
        "accuracy, distortion",
        "accuracy, level",
        "accuracy, level, within 1",
    }
