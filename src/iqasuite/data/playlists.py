"""Rating playlists: a CSV file per observer and session, `Image Name,Vote,Duration,Timestamp` or the first two columns.

The form is that of the ViT-IQA individual-observer study: votes 1–5, durations in seconds, timestamps as MATLAB writes
them (`24-Jan-2023 10:51:16`), one row per image in the order shown. `playlists/README.md` describes it for people.
Sessions that are still MATLAB files (.mat) are converted to it first.
"""

from __future__ import annotations

import csv
import io
import math
import os
import re
import tempfile
from collections.abc import Collection, Iterable
from datetime import datetime
from pathlib import Path

import pandas as pd

from iqasuite.data.frames import VOTE_SCALE, VOTES, validate
from iqasuite.data.matlab import read_mat_session, text_of_time, time_of_text
from iqasuite.data.spreadsheets import read_rows
from iqasuite.errors import InputError
from iqasuite.paths import write_atomic

_LONG = ["Image Name", "Vote", "Duration", "Timestamp"]
_SHORT = _LONG[:2]


def read_playlist(
    path: Path | str, observer: str = "", session: int = 1, known_images: Collection[str] | None = None
) -> pd.DataFrame:
    """One session of one observer.

    Args:
        path: CSV file in UTF-8, separated by commas, or as some spreadsheets do by semicolons or tabs.
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
        InputError: no such folder or no playlists in it, an unknown observer, a file of another name, a session
            twice, and all of `read_playlist`'s.
    """
    sessions = []
    for path, observer, session in _sessions(Path(folder), observers):
        if isinstance(session, str):
            raise InputError(f"{path}: {session}")
        sessions.append(read_playlist(path, observer, session, known_images))
    return validate(pd.concat(sessions, ignore_index=True), "votes", str(folder))


def invalid_playlists(folder: Path | str, known_images: Collection[str] | None = None) -> list[str]:
    """What `read_playlists` would stop at, for every file of the folder: one message per file that is not right.

    Raises:
        InputError: no such folder or no playlists in it.
    """
    messages = []
    for path, observer, session in _sessions(Path(folder), None):
        if isinstance(session, str):
            messages.append(f"{path}: {session}")
            continue
        try:
            read_playlist(path, observer, session, known_images)
        except InputError as error:
            messages.append(str(error))
    return messages


def convert_playlists(source: Path | str, target: Path | str, overwrite: bool = False) -> list[Path]:
    """Make CSV playlists of rating sessions that MATLAB saved; all of them or none.

    Args:
        source: a .mat file, or a folder with .mat files in it and in its subfolders.
        target: folder for the playlists, which keep their names and subfolders (`Obs1/Obs1_1.mat` becomes
            `Obs1/Obs1_1.csv`); for one file also a name that ends in .csv.
        overwrite: replace playlists that are there already.

    Returns:
        The files written, in the order of their names.

    Raises:
        InputError: no .mat files, one or more that cannot be read (all are named), two of the same name, or playlists
            that are there already.
        OSError: the target cannot be written or the disk is full; the playlists are then as they were.
    """
    files = _conversions(Path(source), Path(target))
    present = [str(path) for path in files.values() if path.exists()]
    if present and not overwrite:
        raise InputError(
            f"{target}: {len(present)} playlists there already ({present[0]} …); expected none of that name"
        )
    votes, messages = {}, []
    for path, written in files.items():
        try:
            votes[written] = read_mat_session(path)
        except InputError as error:
            messages.append(str(error))
    if messages:
        raise InputError(
            f"{source}: nothing converted, {len(messages)} of {len(files)} files wrong: {'; '.join(messages)}"
        )
    top = Path(target) if Path(target).suffix.lower() != ".csv" else Path(target).parent
    top.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=top, prefix=".converting") as folder:  # a full disk is noticed here
        made = [write_playlist(votes[written], Path(folder) / f"{i}.csv") for i, written in enumerate(votes)]
        for new, written in zip(made, votes, strict=True):
            written.parent.mkdir(parents=True, exist_ok=True)
            os.replace(new, written)
    return list(votes)


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
            fields += [
                "" if math.isnan(row.duration) else f"{row.duration:.5g}",
                "" if pd.isna(row.timestamp) else text_of_time(row.timestamp),
            ]
        writer.writerow(fields)
    return write_atomic(path, text.getvalue())


def _sessions(folder: Path, observers: Iterable[str] | None) -> list[tuple[Path, str, int | str]]:
    """File, observer and session of every playlist of a folder; instead of a session what is wrong with the name."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected one with a folder of playlists per observer")
    folders = [p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")]
    present = sorted(folders, key=lambda name: (len(name), name))
    wanted = present if observers is None else list(observers)
    sessions = []
    for name in wanted:
        if name not in present:
            raise InputError(f"{folder}: observer {name!r} unknown; expected one of {', '.join(present) or '(none)'}")
        known = {}
        for path in sorted((folder / name).glob("*.csv")):
            match = re.fullmatch(re.escape(name) + r"_(\d+)(_\w+)?", path.stem)
            session = int(match[1]) if match else f"name of a playlist; expected {name}_<session>.csv"
            if session in known:
                session = f"session {session} a second time (first {known[session]}); expected each once"
            known.setdefault(session, path.name)
            sessions.append((path, name, session))
    if not sessions:
        convert = "; .mat files are there, convert them first" if any(folder.glob("*/*.mat")) else ""
        raise InputError(f"{folder}: no playlists; expected files like Obs1/Obs1_1.csv{convert}")
    return sessions


def _conversions(source: Path, target: Path) -> dict[Path, Path]:
    """.mat file -> the playlist it becomes."""
    if source.is_file():
        return {source: target if target.suffix.lower() == ".csv" else target / f"{source.stem}.csv"}
    if not source.is_dir():
        raise InputError(f"{source}: no such file or folder; expected .mat files")
    found = [path for path in sorted(source.rglob("*")) if path.suffix.lower() == ".mat" and path.is_file()]
    files = {
        path: target / path.relative_to(source).with_suffix(".csv") for path in found if not path.name.startswith(".")
    }
    if not files:
        raise InputError(f"{source}: no .mat files; expected rating sessions saved by MATLAB")
    if target.suffix.lower() == ".csv":
        raise InputError(f"{target}: one playlist; expected a folder for those of {source}")
    if len(set(files.values())) < len(files):
        raise InputError(f"{source}: files that differ only in how .mat is written; expected one of each name")
    return files


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """Line numbers and fields of the rows under the header, the header and each row's length checked."""
    if path.suffix.lower() == ".mat":
        raise InputError(f"{path}: a MATLAB file; expected CSV (iqasuite playlist convert makes it one)")
    header, rows = read_rows(path, "a playlist")
    if header not in (_LONG, _SHORT):
        raise InputError(f"{path}, line 1: columns {','.join(header) or '(none)'}; expected {','.join(_LONG)}")
    return list(rows)


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
        value = float(text.replace(",", ".")) if text.strip() else math.nan
    except ValueError:
        value = -1.0
    if value < 0 or math.isinf(value):
        raise InputError(f"{path}, line {line}, column Duration: found {text!r}, expected seconds, 0 or more")
    return value


def _timestamp(text: str, path: Path, line: int) -> datetime | type(pd.NaT):
    if not text.strip():
        return pd.NaT
    try:
        return time_of_text(text)
    except ValueError as error:
        raise InputError(
            f"{path}, line {line}, column Timestamp: found {text!r}, expected a time like 24-Jan-2023 10:51:16"
        ) from error
