"""EfficientNet-Lite2, with timm's names of parameters: inverted residuals without squeeze-and-excitation, ReLU6.

In the order the data meets them: padding, the stem, blocks of three convolutions, stages of blocks, the whole network.
timm has it as well; this one is there without the seconds that timm takes to import.

References: M. Tan and Q. Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019;
R. Liu, "Higher accuracy on vision models with EfficientNet-Lite", TensorFlow blog, 2020.
"""

from __future__ import annotations

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

# blocks, kernel, stride of the first block, expansion, channels of each stage
STAGES = (
    (1, 3, 1, 1, 16),
    (3, 3, 2, 6, 24),
    (3, 5, 2, 6, 48),
    (4, 3, 2, 6, 88),
    (4, 5, 1, 6, 120),
    (5, 5, 2, 6, 208),
    (1, 3, 1, 6, 352),
)
FIRST, LAST = 32, 1280  # channels of the stem and of the last convolution
Norm = partial(nn.BatchNorm2d, eps=1e-3)


class SamePad(nn.Module):
    """TensorFlow's padding before a convolution of stride 2: what is odd goes to the right and to the bottom."""

    def __init__(self, kernel: int):
        super().__init__()
        self.kernel = kernel

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = (self.kernel - 2 + side % 2 for side in (x.shape[-2], x.shape[-1]))
        return F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))


class Stem(nn.Conv2d):
    """The first convolution: images (B, 3, H, W) -> (B, 32, H/2, W/2)."""

    def __init__(self) -> None:
        super().__init__(3, FIRST, 3, 2, bias=False)
        self.pad = SamePad(3)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.pad(x))


class NormAct(nn.BatchNorm2d):
    """Batch norm and ReLU6."""

    def __init__(self, channels: int):
        super().__init__(channels, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(super().forward(x))


class Separable(nn.Module):
    """A depthwise and a pointwise convolution: (B, C, H, W) -> (B, D, H, W)."""

    def __init__(self, channels: int, out: int, kernel: int):
        super().__init__()
        self.conv_dw = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=False)
        self.bn1 = Norm(channels)
        self.conv_pw = nn.Conv2d(channels, out, 1, bias=False)
        self.bn2 = Norm(out)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv_pw(F.relu6(self.bn1(self.conv_dw(x)))))


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project: (B, C, H, W) -> (B, D, H/stride, W/stride)."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        inner = channels * expansion
        self.conv_pw = nn.Conv2d(channels, inner, 1, bias=False)
        self.bn1 = Norm(inner)
        self.pad = SamePad(kernel) if stride == 2 else nn.Identity()
        padding = kernel // 2 if stride == 1 else 0
        self.conv_dw = nn.Conv2d(inner, inner, kernel, stride, padding, groups=inner, bias=False)
        self.bn2 = Norm(inner)
        self.conv_pwl = nn.Conv2d(inner, out, 1, bias=False)
        self.bn3 = Norm(out)
        self.adds = channels == out and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self.bn1(self.conv_pw(x)))
        y = F.relu6(self.bn2(self.conv_dw(self.pad(y))))
        y = self.bn3(self.conv_pwl(y))
        return x + y if self.adds else y


class EfficientNetLite2(nn.Module):
    """Normalised images (B, 3, H, W) -> logits of ImageNet's classes (B, 1000)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem, self.bn1 = Stem(), NormAct(FIRST)
        stages, channels = [], FIRST
        for n, kernel, stride, expansion, out in STAGES:
            blocks: list[nn.Module] = []
            for i in range(n):
                blocks.append(
                    Separable(channels, out, kernel)
                    if expansion == 1
                    else InvertedResidual(channels, out, kernel, 1 if i else stride, expansion)
                )
                channels = out
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.conv_head, self.bn2 = nn.Conv2d(channels, LAST, 1, bias=False), NormAct(LAST)
        self.classifier = nn.Linear(LAST, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn2(self.conv_head(self.blocks(self.bn1(self.conv_stem(x)))))
        return self.classifier(x.mean((2, 3)))
