"""Maps of where in an image a prediction comes from: one interface to attention, class activation, gradients,
occlusion and local quality, for every network that can have them.

A map is (rows, columns) over the whole image and has more where there is more: of what is attended to, or of what makes
the network find the image bad (`Network.badness`; for windows and local quality, 5 less the expected vote).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from iqasuite.errors import InputError
from iqasuite.explain.attention import focus_layer, layer_head_maps, rollout
from iqasuite.explain.patches import patch_map
from iqasuite.images.crops import normalise
from iqasuite.images.patches import patch_boxes
from iqasuite.models.heads import expected_vote
from iqasuite.models.network import Network

CELL = 16  # side in pixels of the places of maps that are made of pixels
SMALLEST = 32  # pixels a side, of images and of windows
STEPS = 8  # between the plain image and the image, of integrated gradients
OCCLUDED = 6  # squares a side that are covered, one at a time
_COPIES = 16  # covered images and windows that go through a network together

Maker = Callable[[Network, Tensor], np.ndarray]


def below_best(outputs: Tensor) -> Tensor:
    """5 less the expected votes (B,) of scores (B,) or logits (B, k): 0 is the best."""
    return 5 - (outputs.float() if outputs.ndim == 1 else expected_vote(outputs.float()))


def _attention(of_weights: Callable[[Tensor, tuple[int, int]], np.ndarray]) -> Maker:
    @torch.no_grad()
    def make(network: Network, x: Tensor) -> np.ndarray:
        found = network.attentions(x)
        assert found is not None
        return of_weights(*found)

    return make


def _features(network: Network, x: Tensor) -> tuple[Tensor, Tensor]:
    """The last map of features (1, C, h, w), and the gradient of the badness with respect to it."""
    layer, kept = network.cam_layer(), list[Tensor]()
    assert layer is not None
    handle = layer.register_forward_hook(lambda module, given, output: kept.append(output))
    try:
        value = network.badness(x.requires_grad_())
    finally:
        handle.remove()
    (gradient,) = torch.autograd.grad(value.sum(), kept[0])
    parts = kept[0].detach(), gradient
    if kept[0].ndim == 3:  # tokens, class token first; those of several scales become channels
        found = network.attentions(x)
        grid = (1, kept[0].shape[1] - 1) if found is None else found[1]
        parts = tuple(t[:, 1:].transpose(1, 2).unflatten(2, (-1, *grid)).flatten(1, 2) for t in parts)
    return parts[0].float(), parts[1].float()


def grad_cam(features: Tensor, gradient: Tensor) -> Tensor:
    """Positive part of the features' sum, each channel weighted with its mean gradient: (B, C, h, w) -> (B, h, w).

    Reference: R. Selvaraju et al., "Grad-CAM", ICCV 2017.
    """
    return (gradient.mean((2, 3), keepdim=True) * features).sum(1).relu()


def layer_cam(features: Tensor, gradient: Tensor) -> Tensor:
    """As `grad_cam`, each place weighted with its own positive gradient.

    Reference: P.-T. Jiang et al., "LayerCAM", IEEE Transactions on Image Processing 30, 2021.
    """
    return (gradient.relu() * features).sum(1).relu()


def _cam(weigh: Callable[[Tensor, Tensor], Tensor]) -> Maker:
    return lambda network, x: weigh(*_features(network, x)).numpy(force=True)


def _gradient(network: Network, x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    return torch.autograd.grad(network.badness(x).sum(), x)[0]


def _in_cells(pixels: Tensor) -> np.ndarray:
    """Mean of values (1, 3, H, W) in cells, summed over the channels."""
    return F.avg_pool2d(pixels.sum(1, keepdim=True), CELL, ceil_mode=True)[:, 0].numpy(force=True)


def _integrated_gradients(network: Network, x: Tensor) -> np.ndarray:
    """Of the way from the image's mean colour to the image; the sum over all pixels is the difference of badness.

    Reference: M. Sundararajan, A. Taly and Q. Yan, "Axiomatic Attribution for Deep Networks", ICML 2017.
    """
    plain = x.mean((2, 3), keepdim=True).expand_as(x)
    shares = (np.arange(STEPS) + 0.5) / STEPS
    mean = torch.stack([_gradient(network, plain + float(share) * (x - plain)) for share in shares]).mean(0)
    return _in_cells((x - plain) * mean)


@torch.no_grad()
def _occlusion(network: Network, x: Tensor) -> np.ndarray:
    """How much less bad the image is found with a square of its mean colour over a place.

    Reference: M. Zeiler and R. Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014.
    """
    edges = [np.linspace(0, side, OCCLUDED + 1).round().astype(int) for side in x.shape[-2:]]
    plain, covered = x.mean((2, 3), keepdim=True)[0], []
    for top, bottom in zip(edges[0], edges[0][1:], strict=False):
        for left, right in zip(edges[1], edges[1][1:], strict=False):
            one = x[0].clone()
            one[:, top:bottom, left:right] = plain
            covered.append(one)
    return (network.badness(x).item() - _of_many(network.badness, covered)).reshape(1, OCCLUDED, OCCLUDED)


@torch.no_grad()
def _windows(network: Network, x: Tensor) -> np.ndarray:
    """Badness of windows of three eighths of the shorter side, each by itself, where they overlap their mean."""
    unit = max(CELL, _patch(network))
    side = max(SMALLEST, unit, min(x.shape[-2:]) * 3 // 8 // unit * unit)
    height, width = x.shape[-2:]
    boxes = patch_boxes(height, width, side, 1 - max(8, side // 24 * 8) / side)  # a third apart, in JPEG's blocks
    cut = [x[0, :, top:bottom, left:right] for top, left, bottom, right in boxes]
    return patch_map(_of_many(lambda part: below_best(network(part)), cut), boxes, CELL)[None]


def _of_many(value: Callable[[Tensor], Tensor], images: list[Tensor]) -> np.ndarray:
    parts = [torch.stack(images[start : start + _COPIES]) for start in range(0, len(images), _COPIES)]
    return torch.cat([value(part) for part in parts]).double().numpy(force=True)


@torch.no_grad()
def _quality(network: Network, x: Tensor) -> np.ndarray:
    local = network.local(x)
    assert local is not None
    bad = below_best(local.permute(0, 2, 3, 1).flatten(0, 2).squeeze(1))
    return bad.view(1, *local.shape[-2:]).float().numpy(force=True)


def _attends(network: Network) -> bool:
    return type(network).attentions is not Network.attentions


def _has_features(network: Network) -> bool:
    return network.cam_layer() is not None


# Name -> how it is made, which networks can have it, and what the others lack.
_METHODS: dict[str, tuple[Maker, Callable[[Network], bool], str]] = {
    "attention": (_attention(lambda *found: focus_layer(layer_head_maps(*found))), _attends, "attention"),
    "rollout": (_attention(rollout), _attends, "attention"),
    "grad_cam": (_cam(grad_cam), _has_features, "convolutions or tokens"),
    "layer_cam": (_cam(layer_cam), _has_features, "convolutions or tokens"),
    "input_gradients": (lambda network, x: _in_cells(_gradient(network, x).abs()), lambda network: True, ""),
    "integrated_gradients": (_integrated_gradients, lambda network: True, ""),
    "occlusion": (_occlusion, lambda network: True, ""),
    "windows": (_windows, lambda network: True, ""),
    "quality": (_quality, lambda network: type(network).local is not Network.local, "quality of its places"),
}
METHODS = tuple(_METHODS)


def methods_of(network: Network) -> list[str]:
    """Names of the maps that a network can have.

    Raises:
        InputError: it is none, or is not given images alone.
    """
    if not isinstance(network, Network):
        raise InputError(f"maps of {type(network).__name__}: a metric has none; expected a network of models.create")
    if not hasattr(network, "mean") or network.architecture == "siamese_fr":
        name = network.architecture or type(network).__name__
        raise InputError(f"maps of {name}: it is not given single images; expected a no-reference network of images")
    return [name for name, (_, can_have, _) in _METHODS.items() if can_have(network)]


def maps(network: Network, images: np.ndarray, method: str) -> np.ndarray:
    """Where in images a network's prediction comes from.

    Args:
        network: a no-reference network.
        images: uint8 (n, H, W, 3), as they are shown to it; sides of 32 or more pixels, multiples of its patches.
        method: "attention" (of the last layer) or "rollout"; of the badness "grad_cam", "layer_cam", "input_gradients"
            (absolute), "integrated_gradients", "occlusion"; "windows" (badness of overlapping windows, each by itself)
            or "quality" (of places, as the network's own `local` says).

    Returns:
        float32 (n, rows, columns); more where there is more.

    Raises:
        InputError: an unknown method, or one that the network cannot have; images of another kind or too small.
    """
    if method not in _METHODS:
        raise InputError(f"maps: method is {method!r}, expected one of {', '.join(METHODS)}")
    can_have = methods_of(network)
    make, _, lacks = _METHODS[method]
    if method not in can_have:
        raise InputError(
            f"maps: {network.architecture} has no {lacks}, so no {method}; expected one of {', '.join(can_have)}"
        )
    _check(network, np.asarray(images))
    device = network.mean.device
    with _evaluating(network):
        found = [make(network, normalise(_batch(image).to(device), network.mean, network.std)) for image in images]
    return np.concatenate(found).astype(np.float32)


def _patch(network: Network) -> int:
    """Side in pixels of the largest patches that it cuts images into; 1 = it cuts none."""
    sides = [getattr(module, "patch_size", 1) for module in network.modules()]
    return max(side for side in sides if isinstance(side, int))


def _batch(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]


def _check(network: Network, images: np.ndarray) -> None:
    patch = _patch(network)
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8 or not len(images):
        raise InputError(f"maps: images {images.dtype} {images.shape}, expected uint8 (n, H, W, 3), n ≥ 1")
    height, width = images.shape[1:3]
    if min(height, width) < max(SMALLEST, patch):
        expected = f"{SMALLEST} or more a side" if patch <= SMALLEST else f"a patch of {patch} or more a side"
        raise InputError(f"maps: images of {width}×{height} pixels; expected {expected}")
    if height % network.patch_size or width % network.patch_size:
        raise InputError(f"maps: images of {width}×{height} pixels; expected multiples of {network.patch_size}")


@contextmanager
def _evaluating(network: Network) -> Iterator[None]:
    training = network.training
    network.eval()
    try:
        with torch.enable_grad():
            yield
    finally:
        network.train(training)


def shares(maps: np.ndarray) -> np.ndarray:
    """Maps (…, rows, columns) in multiples of an even share: 1 everywhere where all places have as much.

    What is below 0, a place that makes the image better, is 0; a map without anything is even.
    """
    positive = np.maximum(np.asarray(maps, np.float64), 0)
    mean = positive.mean((-2, -1), keepdims=True)
    return np.where(mean > 0, positive / np.where(mean > 0, mean, 1), 1.0)
