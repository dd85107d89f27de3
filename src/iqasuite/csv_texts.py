"""CSV that people may open: texts that a spreadsheet would take for formulas are guarded.

Names of files, observers and models are anybody's texts. The rule: every CSV that people may open has them guarded
(`no_formula`), also the tables and frames that the suite reads back, whose reader takes the guard off
(`without_guard`); JSON and playlists, which programs read, have the names as they are.
"""

from __future__ import annotations

import csv
import io
import lzma
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iqasuite.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

_NO_TABLE = (ValueError, EOFError, zlib.error, lzma.LZMAError, ArithmeticError, MemoryError)  # parser, encoding, packed
_STARTS = r"[=+\-@\t\r\n＝＋－＠]"  # of a formula


def no_formula(text: str) -> str:
    """Text as a cell of CSV that a spreadsheet does not take for a formula: an apostrophe before `=`, `+`, `-`, `@`.

    A text that looks guarded already gets one more, so that `without_guard` gives any text back.
    """
    return f"'{text}" if re.match(rf"'*{_STARTS}", text) else text


def without_guard(text: str) -> str:
    """What `no_formula` was given."""
    return text[1:] if re.match(rf"'+{_STARTS}", text) else text


def read_csv(path: Path | str, expected: str, **options: Any) -> pd.DataFrame:
    """The table in a CSV file, packed or not, by pandas.

    Args:
        path: the file.
        expected: what it should be, for the message.
        options: of `pandas.read_csv`.

    Raises:
        InputError: it cannot be read, is no table, or its rows have more fields than its header.
    """
    import pandas as pd  # `iqasuite score` needs none

    try:
        table = pd.read_csv(path, **options)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); expected {expected}") from error
    except _NO_TABLE as error:
        raise InputError(f"{path}: not a CSV table ({str(error).strip()}); expected {expected}") from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes the fields too many for names of the rows
        raise InputError(f"{path}: rows with more fields than the {table.shape[1]} of the header; expected {expected}")
    return table


def csv_line(cells: Sequence[str]) -> str:
    """Cells as a line of CSV without its end; those with commas, quotes or line breaks are quoted."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)  # cells with line breaks are quoted for its sake
    return line.getvalue().removesuffix("\r\n")


def frame_csv(frame: pd.DataFrame, index: bool = False) -> str:
    """A frame as CSV whose texts, names of columns and index included, are no formulas.

    Args:
        frame: numbers and texts; what no UTF-8 can hold, as a file's name may, is escaped.
        index: whether the index is a part of the table.
    """
    import pandas as pd  # `iqasuite score` needs none

    guarded = frame.rename(columns=_guarded)
    for place, kind in enumerate(frame.dtypes):
        if kind.kind not in "biufM":
            guarded.isetitem(place, frame.iloc[:, place].astype(object).map(_guarded))
    if index:
        names = frame.index.names
        guarded.index = pd.MultiIndex.from_frame(frame.index.to_frame().map(_guarded), names=map(_guarded, names))
    return guarded.to_csv(index=index, lineterminator="\n")


def _guarded(value: object) -> object:
    return no_formula(value.encode("utf-8", "backslashreplace").decode()) if isinstance(value, str) else value
