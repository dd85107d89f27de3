"""How sure a number is, when images of one content are not independent: resampling and tests by content.

What would change if a study were done again: its contents, and what chance did in the trainings. Both are drawn anew in
every interval; of fewer than `LEAST_TRAININGS` trainings, the interval is over contents alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from scipy.stats import t as students_t

Z = 1.959963984540054  # 95 % of a normal distribution lie within
LEAST_CONTENTS = 3  # two contents drawn anew are half of the time one of them twice: no interval
LEAST_TRAININGS = 3  # two say next to nothing of how far trainings lie apart


def content_weights(contents: Sequence[Any] | np.ndarray, n: int = 1000, seed: int = 0) -> np.ndarray:
    """How often each image is in each of `n` cluster-bootstrap resamples.

    Whole contents are drawn with replacement, as many as there are; all images of a drawn content come along. The draw
    depends on the set of contents, `n` and `seed` only, so two frames over the same contents get the same resamples.

    Args:
        contents: content of every image, length (images,).
        n, seed: resamples, and the seed of their draw.

    Returns:
        Weights (n, images), whole numbers as float.

    Reference: B. Efron & R. Tibshirani, "An introduction to the bootstrap", 1993; the cluster is the content.
    """
    names, code = np.unique(np.asarray(contents, dtype=str), return_inverse=True)
    rng, shares, weights = np.random.default_rng(seed), np.full(len(names), 1 / len(names)), np.empty((n, len(code)))
    for row in weights:  # not all at once: the whole numbers would take twice the room of the weights
        row[:] = rng.multinomial(len(names), shares)[code]
    return weights


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


def interval(resampled: np.ndarray, n_contents: int) -> tuple[float, float]:
    """95 % percentile interval of resampled values (n,); (nan, nan) where it would not be one.

    Args:
        resampled: the statistic in each resample, nan where it is not defined.
        n_contents: number of contents that were resampled. Fewer than `LEAST_CONTENTS` give no interval, and neither do
            resamples of which most are undefined: what is left of them says when it is defined, not where it lies.
    """
    defined = resampled[np.isfinite(resampled)]
    if n_contents < LEAST_CONTENTS or len(defined) == 0 or 2 * len(defined) < len(resampled):
        return float("nan"), float("nan")
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)


def bootstrap_by_content(
    statistic: Callable[[np.ndarray], np.ndarray] | np.ndarray,
    contents: Sequence[Any] | np.ndarray,
    n: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """95 % percentile interval of a statistic over resampled contents.

    Args:
        statistic: values per image (images,), whose mean is meant; or a function from weights (n, images) to the
            statistic of each resample (n,), such as those of `iqasuite.evaluation.resampled`.
        contents: content of every image, length (images,). With fewer than about ten contents the interval is too
            narrow and rough; say how many there were wherever you show it.
        n, seed: resamples, and the seed of their draw.

    Returns:
        (low, high); nan as `interval`.
    """
    weights, n_contents = content_weights(contents, n, seed), len(np.unique(np.asarray(contents, dtype=str)))
    if callable(statistic):
        return interval(np.asarray(statistic(weights)), n_contents)
    values = np.asarray(statistic, float)
    return interval(weights @ values / weights.sum(1), n_contents)


def over_trainings(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """Mean over trainings in the sample and in each resample of contents, where the trainings are drawn anew as well.

    Args:
        values: a statistic of k trainings (other seeds) in the sample itself, entry 0, and in b resamples of contents,
            shape (k, 1 + b).
        seed: of the draw; the same for all methods and observers with as many trainings, whose seeds are then drawn
            together.

    Returns:
        Shape (1 + b,): entry 0 the plain mean, the others the mean over k trainings drawn with replacement. Drawing k
        of k spreads by (k - 1) / k of what it should, so deviations from the mean are enlarged by sqrt(k / (k - 1)).
        With fewer than `LEAST_TRAININGS`: the mean over them, in every resample.

    Reference: B. Efron & R. Tibshirani, "An introduction to the bootstrap", 1993, section 17.
    """
    values = np.atleast_2d(np.asarray(values, float))
    k, b = values.shape
    mean = values.mean(0)
    if k < LEAST_TRAININGS:
        return mean
    share = np.random.default_rng([seed, k]).multinomial(k, np.full(k, 1 / k), size=b).T / k
    share[:, 0] = 1 / k
    return mean + np.sqrt(k / (k - 1)) * (share * (values - mean)).sum(0)


def resampled_means(values: np.ndarray, weights: np.ndarray, seed: int = 0) -> np.ndarray:
    """Mean over images and trainings, in the sample and in each resample of both.

    Args:
        values: per image and training, shape (n, k).
        weights: how often each image is in each resample, shape (b, n), see `content_weights`.
        seed: see `over_trainings`.

    Returns:
        Shape (1 + b,), entry 0 the mean of the sample itself.
    """
    drawn = weights @ values / weights.sum(1, keepdims=True)
    return over_trainings(np.vstack([values.mean(0), drawn]).T, seed)


def over_defined(average: Callable[..., np.ndarray], values: Iterable[np.ndarray]) -> np.ndarray:
    """Average of the values (b,) that are defined, place by place; nan where none is.

    Args:
        average: `np.nanmean` or `np.nanmedian`.
        values: some of shape (b,).
    """
    stacked = np.array(list(values))
    defined = np.isfinite(stacked).any(0)
    averages = np.full(stacked.shape[1], np.nan)
    averages[defined] = average(stacked[:, defined], axis=0)
    return averages


def least_p(n_contents: int, n_tests: int = 1) -> float:
    """The smallest p after Holm's correction that `n_tests` comparisons over so many contents can reach.

    Each of n contents can speak for or against a method: of the 2^n patterns of signs, two are the most extreme. A
    comparison whose least p is not below .05 cannot be significant, whatever the data are.
    """
    return float(min(1.0, n_tests * 2.0 ** (1 - n_contents)))


def paired_test(drawn: np.ndarray, n_contents: int) -> float:
    """Two-sided p that a difference is zero, from its spread over contents and trainings drawn anew: the suite's test.

    The difference over its bootstrap standard error is held against Student's t with `n_contents` - 1 degrees of
    freedom, and p is never below `least_p`: with few contents, normality is an assumption that they cannot check.
    Counting resamples beyond zero in place of this cannot give less than 2 / (b + 1), which Holm's factor over 45 pairs
    of methods carries past .05 whatever the data say.

    Args:
        drawn: the difference in the sample itself, entry 0, and in each of b resamples, shape (1 + b,); resamples that
            are nan are left out.
        n_contents: number of contents that were resampled.

    Returns:
        p in [2^(1 - n_contents), 1]; 1 where the difference is zero; nan with fewer than two contents.

    Reference: B. Efron & R. Tibshirani, "An introduction to the bootstrap", 1993, chapter 12; the bound is that of the
    sign-flip test: R. A. Fisher, "The design of experiments", 1935, section 21.
    """
    observed, resampled = drawn[0], drawn[1:][np.isfinite(drawn[1:])]
    if n_contents < 2 or len(resampled) < 2 or not np.isfinite(observed):
        return float("nan")
    if abs(observed) < 1e-12:
        return 1.0
    # a resample of k contents spreads by (k − 1) / k of what it should: the variance about its own mean
    error = resampled.std(ddof=1) * np.sqrt(n_contents / (n_contents - 1))
    p = 2 * students_t.sf(abs(observed) / error, n_contents - 1) if error > 0 else 0.0
    return float(max(p, least_p(n_contents)))


def tested(drawn: np.ndarray, n_contents: int) -> tuple[float, float, float, float]:
    """A difference (entry 0 of its draws), its 95 % interval (low, high) and the p of `paired_test`."""
    return float(drawn[0]), *interval(drawn[1:], n_contents), paired_test(drawn, n_contents)


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
    finite = np.asarray(values, float)
    finite = finite[np.isfinite(finite)]
    k = len(finite)
    if k < 2:
        return float("nan"), float("nan"), float("nan")
    mean, error = finite.mean(), np.sqrt((1 / k + test_to_train) * finite.var(ddof=1))
    half = students_t.ppf(0.975, k - 1) * error
    p = 1.0 if mean == 0 else 2 * students_t.sf(abs(mean) / error, k - 1) if error > 0 else 0.0
    return float(mean - half), float(mean + half), float(p)


def holm(p: Sequence[float]) -> np.ndarray:
    """p-values (k,) adjusted for k tests, in the given order; nan stay nan and do not count.

    Reference: S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statistics 6, 1979.
    """
    values = np.asarray(p, float)
    adjusted = np.full(values.shape, np.nan)
    order = np.argsort(values)[: np.isfinite(values).sum()]
    steps = values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted
