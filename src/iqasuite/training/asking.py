"""Which images to ask a new observer about: at random, spread over quality, the most disputed, or D-optimal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from iqasuite.errors import InputError
from iqasuite.training.few_shot import CENTRE, PERSONAL, Observer, Population

ORDERS = ("random", "spread", "disputed", "d_optimal")


def images_to_ask(
    order: str,
    n: int,
    quality: np.ndarray,
    population: Population,
    features: np.ndarray | None = None,
    disagreement: np.ndarray | None = None,
    seed: int = 0,
) -> np.ndarray:
    """The first `n` images to ask about, numbers of the given ones (n,); fewer where there are fewer.

    Args:
        order: "random"; "spread" (one at random from each of n equal parts of the order of quality); "disputed" (those
            that others disagree on most, from a random half); "d_optimal" (each the one whose vote teaches most about
            bias, slope and sensitivities together, from a random half).
        n: how many.
        quality: of the images (m,), on the scale of votes.
        population: the prior, for d_optimal.
        features: φ (m, features), for d_optimal.
        disagreement: of others on each image (m,), such as the standard deviation of their votes, for disputed.
        seed: of what is random.

    Raises:
        InputError: unknown order; disputed without the others' disagreement.

    Reference: V. V. Fedorov, "Theory of optimal experiments", 1972 (D-optimality).
    """
    if order not in ORDERS:
        raise InputError(f"order {order!r}: expected one of {', '.join(ORDERS)}")
    if order == "disputed" and disagreement is None:
        raise InputError("disagreement: None, expected that of others on each image, for order 'disputed'")
    quality, rng = np.asarray(quality, float), np.random.default_rng(seed)
    m, n = len(quality), min(n, len(quality))
    shuffled = rng.permutation(m)
    if order == "random":
        return shuffled[:n]
    if order == "spread":
        ordered = shuffled[np.argsort(quality[shuffled], kind="stable")]
        return rng.permutation([rng.choice(part) for part in np.array_split(ordered, n)]) if n else shuffled[:0]
    half = shuffled[: max(n, m // 2)]
    if order == "disputed":
        return half[np.argsort(-np.asarray(disagreement, float)[half], kind="stable")][:n]
    phi = np.zeros((m, 0)) if features is None else np.asarray(features, float)
    design = np.column_stack([np.ones(m), quality - CENTRE, phi])[half]
    return half[_d_optimal(design, vote_information(population, quality[half]), population.sd(), n)]


def vote_information(population: Population, quality: np.ndarray) -> np.ndarray:
    """Fisher information (n,) of a vote on where its observer sees an image of this quality, averaged over biases.

    A vote of 1 on a hopeless image says little: it would have been a 1 anyway.

    Args:
        population: the prior.
        quality: of the images, shape (n,).
    """
    plain, step = replace(population, features=()), 0.05
    median = Observer(plain, plain.mean(), np.zeros((len(PERSONAL), len(PERSONAL))))
    found = []
    for bias in population.bias_sd * np.array([-1.2, 0, 1.2]):
        low, at, high = (median.distribution(quality + bias + shift) for shift in (-step, 0, step))
        found.append((((high - low) / (2 * step)) ** 2 / at).sum(1))
    return np.mean(found, axis=0)


def _d_optimal(design: np.ndarray, information: np.ndarray, sd: np.ndarray, n: int) -> np.ndarray:
    """Rows of the design (m, k), each the one whose vote adds most to the determinant of what is known."""
    covariance = np.diag(np.concatenate([sd[:2], sd[6:]]) ** 2)
    chosen: list[int] = []
    for _ in range(n):
        carried = design @ covariance
        gain = information * (carried * design).sum(1)
        gain[chosen] = -1
        best = int(gain.argmax())
        chosen.append(best)
        covariance = covariance - np.outer(carried[best], carried[best]) * information[best] / (1 + gain[best])
    return np.array(chosen, int)
