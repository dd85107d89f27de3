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

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from iqasuite import models
from iqasuite.datasets.dataset import Dataset
from iqasuite.errors import InputError
from iqasuite.images.cache import ImageCache, open_cache
from iqasuite.images.crops import grid_crops, normalise, random_crops
from iqasuite.images.lightness import scaled_lightness
from iqasuite.training import ranking_losses
from iqasuite.training.batches import ArrayBatches
from iqasuite.training.loop import Result, Schedule, fit

logger = logging.getLogger(__name__)

Read = Callable[[np.ndarray], Sequence[np.ndarray]]
Observe = Callable[["FullReference"], dict[str, float]]
SCHEDULE = Schedule(epochs=20, lr=1e-3, scheduler="cosine", weight_decay=0.0, patience=6, warmup=0.5)
LOSSES = {"mse": 0.1, "plcc": 0.9}  # the study's weights of "simple", with the sign of the correlation mended
LIGHTNESS = (0.3, 1.5)  # the study's range of factors


@dataclass(frozen=True)
class ImagePairs:
    """Pairs of a rated set at one size, as `datasets.pseudo_labelled.PseudoLabelled` has those of its own.

    Attributes:
        images: images frame, one row a pair.
        references, distorted: uint8 (n, H, W, 3), read from disk as they are needed; or arrays.
        reference_of: for each row of `images` the row of its image in `references`.
    """

    images: pd.DataFrame
    references: ImageCache | np.ndarray
    distorted: ImageCache | np.ndarray
    reference_of: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def pairs(self, indices: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Reference and distorted images of these rows, both uint8 (B, H, W, 3)."""
        rows = np.asarray(indices, dtype=np.int64)
        return self.references[self.reference_of[rows]], self.distorted[rows]


def pairs_of(dataset: Dataset, size: tuple[int, int], root: Path | str | None = None) -> ImagePairs:
    """The full-reference pairs of a rated set such as TID2013, KADID-10k or PIPAL, from the image cache.

    Args:
        dataset: with `reference` filled for some images; the others are left out.
        size: (height, width) that all are brought to, by the set's `fit`; the set's own leaves them as they are.
        root: folder of caches; None = the usual one.

    Raises:
        InputError: no image has a reference, images are parts of files, or as `open_cache`.
    """
    images = dataset.images[dataset.images["reference"] != ""].reset_index(drop=True)
    if images.empty:
        raise InputError(f"{dataset.name}: no image has a reference; expected a set with full-reference pairs")
    reference_of, references = pd.factorize(images["reference"])
    _check_whole_files(dataset)
    originals = [dataset.path(name) for name in references]
    versions = [dataset.path(name) for name in images["image"]]
    return ImagePairs(
        images=images,
        references=open_cache(originals, size, root, dataset.fit),
        distorted=open_cache(versions, size, root, dataset.fit, [originals[i] for i in reference_of]),
        reference_of=reference_of,
    )


@dataclass(frozen=True)
class Preferences:
    """Comparisons of two versions of a reference, as of PieAPP.

    Attributes:
        pairs: as `Dataset.pairs`: reference, image_a, image_b, preference_a (0–1), part.
        pixels: uint8 (N, H, W, 3), every image once.
        rows: for each comparison the rows of reference, A and B in `pixels`, (n, 3).
    """

    pairs: pd.DataFrame
    pixels: ImageCache | np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.pairs)

    def triples(self, indices: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Reference, A and B of these comparisons, each uint8 (B, H, W, 3)."""
        rows = self.rows[np.asarray(indices, dtype=np.int64)]
        return self.pixels[rows[:, 0]], self.pixels[rows[:, 1]], self.pixels[rows[:, 2]]


def preferences_of(dataset: Dataset, size: tuple[int, int], root: Path | str | None = None) -> Preferences:
    """The comparisons of a set such as PieAPP (256×256), from the image cache; arguments as of `pairs_of`.

    Raises:
        InputError: the set has no comparisons, images are parts of files, or as `open_cache`.
    """
    if dataset.pairs is None or dataset.pairs.empty:
        raise InputError(f"{dataset.name}: no comparisons; expected a set with preferences, such as pieapp")
    _check_whole_files(dataset)
    named = dataset.pairs[["reference", "image_a", "image_b"]].to_numpy()
    rows, names = pd.factorize(named.ravel())
    pixels = open_cache([dataset.path(name) for name in names], size, root, dataset.fit)
    return Preferences(dataset.pairs.reset_index(drop=True), pixels, rows.reshape(named.shape))


class PairBatches(ArrayBatches):
    """Batches of pairs (B, 2, 3, H, W), or of reference, A and B (B, 3, 3, H, W), seen alike and normalised.

    Args:
        read: rows -> that many images of one size, uint8 (B, H, W, 3) each: the method `pairs` of `PseudoLabelled` or
            `ImagePairs`, or `triples` of `Preferences`.
        rows: positions that are read, one for each target.
        targets: (n,).
        batch_size: pairs a batch; the last one of an epoch may be smaller.
        seed: of order, places and lightness.
        crop: side in pixels of random crops, mirrored half of the time (train), or of the central one (otherwise);
            None = whole images.
        train: shuffled and augmented; otherwise in order and always the same.
        lightness: lowest and highest factor of L of Lab, another one for each pair; half of the pairs stay as they are
            (in the study every pair was there twice, once so and once so). None = all do. The target is taken to be
            the same for a lighter and a darker pair, which nobody was asked.
        mean, std: per channel, of inputs in [0, 1], as the model has them.
        device: where batches are made; None = the GPU where there is one.

    Raises:
        InputError: not as many targets as rows, none, a batch size below 1, a range of lightness that is none.
    """

    def __init__(self, read: Read, rows: Sequence[int] | np.ndarray, targets: Tensor | np.ndarray,
                 batch_size: int = 16, seed: int = 0, crop: int | None = None, train: bool = True,
                 lightness: tuple[float, float] | None = None, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5),
                 device: torch.device | str | None = None):  # fmt: skip
        if lightness is not None and not 0 <= lightness[0] <= lightness[1]:
            raise InputError(f"lightness is {lightness}, expected a range of factors such as {LIGHTNESS}")
        seen = partial(_seen, crop=crop, train=train, lightness=lightness, mean=mean, std=std, device=device)
        inputs = _Read(read, np.asarray(rows, np.int64))
        targets = torch.as_tensor(np.asarray(targets, np.float32))
        super().__init__(inputs, targets, batch_size, shuffle=train, seed=seed, transform=seen)
        self.settings = (crop, train, lightness)

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


def _seen(stacked: Tensor, generator: torch.Generator, crop: int | None, train: bool,
          lightness: tuple[float, float] | None, mean, std, device) -> Tensor:  # fmt: skip
    """Stacked images uint8 (B, k, H, W, 3) as a network sees them: float32 (B, k, 3, h, w)."""
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
        result: of the training loop; None while it runs.
    """

    model: nn.Module
    result: Result | None


def srocc(scores: Tensor, targets: Tensor) -> float:
    """Spearman's correlation of (n,) with (n,), by which an epoch is chosen; 0 where the network says one thing."""
    value = ranking_losses.spearman(scores, targets)
    return 0.0 if math.isnan(value) else value


def train_full_reference(network: str | nn.Module, read: Read, targets: Sequence[float] | np.ndarray,
                         train_rows: Sequence[int] | np.ndarray, val_rows: Sequence[int] | np.ndarray,
                         schedule: Schedule = SCHEDULE, seed: int = 0, losses: Mapping[str, float] = LOSSES,
                         sorter: nn.Module | None = None, arguments: Mapping[str, object] | None = None,
                         batch_size: int = 16, crop: int | None = 160, val_crop: int | None = None,
                         lightness: tuple[float, float] | None = None, checkpoint: Path | str | None = None,
                         metric: Callable[[Tensor, Tensor], float] | None = srocc,
                         log: Callable[[str], None] = logger.debug,
                         observe: Observe | None = None) -> FullReference:  # fmt: skip
    """Train a Siamese network on pairs with scores, higher = better.

    Args:
        network: "simple", "bn", "attention" or "tiled"; or a trained network to go on from, which itself stays as it
            is: its scores are brought to the new targets' mean and standard deviation.
        read: see `PairBatches`.
        targets: score of each row that `read` knows, on any scale.
        train_rows: what is learnt from, mean and standard deviation of the targets included. Split by reference.
        val_rows: choose the epoch. None of them: all epochs, the last weights.
        schedule: how long and how fast.
        seed: of the first weights, order, places, lightness and dropout.
        losses: weights of losses by name, see `ranking_losses.create`; of scores in standard deviations of the
            training targets.
        sorter: trained, of the loss "sorter".
        arguments: of `models.siamese_fr.SiameseFR` beside the variant, such as width and grid; for a new network.
        batch_size: pairs a step, which is also what rank and correlation losses look at at once.
        crop: side of the random training crops; None = whole images.
        val_crop: side of the central crop that validation sees; None = whole images, as in use.
        lightness: see `PairBatches`.
        checkpoint, metric, log: of `loop.fit`.
        observe: called after each epoch with the network as it then is; its numbers go into the history.

    Raises:
        InputError: unknown variant, loss or argument; no training rows; a row without a score.
    """
    y = np.asarray(targets, np.float64)
    train_rows, val_rows = np.asarray(train_rows, np.int64), np.asarray(val_rows, np.int64)
    _check_rows("train_full_reference", y, train_rows, val_rows)
    loss = ranking_losses.create(losses, sorter)
    model = _network(network, arguments, seed)
    if len(set(y[train_rows])) > 1:
        model.get_buffer("dense.mean").fill_(float(y[train_rows].mean()))
        model.get_buffer("dense.std").fill_(float(y[train_rows].std()))
    y = (y - model.get_buffer("dense.mean").item()) / model.get_buffer("dense.std").item()

    batches = partial(PairBatches, read, seed=seed, mean=model.mean, std=model.std)
    training = batches(train_rows, y[train_rows], batch_size=batch_size, crop=crop, lightness=lightness)
    validation = batches(val_rows, y[val_rows], crop=val_crop, train=False) if len(val_rows) else None
    return _fitted(model, _InDeviations(model), training, validation, loss, schedule, seed, checkpoint, metric, log,
                   observe)  # fmt: skip


def pretrain_on_preferences(network: str | nn.Module, preferences: Preferences,
                            train_rows: Sequence[int] | np.ndarray, val_rows: Sequence[int] | np.ndarray,
                            schedule: Schedule = SCHEDULE, seed: int = 0,
                            arguments: Mapping[str, object] | None = None, batch_size: int = 16,
                            crop: int | None = 160, val_crop: int | None = None,
                            checkpoint: Path | str | None = None,
                            metric: Callable[[Tensor, Tensor], float] | None = None,
                            log: Callable[[str], None] = logger.debug,
                            observe: Observe | None = None) -> FullReference:  # fmt: skip
    """Train a Siamese network on which of two versions people prefer; arguments as of `train_full_reference`.

    The model is Bradley's and Terry's: P(A preferred) = sigmoid(score of A − score of B), so scores are in logits with
    no zero of their own. (The study took the share itself for a score of A, whatever B was.) What is learnt so goes
    into `train_full_reference` as `network`.

    Args:
        preferences: of `preferences_of`.
        train_rows, val_rows: comparisons, split by reference.
        metric: None = the epoch of the lowest validation loss; or `preference_accuracy`.
        network, schedule, seed, arguments, batch_size, crop, val_crop, checkpoint, log, observe: as there.

    Raises:
        InputError: unknown variant or argument; no training rows; a preference that is not in 0–1.
    """
    y = preferences.pairs["preference_a"].to_numpy(np.float64)
    train_rows, val_rows = np.asarray(train_rows, np.int64), np.asarray(val_rows, np.int64)
    _check_rows("pretrain_on_preferences", y, train_rows, val_rows)
    model = _network(network, arguments, seed)
    batches = partial(PairBatches, preferences.triples, seed=seed, mean=model.mean, std=model.std)
    training = batches(train_rows, y[train_rows], batch_size=batch_size, crop=crop)
    validation = batches(val_rows, y[val_rows], crop=val_crop, train=False) if len(val_rows) else None
    return _fitted(model, _Preferred(model), training, validation, ranking_losses.bradley_terry_loss, schedule, seed,
                   checkpoint, metric, log, observe)  # fmt: skip


def preference_accuracy(differences: Tensor, preferences: Tensor) -> float:
    """Share of the comparisons (n,) with a preference whose preferred image has the higher score.

    Equal scores count half, preferences of .5 not at all; nan where there are no others.
    """
    decided = preferences != 0.5
    agreement = torch.sign(differences[decided]) * torch.sign(preferences[decided] - 0.5)
    return ((agreement + 1) / 2).double().mean().item()


def _network(network: str | nn.Module, arguments: Mapping[str, object] | None, seed: int) -> nn.Module:
    if isinstance(network, nn.Module):
        if arguments:
            raise InputError(f"arguments {dict(arguments)} for a network that is there; expected none")
        return copy.deepcopy(network).to(memory_format=torch.channels_last)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        created = models.create("siamese_fr", variant=network, **(arguments or {}))
    return created.to(memory_format=torch.channels_last)


def _fitted(model: nn.Module, wrapped: nn.Module, training: PairBatches, validation: PairBatches | None, loss,
            schedule: Schedule, seed: int, checkpoint, metric, log,
            observe: Observe | None) -> FullReference:  # fmt: skip
    fitted = FullReference(model, None)
    seen = observe and partial(observe, fitted)
    fitted.result = fit(wrapped, training, validation, loss, schedule, seed, checkpoint, metric, log, seen)
    model.eval()
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


def _check_whole_files(dataset: Dataset) -> None:
    if dataset.regions:
        raise InputError(f"{dataset.name}: images are parts of files; expected a file for each, which the cache reads")
