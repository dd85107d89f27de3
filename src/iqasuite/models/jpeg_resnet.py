"""JPEGResNet: the convolutional network of the individual-observer literature, a ResNet with five outputs.

Trained on the classes of JPEG quality it is the objective observer, on several distortions MDResNet, on one observer's
votes an AIO. torchvision's ResNet with random weights; `width` makes it narrow enough for two cores.

References: K. He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; L. Fotio Tiotsop et al., "Mimicking
Individual Media Quality Perception with Neural Network based Artificial Observers", ACM TOMM 18(1), 2022.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from iqasuite.errors import InputError
from iqasuite.models.backbones import Backbone, folded
from iqasuite.models.network import Network
from iqasuite.pixel_values import IMAGENET_MEAN, IMAGENET_STD

DEPTHS = {18: (BasicBlock, (2, 2, 2, 2)), 50: (Bottleneck, (3, 4, 6, 3))}


class _Layers(ResNet):
    """torchvision's, all layers `width` times as wide."""

    def __init__(self, depth: int, width: float):
        self.width = width
        block, blocks = DEPTHS[depth]
        super().__init__(block, list(blocks), num_classes=1)
        n = self._channels(64)
        if n != 64:
            self.conv1, self.bn1 = nn.Conv2d(3, n, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(n)

    def _channels(self, planes: int) -> int:
        # never 8: with AVX-512, oneDNN (torch 2.15) writes past its buffer in the backward pass of a 1 x 1 convolution
        # of 8 channels with stride 2, and the process ends
        return max(16, round(planes * self.width / 16) * 16)

    def _make_layer(self, block, planes, blocks, stride=1, dilate=False):
        if planes == 64:  # the first group, which reads what the first convolution gives
            self.inplanes = self._channels(64)
        return super()._make_layer(block, self._channels(planes), blocks, stride, dilate)


class JPEGResNet(Network):
    """Normalised RGB images (B, 3, H, W), any size from 32 pixels -> logits (B, n_classes) of classes or votes.

    Args:
        depth: 18 or 50.
        width: of all layers, 1 = torchvision's 64 to 512 channels (times 4 at depth 50); rounded to 16 channels.
        image_size: side in pixels of the crops that it is trained on.
        n_classes: outputs.

    Raises:
        InputError: an argument outside of what is listed here.
    """

    def __init__(self, *, depth: int = 18, width: float = 1.0, image_size: int = 192, n_classes: int = 5):
        super().__init__()
        if depth not in DEPTHS or not width > 0 or image_size < 32 or n_classes < 1:
            found = f"depth {depth}, width {width}, image_size {image_size}, n_classes {n_classes}"
            raise InputError(f"jpeg_resnet: {found}; expected depth 18 or 50, > 0, 32 or more, 1 or more")
        self.image_size = image_size
        net = _Layers(depth, width)
        first = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
        layers = nn.Sequential(first, net.layer1, net.layer2, net.layer3, net.layer4)
        self.features = Backbone(layers, IMAGENET_MEAN, IMAGENET_STD)
        self.head = nn.Linear(self.features.channels, n_classes)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN))
        self.register_buffer("std", torch.tensor(IMAGENET_STD))

    def forward(self, x: Tensor) -> Tensor:
        return self.predicted(self.embedded(x))

    def embedded(self, x: Tensor) -> Tensor:
        return self.features(x).float().mean((2, 3))

    def predicted(self, embedded: Tensor) -> Tensor:
        """The head's logits (..., n_classes) of what it is given (..., dim), in float32 also where the rest is not."""
        with torch.autocast(embedded.device.type, enabled=False):
            return self.head(embedded)

    def local(self, x: Tensor) -> Tensor:
        """Logits at each position of the last feature map; their mean over the positions is the prediction's.

        Reference: B. Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016.
        """
        return self.predicted(self.features(x).float().permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def fold(self) -> None:
        self.features = folded(self.features)
