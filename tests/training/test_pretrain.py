"""Learning without votes: the five JPEG classes, and how photographs were encoded."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.fft import dctn

from iqasuite.images.crops import normalise
from iqasuite.images.encoding_stream import EncodingStream
from iqasuite.images.jpeg_stream import JPEGStream
from iqasuite.models import create
from iqasuite.models.spectrum import SpectrumTokens
from iqasuite.training.loop import Followed
from iqasuite.training.losses import soft_labels
from iqasuite.training.pretrain import JPEGPlan, accuracy, gaussian_nll, pretrain_on_encodings, pretrain_on_jpeg
from iqasuite.training.schedule import Schedule


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Three pictures of noise as soft as photographs: power falls with the square of frequency."""
    folder, paths = tmp_path_factory.mktemp("photographs"), []
    fy, fx = np.meshgrid(np.fft.fftfreq(320), np.fft.fftfreq(320), indexing="ij")
    amplitude = 1 / np.maximum(np.hypot(fy, fx), 1 / 320)
    for number in range(3):
        rng = np.random.default_rng(number)
        spectrum = np.fft.fft2(rng.standard_normal((3, 320, 320))) * amplitude
        pixels = np.fft.ifft2(spectrum).real
        pixels = np.clip(128 + 45 * pixels / pixels.std(), 0, 255).astype(np.uint8)
        paths.append(folder / f"{number}.png")
        Image.fromarray(pixels.transpose(1, 2, 0)).save(paths[-1])
    return paths


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("IQASUITE_CACHE", str(tmp_path / "cache"))


def jpeg_network():
    torch.manual_seed(0)
    return create(
        "vit_iqa",
        image_size=64,
        stem={"name": "spectrum", "patch_size": 32, "cells": 2, "freeze": False},
        trunk={"size": "tiny", "dim": 32, "depth": 1, "heads": 2, "mlp_dim": 64},
    )


def test_jpeg_classes_are_learnt_better_than_guessed(photographs):
    model, lines = jpeg_network(), []
    schedule = Schedule(epochs=5, lr=3e-3, precision="no")
    plan, followed = JPEGPlan(batch_size=32, steps=15), Followed(log=lines.append)
    result = pretrain_on_jpeg(model, photographs[:2], photographs[2:], schedule, plan, followed=followed)
    assert result.history["val_accuracy"].max() > 0.4  # a guess: 0.2
    assert result.best_value == result.history["val_accuracy"].max() and len(lines) == 5


def test_the_spectrum_stem_is_standardised_on_the_stream_that_it_learns_from(photographs):
    model = jpeg_network()
    schedule = Schedule(epochs=1, lr=1e-3, precision="no")
    pretrain_on_jpeg(model, photographs[:2], photographs[2:], schedule, JPEGPlan(batch_size=8, steps=1))
    x, _ = JPEGStream(photographs[:2], 64, seed=0).batch(200, 12)
    spectra = model.stem.spectra(normalise(x, model.mean, model.std))
    z = ((spectra - model.stem.encoder.channel_mean) / model.stem.encoder.channel_std).flatten(0, -2)
    assert z.mean().abs() < 0.1 and z.std().item() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("native", [True, False])
def test_both_protocols_and_other_stems_run(photographs, native):
    torch.manual_seed(0)
    model = create("vit_iqa", image_size=64, trunk={"size": "tiny", "dim": 32, "depth": 1, "heads": 2, "mlp_dim": 64})
    schedule = Schedule(epochs=1, lr=1e-3, precision="no")
    plan = JPEGPlan(batch_size=16, steps=2, native=native, loss="emd")
    result = pretrain_on_jpeg(model, photographs[:2], photographs[2:], schedule, plan)
    assert result.epochs_run == 1 and np.isfinite(result.history["val_loss"]).all()


def test_how_far_photographs_were_enlarged_is_read_from_their_spectra(photographs):
    torch.manual_seed(0)
    stem = SpectrumTokens(48, 2, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    schedule = Schedule(epochs=20, lr=3e-3, precision="no")
    result, estimates, truth = pretrain_on_encodings(
        stem, photographs[:2], photographs[2:], schedule, samples=600, batch_size=64
    )
    assert estimates.shape == truth.shape == (60, 2) and result.epochs_run == 20
    rmse = (estimates - truth).square().mean(0).sqrt()
    assert rmse[0] < 0.5 * truth[:, 0].std()  # twice as good as the mean
    assert not any(p.requires_grad for p in stem.parameters()) and not stem.encoder.training
    expected = EncodingStream(photographs[2:], 48, seed=1).batch(64, 0)[1][:60]
    assert torch.equal(truth, expected)


def test_gaussian_nll_is_least_at_the_truth():
    targets = torch.randn(2000, 1, generator=torch.Generator().manual_seed(0))
    best = gaussian_nll(torch.cat([torch.zeros_like(targets), torch.zeros_like(targets)], 1), targets)
    for mean, log_variance in ((0.3, 0.0), (0.0, 0.5), (0.0, -0.5)):
        other = torch.tensor([mean, log_variance]).expand(2000, 2)
        assert gaussian_nll(other, targets) > best
    assert best.item() == pytest.approx(targets.square().mean().item())


def test_accuracy_of_the_most_probable_class():
    outputs = torch.eye(5)[[0, 1, 2, 4]]
    assert accuracy(outputs, soft_labels(torch.tensor([1, 2, 3, 3]))) == 0.75


def test_small_crops_come_first_and_the_tokens_start_from_jpegs_transform(photographs):
    torch.manual_seed(0)
    model = create("vit_iqa", image_size=64, trunk={"size": "tiny", "dim": 64, "depth": 1, "heads": 2, "mlp_dim": 64})
    seen = []
    model.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)) if model.training else None)
    schedule, plan = Schedule(epochs=2, lr=1e-9, precision="no"), JPEGPlan(batch_size=8, steps=2, small=0.5)
    pretrain_on_jpeg(model, photographs[:2], photographs[2:], schedule, plan)
    assert seen == [(16, 3, 32, 32)] * 2 + [(8, 3, 64, 64)] * 2
    of_the_image = model.stem.linear.weight.unflatten(1, (5, 3, 16, 16))[:, 0].mean(1)[:, :8, :8]
    spectra = dctn(of_the_image.detach().numpy(), axes=(1, 2), norm="ortho")
    assert (np.abs(spectra).reshape(64, 64).argmax(1) == np.arange(64)).all()  # token d reads basis function d
