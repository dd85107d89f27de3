"""How much of the mean opinion scores is explained by what the files give away, without a look at the pixels."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from iqasuite.evaluation.resampled import srocc
from iqasuite.evaluation.subjects.observers import content_of
from iqasuite.evaluation.uncertainty import bootstrap_by_content

OF_NUMBERS, OF_CATEGORIES = "rank correlation, squared", "means of {} categories, leave one out"


def explained(
    nuisances: pd.DataFrame, mos: pd.Series, contents: pd.Series, n_boot: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Share of the variance of MOS that each nuisance explains by itself.

    Of numbers it is the squared rank correlation, adjusted for chance: 1 − (1 − ρ²)(n − 1)/(n − 2). Of categories it is
    that of the category's mean over the *other* images, 1 − Σ(mos − predicted)² / Σ(mos − mean of all others)², so that
    categories of one image each explain nothing. Both are 0 where they would be below.

    Args:
        nuisances: of `Dataset`.
        mos: index image.
        contents: image -> content.
        n_boot, seed: of the intervals, by content.

    Returns:
        Rows nuisance, measure, n (images with a value), value, low, high (95 %); nan with fewer than three images, or
        where all have one MOS.
    """
    rows = []
    for name in nuisances:
        known = pd.DataFrame({"x": nuisances[name].reindex(mos.index), "mos": mos}).dropna()
        y, numeric = known["mos"].to_numpy(float), is_numeric_dtype(nuisances[name])
        x = known["x"].to_numpy(float) if numeric else pd.factorize(known["x"])[0]
        share, found = _of_numbers if numeric else _of_categories, (np.nan, np.nan, np.nan)
        if len(known) >= 3:
            groups = content_of(known.index, contents)
            ends = bootstrap_by_content(partial(share, x, y), groups, n_boot, seed)
            found = (float(share(x, y, np.ones((1, len(y))))[0]), *ends)
        measure = OF_NUMBERS if numeric else OF_CATEGORIES.format(len(np.unique(x)))
        rows.append((name, measure, len(known), *found))
    return pd.DataFrame(rows, columns=["nuisance", "measure", "n", "value", "low", "high"])


def _of_numbers(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Share in each resample (b,) of weights (b, n), from values x (n,) and MOS y (n,)."""
    n = len(y)
    return np.maximum(1 - (1 - srocc(x, y, weights) ** 2) * (n - 1) / (n - 2), 0)


def _of_categories(code: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """As `_of_numbers`, from numbers of the categories (n,); all copies of an image are left out of its own mean."""
    order, total = np.argsort(code, kind="stable"), weights * y
    starts = np.searchsorted(code[order], np.arange(code.max() + 1))
    counts, sums = (np.add.reduceat(values[:, order], starts, axis=1)[:, code] for values in (weights, total))
    others, sums = counts - weights, sums - total
    of_all = (total.sum(1, keepdims=True) - total) / np.maximum(weights.sum(1, keepdims=True) - weights, 1)
    predicted = np.where(others > 0, sums / np.maximum(others, 1), of_all)
    left, whole = ((weights * (y - guess) ** 2).sum(1) for guess in (predicted, of_all))
    return np.where(whole > 0, np.maximum(1 - left / np.where(whole > 0, whole, 1), 0), np.nan)
