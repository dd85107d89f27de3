"""The spectrum stem against known truth: gratings, white noise, pictures that were enlarged."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from iqasuite.images.crops import normalise
from iqasuite.models import create
from iqasuite.models.spectrum import JoinedTokens, PatchSpectrum, SharpnessEncoder, SpectrumMap, SpectrumTokens
from iqasuite.pixel_values import IMAGENET_MEAN, IMAGENET_STD

SIDE = 96


@pytest.fixture(scope="module")
def spectrum():
    return PatchSpectrum(SIDE)


def ring_frequencies(spectrum):
    """Mean frequency, in cycles per pixel, of each ring of the first of the spectrum's parts (luma, everywhere)."""
    n = spectrum.chroma_rings.shape[1]
    fy, fx = np.meshgrid(np.fft.fftfreq(SIDE), np.fft.rfftfreq(SIDE), indexing="ij")
    radius = torch.from_numpy(np.hypot(fy, fx)).float().flatten()
    return radius @ spectrum.luma_rings[:, :n]


def parts(spectrum, x):
    """Luma everywhere, horizontal and vertical, and the two chroma channels, each (n, rings)."""
    n = spectrum.chroma_rings.shape[1]
    values = spectrum(x)
    sectors = (spectrum.luma_rings.shape[1] - n) // 2
    return values.split([n, sectors, sectors, n, n], dim=1)


def grating(frequency, angle):
    """Gray grating (1, 3, SIDE, SIDE), cycles per pixel along an angle from the x axis."""
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    wave = torch.cos(2 * math.pi * frequency * (x * math.cos(angle) + y * math.sin(angle)))
    return (0.5 + 0.4 * wave).expand(1, 3, -1, -1)


@pytest.mark.parametrize("frequency", [0.06, 0.125, 0.23, 0.4])
@pytest.mark.parametrize("angle", [0.0, 0.6, math.pi / 2])
def test_a_grating_peaks_in_its_ring_and_sector(spectrum, frequency, angle):
    everywhere, horizontal, vertical, cb, cr = parts(spectrum, grating(frequency, angle))
    frequencies = ring_frequencies(spectrum)
    peak = frequencies[everywhere[0].argmax()].item()
    assert peak == pytest.approx(frequency, abs=1.5 / SIDE, rel=0.05)
    strongest = horizontal.max() - vertical.max()
    assert strongest > 4 if angle == 0 else strongest < -4 if angle > 1 else True
    assert max(cb.max(), cr.max()) < everywhere.max() - 10  # gray has no colour


def test_contrast_moves_the_log_power_of_all_rings_alike(spectrum):
    x = torch.rand(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    half = spectrum(0.5 * x + 0.3)  # brightness is taken off
    torch.testing.assert_close(half, spectrum(x) - 2 * math.log(2), atol=1e-3, rtol=0)


def test_white_noise_is_flat(spectrum):
    """Expected power: the same at all frequencies, that of the window times the noise's variance."""
    noise = 0.1 * torch.randn(200, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).expand(-1, 3, -1, -1)
    everywhere, *_ = parts(spectrum, noise)
    power = everywhere[:, 3:].exp().mean(0)  # the lowest rings lose what the mean takes
    expected = 0.01 * spectrum.window.square().sum()
    torch.testing.assert_close(power, expected.expand_as(power), rtol=0.15, atol=0)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_an_enlarged_picture_has_no_power_above_its_own_sampling_rate(spectrum, factor):
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (SIDE // factor, SIDE // factor, 3), dtype=np.uint8))
    shown = np.array(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    x = torch.from_numpy(shown).permute(2, 0, 1)[None].float() / 255
    everywhere, *_ = parts(spectrum, x)
    frequencies, cut_off = ring_frequencies(spectrum), 0.5 / factor  # Nyquist frequency of the small picture
    below = everywhere[0, (frequencies > 0.3 * cut_off) & (frequencies < 0.7 * cut_off)].mean()
    above = everywhere[0, frequencies > 1.5 * cut_off]
    if len(above):
        assert above.mean() < below - 2.5  # an order of magnitude
    sharp = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    flat = parts(spectrum, sharp)[0][0]
    assert flat[frequencies > 0.4].mean() > flat[(frequencies > 0.1) & (frequencies < 0.2)].mean() - 0.5


def test_no_rings_are_empty(spectrum):
    for rings in (spectrum.luma_rings, spectrum.chroma_rings):
        torch.testing.assert_close(rings.sum(0), torch.ones(rings.shape[1]))
    assert spectrum.channels == spectrum.luma_rings.shape[1] + 2 * spectrum.chroma_rings.shape[1]


def test_tokens_undo_the_normalisation():
    pixels = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    stem = SpectrumTokens(32, 2, IMAGENET_MEAN, IMAGENET_STD)
    spectra = stem.spectra(normalise(pixels, IMAGENET_MEAN, IMAGENET_STD))
    assert spectra.shape == (2, 2, 3, stem.spectrum.channels)
    patch = pixels[1:, :, 32:64, 64:96].float() / 255
    torch.testing.assert_close(spectra[1, 1, 2], stem.spectrum(patch)[0], atol=1e-3, rtol=1e-3)
    plain = SpectrumTokens(32, 2, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    plain.encoder = stem.encoder
    expected = plain.eval()(normalise(pixels, (0, 0, 0), (1, 1, 1)))
    torch.testing.assert_close(
        stem.eval()(normalise(pixels, stem.image_mean, stem.image_std)), expected, atol=1e-3, rtol=1e-3
    )


def test_a_cell_has_mean_and_spread_of_its_patches():
    stem = SpectrumTokens(16, 2, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)).eval()
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    tokens = stem(x)
    assert tokens.shape == (1, 4, stem.channels) and stem.grid(64, 64) == (2, 2)
    features = stem.encoder(stem.spectra(x))[0, 2:, :2].reshape(4, -1)  # lower left cell
    mean, std = tokens[0, 2].chunk(2)
    torch.testing.assert_close(mean, features.mean(0))
    torch.testing.assert_close(std, features.std(0, correction=0).clamp_min(1e-3), atol=2e-3, rtol=0)


def test_frozen_encoder_is_neither_trained_nor_put_in_training_mode():
    frozen, trained = (SpectrumTokens(16, 2, IMAGENET_MEAN, IMAGENET_STD, freeze=f).train() for f in (True, False))
    assert not any(p.requires_grad for p in frozen.parameters()) and not frozen.encoder.training
    assert all(p.requires_grad for p in trained.parameters()) and trained.encoder.training


def test_reader_weighs_patches_by_their_precision():
    encoder = SharpnessEncoder(3)
    encoder.set_statistics(torch.randn(10, 3), torch.tensor([[1.0, 10.0], [3.0, 30.0]]))
    outputs = torch.tensor([[[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 2.0, -2.0]]])  # means and log-variances of two patches
    encoder.standardised = lambda spectra: outputs
    a, b = 1 / (1 + math.exp(-2)), math.exp(2) / (1 + math.exp(2))
    expected = torch.tensor([[2 + a * math.sqrt(2), 20 + b * math.sqrt(200)]])
    torch.testing.assert_close(encoder.read(torch.zeros(1, 2, 3)), expected)


def test_set_statistics_standardises():
    encoder = SharpnessEncoder(4)
    spectra = 5 + 3 * torch.randn(500, 2, 4, generator=torch.Generator().manual_seed(0))
    spectra[..., 3] = 7.0  # a ring that never changes
    encoder.set_statistics(spectra)
    z = ((spectra - encoder.channel_mean) / encoder.channel_std).flatten(0, 1)
    torch.testing.assert_close(z.mean(0), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(z.std(0), torch.tensor([1.0, 1.0, 1.0, 0.0]), atol=1e-4, rtol=0)


class Numbered(torch.nn.Module):
    """A stem whose tokens say which scale, cell and channel they are of."""

    def __init__(self, n_scales, channels, start):
        super().__init__()
        self.n_scales, self.channels, self.start = n_scales, channels, start

    def forward(self, x):
        n = self.n_scales * 4 * self.channels
        return self.start + torch.arange(n).float().view(1, self.n_scales * 4, self.channels).expand(len(x), -1, -1)


def test_joined_tokens_lie_side_by_side_and_scales_become_channels():
    joined = JoinedTokens([Numbered(1, 2, 0), Numbered(2, 3, 100)], cells=2)
    tokens = joined(torch.zeros(5, 3, 8, 8))
    assert joined.groups == (2, 6) and joined.channels == 8 and tokens.shape == (5, 4, 8)
    assert tokens[0, 1].tolist() == [2, 3, 103, 104, 105, 115, 116, 117]  # cell 1; scale 1 starts at token 4


def test_the_whole_network_with_a_spectrum_stem():
    stem = {"name": "spectrum", "patch_size": 16, "cells": 3, "freeze": False}
    model = create("vit_iqa", image_size=64, stem=stem, trunk={"size": "tiny"})
    logits, attention = model.eval().attention(torch.randn(2, 3, 64, 64))
    assert (
        logits.shape == (2, 5)
        and attention.shape == (2, 4, 4, 10, 10)
        and model.grid(torch.zeros(1, 3, 64, 64)) == (3, 3)
    )
    model.train()(torch.randn(2, 3, 64, 64)).sum().backward()
    assert all(p.grad is not None for p in model.stem.encoder.layers.parameters())


def test_a_map_has_the_spectrum_of_each_patch_at_its_place():
    torch.manual_seed(0)
    x = torch.rand(2, 3, 40, 50)
    found = SpectrumMap(16)(x)
    assert found.shape == (2, PatchSpectrum(16).channels, 2, 3)
    torch.testing.assert_close(found[1, :, 1, 2], PatchSpectrum(16)(x[1:, :, 16:32, 32:48])[0])
