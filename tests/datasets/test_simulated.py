"""The simulation is worth something only if what was put in can be found again."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import norm

from iqasuite.datasets import simulated
from iqasuite.datasets.simulated import OBSERVERS, Observer

KINDS = np.array(["jpeg", "blur", "noise", "resolution"])


@pytest.mark.parametrize("observer", OBSERVERS, ids=lambda o: o.name)
def test_known_parameters_are_recovered(observer):
    """Bias, tastes and inconsistency by maximum likelihood of the rounded, clipped votes."""
    rng = np.random.default_rng(0)
    quality = rng.uniform(1, 5, 40_000)
    distortion = KINDS[rng.integers(4, size=len(quality))]
    vote = simulated.vote(observer, quality, distortion, rng)
    impairment = (distortion[:, None] == KINDS) * ((5 - quality) / 4)[:, None]
    upper, lower = np.where(vote == 5, np.inf, vote + 0.5), np.where(vote == 1, -np.inf, vote - 0.5)

    def cost(parameters):
        expected, sigma = quality + parameters[0] + impairment @ parameters[1:5], np.exp(parameters[5])
        chance = norm.cdf((upper - expected) / sigma) - norm.cdf((lower - expected) / sigma)
        return -np.log(np.maximum(chance, 1e-12)).mean()

    found = minimize(cost, np.r_[np.zeros(5), -0.7], method="BFGS").x
    truth = [observer.bias, *(observer.taste.get(kind, 0.0) for kind in KINDS)]
    np.testing.assert_allclose(found[:5], truth, atol=0.07)
    assert np.exp(found[5]) == pytest.approx(observer.inconsistency, abs=0.02)


def test_observers_differ_and_tastes_cancel_over_the_demo():
    assert len({o.bias for o in OBSERVERS}) == 5 and len({o.inconsistency for o in OBSERVERS}) == 5
    for o in OBSERVERS:
        assert 10 * o.taste.get("jpeg", 0) + sum(5 * v for k, v in o.taste.items() if k != "jpeg") == pytest.approx(0)


def test_votes_stay_on_the_scale_and_repeat():
    wild = Observer("wild", 3.0, 5.0)
    quality, kinds = np.linspace(1, 5, 500), np.repeat("blur", 500)
    votes = simulated.vote(wild, quality, kinds, np.random.default_rng(3))
    assert votes.dtype == np.int64 and set(votes) == {1, 2, 3, 4, 5}
    np.testing.assert_array_equal(votes, simulated.vote(wild, quality, kinds, np.random.default_rng(3)))


def test_table_states_the_truth():
    table = simulated.table().set_index("observer")
    assert table.loc["Obs2", "taste_jpeg"] == -0.8 and table.loc["Obs1", "taste_blur"] == 0
    assert table["bias"].tolist() == [o.bias for o in OBSERVERS]
