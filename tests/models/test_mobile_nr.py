import itertools

import pytest
import torch
import torchvision
from torch import nn

from iqasuite import models
from iqasuite.errors import InputError
from iqasuite.models import classifiers
from iqasuite.models.backbones import folded
from iqasuite.models.mobile_nr import LAYERS, MobileConvolutions, MobileNR, Separable
from iqasuite.weights.files import load_weights, save_weights

V2 = {"base": "mobilenet_v2", "pretrained": False}


def pictures(n=2, height=96, width=128, seed=0):
    return torch.randn(n, 3, height, width, generator=torch.Generator().manual_seed(seed))


def lively(seed=0, **arguments):
    """A network of random weights whose layers pass on what differs between pictures."""
    torch.manual_seed(seed)
    network = MobileNR(**{"width": 0.25, "hidden": 16} | arguments)
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    for layer in norms:
        layer.momentum = None  # statistics are the mean over all batches
        layer.train()
    with torch.no_grad():
        for number in range(3):
            network(pictures(8, seed=number) * (1 + number))
        network.head[-1].weight.mul_(20)
    return network.eval()


def n_parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_depthwise_convolutions_see_one_channel_each():
    layer = Separable(16, 24, stride=2).eval()
    assert n_parameters(layer) == 16 * 9 + 2 * 16 + 16 * 24 + 2 * 24  # two convolutions, two batch norms
    x = pictures(1, 20, 20).repeat(1, 6, 1, 1)[:, :16]
    changed = x.clone()
    changed[:, 5] += 1
    moved = (layer.depthwise(changed) - layer.depthwise(x)).abs().amax((0, 2, 3)) > 0
    assert moved.nonzero().flatten().tolist() == [5]


@pytest.mark.parametrize("width", [0.5, 1.0])
def test_parameters_from_scratch_are_what_the_layers_have_by_hand(width):
    channels = [int(c * width) for c in (32, *(c for c, _ in LAYERS))]
    by_hand = 3 * channels[0] * 9 + 2 * channels[0]
    by_hand += sum(c * 9 + 2 * c + c * d + 2 * d for c, d in itertools.pairwise(channels))
    features = MobileConvolutions(width)
    assert n_parameters(features) == by_hand and features.channels == channels[-1]


@pytest.mark.parametrize("size", [(32, 32), (96, 128), (111, 333)])
def test_any_size_from_32_has_one_position_for_16_pixels(size):
    network = lively()
    x = pictures(2, *size)
    assert network(x).shape == (2, 5)
    expected = tuple(-(-side // 16) for side in size)
    assert network.features(x).shape[2:] == expected and network.local(x).shape == (2, 5, *expected)


def test_moments_are_those_of_torch():
    network = lively()
    features = torch.randn(3, 7, 5, 6) * torch.arange(1.0, 8).view(1, 7, 1, 1) + 2
    std, mean = torch.std_mean(features, (2, 3), correction=0)
    torch.testing.assert_close(network.pooled(features), torch.cat([mean, std], 1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(lively(pool="mean").pooled(features), mean)


def test_features_without_any_spread_have_a_finite_gradient():
    network = lively()
    features = torch.zeros(2, network.features.channels, 4, 4, requires_grad=True)  # as of a silent ReLU
    network.head(network.pooled(features)).sum().backward()
    assert torch.isfinite(features.grad).all()


def test_base_gives_the_features_of_torchvision_s_own_network():
    torch.manual_seed(0)
    network = MobileNR(**V2).eval()
    theirs = torchvision.models.mobilenet_v2(weights=None).eval().features
    theirs.load_state_dict(dict(zip(theirs.state_dict(), network.features.layers.state_dict().values(), strict=True)))
    with torch.no_grad():
        torch.testing.assert_close(network.features(pictures()), theirs(pictures()))


@pytest.mark.parametrize("pool", ["mean", "moments"])
def test_a_neighbourhood_that_is_the_whole_picture_has_its_logits(pool):
    network, x = lively(pool=pool), pictures()
    everywhere = network.local(x, window=17)  # 8 positions to each side of a map of 6 × 8
    whole = network(x)[:, :, None, None].expand_as(everywhere)
    assert network(x).std(0).min() > 0.01  # two pictures of which it says different things
    torch.testing.assert_close(everywhere, whole, rtol=1e-4, atol=1e-4)


def test_a_linear_network_of_means_says_the_mean_of_its_map():
    network, x = lively(pool="mean", hidden=0), pictures()
    torch.testing.assert_close(network.local(x, window=1).mean((2, 3)), network(x), rtol=1e-4, atol=1e-4)


def test_inside_a_uniform_picture_every_place_is_the_same():
    network, x = lively(), torch.full((1, 3, 640, 640), 0.4)
    inside = network.local(x)[..., 15:-15, 15:-15]  # padding reaches further in with every layer
    assert inside.numel() and (inside - inside[..., :1, :1]).abs().max() < 1e-4


def test_the_map_moves_with_the_picture():
    network, x = lively(), torch.zeros(1, 3, 640, 640)
    x[..., 250:300, 250:300] = pictures(1, 50, 50)
    moved = torch.roll(x, 32, dims=3)
    one, other = network.local(x)[..., 12:-12, 12:-14], network.local(moved)[..., 12:-12, 14:-12]
    assert one.std() > 0.01
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_one_class_gives_scores():
    network, x = lively(n_classes=1), pictures()
    assert network(x).shape == (2,) and network.local(x).shape == (2, 1, 6, 8)


def test_alone_as_among_others_and_bfloat16_leaves_the_head_in_float32():
    network, x = lively(), pictures(4)
    together = network(x)
    for i in range(4):
        torch.testing.assert_close(network(x[i : i + 1])[0], together[i], rtol=1e-4, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        half = network(x)
    assert half.dtype == torch.float32 and network.local(x).dtype == torch.float32
    assert (half != half.bfloat16()).any()


@pytest.mark.parametrize("arguments", [{"width": 0.25}, {"width": 0.25, "pool": "mean"}, V2, {**V2, "frozen": 4}])
def test_gradient_reaches_every_parameter_that_is_not_frozen(arguments):
    torch.manual_seed(0)
    network = MobileNR(hidden=16, dropout=0.0, **arguments).train()
    network(pictures(4)).square().sum().backward()
    n_frozen = arguments.get("frozen", 0)
    for name, parameter in network.named_parameters():
        parts = name.split(".")
        frozen = parts[:2] == ["features", "layers"] and int(parts[2]) < n_frozen
        assert parameter.requires_grad is not frozen, name
        assert (parameter.grad is None) if frozen else (parameter.grad.abs().sum() > 0), name


@pytest.mark.parametrize(("arguments", "moves"), [({"width": 0.25}, True), (V2, False)])
def test_batch_norm_moves_from_scratch_but_not_in_a_tuned_base(arguments, moves):
    network = MobileNR(hidden=16, **arguments).train()
    before = {k: v.clone() for k, v in network.named_buffers() if "running" in k}
    network(pictures(4))
    changed = {k for k, v in network.named_buffers() if k in before and not torch.equal(v, before[k])}
    assert changed == (set(before) if moves else set())
    assert network.head.training


@pytest.mark.parametrize(
    "arguments",
    [
        {"pool": "max"},
        {"width": 0.0},
        {"width": float("nan")},
        {"hidden": -1},
        {"frozen": -1},
        {"n_classes": 0},
        {"dropout": 1.0},
        {"base": "mobilenet_v9"},
        {"base": "vit_b_16", "pretrained": False},
    ],
)
def test_other_arguments_are_refused(arguments):
    with pytest.raises(InputError, match=str(next(iter(arguments.values())))):
        MobileNR(**arguments)


@pytest.mark.parametrize("window", [0, 2, -1])
def test_a_neighbourhood_has_a_middle(window):
    with pytest.raises(InputError, match="odd"):
        lively().local(pictures(), window)


@pytest.mark.parametrize("arguments", [{"width": 0.25, "hidden": 0, "n_classes": 1}, V2])
def test_roundtrip_needs_no_download(tmp_path, monkeypatch, arguments):
    torch.manual_seed(1)
    network = models.create("mobile_nr", **arguments).eval()
    network.mean.fill_(0.25)
    network.arguments = {k: v for k, v in arguments.items() if k != "pretrained"}  # as of a trained network
    path = save_weights(network, tmp_path / "a.safetensors")

    def download(name):
        raise AssertionError(f"download of {name}")

    monkeypatch.setattr(classifiers, "_download", download)
    monkeypatch.setenv("IQASUITE_WEIGHTS", str(tmp_path / "none"))
    loaded, card = load_weights(path)
    assert torch.equal(loaded(pictures()), network(pictures())) and torch.equal(loaded.mean, network.mean)
    assert card.architecture == "mobile_nr" and not loaded.training


def test_folded_layers_give_the_same_votes():
    network = models.create("mobile_nr", width=0.25)
    with torch.no_grad():
        network(torch.randn(8, 3, 64, 64))  # statistics that are not those of the beginning
    network.eval()
    x = torch.randn(2, 3, 64, 80)
    with torch.inference_mode():
        wanted = network(x)
        network.features = folded(network.features)
        assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.features.modules())
        assert torch.allclose(network(x), wanted, atol=1e-4)
