"""Sanity checks with networks whose answer is known: one that reads pixels by its weights, one that ignores them."""

import numpy as np
import pytest
import torch
from torch import nn

from iqasuite.explain.maps import maps
from iqasuite.explain.sanity import agreement, cascaded, moved, repaired
from iqasuite.models import create
from iqasuite.models.network import Network


class Sharpness(Network):
    """A vote that is higher the less a place differs from its neighbours."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 1, 3, padding=1, bias=False)
        kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])
        self.features.weight.data = kernel.expand(1, 3, 3, 3).clone()
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("std", torch.ones(3))

    def forward(self, x):
        return 5 - self.features(x).square().mean((1, 2, 3))

    def local(self, x):
        return 5 - nn.functional.avg_pool2d(self.features(x).square(), 8)


@pytest.fixture
def images():
    smooth = np.full((3, 96, 96, 3), 120, np.uint8)
    noisy = smooth.copy()
    noisy[:, :48, :48] = np.random.default_rng(0).integers(60, 180, (3, 48, 48, 3))
    return smooth, noisy


def test_agreement_is_spearmans_and_0_of_a_constant():
    rng = np.random.default_rng(0)
    maps_ = rng.random((3, 4, 5))
    np.testing.assert_allclose(agreement(maps_, maps_**3), 1)
    np.testing.assert_allclose(agreement(maps_, -maps_), -1)
    assert agreement(maps_, np.ones((3, 4, 5))).tolist() == [0, 0, 0]
    from scipy.stats import spearmanr

    other = rng.random((3, 4, 5))
    expected = [spearmanr(a.ravel(), b.ravel())[0] for a, b in zip(maps_, other, strict=True)]
    np.testing.assert_allclose(agreement(maps_, other), expected)


def test_weights_are_shuffled_from_the_output_on_and_the_network_stays():
    network = create("mobile_nr", width=0.25)
    before = {name: value.clone() for name, value in network.named_parameters()}
    changed = []
    for share, shuffled in cascaded(network, steps=3):
        now = dict(shuffled.named_parameters())
        differ = [name for name in before if not torch.equal(now[name], before[name])]
        assert all(torch.equal(now[n].flatten().sort()[0], before[n].flatten().sort()[0]) for n in differ)
        changed.append((share, differ))
    assert [share for share, _ in changed] == pytest.approx([1 / 3, 2 / 3, 1], abs=0.03)
    assert "head.4.weight" in changed[0][1] and "features.0.0.weight" not in changed[1][1]
    assert "features.0.0.weight" in changed[2][1]
    assert all(torch.equal(value, before[name]) for name, value in network.named_parameters())


def test_a_map_of_the_weights_changes_with_them_and_a_map_of_pixels_does_not(images):
    network = Sharpness()
    own = maps(network, images[1], "quality")
    ((_, shuffled),) = cascaded(network, steps=1)
    assert agreement(own, own).min() == pytest.approx(1)
    assert torch.equal(shuffled.features.weight.flatten().sort()[0], network.features.weight.flatten().sort()[0])
    assert not torch.equal(shuffled.features.weight, network.features.weight)


def test_a_map_that_moves_with_the_image_agrees_with_itself(images):
    network, noisy = Sharpness(), images[1]
    found = moved(network, noisy, "quality", maps(network, noisy, "quality"))
    assert found["mirrored"].min() > 0.99 and found["shifted"].min() > 0.8


def test_repairing_the_bad_places_first_wins_most_votes(images):
    network, (smooth, noisy) = Sharpness(), images
    truth = maps(network, noisy, "quality")
    first, last, chance = (repaired(network, noisy, smooth, each) for each in (truth, -truth, None))
    assert (first > chance).all() and (chance > last).all()
    np.testing.assert_allclose(repaired(network, noisy, smooth, np.ones((3, 4, 4))), chance)  # ties go by chance
