"""Where batches come from: arrays in memory or on disk, cached images, a stream without an end."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, tee
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from iqasuite.errors import InputError
from iqasuite.images.crops import grid_crops, normalise, random_crops
from iqasuite.pixel_values import IMAGENET_MEAN, IMAGENET_STD
from iqasuite.training.losses import soft_labels
from iqasuite.training.machine import default_device
from iqasuite.training.outputs import Inputs

A = TypeVar("A")
B = TypeVar("B")


class Batches(Protocol):
    """What the training loop needs."""

    def __len__(self) -> int:
        """Batches an epoch."""

    def epoch(self, number: int) -> Iterator[tuple[Inputs, Tensor]]:
        """Inputs (a tensor, or several) and targets of an epoch (from 0): a function of the seed and its number."""

    def signature(self) -> str:
        """What tells these batches from others, for checkpoints."""


def unzipped(batches: Iterable[tuple[A, B]]) -> tuple[Iterator[A], Iterator[B]]:
    """Inputs and targets of batches, each an iterator of its own."""
    first, second = tee(batches)
    return (inputs for inputs, _ in first), (targets for _, targets in second)


class ArrayBatches:
    """Batches of the rows of arrays, such as stored tokens.

    Args:
        inputs: (n, …) tensor or (memory-mapped) array, of which a batch at a time is copied; or a function that reads
            them: positions int64 (B,) -> what `transform` takes, without one a tensor (B, …) or several.
        targets: (n, …) tensor.
        batch_size: rows a batch; the last one of an epoch may be smaller.
        shuffle: a new order each epoch.
        seed: of that order and of `transform`.
        transform: (inputs, generator) -> inputs, applied to each batch (augmentation).
        source: what the inputs were made of and how, in any words: part of the signature.

    Raises:
        InputError: no targets, not as many as inputs, or a batch size below 1.
    """

    def __init__(
        self,
        inputs: Any,
        targets: Tensor,
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int = 0,
        transform: Callable[[Any, torch.Generator], Inputs] | None = None,
        source: str = "",
    ):
        self.read = inputs if callable(inputs) else lambda rows: torch.as_tensor(inputs[rows])
        self.shape = (len(targets),) if callable(inputs) else tuple(inputs.shape)
        _check("ArrayBatches", self.shape[0], targets, batch_size)
        self.targets, self.batch_size = torch.as_tensor(targets), batch_size
        self.shuffle, self.seed, self.transform, self.source = shuffle, seed, transform, source

    def __len__(self) -> int:
        return math.ceil(len(self.targets) / self.batch_size)

    def epoch(self, number: int) -> Iterator[tuple[Inputs, Tensor]]:
        """See `Batches`."""
        generator = _generator(self.seed, number)
        for rows in _rows(len(self.targets), self.batch_size, generator if self.shuffle else None):
            inputs = self.read(rows.numpy())
            yield (self.transform(inputs, generator) if self.transform else inputs), self.targets[rows]

    def signature(self) -> str:
        """See `Batches`."""
        return _digest(self.targets, self.shape, self.batch_size, self.shuffle, self.seed, self.source)


@dataclass(frozen=True)
class Viewing:
    """How a network is shown cached images.

    Attributes:
        crop: side in pixels of the crops; None = whole images.
        views: crops a side of the fixed grid, where nothing is augmented; 0 = whole images there.
        mean, std: per channel, of inputs in [0, 1], as the network has them.
    """

    crop: int | None = 256
    views: int = 1
    mean: Sequence[float] | Tensor = IMAGENET_MEAN
    std: Sequence[float] | Tensor = IMAGENET_STD

    def fixed(self, images: Tensor | np.ndarray, device: torch.device | str = "cpu") -> Tensor:
        """Inputs (B, views, 3, h, w) of images uint8 (B, H, W, 3), always the same."""
        x = _channels_first(images, device)
        x = grid_crops(x, self.crop, self.views) if self.crop and self.views else x[:, None]
        return normalise(x, self.mean, self.std)

    def augmented(
        self, images: Tensor | np.ndarray, generator: torch.Generator, device: torch.device | str = "cpu"
    ) -> Tensor:
        """Inputs (B, 3, h, w) of images uint8 (B, H, W, 3): random crops with random flips, or whole images."""
        x = _channels_first(images, device)
        return normalise(random_crops(x, self.crop, generator) if self.crop else x, self.mean, self.std)


class ImageBatches:
    """Batches of cached uint8 images, cut and normalised on the device.

    Args:
        cache: `cache[list of positions]` -> uint8 (B, H, W, 3), as `iqasuite.images.cache.ImageCache`.
        indices: positions in the cache, one for each target.
        targets: (n, …) tensor.
        viewing: how images are shown; each crop of a fixed grid is an input of its own with its image's target.
        batch_size: images a batch; the last one of an epoch may be smaller.
        seed: of order and augmentation.
        train: shuffled and augmented; otherwise in order and always the same.
        source: which images these are, such as the cache's key: part of the signature.
        device: where batches are made; None = the GPU where there is one.

    Raises:
        InputError: no targets, not as many as indices, or a batch size below 1.
    """

    def __init__(
        self,
        cache,
        indices: Sequence[int],
        targets: Tensor,
        viewing: Viewing = Viewing(),
        batch_size: int = 32,
        seed: int = 0,
        train: bool = True,
        source: str | None = None,
        device: torch.device | str | None = None,
    ):
        _check("ImageBatches", len(indices), targets, batch_size)
        self.cache, self.indices, self.targets = cache, np.asarray(indices), torch.as_tensor(targets)
        self.viewing, self.batch_size, self.seed, self.train = viewing, batch_size, seed, train
        self.source, self.device = source, default_device(device)

    def __len__(self) -> int:
        return math.ceil(len(self.targets) / self.batch_size)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """See `Batches`."""
        generator = _generator(self.seed, number)
        for rows in _rows(len(self.targets), self.batch_size, generator if self.train else None):
            images = self.cache[self.indices[rows.numpy()].tolist()]
            if self.train:
                yield self.viewing.augmented(images, generator, self.device), self.targets[rows]
            else:
                views = self.viewing.fixed(images, self.device)
                yield views.flatten(0, 1), self.targets[rows].repeat_interleave(views.shape[1], dim=0)

    def signature(self) -> str:
        """See `Batches`."""
        viewing = (self.viewing.crop, self.train, self.viewing.views, self.source)
        return _digest(self.targets, self.indices.tolist(), self.batch_size, self.seed, *viewing)


class Stream(Protocol):
    """Distorted photographs whose classes are known, such as `iqasuite.images.jpeg_stream.JPEGStream`."""

    seed: int
    key: str

    def batch(self, n: int, step: int) -> tuple[Tensor, Tensor]:
        """Images uint8 (n, 3, H, W) and classes (n,) in 1…5."""


class StreamBatches:
    """Batches of a stream, `steps` of them an epoch.

    Args:
        stream: gives images and classes.
        batch_size: images a batch.
        steps: batches an epoch.
        mean, std: per channel, of inputs in [0, 1], as the model has them.
        sigma: standard deviation of the soft labels in classes; 0 = one-hot.
        fixed: the same batches every epoch (validation) instead of new ones.
        device: where batches are made; None = the GPU where there is one.
    """

    def __init__(
        self,
        stream: Stream,
        batch_size: int = 32,
        steps: int = 100,
        mean: Sequence[float] | Tensor = IMAGENET_MEAN,
        std: Sequence[float] | Tensor = IMAGENET_STD,
        sigma: float = 0.0,
        fixed: bool = False,
        device: torch.device | str | None = None,
    ):
        self.stream, self.batch_size, self.steps = stream, batch_size, steps
        self.mean, self.std, self.sigma, self.fixed, self.device = mean, std, sigma, fixed, default_device(device)

    def __len__(self) -> int:
        return self.steps

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """See `Batches`."""
        first = 0 if self.fixed else number * self.steps
        for step in range(first, first + self.steps):
            images, classes = self.stream.batch(self.batch_size, step)
            yield normalise(images.to(self.device), self.mean, self.std), soft_labels(classes, self.sigma)

    def signature(self) -> str:
        """See `Batches`."""
        drawn = (self.stream.seed, self.stream.key)
        return _digest(None, *drawn, self.batch_size, self.steps, self.sigma, self.fixed)


class FirstBatches:
    """The first `steps` batches of each epoch of others, which shuffle anew for each.

    Raises:
        InputError: they have fewer.
    """

    def __init__(self, batches: Batches, steps: int):
        if not 1 <= steps <= len(batches):
            raise InputError(f"FirstBatches: steps is {steps}, expected 1 to {len(batches)}, the batches of an epoch")
        self.batches, self.steps = batches, steps

    def __len__(self) -> int:
        return self.steps

    def epoch(self, number: int) -> Iterator[tuple[Inputs, Tensor]]:
        """See `Batches`."""
        return islice(self.batches.epoch(number), self.steps)

    def signature(self) -> str:
        """See `Batches`."""
        return _digest(None, self.batches.signature(), self.steps)


class StagedBatches:
    """Batches that change during training, such as small crops first: `first` for `n_first` epochs, then `then`.

    Args:
        first, then: batches with as many steps an epoch.
        n_first: epochs of `first`.

    Raises:
        InputError: their epochs differ in length.
    """

    def __init__(self, first: Batches, then: Batches, n_first: int):
        if len(first) != len(then):
            raise InputError(f"StagedBatches: {len(first)} and {len(then)} batches an epoch, expected as many of both")
        self.first, self.then, self.n_first = first, then, n_first

    def __len__(self) -> int:
        return len(self.then)

    def epoch(self, number: int) -> Iterator[tuple[Inputs, Tensor]]:
        """See `Batches`."""
        return (self.first if number < self.n_first else self.then).epoch(number)

    def signature(self) -> str:
        """See `Batches`."""
        return _digest(None, self.first.signature(), self.then.signature(), self.n_first)


def _channels_first(images: Tensor | np.ndarray, device: torch.device | str) -> Tensor:
    return torch.as_tensor(images).to(device, non_blocking=True).permute(0, 3, 1, 2)


def _generator(seed: int, epoch: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed * 1_000_003 + epoch)


def _rows(n: int, batch_size: int, generator: torch.Generator | None) -> Sequence[Tensor]:
    order = torch.arange(n) if generator is None else torch.randperm(n, generator=generator)
    return order.split(batch_size)


def _digest(targets: Tensor | None, *settings) -> str:
    digest = hashlib.sha256(repr(settings).encode())
    if targets is not None:
        digest.update(targets.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _check(where: str, n: int, targets: Tensor, batch_size: int) -> None:
    if n != len(targets) or n == 0:
        raise InputError(f"{where}: {n} inputs and {len(targets)} targets, expected as many of both and at least one")
    if batch_size < 1:
        raise InputError(f"{where}: batch_size is {batch_size}, expected 1 or more")
