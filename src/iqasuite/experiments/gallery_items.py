"""Figures and tables as a suite's pages show them: captions, previews, and the ranking of methods."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from iqasuite.csv_texts import read_csv, without_guard
from iqasuite.datasets.frames import read_frame
from iqasuite.errors import InputError
from iqasuite.evaluation.uncertainty import least_p
from iqasuite.report.executed import width_class
from iqasuite.report.outputs import captions
from iqasuite.report.provenance import read_runs
from iqasuite.report.tables import UNTRAINED, method_table

PREVIEW_ROWS = 30
METRICS = ("accuracy", "qwk", "mae", "mse_expected", "srocc", "plcc", "krcc", "rmse")  # columns, in this order
MOS_METRICS = ("srocc", "plcc", "plcc_logistic", "krcc", "rmse")
BOUNDED = {"accuracy": 0.0, "srocc": -1.0, "plcc": -1.0, "plcc_logistic": -1.0, "krcc": -1.0, "qwk": -1.0}  # to 1
SIGNIFICANT = 0.05


@dataclass
class Item:
    """A figure or table as the pages show it; `file` is relative to the suite's results."""

    name: str
    caption: str
    file: str
    columns: list[str] = field(default_factory=list)  # of a table
    rows: list[list[str]] = field(default_factory=list)
    numeric: list[bool] = field(default_factory=list)
    left_out: int = 0  # rows that the preview does not show
    width: str = ""  # class of a figure

    def head(self, rows: int) -> Item:
        """The same table with fewer rows."""
        more = max(0, len(self.rows) - rows)
        return replace(self, rows=self.rows[:rows], left_out=self.left_out + more)


def figures_of(folder: Path, root: Path) -> list[Item]:
    """A run's figures in the order in which they were saved, those that are there."""
    return [_figure(folder / f"{name}.webp", text, root) for name, text in _present(folder, "webp").items()]


def tables_of(folder: Path, root: Path) -> list[Item]:
    """A run's tables in the order in which they were saved."""
    return [_table(folder / f"{name}.csv", text, root) for name, text in _present(folder, "csv").items()]


def highlight(entry: str, root: Path) -> Item | None:
    """The figure or table that an entry `run/name` of a suite's highlights names; None where it is not there."""
    run, _, name = entry.partition("/")
    for kind, ending, item in (("figures", "webp", _figure), ("tables", "csv", _table)):
        path = root / kind / run / f"{name}.{ending}"
        if path.is_file():
            return item(path, captions(path.parent).get(name, name), root)
    return None


def _present(folder: Path, ending: str) -> dict[str, str]:
    return {name: text for name, text in captions(folder).items() if (folder / f"{name}.{ending}").is_file()}


def _figure(path: Path, caption: str, root: Path) -> Item:
    return Item(path.stem, caption, path.relative_to(root).as_posix(), width=width_class(path))


def _table(path: Path, caption: str, root: Path) -> Item:
    frame = read_csv(path, "a run's table", keep_default_na=False, na_values=[""])  # an observer may be called NA
    if {"model", "n"} <= set(frame) and frame["n"].nunique() > 1 and not frame["model"].duplicated().any():
        frame = pd.concat(sorted((rows for _, rows in frame.groupby("n")), key=len, reverse=True))
        caption = f"{caption} Rows of another n were tested on other images and are not ranked with those above them."
    names = [without_guard(str(column)) for column in frame.columns]
    rows = [list(row) for row in zip(*(_texts(frame, column) for column in frame.columns), strict=True)]
    numeric = [pd.api.types.is_numeric_dtype(kind) for kind in frame.dtypes]
    file = path.relative_to(root).as_posix()
    return Item(path.stem, caption, file, names, rows, numeric).head(PREVIEW_ROWS)


def _texts(frame: pd.DataFrame, name: str) -> list[str]:
    """A column's values as text, all with the same decimals; a p that cannot be small says so."""
    column = frame[name]
    if not pd.api.types.is_float_dtype(column):
        return ["" if pd.isna(value) else without_guard(str(value)) for value in column]
    if name in ("p", "p_holm", "p_least"):
        least = _least_p(frame, name) if name != "p_least" else np.zeros(len(frame))
        return [_p_text(value, low) for value, low in zip(column, least, strict=True)]
    finite = column.dropna()
    decimals = 0 if (finite == finite.round()).all() or finite.abs().max() >= 1000 else 3
    return ["–" if pd.isna(value) else f"{value:,.{decimals}f}".replace("-", "−") for value in column]


def _least_p(frame: pd.DataFrame, name: str) -> np.ndarray:
    """The smallest p that a row's comparison can have: as stated, else of signs of so few contents."""
    if "p_least" in frame:
        return frame["p_least"].to_numpy(float)
    contents = next((frame[name] for name in ("n_contents", "n_sources") if name in frame), None)
    if contents is None:
        return np.zeros(len(frame))
    return np.array([least_p(int(n), len(frame) if name == "p_holm" else 1) for n in contents])


def _p_text(value: float, least: float) -> str:
    if pd.isna(value):
        return "–"
    text = "< 0.001" if value < 0.001 else f"{value:.3f}"
    return f"{text} (cannot be below {least:.2g})" if least > SIGNIFICANT else text


def scores(root: Path) -> list[Item]:
    """Means over observers, then models of MOS: methods × metrics with 95 % intervals.

    A table for each data set, protocol, split and number of images: only what was tested on the same splits and images
    is ranked together.

    Raises:
        InputError: a score outside its metric's range, or an interval whose ends are in the wrong order.
    """
    if not (root / "scores.csv").is_file():
        return []
    table = read_frame(root / "scores.csv", "scores")
    _require_ranges(table, root / "scores.csv")
    table = table[table["part"] == "test"].assign(split=lambda rows: _splits(rows, root))
    items = []
    for observer, metrics, what in (("mean", METRICS, "mean over the observers"), ("", MOS_METRICS, "models of MOS")):
        wanted = table[(table["observer"] == observer) & table["metric"].isin(metrics)]
        shown_with = wanted["protocol"].replace(UNTRAINED, "corrected")  # metrics stand beside what was trained
        keys = ["dataset", shown_with, "folds", "split", "n"]
        for (dataset, protocol, folds, *_), rows in wanted.groupby(keys, sort=False):
            items.append(_ranking(rows, metrics, observer, f"{dataset}: {what}, {protocol}", folds))
    return items


def _ranking(rows: pd.DataFrame, metrics: tuple[str, ...], observer: str, what: str, folds: str) -> Item:
    table = method_table(rows.drop(columns="split"), metrics, observer)
    splits = folds.count(",") + 1
    middle = f", median over {splits} splits" if folds and observer == "" else ""
    protocol = "" if what.endswith(UNTRAINED) else " protocol"
    caption = (
        f"{what}{protocol}, test part{middle}, with 95 % intervals over contents, and over trainings where there are "
        "several; all on the same splits and images."
    )
    columns = [str(column).replace("_", " ") for column in table.columns]
    return Item(
        "scores", caption, "scores.csv", columns, table.to_numpy().tolist(), [False] + [True] * (len(columns) - 1)
    )


def _splits(rows: pd.DataFrame, root: Path) -> list[str]:
    """Hash of the split that each row was tested on: that of the first run, by name, that has scored this method."""
    keys = ["dataset", "model", "protocol", "observer", "metric"]
    hashes = {name: described.get("split_hash") or "" for name, described in read_runs(root.name).items()}
    of_method: dict[tuple, str] = {}
    for file in sorted((root / "tables").glob("*/scores.csv")):
        own = read_frame(file, "scores")
        for key in own.loc[own["part"] == "test", keys].itertuples(index=False, name=None):
            of_method.setdefault(key, hashes.get(file.parent.name, ""))
    return [of_method.get(key, "") for key in rows[keys].itertuples(index=False, name=None)]


def _require_ranges(table: pd.DataFrame, path: Path) -> None:
    floor = table["metric"].map(BOUNDED)
    wrong = (table["value"] < floor - 1e-9) | ((table["value"] > 1 + 1e-9) & floor.notna())
    wrong |= (table["low"] > table["high"]) | (table["metric"].isin(("mae", "rmse")) & (table["value"] < 0))
    if wrong.any():
        row = table[wrong].iloc[0]
        found = f"{row['value']:g} [{row['low']:g}, {row['high']:g}]"
        least = BOUNDED.get(row["metric"], 0)
        raise InputError(
            f"{path.name}: {row['metric']} of {row['model']!r}: found {found}; expected {least:g}"
            " to 1 (errors: 0 or more), the interval's lower end first"
        )
