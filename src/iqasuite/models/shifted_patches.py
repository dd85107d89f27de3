"""Shifted patch tokens, the stem of ViT-IQA that needs no other network.

Reference: S. H. Lee, S. Lee and B. C. Song, "Vision Transformer for Small-Size Datasets", arXiv 2112.13492.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from scipy.fft import dct
from torch import Tensor, nn


class ShiftedPatchTokens(nn.Module):
    """Shifted patch tokenization: the image and four shifted copies, cut into patches, normalised, projected.

    `shift="axes"` moves by one pixel right, left, down, up (vit-pytorch); `shift="diagonal"` moves by half a patch
    along the four diagonals (the paper). What moves in from outside is 0.

    The layer norm takes the contrast out of a patch, and with it the size of JPEG's quantisation steps. `contrast=True`
    adds to each token a projection of the log of the standard deviation of its five patches and of their mean.
    """

    n_scales = 1

    def __init__(self, dim: int, patch_size: int, shift: str = "axes", contrast: bool = False):
        super().__init__()
        step = 1 if shift == "axes" else patch_size // 2
        axes, diagonals = ((0, 1), (0, -1), (1, 0), (-1, 0)), ((1, 1), (1, -1), (-1, 1), (-1, -1))
        self.patch_size, self.margin = patch_size, step
        self.shifts = [(0, 0), *((step * dy, step * dx) for dy, dx in (axes if shift == "axes" else diagonals))]
        self.norm = nn.LayerNorm(5 * 3 * patch_size**2)
        self.linear = nn.Linear(5 * 3 * patch_size**2, dim)
        self.contrast = nn.Linear(6, dim) if contrast else None
        if self.contrast is not None:
            nn.init.normal_(self.contrast.weight, std=0.5)  # heard beside the tokens from the first step

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
        patches = self.patches(x)
        whitened = F.layer_norm(patches, self.norm.normalized_shape, eps=self.norm.eps)
        # LayerNorm's own weight and bias go into the projection: the images need no gradient, so none is computed
        # for the patch vectors, which are the largest tensors of the network.
        tokens = F.linear(whitened, self.linear.weight * self.norm.weight, self.linear(self.norm.bias))
        return tokens if self.contrast is None else tokens + self.contrast(_contrast(patches.float()))

    def grid(self, height: int, width: int) -> tuple[int, int]:
        return height // self.patch_size, width // self.patch_size

    @torch.no_grad()
    def start_from_dct(self) -> None:
        """Let the projection begin with the basis of JPEG's transform (8 × 8, luma) beside its random weights.

        Token dimension d starts with basis function d mod 64 of one of the patch's blocks. From random weights alone
        the accuracy on JPEG classes after 1,000 steps took 1,500 (one seed).
        """
        side = self.patch_size // 8
        basis = dct(torch.eye(8).double().numpy(), axis=0, norm="ortho")
        luma = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
        weight = self.linear.weight.mul_(0.3).unflatten(1, (5, 3, self.patch_size, self.patch_size))
        for d in range(len(weight)):
            row, column = divmod(d // 64 % side**2, side)
            function = torch.from_numpy(np.outer(basis[d % 64 // 8], basis[d % 8])).float()
            weight[d, 0, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] += 3 * luma * function


def _contrast(patches: Tensor) -> Tensor:
    """Log standard deviation of each of the five patches and the mean of all, (B, N, 6)."""
    deviations = patches.unflatten(2, (5, -1)).std(dim=-1)
    return torch.cat([(deviations + 0.01).log(), patches.mean(dim=-1, keepdim=True)], dim=-1)
