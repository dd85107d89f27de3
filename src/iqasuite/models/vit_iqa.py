"""ViT-IQA: a vision transformer for small data sets that predicts one person's votes.

In the order the data meets them: shifted patch tokens (or the feature map of a pre-trained network), locality
self-attention, the transformer, the trunk (tokens -> logits) and the whole network (image -> logits).

Reference: S. H. Lee, S. Lee and B. C. Song, "Vision Transformer for Small-Size Datasets", arXiv 2112.13492,
after `vit_pytorch.vit_for_small_dataset`, whose outputs it gives with the same weights.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from scipy.fft import dct
from torch import Tensor, nn
from vit_pytorch.vit_for_small_dataset import FeedForward

from iqasuite.errors import InputError
from iqasuite.models.backbones import BackboneTokens
from iqasuite.models.heads import OrdinalHead
from iqasuite.models.reduction import TokenReduction
from iqasuite.models.spectrum import JoinedTokens, SpectrumTokens
from iqasuite.pixel_values import IMAGENET_MEAN, IMAGENET_STD

SIZES = {
    "tiny": {"dim": 128, "depth": 4, "heads": 4, "dim_head": 32, "mlp_dim": 256},
    "small": {"dim": 512, "depth": 4, "heads": 8, "dim_head": 64, "mlp_dim": 1024},
    "paper": {"dim": 1024, "depth": 6, "heads": 16, "dim_head": 64, "mlp_dim": 2048},
}
HEADS, POOLS, SHIFTS = ("linear", "ordinal"), ("cls", "mean"), ("axes", "diagonal")


class ShiftedPatchTokens(nn.Module):
    """Shifted patch tokenization: the image and four shifted copies, cut into patches, normalised, projected.

    `shift="axes"` moves by one pixel right, left, down, up (vit-pytorch); `shift="diagonal"` moves by half a patch
    along the four diagonals (the paper). What moves in from outside is 0.
    """

    def __init__(self, dim: int, patch_size: int, shift: str = "axes"):
        super().__init__()
        step = 1 if shift == "axes" else patch_size // 2
        axes, diagonals = ((0, 1), (0, -1), (1, 0), (-1, 0)), ((1, 1), (1, -1), (-1, 1), (-1, -1))
        self.patch_size, self.margin = patch_size, step
        self.shifts = [(0, 0), *((step * dy, step * dx) for dy, dx in (axes if shift == "axes" else diagonals))]
        self.norm = nn.LayerNorm(5 * 3 * patch_size**2)
        self.linear = nn.Linear(5 * 3 * patch_size**2, dim)

    def patches(self, x: Tensor) -> Tensor:
        """Patch vectors (B, rows · cols, 5 · 3 · p²) of images (B, 3, H, W), copied once."""
        height, width, m = *x.shape[-2:], self.margin
        padded = F.pad(x, (m, m, m, m))
        shifted = [padded[..., m - dy : m - dy + height, m - dx : m - dx + width] for dy, dx in self.shifts]
        cut = [rearrange(s, "b c (h p) (w q) -> b h w c p q", p=self.patch_size, q=self.patch_size) for s in shifted]
        return torch.stack(cut, dim=3).flatten(3).flatten(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_autocast_enabled(x.device.type):  # the projection would round them later, after the copies
            x = x.to(torch.get_autocast_dtype(x.device.type))
        whitened = F.layer_norm(self.patches(x), self.norm.normalized_shape, eps=self.norm.eps)
        # LayerNorm's own weight and bias go into the projection: the images need no gradient, so none is computed
        # for the patch vectors, which are the largest tensors of the network.
        return F.linear(whitened, self.linear.weight * self.norm.weight, self.linear(self.norm.bias))

    def grid(self, height: int, width: int) -> tuple[int, int]:
        return height // self.patch_size, width // self.patch_size

    @torch.no_grad()
    def start_from_dct(self) -> None:
        """Let the projection begin with the basis of JPEG's transform (8 × 8, luma) beside its random weights.

        Token dimension d starts with basis function d mod 64 of one of the patch's blocks. From random weights alone
        the five JPEG classes are learnt to the same accuracy in a third more steps.
        """
        side = self.patch_size // 8
        basis = dct(torch.eye(8).double().numpy(), axis=0, norm="ortho")
        luma = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
        weight = self.linear.weight.mul_(0.3).unflatten(1, (5, 3, self.patch_size, self.patch_size))
        for d in range(len(weight)):
            row, column = divmod(d // 64 % side**2, side)
            function = torch.from_numpy(np.outer(basis[d % 64 // 8], basis[d % 8])).float()
            weight[d, 0, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] += 3 * luma * function


class LSA(nn.Module):
    """Locality self-attention: the softmax has a learned temperature and no token attends to itself."""

    def __init__(self, dim: int, heads: int, dim_head: int, dropout: float = 0.0):
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.tensor(dim_head**-0.5).log())
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.to_qkv = nn.Linear(dim, 3 * heads * dim_head, bias=False)
        self.to_out = nn.Sequential(nn.Linear(heads * dim_head, dim), nn.Dropout(dropout))

    def project(self, x: Tensor, n_queries: int) -> tuple[Tensor, Tensor, Tensor]:
        """Queries of the first tokens, keys and values of all: each (B, heads, n, dim_head)."""
        x, inner = self.norm(x), self.to_qkv.out_features // 3
        of_q, of_kv = self.to_qkv.weight.split([inner, 2 * inner])
        q = F.linear(x[:, :n_queries], of_q * self.temperature.exp())  # fewer products than on the queries or the dots
        k, v = F.linear(x, of_kv).chunk(2, dim=-1)
        q, k, v = (rearrange(t, "b n (h d) -> b h n d", h=self.heads) for t in (q, k, v))
        return q, k, v

    def forward(self, x: Tensor, n_queries: int | None = None) -> Tensor:
        """Tokens (B, N, dim) -> what the first n_queries of them (None = all) gather, (B, n_queries, dim)."""
        n = n_queries or x.shape[1]
        q, k, v = self.project(x, n)
        if x.device.type == "cpu" and q.dtype != torch.float32:
            # torch's fused kernel takes twice as long as the two products in half precision on a CPU.
            out = self.dropout(self.weights(q, k)) @ v
        else:
            others = ~torch.eye(n, x.shape[1], dtype=torch.bool, device=x.device)
            p = self.dropout.p if self.training else 0.0
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=others, dropout_p=p, scale=1.0)
        return self.to_out(rearrange(out, "b h n d -> b n (h d)"))

    def record(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`, with the attention weights, float32 (B, heads, N, N), rows summing to 1."""
        q, k, v = self.project(x, x.shape[1])
        attention = self.weights(q, k).float()
        out = self.dropout(attention.to(v.dtype)) @ v
        return self.to_out(rearrange(out, "b h n d -> b n (h d)")), attention

    @staticmethod
    def weights(q: Tensor, k: Tensor) -> Tensor:
        """Attention weights (B, heads, N, N) with an empty diagonal."""
        dots = q @ k.transpose(-1, -2)
        # In place and outside of the graph: where the softmax gives 0, so is the gradient.
        dots.detach().diagonal(dim1=-2, dim2=-1).fill_(float("-inf"))
        return dots.softmax(dim=-1)


class Transformer(nn.Module):
    """Blocks of attention and feed-forward layers, each added to what it is given: (B, N, dim) -> (B, N, dim)."""

    layers: Any  # nn.ModuleList of pairs, which torch's types do not know

    def __init__(self, dim: int, depth: int, heads: int, dim_head: int, mlp_dim: int, dropout: float = 0.0):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList([LSA(dim, heads, dim_head, dropout), FeedForward(dim, mlp_dim, dropout)])
            for _ in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        for attend, feed_forward in self.layers:
            x = x + attend(x)
            x = x + feed_forward(x)
        return x

    def first(self, x: Tensor) -> Tensor:
        """The first token of `forward`, (B, 1, dim): the last block is computed for it alone."""
        for attend, feed_forward in self.layers[:-1]:
            x = x + attend(x)
            x = x + feed_forward(x)
        attend, feed_forward = self.layers[-1]
        x = x[:, :1] + attend(x, n_queries=1)
        return x + feed_forward(x)

    def record(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`, with the attention weights of all layers, float32 (B, depth, heads, N, N)."""
        recorded = []
        for attend, feed_forward in self.layers:
            out, attention = attend.record(x)
            recorded.append(attention)
            x = x + out
            x = x + feed_forward(x)
        return x, torch.stack(recorded, dim=1)


class Trunk(nn.Module):
    """Tokens (B, N, C) -> logits (B, n_classes): embed, add positions, put CLS in front, transform, pool, head.

    Args:
        channels: C of the tokens; None where they come embedded (B, N, dim), as shifted patch tokens do.
        grid: rows and columns of the tokens' positions that the position embedding is learned for.
        n_scales: how many times the grid is repeated in the tokens, one scale after the other.
    """

    def __init__(
        self,
        channels,
        grid,
        n_scales,
        dim,
        depth,
        heads,
        dim_head,
        mlp_dim,
        dropout,
        emb_dropout,
        n_classes,
        head,
        pool,
    ):
        super().__init__()
        self.grid, self.n_scales, self.pool = tuple(grid), n_scales, pool
        if channels is None:
            self.embed = nn.Identity()
        else:
            self.embed = nn.Linear(channels, dim)
        # Embedded patch tokens start with vit-pytorch's unit normal; those of a frozen network must be heard first.
        scale = 1.0 if channels is None else 0.02
        self.pos_embedding = nn.Parameter(scale * torch.randn(1, 1 + grid[0] * grid[1], dim))
        self.cls_token = nn.Parameter(scale * torch.randn(1, 1, dim))
        self.scale_embedding = nn.Parameter(0.02 * torch.randn(n_scales, 1, dim)) if n_scales > 1 else None
        self.dropout = nn.Dropout(emb_dropout)
        self.transformer = Transformer(dim, depth, heads, dim_head, mlp_dim, dropout)
        last = nn.Linear(dim, n_classes) if head == "linear" else OrdinalHead(dim, n_classes)
        self.mlp_head = nn.Sequential(nn.LayerNorm(dim), last)

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """Position embedding (1, 1 + rows · cols · scales, dim); other grids than the trained one interpolate it."""
        cls, cells = self.pos_embedding[:, :1], self.pos_embedding[:, 1:]
        if tuple(grid) != self.grid:
            image = rearrange(cells, "1 (h w) d -> 1 d h w", h=self.grid[0])
            image = F.interpolate(image.float(), size=grid, mode="bicubic", antialias=True, align_corners=False)
            cells = rearrange(image, "1 d h w -> 1 (h w) d")
        if self.scale_embedding is not None:
            cells = (cells + self.scale_embedding).flatten(0, 1).unsqueeze(0)
        return torch.cat([cls, cells], dim=1)

    def begin(self, tokens: Tensor, grid: tuple[int, int] | None) -> Tensor:
        """Embedded sequence (B, 1 + N, dim), CLS first."""
        grid = grid or self._grid_of(tokens.shape[1])
        if not isinstance(self.embed, nn.Identity):
            tokens = self.embed(tokens)
        positions = self.positions(grid).to(tokens.dtype)  # under autocast all of the sequence is in its precision
        cls = (self.cls_token + positions[:, :1]).to(tokens.dtype).expand(len(tokens), -1, -1)
        return self.dropout(torch.cat([cls, tokens + positions[:, 1:]], dim=1))

    def end(self, features: Tensor) -> Tensor:
        logits = self.mlp_head(features)
        return logits.squeeze(-1) if logits.shape[-1] == 1 else logits

    def features(self, tokens: Tensor, grid: tuple[int, int] | None = None) -> Tensor:
        """What the head is given, (B, dim)."""
        x = self.begin(tokens, grid)
        return self.transformer.first(x)[:, 0] if self.pool == "cls" else self.transformer(x).mean(dim=1)

    def forward(self, tokens: Tensor, grid: tuple[int, int] | None = None) -> Tensor:
        return self.end(self.features(tokens, grid))

    def attention(self, tokens: Tensor, grid: tuple[int, int] | None = None) -> tuple[Tensor, Tensor]:
        x, attention = self.transformer.record(self.begin(tokens, grid))
        return self.end(x[:, 0] if self.pool == "cls" else x.mean(dim=1)), attention

    def _grid_of(self, n_tokens: int) -> tuple[int, int]:
        cells = n_tokens // self.n_scales
        if cells * self.n_scales == n_tokens:
            if cells == self.grid[0] * self.grid[1]:
                return self.grid
            if math.isqrt(cells) ** 2 == cells:
                return math.isqrt(cells), math.isqrt(cells)
        raise InputError(f"trunk: {n_tokens} tokens are no square grid × {self.n_scales} scale(s); pass grid=")


class ViTIQA(nn.Module):
    """Image quality as one person sees it: normalised RGB images (B, 3, H, W) -> vote logits (B, 5).

    `forward(x)` is `trunk(reduce(stem(x)))`; each can be used alone, so that a frozen stem is computed once.
    Inputs are floats in [0, 1], normalised with the buffers `mean` and `std` (`iqasuite.images.crops.normalise`).

    Args:
        size: "tiny", "small" or "paper"; None where dim, depth, heads, dim_head and mlp_dim are all given.
            Those given besides a size replace the size's own.
        image_size: input side in pixels (or height, width) that positions are learned for; others interpolate.
        patch_size: side of a patch in pixels, for stem="spt".
        dropout, emb_dropout: probabilities in the blocks and after the position embedding.
        n_classes: steps of the vote scale; 1 gives scores (B,).
        shift: "axes" (one pixel, vit-pytorch) or "diagonal" (half a patch, the paper), for stem="spt".
        stem: "spt"; a torchvision classifier's name, whose feature map's positions are the tokens; "spectrum", whose
            tokens tell the sharpness of patches; or several of the latter two joined by "+" on one grid of cells.
        scales: shorter sides in pixels that the image is brought to for the stem's network; None = as it comes.
        taps: layers of that network to read; None = the last.
        cells: side of the grid that feature maps are pooled to (mean and standard deviation of each cell);
            None = every position of the feature map, or 4 where scales or taps are given.
        components: principal components of the tokens' channels that the trunk sees, fitted by `reduce.fit`
            on training tokens, for other stems than "spt"; None = all channels.
        spectrum_patch: side in pixels of the patches of the stem "spectrum".
        freeze_stem: leave the stem's network as it is; its batch norm is never trained.
        pretrained: give the stem's network its ImageNet weights.
        head: "linear", or "ordinal" (a score and ordered thresholds; returns log-probabilities).
        pool: "cls" or "mean".

    Raises:
        InputError: an argument outside of what is listed here.
    """

    def __init__(
        self,
        *,
        size: str | None = "small",
        image_size: int | tuple[int, int] = 256,
        patch_size: int = 16,
        dim: int | None = None,
        depth: int | None = None,
        heads: int | None = None,
        dim_head: int | None = None,
        mlp_dim: int | None = None,
        dropout: float = 0.0,
        emb_dropout: float = 0.1,
        n_classes: int = 5,
        shift: str = "axes",
        stem: str = "spt",
        scales: tuple[int, ...] | None = None,
        taps: tuple[int, ...] | None = None,
        cells: int | None = None,
        components: int | None = None,
        spectrum_patch: int = 240,
        freeze_stem: bool = True,
        pretrained: bool = True,
        head: str = "linear",
        pool: str = "cls",
    ):
        super().__init__()
        self.stem: ShiftedPatchTokens | BackboneTokens | SpectrumTokens | JoinedTokens
        self.reduce: nn.Identity | TokenReduction
        self.mean: Tensor
        self.std: Tensor
        given = {"dim": dim, "depth": depth, "heads": heads, "dim_head": dim_head, "mlp_dim": mlp_dim}
        shape = _shape(size, {name: value for name, value in given.items() if value is not None})
        for name, value, known in (("head", head, HEADS), ("pool", pool, POOLS), ("shift", shift, SHIFTS)):
            if value not in known:
                raise InputError(f"vit_iqa: {name} is {value!r}, expected one of {', '.join(known)}")
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size

        if stem == "spt":
            if height % patch_size or width % patch_size:
                raise InputError(f"vit_iqa: image_size {height}×{width} is no multiple of patch_size {patch_size}")
            self.stem, self.reduce = ShiftedPatchTokens(shape["dim"], patch_size, shift), nn.Identity()
            channels, n_scales, mean, std = None, 1, IMAGENET_MEAN, IMAGENET_STD
        else:
            frozen, mean, std = _frozen_stem(stem, scales, taps, cells, freeze_stem, pretrained, spectrum_patch)
            self.stem = frozen
            self.reduce = TokenReduction(getattr(frozen, "groups", (frozen.channels,)), components)
            channels, n_scales = self.reduce.channels, frozen.n_scales
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))
        grid = self.stem.grid(height, width)
        self.trunk = Trunk(
            channels,
            grid,
            n_scales,
            **shape,
            dropout=dropout,
            emb_dropout=emb_dropout,
            n_classes=n_classes,
            head=head,
            pool=pool,
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.trunk(self.reduce(self.stem(x)), self.grid(x))

    def attention(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, 5), and attention weights float32 (B, depth, heads, N + 1, N + 1): row 0 is CLS → tokens."""
        return self.trunk.attention(self.reduce(self.stem(x)), self.grid(x))

    def grid(self, x: Tensor) -> tuple[int, int]:
        """Rows and columns of the tokens (of each scale) of images x."""
        return self.stem.grid(*x.shape[-2:])

    @property
    def sharpness(self) -> SpectrumTokens:
        """The part of the stem that reads the sharpness of patches.

        Raises:
            InputError: the stem is another one.
        """
        for part in self.stem.modules():
            if isinstance(part, SpectrumTokens):
                return part
        raise InputError("vit_iqa: the stem has no part that reads sharpness, expected stem 'spectrum' or one with it")

    @property
    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation per channel that inputs in [0, 1] must have been normalised with."""
        return tuple(self.mean.tolist()), tuple(self.std.tolist())


def _frozen_stem(stem: str, scales, taps, cells, freeze: bool, pretrained: bool, spectrum_patch: int):
    """The stem made of other networks than patch tokens, and the mean and standard deviation of its inputs."""
    names = stem.split("+")
    together = len(names) > 1 or "spectrum" in names
    cells = cells or (6 if together else None)
    networks = {n: BackboneTokens(n, scales, taps, cells, freeze, pretrained) for n in names if n != "spectrum"}
    statistics = [(n.backbone.mean, n.backbone.std) for n in networks.values()] or [(IMAGENET_MEAN, IMAGENET_STD)]
    if any(other != statistics[0] for other in statistics):
        raise InputError(f"vit_iqa: stem {stem!r} joins networks whose weights want different input statistics")
    mean, std = statistics[0]
    stems = [networks.get(n) or SpectrumTokens(spectrum_patch, cells, mean, std, freeze) for n in names]
    return (JoinedTokens(stems, cells) if len(stems) > 1 else stems[0]), mean, std


def _shape(size: str | None, given: dict[str, int]) -> dict[str, int]:
    if size is not None and size not in SIZES:
        raise InputError(f"vit_iqa: size is {size!r}, expected one of {', '.join(SIZES)} or None")
    shape = {**(SIZES[size] if size else {}), **given}
    missing = [name for name in SIZES["tiny"] if name not in shape]
    if missing:
        raise InputError(f"vit_iqa: size is None and {', '.join(missing)} not given")
    return shape
