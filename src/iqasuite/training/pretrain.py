"""Learning before anybody has voted: objective labels that photographs give for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

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
from iqasuite.models.network import Network
from iqasuite.models.shifted_patches import ShiftedPatchTokens
from iqasuite.models.spectrum import PatchSpectrum, SharpnessEncoder, SpectrumTokens
from iqasuite.models.vit_iqa import ViTIQA
from iqasuite.training.batches import (
    ArrayBatches,
    Batches,
    FirstBatches,
    ImageBatches,
    StagedBatches,
    StreamBatches,
    Viewing,
    unzipped,
)
from iqasuite.training.loop import LOGGED, Followed, Loss, Result, Schedule, fit
from iqasuite.training.losses import FAITHFUL_SIGMA, soft_cross_entropy
from iqasuite.training.losses import create as create_loss
from iqasuite.training.outputs import outputs
from iqasuite.training.quality import quality_loss, srocc, vote_distributions


def accuracy(outputs: Tensor, targets: Tensor) -> float:
    """Share of images whose most probable class is the target's."""
    return (outputs.argmax(dim=1) == targets.argmax(dim=1)).float().mean().item()


@dataclass(frozen=True)
class JPEGPlan:
    """How JPEG classes are learnt.

    Attributes:
        batch_size: crops a step.
        steps: batches an epoch.
        native: see `JPEGStream`; False is the authors' way.
        small: share of the epochs, from the first, in which crops have half the side and batches hold twice as
            many: a step costs half as much, and what a patch tells is learnt from more photographs.
        mix: share of the crops that are mixed with others, see `JPEGStream`.
        loss: see `losses.create`.
        sigma: softness of the labels in classes.
    """

    batch_size: int = 32
    steps: int = 100
    native: bool = True
    small: float = 0.0
    mix: float = 0.0
    loss: str = "soft_cross_entropy"
    sigma: float = FAITHFUL_SIGMA


def pretrain_on_jpeg(
    model: Network,
    photographs: list[Path],
    held_out: list[Path],
    schedule: Schedule,
    plan: JPEGPlan = JPEGPlan(),
    seed: int = 0,
    followed: Followed = LOGGED,
) -> Result:
    """The objective observer AIO0: the five JPEG classes, from an endless stream of compressed crops.

    Shifted patch tokens of a new network start from the basis of JPEG's transform where patches hold whole blocks of
    it. Photographs are varied, see `JPEGStream`, where crops are native.

    Args:
        model: crops are as large as the images that it was made for.
        photographs, held_out: to learn from, and to pick the best epoch on (none in common).
        plan: batches, crops and labels.
        schedule, seed, followed: as of `fit`.
    """
    crop, n = model.image_size, plan.batch_size
    how: dict[str, Any] = {"native": plan.native, "varied": plan.native, "mixed": plan.mix}
    stream = JPEGStream(photographs, crop, seed, **how)
    check = JPEGStream(held_out, crop, seed + 1, plan.native)
    shown = (model.get_buffer("mean"), model.get_buffer("std"), plan.sigma)
    if model.card is None:
        _begin(model, stream.batch(256, -1 % 2**32)[0])
    train: Batches = StreamBatches(stream, n, plan.steps, *shown)
    if n_small := round(plan.small * schedule.epochs):
        half = JPEGStream(photographs, crop // 2, seed, **how)
        train = StagedBatches(StreamBatches(half, 2 * n, plan.steps, *shown), train, n_small)
    val = StreamBatches(check, n, max(1, 256 // n), *shown, fixed=True)
    return fit(model, train, val, create_loss(plan.loss), schedule, seed, accuracy, followed=followed)


def _begin(model: Network, images: Tensor) -> None:
    """Let the stem of a new ViT-IQA begin with what is known of images, such as these (n, 3, H, W), uint8."""
    if not isinstance(model, ViTIQA):
        return
    if isinstance(model.stem, SpectrumTokens):
        model.stem.set_statistics(normalise(images, model.get_buffer("mean"), model.get_buffer("std")))
    if isinstance(model.stem, ShiftedPatchTokens) and model.stem.patch_size % 8 == 0:
        model.stem.start_from_dct()


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
    followed: Followed = LOGGED,
) -> tuple[Result, Tensor, Tensor]:
    """Teach the spectrum stem how photographs were encoded: upscaling factor and loss of coding.

    Args:
        stem: its encoder is trained in place and frozen again.
        photographs, held_out: to learn from, and to pick the best epoch on (none in common).
        samples: encoded parts to learn from, four patches each; a tenth as many to validate on.
        schedule, seed, followed: as of `fit`.
        batch_size: parts a step.

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
    result = fit(reader, train, val, gaussian_nll, schedule, seed, followed=followed)
    encoder.requires_grad_(False)
    (estimates,) = outputs(encoder, [spectra_val], SharpnessEncoder.read)
    return result, estimates.cpu(), targets_val


def _spectra(stream: EncodingStream, spectrum: PatchSpectrum, samples: int, batch: int = 64) -> tuple[Tensor, Tensor]:
    def of_patches(_: nn.Module, patches: Tensor) -> Tensor:
        return spectrum(patches.flatten(0, 1).float().div(255)).unflatten(0, patches.shape[:2])

    patches, truth = unzipped(stream.batch(batch, step) for step in range(-(-samples // batch)))
    parts = [(x.cpu(), y) for y, x in zip(truth, outputs(spectrum, patches, of_patches), strict=True)]
    spectra, targets = (torch.cat(values)[:samples] for values in zip(*parts, strict=True))
    return spectra, targets


class _WithLabels(nn.Module):
    """What `fit` trains on distorted photographs: images -> logits of votes and of the labels beside them."""

    def __init__(self, model: Network, n_beside: int):
        super().__init__()
        self.model = model
        with torch.no_grad():  # how much the head is given, as a small image tells
            dim = model.embedded(torch.zeros(1, 3, 64, 64, device=model.get_buffer("mean").device)).shape[1]
        self.beside = nn.Linear(dim, n_beside)

    def forward(self, x: Tensor) -> Tensor:
        embedded = self.model.embedded(x)
        return torch.cat([self.model.predicted(embedded), self.beside(embedded)], dim=1)


@dataclass(frozen=True)
class LabelsPlan:
    """How distorted photographs are learnt.

    Attributes:
        crop: side of the random crops in pixels; whole images are validated on.
        batch_size: images a step.
        steps: batches an epoch; None = all images once.
        small: as of `JPEGPlan`.
        beside: labels asked for beside the votes: "distortion", "level", and names of the pairs' metrics.
    """

    crop: int = 192
    batch_size: int = 32
    steps: int | None = None
    small: float = 0.0
    beside: Sequence[str] = ("distortion", "level")


def labels_of(pairs: PseudoLabelled, beside: Sequence[str]) -> dict[str, Tensor]:
    """What is learnt of distorted photographs, each a distribution (n, k): "votes" and, by name, those beside them.

    Pseudo-labels and metrics become votes by their normal distribution function and their ranks, so that each fifth of
    the scale has as many images; the spread of these "votes" is half a vote.
    """
    images, labels = pairs.images, {}
    shares = {"votes": norm.cdf(images["mos"].to_numpy())}
    shares |= {name: pairs.metrics[name].rank(pct=True).to_numpy() for name in beside if name in pairs.metrics}
    for name in ("votes", *beside):
        if name in shares:
            labels[name] = torch.from_numpy(vote_distributions(1 + 4 * shares[name], np.full(len(images), 0.5)))
        else:
            codes, known = pd.factorize(images[name], sort=True)
            labels[name] = F.one_hot(torch.from_numpy(codes), len(known)).float()
    return labels


def pretrain_on_pseudo_labels(
    model: Network,
    pairs: PseudoLabelled,
    train_images: Sequence[str],
    val_images: Sequence[str],
    schedule: Schedule,
    plan: LabelsPlan = LabelsPlan(),
    seed: int = 0,
    followed: Followed = LOGGED,
) -> tuple[Result, Tensor]:
    """A network learns what metrics agree on, and at the same time which distortion it sees, at what level, and more.

    Nobody's votes are in it. What is asked for beside the votes is given by a layer of its own, which is thrown away:
    it keeps the features from forgetting what quality alone does not ask.

    Args:
        model: any with five outputs and a head of its own.
        pairs: photographs distorted in many ways at five levels, with labels.
        train_images, val_images: which of them to learn from, and to choose the epoch on (other photographs).
        plan: crops, batches and labels.
        schedule, seed, followed: as in `loop.fit`.

    Returns:
        What the training did; the logits of `labels_of`, side by side, that it gives val_images.
    """
    images = pairs.images
    wanted = labels_of(pairs, plan.beside)
    targets, rows = torch.cat(list(wanted.values()), dim=1), pd.Series(range(len(images)), index=images["image"])
    if model.card is None:
        some = rows[list(train_images)].to_numpy()[:: max(1, len(train_images) // 256)].tolist()
        _begin(model, torch.from_numpy(np.array(pairs.distorted[some])).permute(0, 3, 1, 2))

    def batches(names: Sequence[str], crop: int, batch_size: int, train: bool = True) -> ImageBatches:
        chosen = rows[list(names)].to_numpy(copy=True)
        viewing = Viewing(crop, 0, model.mean, model.std)
        return ImageBatches(pairs.distorted, chosen, targets[chosen], viewing, batch_size, seed, train, pairs.source)

    def training(crop: int, batch_size: int) -> Batches:
        every = batches(train_images, crop, batch_size)
        return every if plan.steps is None else FirstBatches(every, plan.steps)

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        wrapped = _WithLabels(model, targets.shape[1] - 5)
    train, val = training(plan.crop, plan.batch_size), batches(val_images, plan.crop, plan.batch_size, False)
    if n_small := round(plan.small * schedule.epochs):
        train = StagedBatches(training(plan.crop // 2, 2 * plan.batch_size), train, n_small)
    loss = _labels_loss([label.shape[1] for label in wanted.values()])
    result = fit(wrapped, train, val, loss, schedule, seed, srocc_of_labels, followed=followed)
    return result, torch.cat([read.cpu() for read in outputs(wrapped, unzipped(val.epoch(0))[0])])


def _labels_loss(widths: Sequence[int]) -> Loss:
    """Loss of votes, and the mean cross-entropy of what stands beside them, in outputs and targets (B, Σ widths)."""
    ends, of_votes = np.cumsum(widths).tolist(), quality_loss("plcc")

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        beside = [soft_cross_entropy(outputs[:, a:b], targets[:, a:b]) for a, b in pairwise(ends)]
        return of_votes(outputs[:, :5], targets[:, :5]) + sum(beside) / len(beside)

    return loss


def srocc_of_labels(outputs: Tensor, targets: Tensor) -> float:
    """Rank correlation of predicted votes with those made of pseudo-labels, the first five columns of both."""
    return srocc(outputs[:, :5], targets[:, :5])
