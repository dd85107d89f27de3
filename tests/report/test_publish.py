"""Weights made ready to be given away: small, whole, with what they reach on what they never saw."""

import json

import numpy as np
import pytest
import torch

from iqasuite import models
from iqasuite.errors import InputError
from iqasuite.inference.predictions import predictions_frame
from iqasuite.inference.predictor import Predictor
from iqasuite.report.publish import publish
from iqasuite.weights.catalogue import observers_of
from iqasuite.weights.files import load_weights, save_weights

SHOWN = {"display_size": [64, 64], "crop": 48, "views": 1}
CARD = {"dataset": "demo", "fold": 0, "preprocessing": SHOWN, "scale": {"name": "ACR", "low": 1, "high": 5}}


@pytest.fixture
def made(project, monkeypatch):
    """AIOs of two people, one network of nobody, and predictions, as runs of a suite leave them."""
    monkeypatch.delenv("IQASUITE_WEIGHTS", raising=False)
    work = project.root / "work" / "small"
    (work / "predictions").mkdir(parents=True)
    for number, observer in enumerate(("Ann", "Bob")):
        torch.manual_seed(number)
        network = models.create("vit_iqa", image_size=48, trunk={"size": "tiny", "depth": 1})
        save_weights(network, work / "weights" / f"aio_{observer}_0.safetensors", CARD | {"observer": observer})
        frames = predictions_frame(
            "demo",
            "ViT",
            "corrected",
            0,
            0,
            "test",
            observer,
            ["a", "b", "c", "d"],
            [1, 2, 2, 5],
            np.eye(5)[[0, 1, 2, 4]],
        )
        frames.to_csv(work / "predictions" / f"aio_{observer}_0.csv", index=False)
    save_weights(
        models.create("mobile_nr", width=0.25),
        work / "weights" / "mobile_0_0.safetensors",
        {"scale": {"name": "MOS", "low": 0, "high": 100}, "title": "A network"},
    )
    return project.root


def test_a_set_of_aios_has_their_scores_beside_guessing(made):
    paths = publish("small", "aio_*_0", "people")
    assert [path.relative_to(made).as_posix() for path in paths] == [
        f"weights/people/{n}.safetensors" for n in ("Ann", "Bob")
    ]
    entries = observers_of("people")
    assert [entry.observer for entry in entries] == ["Ann", "Bob"]
    card = entries[0].card
    assert card.scores["accuracy"] == 0.75 and card.scores["accuracy of the most frequent vote there"] == 0.5
    assert card.scores["test images"] == 4 and "simulated" in card.title


def test_half_precision_halves_the_file_and_changes_votes_little(made):
    before = made / "work" / "small" / "weights" / "aio_Ann_0.safetensors"
    after = publish("small", "aio_*_0", "people")[0]
    assert after.stat().st_size < 0.6 * before.stat().st_size
    picture = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    entries = observers_of("people")
    said = Predictor(entries[0], "float32").predict([picture])[0].vote
    network, _ = load_weights(before)
    whole = Predictor(entries[0], "float32")
    whole.network.load_state_dict(network.state_dict())
    assert said == pytest.approx(whole.predict([picture])[0].vote, abs=0.01)


def test_one_network_keeps_its_card(made):
    path = publish("small", "mobile_*", "phone")[0]
    _, card = load_weights(path)
    assert path == made / "weights" / "phone.safetensors" and card.title == "A network"


def test_aios_of_people_with_odd_names_stay_in_the_folder_of_their_set(made):
    work = made / "work" / "small"
    for old, odd in (("Ann", "../../Ann"), ("Bob", "..\n")):
        for path in ((work / "weights" / f"aio_{old}_0.json"), (work / "predictions" / f"aio_{old}_0.csv")):
            raw = json.dumps(odd)[1:-1] if path.suffix == ".json" else f'"{odd}"'
            path.write_text(path.read_text().replace(f'"{old}"', f'"{raw}"').replace(f",{old},", f",{raw},"))
    paths = publish("small", "aio_*_0", "people")
    assert {path.parent for path in paths} == {made / "weights" / "people"} and all(path.is_file() for path in paths)
    assert {entry.observer for entry in observers_of("people")} == {"../../Ann", "..\n"}


@pytest.mark.parametrize(("pattern", "message"), [("none*", "0 files"), ("*_0", "3 files, 2 of them")])
def test_what_does_not_belong_together_is_refused(made, pattern, message):
    with pytest.raises(InputError, match=message):
        publish("small", pattern, "x")
    assert not (made / "weights").exists()


def test_an_aio_without_predictions_is_named(made):
    (made / "work" / "small" / "predictions" / "aio_Bob_0.csv").unlink()
    with pytest.raises(InputError, match=r"aio_Bob_0\.csv: no such file"):
        publish("small", "aio_*_0", "people")
