"""How sure a number is, when images of one content are not independent: resampling and tests by content."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import t as students_t


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


def drawn_contents(n_contents: int, n: int = 1000, seed: int = 0) -> np.ndarray:
    """How often each of `n_contents` contents is in each of `n` resamples, (n, n_contents), whole numbers as float.

    The draw of `content_weights` for sets of thousands of contents, where its multinomial is the slower by far; same
    distribution, other numbers.
    """
    rng = np.random.default_rng(seed)
    drawn = np.empty((n, n_contents))
    for row in drawn:
        row[:] = np.bincount(rng.integers(0, n_contents, n_contents), minlength=n_contents)
    return drawn


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


def bootstrap_p(observed: float, resampled: np.ndarray, n_contents: int) -> float:
    """Two-sided p that a statistic is zero, from the spread of its resamples by content.

    The statistic over its bootstrap standard error is held against Student's t with `n_contents` − 1 degrees of
    freedom. Counting resamples beyond zero cannot give less than 2 / (n + 1), which Holm's factor over 45 pairs of
    methods carries past .05 whatever the data say; this has no such floor.

    Args:
        observed: statistic of the sample itself.
        resampled: of each resample (n,); nan are left out.
        n_contents: number of contents that were resampled.

    Returns:
        p in [0, 1]; 1 where the observed value is zero; nan where no error can be known (fewer than two contents, or a
        statistic that no resample changes).

    Reference: B. Efron & R. Tibshirani, "An introduction to the bootstrap", 1993, chapter 12.
    """
    defined = resampled[np.isfinite(resampled)]
    if n_contents < 2 or len(defined) < 2 or not np.isfinite(observed):
        return float("nan")
    if abs(observed) < 1e-12:
        return 1.0
    # a resample of k contents spreads by (k − 1) / k of what it should: the variance about its own mean
    error = defined.std(ddof=1) * np.sqrt(n_contents / (n_contents - 1))
    return float(2 * students_t.sf(abs(observed) / error, n_contents - 1)) if error > 0 else float("nan")


def over_splits(values: Sequence[float], test_to_train: float) -> tuple[float, float, float]:
    """95 % interval of the mean over random splits of one set, and the two-sided p that it is zero.

    Splits share images, so their scores are not independent and the plain standard error of their mean is too small.
    The correction multiplies the variance by 1 / k + test / train instead of 1 / k.

    Args:
        values: one per split (k,), such as the difference of two methods; nan are left out.
        test_to_train: size of the test part over that of the training part, such as 1/3.

    Returns:
        (low, high, p); nan with fewer than two splits.

    Reference: C. Nadeau & Y. Bengio, "Inference for the generalization error", Machine Learning 52, 2003.
    """
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    k = len(values)
    if k < 2:
        return float("nan"), float("nan"), float("nan")
    mean, error = values.mean(), np.sqrt((1 / k + test_to_train) * values.var(ddof=1))
    half = students_t.ppf(0.975, k - 1) * error
    p = 1.0 if mean == 0 else 2 * students_t.sf(abs(mean) / error, k - 1) if error > 0 else 0.0
    return float(mean - half), float(mean + half), float(p)


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
