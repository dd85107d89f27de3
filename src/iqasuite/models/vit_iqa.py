"""ViT-IQA: a vision transformer for small data sets that predicts one observer's votes.

In the order the data meets them, behind the stem (`shifted_patches`, `backbones`, `spectrum`): locality self-attention,
the transformer, the trunk (tokens -> logits) and the whole network (image -> logits).

Reference: S. H. Lee, S. Lee and B. C. Song, "Vision Transformer for Small-Size Datasets", arXiv 2112.13492,
after `vit_pytorch.vit_for_small_dataset`, whose outputs it gives with the same weights.
"""

from __future__ import annotations

import inspect
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from iqasuite.errors import InputError
from iqasuite.models.backbones import BackboneTokens
from iqasuite.models.heads import OrdinalHead
from iqasuite.models.network import Network
from iqasuite.models.reduction import TokenReduction
from iqasuite.models.shifted_patches import ShiftedPatchTokens
from iqasuite.models.spectrum import JoinedTokens, SpectrumTokens
from iqasuite.pixel_values import IMAGENET_MEAN, IMAGENET_STD

SIZES = {
    "tiny": {"dim": 128, "depth": 4, "heads": 4, "dim_head": 32, "mlp_dim": 256},
    "small": {"dim": 512, "depth": 4, "heads": 8, "dim_head": 64, "mlp_dim": 1024},
    "paper": {"dim": 1024, "depth": 6, "heads": 16, "dim_head": 64, "mlp_dim": 2048},
}
Layers = tuple[int, ...] | None
HEADS, POOLS, SHIFTS = ("linear", "ordinal"), ("cls", "mean"), ("axes", "diagonal")


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


def feed_forward(dim: int, hidden: int, dropout: float) -> nn.Module:
    """Two layers on each token, dim -> hidden -> dim, named as in `vit_pytorch`, so that its weights fit."""
    widen, narrow = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
    layers = nn.LayerNorm(dim), widen, nn.GELU(), nn.Dropout(dropout), narrow, nn.Dropout(dropout)
    return nn.Sequential(OrderedDict(net=nn.Sequential(*layers)))


class Transformer(nn.Module):
    """Blocks of attention and feed-forward layers, each added to what it is given: (B, N, dim) -> (B, N, dim)."""

    layers: Any  # nn.ModuleList of pairs, which torch's types do not know

    def __init__(self, dim: int, depth: int, heads: int, dim_head: int, mlp_dim: int, dropout: float = 0.0):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList([LSA(dim, heads, dim_head, dropout), feed_forward(dim, mlp_dim, dropout)])
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
        shape: dim, depth, heads, dim_head and mlp_dim of the transformer.
        dropout, emb_dropout, pool, head: as of `ViTIQA`.
    """

    def __init__(self, channels, grid, n_scales, shape, dropout, emb_dropout, pool, head):
        super().__init__()
        self.grid, self.n_scales, self.pool, dim = tuple(grid), n_scales, pool, shape["dim"]
        self.embed = nn.Identity() if channels is None else nn.Linear(channels, dim)
        # Embedded patch tokens start with vit-pytorch's unit normal; those of a frozen network must be heard first.
        scale = 1.0 if channels is None else 0.02
        self.pos_embedding = nn.Parameter(scale * torch.randn(1, 1 + grid[0] * grid[1], dim))
        self.cls_token = nn.Parameter(scale * torch.randn(1, 1, dim))
        self.scale_embedding = nn.Parameter(0.02 * torch.randn(n_scales, 1, dim)) if n_scales > 1 else None
        self.dropout = nn.Dropout(emb_dropout)
        self.transformer = Transformer(**shape, dropout=dropout)
        self.mlp_head = nn.Sequential(nn.LayerNorm(dim), _made("head", _head, head, dim))

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


class ViTIQA(Network):
    """Image quality as one observer sees it: normalised RGB images (B, 3, H, W) -> vote logits (B, 5).

    `forward(x)` is `trunk(reduce(stem(x)))`; each can be used alone, so that a frozen stem is computed once.
    Inputs are floats in [0, 1], normalised with the buffers `mean` and `std` (`iqasuite.images.crops.normalise`).

    Args:
        image_size: input side in pixels (or height, width) that positions are learned for; others interpolate.
        stem: arguments of the stem by name:
            name: "spt"; a torchvision classifier's name, whose feature map's positions are the tokens; "spectrum",
                whose tokens tell the sharpness of patches; or several of the latter two joined by "+" on one grid of
                cells.
            patch_size: side of a patch in pixels; None = 16 of "spt", 240 of "spectrum".
            shift: "axes" (one pixel, vit-pytorch) or "diagonal" (half a patch, the paper), of "spt".
            contrast: let the tokens of "spt" also know the contrast and the mean of their patches.
            scales: shorter sides in pixels that the image is brought to for the classifier; None = as it comes.
            taps: layers of that network to read; None = the last. Of several classifiers by their names, as scales.
            cells: side of the grid that feature maps are pooled to (mean and standard deviation of each cell);
                None = every position of the feature map, or 4 where scales or taps are given.
            components: principal components of the tokens' channels that the trunk sees, fitted by `reduce.fit` on
                training tokens, for other stems than "spt"; None = all channels.
            freeze: leave the stem's network as it is (True); its batch norm is never trained.
        trunk: arguments of the trunk by name:
            size: "tiny", "small" or "paper"; None where dim, depth, heads, dim_head and mlp_dim are all given. Those
                given besides a size replace the size's own.
            dropout, emb_dropout: probabilities in the blocks (0) and after the position embedding (0.1).
            pool: "cls" or "mean".
        head: arguments of the head by name:
            name: "linear", or "ordinal" (a score and ordered thresholds; returns log-probabilities).
            n_classes: steps of the vote scale (5); 1 gives scores (B,).
        pretrained: give the stem's network its ImageNet weights.

    Raises:
        InputError: an argument outside of what is listed here.
    """

    def __init__(
        self,
        *,
        image_size: int | tuple[int, int] = 256,
        stem: Mapping[str, Any] | None = None,
        trunk: Mapping[str, Any] | None = None,
        head: Mapping[str, Any] | None = None,
        pretrained: bool = True,
    ):
        super().__init__()
        self.stem: ShiftedPatchTokens | BackboneTokens | SpectrumTokens | JoinedTokens
        self.reduce: nn.Identity | TokenReduction
        self.image_size: Any = image_size
        of_trunk = _made("trunk", _trunk, trunk)
        self.stem, self.reduce, mean, std = _made("stem", _stem, stem, of_trunk["shape"]["dim"], pretrained)
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        if isinstance(self.stem, ShiftedPatchTokens):
            self.patch_size = self.stem.patch_size
            if height % self.patch_size or width % self.patch_size:
                raise InputError(f"vit_iqa: image_size {height}×{width} is no multiple of patch_size {self.patch_size}")
        channels = self.reduce.channels if isinstance(self.reduce, TokenReduction) else None
        self.trunk = Trunk(channels, self.stem.grid(height, width), self.stem.n_scales, head=head or {}, **of_trunk)

    def forward(self, x: Tensor) -> Tensor:
        return self.predicted(self.embedded(x))

    def embedded(self, x: Tensor) -> Tensor:
        return self.trunk.features(self.reduce(self.stem(x)), self.grid(x))

    def predicted(self, embedded: Tensor) -> Tensor:
        return self.trunk.end(embedded)

    def attention(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, 5), and attention weights float32 (B, depth, heads, N + 1, N + 1): row 0 is CLS → tokens."""
        return self.trunk.attention(self.reduce(self.stem(x)), self.grid(x))

    def attentions(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        return self.attention(x)[1], self.grid(x)

    def cam_layer(self) -> nn.Module:
        return self.trunk.transformer.layers[-1][0].norm  # what the last block is given

    def grid(self, x: Tensor) -> tuple[int, int]:
        """Rows and columns of the tokens (of each scale) of images x."""
        return self.stem.grid(*x.shape[-2:])

    def hide(self, name: str) -> None:
        """Let the trunk see nothing of one of several stems: a network without it that differs in nothing else.

        Args:
            name: of the stem, as in the stem's name.

        Raises:
            InputError: the stem has no part of that name.
        """
        names = str((self.arguments.get("stem") or {}).get("name", "")).split("+")
        _check("stem: hidden part", name, names)
        assert isinstance(self.reduce, TokenReduction)
        self.reduce.hide(names.index(name))

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


def _made(part: str, make: Callable[..., Any], given: Mapping[str, Any] | None, *first: object) -> Any:
    """What `make` makes of a part's arguments, behind those that come first."""
    parameters = inspect.signature(make).parameters.values()
    known = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    if not isinstance(given, Mapping | None) or not set(given or ()) <= set(known):
        raise InputError(f"vit_iqa: {part} is {given!r}, expected a mapping of some of {', '.join(known)}")
    return make(*first, **(given or {}))


def _check(argument: str, value: object, known: Iterable[object]) -> None:
    if value not in known:
        raise InputError(f"vit_iqa: {argument} is {value!r}, expected one of {', '.join(map(str, known))}")


def _trunk(
    *,
    size: str | None = "small",
    dim: int | None = None,
    depth: int | None = None,
    heads: int | None = None,
    dim_head: int | None = None,
    mlp_dim: int | None = None,
    dropout: float = 0.0,
    emb_dropout: float = 0.1,
    pool: str = "cls",
) -> dict[str, Any]:
    """Arguments of `Trunk`."""
    _check("trunk: size", size, (*SIZES, None))
    _check("trunk: pool", pool, POOLS)
    given = {"dim": dim, "depth": depth, "heads": heads, "dim_head": dim_head, "mlp_dim": mlp_dim}
    shape = {**(SIZES[size] if size else {}), **{name: value for name, value in given.items() if value is not None}}
    missing = [name for name in given if name not in shape]
    if missing:
        raise InputError(f"vit_iqa: trunk: size is None and {', '.join(missing)} not given")
    return {"shape": shape, "dropout": dropout, "emb_dropout": emb_dropout, "pool": pool}


def _head(dim: int, *, name: str = "linear", n_classes: int = 5) -> nn.Module:
    _check("head: name", name, HEADS)
    return nn.Linear(dim, n_classes) if name == "linear" else OrdinalHead(dim, n_classes)


def _of(argument: str, given: Layers | Mapping[str, Layers], name: str, names: Sequence[str]) -> Layers:
    """The scales or taps of one classifier of several."""
    if not isinstance(given, Mapping):
        return given
    for each in given:
        _check(f"stem: {argument}: a name", each, names)
    return given.get(name)


def _stem(  # noqa: PLR0913 (what a suite may set, by name)
    dim: int,
    pretrained: bool,
    *,
    name: str = "spt",
    patch_size: int | None = None,
    shift: str = "axes",
    contrast: bool = False,
    scales: Layers | Mapping[str, Layers] = None,
    taps: Layers | Mapping[str, Layers] = None,
    cells: int | None = None,
    components: int | None = None,
    freeze: bool = True,
):
    """The stem, what reduces its tokens, and the mean and standard deviation of its inputs."""
    _check("stem: shift", shift, SHIFTS)
    side = patch_size if patch_size is not None else 16 if name == "spt" else 240
    if name == "spt":
        return ShiftedPatchTokens(dim, side, shift, contrast), nn.Identity(), IMAGENET_MEAN, IMAGENET_STD
    names = name.split("+")
    cells = cells or (6 if len(names) > 1 or "spectrum" in names else 0)  # 0 = as of `BackboneTokens`
    of: tuple[Any, Any] | None = None  # what images come normalised with: as the first classifier wants them
    networks: dict[str, Any] = {}
    for each in (each for each in names if each != "spectrum"):
        layers = _of("scales", scales, each, names), _of("taps", taps, each, names)
        networks[each] = BackboneTokens(each, *layers, cells, freeze, pretrained, of)
        of = of or (networks[each].backbone.mean, networks[each].backbone.std)
    of = of or (IMAGENET_MEAN, IMAGENET_STD)
    stems: list[Any] = [networks.get(n) or SpectrumTokens(side, cells, of[0], of[1], freeze) for n in names]
    if len(stems) == 1:
        return stems[0], TokenReduction((stems[0].channels,), components), *of
    joined = JoinedTokens(stems, cells)
    return joined, TokenReduction(joined.groups, components), *of
