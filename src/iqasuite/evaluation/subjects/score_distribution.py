"""The generalised score distribution (GSD): a panel's votes on one image from two numbers, and whether that is true."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import binom

from iqasuite.datasets.dataset import first_votes

_K = np.arange(5)
_PSI, _RHO = (grid.ravel() for grid in np.meshgrid(np.linspace(1.01, 4.99, 80), np.linspace(0.02, 1, 40)))
_AT_ONCE = 2000  # images whose likelihoods are in memory


def gsd(psi: np.ndarray | float, rho: np.ndarray | float) -> np.ndarray:
    """Probabilities (…, 5) of the votes 1–5 of mean ψ and confidence ρ.

    The variance is ρ·V_min(ψ) + (1 − ρ)·V_max(ψ), between the smallest and the largest that whole votes of that mean
    can have. Low confidence is a beta-binomial distribution, high a mixture of a binomial one and the two votes next
    to ψ.

    Args:
        psi: mean, between 1 and 5, not these themselves.
        rho: above 0, at most 1.

    Reference: B. Ćmiel, J. Nawała, L. Janowski & K. Rusek, "Generalised score distribution: underdispersed continuation
    of the beta-binomial distribution", Statistical Papers 65, 2024.
    """
    psi, rho = (x[..., None] for x in np.broadcast_arrays(np.asarray(psi, float), np.asarray(rho, float)))
    smallest, largest = (np.ceil(psi) - psi) * (psi - np.floor(psi)), (psi - 1) * (5 - psi)
    turn = 0.75 * largest / (largest - smallest)  # where the beta-binomial distribution is binomial
    up, down = (psi - 1) / 4, (5 - psi) / 4
    steps = np.arange(4) * np.maximum(turn - rho, 0)
    ones = np.ones_like(psi)
    rising = np.cumprod(np.concatenate([ones, up * rho + steps], axis=-1), axis=-1)
    falling = np.cumprod(np.concatenate([ones, down * rho + steps], axis=-1), axis=-1)[..., ::-1]
    scattered = binom(4, _K) * rising * falling / np.prod(rho + steps, axis=-1, keepdims=True)
    share = (rho - turn) / (1 - turn)
    next_to = np.maximum(0, 1 - np.abs(_K + 1 - psi))
    dense = share * next_to + (1 - share) * binom(4, _K) * up**_K * down ** (4 - _K)
    return np.where(rho < turn, scattered, dense)


def fit_gsd(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Most probable ψ and ρ of votes that were counted (n, 5), on a grid, and the G statistic of the fit, (n,) each."""
    log_p = np.log(np.maximum(gsd(_PSI, _RHO), 1e-12)).T
    best = np.concatenate([(counts[k : k + _AT_ONCE] @ log_p).argmax(1) for k in range(0, len(counts), _AT_ONCE)])
    shares = np.where(counts > 0, counts / counts.sum(1, keepdims=True), 1)
    g = 2 * (counts * (np.log(shares) - log_p.T[best])).sum(1)
    return _PSI[best], _RHO[best], g


def gsd_fits(votes: pd.DataFrame, n_boot: int = 199, seed: int = 0) -> pd.DataFrame:
    """Whether the GSD describes the votes on each image: a bootstrapped G-test.

    Args:
        votes: votes frame of whole votes 1–5; first votes count.
        n_boot, seed: panels drawn from each fit, and the seed of their draw.

    Returns:
        Index image: psi, rho, n, p (share of drawn panels that the GSD fits no better; uniform where it holds).

    Reference: J. Nawała, L. Janowski, B. Ćmiel & K. Rusek, "Describing subjective experiment consistency by p-value
    P–P plot", ACM Multimedia 2020.
    """
    first = first_votes(votes)
    counts = pd.crosstab(first["image"], first["vote"]).reindex(columns=_K + 1, fill_value=0)
    n, (psi, rho, found) = counts.sum(axis=1).to_numpy(), fit_gsd(counts.to_numpy())
    drawn = np.random.default_rng(seed).multinomial(n, gsd(psi, rho), size=(n_boot, len(n)))
    by_chance = fit_gsd(drawn.reshape(-1, 5))[2].reshape(n_boot, -1)
    p = (1 + (by_chance >= found - 1e-9).sum(0)) / (1 + n_boot)
    return pd.DataFrame({"psi": psi, "rho": rho, "n": n, "p": p}, counts.index)
