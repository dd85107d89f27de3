"""Official score tables as they come: CSV, words in lines, a sheet of a workbook; and those a mirror reissued."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from iqasuite.csv_texts import read_csv
from iqasuite.datasets.card import Download
from iqasuite.datasets.layout import Files
from iqasuite.errors import InputError

MIRROR = "hf:chaofengc/IQA-PyTorch-Datasets"
REISSUED = Download(f"{MIRROR}/meta_info.tgz", size=17_100_000, folder="meta_info")

_REISSUED_AS = {  # columns of the mirror's tables (they differ from set to set) -> those of `layout.scored`
    **dict.fromkeys(("dist_name", "img_name"), "name"),
    **dict.fromkeys(("ref_name", "hq_name"), "reference"),
    **dict.fromkeys(("dmos", "mos"), "score"),
}
_LARGEST, _MOST_ROWS = 2**27, 200_000  # bytes unpacked and rows of a workbook; published ones have a tenth of either
_PLACE = re.compile(rb' r="([A-Z]{0,3})(\d{1,9})"')  # of a row or a cell


def csv_table(path: Path, columns: Sequence[str], texts: Collection[str] = ()) -> pd.DataFrame:
    """A CSV file with a head that names at least these columns; blanks around their names are taken off.

    Columns of numbers have nan where a cell is empty; in those of text "NA" and "None" are names.

    Args:
        path: the file.
        columns: that it must have.
        texts: columns that are text where they are there, whatever they look like.

    Raises:
        InputError: unreadable, a column missing.
    """
    expected = f"columns {', '.join(columns)}" if columns else "a header and rows"
    table, written = read_csv(path, expected), read_csv(path, expected, dtype=str, keep_default_na=False)
    for name in table.columns:
        if name.strip() in texts or table[name].dtype.kind not in "biuf" or table[name].isna().all():
            table[name] = written[name]
    return _with(table.rename(columns=str.strip), columns, path)


def word_table(path: Path, columns: Sequence[str], separator: str = r"\s+") -> pd.DataFrame:
    """A text file without head, one line an image, words in the order of these columns.

    Raises:
        InputError: unreadable, lines with more or fewer words.
    """
    expected = f"words {', '.join(columns)} in each line"
    table = read_csv(path, expected, sep=separator, header=None, dtype=str, keep_default_na=False)
    if table.shape[1] != len(columns) or table.isin(["", np.nan]).any(axis=None):
        raise InputError(f"{path}: {table.shape[1]} words in a line; expected {', '.join(columns)} in each")
    return table.set_axis(list(columns), axis=1)


def sheet_table(path: Path, columns: Sequence[str], sheet: str | int = 0) -> pd.DataFrame:
    """A sheet of an .xlsx workbook: what lies below the first row that names all these columns, empty rows left out.

    Raises:
        InputError: unreadable, no such sheet, no such row.
    """
    try:
        _check_size(path)
        cells = pd.read_excel(path, sheet_name=sheet, header=None, engine="openpyxl")
    except InputError:
        raise
    except Exception as error:  # openpyxl raises many kinds for what is within
        raise InputError(f"{path}: no sheet {sheet!r} of an .xlsx workbook ({error})") from error
    for row in range(min(len(cells), 20)):
        names = [" ".join(str(name).split()) for name in cells.iloc[row]]
        if set(columns) <= set(names):
            table = _with(cells.iloc[row + 1 :].set_axis(names, axis=1), columns, path)[list(columns)]
            return table.dropna(how="all").reset_index(drop=True)
    raise InputError(f"{path}, sheet {sheet!r}: no row that names the columns {', '.join(columns)}")


def _check_size(path: Path) -> None:
    """Refuse a workbook that is much larger than it looks: pandas would fill all cells up to the last in memory."""
    with zipfile.ZipFile(path) as book:
        sheets = [part for part in book.infolist() if part.filename.endswith(".xml")]
        if sum(part.file_size for part in sheets) > _LARGEST:
            raise InputError(f"{path}: more than {_LARGEST:,} bytes unpacked; expected a table of scores")
        for part in sheets:
            places = _PLACE.findall(book.read(part))
            rows = max((int(row) for _, row in places), default=0)
            if rows > _MOST_ROWS or any(len(column) > 2 for column, _ in places):
                raise InputError(f"{path}: a cell in row {rows:,} or beyond column ZZ; expected a table of scores")


def reissued(files: Files, name: str, columns: Sequence[str] = ()) -> pd.DataFrame | None:
    """The table `meta_info_<name>Dataset.csv` of IQA-PyTorch's mirror; None = it is not here.

    Args:
        files: of the set.
        name: the set's in the mirror.
        columns: that it must have besides name and score.

    Returns:
        Columns name, score (as the set's authors published it), reference and std where it has them, and the others
        under the mirror's own names.

    Raises:
        InputError: unreadable, or without names or scores.
    """
    file = f"meta_info_{name}Dataset.csv"
    if files.find(file) is None:
        return None
    path = files.need(file)
    table = csv_table(path, (), texts=[old for old, new in _REISSUED_AS.items() if new != "score"])
    return _with(table.rename(columns=_REISSUED_AS), ("name", "score", *columns), path)


def _with(table: pd.DataFrame, columns: Sequence[str], path: Path) -> pd.DataFrame:
    missing = [name for name in columns if list(table.columns).count(name) != 1]
    if missing:
        raise InputError(f"{path}: columns {list(table.columns)}; expected {', '.join(columns)}, each once")
    return table
