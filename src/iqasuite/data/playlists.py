"""Rating playlists: a CSV file per observer and session, `Image Name,Vote,Duration,Timestamp` or the first two columns.

The form is that of the ViT-IQA individual-observer study: votes 1–5, durations in seconds, timestamps as MATLAB writes
them (`24-Jan-2023 10:51:16`), one row per image in the order shown. `playlists/README.md` describes it for people.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Collection, Iterable
from datetime import datetime
from pathlib import Path

import pandas as pd

from iqasuite.data.frames import VOTE_SCALE, VOTES, validate
from iqasuite.errors import InputError
from iqasuite.paths import write_atomic

_LONG = ["Image Name", "Vote", "Duration", "Timestamp"]
_SHORT = _LONG[:2]
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")  # in any locale
_TIME = re.compile(r"(\d{1,2})-([A-Z][a-z]{2})-(\d{4}) (\d{2}):(\d{2}):(\d{2})")


def read_playlist(
    path: Path | str, observer: str = "", session: int = 1, known_images: Collection[str] | None = None
) -> pd.DataFrame:
    """One session of one observer.

    Args:
        path: CSV file in UTF-8.
        observer: who voted; "" = the file's name without its ending.
        session: which session this is.
        known_images: names that may occur; None = any.

    Returns:
        Votes frame, `position` counting the rows from 1; duration nan and timestamp NaT where the file has none.

    Raises:
        InputError: the file is missing, not UTF-8, empty or of other columns; a vote is not 1–5, an image is unknown or
            rated twice, a duration or timestamp cannot be read. The message names the file and the line.
    """
    path = Path(path)
    known = None if known_images is None else frozenset(known_images)
    rows, first_line = [], {}
    for line, fields in _lines(path):
        image, vote = fields[0].strip(), _vote(fields[1], path, line)
        if not image:
            raise InputError(f"{path}, line {line}: no image name; expected one")
        if known is not None and image not in known:
            raise InputError(f"{path}, line {line}: image {image!r} unknown; expected one of the set's {len(known)}")
        if image in first_line:
            raise InputError(
                f"{path}, line {line}: image {image!r} rated a second time (first in line {first_line[image]}); "
                "expected one vote per image"
            )
        first_line[image] = line
        duration = _duration(fields[2], path, line) if len(fields) > 2 else math.nan
        time = _timestamp(fields[3], path, line) if len(fields) > 2 else pd.NaT
        rows.append((observer or path.stem, session, len(rows) + 1, image, vote, duration, time))
    if not rows:
        raise InputError(f"{path}, line 2: no votes; expected at least one row under the header")
    return validate(pd.DataFrame(rows, columns=list(VOTES)), "votes", str(path))


def read_playlists(
    folder: Path | str, observers: Iterable[str] | None = None, known_images: Collection[str] | None = None
) -> pd.DataFrame:
    """All sessions of all observers of a folder: `Obs1/Obs1_1.csv` … `Obs1/Obs1_4_selfacc.csv`, `Obs2/…`.

    Args:
        folder: holds one folder per observer.
        observers: whose to read; None = everybody's.
        known_images: as in `read_playlist`.

    Returns:
        Votes frame, ordered by observer, session and position.

    Raises:
        InputError: no such folder or no playlists in it, an unknown observer, a file of another name, and all of
            `read_playlist`'s.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected one with a folder of playlists per observer")
    folders = [p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")]
    present = sorted(folders, key=lambda name: (len(name), name))
    wanted = present if observers is None else list(observers)
    for name in wanted:
        if name not in present:
            raise InputError(f"{folder}: observer {name!r} unknown; expected one of {', '.join(present) or '(none)'}")
    sessions = []
    for name in wanted:
        for path in sorted((folder / name).glob("*.csv")):
            match = re.fullmatch(re.escape(name) + r"_(\d+)(_\w+)?", path.stem)
            if match is None:
                raise InputError(f"{path}: name of a playlist; expected {name}_<session>.csv")
            sessions.append(read_playlist(path, name, int(match[1]), known_images))
    if not sessions:
        raise InputError(f"{folder}: no playlists; expected files like Obs1/Obs1_1.csv")
    return validate(pd.concat(sessions, ignore_index=True), "votes", str(folder))


def write_playlist(votes: pd.DataFrame, path: Path | str) -> Path:
    """Write one session of one observer, in the order shown; two columns where no duration or timestamp is known.

    Raises:
        InputError: the votes are none, invalid, or of more than one observer or session.
    """
    votes = validate(votes, "votes", str(path)).sort_values("position", kind="stable")
    if len(votes.groupby(["observer", "session"])) != 1:
        found = len(votes.groupby(["observer", "session"]))
        raise InputError(f"{path}: votes of {found} sessions; expected those of one observer in one session")
    long = bool(votes["duration"].notna().any() or votes["timestamp"].notna().any())
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_LONG if long else _SHORT)
    for row in votes.itertuples():
        fields = [row.image, row.vote]
        if long:
            fields += ["" if math.isnan(row.duration) else f"{row.duration:.5g}", _time_text(row.timestamp)]
        writer.writerow(fields)
    return write_atomic(path, text.getvalue())


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """Line numbers and fields of the rows under the header, the header and each row's length checked."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected a playlist (CSV)") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        found = f"0x{content[error.start]:02x}"
        raise InputError(f"{path}, line {line}: byte {found} is not UTF-8; expected the file saved as UTF-8") from error
    reader = csv.reader(io.StringIO(text, newline=""))
    header = [name.strip() for name in next(reader, [])]
    if header not in (_LONG, _SHORT):
        raise InputError(f"{path}, line 1: columns {','.join(header) or '(none)'}; expected {','.join(_LONG)}")
    rows = []
    try:
        for fields in reader:
            if len(fields) not in (0, len(header)):
                raise InputError(f"{path}, line {reader.line_num}: {len(fields)} fields; expected {len(header)}")
            if fields:
                rows.append((reader.line_num, fields))
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}; expected a row of CSV") from error
    return rows


def _vote(text: str, path: Path, line: int) -> int:
    low, high = VOTE_SCALE
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (low <= value <= high and value == int(value)):
        raise InputError(f"{path}, line {line}, column Vote: found {text!r}, expected a whole number {low} to {high}")
    return int(value)


def _duration(text: str, path: Path, line: int) -> float:
    try:
        value = float(text) if text.strip() else math.nan
    except ValueError:
        value = -1.0
    if value < 0 or math.isinf(value):
        raise InputError(f"{path}, line {line}, column Duration: found {text!r}, expected seconds, 0 or more")
    return value


def _timestamp(text: str, path: Path, line: int) -> datetime | type(pd.NaT):
    if not text.strip():
        return pd.NaT
    match = _TIME.fullmatch(text.strip())
    try:
        day, month, year, *clock = match.groups()
        return datetime(int(year), _MONTHS.index(month) + 1, int(day), *map(int, clock))
    except (AttributeError, ValueError) as error:
        raise InputError(
            f"{path}, line {line}, column Timestamp: found {text!r}, expected a time like 24-Jan-2023 10:51:16"
        ) from error


def _time_text(time: pd.Timestamp) -> str:
    if pd.isna(time):
        return ""
    return f"{time.day:02d}-{_MONTHS[time.month - 1]}-{time.year:04d} {time:%H:%M:%S}"
