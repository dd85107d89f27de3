"""Full-reference training: on scored pairs (reference, distorted), and on preferences between two distorted images.

Images of a pair are seen alike: the same crop, the same mirroring, the same change of lightness. The training loop
hands a model one tensor, so the images of a pair travel stacked, reference first: (B, 2, 3, H, W).
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from iqasuite import models
from iqasuite.datasets.pairs import Preferences
from iqasuite.errors import InputError
from iqasuite.images.cache import ImageCache
from iqasuite.images.crops import grid_crops, normalise, random_crops
from iqasuite.images.lightness import scaled_lightness
from iqasuite.training import ranking_losses
from iqasuite.training.batches import ArrayBatches
from iqasuite.training.loop import Schedule, fit

logger = logging.getLogger(__name__)

Read = Callable[[np.ndarray], Sequence[np.ndarray]]
Rows = Sequence[int] | np.ndarray
Metric = Callable[[Tensor, Tensor], float]
Observe = Callable[["FullReference"], dict[str, float]]
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


class PairBatches(ArrayBatches):
    """Batches of pairs (B, 2, 3, H, W), or of reference, A and B (B, 3, 3, H, W), seen alike and normalised.

    Args:
        read: rows -> that many images of one size, uint8 (B, H, W, 3) each: the method `pairs` of `PseudoLabelled` or
            `ImagePairs`, or `triples` of `Preferences`.
        rows: positions that are read, one for each target.
        targets: (n,).
        shown: how; the last batch of an epoch may be smaller.
        seed: of order, places and lightness.
        train: shuffled and augmented; otherwise in order and always the same, `val_crop` in place of `crop`.
        mean, std: per channel, of inputs in [0, 1], as the model has them.
        device: where batches are made; None = the GPU where there is one.

    Raises:
        InputError: not as many targets as rows, none, a batch size below 1.
    """

    def __init__(
        self,
        read: Read,
        rows: Rows,
        targets: Tensor | np.ndarray,
        shown: Shown,
        seed: int = 0,
        train: bool = True,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        device: torch.device | str | None = None,
    ):
        self.settings = (shown.crop if train else shown.val_crop, train, shown.lightness)
        seen = partial(_seen, settings=self.settings, mean=mean, std=std, device=device)
        inputs = _Read(read, np.asarray(rows, np.int64))
        targets = torch.as_tensor(np.asarray(targets, np.float32))
        at_once = shown.batch_size if train else _AT_ONCE
        super().__init__(inputs, targets, at_once, shuffle=train, seed=seed, transform=seen)

    def signature(self) -> str:
        """As of `ArrayBatches`, with how pairs are seen."""
        seen = self.inputs[np.array([0])].shape  # pairs of another size are another training
        of = getattr(self.inputs.read, "__self__", None)  # and so are those whose files are fitted otherwise
        keys = [value.key for value in getattr(of, "__dict__", {}).values() if isinstance(value, ImageCache)]
        return f"{super().signature()} {self.settings} {seen} {keys} {self.inputs.rows.tolist()}"


class _Read:
    """An array of stacked pairs that are read when asked for."""

    def __init__(self, read: Read, rows: np.ndarray):
        self.read, self.rows, self.shape = read, rows, rows.shape

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, chosen: np.ndarray) -> np.ndarray:
        return np.stack(self.read(self.rows[chosen]), axis=1)


def _seen(stacked: Tensor, generator: torch.Generator, settings: tuple, mean, std, device) -> Tensor:
    """Stacked images uint8 (B, k, H, W, 3) as a network sees them: float32 (B, k, 3, h, w)."""
    crop, train, lightness = settings
    x = stacked.to(device or ("cuda" if torch.cuda.is_available() else "cpu"), non_blocking=True)
    x = x.permute(0, 1, 4, 2, 3)
    if crop:
        state, cut = generator.get_state(), []
        for images in x.unbind(1):
            generator.set_state(state)  # the same places for all images of a pair
            cut.append(random_crops(images, crop, generator) if train else grid_crops(images, crop, 1)[:, 0])
        x = torch.stack(cut, dim=1)
    if train and lightness is not None:
        factors = torch.empty(len(x)).uniform_(*lightness, generator=generator)
        changed = torch.rand(len(x), generator=generator) < 0.5
        x = x.contiguous()
        x[changed] = scaled_lightness(x[changed], factors[changed])
    return normalise(x, mean, std)


class _InDeviations(nn.Module):
    """What the loop trains: stacked pairs -> scores in standard deviations from the training targets' mean."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, pairs: Tensor) -> Tensor:
        return (self.model(*_apart(pairs)) - self.model.dense.mean) / self.model.dense.std


class _Preferred(nn.Module):
    """What the loop trains on comparisons: stacked reference, A and B -> score of A − score of B."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, triples: Tensor) -> Tensor:
        reference, a, b = _apart(triples)
        # One pass, so that a batch norm's statistics are of both.
        of_a, of_b = self.model(torch.cat([reference, reference]), torch.cat([a, b])).chunk(2)
        return of_a - of_b


def _apart(stacked: Tensor) -> list[Tensor]:
    """The images of stacked pairs, channels last: in bf16 on a CPU a step then takes 40 % of the time."""
    return [images.contiguous(memory_format=torch.channels_last) for images in stacked.unbind(1)]


@dataclass
class FullReference:
    """A trained network and how it was trained.

    Attributes:
        model: reference and distorted (B, 3, H, W), normalised -> scores (B,), on the scale of the targets; for
            `inference.pairs.save_full_reference`.
        result: the `Result` of the training loop; None while it runs.
    """

    model: nn.Module
    result: Any


def srocc(scores: Tensor, targets: Tensor) -> float:
    """Spearman's correlation of (n,) with (n,), by which an epoch is chosen; 0 where the network says one thing."""
    value = ranking_losses.spearman(scores, targets)
    return 0.0 if math.isnan(value) else value


@dataclass(frozen=True)
class ScoredPairs:
    """What a full-reference network learns from.

    Attributes:
        read: see `PairBatches`.
        targets: score of each row that `read` knows, on any scale, higher = better.
        train: rows that are learnt from, mean and standard deviation of the targets included. Split by reference.
        val: rows that choose the epoch. None of them: all epochs, the last weights.
    """

    read: Read
    targets: Sequence[float] | np.ndarray
    train: Rows
    val: Rows


@dataclass(frozen=True)
class Followed:
    """How a training is kept and followed.

    Attributes:
        checkpoint, log: of `loop.fit`.
        observe: called after each epoch with the network as it then is; its numbers go into the history.
    """

    checkpoint: Path | str | None = None
    log: Callable[[str], None] = logger.debug
    observe: Observe | None = None


def train_full_reference(
    network: nn.Module | Mapping[str, object],
    pairs: ScoredPairs,
    loss: ranking_losses.Loss,
    schedule: Schedule = SCHEDULE,
    seed: int = 0,
    shown: Shown = Shown(),
    metric: Metric | None = srocc,
    followed: Followed = Followed(),
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
        metric: of `loop.fit`.
        followed: checkpoint and log.

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
    training, validation = _batches(model, pairs.read, y, train, val, shown, seed)
    return _fitted(_InDeviations(model), training, validation, loss, schedule, seed, metric, followed)


def pretrain_on_preferences(
    network: nn.Module | Mapping[str, object],
    preferences: Preferences,
    train: Rows,
    val: Rows,
    schedule: Schedule = SCHEDULE,
    seed: int = 0,
    shown: Shown = Shown(),
    metric: Metric | None = None,
    followed: Followed = Followed(),
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
    training, validation = _batches(model, preferences.triples, y, train, val, shown, seed)
    loss = ranking_losses.bradley_terry_loss
    return _fitted(_Preferred(model), training, validation, loss, schedule, seed, metric, followed)


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


def _batches(
    model: nn.Module, read: Read, y: np.ndarray, train: np.ndarray, val: np.ndarray, shown: Shown, seed: int
) -> tuple[PairBatches, PairBatches | None]:
    """Of the training and of the validation rows."""
    batches = partial(PairBatches, read, shown=shown, seed=seed, mean=model.mean, std=model.std)
    return batches(train, y[train]), batches(val, y[val], train=False) if len(val) else None


def _fitted(
    wrapped: nn.Module,
    training: PairBatches,
    validation: PairBatches | None,
    loss,
    schedule: Schedule,
    seed: int,
    metric: Metric | None,
    followed: Followed,
) -> FullReference:
    fitted = FullReference(cast("nn.Module", wrapped.model), None)
    seen = followed.observe and partial(followed.observe, fitted)
    fitted.result = fit(
        wrapped, training, validation, loss, schedule, seed, followed.checkpoint, metric, followed.log, seen
    )
    fitted.model.eval()
    return fitted


def _check_rows(where: str, y: np.ndarray, train_rows: np.ndarray, val_rows: np.ndarray) -> None:
    if not len(train_rows):
        raise InputError(f"{where}: no training rows, expected at least one")
    rows = np.concatenate([train_rows, val_rows])
    if rows.min() < 0 or rows.max() >= len(y):
        raise InputError(f"{where}: rows {rows.min()} to {rows.max()}, expected 0 to {len(y) - 1}, all with targets")
    wrong = rows[~np.isfinite(y[rows])]
    if len(wrong):
        raise InputError(f"{where}: {len(wrong)} of {len(rows)} rows have no target, the first is row {wrong[0]}")
