"""From logits to a distribution over votes, an expected vote and a hard vote; and an ordinal head."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def distribution(logits: Tensor) -> Tensor:
    """Probabilities of the votes 1…5, shape (B, 5), rows summing to 1, of logits or log-probabilities (B, 5)."""
    return logits.float().softmax(dim=-1)


def expected_vote(logits: Tensor) -> Tensor:
    """Mean vote under the predicted distribution, shape (B,), in [1, 5]."""
    probabilities = distribution(logits)
    votes = torch.arange(1, probabilities.shape[-1] + 1, device=logits.device, dtype=probabilities.dtype)
    return probabilities @ votes


def votes_around(votes: Tensor, spread: Tensor) -> Tensor:
    """Logits of distributions over the votes 1…5 with given means: normal densities, moved until these are right.

    A normal density that is cut off at the ends of the scale has another mean than the one it was made with; here its
    centre is found by bisection so that the expected vote is the one that was asked for.

    Args:
        votes: means (B,); those beyond 1.02 or 4.98 are taken there.
        spread: standard deviations of the normal density in votes (B,), below .3 = .3.

    Returns:
        float64 (B, 5).
    """
    wanted, spread = votes.double().clamp(1.02, 4.98), spread.double().clamp_min(0.3)[:, None]
    steps = torch.arange(1, 6, dtype=torch.float64, device=votes.device)
    low, high = torch.full_like(wanted, -60.0), torch.full_like(wanted, 66.0)
    for _ in range(60):
        centre = (low + high) / 2
        logits = -((steps - centre[:, None]) ** 2) / (2 * spread**2)
        below = logits.softmax(dim=-1) @ steps < wanted
        low, high = torch.where(below, centre, low), torch.where(below, high, centre)
    return logits


class OrdinalHead(nn.Module):
    """A score and ordered thresholds: features (B, dim) -> log-probabilities of the votes (B, n_classes).

    Ordered probit: vote k where the score plus a standard normal error falls between thresholds k − 1 and k.
    The first threshold is free, each next one is a positive step above the one before. They are kept divided by
    `REACH`: Adam moves every parameter by about the learning rate a step, which is much for a weight of some
    hundredths and next to nothing for a cut point between −2 and 2, where observers differ most.

    Reference: P. McCullagh, "Regression Models for Ordinal Data", 1980.
    """

    REACH = 100.0

    def __init__(self, dim: int, n_classes: int = 5):
        super().__init__()
        self.score = nn.Linear(dim, 1)
        self.first = nn.Parameter(torch.tensor(-(n_classes - 2) / 2) / self.REACH)
        self.steps = nn.Parameter(torch.full((n_classes - 2,), 0.5413) / self.REACH)  # softplus(.5413) = 1

    @property
    def thresholds(self) -> Tensor:
        """Increasing cut points on the score, shape (n_classes − 1,)."""
        first, steps = self.first * self.REACH, F.softplus(self.steps * self.REACH)
        return torch.cat([first[None], first + steps.cumsum(0)])

    def forward(self, features: Tensor) -> Tensor:
        score = self.score(features).float()
        return _interval_log_probabilities(self.thresholds.float() - score)


def _interval_log_probabilities(cuts: Tensor) -> Tensor:
    """Log-probability (B, k + 1) of a standard normal between increasing cuts (B, k), without cancellation."""
    low, high = cuts[..., :-1], cuts[..., 1:]
    # In the upper tail both distribution values round to 1: mirrored there, where their logarithms differ.
    mirrored = low + high > 0
    low, high = torch.where(mirrored, -high, low), torch.where(mirrored, -low, high)
    log_low, log_high = torch.special.log_ndtr(low), torch.special.log_ndtr(high)
    between = log_high + torch.log(-torch.expm1((log_low - log_high).clamp(max=-1e-6)))
    first, last = torch.special.log_ndtr(cuts[..., :1]), torch.special.log_ndtr(-cuts[..., -1:])
    return torch.cat([first, between, last], dim=-1).log_softmax(dim=-1)
