"""JPEGResNet: torchvision's network at width 1, a map whose mean is the prediction, two easy classes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision

from iqasuite.errors import InputError
from iqasuite.images.crops import normalise
from iqasuite.images.distortions.compression import jpeg
from iqasuite.models import create
from iqasuite.weights.files import load_weights, save_weights


def narrow(seed=0, **arguments):
    torch.manual_seed(seed)
    return create("jpeg_resnet", **{"width": 0.125} | arguments)


@pytest.mark.parametrize("depth", [18, 50])
def test_it_is_torchvision_s_resnet(depth):
    peer = torchvision.models.get_model(f"resnet{depth}", num_classes=5).eval()
    own = create("jpeg_resnet", depth=depth).eval()
    assert sum(p.numel() for p in own.parameters()) == sum(p.numel() for p in peer.parameters())
    own.load_state_dict(dict(zip(own.state_dict(), _in_order(own, peer), strict=True)))
    x = torch.randn(2, 3, 64, 80)
    with torch.no_grad():
        torch.testing.assert_close(own(x), peer(x), atol=1e-5, rtol=1e-4)


def _in_order(own, peer):
    """The peer's tensors in the order of ours, which has the statistics of the images in front or behind."""
    theirs = iter(peer.state_dict().values())
    return [value if name in ("mean", "std") else next(theirs) for name, value in own.state_dict().items()]


def test_shapes_and_the_map_whose_mean_is_the_prediction():
    model, x = narrow(n_classes=3).eval(), torch.randn(2, 3, 96, 128)
    with torch.no_grad():
        logits, local = model(x), model.local(x)
        assert logits.shape == (2, 3) and local.shape == (2, 3, 3, 4)
        torch.testing.assert_close(local.mean((2, 3)), logits, atol=1e-5, rtol=1e-4)
        before = model(x)
        model.fold()
        torch.testing.assert_close(model(x), before, atol=1e-4, rtol=1e-3)


def test_no_convolution_is_narrower_than_16_channels():
    for width in (0.01, 0.125, 0.2):  # 8 channels ended the process in training on processors with AVX-512
        for p in (p for p in narrow(width=width).parameters() if p.ndim == 4 and p.shape[1] != 3):
            assert p.shape[0] % 16 == 0 and p.shape[1] % 16 == 0


def soft_noise(seed, side=256):
    """Noise as soft as photographs: its power falls with the square of frequency."""
    fy, fx = np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side), indexing="ij")
    spectrum = np.fft.fft2(np.random.default_rng(seed).standard_normal((3, side, side)))
    pixels = np.fft.ifft2(spectrum / np.maximum(np.hypot(fy, fx), 1 / side)).real
    return np.ascontiguousarray(np.clip(128 + 45 * pixels / pixels.std(), 0, 255).astype(np.uint8).transpose(1, 2, 0))


def two_classes(seed, mean, std):
    """Sixteen crops at JPEG quality 5 and the same at 95, normalised, and their classes 0 and 1."""
    places = [(top, left) for top in range(0, 256, 64) for left in range(0, 256, 64)]
    both = [jpeg(soft_noise(seed), quality) for quality in (5, 95)]
    crops = np.stack([image[top : top + 64, left : left + 64] for image in both for top, left in places])
    x = normalise(torch.from_numpy(crops).permute(0, 3, 1, 2), mean, std)
    return x, torch.arange(2).repeat_interleave(len(places))


def test_two_easy_classes_of_jpeg_are_learnt():
    model, steps = narrow(n_classes=2).train(), 40
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / steps)
        x, classes = two_classes(step, model.mean, model.std)
        optimizer.zero_grad()
        F.cross_entropy(model(x), classes).backward()
        optimizer.step()
    x, classes = two_classes(steps, model.mean, model.std)
    with torch.no_grad():
        assert (model.eval()(x).argmax(1) == classes).float().mean() > 0.85


def test_weights_load_again_and_batch_norm_can_be_kept(tmp_path):
    model, x = narrow(), torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        model.train()(x)
    path = save_weights(model, tmp_path / "net.safetensors", {"scale": {"name": "JPEG class", "low": 1, "high": 5}})
    again, card = load_weights(path)
    assert card.architecture == "jpeg_resnet" and card.arguments == {"width": 0.125}
    torch.testing.assert_close(again(x), model.eval()(x))
    again.steady = True
    kept = again.train().features.layers[0][1].running_mean.clone()
    again(x)
    assert torch.equal(again.features.layers[0][1].running_mean, kept) and again.training


def test_wrong_arguments_are_said():
    with pytest.raises(InputError, match="jpeg_resnet: depth 34, .*expected depth 18 or 50"):
        create("jpeg_resnet", depth=34)
    with pytest.raises(InputError, match="width 0"):
        create("jpeg_resnet", width=0.0)
