"""How images reach a network: what is stored equals what the frozen part would give, computed once, whole or not."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from iqasuite.errors import InputError
from iqasuite.images.crops import grid_crops, normalise
from iqasuite.paths import cache_root, file_hash
from iqasuite.training import inputs
from iqasuite.training.inputs import PixelInputs, StoredInputs, _key, inputs_for, stem_tokens, trunk_features
from iqasuite.training.loop import Followed, Schedule, fit
from iqasuite.training.losses import soft_cross_entropy, soft_labels

SIDE = 64
SIZE = (SIDE, SIDE)


def pixels_of(model, data, images):
    views = np.stack([data.read(image, SIZE) for image in images])
    return normalise(torch.from_numpy(views).permute(0, 3, 1, 2), model.mean, model.std)


def stored_files():
    return sorted(path.name for path in (cache_root() / "tokens").iterdir() if path.suffix != ".lock")


def half(values):
    return values.half().float()


def test_stored_tokens_are_those_of_the_stem(rated, network, float32):
    model, images = network(), ["c03_2.png", "c00_4.png"]
    stored = stem_tokens(model, rated, SIZE)
    assert (stored.part, stored.views) == ("trunk", 1) and stored.network(model) is model.trunk
    with torch.inference_mode():
        direct = model.stem(pixels_of(model, rated, images))
    torch.testing.assert_close(stored.stored(images)[:, 0], half(direct), atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize(("crop", "views"), [(None, 1), (48, 2)])
def test_features_of_the_trunk_and_the_head_make_the_whole_model(rated, network, float32, crop, views):
    model, images = network(), ["c03_2.png", "c00_4.png"]
    stored = trunk_features(model, PixelInputs(rated, SIZE, crop, views))
    features = stored.stored(images)
    assert (stored.part, stored.views) == ("head", views**2) == ("head", features.shape[1])
    assert stored.network(model) is model.trunk.mlp_head
    pixels = torch.from_numpy(np.stack([rated.read(image, SIZE) for image in images])).permute(0, 3, 1, 2)
    crops = grid_crops(pixels, crop, views) if crop else pixels[:, None]
    with torch.inference_mode():
        whole = model(normalise(crops.flatten(0, 1), model.mean, model.std))
        torch.testing.assert_close(model.trunk.mlp_head(features.flatten(0, 1)), whole, atol=5e-3, rtol=5e-3)


def test_in_half_precision_tokens_stay_near(rated, network):
    """Where the machine computes in bfloat16, the trunk's features are rounded to its three digits."""
    model = network()
    stored = trunk_features(model, PixelInputs(rated, SIZE)).stored(["c00_4.png"])[0]
    with torch.inference_mode():
        x = pixels_of(model, rated, ["c00_4.png"])
        features = model.trunk.features(model.stem(x), model.grid(x))
    torch.testing.assert_close(stored, features, atol=0.05, rtol=0.05)


def test_computed_once(rated, network, monkeypatch):
    first = stem_tokens(network(), rated, SIZE).arrays[0]
    monkeypatch.setattr(inputs, "_compute", lambda *_: pytest.fail("computed again"))
    assert np.array_equal(stem_tokens(network(), rated, SIZE).arrays[0], first)
    monkeypatch.undo()


def test_joined_stems_are_stored_one_by_one(rated, network, float32):
    """A network with one of them alone, or with another beside it, finds what was stored."""
    model, images = network(stem={"name": "spectrum+spectrum"}), ["c03_2.png", "c00_4.png"]
    stored = stem_tokens(model, rated, SIZE).stored(images)
    with torch.inference_mode():
        direct = model.stem(pixels_of(model, rated, images))
    torch.testing.assert_close(stored[:, 0], half(direct), atol=2e-3, rtol=2e-3)
    files, alone = stored_files(), network()
    alone.stem.load_state_dict(model.stem.stems[1].state_dict())
    second = stem_tokens(alone, rated, SIZE).stored(images)
    assert len(files) == 2 and stored_files() == files and torch.equal(second, stored[..., -second.shape[-1] :])


def test_another_network_size_or_image_is_computed_anew(rated, network):
    stem_tokens(network(), rated, SIZE)
    stem_tokens(network(seed=1), rated, SIZE)
    stem_tokens(network(), rated, (48, 48))
    rated.images = rated.images.iloc[:-1]
    stem_tokens(network(), rated, SIZE)
    assert len(stored_files()) == 4


@pytest.mark.parametrize(
    "changed", [{"stem": {"cells": 4}}, {"trunk": {"heads": 4, "dim_head": 8}}, {"trunk": {"pool": "mean"}}]
)
def test_settings_that_leave_no_trace_in_the_weights_are_told_apart(rated, network, changed):
    """The same weights, another computation: what one has stored is not taken for the other's."""
    one, other = network(), network(**changed)
    other.stem.load_state_dict(one.stem.state_dict())
    if "stem" not in changed:
        other.trunk.load_state_dict(one.trunk.state_dict())
    for model in (one, other):
        stored = trunk_features(model, PixelInputs(rated, SIZE)) if "stem" not in changed else None
        stem = stem_tokens(model, rated, SIZE)
        assert stem.arrays[0].shape[2] == model.stem.cells**2
        assert stored is None or stored.arrays[0].shape[2] == 32
    assert len(stored_files()) == (2 if "stem" in changed else 3)


def test_features_follow_the_reduction_that_was_fitted(rated, network):
    model, pixels = network(stem={"components": 8}), PixelInputs(rated, SIZE)
    before = trunk_features(model, pixels).arrays[0]
    model.reduce.fit(stem_tokens(model, rated, SIZE).stored(rated.images["image"]).flatten(0, 1))
    assert not np.allclose(trunk_features(model, pixels).arrays[0], before, atol=1e-2)


def test_nothing_half_written_when_an_image_cannot_be_read(rated, network, tmp_path):
    root = tmp_path / "damaged"
    root.mkdir()
    for image in rated.images["image"]:
        (root / image).write_bytes(rated.path(image).read_bytes())
    last = rated.images["image"].iloc[-1]
    (root / last).write_bytes(rated.path(last).read_bytes()[:2000])
    rated.root, model = root, network().eval()
    with pytest.raises(InputError, match=last):
        stem_tokens(model, rated, SIZE)
    assert stored_files() == [] and not model.training


def test_nothing_half_written_when_interrupted(rated, network, monkeypatch):
    model, seen, read = network(), [], rated.read

    def interrupted(*_):
        seen.append(1)
        if len(seen) == 5:
            raise KeyboardInterrupt
        return read(*_)

    monkeypatch.setattr(rated, "read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        stem_tokens(model, rated, SIZE)
    assert stored_files() == []


def test_tokens_of_another_fit_are_others_only_where_an_image_has_another_aspect(rated, network):
    """The names of before for images of the size's aspect, so what is stored already stays valid."""
    model, images = network(), rated.images["image"].tolist()
    for rated.fit in ("crop", "letterbox"):
        stem_tokens(model, rated, SIZE)
    assert stored_files() == [f"{_key('stem', model.stem, [SIZE, *map(file_hash, rated.paths().values())])}.npy"]
    wide = (SIZE[0], 2 * SIZE[1])
    of_fit = [stem_tokens(model, rated, wide).stored(images) for rated.fit in ("crop", "letterbox")]
    assert len(stored_files()) == 3 and not torch.equal(*of_fit)
    pixels = [PixelInputs(rated, wide).cache for rated.fit in ("crop", "letterbox")]
    assert pixels[0].path != pixels[1].path
    for rated.fit, cached in zip(("crop", "letterbox"), pixels, strict=True):
        assert np.array_equal(cached[[0]][0], rated.read(images[0], wide))


@pytest.mark.parametrize("tune", ["all", "trunk", "head"])
def test_a_training_does_not_go_on_with_pixels_that_are_shown_otherwise(rated, network, tune, tmp_path):
    """As after `fit` or `display_size` of dataset.yaml was changed between a crash and --resume."""
    model, images = network(), rated.images["image"].tolist()
    if tune != "all":
        model.requires_grad_(False)
        (model.trunk if tune == "trunk" else model.trunk.mlp_head).requires_grad_(True)

    def train(fit_of_set, size):
        rated.fit = fit_of_set
        shown, again = inputs_for(model, rated, tune, size), copy.deepcopy(model)
        batches = shown.batches(again, images, soft_labels(torch.ones(len(images))), 36, 0, True)
        return fit(
            shown.network(again),
            batches,
            None,
            soft_cross_entropy,
            Schedule(epochs=1),
            followed=Followed(tmp_path / "c.pt"),
        )

    wide, same_shape = (SIDE, 2 * SIDE), (2 * SIDE, 4 * SIDE)
    first, again = train("crop", wide), train("crop", wide)
    assert first.history.equals(again.history)  # finished: read, not trained again
    for other in (("letterbox", wide), ("crop", same_shape)):
        with pytest.raises(InputError, match="other train.*how they are shown"):
            train(*other)


@pytest.mark.parametrize("training", [True, False])
def test_the_models_mode_is_left_as_it_was(rated, network, training):
    model = network().train(training)
    before = [module.training for module in model.modules()]
    stem_tokens(model, rated, SIZE)
    trunk_features(model, PixelInputs(rated, SIZE))
    assert [module.training for module in model.modules()] == before


def test_a_trained_stem_has_no_tokens_to_store(rated, network):
    with pytest.raises(InputError, match="the stem is trained"):
        stem_tokens(network(stem={"freeze": False}), rated, SIZE)


def test_the_way_is_told_by_what_is_trained(rated, network):
    assert isinstance(inputs_for(network(), rated, "all", SIZE, 48, 2), PixelInputs)
    assert inputs_for(network(), rated, "trunk", SIZE).part == "trunk"
    assert inputs_for(network(), rated, "head", SIZE).part == "head"
    with pytest.raises(InputError, match="tune is 'tail', expected one of all, trunk, head"):
        inputs_for(network(), rated, "tail", SIZE)


def test_batches_hold_every_view_with_its_images_target(network):
    arrays = np.arange(3 * 4 * 2, dtype=np.float16).reshape(3, 4, 2)  # 3 images, 4 views, features of 2
    stored = StoredInputs([arrays], ["a", "b", "c"], "head")
    targets = soft_labels(torch.tensor([5, 1]), 0)
    x, y = next(iter(stored.batches(network(), ["c", "a"], targets, 8, 0, False).epoch(0)))
    assert x[:, 0].tolist() == [16, 18, 20, 22, 0, 2, 4, 6]
    assert (y.argmax(1) + 1).tolist() == [5] * 4 + [1] * 4


def test_tokens_are_mirrored_and_hidden_in_training_only(rated, network):
    model, images = network(stem={"cells": 4}), rated.images["image"].tolist()
    targets = soft_labels(torch.full((len(images),), 3))
    stored = stem_tokens(model, rated, SIZE, drop=0.25)
    model.reduce.fit(stored.stored(images).flatten(0, 1))
    (plain, _), (again, _) = (next(iter(stored.batches(model, images, targets, 99, 0, False).epoch(i))) for i in (0, 1))
    assert torch.equal(plain, again) and torch.equal(plain, model.reduce(stored.stored(images))[:, 0])
    batches = stored.batches(model, images, targets, 99, 0, True)
    batches.shuffle = False
    augmented, _ = next(iter(batches.epoch(0)))
    hidden = (augmented == 0).all(-1)
    assert 0.15 < hidden.float().mean() < 0.35
    mirrored = plain.unflatten(1, (4, 4)).flip(2).flatten(1, 2)
    is_plain, is_mirrored = ((augmented == x).all(-1) | hidden for x in (plain, mirrored))
    assert (is_plain.all(1) ^ is_mirrored.all(1)).all() and 0.2 < is_mirrored.all(1).float().mean() < 0.8


def test_pixels_are_cropped_at_random_in_training_and_on_a_grid_otherwise(rated, network):
    model = network(image_size=48)
    pixels = PixelInputs(rated, SIZE, 48, 2)
    assert pixels.network(model) is model
    targets = soft_labels(torch.tensor([2, 4]))
    x, y = next(iter(pixels.batches(model, ["c00_2.png", "c00_4.png"], targets, 8, 0, False).epoch(0)))
    assert x.shape == (8, 3, 48, 48) and torch.equal(y, targets.repeat_interleave(4, 0))
    torch.testing.assert_close(x[4], pixels_of(model, rated, ["c00_4.png"])[0, :, :48, :48])
    x, _ = next(iter(pixels.batches(model, ["c00_2.png", "c00_4.png"], targets, 8, 0, True).epoch(0)))
    assert x.shape == (2, 3, 48, 48)


def test_parts_of_files_are_shown_as_parts_or_refused(rated, network, float32):
    model, part = network(), "c00_4.png#left"
    images = rated.images[rated.images["image"] == "c00_4.png"].assign(image=part)
    parts = replace(rated, images=images, regions={part: ("c00_4.png", (0.0, 0.0, 1.0, 0.5))}, fit="crop")
    stored = stem_tokens(model, parts, SIZE)
    with torch.inference_mode():
        direct = model.stem(pixels_of(model, parts, [part]))
        whole = model.stem(pixels_of(model, rated, ["c00_4.png"]))
    torch.testing.assert_close(stored.stored([part])[:, 0], half(direct), atol=2e-3, rtol=2e-3)
    assert not torch.allclose(direct, whole)
    with pytest.raises(InputError, match="parts of files, .* expected tune='trunk'"):
        PixelInputs(parts, SIZE)
