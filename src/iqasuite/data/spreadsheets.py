"""CSV files as spreadsheets and people save them: encoding, separator, rows with the numbers of their lines."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from iqasuite.errors import InputError

_SEPARATORS = ",;\t"


def read_rows(path: Path | str, what: str) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Header and rows of a CSV file in UTF-8.

    Fields are separated by commas, semicolons or tabs, whichever splits the header most.

    Args:
        path: the file.
        what: what it should be, for the messages ("a playlist").

    Returns:
        Names in the header without blanks around them ([] for an empty file), and an iterator over (number of the line,
        fields) that leaves out empty rows and raises where a row has more or fewer fields than the header.

    Raises:
        InputError: the file is missing, not UTF-8 or not CSV. The message names the file and the line.
    """
    path = Path(path)
    text = _text(path, what)
    separator = max(_SEPARATORS, key=lambda mark: len(_first(text, mark)))
    header = [name.strip() for name in _first(text, separator)]
    return header, _rows(text, separator, len(header), path)


def _rows(text: str, separator: str, width: int, path: Path) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        next(reader, None)
        for fields in reader:
            if not any(field.strip() for field in fields):
                continue
            if len(fields) != width:
                raise InputError(f"{path}, line {reader.line_num}: {len(fields)} fields; expected {width}")
            yield reader.line_num, fields
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}; expected a row of CSV") from error


def _first(text: str, separator: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True), [])
    except csv.Error:
        return []


def _text(path: Path, what: str) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected {what} (CSV)") from error
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InputError(f"{path}: UTF-16 (a spreadsheet's 'Unicode text'); expected the file saved as CSV UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        found = f"0x{content[error.start]:02x}"
        raise InputError(f"{path}, line {line}: byte {found} is not UTF-8; expected the file saved as UTF-8") from error
