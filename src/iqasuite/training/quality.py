"""No-reference networks trained end to end on mean opinion scores: images to a distribution over five steps of quality.

Whatever a set's scale is, its low end is the vote 1 and its high end the vote 5; networks with five outputs learn how
the votes on an image are spread, those with one output learn their mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from iqasuite.datasets.dataset import Dataset, Scale
from iqasuite.datasets.splits import part
from iqasuite.errors import InputError
from iqasuite.models.heads import expected_vote, votes_around
from iqasuite.training.inputs import PixelInputs
from iqasuite.training.loop import LOGGED, Followed, Loss, Result, Schedule, fit
from iqasuite.training.losses import mse_loss, plcc_loss, soft_cross_entropy
from iqasuite.training.ranking_losses import hinge_loss, soft_spearman_loss, spearman
from iqasuite.weights.files import save_weights

SPREAD = 0.8  # standard deviation in votes where a set does not say how its votes are spread
RANKING = {"plcc": plcc_loss, "soft_spearman": soft_spearman_loss, "hinge": hinge_loss, "none": None}


def votes_of(mos: np.ndarray, scale: Scale) -> np.ndarray:
    """Scores of a set (higher = better) as votes from 1 (low end of its scale) to 5 (high end).

    Raises:
        InputError: the scale has no extent.
    """
    if not scale.high > scale.low:
        raise InputError(f"scale {scale.name} from {scale.low} to {scale.high}: expected low below high")
    return 1 + 4 * (np.asarray(mos, float) - scale.low) / (scale.high - scale.low)


def vote_distributions(votes: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Distributions over the votes 1…5 with given means: normal densities at the votes, moved until the mean is right.

    See `heads.votes_around`.

    Args:
        votes: means (n,), in 1…5; those within .02 of an end are taken there.
        spread: standard deviations of the normal density in votes (n,); nan = `SPREAD`, below .3 = .3.

    Returns:
        (n, 5), float32, rows summing to 1.

    Raises:
        InputError: a mean outside of 1…5.
    """
    votes = np.asarray(votes, float)
    outside = votes[~((votes >= 1) & (votes <= 5))]
    if len(outside):
        raise InputError(f"vote_distributions: mean vote {outside[0]:.4g}, expected 1…5 (scores outside of the scale?)")
    spread = np.nan_to_num(np.asarray(spread, float), nan=SPREAD)
    logits = votes_around(torch.from_numpy(votes), torch.from_numpy(spread))
    return logits.softmax(dim=-1).numpy().astype(np.float32)


def targets_of(dataset: Dataset) -> dict[str, np.ndarray]:
    """Image -> distribution (5,) of its votes, by its mean opinion score and their standard deviation."""
    images = dataset.images.dropna(subset="mos")
    extent = (dataset.scale.high - dataset.scale.low) / 4
    spread = (images["mos_std"] / extent).to_numpy(float)
    distributions = vote_distributions(votes_of(images["mos"].to_numpy(), dataset.scale), spread)
    return dict(zip(images["image"], distributions, strict=True))


def mean_vote(outputs: Tensor) -> Tensor:
    """Votes (B,) of a network's outputs: expected vote of logits (B, 5), or scores (B,) as they are."""
    return expected_vote(outputs) if outputs.ndim == 2 else outputs.float()


def quality_loss(ranking: str = "plcc") -> Loss:
    """Loss between outputs, logits (B, 5) or scores (B,), and distributions of votes (B, 5).

    Cross-entropy with the distribution for logits, squared error with its mean for scores; and a term that looks at
    the order of the mean votes.

    Args:
        ranking: "plcc" (1 − correlation), "soft_spearman", "hinge" or "none".

    Raises:
        InputError: unknown term.
    """
    if ranking not in RANKING:
        raise InputError(f"ranking {ranking!r} is unknown, expected one of {', '.join(RANKING)}")
    term = RANKING[ranking]

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        wanted = mean_vote_of(targets)
        of_level = soft_cross_entropy(outputs, targets) if outputs.ndim == 2 else mse_loss(outputs, wanted)
        return of_level if term is None else of_level + term(mean_vote(outputs), wanted)

    loss.__name__ = f"quality_{ranking}_1"  # a checkpoint goes on with the loss of this name only
    return loss


def mean_vote_of(targets: Tensor) -> Tensor:
    """Mean votes (B,) of distributions (B, 5)."""
    return targets.float() @ torch.arange(1, 6, dtype=torch.float32, device=targets.device)


def srocc(outputs: Tensor, targets: Tensor) -> float:
    """Rank correlation of a network's mean votes with those of the targets; 0 where either is constant."""
    value = spearman(mean_vote(outputs), mean_vote_of(targets))
    return value if np.isfinite(value) else 0.0


def train_quality(
    model: nn.Module,
    inputs: PixelInputs,
    targets: Mapping[str, np.ndarray],
    train_images: Sequence[str],
    val_images: Sequence[str],
    schedule: Schedule,
    seed: int = 0,
    loss: Loss | None = None,
    batch_size: int = 16,
    followed: Followed = LOGGED,
) -> Result:
    """Train a no-reference network; its weights change in place.

    Args:
        model: images (B, 3, H, W) -> logits (B, 5) or scores (B,), with `mean` and `std`.
        inputs: how images reach it: at one size, with random crops in training.
        targets: image -> distribution of votes (5,), `targets_of`.
        train_images: what it learns from.
        val_images: what chooses the epoch, by rank correlation; empty = all epochs are trained, the last weights kept.
        schedule, seed, followed: as in `loop.fit`.
        loss: `quality_loss`; None = with its defaults.
        batch_size: images a step.

    Raises:
        InputError: no training images, or an image without a target.
    """

    def batches(images: Sequence[str], train: bool):
        lacking = [image for image in images if image not in targets]
        if lacking:
            raise InputError(f"train_quality: no score of image {lacking[0]!r}, expected one for each")
        rows = torch.from_numpy(np.stack([targets[image] for image in images]))
        return inputs.batches(model, images, rows, batch_size, seed, train)

    if not len(train_images):
        raise InputError("train_quality: no training images, expected one or more")
    training, validation = batches(train_images, True), batches(val_images, False) if len(val_images) else None
    metric = srocc if validation else None
    return fit(model, training, validation, loss or quality_loss(), schedule, seed, metric, followed=followed)


def train_on_fold(
    make: Callable[[], nn.Module],
    inputs: PixelInputs,
    targets: Mapping[str, np.ndarray],
    split: pd.DataFrame,
    fold: int,
    schedule: Schedule,
    seed: int = 0,
    refit: bool = False,
    **how,
) -> tuple[nn.Module, Result]:
    """A new network, trained on one fold of a split.

    Args:
        make: gives the network, its random weights drawn anew from the seed and the fold.
        inputs, targets, schedule, seed: as of `train_quality`.
        split, fold: whose training part is learnt from, and whose validation part chooses the epoch.
        refit: learn from the validation part as well; all of `schedule.epochs` are trained then, and nothing is chosen.
        how: `loss`, `batch_size` and `followed` of `train_quality`.

    Raises:
        InputError: as in `train_quality`; no such fold.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed * 1009 + fold)
        model = make()
    training = part(split, fold, "train")
    known = set(split.loc[split["fold"] == fold, "part"])
    choosing = part(split, fold, "val") if "val" in known else []
    if refit:
        training, choosing = training + choosing, []
    return model, train_quality(model, inputs, targets, training, choosing, schedule, seed, **how)


def save_quality(model: nn.Module, path: Path | str, dataset: Dataset, shorter_side: int, card: dict) -> Path:
    """Write a trained network with what a predictor needs to know: the set's scale, and how images are shown to it.

    Args:
        model: the network.
        path: ends in .safetensors.
        dataset: what it was trained on.
        shorter_side: pixels to which an image's shorter side is brought before it is seen whole.
        card: what else is on the card: title, trained_on, scores, limits, licence, split_hash, seed.
    """
    scale = {"name": dataset.scale.name, "low": dataset.scale.low, "high": dataset.scale.high}
    about = {"observer": "", "dataset": dataset.name, "scale": scale, "preprocessing": {"shorter_side": shorter_side}}
    owed = {name: text for name in ("citation", "notice") if (text := getattr(dataset, name))}
    return save_weights(model, path, about | card | owed)


def scores_of(votes: np.ndarray, scale: Scale) -> np.ndarray:
    """Votes from 1 to 5 as scores of a set's scale: `votes_of` undone."""
    return scale.low + (np.asarray(votes, float) - 1) / 4 * (scale.high - scale.low)
