"""How sure a number is, when images of one content are not independent: resampling and tests by content."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np


def content_weights(contents: Sequence, n: int = 1000, seed: int = 0) -> np.ndarray:
    """How often each image is in each of `n` cluster-bootstrap resamples.

    Whole contents are drawn with replacement, as many as there are; all images of a drawn content come along. The draw
    depends on the set of contents, `n` and `seed` only, so two frames over the same contents get the same resamples.

    Args:
        contents: content of every image, length (images,).

    Returns:
        Weights (n, images), whole numbers as float.

    Reference: B. Efron & R. Tibshirani, "An introduction to the bootstrap", 1993; the cluster is the content.
    """
    names, code = np.unique(np.asarray(contents, dtype=str), return_inverse=True)
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=n)
    return drawn[:, code].astype(float)


def interval(resampled: np.ndarray) -> tuple[float, float]:
    """95 % percentile interval of resampled values (n,); (nan, nan) where none is defined."""
    defined = resampled[np.isfinite(resampled)]
    if len(defined) == 0:
        return float("nan"), float("nan")
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)


def bootstrap_by_content(
    statistic: Callable[[np.ndarray], np.ndarray] | np.ndarray, contents: Sequence, n: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of a statistic over resampled contents.

    Args:
        statistic: values per image (images,), whose mean is meant; or a function from weights (n, images) to the
            statistic of each resample (n,), such as those of `iqasuite.evaluation.resampled`.
        contents: content of every image, length (images,). With fewer than about ten contents the interval is too
            narrow and rough; say how many there were wherever you show it.

    Returns:
        (low, high).
    """
    weights = content_weights(contents, n, seed)
    if callable(statistic):
        return interval(np.asarray(statistic(weights)))
    values = np.asarray(statistic, float)
    return interval(weights @ values / weights.sum(1))


def paired_test_by_content(difference: np.ndarray, contents: Sequence, seed: int = 0, n: int = 10_000) -> float:
    """Two-sided sign-flip permutation test that the mean difference per content is zero.

    Args:
        difference: one value per image, such as "own AIO right" minus "others right", shape (images,).
        contents: content of every image, length (images,).
        n: random sign patterns, used with more than 14 contents; up to 14 all 2^contents patterns are counted.

    Returns:
        p in (0, 1]; never below 2 / 2^contents, so five contents cannot give less than .0625.

    Reference: R. A. Fisher, "The design of experiments", 1935, section 21; P. Good, "Permutation tests", 2000.
    """
    names, code = np.unique(np.asarray(contents, dtype=str), return_inverse=True)
    means = np.bincount(code, weights=np.asarray(difference, float)) / np.bincount(code)
    observed = abs(means.mean())
    exact = len(names) <= 14
    if exact:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=len(names))))
    else:
        signs = np.random.default_rng(seed).choice((-1.0, 1.0), size=(n, len(names)))
    as_large = np.abs(signs @ means) / len(names) >= observed - 1e-12
    return float(as_large.mean() if exact else (1 + as_large.sum()) / (1 + n))


def holm(p: Sequence[float]) -> np.ndarray:
    """p-values (k,) adjusted for k tests, in the given order; nan stay nan and do not count.

    Reference: S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statistics 6, 1979.
    """
    p = np.asarray(p, float)
    adjusted = np.full(p.shape, np.nan)
    order = np.argsort(p)[: np.isfinite(p).sum()]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted
