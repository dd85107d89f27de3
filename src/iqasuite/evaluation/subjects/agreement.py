"""How much observers agree: pair by pair, intraclass correlation, Krippendorff's alpha and the SOS hypothesis.

Each observer's first vote on an image counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import f as f_distribution

from iqasuite.datasets.dataset import first_votes
from iqasuite.datasets.frames import LEAST_IMAGES, VOTE_SCALE
from iqasuite.errors import InputError
from iqasuite.evaluation import metrics, resampled
from iqasuite.evaluation.subjects.observers import content_of
from iqasuite.evaluation.uncertainty import bootstrap_by_content
from iqasuite.names import natural_order

LEVELS = ("nominal", "ordinal", "interval")


def vote_table(votes: pd.DataFrame) -> pd.DataFrame:
    """First votes as images × observers, nan where somebody did not rate an image."""
    table = first_votes(votes).pivot(index="image", columns="observer", values="vote").astype(float)
    return table[natural_order(list(table.columns))]


def pairwise_agreement(votes: pd.DataFrame) -> pd.DataFrame:
    """Every two observers on the images that both rated.

    Args:
        votes: votes frame.

    Returns:
        Long frame observer_a, observer_b, n (images of both), accuracy (share of equal votes), qwk, srocc; a row a pair
        with images in common, nan where these are fewer than `LEAST_IMAGES` or a measure is not defined.
    """
    table = vote_table(votes)
    rows = []
    for a, b in combinations(table.columns, 2):
        x, y = table[a].to_numpy(), table[b].to_numpy()
        both = np.isfinite(x) & np.isfinite(y)
        x, y = x[both], y[both]
        if 0 < len(x) < LEAST_IMAGES:
            rows.append((a, b, len(x), np.nan, np.nan, np.nan))
        elif len(x):
            rows.append((a, b, len(x), metrics.accuracy(x, y), metrics.qwk(x, y), metrics.srocc(x, y)))
    return pd.DataFrame(rows, columns=["observer_a", "observer_b", "n", "accuracy", "qwk", "srocc"])


def agreement_with_others(
    votes: pd.DataFrame, contents: pd.Series | None = None, n_boot: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Rank correlation of each observer with the mean of the others: observer, n, srocc, low, high (95 % by content).

    n counts the images that others rated, too; below `LEAST_IMAGES` the rest is nan.
    """
    votes = first_votes(votes)
    total = votes.groupby("image")["vote"].agg(["sum", "count"])
    rows = []
    for observer in natural_order(votes["observer"]):
        own = votes[votes["observer"] == observer].set_index("image")["vote"]
        rest = total.loc[own.index]
        own, rest = own[(rest["count"] > 1).to_numpy()], rest[rest["count"] > 1]
        if len(own) < LEAST_IMAGES:
            rows.append((observer, len(own), np.nan, np.nan, np.nan))
            continue
        others = ((rest["sum"] - own) / (rest["count"] - 1)).to_numpy()
        mine = own.to_numpy(float)
        groups = content_of(own.index, contents)
        low, high = bootstrap_by_content(partial(resampled.srocc, mine, others), groups, n_boot, seed)
        rows.append((observer, len(own), metrics.srocc(mine, others), low, high))
    return pd.DataFrame(rows, columns=["observer", "n", "srocc", "low", "high"])


def icc(votes: pd.DataFrame) -> pd.DataFrame:
    """Intraclass correlation for absolute agreement, images and observers both random: of one vote, and of the mean.

    Where every observer rated every image it is Shrout and Fleiss's ICC(2,1) and ICC(2,k). Missing cells are allowed:
    the variances of images, observers and error are found from the sums of squares and their expectations in the design
    as it is (Henderson's method I), which assumes that who rated what has nothing to do with the votes. The intervals
    then take the mean squares of a complete design with as many votes an image and an observer (harmonic means).

    Args:
        votes: votes frame; images that at least two observers rated count.

    Returns:
        Two rows, measure "ICC(2,1)" (one observer) and "ICC(2,k)" (the mean of as many observers as rated an image, in
        the harmonic mean): value, low, high (95 %), n (images), n_observers, n_votes. nan where the design cannot tell
        the three variances from each other, or all votes are one and the same.

    Raises:
        InputError: fewer than two images that two observers rated.

    Reference: P. E. Shrout & J. L. Fleiss, "Intraclass correlations: uses in assessing rater reliability",
    Psychological Bulletin 86, 1979; C. R. Henderson, "Estimation of variance and covariance components", Biometrics 9,
    1953; intervals: K. O. McGraw & S. P. Wong, "Forming inferences about some intraclass correlation coefficients",
    Psychological Methods 1, 1996, with the former's degrees of freedom.
    """
    rated = _rated_by_two(first_votes(votes))
    of_image, of_observer = (pd.factorize(rated[column])[0] for column in ("image", "observer"))
    n, k = rated["image"].nunique(), rated["observer"].nunique()
    if n < 2:
        raise InputError(f"votes: {n} image that two observers rated, expected at least two")
    per_image, per_observer = np.bincount(of_image), np.bincount(of_observer)
    images, observers, error = _variances(rated["vote"].to_numpy(float), of_image, of_observer, per_image, per_observer)
    single = low = high = np.nan
    raters, rows = (len(counts) / (1 / counts).sum() for counts in (per_image, per_observer))
    if images + observers + error > 1e-12:
        single = images / (images + observers + error)
        freedom = len(rated) - n - k + 1
        mean_squares = raters * images + error, rows * observers + error, error
        low, high = _icc_interval(single, mean_squares, n, k, raters, rows, freedom)
    values = np.array([single, low, high])
    table = [values, raters * values / (1 + (raters - 1) * values)]
    table = pd.DataFrame(table, columns=["value", "low", "high"])
    table.insert(0, "measure", ["ICC(2,1)", "ICC(2,k)"])
    return table.assign(n=n, n_observers=k, n_votes=len(rated))


def _variances(
    vote: np.ndarray, of_image: np.ndarray, of_observer: np.ndarray, per_image: np.ndarray, per_observer: np.ndarray
) -> np.ndarray:
    """Variance of images, observers and error (3,) in one vote a cell, cells missing; nan where they cannot be told."""
    vote = vote - vote.mean()  # the sum of squares of the mean is then 0
    by_image = (np.bincount(of_image, vote) ** 2 / per_image).sum()
    by_observer = (np.bincount(of_observer, vote) ** 2 / per_observer).sum()
    total, n, k = len(vote), len(per_image), len(per_observer)
    mean = np.array([(per_image**2).sum() / total, (per_observer**2).sum() / total, 1])
    expected = np.array([[total, total, total], [total, n, n], [k, total, k]]) - mean
    if np.linalg.matrix_rank(expected) < 3:
        return np.full(3, np.nan)
    return np.linalg.solve(expected, [vote @ vote, by_image, by_observer])


def _icc_interval(
    single: float, squares: tuple[float, float, float], n: int, k: int, raters: float, rows: float, freedom: int
) -> tuple[float, float]:
    """Of mean squares: of `n` images, each of `raters` observers, of `k` observers, each of `rows` images, of error."""
    between, observers, error = squares
    if single >= 1 - 1e-12:
        return 1.0, 1.0
    a = raters * single / (rows * (1 - single))
    b = 1 + a * (rows - 1)
    spread = (a * observers) ** 2 / (k - 1) + (b * error) ** 2 / max(freedom, 1)
    if freedom < 1 or spread <= 0:
        return np.nan, np.nan
    denominator = (a * observers + b * error) ** 2 / spread
    rest = raters * observers + (raters * rows - raters - rows) * error
    upper, lower = f_distribution.ppf(0.975, n - 1, denominator), f_distribution.ppf(0.975, denominator, n - 1)
    low = rows * (between - upper * error) / (upper * rest + rows * between)
    high = rows * (lower * between - error) / (rest + rows * lower * between)
    return float(low), float(high)


def krippendorff_alpha(
    votes: pd.DataFrame, level: str = "ordinal", contents: pd.Series | None = None, n_boot: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Agreement beyond chance of any number of observers with missing cells.

    Args:
        votes: votes frame.
        level: nominal (votes are equal or not), ordinal or interval (squared differences).
        contents: image -> content for intervals by content; None = images are resampled one by one.
        n_boot, seed: resamples, and the seed of their draw.

    Returns:
        One row level, value (at most 1, 0 = chance; nan where all votes are one and the same), low, high, n (votes on
        images that at least two observers rated), n_images, n_observers.

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

    groups = content_of(images, contents)
    low, high = bootstrap_by_content(alpha, groups, n_boot, seed)
    value = float(alpha(np.ones((1, len(images))))[0])
    found = (level, value, low, high, len(votes), len(images), votes["observer"].nunique())
    return pd.DataFrame([found], columns=["level", "value", "low", "high", "n", "n_images", "n_observers"])


def reliability(
    votes: pd.DataFrame, contents: pd.Series | None = None, n_boot: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """All coefficients of agreement as one table: `icc`, and `krippendorff_alpha` of every level.

    Args:
        votes, contents, n_boot, seed: as of `krippendorff_alpha`.

    Returns:
        Rows measure ("ICC(2,1)", "ICC(2,k)", "alpha, nominal", …), value, low, high (95 %), n_images, n_observers;
        without ICC where two observers rated a single image, without rows where they rated none.
    """
    columns = ["measure", "value", "low", "high", "n_images", "n_observers"]
    compared = first_votes(votes).groupby("image").size().gt(1).sum()
    if not compared:
        return pd.DataFrame(columns=columns)
    alphas = pd.concat([krippendorff_alpha(votes, level, contents, n_boot, seed) for level in LEVELS])
    rows = [alphas.assign(measure="alpha, " + alphas["level"])]
    if compared > 1:
        rows.insert(0, icc(votes).rename(columns={"n": "n_images"}))
    return pd.concat(rows)[columns].reset_index(drop=True)


def _rated_by_two(votes: pd.DataFrame) -> pd.DataFrame:
    kept = votes[votes.groupby("image")["vote"].transform("size") > 1]
    if kept.empty:
        raise InputError("votes: no image with votes of two observers, expected some to compare")
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
        a: 0 (all observers vote alike) to 1 (only the ends of the scale are used); low, high: 95 % interval.
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
        n_boot, seed: resamples, and the seed of their draw.

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
    groups = content_of(images.index, contents)
    return SosFit(a, *bootstrap_by_content(slope, groups, n_boot, seed), images, len(images), int(images["n"].sum()))
