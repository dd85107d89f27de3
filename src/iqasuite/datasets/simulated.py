"""Simulated observers: made by a formula, so that every method can be checked against the truth.

The model is that of ITU-T P.910 (subject bias and subject inconsistency; Z. Li et al., "A simple model for subject
behavior in subjective experiments", 2020) with a taste added. Of an image of quality q in [1, 5] and distortion d,
observer i expects

    e = q + bias_i + taste_i[d] · (5 − q) / 4

and votes round(clip(e + N(0, inconsistency_i), 1, 5)). A taste is in votes at the worst quality: +1.5 for blur is
someone whom a hopelessly blurred image offends 1.5 classes less than it should. Over the demo's mix of distortions (10
JPEG to 5 of each other kind) every observer's tastes cancel, so that a bias stays a bias.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from iqasuite.datasets.frames import VOTE_SCALE

DISTORTIONS = ("jpeg", "blur", "noise", "resolution")  # that observers have a taste for or against


@dataclass(frozen=True)
class Observer:
    """A simulated observer.

    Attributes:
        name: as in the `observer` column.
        bias: votes above (+) or below (−) the true quality on average.
        inconsistency: standard deviation of the vote around the expected one, in votes.
        taste: distortion -> votes more (+, forgiving) or less (−, hating) at the worst quality; 0 where not named.
        description: the same in words.
    """

    name: str
    bias: float
    inconsistency: float
    taste: dict[str, float] = field(default_factory=dict)
    description: str = ""


OBSERVERS = (
    Observer("Obs1", 0.0, 0.25, {}, "average in everything and sure of it"),
    Observer(
        *("Obs2", -0.8, 0.40, {"jpeg": -0.8, "blur": 0.8, "resolution": 0.8}),
        "strict, hates blockiness, minds softness less",
    ),
    Observer(
        *("Obs3", 0.8, 0.35, {"blur": 1.5, "noise": -1.0, "resolution": 0.3, "jpeg": -0.4}),
        "generous, forgives blur, dislikes noise",
    ),
    Observer(
        *("Obs4", -0.4, 0.50, {"noise": 1.6, "blur": -0.8, "resolution": -0.8}),
        "a little strict, forgives noise, wants it sharp",
    ),
    Observer(
        *("Obs5", 0.4, 0.60, {"resolution": -1.6, "jpeg": 0.4, "blur": 0.4, "noise": 0.4}),
        "a little generous, hates low resolution, changes their mind",
    ),
)


def other_observers(n: int, seed: int = 0) -> tuple[Observer, ...]:
    """Simulated observers beyond the demo's five: biases, inconsistencies and tastes drawn at random.

    Args:
        n: how many, named Sim1, Sim2, …
        seed: of the draw; the first observers of a longer list are the same.
    """
    drawn = np.random.default_rng(seed).standard_normal((n, 2 + len(DISTORTIONS)))
    tastes = [dict(zip(DISTORTIONS, (0.7 * row[2:]).tolist(), strict=True)) for row in drawn]
    return tuple(
        Observer(f"Sim{i + 1}", float(0.5 * row[0]), float(0.4 * np.exp(0.25 * row[1])), taste)
        for i, (row, taste) in enumerate(zip(drawn, tastes, strict=True))
    )


def expected_vote(observer: Observer, quality: np.ndarray, distortion: np.ndarray) -> np.ndarray:
    """What the observer would say without noise, clipping and rounding; may leave [1, 5].

    Args:
        observer: who votes.
        quality: true quality in [1, 5], shape (n,).
        distortion: its name for each image, shape (n,).

    Returns:
        Expected votes, shape (n,).
    """
    quality = np.asarray(quality, dtype=np.float64)
    taste = np.array([observer.taste.get(name, 0.0) for name in distortion])
    return quality + observer.bias + taste * (5 - quality) / 4


def vote(observer: Observer, quality: np.ndarray, distortion: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One vote 1–5 per image, int64, shape (n,); arguments as in `expected_vote`."""
    expected = expected_vote(observer, quality, distortion)
    noisy = expected + observer.inconsistency * rng.standard_normal(expected.shape)
    return np.rint(np.clip(noisy, *VOTE_SCALE)).astype(np.int64)


def table(observers: tuple[Observer, ...] = OBSERVERS) -> pd.DataFrame:
    """The observers as a frame: observer, bias, inconsistency, description and one column `taste_<distortion>` each."""
    kinds = sorted({kind for o in observers for kind in o.taste})
    rows = [
        {"observer": o.name, "bias": o.bias, "inconsistency": o.inconsistency, "description": o.description}
        | {f"taste_{kind}": o.taste.get(kind, 0.0) for kind in kinds}
        for o in observers
    ]
    return pd.DataFrame(rows)
