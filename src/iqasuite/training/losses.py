"""Losses, scalars and batch means: vote logits (B, 5) against target distributions (B, 5); scores (B,) against (B,)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from iqasuite.errors import InputError

FAITHFUL_SIGMA = 0.49
"""Standard deviation in votes (their .7²) that gives [.0002 .0997 .8002 .0997 .0002] around the vote 3."""


def soft_labels(votes: Tensor, sigma: float = FAITHFUL_SIGMA, n_classes: int = 5) -> Tensor:
    """Normal distribution around each vote, sampled at the votes 1…n and normalised there.

    Args:
        votes: shape (B,), in 1…n_classes; means such as 3.4 are allowed.
        sigma: standard deviation in votes; 0 gives one-hot targets at the nearest vote.
        n_classes: steps of the scale.

    Returns:
        Float (B, n_classes), rows summing to 1.

    Raises:
        InputError: a vote outside of the scale, or a negative sigma.
    """
    votes = torch.as_tensor(votes)
    outside = votes[~((votes >= 1) & (votes <= n_classes))]
    if len(outside):
        raise InputError(f"soft_labels: vote {outside[0].item()}, expected 1…{n_classes}")
    if sigma < 0:
        raise InputError(f"soft_labels: sigma is {sigma}, expected 0 or more")
    if sigma == 0:
        return F.one_hot((votes + 0.5).long().clamp(max=n_classes) - 1, n_classes).float()
    distance = torch.arange(1, n_classes + 1, device=votes.device) - votes[:, None].double()
    return (-(distance**2) / (2 * sigma**2)).softmax(dim=1).float()


def soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """−Σ target · log softmax(logits): the study's loss, with `soft_labels` as target."""
    return -(target * logits.float().log_softmax(dim=1)).sum(dim=1).mean()


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Plain cross-entropy against the most probable vote of the target."""
    return F.cross_entropy(logits.float(), target.argmax(dim=1))


def kl_divergence(logits: Tensor, target: Tensor) -> Tensor:
    """Kullback–Leibler divergence from target to prediction, ≥ 0: soft cross-entropy less the target's entropy."""
    return F.kl_div(logits.float().log_softmax(dim=1), target, reduction="batchmean")


def emd(logits: Tensor, target: Tensor) -> Tensor:
    """Squared earth mover's distance: Σ (difference of the cumulative distributions)², in [0, 4] for five votes.

    Reference: L. Hou, C.-P. Yu and D. Samaras, "Squared Earth Mover's Distance-based Loss for Training Deep Neural
    Networks", arXiv 1611.05916.
    """
    difference = logits.float().softmax(dim=1).cumsum(dim=1) - target.cumsum(dim=1)
    return difference.square().sum(dim=1).mean()


def mse_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error of scores (B,) against target scores (B,)."""
    return F.mse_loss(scores.float(), targets.float())


def plcc_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """1 − Pearson correlation of scores (B,) with target scores (B,), in [0, 2]; 1 where either is constant.

    Says nothing of the scores' level and spread. Both are expected in units of about their own standard deviation:
    a variance far below 1e-6 counts as none.
    """
    x, y = (v.float() - v.float().mean() for v in (scores, targets))
    # A small variance is added under the root, so that the gradient of constant scores is finite and points to y.
    return 1 - (x * y).mean() / ((x.square().mean() + 1e-6) * (y.square().mean() + 1e-6)).sqrt()


def mse_plcc_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """Half `mse_loss`, half `plcc_loss`: scores (B,) against target scores (B,) in standard deviations."""
    return (mse_loss(scores, targets) + plcc_loss(scores, targets)) / 2


def create(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss between vote logits and distributions called `name`.

    Raises:
        InputError: unknown name.
    """
    known = {f.__name__: f for f in (soft_cross_entropy, cross_entropy, kl_divergence, emd)}
    if name not in known:
        raise InputError(f"loss {name!r} is unknown, expected one of {', '.join(known)}")
    return known[name]
