"""Taste: how much of the votes is the image, the observer's bias and slope, sensitivities, what repeats, and noise."""

from __future__ import annotations

import numpy as np
import pandas as pd

from iqasuite.datasets.dataset import first_votes
from iqasuite.errors import InputError
from iqasuite.evaluation.subjects.observers import content_of
from iqasuite.evaluation.subjects.repetition import repeated_votes
from iqasuite.evaluation.uncertainty import Z

PARTS = ("image", "bias", "slope", "sensitivities", "repeatable rest", "noise")


def variance_parts(
    votes: pd.DataFrame,
    features: pd.DataFrame | None = None,
    contents: pd.Series | None = None,
    n_permutations: int = 999,
    seed: int = 0,
) -> pd.DataFrame:
    """The variance of votes in parts, unbiased, from observers who rated the same images.

    vote = image + bias_i + slope_i·(image − mean) + s_iᵀφ + rest_ij + noise: Mandel's bundle of straight lines with
    sensitivities to features. Noise is half of the variance of the difference of repeated votes, drift of the session
    taken out; what remains and repeats is the rest. Without repeated votes both are one: the row "repeatable rest" has
    nan, and "noise" holds the two.

    p: the images' residuals are shifted along the images, sorted by content, which keeps what images of a content
    share; of the bias, votes are permuted among the observers of each image; of the rest, the shift is between first
    and repeated votes. Intervals are jackknifed over observers and contents, both variances added.

    Args:
        votes: votes frame; images that every observer rated count, and for the noise all repeated votes.
        features: φ, index image; what of it follows the image's mean vote belongs to the slope.
        contents: image -> content.
        n_permutations, seed: permutations, and the seed of their draw.

    Returns:
        Rows `PARTS`: variance, share, low, high (of the share, 95 %), p (nan where it was not tested), n_observers,
        n_images.

    Raises:
        InputError: fewer than three observers or ten images that all of them rated.

    Reference: J. Mandel, "Non-additivity in two-way analysis of variance", J. American Statistical Association 56,
    1961.
    """
    table = first_votes(votes).pivot(index="observer", columns="image", values="vote").dropna(axis=1)
    if len(table) < 3 or table.shape[1] < 10:
        raise InputError(f"votes: {len(table)} observers of {table.shape[1]} common images, expected 3 and 10 or more")
    groups = content_of(table.columns, contents)
    order = np.argsort(groups.astype(str), kind="stable")
    y, groups = table.to_numpy(float)[:, order], groups[order].astype(str)
    phi = np.zeros((y.shape[1], 0))
    if features is not None:
        phi = features.reindex(table.columns).to_numpy(float)[order]
        if not np.isfinite(phi).all():
            raise InputError("features: none for some of the rated images, expected finite numbers")
    again = repeated_votes(votes)
    difference = (again["vote_late"] - again["vote_early"]).astype(float)  # its variance is twice that of the noise
    noise = (difference.groupby(again["observer"]).var() / 2).reindex(table.index).to_numpy(float)
    value = _parts(y, phi, _mean(noise))
    shares = [_shares(y[k], phi, _mean(noise[k])) for k in ~np.eye(len(y), dtype=bool)]
    left = [groups != content for content in np.unique(groups)]
    by_content = [_shares(y[:, k], phi[k], _mean(noise)) for k in left]
    error = np.sqrt(sum((len(s) - 1) * np.var(s, axis=0) for s in (shares, by_content)))
    share = value / np.nansum(value)
    rng = np.random.default_rng(seed)
    repeated = again.groupby(["observer", "image"])["vote_late"].mean().unstack()
    repeated = repeated.reindex(index=table.index, columns=table.columns).to_numpy(float)[:, order]
    p = _p_values(y, phi, repeated if np.isfinite(repeated).all() else None, n_permutations, rng)
    found = {"part": PARTS, "variance": value, "share": share, "low": share - Z * error, "high": share + Z * error}
    return pd.DataFrame(found | {"p": p, "n_observers": len(y), "n_images": y.shape[1]})


def _mean(noise: np.ndarray) -> float:
    known = noise[np.isfinite(noise)]
    return float(known.mean()) if len(known) else np.nan


def _parts(y: np.ndarray, phi: np.ndarray, noise: float) -> np.ndarray:
    """Variances of `PARTS` (6,) of complete votes (observers, images)."""
    observers, images = y.shape
    rest, squares = _residuals(y, phi)
    freedom = (observers - 1) * (images - 2 - phi.shape[1])
    error = (rest**2).sum() / freedom
    interaction = ((rest**2).sum() + squares.sum()) / ((observers - 1) * (images - 1))
    of_image = y.mean(0).var(ddof=1) - interaction / observers
    of_bias = y.mean(1).var(ddof=1) - interaction / images
    lines = np.array([1, phi.shape[1]])
    systematic = (squares / (observers - 1) - lines * error) / (images - 1)
    last = (np.nan, error) if np.isnan(noise) else (error - noise, noise)
    return np.array([of_image, of_bias, *systematic, *last])


def _shares(y: np.ndarray, phi: np.ndarray, noise: float) -> np.ndarray:
    parts = _parts(y, phi, noise)
    return parts / np.nansum(parts)


def _directions(y: np.ndarray, phi: np.ndarray) -> np.ndarray:
    """Orthonormal columns (images, 1 + features): the image's mean vote, then the features without it."""
    columns = np.column_stack([y.mean(0), phi])
    return np.linalg.qr(columns - columns.mean(0))[0]


def _interaction(y: np.ndarray) -> np.ndarray:
    return y - y.mean(0) - y.mean(1, keepdims=True) + y.mean()


def _residuals(y: np.ndarray, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Votes without image, bias, slope and sensitivities; sums of squares of the last two."""
    directions, r = _directions(y, phi), _interaction(y)
    along = r @ directions
    squares = np.array([(along[:, 0] ** 2).sum(), (along[:, 1:] ** 2).sum()])
    return r - along @ directions.T, squares


def _p_values(
    y: np.ndarray, phi: np.ndarray, repeated: np.ndarray | None, n: int, rng: np.random.Generator
) -> list[float]:
    rest, squares = _residuals(y, phi)
    directions, r = _directions(y, phi), _interaction(y)
    without_slope = r - r @ directions[:, :1] @ directions[:, :1].T
    shifts = rng.integers(1, y.shape[1], n)
    slope = [((r @ np.roll(directions[:, 0], s)) ** 2).sum() for s in shifts]
    sensitive = [((without_slope @ np.roll(directions[:, 1:], s, axis=0)) ** 2).sum() for s in shifts]
    bias = [rng.permuted(y, axis=0).mean(1).var() for _ in range(min(n, 199))]
    found = [np.nan, _p(y.mean(1).var(), bias), _p(squares[0], slope)]
    found.append(_p(squares[1], sensitive) if phi.shape[1] else np.nan)
    if repeated is None:
        return [*found, np.nan, np.nan]
    later = _residuals(repeated, phi)[0]
    moved = [(rest * np.roll(later, s, axis=1)).sum() for s in shifts]
    return [*found, _p((rest * later).sum(), moved), np.nan]


def _p(observed: float, permuted: list[float]) -> float:
    return float((1 + np.sum(np.array(permuted) >= observed - 1e-12)) / (1 + len(permuted)))
