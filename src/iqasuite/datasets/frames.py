"""The data frames that cross between rooms: their columns, and the check at the edge where one enters."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from iqasuite.csv_texts import read_csv, without_guard
from iqasuite.errors import InputError

IMAGES = ("image", "content", "reference", "distortion", "level", "mos", "mos_std", "n_votes")
VOTES = ("observer", "session", "position", "image", "vote", "duration", "timestamp")
SPLIT = ("image", "content", "fold", "part")
PREDICTIONS = (
    *("dataset", "model", "protocol", "seed", "fold", "part", "observer", "image", "target", "prediction"),
    *("p1", "p2", "p3", "p4", "p5"),
)
SCORES = (
    *("dataset", "model", "protocol", "observer", "part", "n", "metric", "value", "low", "high", "seeds", "folds"),
)
VOTE_SCALE = (1, 5)
# Rated images below which an observer does not count in a mean over observers: three votes are not to weigh as
# much as three hundred. Their own scores stand beside their n; what compares observers with each other is nan for them.
LEAST_IMAGES = 5
PARTS = ("train", "val", "test")

_COLUMNS = {"images": IMAGES, "votes": VOTES, "split": SPLIT, "predictions": PREDICTIONS, "scores": SCORES}
_TEXT = {
    *("image", "content", "reference", "distortion", "observer", "part", "dataset", "model", "protocol", "metric"),
    *("seeds", "folds"),
}
_OPTIONAL = {"folds": ""}  # scores that were written before they had it
_WHOLE = {"session", "position", "vote", "n_votes", "fold", "n", "seed"}
_TIME = {"timestamp"}
_LARGEST = 2**53  # up to which every whole number is one in float64
_YEARS = (pd.Timestamp(1700, 1, 1), pd.Timestamp(2262, 1, 1))  # that nanoseconds in 64 bits reach
_NO_NUMBER = ["", "nan", "NaN"]  # in columns of numbers; in those of text "nan" is a name like any other
_NEVER_EMPTY = {"image", "content", "part", "dataset", "model", "metric"}


def empty(kind: str) -> pd.DataFrame:
    """A frame of a kind (images, votes, split, predictions, scores) without rows, columns typed.

    Raises:
        InputError: unknown kind.
    """
    columns = _columns(kind)
    return pd.DataFrame({c: _coerce(pd.Series([], dtype=object), c, "") for c in columns}, columns=list(columns))


def read_frame(path: Path | str, kind: str) -> pd.DataFrame:
    """The frame of a kind that a CSV file in UTF-8 holds, texts as they are: an observer "NA", a content "None".

    The guard of names that look like formulas is taken off (`csv_texts.frame_csv`).

    Raises:
        InputError: the file is missing or not a CSV table, and all of `validate`'s.
    """
    columns = _columns(kind)
    numbers = [column for column in columns if column not in _TEXT]
    frame = read_csv(
        path,
        f"a {kind} frame (CSV) with columns {', '.join(columns)}",
        dtype=dict.fromkeys(_TEXT.intersection(columns), str),
        keep_default_na=False,
        na_values=dict.fromkeys(numbers, _NO_NUMBER),
    )
    for column in _TEXT.intersection(frame.columns):
        frame[column] = frame[column].map(without_guard)
    return validate(_long(frame) if kind == "split" else frame, kind, str(path))


def _long(split: pd.DataFrame) -> pd.DataFrame:
    """A row for each image and fold, of a split that is saved with a column for each fold ("fold 0"); others as is."""
    folds = [column for column in split if re.fullmatch(r"fold \d+", str(column))]
    if not folds:
        return split
    rows = split.melt(split.columns.difference(folds), folds, "fold", "part")
    return rows[rows["part"] != ""].assign(fold=lambda long: long["fold"].str.removeprefix("fold "))


def validate(frame: pd.DataFrame, kind: str, source: str = "") -> pd.DataFrame:
    """The frame with its columns in order and typed, or an error that says what is wrong with it.

    Text columns become text (missing = ""), counts and votes int64, `timestamp` datetime64, the rest float64 (missing =
    nan). `position` counts from 1 within a session; 0 = not known. Columns that the kind does not have are refused.

    Args:
        frame: the frame as read or made.
        kind: images, votes, split, predictions or scores.
        source: file name or other origin, for the message.

    Returns:
        A new frame with index 0…n−1.

    Raises:
        InputError: columns missing or unknown, a value of the wrong type, a vote outside 1–5, an image listed twice
            (images), a part other than train, val and test (split).
    """
    columns = _columns(kind)
    where = f"{source}: " if source else ""
    optional = {c: value for c, value in _OPTIONAL.items() if c in columns and c not in frame.columns}
    frame = frame.assign(**optional)
    missing = [c for c in columns if c not in frame.columns]
    unknown = [str(c) for c in frame.columns if c not in columns]
    if missing or unknown:
        raise InputError(
            f"{where}columns of a {kind} frame: missing {missing or 'none'}, unknown {unknown or 'none'}; "
            f"expected {', '.join(columns)}"
        )
    result = pd.DataFrame({c: _coerce(frame[c].reset_index(drop=True), c, where) for c in columns})
    if kind == "votes":
        check_votes(result, where)
    if kind == "images" and result["image"].duplicated().any():
        row = int(np.flatnonzero(result["image"].duplicated())[0])
        raise InputError(f"{where}row {row}, column image: {result['image'][row]!r} a second time; expected each once")
    if kind == "split" and not result["part"].isin(PARTS).all():
        row = int(np.flatnonzero(~result["part"].isin(PARTS))[0])
        raise InputError(f"{where}row {row}, column part: found {result['part'][row]!r}, expected one of {PARTS}")
    return result


def check_votes(votes: pd.DataFrame, where: str = "") -> None:
    """Raises InputError where a vote lies outside the ACR scale 1–5 or an observer voted twice in one session."""
    low, high = VOTE_SCALE
    outside = np.flatnonzero(~votes["vote"].between(low, high))
    if len(outside):
        row = int(outside[0])
        raise InputError(f"{where}row {row}, column vote: found {votes['vote'].iloc[row]}, expected {low} to {high}")
    twice = np.flatnonzero(votes.duplicated(["observer", "session", "image"]))
    if len(twice):
        first = votes.iloc[int(twice[0])]
        raise InputError(
            f"{where}row {int(twice[0])}: {first['observer']} votes a second time on {first['image']!r} in session "
            f"{first['session']}; expected one vote per image and session"
        )


def _columns(kind: str) -> tuple[str, ...]:
    if kind not in _COLUMNS:
        raise InputError(f"frame kind {kind!r}: expected one of {', '.join(_COLUMNS)}")
    return _COLUMNS[kind]


def _coerce(values: pd.Series, column: str, where: str) -> pd.Series:
    if column in _TEXT:
        text = values.astype(object).where(values.notna(), "").astype(str)
        if column in _NEVER_EMPTY and (text == "").any():
            raise InputError(f"{where}row {_first(text == '')}, column {column}: empty, expected text")
        return text
    if column in _TIME:
        times = pd.to_datetime(values, errors="coerce", utc=True).dt.tz_localize(None)
        times = times.where(times.between(*_YEARS)).astype("datetime64[ns]")
        wrong = times.isna() & values.notna()
        if wrong.any():
            raise InputError(
                f"{where}row {_first(wrong)}, column {column}: found {values[_first(wrong)]!r}, not a time"
            )
        return times
    numbers = pd.to_numeric(values, errors="coerce").astype("float64")
    wrong = numbers.isna() & values.notna()
    if column in _WHOLE:
        wrong |= ~(numbers.abs() <= _LARGEST) | (numbers != np.round(numbers))
    if wrong.any():
        row = _first(wrong)
        expected = "a whole number" if column in _WHOLE else "a number"
        raise InputError(f"{where}row {row}, column {column}: found {values[row]!r}, expected {expected}")
    return numbers.astype("int64") if column in _WHOLE else numbers


def _first(mask: pd.Series) -> int:
    return int(np.flatnonzero(mask.to_numpy())[0])
