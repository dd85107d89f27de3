"""Feature maps of torchvision classifiers (or of no network at all), and the vectors and tokens made of them."""

from __future__ import annotations

import copy
import json
import logging
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from iqasuite.errors import InputError
from iqasuite.models.spectrum import SpectrumMap
from iqasuite.paths import weights_roots
from iqasuite.pixel_values import IMAGENET_MEAN, IMAGENET_STD

logger = logging.getLogger(__name__)
Layers = TypeVar("Layers", bound=nn.Module)  # `Backbone`, or nn.Sequential
# Weights ported from TensorFlow. torchvision's `transform_input` turns ImageNet's statistics into these, so that inputs
# normalised with these need no transform.
HALF = (0.5, 0.5, 0.5)
TENSORFLOW = {"googlenet", "inception_v3"}
CLASSIFIER = {"avgpool", "classifier", "dropout", "fc", "head", "heads"}  # parts behind the last feature map


class Backbone(nn.Module):
    """The convolutional layers of a classifier: images (B, 3, H, W) -> feature map (B, channels, h, w).

    Attributes:
        mean, std: normalisation of inputs in [0, 1] that the weights were trained with, three numbers each.
        channels: of the last layer's feature map.
        stride: input pixels per position of that map, at 256 pixels.
        precise: whether it must compute in float32 also where the machine has bfloat16.
    """

    def __init__(self, layers: nn.Sequential, mean: tuple[float, ...], std: tuple[float, ...], precise: bool = False):
        super().__init__()
        self.precise = precise
        for layer in layers:
            if getattr(layer, "inplace", False):  # it would change the map of the layer before, which may be a tap
                layer.inplace = False  # type: ignore[assignment]  # torch's types know tensors and modules alone
        self.layers, self.mean, self.std = layers.to(memory_format=torch.channels_last), tuple(mean), tuple(std)
        last = self.shapes((256, 256), (len(layers) - 1,))[0]
        self.channels, self.stride = last[0], round(256 / last[1])

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.contiguous(memory_format=torch.channels_last))

    def maps(self, x: Tensor, taps: tuple[int, ...]) -> list[Tensor]:
        """Feature maps after the layers `taps` (indices, negative from the end), in the order of the layers."""
        wanted, maps = {tap % len(self.layers) for tap in taps}, []
        x = x.contiguous(memory_format=torch.channels_last)
        for index, layer in enumerate(self.layers[: max(wanted) + 1]):
            x = layer(x)
            if index in wanted:
                maps.append(x)
        return maps

    def widths(self, taps: tuple[int, ...]) -> list[int]:
        """Channels of the maps after the layers `taps`, in the order of the layers.

        Raises:
            InputError: a number that no layer has.
        """
        n = len(self.layers)
        if not taps or any(not -n <= tap < n for tap in taps):
            raise InputError(f"taps {tuple(taps)}: expected layer numbers in 0…{n - 1}, or negative from the end")
        return [shape[0] for shape in self.shapes((256, 256), tuple(taps))]

    @torch.no_grad()
    def shapes(self, size: tuple[int, int], taps: tuple[int, ...]) -> list[tuple[int, int, int]]:
        """Channels, rows and columns of the maps of an image of `size` (height, width), found without computing."""
        shadow = copy.deepcopy(self).to("meta").eval()
        maps = shadow.maps(torch.empty(1, 3, *size, device="meta"), taps)
        return [(m.shape[1], m.shape[2], m.shape[3]) for m in maps]


def backbone(name: str, pretrained: bool = True) -> Backbone:
    """Convolutional layers of the torchvision classifier `name`, with ImageNet weights or random ones; or `spectrum`.

    Any classifier whose layers before its pooling follow one another and give maps (B, channels, h, w): AlexNet, VGG,
    ResNet and its kin, DenseNet, SqueezeNet, Inception, GoogLeNet, MobileNet, ShuffleNet, MNASNet, EfficientNet,
    RegNet, ConvNeXt; not transformers.

    `spectrum` has no weights: the log power of patches of 16 × 16 pixels in rings of spatial frequency
    (`spectrum.PatchSpectrum`). It needs no download.

    Weights: `<name>.safetensors` of `IQASUITE_WEIGHTS` or `weights/` (torchvision's parameter names; `mean` and `std`
    in its metadata as JSON lists; where absent ImageNet's, or .5 for Inception and GoogLeNet), else torchvision's own
    download.

    Raises:
        InputError: no such classifier, or none with convolutional layers to be read; a weights file that does not fit;
            no weights and no network.
    """
    if name == "spectrum":
        return Backbone(nn.Sequential(SpectrumMap(16)), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), precise=True)
    import torchvision  # takes seconds, which networks without it need not wait for

    if name not in torchvision.models.list_models(module=torchvision.models):
        raise InputError(f"backbone: torchvision {torchvision.__version__} has no classifier {name!r}")
    given = {"init_weights": not pretrained} if name in TENSORFLOW else {}  # theirs takes seconds
    model = torchvision.models.get_model(name, weights=None, **given)
    mean: tuple[float, ...] = HALF if name in TENSORFLOW else IMAGENET_MEAN
    std: tuple[float, ...] = HALF if name in TENSORFLOW else IMAGENET_STD
    layers = _layers(model, name)
    if pretrained:
        places = [root / f"{name}.safetensors" for root in weights_roots()]
        path = next((place for place in places if place.is_file()), None)
        state, mean, std = _read(path, mean, std) if path else (_download(name), mean, std)
        try:
            model.load_state_dict(state)
        except RuntimeError as error:
            message = " ".join(str(error).split())[:300]
            raise InputError(f"{path or name}: not the weights of {name}: {message}") from None
    return Backbone(layers, mean, std)


def at_hand(name: str) -> bool:
    """Whether the ImageNet weights of a torchvision classifier are here, in a weights folder or from its download."""
    import torch.hub
    import torchvision

    if any((root / f"{name}.safetensors").is_file() for root in weights_roots()):
        return True
    url = torchvision.models.get_model_weights(name).DEFAULT.url
    return (Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]).is_file()


def folded(network: Layers) -> Layers:
    """A copy for inference with batch norms folded into their convolutions: the same maps up to rounding, sooner.

    Args:
        network: a backbone, or layers that follow one another (`mobile_nr.MobileConvolutions`).
    """
    copied = copy.deepcopy(network).eval()
    layers: Any = copied.layers if isinstance(copied, Backbone) else copied
    for position, layer in enumerate(layers):
        layers[position] = _fused(layer)
    return copied.requires_grad_(False).to(memory_format=torch.channels_last)


def average(maps: list[Tensor]) -> Tensor:
    """Mean over the positions of each map (B, C, h, w), the maps side by side: (B, ΣC) float32."""
    return torch.cat([m.float().mean((2, 3)) for m in maps], dim=1)


def moments(maps: list[Tensor]) -> Tensor:
    """Mean and standard deviation (n) over the positions of each map (B, C, h, w): (B, 2·ΣC) float32.

    The means of the first map, its standard deviations, the means of the second, …
    """
    found = [torch.var_mean(m.float(), dim=(2, 3), correction=0) for m in maps]
    return torch.cat([part for variance, mean in found for part in (mean, variance.sqrt())], dim=1)


class BackboneTokens(nn.Module):
    """Tokens (B, N, channels) of normalised images (B, 3, H, W): positions of a classifier's feature map.

    With `cells`, each map is pooled to cells × cells: the mean and the standard deviation of each cell's features, the
    maps of all `taps` side by side. With `scales`, this is done with the image's shorter side brought to each scale,
    and the tokens of all scales follow one another (scale, row, column).
    """

    def __init__(
        self,
        name: str,
        scales: tuple[int, ...] | None = None,
        taps: tuple[int, ...] | None = None,
        cells: int | None = None,
        freeze: bool = True,
        pretrained: bool = True,
    ):
        super().__init__()
        self.backbone = backbone(name, pretrained)
        self.scales, self.taps = tuple(scales or (None,)), tuple(taps or (-1,))
        widths = self.backbone.widths(self.taps)
        self.cells = cells or (4 if scales or taps else None)
        self.n_scales = len(self.scales)
        self.channels = 2 * sum(widths) if self.cells else widths[0]
        self._grids: dict[tuple[int, int], tuple[int, int]] = {}
        self.backbone.requires_grad_(not freeze)
        self.train(self.training)

    def train(self, mode: bool = True) -> BackboneTokens:
        # A few images a batch are too few for new batch norm statistics, also where the weights are tuned.
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self._tokens(shorter_side(x, scale)) for scale in self.scales], dim=1)

    def _tokens(self, x: Tensor) -> Tensor:
        maps = self.backbone.maps(x, self.taps)
        if self.cells:
            maps = [part for m in maps for part in _cell_statistics(m, self.cells)]
        return torch.cat(maps, dim=1).flatten(2).transpose(1, 2)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        if self.cells:
            return self.cells, self.cells
        if (height, width) not in self._grids:
            self._grids[height, width] = self.backbone.shapes((height, width), self.taps)[0][1:]
        return self._grids[height, width]


def _cell_statistics(x: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (B, C, cells, cells) of a map (B, C, h, w) in each cell."""
    x = x.float()
    mean = F.adaptive_avg_pool2d(x, cells)
    # .1 % of the square against cancellation; the square root has no gradient at 0
    variance = F.adaptive_avg_pool2d(x.square(), cells) - mean.square()
    return mean, variance.clamp_min(1e-6).sqrt()


def shorter_side(x: Tensor, side: int | None) -> Tensor:
    """Images (B, 3, H, W) with their shorter side brought to `side` pixels (bilinear, anti-aliased); None = as is."""
    height, width = x.shape[-2:]
    if side is None or side == min(height, width):
        return x
    size = (round(height * side / min(height, width)), round(width * side / min(height, width)))
    return F.interpolate(x, size=size, mode="bilinear", antialias=True, align_corners=False)


def _layers(model: nn.Module, name: str) -> nn.Sequential:
    layers = _sequence(model)
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
    import torchvision

    children = dict(model.named_children())
    features = children.get("features")
    if isinstance(features, nn.Sequential):
        after = [nn.ReLU()] if isinstance(model, torchvision.models.DenseNet) else []  # in its forward only
        return nn.Sequential(*features, *after)
    if "layer4" in children:
        first = nn.Sequential(*(children[part] for part in ("conv1", "bn1", "relu", "maxpool")))
        return nn.Sequential(first, *(children[f"layer{i}"] for i in (1, 2, 3, 4)))
    layers: list[nn.Module] = []
    for part, child in children.items():
        if part in CLASSIFIER:
            break
        if not part.lower().startswith("aux"):  # second classifiers of Inception, for training
            layers += child if type(child) is nn.Sequential else [child]
    return nn.Sequential(*layers)


def _fused(layer: nn.Module) -> nn.Module:
    from torch import fx
    from torch.fx.experimental.optimization import fuse

    try:
        return fuse(layer, inplace=True)
    except (fx.proxy.TraceError, NotImplementedError, RuntimeError, TypeError):
        return layer  # its graph depends on values; it works as it is


def _read(
    path: Path, mean: tuple[float, ...], std: tuple[float, ...]
) -> tuple[dict[str, Tensor], tuple[float, ...], tuple[float, ...]]:
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
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
    import torchvision

    weights = torchvision.models.get_model_weights(name).DEFAULT
    logger.info("downloading the ImageNet weights of %s", name)
    try:
        return weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"backbone: no weights of {name} and no download ({error}); put {name}.safetensors into "
            f"{' or '.join(str(root) for root in weights_roots())}"
        ) from None
