"""Sharpness seen in the spectrum of patches: tokens that tell how an image was encoded and enlarged.

An image that was encoded small and shown large has no energy above its own sampling rate; coding takes more away and
adds blocks. Both stand in the power spectrum of a patch, whatever the patch shows. `PatchSpectrum` computes it,
`SharpnessEncoder` learns from photographs that we encode ourselves (`images.encoding_stream`) to read it, and
`SpectrumTokens` puts both in front of a transformer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from iqasuite.pixel_values import RGB_TO_YCC

_FLOOR = 1e-7  # of the spectral power: about that of rounding to 8 bits


class PatchSpectrum(nn.Module):
    """Log power of patches (n, 3, p, p), RGB in [0, 1], in rings of spatial frequency: (n, channels).

    Luma in all directions, in the horizontal and in the vertical sectors; both chroma channels in all directions. The
    patch has its mean taken off and a Hann window put on. No parameters.

    Args:
        patch_size: p in pixels.
        n_rings: log-spaced from 2 cycles per patch to the Nyquist frequency; empty ones are left out.
    """

    window: Tensor
    luma_rings: Tensor
    chroma_rings: Tensor
    colours: Tensor

    def __init__(self, patch_size: int, n_rings: int = 40):
        super().__init__()
        self.patch_size = patch_size
        with torch.device("cpu"):  # its shapes depend on values, which the outline of a network (device meta) lacks
            window, averages = self._constants(patch_size, n_rings)
        self.register_buffer("window", window[:, None] * window[None], persistent=False)
        self.register_buffer("luma_rings", torch.cat(averages).T.contiguous(), persistent=False)
        self.register_buffer("chroma_rings", averages[0].T.contiguous(), persistent=False)
        self.register_buffer("colours", torch.tensor(RGB_TO_YCC), persistent=False)
        self.channels = self.luma_rings.shape[1] + 2 * self.chroma_rings.shape[1]

    @staticmethod
    def _constants(patch_size: int, n_rings: int) -> tuple[Tensor, list[Tensor]]:
        """The window's profile (p,), and the weights of the rings of each sector."""
        window = torch.hann_window(patch_size, periodic=False)
        fy, fx = torch.meshgrid(torch.fft.fftfreq(patch_size), torch.fft.rfftfreq(patch_size), indexing="ij")
        radius, angle = torch.hypot(fy, fx).flatten(), torch.atan2(fy.abs(), fx).flatten()
        edges = torch.logspace(math.log10(2 / patch_size), math.log10(0.5), n_rings + 1)
        ring = torch.bucketize(radius, edges) - 1
        everywhere = torch.ones_like(angle, dtype=torch.bool)
        sectors = (everywhere, angle < math.pi / 8, angle > 3 * math.pi / 8)
        return window, [_ring_averages(ring, n_rings, sector) for sector in sectors]

    def forward(self, x: Tensor) -> Tensor:
        x = torch.einsum("dc,nchw->ndhw", self.colours, x.float())
        x = (x - x.mean(dim=(2, 3), keepdim=True)) * self.window
        power = torch.view_as_real(torch.fft.rfft2(x)).square().sum(dim=-1).flatten(2)
        rings = (power[:, 0] @ self.luma_rings, power[:, 1] @ self.chroma_rings, power[:, 2] @ self.chroma_rings)
        return torch.cat(rings, dim=1).add(_FLOOR).log()


class SpectrumMap(nn.Module):
    """Spectra of patches that do not overlap: images (B, 3, H, W), RGB in [0, 1] -> (B, channels, H // p, W // p)."""

    def __init__(self, patch_size: int):
        super().__init__()
        self.spectrum = PatchSpectrum(patch_size)

    def forward(self, x: Tensor) -> Tensor:
        return _side_by_side(self.spectrum, x).permute(0, 3, 1, 2)


def _side_by_side(spectrum: PatchSpectrum, x: Tensor) -> Tensor:
    """Spectra (B, rows, columns, channels) of the patches that images (B, 3, H, W) are cut into."""
    p = spectrum.patch_size
    patches = x.unfold(2, p, p).unfold(3, p, p).permute(0, 2, 3, 1, 4, 5)  # (B, rows, columns, 3, p, p)
    return spectrum(patches.flatten(0, 2)).unflatten(0, patches.shape[:3])


def _ring_averages(ring: Tensor, n_rings: int, sector: Tensor) -> Tensor:
    """Rows of weights (rings that are not empty, frequencies) that average the power in each ring of a sector."""
    weights = (ring == torch.arange(n_rings)[:, None]) & sector
    weights = weights[weights.any(dim=1)].float()
    return weights / weights.sum(dim=1, keepdim=True)


class SharpnessEncoder(nn.Module):
    """Reads a spectrum: (…, channels) -> features (…, dim). `read(features)` says how the patch was encoded.

    Attributes:
        channel_mean, channel_std: of the spectra, taken from the training stream (`set_statistics`).
        target_mean, target_std: of what `read` predicts.
    """

    channel_mean: Tensor
    channel_std: Tensor
    target_mean: Tensor
    target_std: Tensor

    def __init__(self, channels: int, dim: int = 64, hidden: int = 256, n_targets: int = 2, dropout: float = 0.1):
        super().__init__()
        self.dim = dim
        self.layers = nn.Sequential(
            nn.Linear(channels, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, dim),
            nn.GELU(),
        )
        self.reader = nn.Linear(dim, 2 * n_targets)
        for name, n in (("channel", channels), ("target", n_targets)):
            self.register_buffer(f"{name}_mean", torch.zeros(n))
            self.register_buffer(f"{name}_std", torch.ones(n))

    @torch.no_grad()
    def set_statistics(self, spectra: Tensor, targets: Tensor | None = None) -> None:
        """Standardise spectra (…, channels) and targets (…, n_targets) as these are distributed."""
        for name, values in (("channel", spectra), ("target", targets)):
            if values is None:
                continue
            std, mean = torch.std_mean(values.flatten(0, -2).float(), dim=0)
            self.get_buffer(f"{name}_mean").copy_(mean)
            self.get_buffer(f"{name}_std").copy_(std.clamp_min(1e-6))

    def forward(self, spectra: Tensor) -> Tensor:
        return self.layers((spectra - self.channel_mean) / self.channel_std)

    def standardised(self, spectra: Tensor) -> Tensor:
        """Means and log-variances (…, 2 · n_targets) of the standardised targets."""
        return self.reader(self.forward(spectra))

    def read(self, spectra: Tensor) -> Tensor:
        """Targets (n, n_targets) of images from the spectra of their patches (n, patches, channels): the patches'
        estimates, each weighted with its precision."""
        mean, log_variance = self.standardised(spectra).float().chunk(2, dim=-1)
        weight = torch.exp(-log_variance.clamp(-5, 3))
        pooled = (mean * weight).sum(dim=1) / weight.sum(dim=1)
        return pooled * self.target_std + self.target_mean


class SpectrumTokens(nn.Module):
    """Tokens (B, cells², 2 · dim) of normalised images (B, 3, H, W): sharpness features of the patches in each cell.

    The image is cut into patches that do not overlap; each cell has the mean and the standard deviation over its
    patches. What the encoder knows comes from `images.encoding_stream` and then stays as it is (frozen), or from the
    training of the whole network.

    Args:
        patch_size: in pixels; images must be at least that large.
        cells: side of the grid of tokens.
        mean, std: the images' normalisation, undone here.
        freeze: leave the encoder as it is when the network is trained.
    """

    image_mean: Tensor
    image_std: Tensor

    def __init__(self, patch_size: int, cells: int, mean: Sequence[float], std: Sequence[float], freeze: bool = True):
        super().__init__()
        self.spectrum = PatchSpectrum(patch_size)
        self.encoder = SharpnessEncoder(self.spectrum.channels)
        self.cells, self.n_scales, self.channels = cells, 1, 2 * self.encoder.dim
        self.register_buffer("image_mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("image_std", torch.tensor(std).view(3, 1, 1), persistent=False)
        self.freeze = freeze
        self.requires_grad_(not freeze)

    def train(self, mode: bool = True) -> SpectrumTokens:
        return super().train(mode and not self.freeze)

    @torch.no_grad()
    def set_statistics(self, images: Tensor) -> None:
        """Standardise the spectra as those of these normalised images (B, 3, H, W) are distributed."""
        self.encoder.set_statistics(self.spectra(images))

    def spectra(self, x: Tensor) -> Tensor:
        """Spectra (B, rows, columns, channels) of the patches of normalised images (B, 3, H, W)."""
        return _side_by_side(self.spectrum, x.float() * self.image_std + self.image_mean)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # powers of ten decades want float32
            features = self.encoder(self.spectra(x)).permute(0, 3, 1, 2)
        mean = F.adaptive_avg_pool2d(features, self.cells)
        variance = F.adaptive_avg_pool2d(features.square(), self.cells) - mean.square()
        return torch.cat([mean, variance.clamp_min(1e-6).sqrt()], dim=1).flatten(2).transpose(1, 2)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        return self.cells, self.cells


class JoinedTokens(nn.Module):
    """Several stems on the same grid of cells, the channels of their tokens side by side; scales become channels."""

    def __init__(self, stems: Sequence[Any], cells: int):  # modules with `channels` and `n_scales`
        super().__init__()
        self.stems, self.cells, self.n_scales = nn.ModuleList(stems), cells, 1
        self.groups = tuple(stem.channels * stem.n_scales for stem in stems)
        self.channels = sum(self.groups)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.of_stem(stem, x) for stem in self.stems], dim=2)

    @staticmethod
    def of_stem(stem: Any, x: Tensor) -> Tensor:
        """Tokens (B, cells², channels · scales) of one of the stems."""
        return stem(x).unflatten(1, (stem.n_scales, -1)).transpose(1, 2).flatten(2)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        return self.cells, self.cells
