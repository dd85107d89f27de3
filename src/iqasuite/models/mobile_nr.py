"""Mobile no-reference networks: depthwise-separable convolutions, small and quick.

In the order the data meets them: the convolutions from scratch (or torchvision's MobileNet), pooling, the quality head,
and the whole network, from images to a distribution over five steps of quality.

References: A. Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
arXiv 1704.04861; M. Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from iqasuite.errors import InputError
from iqasuite.models.backbones import Backbone, backbone, folded
from iqasuite.models.network import Network
from iqasuite.pixel_values import IMAGENET_MEAN, IMAGENET_STD

# Output channels and stride of each depthwise-separable layer, at width 1. MobileNet's first layer at half resolution
# is left out: on a CPU it alone took as long to train as all others together.
LAYERS = ((64, 2), (128, 1), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1))
POOLS = ("mean", "moments")


class Separable(nn.Module):
    """A depthwise and a pointwise convolution, each with batch norm and ReLU6: (B, C, H, W) -> (B, D, H/s, W/s)."""

    def __init__(self, channels: int, out: int, stride: int):
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False)
        self.norm_depth = nn.BatchNorm2d(channels)
        self.pointwise = nn.Conv2d(channels, out, 1, bias=False)
        self.norm_point = nn.BatchNorm2d(out)
        self.adds = channels == out and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self.norm_depth(self.depthwise(x)))
        y = F.relu6(self.norm_point(self.pointwise(y)))
        return x + y if self.adds else y


class MobileConvolutions(nn.Sequential):
    """The convolutions from scratch: images (B, 3, H, W) -> feature map (B, channels, H/16, W/16)."""

    def __init__(self, width: float = 1.0):
        widths = [max(8, round(channels * width / 8) * 8) for channels, _ in ((32, 2), *LAYERS)]
        first = nn.Sequential(nn.Conv2d(3, widths[0], 3, 2, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU6())
        steps = zip(widths, widths[1:], LAYERS, strict=False)
        super().__init__(first, *(Separable(c, d, stride) for c, d, (_, stride) in steps))
        self.channels = widths[-1]


class MobileNR(Network):
    """Quality without a reference: normalised RGB images (B, 3, H, W), any size from 32 pixels -> logits (B, 5).

    The five outputs are steps of quality from the low to the high end of a scale; which scale, the card of the weights
    says. Inputs are floats in [0, 1], normalised with the buffers `mean` and `std` (`iqasuite.images.crops.normalise`).

    Args:
        base: "scratch", or a torchvision classifier such as mobilenet_v2, mobilenet_v3_small, mobilenet_v3_large.
        width: of the layers from scratch, 1 = 64 to 512 channels.
        hidden: units of the head's layer; 0 = none, features -> logits.
        pool: of the feature map over positions: "mean", or "moments" (mean and standard deviation).
        dropout: before each layer of the head.
        n_classes: outputs; 1 gives scores (B,).
        frozen: first layers of a pre-trained base that stay as they are. Its batch norm always uses the statistics that
            it came with: a few images a batch are too few for new ones.
        pretrained: give the base its ImageNet weights.

    Raises:
        InputError: an argument outside of what is listed here.
    """

    def __init__(
        self,
        *,
        base: str = "scratch",
        width: float = 1.0,
        hidden: int = 128,
        pool: str = "moments",
        dropout: float = 0.2,
        n_classes: int = 5,
        frozen: int = 0,
        pretrained: bool = True,
    ):
        super().__init__()
        if pool not in POOLS:
            raise InputError(f"mobile_nr: pool is {pool!r}, expected one of {', '.join(POOLS)}")
        if not width > 0 or hidden < 0 or frozen < 0 or n_classes < 1 or not 0 <= dropout < 1:
            found = f"width {width}, hidden {hidden}, frozen {frozen}, n_classes {n_classes}, dropout {dropout}"
            raise InputError(f"mobile_nr: {found}; expected > 0, 0 or more, 0 or more, 1 or more, from 0 to below 1")
        self.features: MobileConvolutions | Backbone
        mean: tuple[float, ...] = IMAGENET_MEAN
        std: tuple[float, ...] = IMAGENET_STD
        if base == "scratch":
            if frozen:
                raise InputError(f"mobile_nr: frozen {frozen} layers from scratch; expected 0, or a pre-trained base")
            self.features = MobileConvolutions(width)
        else:
            self.features = backbone(base, pretrained)
            mean, std = self.features.mean, self.features.std
            self.features.layers[:frozen].requires_grad_(False)
        self.pool, self.steady = pool, base != "scratch"
        dim = self.features.channels * (2 if pool == "moments" else 1)
        inner = [nn.Dropout(dropout), nn.Linear(dim, hidden), nn.ReLU()] if hidden else []
        self.head = nn.Sequential(*inner, nn.Dropout(dropout), nn.Linear(hidden or dim, n_classes))
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))
        self.to(memory_format=torch.channels_last)
        self.train(self.training)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.predicted(self.embedded(x))
        return logits.squeeze(-1) if logits.shape[-1] == 1 else logits

    def embedded(self, x: Tensor) -> Tensor:
        return self.pooled(self.features(x.contiguous(memory_format=torch.channels_last)))

    def pooled(self, features: Tensor) -> Tensor:
        """What the head is given of a feature map (B, C, h, w): (B, C), or (B, 2C) with moments."""
        mean = features.float().mean((2, 3))
        if self.pool == "mean":
            return mean
        variance = features.float().square().mean((2, 3)) - mean.square()
        return torch.cat([mean, variance.clamp_min(1e-6).sqrt()], dim=1)  # the square root has no gradient at 0

    def predicted(self, embedded: Tensor) -> Tensor:
        """The head's logits (..., n_classes) of what it is given (..., dim), in float32 also where the rest is not."""
        with torch.autocast(embedded.device.type, enabled=False):  # bfloat16 has 64 steps to a vote
            return self.head(embedded)

    def local(self, x: Tensor, window: int = 3) -> Tensor:
        """Predictions of each neighbourhood alone: logits (B, n_classes, h, w) of a map's positions.

        Args:
            x: images (B, 3, H, W).
            window: side of a neighbourhood in positions of the feature map, odd.

        Raises:
            InputError: a window that has no middle.
        """
        if window < 1 or window % 2 == 0:
            raise InputError(f"mobile_nr: window {window}, expected an odd number of positions")
        features = self.features(x.contiguous(memory_format=torch.channels_last)).float()
        average = partial(F.avg_pool2d, kernel_size=window, stride=1, padding=window // 2, count_include_pad=False)
        given = mean = average(features)
        if self.pool == "moments":
            variance = average(features.square()) - mean.square()
            given = torch.cat([mean, variance.clamp_min(1e-6).sqrt()], dim=1)
        return self.predicted(given.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def fold(self) -> None:
        self.features = folded(self.features)
