"""Scores from sequences of patch features: a bidirectional recurrent network, and what it must be compared with.

Four networks from features (B, T, dim) and a mask (B, T) of the real patches to scores (B,), of any length T: patches
read in order (`BiRNN`), averaged (`MeanPooling`), weighted (`AttentionPooling`), compared with each other
(`PatchTransformer`). `matched_width` gives the latter three as many parameters as the first. What they share comes
first; padding never changes a score.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from iqasuite.errors import InputError
from iqasuite.models import create
from iqasuite.models.network import Network
from iqasuite.models.reduction import TokenReduction

CELLS = {"gru": nn.GRU, "lstm": nn.LSTM}


class TanhAttention(nn.Module):
    """Attention weights over a sequence: softmax of sharpness · tanh(w · h + b), 0 at padding, rows summing to 1.

    Args:
        width: of the states h.
        n_patches: a bias for each position, as in the study: sequences of that length only; None = one for all.
        sharpness: bounds the weights' ratio to exp(2 · sharpness). At the study's 1, no patch of nine has more than .48
            of the weight, so none can be picked out.
    """

    def __init__(self, width: int, n_patches: int | None = None, sharpness: float = 5.0):
        super().__init__()
        self.sharpness = sharpness
        self.weight = nn.Linear(width, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(n_patches or 1))

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        length = states.shape[1]
        if length not in (1, len(self.bias)) and len(self.bias) > 1:  # a single patch has all the weight anyway
            raise InputError(f"attention: sequences of {length} patches, expected {len(self.bias)} (n_patches)")
        energy = self.sharpness * torch.tanh(self.weight(states).squeeze(-1) + self.bias[:length])
        return energy.float().masked_fill(~mask, -torch.inf).softmax(dim=1)


def two_layers(dim: int, width: int, dropout: float) -> nn.Sequential:
    """Two dense layers: features (…, dim) -> (…, width)."""
    first = nn.Sequential(nn.Linear(dim, width), nn.ReLU(), nn.Dropout(dropout))
    return nn.Sequential(*first, nn.Linear(width, width), nn.ReLU())


class Dense(nn.Module):
    """Two dense layers and a score: pooled states (B, inputs) -> (B,), on the scale of the training targets.

    The buffers `mean` and `std` are the training targets' where those were standardised. With `relu` scores end at 0,
    as in the study.
    """

    def __init__(self, inputs: int, width: int, dropout: float, relu: bool = False):
        super().__init__()
        self.relu = relu
        self.layers = nn.Sequential(*two_layers(inputs, width, dropout), nn.Dropout(dropout), nn.Linear(width, 1))
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(0.0))
        self.register_buffer("std", torch.tensor(1.0))

    def forward(self, pooled: Tensor) -> Tensor:
        scores = self.mean + self.std * self.layers(pooled).squeeze(-1).float()
        return scores.relu() if self.relu else scores


def pooled(states: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean (B, width) of states (B, T, width)."""
    return torch.einsum("btd,bt->bd", states, weights.to(states.dtype))


class PatchNetwork(Network):
    """What the four have in common: states of the standardised patches, pooled by weights, two dense layers."""

    standardise: TokenReduction
    dense: Dense
    states: Any  # standardised features (B, T, dim) and mask -> (B, T, width)
    pool: Any  # states and mask -> weights (B, T), rows summing to 1

    def attention(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Scores (B,), and how much each patch counts in the pooling, float32 (B, T), rows summing to 1."""
        mask = x.new_ones(x.shape[:2], dtype=torch.bool) if mask is None else mask
        states = self.states(self.standardise(x), mask)
        weights = self.pool(states, mask)
        return self.dense(pooled(states, weights)), weights

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.attention(x, mask)[0]


class BiRNN(PatchNetwork):
    """Bidirectional recurrent network over the patches, attention pooling, two dense layers.

    Args:
        dim: of the features.
        hidden: units a direction and layer.
        layers: recurrent layers.
        cell: "gru" or "lstm".
        dropout: probability after each dense layer.
        dense: units of the dense layers.
        relu: scores end at 0; such a network can die, which is why it is off by default.
        n_patches, sharpness: of `TanhAttention`. The study's network has `relu=True`, its number of patches, and 1.

    Raises:
        InputError: unknown cell.

    Reference: "On the Use of Bi-RNN for Image Quality Assessment", github.com/hbrachemi/Bi-RNN-for-IQA.
    """

    def __init__(
        self,
        dim: int,
        hidden: int = 128,
        layers: int = 2,
        cell: str = "gru",
        dropout: float = 0.25,
        dense: int = 512,
        relu: bool = False,
        n_patches: int | None = None,
        sharpness: float = 5.0,
    ):
        super().__init__()
        if cell not in CELLS:
            raise InputError(f"birnn: cell is {cell!r}, expected one of {', '.join(CELLS)}")
        self.standardise = TokenReduction((dim,))
        self.rnn = CELLS[cell](dim, hidden, layers, batch_first=True, bidirectional=True)
        self.pool = TanhAttention(2 * hidden, n_patches, sharpness)
        self.dense = Dense(2 * hidden, dense, dropout, relu)

    def states(self, x: Tensor, mask: Tensor) -> Tensor:
        """States of both directions (B, T, 2 · hidden): each starts at its own end of the real patches."""
        if not mask[:, 0].all() or (mask[:, 1:] & ~mask[:, :-1]).any():
            raise InputError("birnn: the mask has gaps or begins with padding, expected the real patches first")
        packed = pack_padded_sequence(x, mask.sum(dim=1).cpu(), batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.rnn(packed)[0], batch_first=True, total_length=x.shape[1])[0]


class MeanPooling(PatchNetwork):
    """Each patch by itself through two layers, their mean, two dense layers: neither order nor choice.

    Args:
        dim: of the features.
        width: of all layers; see `matched_width`.
        dropout: probability after each dense layer and in the embedding.
        relu: scores end at 0.
    """

    def __init__(self, dim: int, width: int = 512, dropout: float = 0.25, relu: bool = False):
        super().__init__()
        self.standardise = TokenReduction((dim,))
        self.embed = two_layers(dim, width, dropout)
        self.dense = Dense(width, width, dropout, relu)

    def states(self, x: Tensor, mask: Tensor) -> Tensor:
        """What each patch is by itself, (B, T, width)."""
        return self.embed(x)

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        """Weights (B, T), the same for all real patches."""
        return mask.float() / mask.sum(dim=1, keepdim=True)


class AttentionPooling(PatchNetwork):
    """As `MeanPooling`, with the attention of `BiRNN` in place of the mean: choice without order.

    Args:
        dim, width, dropout, relu: as of `MeanPooling`.
        n_patches, sharpness: of `TanhAttention`.
    """

    def __init__(
        self,
        dim: int,
        width: int = 512,
        dropout: float = 0.25,
        relu: bool = False,
        n_patches: int | None = None,
        sharpness: float = 5.0,
    ):
        super().__init__()
        self.standardise = TokenReduction((dim,))
        self.embed = two_layers(dim, width, dropout)
        self.pool = TanhAttention(width, n_patches, sharpness)
        self.dense = Dense(width, width, dropout, relu)

    def states(self, x: Tensor, mask: Tensor) -> Tensor:
        """What each patch is by itself, (B, T, width)."""
        return self.embed(x)


class SelfAttention(nn.Module):
    """Multi-head attention of the real patches among each other; `width` need not be a multiple of `heads`."""

    def __init__(self, width: int, heads: int, dim_head: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm = nn.LayerNorm(width)
        self.to_qkv = nn.Linear(width, 3 * heads * dim_head, bias=False)
        self.to_out = nn.Linear(heads * dim_head, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        qkv = self.to_qkv(self.norm(x)).chunk(3, dim=-1)
        q, k, v = (rearrange(t, "b n (h d) -> b h n d", h=self.heads) for t in qkv)
        p = self.dropout if self.training else 0.0
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :], dropout_p=p)
        return self.to_out(rearrange(out, "b h n d -> b n (h d)"))


class PatchTransformer(PatchNetwork):
    """A small transformer over the patches with sinusoidal positions, attention pooling, two dense layers.

    Args:
        dim, width, dropout, relu: as of `MeanPooling`.
        depth: blocks of self-attention and feed-forward.
        heads, dim_head: of the self-attention.
        n_patches, sharpness: of `TanhAttention`.
    """

    def __init__(
        self,
        dim: int,
        width: int = 256,
        depth: int = 2,
        heads: int = 4,
        dim_head: int = 32,
        dropout: float = 0.25,
        relu: bool = False,
        n_patches: int | None = None,
        sharpness: float = 5.0,
    ):
        super().__init__()
        self.standardise = TokenReduction((dim,))
        self.embed = nn.Linear(dim, width)
        self.blocks: Any = nn.ModuleList(  # pairs, which torch's types do not know
            nn.ModuleList(
                [
                    SelfAttention(width, heads, dim_head, dropout),
                    nn.Sequential(
                        nn.LayerNorm(width),
                        nn.Linear(width, 2 * width),
                        nn.GELU(),
                        nn.Dropout(dropout),
                        nn.Linear(2 * width, width),
                    ),
                ]
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.pool = TanhAttention(width, n_patches, sharpness)
        self.dense = Dense(width, width, dropout, relu)

    def states(self, x: Tensor, mask: Tensor) -> Tensor:
        """What each patch is after it has attended to the others, (B, T, width)."""
        x = self.embed(x)
        x = x + positions(x.shape[1], x.shape[2]).to(x)
        for attend, feed_forward in self.blocks:
            x = x + attend(x, mask)
            x = x + feed_forward(x)
        return self.norm(x)


def positions(length: int, width: int) -> Tensor:
    """Sinusoidal position embedding (length, width).

    Reference: A. Vaswani et al., "Attention Is All You Need", arXiv 1706.03762.
    """
    pairs = (width + 1) // 2
    angles = torch.arange(length)[:, None] * torch.exp(-math.log(10_000) * torch.arange(pairs) / pairs)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :width]


NETWORKS = ("birnn", "mean_pooling", "attention_pooling", "patch_transformer")  # by their names in `models.create`


def patch_scores(model: nn.Module, x: Tensor, mask: Tensor | None = None) -> Tensor:
    """The score of each patch were it all there is, (B, T), nan at padding: a map of local quality."""
    scores = model(x.flatten(0, 1)[:, None]).unflatten(0, x.shape[:2])
    return scores if mask is None else scores.masked_fill(~mask, torch.nan)


def n_parameters(model: nn.Module) -> int:
    """How many numbers training can change."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def matched_width(kind: str, dim: int, parameters: int | None = None) -> int:
    """The width at which a network has as many parameters (within 2 %) as another, so that the two can be compared.

    Args:
        kind: "mean_pooling", "attention_pooling" or "patch_transformer".
        dim: of the features.
        parameters: of the other network; None = of `BiRNN(dim)`.

    Raises:
        InputError: another kind, or no width comes that close.
    """
    if kind not in NETWORKS[1:]:
        raise InputError(f"matched_width: kind is {kind!r}, expected one of {', '.join(NETWORKS[1:])}")

    def count(width: int) -> int:
        return n_parameters(create(kind, dim=dim, width=width))

    with torch.device("meta"):  # counted without a number being drawn
        wanted = n_parameters(BiRNN(dim)) if parameters is None else parameters
        low, high = 1, 2
        while count(high) < wanted:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if count(middle) < wanted else (low, middle)
        best = min((low, high), key=lambda width: abs(count(width) - wanted))
        found = count(best)
    if abs(found - wanted) > 0.02 * wanted:
        raise InputError(f"matched_width: {kind} of width {best} has {found} parameters, expected about {wanted}")
    return best
