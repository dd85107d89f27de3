"""TRCNN: features of a convolutional network, and a transformer that ranks images by them.

The faithful network pools the features to one vector before its transformer, which then attends over four patches of a
made-up 32 × 32 map; the corrected one attends over the positions of the feature map, so that its attention says which
regions of the image count. In the order the data meets them: positions, the transformer, the two networks.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from iqasuite.errors import InputError
from iqasuite.models.backbones import Backbone, backbone, folded
from iqasuite.models.mobile_nr import MobileConvolutions
from iqasuite.models.network import Network
from iqasuite.pixel_values import IMAGENET_MEAN, IMAGENET_STD


def sinusoids(n: int, dim: int, base: float = 1e4) -> Tensor:
    """Sines and cosines (n, dim) of the positions 0…n − 1 at wavelengths from 2π to `base` · 2π.

    Reference: A. Vaswani et al., "Attention Is All You Need", NeurIPS 2017.
    """
    angles = torch.arange(n)[:, None] / base ** (2 * (torch.arange(dim) // 2) / dim)
    return torch.where(torch.arange(dim) % 2 == 0, angles.sin(), angles.cos())


def grid_sinusoids(rows: int, columns: int, dim: int) -> Tensor:
    """Sinusoids (rows · columns, dim) of a grid's positions: half of the channels for the row, half for the column."""
    of_row, of_column = sinusoids(rows, dim // 2), sinusoids(columns, dim - dim // 2)
    shape = (rows, columns, -1)
    return torch.cat([of_row[:, None].expand(shape), of_column[None].expand(shape)], dim=-1).flatten(0, 1)


class Block(nn.Module):
    """Self-attention and two dense layers, each behind a layer norm and with a way around it: (B, N, dim)."""

    def __init__(self, dim: int, heads: int, mlp_dim: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_mlp = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.to_qkv, self.to_out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, mlp_dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(mlp_dim, dim))
        self.dropout = nn.Dropout(dropout)

    def queries(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        split = rearrange(self.to_qkv(self.norm_attention(x)), "b n (k h d) -> k b h n d", k=3, h=self.heads)
        return split[0], split[1], split[2]

    def forward(self, x: Tensor) -> Tensor:
        gathered = F.scaled_dot_product_attention(*self.queries(x))
        return self.end(x, gathered)

    def record(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`, with the attention weights, float32 (B, heads, N, N), rows summing to 1."""
        q, k, v = self.queries(x)
        attention = (q.float() @ k.float().transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(dim=-1)
        return self.end(x, attention.to(v.dtype) @ v), attention

    def end(self, x: Tensor, gathered: Tensor) -> Tensor:
        x = x + self.dropout(self.to_out(rearrange(gathered, "b h n d -> b n (h d)")))
        return x + self.dropout(self.mlp(self.norm_mlp(x)))


class TRCNN(Network):
    """Quality without a reference: normalised RGB images (B, 3, H, W) -> scores (B,), votes from 1 to 5.

    A score of 1 is the low end of the scale that the weights' card names, 5 its high end. Positions of the feature map
    are the tokens, CLS in front of them; the ranking head reads CLS.

    Args:
        base: torchvision classifier that gives the feature map; or "scratch", the mobile network's convolutions.
        width: of these.
        dim, depth, heads: of the transformer; its dense layers are twice as wide.
        dropout: in the transformer and before the head.
        frozen: first layers of the base that stay as they are. Its batch norm always uses the statistics that it came
            with.
        pretrained: give the base its ImageNet weights.

    Raises:
        InputError: dim is no multiple of heads, or an argument outside of its range.
    """

    def __init__(
        self,
        *,
        base: str = "mobilenet_v2",
        width: float = 1.0,
        dim: int = 128,
        depth: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
        frozen: int = 0,
        pretrained: bool = True,
    ):
        super().__init__()
        if dim < 1 or heads < 1 or dim % heads:
            raise InputError(f"trcnn: dim {dim}, heads {heads}; expected dim a multiple of heads")
        if depth < 1 or frozen < 0 or not 0 <= dropout < 1:
            found = f"depth {depth}, frozen {frozen}, dropout {dropout}"
            raise InputError(f"trcnn: {found}; expected 1 or more, 0 or more, from 0 to below 1")
        self.steady = base != "scratch"
        self.features: Backbone | MobileConvolutions
        mean: tuple[float, ...] = IMAGENET_MEAN
        std: tuple[float, ...] = IMAGENET_STD
        if self.steady:
            self.features = backbone(base, pretrained)
            self.features.layers[:frozen].requires_grad_(False)
            mean, std = self.features.mean, self.features.std
        else:
            self.features = MobileConvolutions(width)
        self.embed = nn.Sequential(nn.LayerNorm(self.features.channels), nn.Linear(self.features.channels, dim))
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, dim))
        self.blocks: Any = nn.ModuleList(Block(dim, heads, 2 * dim, dropout) for _ in range(depth))
        score = nn.Linear(dim, 1)
        self.rank = nn.Sequential(nn.LayerNorm(dim), nn.Dropout(dropout), score)
        nn.init.constant_(score.bias, 3.0)  # the middle of the scale
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))
        self.train(self.training)

    def tokens(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Embedded sequence (B, 1 + h · w, dim), CLS first, and the grid (h, w)."""
        features = self.features(x)
        height, width = features.shape[-2:]
        positions = self.embed(features.flatten(2).transpose(1, 2).float()).float()  # sums of blocks stay precise
        positions = positions + grid_sinusoids(height, width, positions.shape[-1]).to(positions)
        sequence = torch.cat([self.cls_token.to(positions).expand(x.shape[0], -1, -1), positions], dim=1)
        return sequence, (height, width)

    def forward(self, x: Tensor) -> Tensor:
        sequence, _ = self.tokens(x)
        for block in self.blocks:
            sequence = block(sequence)
        return self.ranked(sequence[:, 0])

    def ranked(self, cls: Tensor) -> Tensor:
        """Scores (B,) of the last CLS (B, dim), in float32 also where the rest is not."""
        with torch.autocast(cls.device.type, enabled=False):  # bfloat16 has 64 steps to a vote
            return self.rank(cls.float()).squeeze(-1)

    def attentions(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        (sequence, grid), recorded = self.tokens(x), []
        for block in self.blocks:
            sequence, attention = block.record(sequence)
            recorded.append(attention)
        return torch.stack(recorded, dim=1), grid

    def fold(self) -> None:
        self.features = folded(self.features)


class FaithfulTRCNN(Network):
    """TRCNN as its author ran it: images (B, 3, H, W) -> scores (B,), votes from 1 to 5.

    ResNet-18's pooled 512 numbers become a map of 32 × 32, whose four patches of 16 × 16 a transformer of width 9
    reads (three heads, three layers); a softmax over ten factors and a small network with a sigmoid give the score.

    Args:
        base: torchvision classifier that gives the vector.
        pretrained: give the base its ImageNet weights.
    """

    DIM, HEADS, DEPTH, FACTORS = 9, 3, 3, 10

    def __init__(self, *, base: str = "resnet18", pretrained: bool = True):
        super().__init__()
        self.features = backbone(base, pretrained)
        self.to_map = nn.Linear(self.features.channels, 32 * 32)
        self.embed = nn.Linear(16 * 16, self.DIM)
        self.cls_token = nn.Parameter(torch.randn(1, 1, self.DIM))
        self.blocks = nn.ModuleList(Block(self.DIM, self.HEADS, 4 * self.DIM, 0.0) for _ in range(self.DEPTH))
        self.factors = nn.Linear(self.DIM, self.FACTORS)
        self.rank = nn.Sequential(
            nn.Linear(self.FACTORS, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1), nn.Sigmoid()
        )
        self.register_buffer("mean", torch.tensor(self.features.mean))
        self.register_buffer("std", torch.tensor(self.features.std))

    def forward(self, x: Tensor) -> Tensor:
        made_up = self.to_map(self.features(x).float().mean((2, 3)))  # 32 rows of 32
        patches = rearrange(made_up, "b (h p w q) -> b (h w) (p q)", h=2, p=16, w=2, q=16)
        sequence = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), self.embed(patches)], dim=1)
        sequence = sequence + sinusoids(sequence.shape[1], self.DIM).to(sequence)
        for block in self.blocks:
            sequence = block(sequence)
        with torch.autocast(sequence.device.type, enabled=False):  # bfloat16 has 64 steps to a vote
            factors = self.factors(sequence[:, 0].float()).softmax(dim=-1)
            return 1 + 4 * self.rank(factors).squeeze(-1)

    def fold(self) -> None:
        self.features = folded(self.features)
