"""Rating sessions that MATLAB saved, as votes frames, and the times that it writes."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from iqasuite.datasets.frames import VOTE_SCALE, VOTES, validate
from iqasuite.datasets.matlab import Value, read_mat
from iqasuite.errors import InputError

_log = logging.getLogger(__name__)

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")  # in any locale
_TIME = re.compile(r"(\d{1,2})-([A-Z][a-z]{2})-(\d{4}) (\d{2}):(\d{2}):(\d{2})")
_DAYS_BEFORE_PYTHON = 366  # datenum 1 is 1 January of year 0, Python's day 1 that of year 1
_DATENUM = tuple(datetime(year, 1, 1).toordinal() + _DAYS_BEFORE_PYTHON for year in (1990, 2100))


def read_mat_session(path: Path) -> pd.DataFrame:
    """One rating session that MATLAB saved: `imgList`, `voteList`; maybe `sortTable`, `drtList`, `voteTime`.

    Votes, durations and times are taken to be in the order shown. That order is `sortTable`: image k shown is
    `imgList{sortTable(k)}` where it holds numbers (1-based, each once), `sortTable{k}` where it holds names. Without
    `sortTable` the images were shown in the order of `imgList`. A vote of nan or 0 means "not voted": that row is left
    out. Times are text (24-Jan-2023 10:51:16) or datenum, rounded to whole seconds.

    Args:
        path: .mat file.

    Returns:
        Votes frame in the order shown, `position` counting the votes from 1; the observer is the file's name without
        its ending, the session 1.

    Raises:
        InputError: all of `read_mat`'s; lengths that differ, an order that is none, a vote outside 1–5, an image twice,
            a negative duration, a time that is none. The message names the file and the variable.
    """
    variables = read_mat(path, ["imgList", "voteList"], ["sortTable", "drtList", "voteTime"])
    images = _images_in_order(variables, path)
    votes = _votes(variables["voteList"], len(images), path)
    voted = ~np.isnan(votes)
    durations = _durations(variables.get("drtList"), voted, f"{path}, variable drtList")
    times = _times(variables.get("voteTime"), voted, f"{path}, variable voteTime")
    frame = pd.DataFrame({"image": images, "vote": votes, "duration": durations, "timestamp": times})[voted]
    frame = frame.assign(observer=path.stem, session=1, position=np.arange(1, len(frame) + 1))
    return validate(frame[list(VOTES)], "votes", str(path))


def time_of_text(text: str) -> datetime:
    """The time that MATLAB writes as `24-Jan-2023 10:51:16`.

    Raises:
        ValueError: the text is none.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None or match[2] not in _MONTHS:
        raise ValueError(f"{text!r}: expected a time like 24-Jan-2023 10:51:16")
    day, month, year, hours, minutes, seconds = match.groups()
    return datetime(int(year), _MONTHS.index(month) + 1, int(day), int(hours), int(minutes), int(seconds))


def text_of_time(time: datetime | pd.Timestamp) -> str:
    """The same the other way round."""
    return f"{time.day:02d}-{_MONTHS[time.month - 1]}-{time.year:04d} {time:%H:%M:%S}"


def time_of_datenum(days: float) -> datetime:
    """The time of a serial date number: days since 0 January of year 0, rounded to whole seconds.

    Raises:
        ValueError: not in 1990 to 2100, hence no date number.
    """
    if not _DATENUM[0] <= days < _DATENUM[1]:
        raise ValueError(f"{days:g}: expected a date number of the years 1990 to 2100")
    whole = math.floor(days)
    start = datetime.fromordinal(whole - _DAYS_BEFORE_PYTHON)
    return start + timedelta(seconds=round((days - whole) * 86400))


def _images_in_order(variables: dict[str, Value], path: Path) -> list[str]:
    """Names of the images in the order in which the observer saw them."""
    images = _names(variables["imgList"], f"{path}, variable imgList")
    if "sortTable" not in variables:
        return images
    order, where = variables["sortTable"], f"{path}, variable sortTable"
    if isinstance(order, list):
        if len(order) != len(images):
            raise InputError(f"{where}: {len(order)} names; expected {len(images)}, one per image of imgList")
        names = _names(order, where)
        strange = [name for name in names if name not in set(images)]
        if strange:
            raise InputError(f"{where}: {strange[0]!r} is not in imgList; expected the same {len(images)} names")
        return names
    numbers = _numbers(order, len(images), where, "a number per image of imgList")
    if not np.array_equal(np.sort(numbers), np.arange(1, len(images) + 1)):
        outside = numbers[~np.isin(numbers, np.arange(1, len(images) + 1))]
        wrong = f"{outside[0]:g}" if len(outside) else "a number twice"
        raise InputError(f"{where}: found {wrong}; expected each of 1 to {len(images)} once")
    return [images[int(number) - 1] for number in numbers]


def _names(value: Value, where: str) -> list[str]:
    """Names without blanks around them, each once."""
    if not isinstance(value, list):
        raise InputError(f"{where}: numbers of shape {value.shape}; expected a cell array of image names")
    names = [name.strip() for name in value]
    if "" in names or not names:
        place = names.index("") + 1 if names else 1
        raise InputError(f"{where}: no name at {place}; expected a cell array of image names")
    twice = [k for k, name in enumerate(names) if name in names[:k]] if len(set(names)) < len(names) else []
    if twice:
        raise InputError(f"{where}({twice[0] + 1}): {names[twice[0]]!r} a second time; expected each image once")
    return names


def _votes(value: Value, n: int, path: Path) -> np.ndarray:
    """Votes in the order of the variable; nan where there is none."""
    where, (low, high) = f"{path}, variable voteList", VOTE_SCALE
    votes = _numbers(value, n, where, "a vote per image")
    votes = np.where(votes == 0, np.nan, votes)
    wrong = np.flatnonzero(~np.isnan(votes) & ~np.isin(votes, np.arange(low, high + 1)))
    if len(wrong):
        found = f"{votes[wrong[0]]:g}"
        raise InputError(f"{where}({wrong[0] + 1}): found {found}, expected a whole number {low} to {high}")
    n_missing = int(np.isnan(votes).sum())
    if n_missing == n:
        raise InputError(f"{where}: no votes; expected at least one")
    if n_missing:
        _log.info("%s: %d of %d images were not voted on; left out", path, n_missing, n)
    return votes


def _durations(value: Value | None, voted: np.ndarray, where: str) -> np.ndarray:
    if value is None:
        return np.full(len(voted), np.nan)
    durations = _numbers(value, len(voted), where, "a duration per image")
    wrong = np.flatnonzero(voted & ((durations < 0) | np.isinf(durations)))
    if len(wrong):
        raise InputError(f"{where}({wrong[0] + 1}): found {durations[wrong[0]]:g}, expected seconds, 0 or more")
    return durations


def _numbers(value: Value, n: int, where: str, what: str) -> np.ndarray:
    """A vector of either orientation as float64, shape (n,)."""
    if isinstance(value, list):
        raise InputError(f"{where}: text; expected {n} numbers, {what}")
    if value.size != n or max(value.shape, default=0) != n:
        raise InputError(f"{where}: shape {value.shape}; expected a vector of {n}, {what}")
    return value.ravel().astype(np.float64)


def _times(value: Value | None, voted: np.ndarray, where: str) -> list[datetime]:
    if value is None:
        return [pd.NaT] * len(voted)
    convert: Callable[[Any], datetime]
    if isinstance(value, list):
        if len(value) != len(voted):
            raise InputError(f"{where}: {len(value)} times; expected {len(voted)}, one per image")
        missing, convert = [not text.strip() for text in value], time_of_text
    else:
        value = _numbers(value, len(voted), where, "a time per image")
        missing, convert = np.isnan(value) | (value == 0), time_of_datenum
    times = []
    for k, time in enumerate(value):
        try:
            times.append(pd.NaT if missing[k] or not voted[k] else convert(time))
        except ValueError as error:
            raise InputError(f"{where}({k + 1}): {error}") from error
    return times
