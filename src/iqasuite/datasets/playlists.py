"""Rating playlists: a CSV file per observer and session, `Image Name,Vote,Duration,Timestamp` or the first two columns.

The form is that of the ViT-IQA individual-observer study: votes 1–5, durations in seconds, timestamps as MATLAB writes
them (`24-Jan-2023 10:51:16`), one row per image in the order of voting. `playlists/README.md` describes it.
Sessions that are still MATLAB files (.mat) are converted to it first.
"""

from __future__ import annotations

import csv
import io
import logging
import math
import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path

import pandas as pd

from iqasuite.datasets.frames import VOTE_SCALE, VOTES, empty, validate
from iqasuite.datasets.matlab_sessions import read_mat_session, text_of_time
from iqasuite.datasets.spreadsheets import composed, is_left_behind, read_rows, read_times
from iqasuite.errors import InputError
from iqasuite.names import natural_key
from iqasuite.paths import scratch_folder, write_atomic

_log = logging.getLogger(__name__)
LONG = ["Image Name", "Vote", "Duration", "Timestamp"]
_SHORT = LONG[:2]


def read_playlist(
    path: Path | str, observer: str = "", session: int = 1, known_images: Collection[str] | None = None
) -> pd.DataFrame:
    """One session of one observer.

    Args:
        path: CSV file (`spreadsheets.read_rows`).
        observer: who voted; "" = the file's name without its ending.
        session: which session this is.
        known_images: names that may occur; None = any.

    Returns:
        Votes frame, `position` counting the votes from 1; duration nan and timestamp NaT where the file has none. Of an
        image that is rated twice the first vote counts, and the log says how many there are.

    Raises:
        InputError: the file is missing, of another encoding, empty or of other columns; a vote is not 1–5, an image is
            unknown, a duration or timestamp cannot be read. The message names the file and the line.
    """
    path = Path(path)
    names = None if known_images is None else {composed(name): name for name in known_images}
    rows: list[tuple[str, int, int, str, int, float]] = []
    times: dict[int, str] = {}
    first_line: dict[str, int] = {}
    again: list[str] = []
    for line, fields in _lines(path):
        image, vote = fields[0].strip(), _vote(fields[1], path, line)
        if not image:
            raise InputError(f"{path}, line {line}: no image name; expected one")
        if names is not None and image not in names:
            raise InputError(f"{path}, line {line}: image {image!r} unknown; expected one of the set's {len(names)}")
        duration = _duration(fields[2], path, line) if len(fields) > 2 else math.nan
        if image in first_line:
            again.append(f"{image!r} in line {line}, first in line {first_line[image]}")
            continue
        first_line[image] = line
        times[line] = fields[3] if len(fields) > 2 else ""
        name = image if names is None else names[image]
        rows.append((observer or composed(path.stem), session, len(rows) + 1, name, vote, duration))
    if not rows:
        raise InputError(f"{path}, line 2: no votes; expected at least one row under the header")
    if again:
        _log.warning("%s: %d images rated a second time (%s); the first vote is kept", path, len(again), again[0])
    votes = pd.DataFrame(rows, columns=list(VOTES[:-1]))
    votes["timestamp"] = read_times(pd.Series(times, dtype=object), LONG[3], path)
    return validate(votes, "votes", str(path))


def read_playlists(
    folder: Path | str, observers: Iterable[str] | None = None, known_images: Collection[str] | None = None
) -> pd.DataFrame:
    """All sessions of all observers of a folder: `Obs1/Obs1_1.csv` … `Obs1/Obs1_4_selfacc.csv`, `Obs2/…`.

    Args:
        folder: holds one folder per observer.
        observers: whose to read; None = all.
        known_images: as in `read_playlist`.

    Returns:
        Votes frame, ordered by observer, session and position.

    Raises:
        InputError: no such folder or no playlists in it, an unknown observer, a file of another name, a session
            twice, and all of `read_playlist`'s.
    """
    votes, messages = checked_playlists(folder, observers, known_images)
    if messages:
        raise InputError(messages[0])
    return votes


def checked_playlists(
    folder: Path | str, observers: Iterable[str] | None = None, known_images: Collection[str] | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """Votes frame of all playlists of a folder that are right, and one message for each that is not.

    Raises:
        InputError: no such folder or no playlists in it, an unknown observer.
    """
    sessions, messages = [empty("votes")], []
    for path, observer, session in _sessions(Path(folder), observers):
        try:
            if isinstance(session, str):
                raise InputError(f"{path}: {session}")
            sessions.append(read_playlist(path, observer, session, known_images))
        except InputError as error:
            messages.append(str(error))
    return validate(pd.concat(sessions[1:] or sessions, ignore_index=True), "votes", str(folder)), messages


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
        InputError: no .mat files, one or more that cannot be read (all are named), two of the same name, playlists
            that are there already, or the target cannot be written; the playlists are then as they were.
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
    with scratch_folder(top / "playlists") as folder:  # a full disk is noticed here
        made = [write_playlist(votes[written], folder / f"{i}.csv") for i, written in enumerate(votes)]
        for new, written in zip(made, votes, strict=True):
            written.parent.mkdir(parents=True, exist_ok=True)
            os.replace(new, written)
    return list(votes)


def write_playlist(votes: pd.DataFrame, path: Path | str) -> Path:
    """Write one session of one observer, in the order shown; two columns where no duration or timestamp is known.

    Names are written as they are, because programs that show the images look for files of these names.

    Raises:
        InputError: the votes are none, invalid, or of more than one observer or session.
    """
    votes = validate(votes, "votes", str(path)).sort_values("position", kind="stable")
    if len(votes.groupby(["observer", "session"])) != 1:
        n = len(votes.groupby(["observer", "session"]))
        raise InputError(f"{path}: votes of {n} sessions; expected those of one observer in one session")
    long = bool(votes["duration"].notna().any() or votes["timestamp"].notna().any())
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(LONG if long else _SHORT)
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
    inside = [path for path in folder.iterdir() if not is_left_behind(path.name)]
    folders = sorted((p for p in inside if p.is_dir()), key=lambda p: natural_key(p.name))
    present = {composed(path.name): path for path in folders}
    sessions = []
    passed_over = [path for path in sorted(inside) if path.is_file() and path.suffix.lower() == ".csv"]
    for name in present if observers is None else map(composed, observers):
        if name not in present:
            raise InputError(f"{folder}: observer {name!r} unknown; expected one of {', '.join(present) or '(none)'}")
        files: dict[int | str, str] = {}
        for path in sorted(present[name].iterdir()):
            if is_left_behind(path.name):
                continue
            if path.suffix.lower() != ".csv" or not path.is_file():
                passed_over.append(path)
                continue
            match = re.fullmatch(re.escape(name) + r"_(\d+)(_\w+)?", composed(path.stem))
            session = int(match[1]) if match else f"name of a playlist; expected {name}_<session>.csv"
            if session in files:
                session = f"session {session} a second time (first {files[session]}); expected each once"
            files.setdefault(session, path.name)
            sessions.append((path, name, session))
    if not sessions:
        matlab = any(path.suffix.lower() == ".mat" for path in passed_over)
        convert = "; .mat files are there, convert them first" if matlab else ""
        raise InputError(f"{folder}: no playlists; expected files like Obs1/Obs1_1.csv{convert}")
    for path in passed_over:
        _log.warning("%s: passed over; expected playlists like Obs1/Obs1_1.csv", path)
    return sessions


def _conversions(source: Path, target: Path) -> dict[Path, Path]:
    """.mat file -> the playlist it becomes."""
    if source.is_file():
        return {source: target if target.suffix.lower() == ".csv" else target / f"{source.stem}.csv"}
    if not source.is_dir():
        raise InputError(f"{source}: no such file or folder; expected .mat files")
    paths = [path.relative_to(source) for path in sorted(source.rglob("*")) if path.suffix.lower() == ".mat"]
    paths = [path for path in paths if (source / path).is_file() and not any(map(is_left_behind, path.parts))]
    files = {source / path: target / path.with_suffix(".csv") for path in paths}
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
    if header not in (LONG, _SHORT):
        raise InputError(f"{path}, line 1: columns {','.join(header) or '(none)'}; expected {','.join(LONG)}")
    return list(rows)


def _vote(text: str, path: Path, line: int) -> int:
    low, high = VOTE_SCALE
    try:
        value = float(text.replace(",", "."))
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
