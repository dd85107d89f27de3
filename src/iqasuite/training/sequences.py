"""Regressors on stored patch features: sequences of vectors, as many as an image has patches, to one score an image."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from iqasuite import models
from iqasuite.errors import InputError
from iqasuite.models.reduction import TokenReduction
from iqasuite.models.sequence import NETWORKS, matched_width, n_parameters, patch_scores
from iqasuite.training.batches import ArrayBatches
from iqasuite.training.loop import Schedule, fit
from iqasuite.training.losses import mse_loss, mse_plcc_loss, plcc_loss
from iqasuite.training.patch_features import PatchFeatures

logger = logging.getLogger(__name__)

Features = Mapping[str, np.ndarray] | Callable[[str], np.ndarray]
LOSSES = {"mse": mse_loss, "plcc": plcc_loss, "mixture": mse_plcc_loss}
SCHEDULE = Schedule(epochs=15, lr=5e-4, scheduler="cosine", patience=5, warmup=1.0)


def features_of(features: Features, image: str) -> np.ndarray:
    """The sequence (T, dim) of an image.

    Raises:
        InputError: no such image, or its features are no sequence of finite vectors.
    """
    try:
        found = np.asarray(features(image) if callable(features) else features[image])
    except KeyError:
        raise InputError(f"features: no image {image!r}") from None
    if found.ndim != 2 or 0 in found.shape or not np.isfinite(found).all():
        what = "values that are not finite" if found.ndim == 2 and found.size else f"shape {found.shape}"
        raise InputError(f"features of {image!r}: {what}, expected finite (patches, dim), at least one patch")
    return found


def pack(sequences: Sequence[np.ndarray]) -> Tensor:
    """Sequences (T_i, dim) as a float32 tensor (n, longest T, dim + 1): 0 at padding, the mask as last channel.

    The mask travels with the features because the training loop hands a model one tensor.

    Raises:
        InputError: dims that differ.
    """
    dims = sorted({s.shape[1] for s in sequences})
    if len(dims) != 1:
        raise InputError(f"features: {len(sequences)} sequences with dim {dims}, expected one dim")
    packed = torch.zeros(len(sequences), max(len(s) for s in sequences), dims[0] + 1)
    for row, s in zip(packed.numpy(), sequences, strict=True):
        row[: len(s), :-1], row[: len(s), -1] = s, 1
    return packed


def unpack(packed: Tensor) -> tuple[Tensor, Tensor]:
    """Features (B, T, dim) and mask (B, T) of what `pack` made."""
    return packed[..., :-1], packed[..., -1] > 0


class SequenceBatches(ArrayBatches):
    """Batches of packed sequences (B, longest T of the batch, dim + 1).

    Args:
        features: image -> (T, dim). A mapping, or `PatchFeatures`, is read at once and kept in memory; a function is
            called for each batch anew, for features that do not fit.
        images: names.
        targets: scores, one for each image.
        batch_size: sequences a batch.
        seed: of the order.
        train: a new order each epoch; otherwise in the order of `images`.
        drop: share of the patches of each sequence that are left out, others each time; at least one stays.

    Raises:
        InputError: no features of an image, dims that differ, or not as many targets as images.
    """

    def __init__(
        self,
        features: Features,
        images: Sequence[str],
        targets: Tensor | np.ndarray,
        batch_size: int = 32,
        seed: int = 0,
        train: bool = True,
        drop: float = 0.0,
    ):
        read = _Read(features, images)
        inputs = read if callable(features) or not len(images) else read[range(len(images))]
        targets = torch.as_tensor(np.asarray(targets, np.float32))
        trimmed, source = partial(_trimmed, drop=drop), f"{_store_of(features)} {list(images)}"
        super().__init__(inputs, targets, batch_size, shuffle=train, seed=seed, transform=trimmed, source=source)
        self.drop = drop

    def signature(self) -> str:
        """As of `ArrayBatches`, with the share that is left out."""
        return f"{super().signature()} {self.drop}"


def _store_of(features: Features) -> str:
    """The name of the store that features are read from, which tells how the images were shown; "" where unknown."""
    owner = getattr(getattr(features, "func", features), "__self__", features)
    return owner.path.name if isinstance(owner, PatchFeatures) else ""


class _Read:
    """An array of packed sequences that are read when asked for."""

    def __init__(self, features: Features, images: Sequence[str]):
        self.features, self.images = features, list(images)
        self.shape = (len(self.images),)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows) -> Tensor:
        return pack([features_of(self.features, self.images[i]) for i in rows])


def _trimmed(packed: Tensor, generator: torch.Generator | None = None, drop: float = 0.0) -> Tensor:
    """Packed sequences without padding that none of them needs, and without a random share of their patches."""
    if drop:
        mask = packed[..., -1] > 0
        kept = (mask.sum(dim=1, keepdim=True) * (1 - drop)).round().clamp(min=1)
        lot = torch.rand(mask.shape, generator=generator).masked_fill(~mask, torch.inf)
        stays = lot.argsort(dim=1).argsort(dim=1) < kept
        in_order = (~stays).to(torch.uint8).argsort(dim=1, stable=True)  # those that stay first, in their order
        packed = torch.where(stays[..., None], packed, 0).gather(1, in_order[..., None].expand_as(packed))
    return packed[:, : int(packed[..., -1].sum(dim=1).max())]


class _InDeviations(nn.Module):
    """What the loop trains: packed sequences -> scores in standard deviations from the training targets' mean."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, packed: Tensor) -> Tensor:
        return (self.model(*unpack(packed)) - self.model.dense.mean) / self.model.dense.std


@dataclass
class Regressor:
    """A trained network, the features it reads, and how it was trained.

    Attributes:
        model: features (B, T, dim) and mask (B, T) -> scores on the scale of the targets; for
            `weights.save_weights`.
        features: image -> (T, dim).
        result: the `Result` of the training loop; None while it runs.
    """

    model: nn.Module
    features: Features
    result: Any


def train_regressor(
    kind: str,
    features: Features,
    targets: Mapping[str, float],
    train_images: Sequence[str],
    val_images: Sequence[str],
    schedule: Schedule = SCHEDULE,
    seed: int = 0,
    loss: str = "mse",
    batch_size: int = 32,
    arguments: Mapping[str, object] | None = None,
    standardise: bool = True,
    drop: float = 0.0,
    checkpoint: Path | str | None = None,
    metric: Callable[[Tensor, Tensor], float] | None = None,
    log: Callable[[str], None] = logger.debug,
    observe: Callable[[Regressor], dict[str, float]] | None = None,
) -> Regressor:
    """Train a network of `models.sequence` on the features of some images.

    Args:
        kind: "birnn", "mean_pooling", "attention_pooling" or "patch_transformer".
        features: image -> (T, dim); T may differ from image to image.
        targets: image -> score, on any scale.
        train_images: what is learnt from, standardisation included.
        val_images: choose the epoch. None of them: all epochs, the last weights. The training images themselves: the
            study's early stopping, which looks at the training loss.
        schedule: how long and how fast.
        seed: of the first weights, the order and dropout.
        loss: "mse", "plcc" (fixes neither level nor spread of the scores) or "mixture", half of each; of scores in
            standard deviations of the training targets.
        batch_size: images a step.
        arguments: of the network. Without a width, one is chosen that gives as many parameters as `BiRNN(dim)`.
        standardise: features and targets by the training images' statistics; False = as they are, as in the study.
        drop: share of each sequence's patches that are left out of a training step.
        checkpoint, metric, log: of `loop.fit`.
        observe: called after each epoch with the regressor as it then is; its numbers go into the history.

    Raises:
        InputError: unknown kind, loss or argument; an image without features or target.
    """
    for name, value, known in (("kind", kind, NETWORKS), ("loss", loss, LOSSES)):
        if value not in known:
            raise InputError(f"train_regressor: {name} is {value!r}, expected one of {', '.join(known)}")
    train_images, val_images = list(train_images), list(val_images)
    if not train_images:
        raise InputError("train_regressor: no training images, expected at least one")
    y_train, y_val = _targets_of(targets, train_images), _targets_of(targets, val_images)

    dim = features_of(features, train_images[0]).shape[1]
    arguments = {"dim": dim, **(arguments or {})}
    if kind != "birnn" and "width" not in arguments:
        arguments["width"] = matched_width(kind, dim)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = models.create(kind, **arguments)

    training = SequenceBatches(features, train_images, y_train, batch_size, seed, True, drop)
    center, spread = model.get_buffer("dense.mean"), model.get_buffer("dense.std")
    if standardise:
        _fit_features(model, training)
        if len(set(y_train)) > 1:
            center.fill_(float(y_train.mean()))
            spread.fill_(float(y_train.std()))
    mean, std = center.item(), spread.item()
    training.targets = (training.targets - mean) / std
    validation = SequenceBatches(features, val_images, (y_val - mean) / std, 256, seed, False) if val_images else None

    fitted = Regressor(model, features, None)
    seen = observe and partial(observe, fitted)
    chosen_loss = LOSSES[loss]
    result = fit(_InDeviations(model), training, validation, chosen_loss, schedule, seed, checkpoint, metric, log, seen)
    fitted.result = result
    logger.info(
        "%s, %d parameters: best epoch %d of %d, %.1f s",
        kind,
        n_parameters(model),
        result.best_epoch + 1,
        result.epochs_run,
        result.seconds,
    )
    model.eval()
    return fitted


@torch.inference_mode()
def predict_scores(fitted: Regressor, images: Sequence[str], batch_size: int = 128) -> np.ndarray:
    """Scores (n,) of images, float64, on the scale of the targets; the result does not depend on `batch_size`."""
    device = next(fitted.model.parameters()).device
    scores = []
    for start in range(0, len(images), batch_size):
        packed = pack([features_of(fitted.features, image) for image in images[start : start + batch_size]])
        scores.append(fitted.model(*unpack(packed.to(device))).double().cpu().numpy())
    return np.concatenate(scores) if scores else np.empty(0)


@torch.inference_mode()
def predict_patches(fitted: Regressor, image: str) -> tuple[np.ndarray, np.ndarray]:
    """The score that each patch of an image has alone (T,), and its share of the attention (T,), which sums to 1."""
    device = next(fitted.model.parameters()).device
    x, mask = unpack(pack([features_of(fitted.features, image)]).to(device))
    network: Any = fitted.model  # of those that attend
    scores, attention = patch_scores(network, x, mask)[0], network.attention(x, mask)[1][0]
    return scores.double().cpu().numpy(), attention.double().cpu().numpy()


def _targets_of(targets: Mapping[str, float], images: Sequence[str]) -> np.ndarray:
    missing = [image for image in images if image not in targets or not np.isfinite(targets[image])]
    if missing:
        raise InputError(f"targets: {len(missing)} of {len(images)} images have none, the first is {missing[0]!r}")
    return np.array([targets[image] for image in images], np.float64)


def _fit_features(model: nn.Module, batches: SequenceBatches) -> None:
    """Mean and standard deviation of all real patches of the training images (of 4,000 of them)."""
    vectors = torch.cat([x[mask] for x, mask in (unpack(inputs) for inputs, _ in batches.epoch(0))])
    cast(TokenReduction, model.standardise).fit(vectors)
