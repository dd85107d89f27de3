"""Standardised, reduced tokens: what a few hundred rated images can support of thousands of channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class TokenReduction(nn.Module):
    """Standardises each channel and brings each group of channels to its leading principal components.

    Channels come in groups, one for each stem, so that a wide one does not drown a narrow one. A group that is no wider
    than `components` stays as it is. Everything is fitted once on training tokens, without any vote.

    Args:
        groups: channels of each group, in their order in the tokens.
        components: principal components kept of a wider group; None = all channels stay.
    """

    mean: Tensor
    std: Tensor
    fitted: Tensor

    def __init__(self, groups: Sequence[int], components: int | None = None):
        super().__init__()
        self.groups = tuple(groups)
        self.widths = tuple(min(width, components or width) for width in groups)
        self.channels = sum(self.widths)
        self.register_buffer("mean", torch.zeros(sum(groups)))
        self.register_buffer("std", torch.ones(sum(groups)))
        self.register_buffer("fitted", torch.tensor(False))
        for i, (width, kept) in enumerate(zip(self.groups, self.widths, strict=True)):
            if kept < width:
                self.register_buffer(f"basis_{i}", torch.eye(width, kept))

    @torch.no_grad()
    def fit(self, tokens: Tensor, seed: int = 0, most: int = 4000) -> None:
        """Take statistics and components from training tokens (n, N, channels), of at most `most` of them.

        Channels that never change keep a standard deviation of 1. Components have unit variance on average. Groups
        that are hidden stay so.
        """
        rows = tokens.reshape(-1, tokens.shape[-1])
        generator = torch.Generator().manual_seed(seed)
        rows = rows[torch.randperm(len(rows), generator=generator)[:most]].float().cpu()
        std, mean = torch.std_mean(rows, dim=0)
        self.mean.copy_(mean)
        std = torch.where(std > 1e-6, std, torch.ones_like(std))
        self.std.copy_(torch.where(self.std.cpu().isinf(), torch.inf, std))
        rows = (rows - self.mean.cpu()) / self.std.cpu()
        for i, part in enumerate(rows.split(self.groups, dim=1)):
            if self.widths[i] < self.groups[i]:
                # eigenvectors of the covariance: deterministic, unlike a randomised decomposition
                _, vectors = torch.linalg.eigh(part.T @ part / len(part))
                basis = vectors[:, -self.widths[i] :].flip(1)
                basis = basis * basis.sum(dim=0).sign()  # an eigenvector's sign is arbitrary: choose one
                self.get_buffer(f"basis_{i}").copy_(basis / (part @ basis).std().clamp_min(1e-12))
        self.fitted.fill_(True)

    def hide(self, group: int) -> None:
        """Let all channels of a group be 0, whatever the tokens are."""
        self.std.split(self.groups)[group].fill_(torch.inf)

    def forward(self, tokens: Tensor) -> Tensor:
        parts = ((tokens - self.mean) / self.std).split(self.groups, dim=-1)
        wide = [kept < width for width, kept in zip(self.groups, self.widths, strict=True)]
        kept = [p @ self.get_buffer(f"basis_{i}") if wide[i] else p for i, p in enumerate(parts)]
        return torch.cat(kept, dim=-1)
