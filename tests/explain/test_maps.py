"""Maps of networks whose answers are known in closed form, and what cannot have maps."""

import numpy as np
import pytest
import torch
from torch import nn

from iqasuite.errors import InputError
from iqasuite.explain.attention import layer_head_maps, rollout
from iqasuite.explain.maps import CELL, METHODS, OCCLUDED, layer_cam, maps, methods_of, shares
from iqasuite.images.crops import normalise
from iqasuite.inference.predictor import Predictor
from iqasuite.models import create
from iqasuite.models.metrics.niqe import NiqeModel
from iqasuite.models.network import Network
from iqasuite.weights.catalogue import entry_of
from iqasuite.weights.files import save_weights


class Linear(Network):
    """Two features, linear in the pixels, and a score that is linear in their means."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 2, 1, bias=False)
        self.features.weight.data = torch.tensor([[1.0, 0.0, 2.0], [0.0, -1.0, 1.0]])[:, :, None, None]
        self.register_buffer("worth", torch.tensor([0.5, -2.0]))
        self.register_buffer("mean", torch.full((3,), 0.5))
        self.register_buffer("std", torch.full((3,), 0.25))

    def forward(self, x):
        return self.features(x).mean((2, 3)) @ self.worth

    def local(self, x):
        return (self.features(x) * self.worth[:, None, None]).sum(1, keepdim=True)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (2, 96, 128, 3), dtype=np.uint8)


def normalised(images, network):
    return normalise(torch.from_numpy(images).permute(0, 3, 1, 2), network.mean, network.std)


def slope(network):
    """Gradient of the badness with respect to a pixel's three channels, times the number of pixels."""
    return -(network.worth @ network.features.weight[:, :, 0, 0])


def test_grad_cam_is_its_definition(images):
    """Weights are the mean gradients −worth / (H W), so the map is the positive part of the slope times the pixel."""
    network = Linear()
    x = normalised(images, network)
    expected = torch.einsum("c,nchw->nhw", slope(network), x).relu() / (96 * 128)
    np.testing.assert_allclose(maps(network, images, "grad_cam"), expected.detach(), rtol=1e-4, atol=1e-9)
    # both channels' gradients are of one sign here, so LayerCAM keeps the one whose gradient is positive
    of_second = (2.0 / (96 * 128) * network.features(x)[:, 1]).relu()
    np.testing.assert_allclose(maps(network, images, "layer_cam"), of_second.detach(), rtol=1e-4, atol=1e-9)


def test_layer_cam_weighs_each_place_by_itself():
    features, gradient = torch.ones(1, 1, 1, 3), torch.tensor([[[[2.0, -1.0, 0.5]]]])
    assert layer_cam(features, gradient).flatten().tolist() == [2.0, 0.0, 0.5]


def test_gradients_and_occlusion_of_a_linear_network(images):
    network = Linear()
    x, weight = normalised(images, network), slope(network) / (96 * 128)
    found = maps(network, images, "input_gradients")
    np.testing.assert_allclose(
        found, np.full((2, 96 // CELL, 128 // CELL), float(weight.detach().abs().sum())), rtol=1e-4
    )
    away = torch.einsum("c,nchw->nhw", weight, x - x.mean((2, 3), keepdim=True)).detach().numpy()
    integrated = maps(network, images, "integrated_gradients")
    cells = away.reshape(2, 96 // CELL, CELL, 128 // CELL, CELL).mean((2, 4))
    np.testing.assert_allclose(integrated, cells, rtol=1e-3, atol=1e-9)
    assert np.abs(integrated.sum((1, 2))).max() < 1e-6  # a plain image of the mean colour is as good
    top, left = 96 // OCCLUDED, round(128 / OCCLUDED)
    occluded = maps(network, images, "occlusion")
    assert occluded.shape == (2, OCCLUDED, OCCLUDED)
    np.testing.assert_allclose(occluded[:, 0, 0], away[:, :top, :left].sum((1, 2)), rtol=1e-2, atol=1e-6)


def test_windows_and_quality_are_votes_below_the_best(images):
    network, flat = Linear(), np.full((1, 96, 96, 3), 160, np.uint8)
    score = float(network(normalised(flat, network)).detach())
    for method in ("windows", "quality"):
        np.testing.assert_allclose(maps(network, flat, method), 5 - score, rtol=1e-4)
    half = flat.copy()
    half[:, :48] = 90
    found = maps(network, half, "windows")[0]
    worse = maps(network, flat - 70, "windows")[0, 0, 0] > 5 - score
    assert (found[0, 0] > found[-1, -1]) == worse and found[0].std() < 1e-6


def test_rollout_of_attention_that_is_known():
    """Two layers, one head: the class token looks at places 1 and 2, and these at themselves and at each other."""
    first = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    second = torch.tensor([[0.0, 0.5, 0.5], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    one, two = ((each + torch.eye(3)) / 2 for each in (first, second))
    found = rollout(torch.stack([first, second])[None, :, None], (1, 2))
    np.testing.assert_allclose(found, (two @ one)[None, :1, 1:], rtol=1e-6)
    np.testing.assert_allclose(rollout(first[None, None, None], (1, 2)), layer_head_maps(first[None], (1, 2)) / 2)


NETWORKS = {
    "vit_iqa": {"image_size": 64, "trunk": {"size": "tiny", "depth": 2}},
    "jpeg_resnet": {"width": 0.125},
    "mobile_nr": {"width": 0.25},
    "trcnn": {"base": "scratch", "width": 0.25, "dim": 32, "depth": 1},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_map_of_every_family_is_finite_and_the_same_alone(name):
    torch.manual_seed(0)
    network = create(name, **NETWORKS[name]).eval()
    pictures = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    can_have = methods_of(network)
    assert {"grad_cam", "input_gradients", "occlusion", "windows"} <= set(can_have) <= set(METHODS)
    assert ("attention" in can_have) == (name in ("vit_iqa", "trcnn"))
    assert ("quality" in can_have) == (name in ("jpeg_resnet", "mobile_nr"))
    for method in can_have:
        found = maps(network, pictures, method)
        assert found.dtype == np.float32 and found.ndim == 3 and len(found) == 2 and np.isfinite(found).all()
        np.testing.assert_allclose(maps(network, pictures[1:], method)[0], found[1], rtol=1e-4, atol=1e-7)
    assert not network.training and all(p.grad is None for p in network.parameters())


@pytest.mark.parametrize(("name", "method"), [("mobile_nr", "quality"), ("vit_iqa", "attention")])
def test_a_predictor_has_the_same_map(name, method, tmp_path):
    network = create(name, **NETWORKS[name]).eval()
    card = {"scale": {"name": "ACR", "low": 1, "high": 5}, "preprocessing": {"shorter_side": 64}}
    save_weights(network, tmp_path / "n.safetensors", card)
    image = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    found = Predictor(entry_of(tmp_path / "n.safetensors", "n"), "float32").map(image)
    own = maps(network, image[None], method)[0]
    expected = 5 - own if method == "quality" else own / own.sum()
    assert found.kind == method
    np.testing.assert_allclose(found.values, expected, rtol=1e-3, atol=1e-5)


def test_shares_are_multiples_of_an_even_one():
    signed = np.array([[[1.0, 3.0], [-5.0, 0.0]], [[0.0, -1.0], [-2.0, 0.0]]])
    np.testing.assert_allclose(shares(signed), [[[1, 3], [0, 0]], [[1, 1], [1, 1]]])


def test_what_cannot_have_a_map_is_said(images):
    vit = create("vit_iqa", **NETWORKS["vit_iqa"])
    for given, method, message in (
        (NiqeModel, "attention", "a metric has none; expected a network"),
        (create("birnn", dim=8), "attention", "maps of birnn: it is not given single images"),
        (create("siamese_fr", width=0.25), "occlusion", "maps of siamese_fr: it is not given single images"),
        (
            create("mobile_nr", width=0.25),
            "attention",
            "mobile_nr has no attention, so no attention; expected one of grad_",
        ),
        (vit, "quality", "vit_iqa has no quality of its places, so no quality"),
        (vit, "saliency", "method is 'saliency', expected one of attention, rollout"),
    ):
        with pytest.raises(InputError, match=message):
            maps(given, images, method)

    class Bare(Network):  # neither attention nor convolutions
        architecture = "bare"
        mean = std = torch.ones(3)

    with pytest.raises(InputError, match="bare has no convolutions or tokens, so no grad_cam; expected one of input_"):
        maps(Bare(), images, "grad_cam")
    large = create("vit_iqa", image_size=96, trunk={"size": "tiny"}, stem={"name": "spectrum", "patch_size": 48})
    for network, size, message in (
        (vit, (24, 64), "images of 64×24 pixels; expected 32 or more a side"),
        (vit, (72, 64), "images of 64×72 pixels; expected multiples of 16"),
        (large, (40, 96), "images of 96×40 pixels; expected a patch of 48 or more a side"),
    ):
        with pytest.raises(InputError, match=message):
            maps(network, np.zeros((1, *size, 3), np.uint8), "input_gradients")
    with pytest.raises(InputError, match=r"images float64 \(96, 128, 3\), expected uint8"):
        maps(vit, np.zeros((96, 128, 3)), "attention")
