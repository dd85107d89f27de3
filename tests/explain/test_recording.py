"""AIOs from their files, and their attention recorded one view at a time."""

import json

import numpy as np
import pytest
import torch

from iqasuite.errors import InputError
from iqasuite.explain import recording
from iqasuite.explain.attention import focus_layer, layer_head_maps
from iqasuite.explain.recording import load_aios, record
from iqasuite.images.crops import normalise
from iqasuite.models import create
from iqasuite.weights.files import save_weights

STEMS = {
    "spt": {},
    "mobilenet_v2": {"stem": {"name": "mobilenet_v2", "cells": 2, "components": 8}, "pretrained": False},
}


def saved(folder, stem="spt", people=("user2", "user10", ""), **card):
    shared = None
    for seed, observer in enumerate(people):
        torch.manual_seed(seed)
        model = create("vit_iqa", image_size=64, trunk={"size": "tiny"}, **STEMS[stem])
        if stem != "spt":
            shared = shared or model.stem.state_dict()
            model.stem.load_state_dict(shared)
            model.reduce.fit(1 + 3 * torch.randn(50, 4, model.stem.channels))
        card = {"observer": observer, "fold": 0, "preprocessing": {"display_size": [64, 64]}, **card}
        save_weights(model, folder / f"aio_{observer or 'everybody'}_0.safetensors", card)
        card.pop("observer")
    return folder


@pytest.fixture
def views():
    return np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize("stem", STEMS)
def test_recorded_maps_are_the_models_own(stem, views, tmp_path):
    models, cards = load_aios(saved(tmp_path, stem), "aio_*_0")
    assert list(models) == ["user2", "user10"] == list(cards)
    assert (models["user2"].stem is models["user10"].stem) == (stem != "spt")  # frozen and equal: computed once
    recorded = record(models, iter(views))
    model = models["user10"]
    x = normalise(torch.from_numpy(views).permute(0, 3, 1, 2), model.mean, model.std)
    with torch.inference_mode():
        _, attention = model.attention(x)
    assert recorded.shape[:4] == (2, 3, 4, 4) and recorded.dtype == np.float32
    np.testing.assert_allclose(
        focus_layer(recorded)[1], focus_layer(layer_head_maps(attention, model.grid(x))), atol=1e-6
    )
    of_layers = layer_head_maps(attention, model.grid(x))
    np.testing.assert_allclose(focus_layer(recorded, 0)[1], focus_layer(of_layers, 0), atol=1e-6)
    with pytest.raises(InputError, match="layer=4: expected -4 to 3"):
        focus_layer(recorded, 4)


def test_networks_from_before_their_refit_are_left_out(tmp_path):
    folder = saved(tmp_path)
    model = create("vit_iqa", image_size=64, trunk={"size": "tiny"}, **STEMS["spt"])
    save_weights(model, folder / "aio_everybody_0_chosen.safetensors", {"dataset": "demo", "fold": 0})
    models, _ = load_aios(folder, "aio_*")
    assert list(models) == ["user2", "user10"]


def test_views_with_too_many_places_are_refused(tmp_path, monkeypatch):
    models, _ = load_aios(saved(tmp_path), "aio_*_0")
    monkeypatch.setattr(recording, "LARGEST", 10_000)
    with pytest.raises(InputError, match="views of 64×64 px: attention between 16 places takes"):
        record(models, [np.zeros((64, 64, 3), np.uint8)])


def test_what_cannot_be_compared_is_said(tmp_path):
    with pytest.raises(InputError, match="matches AIOs of 0 observers"):
        load_aios(tmp_path, "aio_*_0")
    saved(tmp_path)
    with pytest.raises(InputError, match="matches AIOs of 1 observers"):
        load_aios(tmp_path, "aio_user2_0")
    card = tmp_path / "aio_user2_0.json"
    described = json.loads(card.read_text())
    card.write_text(json.dumps(described | {"fold": 3}))
    with pytest.raises(InputError, match="fold is 0, expected 3 as in the others"):
        load_aios(tmp_path, "aio_*_0")
    card.write_text(json.dumps(described | {"observer": "user10"}))
    with pytest.raises(InputError, match="a second AIO of 'user10'"):
        load_aios(tmp_path, "aio_*_0")
    described.pop("preprocessing")
    card.write_text(json.dumps(described))
    with pytest.raises(InputError, match="card lacks display_size"):
        load_aios(tmp_path, "aio_*_0")
