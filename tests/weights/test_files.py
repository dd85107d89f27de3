import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from iqasuite import models
from iqasuite.errors import InputError
from iqasuite.weights.files import load_into, load_weights, save_weights


def test_roundtrip_gives_the_same_outputs_and_card(tmp_path):
    model = models.create("vit_iqa", image_size=32, trunk={"size": "tiny"}, head={"name": "ordinal"}).eval()
    path = save_weights(model, tmp_path / "aio.safetensors", {"training data": "demo", "scores": {"accuracy": 0.5}})
    loaded, card = load_weights(path)
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(loaded(x), model(x)) and not loaded.training
    assert card.architecture == "vit_iqa" and card.facts()["training data"] == "demo"
    assert card.arguments["head"] == {"name": "ordinal"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["aio.json", "aio.safetensors"]


def test_a_stem_comes_back_without_imagenet_weights(tmp_path):
    stem = {"name": "squeezenet1_0", "scales": (64,)}
    model = models.create("vit_iqa", trunk={"size": "tiny"}, stem=stem, pretrained=False).eval()
    model.arguments.pop("pretrained")
    with torch.no_grad():
        model.mean.fill_(0.25)
    loaded, _ = load_weights(save_weights(model, tmp_path / "a.safetensors"))
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(loaded(x), model(x)) and loaded.mean.tolist() == [0.25, 0.25, 0.25]


def test_settings_of_each_of_joined_stems_come_back(tmp_path):
    of_each = {"scales": {"squeezenet1_0": [64]}, "taps": {"squeezenet1_0": [3, 4]}}
    stem = {"name": "spectrum+squeezenet1_0", "patch_size": 32, "cells": 2, "components": 4, **of_each}
    model = models.create("vit_iqa", trunk={"size": "tiny", "depth": 1}, stem=stem, pretrained=False).eval()
    model.arguments.pop("pretrained")
    loaded, card = load_weights(save_weights(model, tmp_path / "a.safetensors"))
    x = torch.randn(1, 3, 96, 96)
    assert torch.equal(loaded(x), model(x)) and card.arguments["stem"]["scales"] == of_each["scales"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"trunk": {"size": "small"}, "image_size": 32}, "another size"),
        ({"trunk": {"size": "tiny"}, "image_size": 64}, "pos_embedding"),
        ({"trunk": {"size": "tiny", "depth": 2}, "image_size": 32}, "unknown tensor"),
        ({"trunk": {"size": "tiny"}, "head": {"name": "x"}}, "head"),
        ({"trunk": "tiny", "image_size": 32}, "trunk is 'tiny', expected a mapping of some of size, dim"),
    ],
)
def test_weights_that_do_not_fit_their_card_are_refused_in_one_line(tmp_path, arguments, word):
    path = save_weights(models.create("vit_iqa", image_size=32, trunk={"size": "tiny"}), tmp_path / "a.safetensors")
    path.with_suffix(".json").write_text(json.dumps({"architecture": "vit_iqa", "arguments": arguments}))
    with pytest.raises(InputError, match=word) as error:
        load_weights(path)
    assert "\n" not in str(error.value)


def test_files_of_other_kinds_are_refused(tmp_path):
    model = models.create("vit_iqa", image_size=32, trunk={"size": "tiny"})
    pickled = tmp_path / "a.pth"
    torch.save(model.state_dict(), pickled)
    with pytest.raises(InputError, match="pickled"):
        load_weights(pickled)
    renamed = pickled.rename(tmp_path / "b.safetensors")
    with pytest.raises(InputError, match="not a safetensors file"):
        load_into(model, renamed)
    with pytest.raises(InputError, match="b.json"):
        load_weights(renamed)
    with pytest.raises(InputError, match="no such weights file"):
        load_weights(tmp_path / "c.safetensors")
    with pytest.raises(InputError, match="safetensors"):
        save_weights(model, tmp_path / "d.pt")
    with pytest.raises(InputError, match="architecture"):
        save_weights(torch.nn.Linear(1, 1), tmp_path / "e.safetensors")


def tiny(tmp_path, **more):
    model = models.create("vit_iqa", image_size=32, trunk={"size": "tiny"}, head={"name": "ordinal"})
    return save_weights(model, tmp_path / "a.safetensors", more)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_weights_that_are_no_numbers_are_refused_and_the_model_stays(tmp_path, number):
    path = tiny(tmp_path)
    state = load_file(path)
    name = sorted(state)[len(state) // 2]
    state[name] = state[name].double()  # of which 1e300 is a number, and none of the network
    state[name].view(-1)[-1] = number
    save_file(state, path)
    model = models.create("vit_iqa", image_size=32, trunk={"size": "tiny"}, head={"name": "ordinal"})
    before = {key: value.clone() for key, value in model.state_dict().items()}
    for load in (load_weights, lambda path: load_into(model, path)):
        with pytest.raises(InputError, match=rf"a\.safetensors: damaged weights: tensor {name} "):
            load(path)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    "arguments",
    [
        {"trunk": {"dim": 1_000_000, "mlp_dim": 1_000_000}},
        {"image_size": 1_000_000, "stem": {"patch_size": 1}},
        {"unknown": 1},
        {"stem": {"unknown": 1}},
        {"trunk": {"size": 5}},
        {"trunk": {"dropout": 7}},
        {"trunk": {"heads": -1}},
        {"image_size": "large"},
        {"trunk": {"depth": 0.5}},
        {"stem": {"name": "../x"}},
        {"head": {"n_classes": 1_000_000}},
        {"image_size": [32]},
        {"stem": {"patch_size": 0}},
        {"trunk": {"dim": None}, "head": {"name": None}},
        {"head": "ordinal"},
    ],
)
def test_odd_arguments_of_a_card_take_no_memory_and_are_named(tmp_path, arguments):
    resource = pytest.importorskip("resource")
    path = tiny(tmp_path)
    card = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(card | {"arguments": card["arguments"] | arguments}))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=r"a\.(json|safetensors): ") as error:
        load_weights(path)
    assert "\n" not in str(error.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB


@pytest.mark.parametrize("head", [b"\xff" * 8, (10**15).to_bytes(8, "little"), (10**6).to_bytes(8, "little"), b""])
def test_a_header_that_lies_is_no_safetensors_file(tmp_path, head):
    path = tiny(tmp_path)
    path.write_bytes(head + path.read_bytes()[8:])
    with pytest.raises(InputError, match=r"a\.safetensors: not a safetensors file"):
        load_weights(path)


def test_what_could_not_be_computed_is_null_on_a_card_and_what_none_may_say_is_refused(tmp_path):
    path = tiny(tmp_path, held_out=[{"low": float("nan"), "high": -float("inf")}])
    assert load_weights(path)[1].held_out == [{"low": None, "high": None}]
    with pytest.raises(InputError, match=r"a\.json: scale is \[1, 5\]; expected a mapping of name, low and high"):
        tiny(tmp_path, scale=[1, 5])
    assert load_weights(path)[1].held_out  # nothing was written
