"""Where batches come from: arrays in memory or on disk, cached images, a stream without an end.

The loop needs of each: `len(batches)`, batches an epoch, and `batches.epoch(i)`, an iterator of (inputs, targets) that
depends on the seed and the number i only. `batches.signature()` tells one set of batches from another in a checkpoint.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from iqasuite.errors import InputError
from iqasuite.pixel_values import IMAGENET_MEAN, IMAGENET_STD
from iqasuite.training.losses import soft_labels


class ArrayBatches:
    """Batches of an array, such as stored tokens.

    Args:
        inputs: (n, …) tensor or (memory-mapped) array, or what has a length, a shape and rows as these; only a batch at
            a time is copied.
        targets: (n, …) tensor.
        batch_size: rows a batch; the last one of an epoch may be smaller.
        shuffle: a new order each epoch.
        seed: of that order and of `transform`.
        transform: (inputs, generator) -> inputs, applied to each batch (augmentation).
        source: what the inputs were made of and how, in any words: part of the signature.
    """

    inputs: Any

    def __init__(
        self,
        inputs: Any,
        targets: Tensor,
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int = 0,
        transform: Callable[[Tensor, torch.Generator], Tensor] | None = None,
        source: str = "",
    ):
        _check("ArrayBatches", len(inputs), targets, batch_size)
        self.inputs, self.targets, self.batch_size = inputs, torch.as_tensor(targets), batch_size
        self.shuffle, self.seed, self.transform, self.source = shuffle, seed, transform, source

    def __len__(self) -> int:
        return math.ceil(len(self.targets) / self.batch_size)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets of epoch `number` (from 0), batch by batch."""
        generator = _generator(self.seed, number)
        for rows in _rows(len(self.targets), self.batch_size, generator if self.shuffle else None):
            inputs = torch.as_tensor(self.inputs[rows if isinstance(self.inputs, Tensor) else rows.numpy()])
            yield (self.transform(inputs, generator) if self.transform else inputs), self.targets[rows]

    def signature(self) -> str:
        """What tells these batches from others, for checkpoints."""
        return _digest(self.targets, tuple(self.inputs.shape), self.batch_size, self.shuffle, self.seed, self.source)


class ImageBatches:
    """Batches of cached uint8 images, cut and normalised on the device.

    Args:
        cache: `cache[list of positions]` -> uint8 (B, H, W, 3), as `iqasuite.images.cache.ImageCache`.
        indices: positions in the cache, one for each target.
        targets: (n, …) tensor.
        crop: side in pixels of random crops with random flips (train) or of a fixed grid of crops (otherwise);
            None = whole images.
        train: shuffled and augmented; otherwise in order and always the same.
        mean, std: per channel, of inputs in [0, 1], as the model has them.
        views: crops a side of that grid; each crop is an input of its own with its image's target. 0 = whole images
            where `train` is not.
        device: where batches are made; None = the GPU where there is one.
    """

    def __init__(
        self,
        cache,
        indices: Sequence[int],
        targets: Tensor,
        batch_size: int = 32,
        seed: int = 0,
        crop: int | None = 256,
        train: bool = True,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        views: int = 1,
        device: torch.device | str | None = None,
    ):
        _check("ImageBatches", len(indices), targets, batch_size)
        self.cache, self.indices, self.targets = cache, np.asarray(indices), torch.as_tensor(targets)
        self.batch_size, self.seed, self.crop, self.train = batch_size, seed, crop, train
        self.mean, self.std, self.views, self.device = mean, std, views, device

    def __len__(self) -> int:
        return math.ceil(len(self.targets) / self.batch_size)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets of epoch `number` (from 0), batch by batch."""
        from iqasuite.images import crops

        device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        generator = _generator(self.seed, number)
        for rows in _rows(len(self.targets), self.batch_size, generator if self.train else None):
            images = torch.as_tensor(self.cache[self.indices[rows.numpy()].tolist()]).to(device, non_blocking=True)
            images, targets = images.permute(0, 3, 1, 2), self.targets[rows]
            if self.crop and self.train:
                images = crops.random_crops(images, self.crop, generator)
            elif self.crop and self.views:
                images = crops.grid_crops(images, self.crop, self.views).flatten(0, 1)
                targets = targets.repeat_interleave(self.views**2, dim=0)
            yield crops.normalise(images, self.mean, self.std), targets

    def signature(self) -> str:
        """What tells these batches from others, for checkpoints."""
        viewing = (self.crop, self.train, self.views, getattr(self.cache, "key", None))
        return _digest(self.targets, self.indices.tolist(), self.batch_size, self.seed, *viewing)


class StreamBatches:
    """Batches of a stream of distorted photographs whose classes are known, `steps` of them an epoch.

    Args:
        stream: `stream.batch(n, step)` -> uint8 (n, 3, H, W) and classes (n,) in 1…5, as of
            `iqasuite.images.jpeg_stream.JPEGStream`.
        sigma: standard deviation of the soft labels in classes; 0 = one-hot.
        fixed: the same batches every epoch (validation) instead of new ones.
    """

    def __init__(
        self,
        stream,
        batch_size: int = 32,
        steps: int = 100,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        sigma: float = 0.0,
        fixed: bool = False,
        device: torch.device | str | None = None,
    ):
        self.stream, self.batch_size, self.steps = stream, batch_size, steps
        self.mean, self.std, self.sigma, self.fixed, self.device = mean, std, sigma, fixed, device

    def __len__(self) -> int:
        return self.steps

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets of epoch `number` (from 0), batch by batch."""
        from iqasuite.images import crops

        device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        first = 0 if self.fixed else number * self.steps
        for step in range(first, first + self.steps):
            images, classes = self.stream.batch(self.batch_size, step)
            yield crops.normalise(images.to(device), self.mean, self.std), soft_labels(classes, self.sigma)

    def signature(self) -> str:
        """What tells these batches from others, for checkpoints."""
        drawn = [getattr(self.stream, name, None) for name in ("seed", "key")]
        return _digest(None, *drawn, self.batch_size, self.steps, self.sigma, self.fixed)


class StagedBatches:
    """Batches that change during training, such as small crops first: `first` for `n_first` epochs, then `then`.

    Args:
        first, then: batches with as many steps an epoch.
        n_first: epochs of `first`.

    Raises:
        InputError: their epochs differ in length.
    """

    def __init__(self, first: StreamBatches, then: StreamBatches, n_first: int):
        if len(first) != len(then):
            raise InputError(f"StagedBatches: {len(first)} and {len(then)} batches an epoch, expected as many of both")
        self.first, self.then, self.n_first = first, then, n_first

    def __len__(self) -> int:
        return len(self.then)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets of epoch `number` (from 0), batch by batch."""
        return (self.first if number < self.n_first else self.then).epoch(number)

    def signature(self) -> str:
        """What tells these batches from others, for checkpoints."""
        return _digest(None, self.first.signature(), self.then.signature(), self.n_first)


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
