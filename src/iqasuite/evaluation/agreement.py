"""How much people agree: pair by pair, intraclass correlation, Krippendorff's alpha and the SOS hypothesis.

Each person's first vote on an image counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import f as f_distribution

from iqasuite.data.frames import VOTE_SCALE
from iqasuite.errors import InputError
from iqasuite.evaluation import metrics, resampled
from iqasuite.evaluation.people import content_of, first_votes, natural_order
from iqasuite.evaluation.uncertainty import bootstrap_by_content

LEVELS = ("nominal", "ordinal", "interval")


def vote_table(votes: pd.DataFrame) -> pd.DataFrame:
    """First votes as images × observers, nan where somebody did not rate an image."""
    table = first_votes(votes).pivot(index="image", columns="observer", values="vote").astype(float)
    return table[natural_order(list(table.columns))]


def pairwise_agreement(votes: pd.DataFrame) -> pd.DataFrame:
    """Every two people on the images that both rated.

    Args:
        votes: votes frame.

    Returns:
        Long frame observer_a, observer_b, n (images of both), accuracy (share of equal votes), qwk, srocc; a row a pair
        with at least two images in common, qwk and srocc nan where not defined.
    """
    table = vote_table(votes)
    rows = []
    for a, b in combinations(table.columns, 2):
        x, y = table[a].to_numpy(), table[b].to_numpy()
        both = np.isfinite(x) & np.isfinite(y)
        if both.sum() < 2:
            continue
        x, y = x[both], y[both]
        rows.append((a, b, len(x), metrics.accuracy(x, y), metrics.qwk(x, y), metrics.srocc(x, y)))
    return pd.DataFrame(rows, columns=["observer_a", "observer_b", "n", "accuracy", "qwk", "srocc"])


def icc(votes: pd.DataFrame) -> pd.DataFrame:
    """Intraclass correlation for absolute agreement, images and people both random: one person's votes, and their mean.

    Args:
        votes: votes frame; only images that everybody rated count.

    Returns:
        Two rows, measure "ICC(2,1)" (one person) and "ICC(2,k)" (the mean of these k people): value, low, high (95 %),
        n (images), n_observers.

    Raises:
        InputError: fewer than two observers, or fewer than two images that all of them rated.

    Reference: P. E. Shrout & J. L. Fleiss, "Intraclass correlations: uses in assessing rater reliability",
    Psychological Bulletin 86, 1979; intervals: K. O. McGraw & S. P. Wong, "Forming inferences about some intraclass
    correlation coefficients", Psychological Methods 1, 1996, with the former's degrees of freedom.
    """
    block = vote_table(votes).dropna().to_numpy()
    n, k = block.shape
    if n < 2 or k < 2:
        raise InputError(f"votes: {k} observers and {n} images that all of them rated, expected at least two of each")
    rows_mean, columns_mean, mean = block.mean(1), block.mean(0), block.mean()
    between = k * np.square(rows_mean - mean).sum() / (n - 1)
    judges = n * np.square(columns_mean - mean).sum() / (k - 1)
    error = np.square(block - rows_mean[:, None] - columns_mean + mean).sum() / ((n - 1) * (k - 1))
    if between <= 0 and error <= 0:
        single = low = high = np.nan  # every image has the same votes: there is nothing to agree about
    else:
        single = (between - error) / (between + (k - 1) * error + k * (judges - error) / n)
        low, high = _icc_interval(single, between, judges, error, n, k)
    values = np.array([single, low, high])
    table = pd.DataFrame([values, k * values / (1 + (k - 1) * values)], columns=["value", "low", "high"])
    table.insert(0, "measure", ["ICC(2,1)", "ICC(2,k)"])
    return table.assign(n=n, n_observers=k)


def _icc_interval(single: float, between: float, judges: float, error: float, n: int, k: int) -> tuple[float, float]:
    if single >= 1 - 1e-12:
        return 1.0, 1.0
    a = k * single / (n * (1 - single))
    b = 1 + a * (n - 1)
    freedom = (a * judges + b * error) ** 2 / ((a * judges) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1)))
    rest = k * judges + (k * n - k - n) * error
    upper, lower = f_distribution.ppf(0.975, n - 1, freedom), f_distribution.ppf(0.975, freedom, n - 1)
    low = n * (between - upper * error) / (upper * rest + n * between)
    high = n * (lower * between - error) / (rest + n * lower * between)
    return float(low), float(high)


def krippendorff_alpha(
    votes: pd.DataFrame,
    level: str = "ordinal",
    contents: pd.Series | None = None,
    n_boot: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Agreement beyond chance of any number of people with missing cells.

    Args:
        votes: votes frame.
        level: nominal (votes are equal or not), ordinal or interval (squared differences).
        contents: image -> content for intervals by content; None = images are resampled one by one.

    Returns:
        One row level, value (at most 1, 0 = chance; nan where all votes are one and the same), low, high, n (votes on
        images that at least two people rated), n_images, n_observers.

    Raises:
        InputError: unknown level, or no image with two votes.

    Reference: K. Krippendorff, "Computing Krippendorff's alpha-reliability", 2011.
    """
    if level not in LEVELS:
        raise InputError(f"level {level!r}: expected one of {', '.join(LEVELS)}")
    votes = _rated_by_two(first_votes(votes))
    scale = np.unique(votes["vote"].to_numpy(float))
    image, images = pd.factorize(votes["image"], sort=True)
    column = np.searchsorted(scale, votes["vote"].to_numpy(float))
    counts = np.bincount(image * len(scale) + column, minlength=len(images) * len(scale)).astype(float)
    counts = counts.reshape(len(images), len(scale))
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(len(scale))
    pairs = (pairs / (counts.sum(1) - 1)[:, None, None]).reshape(len(images), -1)

    def alpha(weights: np.ndarray) -> np.ndarray:
        return _alpha((weights @ pairs).reshape(len(weights), len(scale), len(scale)), scale, level)

    groups = images if contents is None else content_of(images, contents)
    low, high = bootstrap_by_content(alpha, groups, n_boot, seed)
    value = float(alpha(np.ones((1, len(images))))[0])
    found = (level, value, low, high, len(votes), len(images), votes["observer"].nunique())
    return pd.DataFrame([found], columns=["level", "value", "low", "high", "n", "n_images", "n_observers"])


def _rated_by_two(votes: pd.DataFrame) -> pd.DataFrame:
    kept = votes[votes.groupby("image")["vote"].transform("size") > 1]
    if kept.empty:
        raise InputError("votes: no image with votes of two people, expected some to compare")
    return kept


def _alpha(coincidences: np.ndarray, scale: np.ndarray, level: str) -> np.ndarray:
    """Alpha (b,) of coincidence matrices (b, votes, votes)."""
    marginal = coincidences.sum(2)
    # Ordinal distances count the votes in between; a vote lies in the middle of its own.
    place = np.cumsum(marginal, axis=1) - marginal / 2 if level == "ordinal" else scale + 0 * marginal
    difference = place[:, :, None] - place[:, None, :]
    distance = (difference != 0).astype(float) if level == "nominal" else difference**2
    total = marginal.sum(1)
    observed = (coincidences * distance).sum((1, 2))
    by_chance = (marginal[:, :, None] * marginal[:, None, :] * distance).sum((1, 2)) / (total - 1)
    return np.where(by_chance > 0, 1 - observed / np.where(by_chance > 0, by_chance, 1), np.nan)


@dataclass(frozen=True)
class SosFit:
    """SOS² = a·(−MOS² + (L + H)·MOS − L·H), fitted by least squares.

    Attributes:
        a: 0 (everybody votes alike) to 1 (only the ends of the scale are used); low, high: 95 % interval.
        images: index image; mos, sos (standard deviation of opinion scores), n (votes).
        n: images; n_votes: votes on them.
    """

    a: float
    low: float
    high: float
    images: pd.DataFrame
    n: int
    n_votes: int


def sos_parameter(votes: pd.DataFrame, contents: pd.Series | None = None, n_boot: int = 1000, seed: int = 0) -> SosFit:
    """How diverse the votes on an image are, at any quality: the one parameter of the SOS hypothesis.

    Args:
        votes: votes frame; images with at least two votes count.
        contents: image -> content for intervals by content; None = images are resampled one by one.

    Returns:
        The fit, with what a drawing of SOS over MOS needs. Variances are those of samples (n − 1).

    Raises:
        InputError: no image with two votes.

    Reference: T. Hoßfeld, R. Schatz & S. Egger, "SOS: the MOS is not enough!", QoMEX 2011.
    """
    votes = _rated_by_two(first_votes(votes))
    images = votes.groupby("image")["vote"].agg(mos="mean", sos="std", n="count")
    low, high = VOTE_SCALE
    widest = ((images["mos"] - low) * (high - images["mos"])).to_numpy()
    product, square = widest * images["sos"].to_numpy() ** 2, widest**2

    def slope(weights: np.ndarray) -> np.ndarray:
        return resampled.mean(product, weights) / np.maximum(resampled.mean(square, weights), 1e-300)

    a = float(slope(np.ones((1, len(images))))[0])
    groups = images.index if contents is None else content_of(images.index, contents)
    return SosFit(a, *bootstrap_by_content(slope, groups, n_boot, seed), images, len(images), int(images["n"].sum()))
