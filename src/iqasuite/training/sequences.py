"""Regressors on stored patch features: sequences of vectors, as many as an image has patches, to one score an image."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from iqasuite import models
from iqasuite.errors import InputError
from iqasuite.models.reduction import TokenReduction
from iqasuite.models.sequence import NETWORKS, matched_width, n_parameters, patch_scores
from iqasuite.training.batches import ArrayBatches
from iqasuite.training.loop import QUIET, Followed, Schedule, fit
from iqasuite.training.losses import mse_loss, mse_plcc_loss, plcc_loss
from iqasuite.training.outputs import in_deviations, outputs

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
        sequence = np.asarray(features(image) if callable(features) else features[image])
    except KeyError:
        raise InputError(f"features: no image {image!r}") from None
    if sequence.ndim != 2 or 0 in sequence.shape or not np.isfinite(sequence).all():
        what = "values that are not finite" if sequence.ndim == 2 and sequence.size else f"shape {sequence.shape}"
        raise InputError(f"features of {image!r}: {what}, expected finite (patches, dim), at least one patch")
    return sequence


def pack(sequences: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Sequences (T_i, dim) as float32 features (n, longest T, dim), 0 at padding, and the mask (n, longest T).

    Raises:
        InputError: dims that differ.
    """
    dims = sorted({s.shape[1] for s in sequences})
    if len(dims) != 1:
        raise InputError(f"features: {len(sequences)} sequences with dim {dims}, expected one dim")
    lengths = torch.tensor([len(s) for s in sequences])
    packed = torch.zeros(len(sequences), int(lengths.max()), dims[0])
    for row, s in zip(packed.numpy(), sequences, strict=True):
        row[: len(s)] = s
    return packed, torch.arange(packed.shape[1]) < lengths[:, None]


def sequence_batches(
    features: Features,
    images: Sequence[str],
    targets: Tensor | np.ndarray,
    batch_size: int = 32,
    seed: int = 0,
    train: bool = True,
    drop: float = 0.0,
    source: str = "",
) -> ArrayBatches:
    """Batches of features (B, longest T of the batch, dim) and their masks (B, longest T).

    Args:
        features: image -> (T, dim). A mapping, or `PatchFeatures`, is read at once and kept in memory; a function is
            called for each batch anew, for features that do not fit.
        images: names.
        targets: scores, one for each image.
        batch_size: sequences a batch.
        seed: of the order.
        train: a new order each epoch; otherwise in the order of `images`.
        drop: share of the patches of each sequence that are left out, others each time; at least one stays.
        source: of the features, such as the name of their store: part of the signature.

    Raises:
        InputError: no features of an image, dims that differ, or not as many targets as images.
    """
    if len(images) != len(targets) or not len(images):
        raise InputError(f"features: {len(images)} images, {len(targets)} targets; expected as many, at least one")

    def read(rows: Sequence[int] | np.ndarray) -> tuple[Tensor, Tensor]:
        return pack([features_of(features, images[i]) for i in rows])

    kept = None if callable(features) else read(range(len(images)))
    return ArrayBatches(
        read if kept is None else lambda rows: (kept[0][rows], kept[1][rows]),
        torch.as_tensor(np.asarray(targets, np.float32)),
        batch_size,
        shuffle=train,
        seed=seed,
        transform=partial(_trimmed, drop=drop),
        source=f"{source} {list(images)} {drop}",
    )


def _trimmed(packed: tuple[Tensor, Tensor], generator: torch.Generator, drop: float) -> tuple[Tensor, Tensor]:
    """Sequences without padding that none of them needs, and without a random share of their patches."""
    x, mask = packed
    if drop:
        kept = (mask.sum(dim=1, keepdim=True) * (1 - drop)).round().clamp(min=1)
        lot = torch.rand(mask.shape, generator=generator).masked_fill(~mask, torch.inf)
        stays = lot.argsort(dim=1).argsort(dim=1) < kept
        in_order = (~stays).to(torch.uint8).argsort(dim=1, stable=True)  # those that stay first, in their order
        x = torch.where(stays[..., None], x, 0).gather(1, in_order[..., None].expand_as(x))
        mask = stays.gather(1, in_order)
    longest = int(mask.sum(dim=1).max())
    return x[:, :longest], mask[:, :longest]


@dataclass(frozen=True)
class Regressor:
    """A trained network, the features it reads, and how it was trained.

    Attributes:
        model: features (B, T, dim) and mask (B, T) -> scores on the scale of the targets; for
            `weights.save_weights`.
        features: image -> (T, dim).
        result: the `Result` of the training loop; None for a network that was not trained on these features.
    """

    model: nn.Module
    features: Features
    result: Any = None


@dataclass(frozen=True)
class ScoredSequences:
    """What a regressor learns from.

    Attributes:
        features: image -> (T, dim); T may differ from image to image. See `sequence_batches`.
        targets: image -> score, on any scale.
        train: images that are learnt from, standardisation included.
        val: images that choose the epoch. None of them: all epochs, the last weights. The training images themselves:
            the study's early stopping, which looks at the training loss.
        source: of the features, for checkpoints.
    """

    features: Features
    targets: Mapping[str, float]
    train: Sequence[str]
    val: Sequence[str]
    source: str = ""


def train_regressor(
    network: Mapping[str, Any],
    sequences: ScoredSequences,
    schedule: Schedule = SCHEDULE,
    seed: int = 0,
    loss: str = "mse",
    batch_size: int = 32,
    standardise: bool = True,
    drop: float = 0.0,
    followed: Followed = QUIET,
) -> Regressor:
    """Train a network of `models.sequence` on the features of some images.

    Args:
        network: its `kind`, "birnn", "mean_pooling", "attention_pooling" or "patch_transformer", and its arguments.
            Without a width, one is chosen that gives as many parameters as `BiRNN(dim)`.
        sequences: what is learnt from.
        schedule: how long and how fast.
        seed: of the first weights, the order and dropout.
        loss: "mse", "plcc" (fixes neither level nor spread of the scores) or "mixture", half of each; of scores in
            standard deviations of the training targets.
        batch_size: images a step.
        standardise: features and targets by the training images' statistics; False = as they are, as in the study.
        drop: share of each sequence's patches that are left out of a training step.
        followed: of `loop.fit`.

    Raises:
        InputError: unknown kind, loss or argument; an image without features or target.
    """
    if loss not in LOSSES:
        raise InputError(f"train_regressor: loss is {loss!r}, expected one of {', '.join(LOSSES)}")
    features, train, val = sequences.features, list(sequences.train), list(sequences.val)
    if not train:
        raise InputError("train_regressor: no training images, expected at least one")
    y_train, y_val = _targets_of(sequences.targets, train), _targets_of(sequences.targets, val)
    model = _network(network, features_of(features, train[0]).shape[1], seed)
    batches = partial(sequence_batches, features, seed=seed, source=sequences.source)
    training = batches(train, y_train, batch_size, drop=drop)
    center, spread = model.get_buffer("dense.mean"), model.get_buffer("dense.std")
    if standardise:
        patches = torch.cat([x[mask] for (x, mask), _ in training.epoch(0)])  # the real ones, not the padding
        cast(TokenReduction, model.standardise).fit(patches)
        if len(set(y_train)) > 1:
            center.fill_(float(y_train.mean()))
            spread.fill_(float(y_train.std()))
    mean, std = center.item(), spread.item()
    training.targets = (training.targets - mean) / std
    validation = batches(val, (y_val - mean) / std, 256, train=False) if val else None
    step = in_deviations(model.get_submodule("dense"))
    result = fit(model, training, validation, LOSSES[loss], schedule, seed, step=step, followed=followed)
    what, epoch, n = f"{network['kind']}, {n_parameters(model)} parameters", result.best_epoch + 1, result.epochs_run
    logger.info("%s: best epoch %d of %d, %.1f s", what, epoch, n, result.seconds)
    return Regressor(model, features, result)


def predict_scores(fitted: Regressor, images: Sequence[str], batch_size: int = 128) -> np.ndarray:
    """Scores (n,) of images, float64, on the scale of the targets; the result does not depend on `batch_size`."""
    starts = range(0, len(images), batch_size)
    batches = (pack([features_of(fitted.features, i) for i in images[start : start + batch_size]]) for start in starts)
    scores = [scores.double().cpu().numpy() for scores in outputs(fitted.model, batches)]
    return np.concatenate(scores) if scores else np.empty(0)


def predict_patches(fitted: Regressor, image: str) -> tuple[np.ndarray, np.ndarray]:
    """The score that each patch of an image has alone (T,), and its share of the attention (T,), which sums to 1."""

    def both(network: Any, x: Tensor, mask: Tensor) -> Tensor:
        return torch.stack([patch_scores(network, x, mask)[0].double(), network.attention(x, mask)[1][0].double()])

    (values,) = outputs(fitted.model, [pack([features_of(fitted.features, image)])], both)
    scores, attention = values.cpu().numpy()
    return scores, attention


def _network(network: Mapping[str, Any], dim: int, seed: int) -> nn.Module:
    arguments = {"dim": dim, **network}
    kind = arguments.pop("kind")
    if kind not in NETWORKS:
        raise InputError(f"train_regressor: kind is {kind!r}, expected one of {', '.join(NETWORKS)}")
    if kind != "birnn" and "width" not in arguments:
        arguments["width"] = matched_width(kind, dim)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return models.create(kind, **arguments)


def _targets_of(targets: Mapping[str, float], images: Sequence[str]) -> np.ndarray:
    missing = [image for image in images if image not in targets or not np.isfinite(targets[image])]
    if missing:
        raise InputError(f"targets: {len(missing)} of {len(images)} images have none, the first is {missing[0]!r}")
    return np.array([targets[image] for image in images], np.float64)
