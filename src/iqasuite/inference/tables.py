"""Rows of scores as text: a table to read, CSV, JSON lines; written as they come, to the screen or whole to a file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from iqasuite.csv_texts import csv_line, no_formula
from iqasuite.errors import InputError

FORMATS = ("table", "csv", "jsonl")
_ENDINGS = {".csv": "csv", ".jsonl": "jsonl", ".txt": "table"}
_NOTHING = "–"
Row = Mapping[str, float | int | str | None]


def format_of(output: Path | None, wanted: str | None) -> str:
    """The format that was asked for, else the one that the file's ending names, else "table".

    Raises:
        InputError: unknown format or ending, or two that contradict each other.
    """
    if wanted is not None and wanted not in FORMATS:
        raise InputError(f"--format {wanted}: expected one of {', '.join(FORMATS)}")
    if output is None:
        return wanted or "table"
    named = _ENDINGS.get(output.suffix.lower())
    chosen = wanted or named
    if chosen is None:
        raise InputError(f"--output {output}: ending {output.suffix!r}, expected one of {', '.join(_ENDINGS)}")
    if wanted is not None and named not in (None, wanted):
        raise InputError(f"--output {output}, --format {wanted}: expected an ending of that format")
    return chosen


def lines(rows: Iterable[Row], columns: Mapping[str, str], form: str) -> Iterator[str]:
    """Rows as lines, with a heading where the format has one; a row may lack columns.

    Args:
        rows: column -> number, text or None.
        columns: name -> side and width in a table, such as ">9" for numbers and "<16" for text. There they come in
            this order; the last holds names of any length. CSV and JSON lines begin with that one.
        form: one of `FORMATS`.
    """
    names = list(columns)
    reordered = [names[-1], *names[:-1]]
    if form == "csv":
        yield csv_line([no_formula(name) for name in reordered])
        yield from (csv_line([_plain(row.get(name)) for name in reordered]) for row in rows)
    elif form == "jsonl":
        yield from (
            json.dumps({name: _value(row[name]) for name in reordered if name in row}, ensure_ascii=False)
            for row in map(_encodable, rows)
        )
    else:
        yield _table_line(dict(zip(names, names, strict=True)), columns)
        yield from (_table_line(row, columns) for row in rows)


def printable(text: object) -> str:
    """Text in one line for a screen: line breaks and other control characters, as file names may have, escaped."""
    safe = str(text).encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in safe)


def _table_line(row: Row, columns: Mapping[str, str]) -> str:
    *aligned, (last, _) = columns.items()
    cells = [f"{_cell(row.get(name)):{side[0]}{max(int(side[1:]), len(name))}}" for name, side in aligned]
    return "  ".join([*cells, printable(row.get(last, _NOTHING))]).rstrip()


def _cell(value: float | int | str | None) -> str:
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.4f}"
    return _NOTHING if value is None or isinstance(value, float) else printable(value)


def _plain(value: float | int | str | None) -> str:
    if isinstance(value, float):
        return f"{value:.8g}" if math.isfinite(value) else ""
    text = "" if value is None else str(value).encode("utf-8", "backslashreplace").decode()
    return no_formula(text) if isinstance(value, str) else text


def _value(value: float | int | str | None) -> float | int | str | None:
    if isinstance(value, float):
        return float(f"{value:.8g}") if math.isfinite(value) else None
    return value


def _encodable(row: Row) -> Row:
    return {
        name: value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
        for name, value in row.items()
    }
