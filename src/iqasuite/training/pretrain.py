"""Learning before anybody has voted: objective labels that photographs give for nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy.stats import norm
from torch import Tensor, nn

from iqasuite.datasets.pseudo_labelled import PseudoLabelled
from iqasuite.images.crops import normalise
from iqasuite.images.encoding_stream import EncodingStream
from iqasuite.images.jpeg_stream import JPEGStream
from iqasuite.models.mobile_nr import MobileNR
from iqasuite.models.shifted_patches import ShiftedPatchTokens
from iqasuite.models.spectrum import PatchSpectrum, SharpnessEncoder, SpectrumTokens
from iqasuite.training.batches import ArrayBatches, ImageBatches, StagedBatches, StreamBatches
from iqasuite.training.loop import Result, Schedule, fit
from iqasuite.training.losses import create as create_loss
from iqasuite.training.losses import soft_cross_entropy
from iqasuite.training.quality import quality_loss, srocc, vote_distributions

logger = logging.getLogger(__name__)


def accuracy(outputs: Tensor, targets: Tensor) -> float:
    """Share of images whose most probable class is the target's."""
    return (outputs.argmax(dim=1) == targets.argmax(dim=1)).float().mean().item()


def pretrain_on_jpeg(
    model: nn.Module,
    photographs: list[Path],
    held_out: list[Path],
    schedule: Schedule,
    *,
    crop: int = 256,
    batch_size: int = 32,
    steps: int = 100,
    native: bool = True,
    small_crops: float = 0.0,
    loss: str = "soft_cross_entropy",
    sigma: float = 0.49,
    seed: int = 0,
    checkpoint: Path | None = None,
    log: Callable[[str], None] = logger.info,
) -> Result:
    """The objective observer AIO0: the five JPEG classes, from an endless stream of compressed crops.

    Shifted patch tokens of a new network start from the basis of JPEG's transform where patches hold whole blocks of
    it. Photographs are varied, see `JPEGStream`, where crops are native.

    Args:
        model: images -> (B, 5) logits.
        crop: side of the crops in pixels.
        photographs, held_out: to learn from, and to pick the best epoch on (none in common).
        schedule, batch_size, steps: `steps` batches make an epoch.
        native: see `JPEGStream`; False is the authors' way.
        small_crops: share of the epochs, from the first, in which crops have half the side and batches hold twice as
            many: a step costs half as much, and what a patch tells is learnt from more photographs.
        loss, sigma: `losses.create`, and the softness of the labels in classes.
        seed, checkpoint, log: as of `fit`.
    """
    stream = JPEGStream(photographs, crop, seed, native, varied=native)
    check = JPEGStream(held_out, crop, seed + 1, native)
    if isinstance(model.stem, SpectrumTokens):
        mean, std = model.get_buffer("mean"), model.get_buffer("std")
        model.stem.set_statistics(normalise(stream.batch(256, -1 % 2**32)[0], mean, std))
    if isinstance(model.stem, ShiftedPatchTokens) and model.stem.patch_size % 8 == 0 and model.card is None:
        model.stem.start_from_dct()
    whole = StreamBatches(stream, batch_size, steps, model.mean, model.std, sigma)
    train: StreamBatches | StagedBatches = whole
    if n_small := round(small_crops * schedule.epochs):
        half = JPEGStream(photographs, crop // 2, seed, native, varied=native)
        small = StreamBatches(half, 2 * batch_size, steps, model.mean, model.std, sigma)
        train = StagedBatches(small, whole, n_small)
    val = StreamBatches(check, batch_size, max(1, 256 // batch_size), model.mean, model.std, sigma, fixed=True)
    return fit(model, train, val, create_loss(loss), schedule, seed, checkpoint, accuracy, log)


def gaussian_nll(outputs: Tensor, targets: Tensor) -> Tensor:
    """Negative log-likelihood, up to constants, of targets (…, k) under means and log-variances (…, 2k)."""
    mean, log_variance = outputs.float().chunk(2, dim=-1)
    log_variance = log_variance.clamp(-5, 3)
    return ((mean - targets).square() * torch.exp(-log_variance) + log_variance).mean()


class _Reader(nn.Module):
    """The encoder as `fit` trains it: spectra -> means and log-variances of the standardised targets."""

    def __init__(self, encoder: SharpnessEncoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, spectra: Tensor) -> Tensor:
        return self.encoder.standardised(spectra)


def pretrain_on_encodings(
    stem: SpectrumTokens,
    photographs: list[Path],
    held_out: list[Path],
    schedule: Schedule,
    *,
    samples: int = 8000,
    batch_size: int = 256,
    seed: int = 0,
    checkpoint: Path | None = None,
    log: Callable[[str], None] = logger.info,
) -> tuple[Result, Tensor, Tensor]:
    """Teach the spectrum stem how photographs were encoded: upscaling factor and loss of coding.

    Args:
        stem: its encoder is trained in place and frozen again.
        photographs, held_out: to learn from, and to pick the best epoch on (none in common).
        samples: encoded parts to learn from, four patches each; a tenth as many to validate on.
        schedule, batch_size, seed, checkpoint, log: as of `fit`.

    Returns:
        What the training did; estimates and truth (n, 2) of `encoding_stream.TARGETS` on the held-out photographs.
    """
    patch = stem.spectrum.patch_size
    spectra, targets = _spectra(EncodingStream(photographs, patch, seed=seed), stem.spectrum, samples)
    spectra_val, targets_val = _spectra(EncodingStream(held_out, patch, seed=seed + 1), stem.spectrum, samples // 10)
    encoder = stem.encoder
    encoder.set_statistics(spectra, targets)

    def standardised(values: Tensor) -> Tensor:
        each_patch = ((values - encoder.target_mean) / encoder.target_std)[:, None]
        return each_patch.expand(-1, spectra.shape[1], -1)

    def blurred(values: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(values.shape, generator=generator)
        return values + 0.05 * encoder.channel_std.cpu() * noise  # other coders, other cameras

    train = ArrayBatches(spectra, standardised(targets), batch_size, True, seed, blurred)
    val = ArrayBatches(spectra_val, standardised(targets_val), batch_size, False, seed)
    reader = _Reader(encoder.requires_grad_(True))
    result = fit(reader, train, val, gaussian_nll, schedule, seed, checkpoint, log=log)
    encoder.requires_grad_(False).eval()
    with torch.inference_mode():
        return result, encoder.read(spectra_val.to(encoder.channel_mean.device)).cpu(), targets_val


def _spectra(stream: EncodingStream, spectrum: PatchSpectrum, samples: int, batch: int = 64) -> tuple[Tensor, Tensor]:
    def steps() -> Iterator[tuple[Tensor, Tensor]]:
        for step in range(-(-samples // batch)):
            patches, targets = stream.batch(batch, step)
            x = patches.flatten(0, 1).float().div(255).to(spectrum.window.device)
            yield spectrum(x).cpu().unflatten(0, patches.shape[:2]), targets

    with torch.inference_mode():
        spectra, targets = zip(*steps(), strict=True)
    return torch.cat(spectra)[:samples].clone(), torch.cat(targets)[:samples].clone()


class _WithKinds(nn.Module):
    """What `fit` trains on spoiled photographs: images -> vote logits, logits of the kinds, logits of the levels."""

    def __init__(self, model: nn.Module, n_kinds: int, n_levels: int):
        super().__init__()
        self.model = cast(MobileNR, model)
        pooled = next(layer.in_features for layer in self.model.head if isinstance(layer, nn.Linear))
        self.beside = nn.Linear(pooled, n_kinds + n_levels)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.model.pooled(self.model.features(x.contiguous(memory_format=torch.channels_last)))
        return torch.cat([self.model.predicted(pooled), self.beside(pooled)], dim=1)


def pretrain_on_pseudo_labels(
    model: nn.Module,
    spoiled: PseudoLabelled,
    train_images: Sequence[str],
    val_images: Sequence[str],
    schedule: Schedule,
    *,
    crop: int = 192,
    batch_size: int = 32,
    seed: int = 0,
    checkpoint: Path | None = None,
    log: Callable[[str], None] = logger.info,
) -> Result:
    """A mobile network learns what metrics agree on, and at the same time which kind of distortion it sees, how strong.

    Nobody's votes are in it. Pseudo-labels become votes by their normal distribution function, so that each fifth of
    the scale has as many pictures; the spread of these "votes" is half a vote. The kinds and levels are asked for by a
    layer of their own, which is thrown away: they keep the features from forgetting what quality alone does not ask.

    Args:
        model: `models.mobile_nr.MobileNR` with five outputs.
        spoiled: photographs spoiled in many kinds at five levels, with labels.
        train_images, val_images: which of them to learn from, and to choose the epoch on (other photographs).
        crop: side of the random crops in pixels; whole pictures are validated on.
        schedule, batch_size, seed, checkpoint, log: as in `loop.fit`.
    """
    images = spoiled.images
    kinds, levels = (pd.factorize(images[name], sort=True) for name in ("distortion", "level"))
    votes = vote_distributions(1 + 4 * norm.cdf(images["mos"].to_numpy()), np.full(len(images), 0.5))
    wanted = [torch.from_numpy(votes)]
    wanted += [F.one_hot(torch.from_numpy(codes), len(names)).float() for codes, names in (kinds, levels)]
    targets, rows = torch.cat(wanted, dim=1), pd.Series(range(len(images)), index=images["image"])
    ends = np.cumsum([5, len(kinds[1]), len(levels[1])]).tolist()
    of_votes = quality_loss("plcc")

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        beside = [soft_cross_entropy(outputs[:, a:b], targets[:, a:b]) for a, b in pairwise(ends)]
        return of_votes(outputs[:, :5], targets[:, :5]) + sum(beside) / len(beside)

    def srocc_of_labels(outputs: Tensor, targets: Tensor) -> float:
        return srocc(outputs[:, :5], targets[:, :5])

    def batches(names: Sequence[str], train: bool) -> ImageBatches:
        chosen = rows[list(names)].to_numpy(copy=True)
        return ImageBatches(
            spoiled.distorted, chosen, targets[chosen], batch_size, seed, crop, train, model.mean, model.std, views=0
        )

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        wrapped = _WithKinds(model, len(kinds[1]), len(levels[1]))
    return fit(
        wrapped,
        batches(train_images, True),
        batches(val_images, False),
        loss,
        schedule,
        seed,
        checkpoint,
        srocc_of_labels,
        log,
    )
