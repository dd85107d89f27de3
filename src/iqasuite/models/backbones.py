"""Feature maps of classifiers (or of no network at all), and the vectors and tokens made of them."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from iqasuite.errors import InputError
from iqasuite.models.spectrum import SpectrumMap

Layers = TypeVar("Layers", bound=nn.Module)  # `Backbone`, or nn.Sequential


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
    """Convolutional layers of a classifier by name, with ImageNet weights or random ones; or `spectrum`.

    Any classifier whose layers before its pooling follow one another and give maps (B, channels, h, w):

    - torchvision's AlexNet, VGG, ResNet and its kin, DenseNet, SqueezeNet, Inception, GoogLeNet, MobileNet, ShuffleNet,
      MNASNet, EfficientNet, RegNet, ConvNeXt; not its transformers;
    - `efficientnet_lite2`, whose weights come with this package's dependencies and need no network;
    - `vgg16_hed`, VGG16 with convolutions that were tuned to find edges, from a weights folder;
    - the convolutional networks and plain vision transformers of timm (DINOv2, CLIP and SigLIP towers);
    - `spectrum`, which has no weights: the log power of patches of 16 × 16 pixels in rings of spatial frequency
      (`spectrum.PatchSpectrum`).

    Where weights are looked for is in `classifiers.classifier`.

    Raises:
        InputError: no such classifier, or none with layers that can be read; a weights file that does not fit; no
            weights and no network.
    """
    if name == "spectrum":
        return Backbone(nn.Sequential(SpectrumMap(16)), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), precise=True)
    from iqasuite.models.classifiers import classifier  # takes seconds, which networks without it need not wait for

    return Backbone(*classifier(name, pretrained))


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

    Args:
        statistics: mean and standard deviation that the images come normalised with; None = the network's own.
    """

    def __init__(
        self,
        name: str,
        scales: tuple[int, ...] | None = None,
        taps: tuple[int, ...] | None = None,
        cells: int | None = None,
        freeze: bool = True,
        pretrained: bool = True,
        statistics: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
    ):
        super().__init__()
        self.backbone = backbone(name, pretrained)
        own = self.backbone.mean, self.backbone.std
        self.statistics = None if statistics == own else statistics
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
        if self.statistics is not None:
            mean, std, own_mean, own_std = (
                x.new_tensor(values).view(-1, 1, 1)
                for values in (*self.statistics, self.backbone.mean, self.backbone.std)
            )
            x = (x * std + mean - own_mean) / own_std
        return torch.cat([self._tokens(shorter_side(x, scale)) for scale in self.scales], dim=1)

    def _tokens(self, x: Tensor) -> Tensor:
        maps = self.backbone.maps(x, self.taps)
        if self.cells:
            maps = [part for m in maps for part in cell_statistics(m, self.cells)]
        return torch.cat(maps, dim=1).flatten(2).transpose(1, 2)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        if self.cells:
            return self.cells, self.cells
        if (height, width) not in self._grids:
            self._grids[height, width] = self.backbone.shapes((height, width), self.taps)[0][1:]
        return self._grids[height, width]


def cell_statistics(x: Tensor, cells: int) -> tuple[Tensor, Tensor]:
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


def _fused(layer: nn.Module) -> nn.Module:
    from torch import fx
    from torch.fx.experimental.optimization import fuse

    try:
        return fuse(layer, inplace=True)
    except (fx.proxy.TraceError, NotImplementedError, RuntimeError, TypeError):
        return layer  # its graph depends on values; it works as it is
