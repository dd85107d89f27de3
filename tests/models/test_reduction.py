"""Tokens standardised and reduced, against scikit-learn's principal components."""

import pytest
import torch
from sklearn.decomposition import PCA

from iqasuite.models import create
from iqasuite.models.reduction import TokenReduction


@pytest.fixture
def tokens():
    """Two groups of channels, 12 correlated and 3 alone, of very different scales."""
    generator = torch.Generator().manual_seed(0)
    wide = torch.randn(100, 9, 12, generator=generator) @ torch.randn(12, 12, generator=generator) * 50 + 7
    narrow = 0.01 * torch.randn(100, 9, 3, generator=generator) - 2
    return torch.cat([wide, narrow], dim=2)


def test_unfitted_it_passes_what_it_is_given(tokens):
    reduction = TokenReduction([12, 3])
    assert not reduction.fitted and reduction.channels == 15
    assert torch.equal(reduction(tokens), tokens)


def test_channels_are_standardised(tokens):
    reduction = TokenReduction([12, 3])
    reduction.fit(tokens)
    z = reduction(tokens).flatten(0, 1)
    assert reduction.fitted
    torch.testing.assert_close(z.mean(0), torch.zeros(15), atol=1e-4, rtol=0)
    torch.testing.assert_close(z.std(0), torch.ones(15), atol=1e-3, rtol=0)


def test_a_channel_that_never_changes_stays_finite(tokens):
    tokens[..., 4] = 3.0
    reduction = TokenReduction([12, 3], components=4)
    reduction.fit(tokens)
    assert reduction.std[4] == 1 and reduction(tokens).isfinite().all()


def test_components_of_a_wide_group_are_those_of_scikit_learn(tokens):
    reduction = TokenReduction([12, 3], components=4)
    reduction.fit(tokens)
    reduced = reduction(tokens)
    assert reduction.widths == (4, 3) and reduced.shape == (100, 9, 7)
    rows = tokens[..., :12].flatten(0, 1)
    expected = torch.from_numpy(PCA(4).fit_transform(((rows - rows.mean(0)) / rows.std(0)).numpy()))
    ours = reduced[..., :4].flatten(0, 1)
    expected = expected * (ours * expected).sum(0).sign()  # signs and one common scale are free
    torch.testing.assert_close(ours, expected / expected.std(), atol=2e-3, rtol=0)
    assert ours.std().item() == pytest.approx(1, abs=1e-3)


def test_a_group_no_wider_than_the_components_stays_as_it_is(tokens):
    reduction = TokenReduction([12, 3], components=4)
    reduction.fit(tokens)
    narrow = tokens[..., 12:]
    expected = (narrow - narrow.mean((0, 1))) / narrow.flatten(0, 1).std(0)
    torch.testing.assert_close(reduction(tokens)[..., 4:], expected, atol=1e-3, rtol=1e-3)
    assert not hasattr(reduction, "basis_1")


def test_the_same_tokens_give_the_same_components(tokens):
    one, two = TokenReduction([12, 3], 4), TokenReduction([12, 3], 4)
    one.fit(tokens, seed=3, most=300)
    two.fit(tokens, seed=3, most=300)
    assert torch.equal(one.basis_0, two.basis_0) and torch.equal(one.mean, two.mean)
    two.fit(tokens, seed=4, most=300)
    assert not torch.equal(one.mean, two.mean)


def test_what_was_fitted_is_kept_with_the_weights(tokens):
    one, two = TokenReduction([12, 3], 4), TokenReduction([12, 3], 4)
    one.fit(tokens)
    two.load_state_dict(one.state_dict())
    assert two.fitted and torch.equal(one(tokens), two(tokens))


def test_a_trunk_sees_the_components_of_each_stem():
    model = create(
        "vit_iqa",
        image_size=64,
        stem={"name": "mobilenet_v2+spectrum", "patch_size": 16, "cells": 2, "components": 8},
        trunk={"size": "tiny"},
        pretrained=False,
    )
    assert model.reduce.groups == model.stem.groups and model.trunk.embed.in_features == 16
    assert model.eval()(torch.randn(1, 3, 64, 64)).shape == (1, 5)
