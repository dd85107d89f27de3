"""Scores as tables to read: numbers with their intervals, methods beside each other, Markdown."""

from __future__ import annotations

import numpy as np
import pandas as pd

from iqasuite.datasets.frames import LEAST_IMAGES
from iqasuite.errors import InputError
from iqasuite.evaluation.uncertainty import LEAST_TRAININGS
from iqasuite.inference.predictions import UNTRAINED
from iqasuite.names import natural_order

COLUMNS = ("accuracy", "qwk", "mae", "srocc")


def rounded(value: float, digits: int = 3) -> str:
    """A number with a true minus, "–" where it is not defined."""
    return f"{value:z.{digits}f}".replace("-", "−") if np.isfinite(value) else "–"


def with_interval(value: float, low: float = np.nan, high: float = np.nan, digits: int = 2) -> str:
    """A number and its 95 % interval: "0.63 [0.60, 0.66]"; "0.63" without an interval, "–" where not defined."""
    known = np.isfinite([value, low, high]).all()
    return rounded(value, digits) + (f" [{rounded(low, digits)}, {rounded(high, digits)}]" if known else "")


def own_first(model: str) -> int:
    """Place of a method among the others: own methods (0), baselines (1), ceilings (2)."""
    return {"baseline": 1, "ceiling": 2}.get(model.partition(":")[0], 0)


def require_once(rows: pd.DataFrame, columns: list[str]) -> None:
    """Refuse rows of several data sets, protocols or parts where a method has one row.

    Raises:
        InputError: a model with several rows of the same values in `columns`.
    """
    twice = rows.duplicated(columns)
    if twice.any():
        name = rows.loc[twice, "model"].iloc[0]
        raise InputError(f"scores: {name!r} several times, expected one data set, protocol and part")


def comparison_in_words(row: pd.Series) -> str:
    """A row of `evaluation.benchmark.paired_significance` as a sentence: gain with its interval, p after Holm."""
    gain = with_interval(row["difference"], row["low"], row["high"], 3)
    return f"**{row['model']}** over {row['other']}: {gain}, p = {row['p_holm']:.2g} (least {row['p_least']:.2g})"


def method_table(
    scores: pd.DataFrame, metrics: tuple[str, ...] = COLUMNS, observer: str = "mean", intervals: bool = True
) -> pd.DataFrame:
    """Methods (rows) × metrics (columns) as text, in the order own methods, baselines, ceiling, each best first.

    Behind the metrics stands what the numbers are of: n (images, or votes of all observers), splits (folds or random
    splits that were tested) and trainings (seeds of each split). With one or two an interval is over contents only.

    Args:
        scores: scores frame of one dataset and part.
        metrics: columns; the first sorts (highest first).
        observer: "mean" over observers, an observer, or "" for models of MOS.
        intervals: with 95 % intervals.

    Raises:
        InputError: no such rows, or a method with several rows (several parts, protocols or data sets).
    """
    rows = scores[(scores["observer"] == observer) & scores["metric"].isin(metrics)]
    if rows.empty:
        raise InputError(f"scores: no rows of observer {observer!r} with metrics {metrics}")
    require_once(rows, ["model", "metric"])
    text = _texts(rows, 3, intervals).pivot(index="model", columns="metric", values="text")
    first = rows[rows["metric"] == metrics[0]].set_index("model")["value"]
    order = sorted(text.index, key=lambda model: (own_first(model), -first.get(model, -np.inf)))
    table = text.reindex(index=order, columns=[m for m in metrics if m in text]).fillna("–")
    counts = rows.drop_duplicates("model").set_index("model").loc[order]
    table["n"] = [f"{n:,}" for n in counts["n"]]
    if counts["folds"].ne("").any():
        table["splits"] = [str(folds.count(",") + 1) if folds else "–" for folds in counts["folds"]]
    trained = counts["protocol"] != UNTRAINED if "protocol" in counts else pd.Series(True, index=order)
    table["trainings"] = [_trainings(model, counts["seeds"][model]) if trained[model] else "–" for model in order]
    return table.rename_axis(columns=None).reset_index()


def _trainings(model: str, seeds: str) -> str:
    """How often each split's network was trained: "3", or "1: contents only" where its interval is over no more."""
    if model.startswith(("baseline:", "ceiling:")):
        return "–"
    number = seeds.count(",") + 1
    return str(number) if number >= LEAST_TRAININGS else f"{number}: contents only"


def observer_table(scores: pd.DataFrame, metric: str = "accuracy") -> pd.DataFrame:
    """Observers (rows, the mean last) × methods (columns) as text; who has too few images to count is marked with n.

    Args:
        scores: scores frame of one dataset and part.
        metric: which one.

    Raises:
        InputError: a method with several rows for an observer.
    """
    rows = scores[(scores["metric"] == metric) & (scores["observer"] != "")]
    require_once(rows, ["model", "observer"])
    text = _texts(rows, 2).pivot(index="observer", columns="model", values="text").fillna("–")
    observers = natural_order(rows.loc[rows["observer"] != "mean", "observer"])
    order = [*observers, *(["mean"] if "mean" in text.index else [])]
    few = rows[(rows["n"] < LEAST_IMAGES) & (rows["observer"] != "mean")].groupby("observer")["n"].max()
    marked = {name: f"{name} (n = {n}, not in the mean)" for name, n in few.items()}
    table = text.loc[order, sorted(text.columns, key=own_first)]
    return table.rename(index=marked).rename_axis(columns=None).reset_index()


def _texts(rows: pd.DataFrame, digits: int, intervals: bool = True) -> pd.DataFrame:
    shown = rows[["value", "low", "high"] if intervals else ["value"]].reindex(columns=["value", "low", "high"])
    return rows.assign(text=[with_interval(value, low, high, digits) for value, low, high in shown.to_numpy(float)])


def to_markdown(frame: pd.DataFrame, digits: int = 3) -> str:
    """The frame as a Markdown table without its index: numbers right-aligned with `digits`, nan as "–", "|" escaped."""
    numeric = [pd.api.types.is_numeric_dtype(frame[c]) for c in frame]

    def cell(value: object) -> str:
        if isinstance(value, (float, np.floating)):
            return rounded(float(value), digits)
        return str(value).replace("|", "\\|").replace("\n", " ")

    lines = [
        "| " + " | ".join(cell(str(c)) for c in frame) + " |",
        "| " + " | ".join("---:" if n else "---" for n in numeric) + " |",
        *("| " + " | ".join(map(cell, row)) + " |" for row in frame.itertuples(index=False)),
    ]
    return "\n".join(lines) + "\n"
