"""Which images to ask a new observer about: at random, spread over quality, the most disputed, or D-optimal."""

from __future__ import annotations

import numpy as np

from iqasuite.errors import InputError
from iqasuite.training.few_shot import CENTRE, Population

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
            that others disagree on most, from a random half); "d_optimal" (each the one that bias, slope and
            sensitivities are then known best by, from a random half).
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
    return half[_d_optimal(np.column_stack([np.ones(m), quality - CENTRE, phi])[half], population, n)]


def _d_optimal(design: np.ndarray, population: Population, n: int) -> np.ndarray:
    """Rows of the design (m, k), each the one whose expected vote is least sure given those before."""
    sd = population.sd()
    covariance = np.diag(np.concatenate([sd[:2], sd[6:]]) ** 2)
    chosen: list[int] = []
    for _ in range(n):
        carried = design @ covariance
        unsure = (carried * design).sum(1)
        unsure[chosen] = -1
        chosen.append(int(unsure.argmax()))
        row = carried[chosen[-1]]
        covariance = covariance - np.outer(row, row) / (population.inconsistency**2 + unsure[chosen[-1]])
    return np.array(chosen, int)
