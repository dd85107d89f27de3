"""Full-reference training: on scored pairs (reference, distorted), and on preferences between two distorted images.

Images of a pair are seen alike: the same crop, the same mirroring, the same change of lightness.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from iqasuite import models
from iqasuite.datasets.pairs import Preferences
from iqasuite.errors import InputError
from iqasuite.images.crops import grid_crops, normalise, random_crops
from iqasuite.images.lightness import scaled_lightness
from iqasuite.training import ranking_losses
from iqasuite.training.batches import ArrayBatches
from iqasuite.training.loop import QUIET, Followed, Metric, Result, Schedule, fit
from iqasuite.training.machine import default_device
from iqasuite.training.outputs import in_deviations

Read = Callable[[np.ndarray], Sequence[np.ndarray]]
Rows = Sequence[int] | np.ndarray
SCHEDULE = Schedule(epochs=20, lr=1e-3, scheduler="cosine", weight_decay=0.0, patience=6, warmup=0.5)
LOSSES = {"mse": 0.1, "plcc": 0.9}  # the study's weights of "simple", with the sign of the correlation mended
LIGHTNESS = (0.3, 1.5)  # the study's range of factors
_AT_ONCE = 16  # pairs of a validation batch: correlation losses depend on their number


@dataclass(frozen=True)
class Shown:
    """How pairs are shown to a network in training.

    Attributes:
        batch_size: pairs a step, which is also what rank and correlation losses look at at once.
        crop: side in pixels of the random training crops, mirrored half of the time; None = whole images.
        val_crop: side of the central crop that validation sees; None = whole images, as in use.
        lightness: lowest and highest factor of L of Lab, another one for each pair; half of the pairs stay as they are
            (in the study every pair was there twice, once so and once so). None = all do. The target is taken to be
            the same for a lighter and a darker pair, which no observer was asked.
    """

    batch_size: int = 16
    crop: int | None = 160
    val_crop: int | None = None
    lightness: tuple[float, float] | None = None

    def __post_init__(self):
        if self.lightness is not None and not 0 <= self.lightness[0] <= self.lightness[1]:
            raise InputError(f"lightness is {self.lightness}, expected a range of factors such as {LIGHTNESS}")


def pair_batches(
    read: Read,
    rows: Rows,
    targets: Tensor | np.ndarray | Sequence[float],
    shown: Shown,
    seed: int = 0,
    train: bool = True,
    mean: Sequence[float] | Tensor = (0.5, 0.5, 0.5),
    std: Sequence[float] | Tensor = (0.5, 0.5, 0.5),
    source: str = "",
) -> ArrayBatches:
    """Batches of references and distorted images, or of references, A and B, each (B, 3, H, W), seen alike, normalised.

    Args:
        read: rows -> that many images of one size, uint8 (B, H, W, 3) each: the method `pairs` of `PseudoLabelled` or
            `ImagePairs`, or `triples` of `Preferences`.
        rows: positions that are read, one for each target.
        targets: (n,).
        shown: how; the last batch of an epoch may be smaller.
        seed: of order, places and lightness.
        train: shuffled and augmented; otherwise in order and always the same, `val_crop` in place of `crop`.
        mean, std: per channel, of inputs in [0, 1], as the model has them.
        source: what `read` reads, in any words: part of the signature.

    Raises:
        InputError: not as many targets as rows, none, a batch size below 1.
    """
    rows, crop = np.asarray(rows, np.int64), shown.crop if train else shown.val_crop
    targets = torch.as_tensor(np.asarray(targets, np.float32))
    if len(rows) != len(targets) or not len(rows):
        raise InputError(f"pair_batches: {len(rows)} rows, {len(targets)} targets; expected as many, at least one")
    lightness = shown.lightness if train else None
    return ArrayBatches(
        lambda chosen: read(rows[chosen]),
        targets,
        shown.batch_size if train else _AT_ONCE,
        shuffle=train,
        seed=seed,
        transform=partial(_seen, crop=crop, lightness=lightness, train=train, mean=mean, std=std),
        source=f"{(crop, train, lightness)} {read(rows[:1])[0].shape} {source} {rows.tolist()}",
    )


def _seen(
    images: Sequence[np.ndarray],
    generator: torch.Generator,
    crop: int | None,
    lightness: tuple[float, float] | None,
    train: bool,
    mean: Sequence[float] | Tensor,
    std: Sequence[float] | Tensor,
) -> list[Tensor]:
    """Images uint8 (B, H, W, 3) of pairs as a network sees them: float32 (B, 3, h, w)."""
    device, state, seen = default_device(None), generator.get_state(), []
    for pixels in images:
        x = torch.as_tensor(pixels).to(device, non_blocking=True).permute(0, 3, 1, 2)
        if crop:
            generator.set_state(state)  # the same places for all images of a pair
            x = random_crops(x, crop, generator) if train else grid_crops(x, crop, 1)[:, 0]
        seen.append(x)
    x = torch.stack(seen, dim=1)
    if lightness is not None:
        factors = torch.empty(len(x)).uniform_(*lightness, generator=generator)
        changed = torch.rand(len(x), generator=generator) < 0.5
        x[changed] = scaled_lightness(x[changed], factors[changed])
    # channels last: in bf16 on a CPU a step then takes 40 % of the time
    return [y.contiguous(memory_format=torch.channels_last) for y in normalise(x, mean, std).unbind(1)]


def preferred(network: nn.Module, reference: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Score of A − score of B, (B,), in one pass, so that a batch norm's statistics are of both."""
    of_a, of_b = network(torch.cat([reference, reference]), torch.cat([a, b])).chunk(2)
    return of_a - of_b


@dataclass(frozen=True)
class FullReference:
    """A trained network and how it was trained.

    Attributes:
        model: reference and distorted (B, 3, H, W), normalised -> scores (B,), on the scale of the targets; for
            `inference.pairs.save_full_reference`.
        result: of the training loop.
    """

    model: nn.Module
    result: Result


def srocc(scores: Tensor, targets: Tensor) -> float:
    """Spearman's correlation of (n,) with (n,), by which an epoch is chosen; 0 where the scores are constant."""
    value = ranking_losses.spearman(scores, targets)
    return 0.0 if math.isnan(value) else value


@dataclass(frozen=True)
class ScoredPairs:
    """What a full-reference network learns from.

    Attributes:
        read: see `pair_batches`.
        targets: score of each row that `read` knows, on any scale, higher = better.
        train: rows that are learnt from, mean and standard deviation of the targets included. Split by reference.
        val: rows that choose the epoch. None of them: all epochs, the last weights.
        source: what `read` reads, for checkpoints.
    """

    read: Read
    targets: Sequence[float] | np.ndarray
    train: Rows
    val: Rows
    source: str = ""


def train_full_reference(
    network: nn.Module | Mapping[str, object],
    pairs: ScoredPairs,
    loss: ranking_losses.Loss,
    schedule: Schedule = SCHEDULE,
    seed: int = 0,
    shown: Shown = Shown(),
    metric: Metric | None = srocc,
    followed: Followed = QUIET,
) -> FullReference:
    """Train a Siamese network on pairs with scores, higher = better.

    Args:
        network: arguments of `models.siamese_fr.SiameseFR`, such as {"variant": "simple", "width": 0.5}; or a trained
            network to go on from, which itself stays as it is: its scores are brought to the new targets' mean and
            standard deviation.
        pairs: what is learnt from.
        loss: of `ranking_losses.create`, of scores in standard deviations of the training targets.
        schedule: how long and how fast.
        seed: of the first weights, order, places, lightness and dropout.
        shown: batches and crops.
        metric, followed: of `loop.fit`.

    Raises:
        InputError: unknown variant or argument; no training rows; a row without a score.
    """
    y = np.asarray(pairs.targets, np.float64)
    train, val = np.asarray(pairs.train, np.int64), np.asarray(pairs.val, np.int64)
    _check_rows("train_full_reference", y, train, val)
    model = _network(network, seed)
    if len(set(y[train])) > 1:
        model.get_buffer("dense.mean").fill_(float(y[train].mean()))
        model.get_buffer("dense.std").fill_(float(y[train].std()))
    y = (y - model.get_buffer("dense.mean").item()) / model.get_buffer("dense.std").item()
    batches = _batches(model, replace(pairs, targets=y, train=train, val=val), shown, seed)
    step = in_deviations(model.get_submodule("dense"))
    return FullReference(model, fit(model, *batches, loss, schedule, seed, metric, step, followed))


def pretrain_on_preferences(
    network: nn.Module | Mapping[str, object],
    preferences: Preferences,
    train: Rows,
    val: Rows,
    schedule: Schedule = SCHEDULE,
    seed: int = 0,
    shown: Shown = Shown(),
    metric: Metric | None = None,
    followed: Followed = QUIET,
) -> FullReference:
    """Train a Siamese network on which of two distorted images observers prefer; arguments as of
    `train_full_reference`.

    The model is Bradley's and Terry's: P(A preferred) = sigmoid(score of A − score of B), so scores are in logits with
    no zero of their own. (The study took the share itself for a score of A, whatever B was.) What is learnt so goes
    into `train_full_reference` as `network`.

    Args:
        preferences: of `preferences_of`.
        train, val: comparisons, split by reference.
        metric: None = the epoch of the lowest validation loss; or `preference_accuracy`.
        network, schedule, seed, shown, followed: as there.

    Raises:
        InputError: unknown variant or argument; no training rows; a preference that is not in 0–1.
    """
    y = preferences.pairs["preference_a"].to_numpy(np.float64)
    train, val = np.asarray(train, np.int64), np.asarray(val, np.int64)
    _check_rows("pretrain_on_preferences", y, train, val)
    model = _network(network, seed)
    batches = _batches(model, ScoredPairs(preferences.triples, y, train, val, preferences.source), shown, seed)
    loss = ranking_losses.bradley_terry_loss
    return FullReference(model, fit(model, *batches, loss, schedule, seed, metric, preferred, followed))


def preference_accuracy(differences: Tensor, preferences: Tensor) -> float:
    """Share of the comparisons (n,) with a preference whose preferred image has the higher score.

    Equal scores count half, preferences of .5 not at all; nan where there are no others.
    """
    decided = preferences != 0.5
    agreement = torch.sign(differences[decided]) * torch.sign(preferences[decided] - 0.5)
    return ((agreement + 1) / 2).double().mean().item()


def _network(network: nn.Module | Mapping[str, object], seed: int) -> nn.Module:
    if isinstance(network, nn.Module):
        return copy.deepcopy(network).to(memory_format=torch.channels_last)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        created = models.create("siamese_fr", **network)
    return created.to(memory_format=torch.channels_last)


def _batches(model: nn.Module, pairs: ScoredPairs, shown: Shown, seed: int) -> tuple[ArrayBatches, ArrayBatches | None]:
    y, seen = np.asarray(pairs.targets), (model.get_buffer("mean"), model.get_buffer("std"), pairs.source)

    def batches(rows: np.ndarray, train: bool) -> ArrayBatches:
        return pair_batches(pairs.read, rows, y[rows], shown, seed, train, *seen)

    train, val = np.asarray(pairs.train), np.asarray(pairs.val)
    return batches(train, True), batches(val, False) if len(val) else None


def _check_rows(where: str, y: np.ndarray, train_rows: np.ndarray, val_rows: np.ndarray) -> None:
    if not len(train_rows):
        raise InputError(f"{where}: no training rows, expected at least one")
    rows = np.concatenate([train_rows, val_rows])
    if rows.min() < 0 or rows.max() >= len(y):
        raise InputError(f"{where}: rows {rows.min()} to {rows.max()}, expected 0 to {len(y) - 1}, all with targets")
    wrong = rows[~np.isfinite(y[rows])]
    if len(wrong):
        raise InputError(f"{where}: {len(wrong)} of {len(rows)} rows have no target, the first is row {wrong[0]}")
