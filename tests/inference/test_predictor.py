"""Predictors as people use them, with networks whose truth is known by construction."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from iqasuite import models
from iqasuite.errors import InputError
from iqasuite.inference.predictor import Predictor, enlarged, load_predictor
from iqasuite.weights.catalogue import CATEGORIES, entry_of, find
from iqasuite.weights.files import save_weights

SCALE = {"name": "continuous", "low": 0, "high": 100}


def picture(height=96, width=128, seed=0):
    """Coarse and fine noise."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((width, height), Image.BICUBIC)
    noisy = np.asarray(coarse, float) + rng.normal(0, 5 + 10 * (seed % 4), (height, width, 3))
    return noisy.clip(0, 255).astype(np.uint8)


def lively(network):
    """Gives a network of random weights different opinions of different pictures."""
    x = torch.from_numpy(np.stack([picture(seed=i) for i in range(6)])).permute(0, 3, 1, 2).float()
    x = (x / 255 - network.mean.view(3, 1, 1)) / network.std.view(3, 1, 1)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None
            layer.reset_running_stats()
            layer.train()
    with torch.no_grad():
        network(x)
        network.eval()
        last = [layer for layer in network.modules() if isinstance(layer, nn.Linear)][-1]
        out = network(x)
        last.weight.mul_(0.2 / (out.std(0).mean() + 1e-6))
        last.bias.sub_((network(x) - (3 if out.ndim == 1 else 0)).mean(0))
    return network


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Saves a network with its card into a weights folder and gives its entry."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IQASUITE_WEIGHTS", str(tmp_path / "here"))

    def save(architecture, name="a", scale=SCALE, preprocessing=None, liven=True, **arguments):
        torch.manual_seed(3)
        network = models.create(architecture, **arguments).eval()
        card = {"scale": scale, "preprocessing": preprocessing or {"shorter_side": 96}}
        save_weights(lively(network) if liven else network, tmp_path / "here" / f"{name}.safetensors", card)
        return find(name)

    return save


@pytest.fixture
def mobile(weights):
    return weights("mobile_nr", width=0.25, hidden=16)


def trcnn(weights, **arguments):
    return weights("trcnn", base="squeezenet1_0", dim=16, heads=2, pretrained=False, **arguments)


def test_a_prediction_is_one_opinion_in_four_forms(mobile):
    predictor = Predictor(mobile, "float32")
    said = predictor.predict([picture(seed=i) for i in range(6)])
    for one in said:
        assert one.distribution.shape == (5,) and one.distribution.sum() == pytest.approx(1)
        assert one.vote == pytest.approx(one.distribution @ [1, 2, 3, 4, 5])
        assert one.score == pytest.approx(25 * (one.vote - 1))
        assert one.category == CATEGORIES[int(one.score // 20)]
    assert np.std([one.vote for one in said]) > 0.05


def test_the_network_gets_what_torch_makes_of_the_pixels(mobile):
    predictor, image = Predictor(mobile, "float32"), picture()
    x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    x = (x - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.no_grad():
        shares = predictor.network(x).softmax(-1)[0].numpy()
    np.testing.assert_allclose(predictor.predict([image])[0].distribution, shares, atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "auto"])
@pytest.mark.parametrize("architecture", ["mobile_nr", "trcnn"])
def test_alone_as_among_others_of_other_sizes_and_in_their_order(weights, architecture, precision):
    entry = weights("mobile_nr", width=0.25, hidden=16) if architecture == "mobile_nr" else trcnn(weights)
    predictor = Predictor(entry, precision, "cpu")
    shapes = [(96, 128), (128, 96), (200, 300), (96, 128), (64, 64), (97, 131), (96, 128), (150, 150), (96, 128)]
    images = [picture(h, w, seed=i) for i, (h, w) in enumerate(shapes)]
    alone = [predictor.predict([image])[0].vote for image in images]
    assert np.ptp(alone) > 0.05
    for batch_size in (1, 3, 16):  # bit for bit
        assert [one.vote for one in predictor.predict(images, batch_size)] == alone
        assert [one.vote for one in predictor.predict(images[::-1], batch_size)][::-1] == alone


def test_the_same_picture_has_the_same_score_bit_for_bit(mobile):
    predictor, image = Predictor(mobile), picture()
    first, second = predictor.predict([image])[0], predictor.predict([image.copy()])[0]
    assert first.score == second.score and Predictor(mobile).predict([image])[0].score == first.score


def test_bfloat16_is_near_to_float32(mobile):
    images = [picture(seed=i) for i in range(6)]
    exact, fast = (np.array([j.vote for j in Predictor(mobile, p).predict(images)]) for p in ("float32", "auto"))
    assert np.abs(exact - fast).max() < 0.1


def test_no_images_have_no_predictions(mobile):
    assert Predictor(mobile).predict([]) == []


def test_a_network_of_one_score_has_no_distribution_and_stays_on_its_scale(weights):
    predictor = Predictor(trcnn(weights), "float32")
    assert predictor.predict([picture()])[0].distribution is None
    with torch.no_grad():
        predictor.network.rank[-1].bias.fill_(400.0)
    best = predictor.predict([picture()])[0]
    assert (best.vote, best.score, best.category) == (5, 100, "excellent")
    with torch.no_grad():
        predictor.network.rank[-1].bias.fill_(-400.0)
    assert predictor.predict([picture()])[0].score == 0


def test_crops_are_averaged_as_distributions(weights):
    shown = {"shorter_side": 64, "crop": 48, "views": 2}
    entry = weights("vit_iqa", preprocessing=shown, liven=False, trunk={"size": "tiny"}, image_size=48)
    predictor, image = Predictor(entry, "float32"), picture(64, 80)
    corners = [image[t : t + 48, left : left + 48] for t in (0, 16) for left in (0, 32)]
    shares = []
    for crop in corners:
        x = predictor._normalised(torch.from_numpy(crop.copy()).permute(2, 0, 1)[None])
        with torch.no_grad():
            shares.append(predictor.network(x).softmax(-1)[0].numpy())
    assert np.std(shares, axis=0).max() > 1e-4
    np.testing.assert_allclose(predictor.predict([image])[0].distribution, np.mean(shares, 0), atol=1e-5)


@pytest.mark.parametrize("size", [(96, 96), (40, 160), (33, 130), (500, 500), (1000, 97 * 4), (97, 388), (387, 1546)])
def test_shown_has_the_card_s_shorter_side_the_picture_s_shape_and_is_shown_once(mobile, size):
    predictor = Predictor(mobile)
    once = predictor.shown(picture(*size))
    assert min(once.shape[:2]) == 96 and once.dtype == np.uint8
    assert max(once.shape[:2]) / 96 == pytest.approx(max(size) / min(size), abs=0.5 / 96 + 1e-9)
    assert np.array_equal(predictor.shown(once), once)


@pytest.mark.parametrize("size", [(31, 100), (100, 31), (1, 1), (40, 161), (161, 40), (0, 50)])
def test_pictures_that_are_too_small_or_too_elongated_are_refused_with_their_size(mobile, size):
    with pytest.raises(InputError, match=f"{size[1]}×{size[0]} pixels"):
        Predictor(mobile).predict([np.zeros((*size, 3), np.uint8)])


def test_smallest_and_most_elongated_are_predicted(mobile):
    said = Predictor(mobile).predict([picture(32, 32), picture(32, 128), picture(128, 32)])
    assert all(0 <= one.score <= 100 for one in said)


class Brightness(nn.Module):
    """Logits of a vote that rises with what it is given: dark = 1, bright = 5."""

    def forward(self, given):
        bright = given[..., :1]
        votes = torch.arange(1.0, 6)
        return -((votes - (3 + 2 * bright.clamp(-1, 1))) ** 2) * 4


def test_quality_map_lies_where_the_picture_is_good(mobile):
    predictor = Predictor(mobile, "float32")
    predictor.network.features, predictor.network.head = nn.AvgPool2d(16), Brightness()
    image = np.zeros((192, 240, 3), np.uint8)
    image[:, 120:] = 255
    found = predictor.map(image)
    assert found.kind == "quality" and found.values.dtype == np.float32
    left, right = found.values[:, :2], found.values[:, -2:]
    assert left.max() < 1.3 and right.min() > 4.7
    upright = predictor.map(image.transpose(1, 0, 2).copy()).values
    np.testing.assert_allclose(upright, found.values.T, atol=1e-4)


def test_quality_map_covers_the_picture_and_is_between_1_and_5(mobile):
    found = Predictor(mobile, "float32").map(picture(192, 288))
    assert found.values.shape == (6, 9) and found.values.min() >= 1 and found.values.max() <= 5
    assert found.values.std() > 0


def test_quality_map_of_a_network_of_scores(weights):
    entry = weights("mobile_nr", width=0.25, hidden=0, pool="mean", n_classes=1)
    predictor = Predictor(entry, "float32")
    values = predictor.map(picture()).values
    assert values.shape == (6, 8)


@pytest.mark.parametrize("size", [(96, 128), (128, 96)])
def test_attention_map_is_the_record_s_and_sums_to_1(weights, size):
    predictor, image = Predictor(trcnn(weights), "float32"), picture(*size)
    found = predictor.map(image)
    x = predictor._normalised(torch.from_numpy(image).permute(2, 0, 1)[None])
    with torch.no_grad():
        last = predictor.network.attentions(x)[0][0, -1, :, 0, 1:].mean(0).numpy()
    assert found.kind == "attention" and found.values.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(found.values.ravel(), last / last.sum(), rtol=1e-4)
    assert found.values.shape[0] < found.values.shape[1] or size == (128, 96)


def test_attention_map_of_a_vision_transformer_sums_to_1(weights):
    shown = {"shorter_side": 64, "crop": 48, "views": 1}
    predictor = Predictor(weights("vit_iqa", preprocessing=shown, liven=False, trunk={"size": "tiny"}, image_size=48))
    found = predictor.map(picture(64, 96))
    assert found.kind == "attention" and found.values.shape == (4, 6)
    assert found.values.sum() == pytest.approx(1, abs=1e-5) and (found.values >= 0).all()


def test_a_network_without_places_has_no_map(weights):
    entry = weights("trcnn_faithful", base="squeezenet1_0", pretrained=False)
    predictor = Predictor(entry)
    assert 0 <= predictor.predict([picture()])[0].score <= 100
    with pytest.raises(InputError, match="trcnn_faithful.*no map"):
        predictor.map(picture())


def test_a_network_that_compares_is_refused(weights):
    entry = weights(
        "siamese_fr",
        scale={"name": "Elo", "low": None, "high": None},
        liven=False,
        variant="simple",
        width=0.25,
        grid=4,
        dense=8,
    )
    with pytest.raises(InputError, match="reference"):
        Predictor(entry)


def test_weights_that_do_not_fit_their_card_are_refused_by_name(mobile):
    card = json.loads(mobile.path.with_suffix(".json").read_text())
    mobile.path.with_suffix(".json").write_text(json.dumps({**card, "arguments": {"width": 0.5, "hidden": 16}}))
    with pytest.raises(InputError, match=r"a\.safetensors.*expected"):
        load_predictor("a")


def test_enlarged_keeps_a_uniform_map_and_the_corners():
    np.testing.assert_allclose(enlarged(np.full((3, 4), 2.5), (30, 50)), 2.5, rtol=1e-6)
    values = np.arange(12.0).reshape(3, 4)
    large = enlarged(values, (30, 40))
    assert large.shape == (30, 40) and large.dtype == np.float32
    assert [large[0, 0], large[-1, -1]] == pytest.approx([0, 11]) and np.diff(large, axis=1).min() > -1e-5


def test_a_network_that_cuts_patches_takes_pictures_of_any_size(tmp_path):
    shown = {"display_size": [48, 64]}  # height and width; the shorter counts
    card = {"scale": {"name": "ACR", "low": 1, "high": 5}, "preprocessing": shown, "observer": "Ann"}
    network = models.create("vit_iqa", image_size=48, trunk={"size": "tiny", "depth": 1})
    predictor = Predictor(entry_of(save_weights(network, tmp_path / "a.safetensors", card), "a"), "float32")
    picture = np.random.default_rng(0).integers(0, 256, (70, 101, 3), dtype=np.uint8)  # shown at 48 × 69
    found = predictor.map(picture)
    assert found.values.shape == (3, 4) and found.values.sum() == pytest.approx(1, abs=1e-5)
    assert 1 <= predictor.predict([picture])[0].vote <= 5
