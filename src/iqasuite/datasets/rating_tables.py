"""The ratings of a table: votes in rows, a column of votes per observer, or scores."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from iqasuite.datasets.card import Scale
from iqasuite.datasets.dataset import first_votes
from iqasuite.datasets.frames import VOTES, empty, validate
from iqasuite.datasets.rating_columns import ABOUT_IMAGE, RatingTable, is_blank, is_summary, number_cells, plain
from iqasuite.datasets.rating_scales import acr_votes, scale_of
from iqasuite.datasets.spreadsheets import read_times
from iqasuite.errors import InputError

_log = logging.getLogger(__name__)


def rated(table: RatingTable, stated: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame, Scale]:
    """The ratings of a table.

    Args:
        table: from `read_table`.
        stated: low and high, higher_is_better, name of the scale, as far as they are stated.

    Returns:
        mos (higher = better, on the own scale), mos_std and n_votes, index = the table's name of the image; votes frame
        with these names, votes brought to 1–5, without rows for a table of scores; the scale.

    Raises:
        InputError: a cell that is none of its column, outside the scale, or given twice.
    """
    if "mos" in table.cells:
        return _scores(table, stated)
    ratings = _ratings(table)
    scale = scale_of(ratings, stated, table.path, table.names.get("vote", ""))
    ratings["position"] = _positions(ratings)
    votes = ratings.assign(vote=acr_votes(ratings["value"].to_numpy(), scale, table.path))
    return _means(ratings, scale), validate(votes[list(VOTES)], "votes", str(table.path)), scale


def _ratings(table: RatingTable) -> pd.DataFrame:
    """One row a rating: line, column (as the file names it), observer, session, image, value, duration, timestamp."""
    names, path, wide = table.names, table.path, "vote" not in table.cells
    cells = _stacked(table) if wide else table.cells.assign(column=names["vote"])
    if "observer" not in cells:
        cells["observer"] = path.stem
    for column in {"observer", "session"} & set(names):
        table.check_filled(column)
    sessions = 1
    if "session" in names:
        sessions = number_cells(cells["session"], names["session"], path, "a whole number").astype("int64")
    ratings = pd.DataFrame(
        {
            "line": cells.index,
            "column": cells["column"],
            "observer": cells["observer"],
            "session": sessions,
            "image": cells["image"],
            "value": number_cells(cells["vote"], cells["column"], path),
            "duration": table.numbers("duration") if "duration" in names else np.nan,
            "timestamp": read_times(cells["timestamp"], names["timestamp"], path) if "timestamp" in names else pd.NaT,
        }
    ).reset_index(drop=True)
    if wide:
        _check_computed(ratings, path)
    elif "observer" in names:
        summaries = ratings[ratings["observer"].map(is_summary)]
        if len(summaries):
            line, name = summaries[["line", "observer"]].iloc[0]
            raise InputError(f"{table.where(line, 'observer')}: found {name!r}, expected an observer")
    return _first_of_each(ratings, path)


def _stacked(table: RatingTable) -> pd.DataFrame:
    """A wide table as one row a vote: image, observer, column (the same), vote; index = line."""
    table.check_once("one row")
    observers = [column for column in table.cells.columns if column not in ABOUT_IMAGE]
    cells = table.cells[observers].to_numpy(dtype=object)
    row, column = np.nonzero(~table.cells[observers].apply(is_blank).to_numpy())
    if not len(row):
        raise InputError(f"{table.path}: no votes in the columns {', '.join(observers)}; expected numbers")
    silent = [name for i, name in enumerate(observers) if i not in set(column)]
    if silent:
        _log.warning("%s: no votes of %s", table.path, ", ".join(silent))
    names = np.array(observers, dtype=object)[column]
    images = table.cells["image"].to_numpy()[row]
    columns = {"image": images, "observer": names, "column": names, "vote": cells[row, column]}
    return pd.DataFrame(columns, index=table.cells.index[row], dtype=object)


def _first_of_each(ratings: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Each observer's first vote on each image in a session: by its time where all have one, else by its row."""
    key = ["observer", "image", "session"]
    times = pd.to_datetime(ratings["timestamp"])
    ordered = ratings if times.isna().any() else ratings.iloc[np.argsort(times.to_numpy(), kind="stable")]
    again = ordered[ordered.duplicated(key)].sort_index()
    if len(again):
        row = again.iloc[0]
        _log.warning(
            "%s: %d votes on images that the observer had rated before in the session (line %d: %s, %r); the first of "
            "each is kept",
            *(path, len(again), row["line"], row["observer"], row["image"]),
        )
    return ratings.drop(index=again.index).reset_index(drop=True)


def _check_computed(ratings: pd.DataFrame, path: Path) -> None:
    """Columns of a wide table that were computed from the others, whatever they are called, are no observer's votes."""
    table = ratings.pivot(index="line", columns="column", values="value")
    halves = (table * 2 == np.round(table * 2)) | table.isna()
    broken = ~halves.all()
    if 1 <= broken.sum() <= 2 <= (~broken).sum() and (table.loc[:, ~broken] % 1).fillna(0).eq(0).all(axis=None):
        column = broken.index[broken][0]
        line = halves.index[~halves[column]][0]
        raise InputError(
            f"{path}, line {line}, column {column}: found {table.at[line, column]:g}, where the columns of others have "
            "whole numbers; expected votes, or the column taken out"
        )
    for column in table.columns:
        others = table.drop(columns=column)
        rows = others[(others.notna().sum(axis=1) >= 2) & table[column].notna()]
        if (rows.nunique(axis=1) > 1).sum() < 3:
            continue
        computed = {"mean": rows.mean(axis=1), "sum": rows.sum(axis=1)}
        if plain(column) in ("max", "maximum", "min", "minimum"):
            computed |= {"maximum": rows.max(axis=1), "minimum": rows.min(axis=1)}
        for what, values in computed.items():
            if (table.loc[rows.index, column] - values).abs().max() < 0.0051:
                raise InputError(
                    f"{path}, column {column}: the {what} of the other columns in every row; expected one observer's "
                    "votes, or the column taken out"
                )


def _scores(table: RatingTable, stated: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame, Scale]:
    """Scores by image (mos, mos_std, n_votes), no votes, and the scale."""
    table.check_once("one score per image")
    name, index = table.names["mos"], table.cells.index
    values = number_cells(table.cells["mos"], name, table.path)
    scale = scale_of(pd.DataFrame({"line": index, "column": name, "value": values}), stated, table.path, name)
    scores = {
        "mos": scale.upward(values.to_numpy()),
        "mos_std": table.numbers("mos_std").to_numpy(),
        "n_votes": table.numbers("n_votes", "a whole number").fillna(0).to_numpy(np.int64),
    }
    return pd.DataFrame(scores, index=pd.Index(table.cells["image"], name="name")), empty("votes"), scale


def _positions(ratings: pd.DataFrame) -> np.ndarray:
    """Order of the votes in each session; 0 in sessions of which a time is missing or occurs twice."""
    if ratings["timestamp"].isna().all():
        return np.zeros(len(ratings), dtype=np.int64)
    sessions = ratings.assign(timestamp=pd.to_datetime(ratings["timestamp"])).groupby(["observer", "session"])
    complete = sessions["timestamp"].transform("nunique") == sessions["image"].transform("size")
    return sessions["timestamp"].rank().where(complete, 0).to_numpy().astype(np.int64)


def _means(ratings: pd.DataFrame, scale: Scale) -> pd.DataFrame:
    """Mean of each observer's first value of each image, by image: mos, mos_std (n − 1), n_votes."""
    first = first_votes(ratings)
    grouped = first.assign(value=scale.upward(first["value"].to_numpy())).groupby("image")["value"]
    means = grouped.agg(mos="mean", mos_std="std", n_votes="count").astype({"n_votes": "int64"})
    return means.rename_axis("name")
