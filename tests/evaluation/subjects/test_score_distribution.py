"""The generalised score distribution: its definition, known parameters found again, and a test that is calibrated."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import betabinom, binom

from iqasuite.evaluation.subjects.score_distribution import fit_gsd, gsd, gsd_fits

VOTES = np.arange(1, 6)


def frame(drawn: np.ndarray) -> pd.DataFrame:
    """Votes frame of votes (images, observers)."""
    images, observers = np.indices(drawn.shape)
    table = pd.DataFrame({"image": images.ravel(), "observer": observers.ravel(), "vote": drawn.ravel()})
    return table.assign(session=1, position=0)


def test_mean_and_variance_are_those_that_it_is_defined_by():
    psi, rho = np.meshgrid(np.linspace(1.05, 4.95, 30), np.linspace(0.05, 1, 20))
    p = gsd(psi, rho)
    mean = p @ VOTES
    variance = p @ VOTES**2 - mean**2
    smallest, largest = (np.ceil(psi) - psi) * (psi - np.floor(psi)), (psi - 1) * (5 - psi)
    np.testing.assert_allclose(p.sum(-1), 1)
    np.testing.assert_allclose(mean, psi)
    np.testing.assert_allclose(variance, rho * smallest + (1 - rho) * largest, atol=1e-12)
    assert (p >= 0).all()


def test_it_holds_the_binomial_and_the_beta_binomial_distribution():
    np.testing.assert_allclose(gsd(3.0, 0.75), binom.pmf(VOTES - 1, 4, 0.5))  # at its turn, 3/4 where ψ is whole
    rho = 0.4
    theta = rho / (0.75 - rho)  # of the beta distribution, from the products of the definition
    np.testing.assert_allclose(gsd(2.0, rho), betabinom.pmf(VOTES - 1, 4, 0.25 * theta, 0.75 * theta))
    np.testing.assert_allclose(gsd(2.3, 1.0), [0, 0.7, 0.3, 0, 0], atol=1e-12)


def test_known_parameters_are_found_again():
    rng, psi, rho = np.random.default_rng(0), np.array([1.4, 2.5, 3.0, 4.2]), np.array([0.9, 0.6, 0.8, 0.4])
    found_psi, found_rho, g = fit_gsd(rng.multinomial(3000, gsd(psi, rho)))
    assert found_psi == pytest.approx(psi, abs=0.08) and found_rho == pytest.approx(rho, abs=0.06)
    assert (g >= 0).all() and (g < 20).all()


def test_p_is_uniform_where_it_holds_and_small_where_it_does_not():
    rng = np.random.default_rng(1)
    psi, rho = rng.uniform(1.5, 4.5, 120), rng.uniform(0.6, 0.95, 120)
    drawn = np.array([rng.choice(VOTES, 24, p=p) for p in gsd(psi, rho)])
    p = gsd_fits(frame(drawn), 99)["p"]
    assert (p <= 0.05).mean() < 0.12 and 0.4 < p.mean() < 0.65
    gap = rng.choice([1, 2, 4, 5], (60, 24), p=[0.1, 0.4, 0.4, 0.1])  # nobody votes 3
    assert (gsd_fits(frame(gap), 99)["p"] <= 0.05).mean() > 0.5
