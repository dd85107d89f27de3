"""Official score tables as they come: CSV, words in lines, a sheet of a workbook; and those a mirror reissued."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

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
_UNREADABLE = (OSError, ValueError, KeyError, UnicodeDecodeError, zipfile.BadZipFile)


def csv_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A CSV file with a head that names at least these columns; blanks around their names are taken off.

    Columns of numbers have nan where a cell is empty; in those of text "NA" and "None" are names.

    Raises:
        InputError: unreadable, a column missing.
    """
    try:
        table = pd.read_csv(path)
        texts = [name for name in table.columns if table[name].dtype.kind not in "biuf" or table[name].isna().all()]
        table[texts] = pd.read_csv(path, usecols=texts, dtype=str, keep_default_na=False)[texts]
    except _UNREADABLE as error:
        raise InputError(f"{path}: not a CSV table ({error})") from error
    return _with(table.rename(columns=lambda name: str(name).strip()), columns, path)


def word_table(path: Path, columns: Sequence[str], separator: str = r"\s+") -> pd.DataFrame:
    """A text file without head, one line an image, words in the order of these columns.

    Raises:
        InputError: unreadable, lines with more or fewer words.
    """
    try:
        table = pd.read_csv(path, sep=separator, header=None, dtype=str, keep_default_na=False)
    except _UNREADABLE as error:
        raise InputError(f"{path}: not a table of words ({error})") from error
    if table.shape[1] != len(columns) or table.isin(["", np.nan]).any(axis=None):
        raise InputError(f"{path}: {table.shape[1]} words in a line; expected {', '.join(columns)} in each")
    return table.set_axis(list(columns), axis=1)


def sheet_table(path: Path, columns: Sequence[str], sheet: str | int = 0) -> pd.DataFrame:
    """A sheet of an .xlsx workbook: what lies below the first row that names all these columns, empty rows left out.

    Raises:
        InputError: unreadable, no such sheet, no such row.
    """
    try:
        cells = pd.read_excel(path, sheet_name=sheet, header=None, engine="openpyxl")
    except _UNREADABLE as error:
        raise InputError(f"{path}: no sheet {sheet!r} of an .xlsx workbook ({error})") from error
    for row in range(min(len(cells), 20)):
        names = [" ".join(str(name).split()) for name in cells.iloc[row]]
        if set(columns) <= set(names):
            table = cells.iloc[row + 1 :].set_axis(names, axis=1)[list(columns)]
            return table.dropna(how="all").reset_index(drop=True)
    raise InputError(f"{path}, sheet {sheet!r}: no row that names the columns {', '.join(columns)}")


def reissued(files: Files, name: str) -> pd.DataFrame | None:
    """The table `meta_info_<name>Dataset.csv` of IQA-PyTorch's mirror; None = it is not here.

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
    return _with(csv_table(path, ()).rename(columns=_REISSUED_AS), ("name", "score"), path)


def _with(table: pd.DataFrame, columns: Sequence[str], path: Path) -> pd.DataFrame:
    missing = [name for name in columns if list(table.columns).count(name) != 1]
    if missing:
        raise InputError(f"{path}: columns {list(table.columns)}; expected {', '.join(columns)}, each once")
    return table
