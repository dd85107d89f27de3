"""Full-reference quality by comparing what one encoder makes of both images: four Siamese networks.

A U-Net whose skips carry |reference − distorted| and whose bottleneck sees the distorted image only, from pairs
(B, 3, H, W), (B, 3, H, W), reference first, to scores (B,). The parts come first, in the order of the data.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from iqasuite.errors import InputError
from iqasuite.models.network import Network

SMALLEST = 128  # pixels a side
TILES = 4  # a side


@dataclass(frozen=True)
class Variant:
    """What tells the study's four networks apart.

    Attributes:
        batch_norm: after each activation of encoder and decoder.
        slope: of the leaky rectifiers below 0.
        reduced: filters of the two strided convolutions.
        attention: filters of the attention and residual blocks behind them; 0 = none.
        memory: filters of the ConvLSTM over the tiles before the encoder; 0 = none.
        bounded: activation of the score's last but one layer.
        grid: rows and columns of the map that the dense layers see.
    """

    batch_norm: bool
    slope: float
    reduced: tuple[int, int]
    attention: int = 0
    memory: int = 0
    bounded: str = "sigmoid"
    grid: int = 36


VARIANTS = {
    "simple": Variant(batch_norm=False, slope=0.7, reduced=(8, 16)),
    "bn": Variant(batch_norm=True, slope=0.5, reduced=(8, 32)),
    "attention": Variant(batch_norm=True, slope=0.5, reduced=(32, 32), attention=8, bounded="tanh"),
    "tiled": Variant(batch_norm=False, slope=0.5, reduced=(8, 32), memory=32, grid=9),
}
# Outputs ±1 of the bounded unit start as ±2 standard deviations of the targets: weight and bias of the last layer.
_BOUNDED = {"sigmoid": (nn.Sigmoid, 4.0, -2.0), "tanh": (nn.Tanh, 2.0, 0.0)}


def convolution(
    inputs: int, filters: int, kernel: int, variant: Variant, stride: int = 1, batch_norm: bool | None = None
) -> nn.Sequential:
    """Convolution, leaky rectifier, and batch normalisation where the variant has it."""
    layers = [nn.Conv2d(inputs, filters, kernel, stride, kernel // 2), nn.LeakyReLU(variant.slope)]
    normalised = variant.batch_norm if batch_norm is None else batch_norm
    return nn.Sequential(*layers, nn.BatchNorm2d(filters)) if normalised else nn.Sequential(*layers)


class ConvLSTM(nn.Module):
    """Long short-term memory whose products are convolutions: maps (B, T, C, H, W) -> last state (B, filters, H, W).

    Reference: X. Shi et al., "Convolutional LSTM Network", NeurIPS 2015, arXiv 1506.04214 (without peepholes).
    """

    def __init__(self, inputs: int, filters: int, kernel: int = 5):
        super().__init__()
        self.from_input = nn.Conv2d(inputs, 4 * filters, kernel, padding=kernel // 2)
        self.from_state = nn.Conv2d(filters, 4 * filters, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        given = self.from_input(x.flatten(0, 1)).unflatten(0, x.shape[:2])  # of all steps in one product
        state: Tensor | None = None
        cell: Tensor | None = None
        for step in given.unbind(1):
            gates = step if state is None else step + self.from_state(state)
            enter, forget, candidate, out = gates.chunk(4, dim=1)
            entering = enter.sigmoid() * candidate.tanh()
            cell = entering if cell is None else forget.sigmoid() * cell + entering
            state = out.sigmoid() * cell.tanh()
        assert state is not None  # there are maps
        return state


class Encoder(nn.Module):
    """Four maps of an image, at its size and a half, a quarter and an eighth of it."""

    def __init__(self, inputs: int, filters: tuple[int, ...], variant: Variant):
        super().__init__()
        self.mix = nn.Conv2d(inputs, 3, 5, padding=2)
        before = (3, *filters)
        self.levels = nn.ModuleList(
            convolution(before[i], filters[i], kernel, variant) for i, kernel in enumerate((5, 5, 3, 3))
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        maps: list[Tensor] = []
        x = self.mix(x)
        for level in self.levels:
            x = level(F.max_pool2d(x, 2) if maps else x)
            maps.append(x)
        return maps


class Decoder(nn.Module):
    """From the distorted image's deepest map and the differences, deepest first, to a map at the images' size."""

    def __init__(self, filters: tuple[int, ...], variant: Variant):
        super().__init__()
        f1, f2, f3, f4 = filters
        self.pooled = not variant.memory
        self.bottleneck = convolution(f4, f4, 3, variant)
        plan = ((f4 + f4, f4), (f4 + f3, f3), (f3 + f2, f2))
        self.levels = nn.ModuleList(convolution(inputs, outputs, 3, variant) for inputs, outputs in plan)
        self.outputs = f2 + f1

    def forward(self, deepest: Tensor, differences: list[Tensor]) -> Tensor:
        x = self.bottleneck(F.max_pool2d(deepest, 2) if self.pooled else deepest)
        for i, difference in enumerate(reversed(differences)):
            if x.shape[2:] != difference.shape[2:]:
                x = F.interpolate(x, size=difference.shape[2:], mode="nearest")
            x = torch.cat([x, difference], dim=1)
            x = self.levels[i](x) if i < len(self.levels) else x
        return x


class ChannelSpatialAttention(nn.Module):
    """Beside a map itself, what it shows weighted by channel and by place: (B, C, h, w) -> (B, filters, h, w)."""

    def __init__(self, inputs: int, filters: int):
        super().__init__()
        self.view = nn.Sequential(
            nn.Conv2d(inputs, filters, 3, padding=1),
            nn.ReLU(),
            nn.BatchNorm2d(filters),
            nn.Conv2d(filters, filters, 3, padding=1),
        )
        self.channel, self.spatial = (
            nn.Sequential(nn.Conv2d(filters, filters, 1), nn.ReLU(), nn.Conv2d(filters, filters, 1), nn.Sigmoid())
            for _ in range(2)
        )
        self.merge = nn.Conv2d(inputs + 2 * filters, filters, 1)

    def forward(self, x: Tensor) -> Tensor:
        seen = self.view(x)
        by_channel = seen * self.channel(seen.mean(dim=(2, 3), keepdim=True))
        return self.merge(torch.cat([x, by_channel, seen * self.spatial(seen)], dim=1))


class Residual(nn.Module):
    """Two convolutions beside the way straight through."""

    def __init__(self, filters: int):
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(filters, filters, 3, padding=1), nn.ReLU(), nn.Conv2d(filters, filters, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.convolutions(x)


class BoundedScore(nn.Module):
    """Maps (B, C, grid, grid) -> scores (B,) through a bounded unit, on the scale of the training targets.

    The buffers `mean` and `std` are the training targets' where those were standardised.
    """

    def __init__(self, inputs: int, width: int, dropout: float, bounded: str):
        super().__init__()
        activation, weight, bias = _BOUNDED[bounded]
        self.layers = nn.Sequential(
            nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, 1), activation()
        )
        self.weight, self.bias = nn.Parameter(torch.tensor(weight)), nn.Parameter(torch.tensor(bias))
        self.register_buffer("mean", torch.tensor(0.0))
        self.register_buffer("std", torch.tensor(1.0))

    def forward(self, maps: Tensor) -> Tensor:
        bounded = self.layers(maps.flatten(1)).squeeze(-1).float()
        return self.mean + self.std * (self.weight * bounded + self.bias)


class SiameseFR(Network):
    """One of the four Siamese networks: pairs of normalised images, 128 pixels a side or more, to scores (B,).

    Maps of a pair at 288×288 and full width, as in the study (channels × side): encoder 8×288, 16×144, 32×72, 64×36;
    bottleneck 64×18; decoder 64×36, 32×72, 16×144, and 16 + 8 at 288; strided convolutions 8×72 (attention: 32×72) and
    16×36 (others 32×36), attention and residual blocks 8×36. *tiled* cuts both images into 4×4 tiles, reads them row by
    row into a ConvLSTM's state of 32×72 and goes on from there, so all of its sides are a quarter and its bottleneck is
    not pooled. The last map, flattened, enters two dense layers of 32 and 1 unit, the latter bounded, and a linear one.

    What adapts to other sizes: nothing at 288; elsewhere the last map is averaged (or, below 288, repeated) to the
    36×36 cells (tiled: 9×9) that the dense layer has weights for. Everything before is convolution. `tiled` repeats the
    last row or column where a side is no multiple of 4, and its tiles grow with the image.

    Parameters at full width, and at width .25 with grid 9: simple 839,039 and 21,785; bn 1,504,351 and 32,377;
    attention 528,367 and 18,085; tiled 373,902 and 41,436.

    Args:
        variant: "simple", "bn", "attention" or "tiled".
        width: factor of all filters, at least one of each.
        grid: cells a side that the dense layer sees; None = as in the study. Fewer cells, fewer weights tied to places:
            1 is the mean over the image.
        dense: units of the first dense layer.
        dropout: probability after it; the study has 0.

    Attributes:
        mean, std: of RGB values in [0, 1], .5 each, as inputs are to be normalised: (x − 127.5) / 127.5.
        dense: its buffers `mean` and `std` put the scores on the scale of the targets.

    Raises:
        InputError: an unknown variant, a width, grid or number of units that is not positive.

    Reference: S. M. Ayyoubzadeh, A. Royat, "ASNA: An Attention-based Siamese-Difference Neural Network with Surrogate
        Ranking Loss function for Perceptual Image Quality Assessment", CVPR workshops 2021, arXiv 2105.02531.
    """

    def __init__(
        self,
        variant: str = "simple",
        width: float = 1.0,
        grid: int | None = None,
        dense: int = 32,
        dropout: float = 0.0,
    ):
        super().__init__()
        if variant not in VARIANTS:
            raise InputError(f"siamese_fr: variant is {variant!r}, expected one of {', '.join(VARIANTS)}")
        for name, value in (("width", width), ("grid", 1 if grid is None else grid), ("dense", dense)):
            if not value > 0:
                raise InputError(f"siamese_fr: {name} is {value}, expected more than 0")
        of = VARIANTS[variant]
        self.grid = grid or of.grid

        def scaled(filters: int) -> int:
            return max(1, round(width * filters))

        filters = tuple(scaled(n) for n in (8, 16, 32, 64))
        first, last = (scaled(n) for n in of.reduced)
        self.tiles = ConvLSTM(3, scaled(of.memory)) if of.memory else None
        self.encoder = Encoder(scaled(of.memory) if of.memory else 3, filters, of)
        self.decoder = Decoder(filters, of)
        normalised = bool(of.attention)  # the study's bn has none behind the decoder
        self.reduce = nn.Sequential(
            convolution(self.decoder.outputs, first, 3, of, stride=4, batch_norm=normalised),
            convolution(first, last, 3, of, stride=2, batch_norm=normalised),
        )
        self.attend: nn.Module
        if of.attention:
            seen = scaled(of.attention)
            self.attend = nn.Sequential(ChannelSpatialAttention(last, seen), *(Residual(seen) for _ in range(3)))
            last = seen
        else:
            self.attend = nn.Identity()
        self.dense = BoundedScore(last * self.grid**2, dense, dropout, of.bounded)
        self.apply(_glorot)
        self.register_buffer("mean", torch.full((3,), 0.5))
        self.register_buffer("std", torch.full((3,), 0.5))

    def forward(self, reference: Tensor, distorted: Tensor) -> Tensor:
        _check_pair(reference, distorted)
        both = torch.cat([reference, distorted])  # one pass: batch statistics are of both images, in either place
        if self.tiles is not None:
            both = self.tiles(tiled(both))
        maps = self.encoder(both)
        differences = [_difference(m) for m in maps]
        x = self.reduce(self.decoder(maps[-1].chunk(2)[1], differences))
        return self.dense(F.adaptive_avg_pool2d(self.attend(x), self.grid))

    def differences(self, reference: Tensor, distorted: Tensor) -> list[Tensor]:
        """|reference − distorted| in the encoder's four maps, averaged over channels, largest map first.

        Exactly 0 for a pair of the same image. In *tiled* each tile is read by itself, without memory of the ones
        before, and put back into its place, so that the maps belong to places of the image.

        Returns:
            Four float32 maps (B, h, w), at the images' size and a half, a quarter and an eighth of it.
        """
        return [_difference(m).float().mean(dim=1) for m in self._maps_in_place(reference, distorted)]

    def error_map(self, reference: Tensor, distorted: Tensor) -> Tensor:
        """Where the encoder sees a difference, float32 (B, H, W): the mean of the four maps of `differences`.

        Each is divided by the mean magnitude of both images' features at its level, so that no level drowns the
        others, and brought to the images' size (bilinear). 0 for a pair of the same image; no upper end.
        """
        height, width = reference.shape[2:]
        summed = torch.zeros(len(reference), 1, height, width, device=reference.device)
        for m in self._maps_in_place(reference, distorted):
            m = m.float()
            first, second = (half.abs().mean(dim=(1, 2, 3)) for half in m.chunk(2))
            magnitude = (first + second) / 2
            relative = _difference(m).mean(dim=1, keepdim=True) / magnitude.clamp_min(1e-6)[:, None, None, None]
            summed = summed + F.interpolate(relative, size=(height, width), mode="bilinear", align_corners=False)
        return summed.squeeze(1) / 4

    def _maps_in_place(self, reference: Tensor, distorted: Tensor) -> list[Tensor]:
        """The encoder's maps (2B, C, h, w) of both images, tiles put back into their places."""
        _check_pair(reference, distorted)
        both = torch.cat([reference, distorted])
        if self.tiles is None:
            return self.encoder(both)
        tiles = tiled(both, 8 * TILES)  # so that the maps of all four levels fit together
        maps = self.encoder(self.tiles(tiles.flatten(0, 1)[:, None]))
        height, width = reference.shape[2:]
        return [
            untiled(m.unflatten(0, tiles.shape[:2]))[:, :, : height >> level, : width >> level]
            for level, m in enumerate(maps)
        ]


def tiled(images: Tensor, multiple: int = TILES) -> Tensor:
    """Images (B, C, H, W) as 16 tiles (B, 16, C, h, w), row by row.

    Where a side is no multiple of `multiple` (itself one of 4), its last row or column is repeated until it is.
    """
    lacking = [-side % multiple for side in images.shape[2:]]
    if any(lacking):
        images = F.pad(images, (0, lacking[1], 0, lacking[0]), mode="replicate")
    rows = images.unflatten(3, (TILES, -1)).unflatten(2, (TILES, -1))  # (B, C, 4, h, 4, w)
    return rows.permute(0, 2, 4, 1, 3, 5).flatten(1, 2).contiguous()


def untiled(tiles: Tensor) -> Tensor:
    """Tiles (B, 16, C, h, w) put together: (B, C, 4h, 4w)."""
    rows = tiles.unflatten(1, (TILES, TILES)).permute(0, 3, 1, 4, 2, 5)  # (B, C, 4, h, 4, w)
    return rows.flatten(4, 5).flatten(2, 3)


def _glorot(layer: nn.Module) -> None:
    """Starts a layer as the study's (Keras) did: torch's own start lets ten layers fade the image out."""
    if isinstance(layer, (nn.Conv2d, nn.Linear)):
        nn.init.xavier_uniform_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    if isinstance(layer, ConvLSTM):  # after its convolutions: gates in the order input, forget, candidate, output
        bias = layer.from_input.bias
        assert bias is not None  # as ConvLSTM makes it
        quarter = len(bias) // 4
        nn.init.ones_(bias[quarter : 2 * quarter])  # it remembers at first
        nn.init.orthogonal_(layer.from_state.weight)


def _difference(both: Tensor) -> Tensor:
    reference, distorted = both.chunk(2)
    return (reference - distorted).abs()


def _check_pair(reference: Tensor, distorted: Tensor) -> None:
    if reference.shape != distorted.shape or reference.ndim != 4 or reference.shape[1] != 3:
        shapes = f"reference {tuple(reference.shape)}, distorted {tuple(distorted.shape)}"
        raise InputError(f"siamese_fr: {shapes}; expected the same (B, 3, H, W)")
    if min(reference.shape[2:]) < SMALLEST:
        height, width = reference.shape[2:]
        raise InputError(f"siamese_fr: images of {width}×{height} pixels; expected {SMALLEST} or more on each side")
