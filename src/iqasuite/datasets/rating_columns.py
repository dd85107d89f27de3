"""Columns of a table of ratings: what their names mean, and which of three tables they make.

Cells come as text with the number of their line, and every message names file, line and column.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from iqasuite.datasets.spreadsheets import read_rows
from iqasuite.errors import InputError

_log = logging.getLogger(__name__)

# How columns are called; compared in lower case without blanks, points, hyphens and underscores.
ABOUT_IMAGE = {
    "image": "image imagename imagefile imageid filename file img imgname stimulus picture photo path",
    "content": "content scene source sourceimage src",
    "reference": "reference referenceimage referencename ref refname refimage refimg original",
    "distortion": "distortion distortiontype disttype",
    "level": "level distortionlevel distlevel",
}
_OF_VOTES = {
    "observer": "observer observerid subject subjectid participant participantid rater user userid worker workerid",
    "vote": "vote opinion rating",
    "session": "session sessionid run",
    "duration": "duration responsetime reactiontime rt",
    "timestamp": "timestamp datetime",
}
_OF_SCORES = {
    "mos": "mos meanopinionscore meanscore dmos score",
    "mos_std": "mosstd dmosstd std sd stddev standarddeviation",
    "n_votes": "nvotes numvotes numberofvotes nratings numratings",
}
_SYNONYMS = {
    synonym: column
    for columns in (ABOUT_IMAGE, _OF_VOTES, _OF_SCORES)
    for column, synonyms in columns.items()
    for synonym in synonyms.split()
}
# Columns that are no observer's, compared as above. Observers may be called Max or Min: these are told by their values.
_COUNTERS = re.compile(r"(unnamed:?\d*|index|idx|row|rownumber|number|no|nr|id|#)?")
_NOT_RATED = {"", "na", "n/a", "nan", "null", "none", "-", "–", "."}
_SUMMARY = re.compile(
    "(mean|average|avg|arithmeticmean|median|std|stddev|stdev|standarddeviation|variance|sum|total|overall|mos)"
    "(of)?(all)?(vote|score|rating|opinion)?s?"
)
_NO_OBSERVER = re.compile(
    "ci|ci95|sem|n|count|num|number|votes|ratings|rank|order|position|trial|width|height|size|filesize|bytes|quality|"
    r"qp|crf|qf|bitrate|bpp|psnr|ssim|msssim|vmaf|niqe|brisque|lpips|unnamed:?\d+|index|idx|id|no|nr|row|#"
)


@dataclass(frozen=True)
class RatingTable:
    """A table of votes in rows (with a column vote), of a column of votes per observer, or of scores (mos).

    Attributes:
        path: the CSV file.
        cells: text without blanks around it, index = line; columns under our names, those of observers under theirs.
        names: our name of each column -> the file's.
        nuisances: cells of the declared nuisances, under the file's names.
    """

    path: Path
    cells: pd.DataFrame
    names: dict[str, str]
    nuisances: pd.DataFrame

    def where(self, line: int, column: str) -> str:
        """A cell, for a message."""
        return f"{self.path}, line {line}, column {self.names.get(column, column)}"

    def numbers(self, column: str, expected: str = "a number") -> pd.Series:
        """A column of numbers, 0 or more; nan where a cell, or the whole column, is missing."""
        numbers = pd.Series(np.nan, index=self.cells.index)
        if column in self.cells.columns:
            cells = self.cells.loc[~is_blank(self.cells[column]), column]
            filled = number_cells(cells, self.names[column], self.path, expected)
            if (filled < 0).any():
                line = filled.index[filled < 0][0]
                raise InputError(f"{self.where(line, column)}: found {cells[line]!r}, expected 0 or more")
            numbers[filled.index] = filled
        return numbers

    def check_filled(self, column: str, expected: str = "a value") -> None:
        """Raises InputError where a cell of a column is empty."""
        blank = self.cells.index[self.cells[column] == ""]
        if len(blank):
            raise InputError(f"{self.where(blank[0], column)}: empty; expected {expected}")

    def check_once(self, expected: str) -> None:
        """Raises InputError where an image has a second row."""
        images = self.cells["image"]
        twice = images[images.duplicated()]
        if len(twice):
            line, name = twice.index[0], twice.iloc[0]
            first = images.index[images == name][0]
            raise InputError(
                f"{self.path}, line {line}: image {name!r} a second time (first in line {first}); expected {expected}"
            )


def read_table(path: Path, nuisances: Sequence[str] = ()) -> RatingTable:
    """Any of the three tables.

    Args:
        path: a CSV file.
        nuisances: columns that belong to no table, or have a part in it besides (content, level).

    Raises:
        InputError: not CSV, no rows, columns of none or of several of the tables, no name of an image, a nuisance that
            is no column or one of ratings.
    """
    header, rows = read_rows(path, "a table of ratings")
    if not header:
        raise InputError(f"{path}, line 1: empty; expected a header like image,mos or observer,image,vote")
    cells = {line: [field.strip() for field in fields] for line, fields in rows}
    if not cells:
        raise InputError(f"{path}, line 2: no ratings; expected at least one row under the header")
    raw = pd.DataFrame(list(cells.values()), index=list(cells), columns=range(len(header)), dtype=object)
    places = [_place(name, header, path) for name in nuisances]
    for i, name in enumerate(nuisances):
        if places[i] in places[:i]:
            first = nuisances[places.index(places[i])]
            raise InputError(
                f"{path}, line 1: nuisances {first!r} and {name!r} are one column; expected different ones"
            )
    apart = raw[places].set_axis([header[i] for i in places], axis=1)
    raw = raw.drop(columns=[i for i in places if not _has_a_part(i, places, header)])
    raw = raw.drop(columns=_without_meaning(raw.drop(columns=places, errors="ignore"), header, path))
    header = [header[i] for i in raw.columns]
    columns = _columns(header, path)
    renamed = [f"{name} is {column}" for column, name in zip(columns, header, strict=True) if column != name]
    if renamed:
        _log.info("%s: columns read as: %s", path, ", ".join(renamed))
    table = RatingTable(path, raw.set_axis(columns, axis=1), dict(zip(columns, header, strict=True)), apart)
    table.check_filled("image", "an image")
    return table


def is_blank(cells: pd.Series) -> pd.Series:
    """Which cells say that there is no value."""
    return cells.str.lower().isin(_NOT_RATED)


def is_summary(name: str) -> bool:
    """Whether an observer's name is rather that of a mean, a sum or a standard deviation."""
    return bool(_SUMMARY.fullmatch(plain(name)))


def plain(name: str) -> str:
    """A name as it is compared with others."""
    return re.sub(r"[\s._-]+", "", name).lower()


def number_cells(cells: pd.Series, column: str | pd.Series, path: Path, expected: str = "a number") -> pd.Series:
    """Texts (index = line) as float64, nothing else among them; a decimal comma will do.

    Args:
        cells: the texts.
        column: the file's name for the column, or one for each cell.
        path: the file, for messages.
        expected: of a value, for the message; "a whole number" is checked as well.
    """
    numbers = pd.to_numeric(cells.str.replace(",", ".", n=1, regex=False), errors="coerce").astype("float64")
    wrong = ~np.isfinite(numbers.to_numpy())
    if expected == "a whole number":
        wrong |= (numbers != np.round(numbers)).to_numpy()
    if wrong.any():
        i = int(np.flatnonzero(wrong)[0])
        name = column if isinstance(column, str) else column.iloc[i]
        raise InputError(f"{path}, line {cells.index[i]}, column {name}: found {cells.iloc[i]!r}, expected {expected}")
    return numbers


def _place(name: str, header: Sequence[str], path: Path) -> int:
    """Where in the header a declared nuisance is."""
    places = [i for i, column in enumerate(header) if column == name]
    places = places or [i for i, column in enumerate(header) if plain(column) == plain(name)]
    if len(places) != 1:
        number = "no column" if not places else f"{len(places)} columns"
        raise InputError(f"{path}, line 1: nuisance {name!r} is {number} of {', '.join(header)}; expected one")
    meaning = _SYNONYMS.get(plain(header[places[0]]))
    if meaning in ("image", "observer", "vote", "mos"):
        raise InputError(f"{path}, line 1: nuisance {name!r} is the column {meaning}; expected a property of images")
    return places[0]


def _has_a_part(i: int, places: Sequence[int], header: Sequence[str]) -> bool:
    """Whether a nuisance is a column of its table besides: what it is called means one that no other column is."""
    others = {_SYNONYMS.get(plain(name)) for k, name in enumerate(header) if k not in places}
    others |= {_SYNONYMS.get(plain(header[k])) for k in places[: places.index(i)]}
    of_scores, of_votes = ("mos_std", "n_votes") if "mos" in others else (), "observer" in others or "vote" in others
    taken = {*ABOUT_IMAGE, *of_scores, *(_OF_VOTES if of_votes else ())}
    return _SYNONYMS.get(plain(header[i])) in taken - others


def _without_meaning(raw: pd.DataFrame, header: Sequence[str], path: Path) -> list[int]:
    """Empty columns, as spreadsheets leave them behind, and numbers of rows, as pandas and others write them."""
    columns = []
    for i, cells in raw.items():
        name = header[i]
        nameless = re.fullmatch(r"(unnamed:\d+)?", plain(name))
        if not name and (cells == "").all():
            columns.append(i)
        elif _COUNTERS.fullmatch(plain(name)) and _counts(cells, in_order=not (i == 0 and nameless)):
            _log.info("%s: column %d (%s) numbers the rows; left out", path, i + 1, name or "without a name")
            columns.append(i)
        elif not name:
            raise InputError(f"{path}, line 1: column {i + 1} has no name; expected one")
    return columns


def _counts(cells: pd.Series, in_order: bool) -> bool:
    """Whether a column has whole numbers, each once; in order: 0, 1, 2 … or 1, 2, 3 …, rows left out maybe."""
    if not cells.str.fullmatch(r"\d{1,9}").all():
        return False
    numbers = cells.astype("int64")
    ordered = numbers.is_monotonic_increasing and numbers.max() <= 2 * len(numbers)
    return numbers.is_unique and (not in_order or ordered)


def _columns(header: Sequence[str], path: Path) -> list[str]:
    """Our names of the columns, once it is clear which table this is."""
    meanings = [_SYNONYMS.get(plain(name), "") for name in header]
    if "observer" in meanings:  # the score that an observer gave is a vote
        meanings = ["vote" if column == "mos" and "vote" not in meanings else column for column in meanings]
        allowed, table, needed = {*ABOUT_IMAGE, *_OF_VOTES}, "votes in rows", ["image", "vote"]
    elif "mos" in meanings:
        allowed, table, needed = {*ABOUT_IMAGE, *_OF_SCORES}, "scores", ["image"]
    elif "vote" in meanings:
        if header[meanings.index("vote")].lower() == "rating":
            raise InputError(
                f"{path}, line 1: column {header[meanings.index('vote')]} may be scores or votes; expected it "
                "named mos, or vote (of one observer), or a column observer besides"
            )
        allowed, table, needed = {*ABOUT_IMAGE, *_OF_VOTES}, "one observer's votes", ["image", "vote"]
    else:
        allowed, table, needed = {*ABOUT_IMAGE, ""}, "one column of votes per observer", ["image", ""]
    for column in needed:
        if column not in meanings:
            what = f"column {column}" if column else "columns of votes or scores"
            raise InputError(
                f"{path}, line 1: no {what} in {', '.join(header)}; expected image,mos or observer,image,vote"
            )
    columns: list[str] = []
    for name, meaning in zip(header, meanings, strict=True):
        column = meaning or name
        if meaning not in allowed:
            raise InputError(
                f"{path}, line 1: column {name!r} does not belong to a table of {table}; expected it taken out, or "
                "nuisance: in dataset.yaml to name it"
            )
        if not meaning and (is_summary(name) or _NO_OBSERVER.fullmatch(plain(name))):
            raise InputError(
                f"{path}, line 1: column {name!r} looks like no observer's votes; expected it taken out, nuisance: in "
                "dataset.yaml to name it, or another name where it is"
            )
        if column in columns:
            first = header[columns.index(column)]
            same = f"{first!r} and {name!r} both are {column}" if column != name else f"{column!r} twice"
            raise InputError(f"{path}, line 1: columns {same}; expected one")
        columns.append(column)
    return columns
