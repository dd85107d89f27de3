"""CSV files as spreadsheets and hands save them: encoding, separator, rows with the numbers of their lines, times."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import pandas as pd

from iqasuite.errors import InputError

_SEPARATORS = "\t;,"  # the first that splits the rows evenly: commas are in numbers and in names as well
_LOOKED_AT = 20  # rows
_STATED = re.compile(r'"?sep=([^"\r\n])"?[;,\t]*(\r\n|\r|\n|$)', re.IGNORECASE)  # Excel's first line
_AS_TEXT = re.compile(r'="([^"]*)"')  # how spreadsheets are told to leave a text alone
_FORMULA = re.compile(
    r"=\s*([A-Z.]+\(|\$?[A-Z]{1,3}\$?\d+\b).*|#(REF!|DIV/0!|N/A|NAME\?|VALUE!|NUM!|NULL!)", re.IGNORECASE
)
_LEFT_BEHIND = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini"}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_EPOCHS = {9: 1.0, 10: 1.0, 13: 1e3, 16: 1e6, 19: 1e9}  # digits -> units a second
_NUMBER = re.compile(r"(\d+)(?:[.,]\d*)?")
_TIME = re.compile(
    r"(?:(?P<year>\d{4})(?P<dash>[-/.])(?P<month>\d{1,2})(?P=dash)(?P<day>\d{1,2})"
    r"|(?P<first>\d{1,2})(?P<mark>[-/.])(?P<second>\d{1,2})(?P=mark)(?P<year2>\d{4})"
    r"|(?P<day3>\d{1,2})[-. ]+(?P<name>[a-z]{3})[a-z]*[-. ]+(?P<year3>\d{4}))"
    r"(?:(?:\s*T\s*|[\s,]+)(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<seconds>\d{2})(?:[.,: ](?P<fraction>\d{1,9}))?)?"
    r"\s*(?:(?P<half>[ap])\.?m\.?)?\s*(?:Z|UTC|GMT)?(?:[+-]\d{2}(?::?\d{2})?)?)?",
    re.IGNORECASE,
)


def composed(text: str) -> str:
    """The text with letters and their accents as one character each (NFC), as which all names are compared.

    macOS and some programs write "é" as "e" and an accent.
    """
    return unicodedata.normalize("NFC", text)


def is_left_behind(name: str) -> bool:
    """Whether a file or folder of this name is an operating system's or an archiver's, and none of the data."""
    return name.startswith((".", "~$")) or name.lower() in _LEFT_BEHIND


def read_rows(path: Path | str, what: str) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Header and rows of a CSV file in UTF-8, or in UTF-16 where it begins with its mark.

    Fields are separated by what a first line `sep=` says, else by tabs, semicolons or commas: the first of these that
    splits the first rows into as many fields as the header, else the one that splits the header most. Letters are
    `composed`; a cell `="text"` is the text.

    Args:
        path: the file.
        what: what it should be, for the messages ("a playlist").

    Returns:
        Names in the header without blanks around them ([] for an empty file), and an iterator over (number of the line,
        fields) that leaves out empty rows and raises where a row has fewer fields than the header, or more that are
        not blank.

    Raises:
        InputError: the file is missing, of another encoding or not CSV, a cell is a formula. The message names the file
            and the line.
    """
    path = Path(path)
    text = composed(_text(path, what))
    stated = _STATED.match(text)
    text = text[stated.end() :] if stated else text
    separator = stated[1] if stated else _separator(text)
    header = [name.strip() for name in next(iter(_beginning(text, separator)), [])]
    line = 2 if stated else 1
    for name in header:
        _refuse_formula(name, path, line)
    return header, _rows(text, separator, header, path, line - 1)


def _rows(text: str, separator: str, header: list[str], path: Path, before: int) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    width = len(header)
    try:
        next(reader, None)
        for fields in reader:
            if not any(field.strip() for field in fields):
                continue
            line = reader.line_num + before
            if len(fields) < width or any(field.strip() for field in fields[width:]):
                raise InputError(f"{path}, line {line}: {len(fields)} fields; expected {width}")
            yield line, [_cell(field, path, line, name) for field, name in zip(fields[:width], header, strict=True)]
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num + before}: {error}; expected a row of CSV") from error


def _cell(field: str, path: Path, line: int, column: str) -> str:
    if field[:1] not in ("=", "#", " "):  # nearly all of them
        return field
    as_text = _AS_TEXT.fullmatch(field.strip())
    if as_text:
        return as_text[1]
    _refuse_formula(field.strip(), path, line, column)
    return field


def _refuse_formula(field: str, path: Path, line: int, column: str = "") -> None:
    if _FORMULA.fullmatch(field):
        where = f", column {column}" if column else ""
        raise InputError(f"{path}, line {line}{where}: found the formula {field!r}, expected its value")


def _separator(text: str) -> str:
    widths = {mark: [len(row) for row in _beginning(text, mark)] or [0] for mark in _SEPARATORS}
    even = [mark for mark, counts in widths.items() if counts[0] > 1 and len(set(counts)) == 1]
    return even[0] if even else max(reversed(_SEPARATORS), key=lambda mark: widths[mark][0])


def _beginning(text: str, separator: str) -> list[list[str]]:
    """The first rows that are not empty, the header among them, as far as they can be read."""
    rows: list[list[str]] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for fields in islice(reader, _LOOKED_AT):
            if fields or not rows:
                rows.append(fields)
    except csv.Error:
        pass
    return rows


def _text(path: Path, what: str) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected {what} (CSV)") from error
    wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = content.decode("utf-16" if wide else "utf-8").lstrip("\ufeff")
    except UnicodeDecodeError as error:
        if wide:
            raise InputError(f"{path}: UTF-16 that is damaged; expected the file saved as CSV UTF-8") from error
        line = content[: error.start].count(b"\n") + 1
        byte = f"0x{content[error.start]:02x}"
        raise InputError(f"{path}, line {line}: byte {byte} is not UTF-8; expected the file saved as UTF-8") from error
    if "\0" in text:
        raise InputError(f"{path}: bytes of value 0 in it; expected text, the file saved as CSV UTF-8")
    return text


def read_times(cells: pd.Series, column: str, path: Path | str) -> list[datetime]:
    """Times in the forms in which they are written: ISO 8601, MATLAB's, days first or months first, 12 hours, epoch.

    Offsets from UTC are left off: the time is that of the place. Where days and months are numbers (03/04/2023), a
    number above 12 somewhere in the column says which comes first; points (3.4.2023) say that days do.

    Args:
        cells: texts, index = line; "" = not known.
        column, path: for the messages.

    Returns:
        As many times, NaT where not known.

    Raises:
        InputError: a text that is no time, or days and months that cannot be told apart.
    """
    texts = [text.strip() for text in cells]
    matches = [_TIME.fullmatch(text) for text in texts]
    numeric = {line: m for line, m in zip(cells.index, matches, strict=True) if m and m["mark"] in ("-", "/")}
    day_first = any(int(match["first"]) > 12 for match in numeric.values())
    unclear = [line for line, match in numeric.items() if int(match["first"]) != int(match["second"])]
    if unclear and day_first == any(int(match["second"]) > 12 for match in numeric.values()):
        raise InputError(
            f"{path}, line {unclear[0]}, column {column}: found {numeric[unclear[0]][0]!r}, of which day and month "
            "cannot be told apart; expected times like 2023-01-24 10:51:16"
        )
    times = []
    for line, text, match in zip(cells.index, texts, matches, strict=True):
        try:
            times.append(_time(text, match, day_first))
        except (ValueError, OverflowError) as error:
            raise InputError(
                f"{path}, line {line}, column {column}: found {text!r}, expected a time like 2023-01-24 10:51:16 or "
                "24-Jan-2023 10:51:16"
            ) from error
    return times


def _time(text: str, match: re.Match[str] | None, day_first: bool) -> datetime:
    if not text:
        return pd.NaT
    number = _NUMBER.fullmatch(text)
    if number and len(number[1]) in _EPOCHS:
        seconds = float(text.replace(",", ".")) / _EPOCHS[len(number[1])]
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).replace(tzinfo=None)
    if match is None:
        raise ValueError(text)
    part = match.groupdict()
    if part["name"]:
        year, month, day = part["year3"], str(_MONTHS.index(part["name"].lower()) + 1), part["day3"]
    elif part["first"]:
        first = day_first or part["mark"] == "."
        day, month = (part["first"], part["second"]) if first else (part["second"], part["first"])
        year = part["year2"]
    else:
        year, month, day = part["year"], part["month"], part["day"]
    hour = int(part["hour"] or 0)
    if part["half"]:
        if not 1 <= hour <= 12:
            raise ValueError(text)
        hour = hour % 12 + (12 if part["half"].lower() == "p" else 0)
    microsecond = int((part["fraction"] or "").ljust(6, "0")[:6])
    return datetime(
        int(year), int(month), int(day), hour, int(part["minute"] or 0), int(part["seconds"] or 0), microsecond
    )
