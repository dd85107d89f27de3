"""The scale of a table of ratings: stated, or told from its values; and values that are no votes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from iqasuite.datasets.card import Scale
from iqasuite.datasets.frames import VOTE_SCALE
from iqasuite.errors import InputError

_log = logging.getLogger(__name__)

# In the order in which they are tried: the first that holds all values is taken.
_WHOLE_SCALES = ((1, 5), (1, 7), (1, 9), (1, 10), (0, 4), (0, 5), (0, 10), (-3, 3), (0, 100))
_OTHER_SCALES = ((0, 1), (1, 5), (1, 7), (1, 9), (1, 10), (0, 5), (0, 10), (-3, 3), (0, 100))
_CODES = (-999, -99, -9, -1, 9, 77, 88, 98, 99, 999, 9999)  # for "not rated"; a slip of the hand is told by its rarity
_DISCRETE = 20  # different values, at most


def five_classes(values: np.ndarray, low: float, high: float, n_levels: int | None = None) -> np.ndarray:
    """Values of any scale as classes 1–5 of equal width.

    Level i of k, counted from 0, becomes 1 + ⌊5(i + ½)/k⌋, so that 1–5 stays as it is; a value v of a continuous scale
    1 + ⌊5(v − low)/(high − low)⌋, the highest included in 5.

    Args:
        values: within low…high, higher = better, shape (n,).
        low, high: ends of the scale.
        n_levels: k, where the scale has levels one apart; None = it is continuous.

    Returns:
        int64, shape (n,).
    """
    values = np.asarray(values, dtype=np.float64)
    share = (values - low) / (high - low) if n_levels is None else (values - low + 0.5) / n_levels
    return (1 + np.floor(5 * share)).clip(*VOTE_SCALE).astype(np.int64)


def scale_of(ratings: pd.DataFrame, stated: Mapping[str, Any], path: Path, name: str) -> Scale:
    """The scale that is stated, else the first usual one that holds all values, which is logged.

    Args:
        ratings: columns line, column (the file's name) and value; observer, where they are votes and not scores.
        stated: low and high, higher_is_better, name of the scale, as far as they are stated.
        path: of the table, for messages.
        name: of the one column of values, "" where there are several: differences to a reference (dmos) count how much
            worse an image is.

    Raises:
        InputError: a value outside a stated scale or of no usual one, one that rather says that there is no vote, or
            observers who seem to have voted on different scales.
    """
    values, votes, counts_up = ratings["value"], "observer" in ratings, not name.lower().startswith("dmos")
    if "low" in stated:
        low, high = stated["low"], stated["high"]
    else:
        if votes or counts_up:
            _check_codes(ratings, path, of_scores=not votes)
        low, high = _usual_scale(values, path)
    better = stated.get("higher_is_better", counts_up)
    if "low" not in stated or "higher_is_better" not in stated:
        _log.info(
            "%s: rating scale taken to be %g to %g, %s = better, from values %g to %g; confirm it in %s",
            *(path, low, high, "higher" if better else "lower", values.min(), values.max()),
            _stated_as(low, high, better),
        )
    if not better:
        _log.info("%s: lower is better, so mos = %g − value", path, low + high)
    acr = (low, high) == VOTE_SCALE and bool((values == np.round(values)).all())
    scale = Scale(float(low), float(high), better, stated.get("name") or ("ACR" if acr else f"{low:g} to {high:g}"))
    if votes and "low" not in stated:
        _check_one_scale(ratings, scale, path)
    outside = ratings[~values.between(low, high)]
    if len(outside):
        row = outside.iloc[0]
        raise InputError(
            f"{path}, line {row['line']}, column {row['column']}: found {row['value']:g}, expected {low:g} to {high:g}"
        )
    return scale


def acr_votes(values: np.ndarray, scale: Scale, path: Path) -> np.ndarray:
    """Values of a scale as votes 1–5, higher = better; the log says where they were brought to it.

    Args:
        values: within the scale, shape (n,).
        scale: their own.
        path: of the table, for the log.
    """
    levels = np.append(values, [scale.low, scale.high])
    discrete = bool((levels == np.round(levels)).all()) and len(np.unique(values)) <= _DISCRETE
    n_levels = round(scale.high - scale.low) + 1 if discrete else None
    classes = five_classes(scale.upward(values), scale.low, scale.high, n_levels)
    if not np.array_equal(classes, values):
        _log.info(
            "%s: votes of %g to %g (%s) are brought to 1–5 by fifths; mos is on the own scale",
            *(path, scale.low, scale.high, f"{n_levels} levels" if discrete else "continuous"),
        )
    return classes


def _usual_scale(values: pd.Series, path: Path) -> tuple[float, float]:
    least, most = values.min(), values.max()
    for low, high in _WHOLE_SCALES if (values == np.round(values)).all() else _OTHER_SCALES:
        if low <= least and most <= high:
            return low, high
    raise InputError(
        f"{path}: values {least:g} to {most:g} are of no usual scale; expected it stated in "
        f"{_stated_as(np.floor(least), np.ceil(most), True)}"
    )


def _stated_as(low: float, high: float, higher_is_better: bool) -> str:
    better = str(higher_is_better).lower()
    return f"dataset.yaml (scale: {{low: {low:g}, high: {high:g}, higher_is_better: {better}}})"


def _check_codes(ratings: pd.DataFrame, path: Path, of_scores: bool) -> None:
    """Raises InputError where a value rather says that there is no vote; an end of a scale that is stated does not."""
    values = ratings["value"].to_numpy()
    code = _code(values, of_scores)
    if code is not None:
        first = ratings[values == code].iloc[0]
        others = values[values != code]
        scale = _stated_as(min(code, 1), max(code, np.ceil(others.max()), 5), True)
        raise InputError(
            f"{path}, line {first['line']}, column {first['column']}: found {code:g} ({(values == code).sum()} in all) "
            f"among values {others.min():g} to {others.max():g}; expected nothing where an image was not rated, or, if "
            f"it is a vote, the scale stated in {scale}"
        )


def _code(values: np.ndarray, of_scores: bool) -> float | None:
    """The value that stands apart from the votes (or scores) of a scale of up to ten levels; None = there is none."""
    levels, counts = np.unique(values, return_counts=True)
    share = dict(zip(levels, counts / len(values), strict=True))
    below, above = levels[levels < 0], levels[levels > 10]
    if len(below) == 1 and below[0] in _CODES:
        return below[0]
    if 0 < len(above) <= 2 and (values <= 10).mean() > 0.5 and not (of_scores and set(above) - set(_CODES)):
        return above[0]
    if len(above) or len(below):
        return None
    high = levels[levels > 5]
    if len(high) == 1 and np.isin(levels, range(1, 6)).sum() >= 3 and not (of_scores and high[0] not in _CODES):
        gap = high[0] - levels[-2]
        if gap >= 3 or (len(values) >= 20 and share[high[0]] <= 0.05):
            return high[0]
    return 0.0 if levels[0] == 0 and len(levels) > 1 and levels[1] >= 1 else None


def _check_one_scale(ratings: pd.DataFrame, scale: Scale, path: Path) -> None:
    """An observer who used a tenth of a wide scale that others used whole probably saw another one."""
    used = ratings.groupby("observer")["value"].agg(["max", "count"])
    small = used[(used["count"] >= 5) & (used["max"] <= scale.high / 10)]
    if scale.high >= 50 and 0 < len(small) < len(used):
        raise InputError(
            f"{path}: votes of {small.index[0]} go up to {small['max'].iloc[0]:g}, those of others up to "
            f"{used['max'].max():g}; expected one scale for all, or it stated in "
            f"{_stated_as(scale.low, scale.high, scale.higher_is_better)}"
        )
