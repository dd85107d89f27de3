import os

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file

from iqasuite.errors import InputError
from iqasuite.models import backbones
from iqasuite.models.vit_iqa import ViTIQA

needs_weights = pytest.mark.skipif(not os.environ.get("IQASUITE_WEIGHTS"), reason="IQASUITE_WEIGHTS is not set")


@needs_weights
@pytest.mark.parametrize("name, channels, mean", [("mobilenet_v2", 1280, 0.5), ("squeezenet1_0", 512, 0.48235294)])
def test_weights_and_statistics_of_a_file(name, channels, mean):
    path = f"{os.environ['IQASUITE_WEIGHTS']}/{name}.safetensors"
    if not os.path.exists(path):
        pytest.skip(f"no {name}.safetensors")
    extractor = backbones.backbone(name).eval()
    peer = torchvision.models.get_model(name, weights=None)
    peer.load_state_dict(load_file(path))
    x = torch.randn(1, 3, 96, 96)
    expected = peer.eval().features(x)
    torch.testing.assert_close(extractor(x), expected, atol=1e-4 * expected.abs().max().item(), rtol=1e-3)
    assert extractor.channels == channels and extractor.mean[0] == pytest.approx(mean)


@pytest.mark.parametrize("name, channels, grid", [("resnet18", 512, (3, 4)), ("mobilenet_v2", 1280, (3, 4))])
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


def test_frozen_stem_is_neither_trained_nor_changed_by_training_mode():
    model = ViTIQA(size="tiny", stem="mobilenet_v2", pretrained=False).train()
    assert not any(p.requires_grad for p in model.stem.parameters())
    before = {name: value.clone() for name, value in model.stem.state_dict().items()}
    model(torch.randn(2, 3, 64, 64)).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in model.stem.state_dict().items())
    tuned = ViTIQA(size="tiny", stem="resnet18", pretrained=False, freeze_stem=False)
    assert all(p.requires_grad for p in tuned.stem.parameters())


def test_training_tokens_standardise_the_inputs():
    model = ViTIQA(size="tiny", stem="mobilenet_v2", pretrained=False)
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
