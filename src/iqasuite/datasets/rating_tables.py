"""Tables of ratings as people make them: votes in rows, a column of votes per observer, or scores.

Cells come as text with the number of their line, and every message names file, line and column.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from iqasuite.datasets.card import Scale
from iqasuite.datasets.dataset import first_votes
from iqasuite.datasets.frames import VOTE_SCALE, VOTES, empty, validate
from iqasuite.datasets.spreadsheets import read_rows, read_times
from iqasuite.errors import InputError

_log = logging.getLogger(__name__)

# What people call the columns; compared in lower case without blanks, points, hyphens and underscores.
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
# In the order in which they are tried: the first that holds all values is taken.
_WHOLE_SCALES = ((1, 5), (1, 7), (1, 9), (1, 10), (0, 4), (0, 5), (0, 10), (-3, 3), (0, 100))
_OTHER_SCALES = ((0, 1), (1, 5), (1, 7), (1, 9), (1, 10), (0, 5), (0, 10), (-3, 3), (0, 100))
# What is no vote among votes: codes for "not rated" (a slip of the hand is told by its rarity), and columns that are
# nobody's, compared as above. People may be called Max or Min, so these two are told by their values.
_CODES = (-999, -99, -9, -1, 9, 77, 88, 98, 99, 999, 9999)
_COUNTERS = re.compile(r"(unnamed:?\d*|index|idx|row|rownumber|number|no|nr|id|#)?")
_NOT_RATED = {"", "na", "n/a", "nan", "null", "none", "-", "–", "."}
_SUMMARY = re.compile(
    "(mean|average|avg|arithmeticmean|median|std|stddev|stdev|standarddeviation|variance|sum|total|overall|mos)"
    "(of)?(all)?(vote|score|rating|opinion)?s?"
)
_NO_PERSON = re.compile(
    "ci|ci95|sem|n|count|num|number|votes|ratings|rank|order|position|trial|width|height|size|filesize|bytes|quality|"
    r"qp|crf|qf|bitrate|bpp|psnr|ssim|msssim|vmaf|niqe|brisque|lpips|unnamed:?\d+|index|idx|id|no|nr|row|#"
)
_DISCRETE = 20  # different values, at most
_STATE_IT = "dataset.yaml (scale: {low: %g, high: %g, higher_is_better: %s})"


def read_table(path: Path, nuisances: Sequence[str] = ()) -> tuple[pd.DataFrame, dict[str, str], pd.DataFrame]:
    """Any of the three tables.

    Args:
        path: a CSV file.
        nuisances: columns that belong to no table, or have a part in it besides (content, level).

    Returns:
        Cells as text without blanks around them, under our names of the columns (observers keep theirs), index = line;
        our name of each column -> the file's; and the cells of the nuisances under the file's names. Votes in rows have
        a column vote, scores a column mos.

    Raises:
        InputError: not CSV, no rows, columns of none or of several of the tables, no name of an image, a nuisance that
            is no column or one of ratings.
    """
    header, rows = read_rows(path, "a table of ratings")
    if not header:
        raise InputError(f"{path}, line 1: empty; expected a header like image,mos or observer,image,vote")
    lines, cells = [], []
    for line, fields in rows:
        lines.append(line)
        cells.append([field.strip() for field in fields])
    if not cells:
        raise InputError(f"{path}, line 2: no ratings; expected at least one row under the header")
    raw = pd.DataFrame(cells, index=lines, columns=range(len(header)), dtype=object)
    places = [_place(name, header, path) for name in nuisances]
    for i, name in enumerate(nuisances):
        if places[i] in places[:i]:
            first = nuisances[places.index(places[i])]
            raise InputError(
                f"{path}, line 1: nuisances {first!r} and {name!r} are one column; expected different ones"
            )
    apart = raw[places].set_axis([header[i] for i in places], axis=1)
    raw = raw.drop(columns=[i for i in places if not _has_a_part(i, places, header)])
    for i, name in enumerate(header):  # spreadsheets leave empty columns behind, pandas and others numbers of rows
        if i in places:
            continue
        nameless = re.fullmatch(r"(unnamed:\d+)?", _plain(name))
        if not name and (raw[i] == "").all():
            raw = raw.drop(columns=i)
        elif _COUNTERS.fullmatch(_plain(name)) and _counts(raw[i], in_order=not (i == 0 and nameless)):
            _log.info("%s: column %d (%s) numbers the rows; left out", path, i + 1, name or "without a name")
            raw = raw.drop(columns=i)
        elif not name:
            raise InputError(f"{path}, line 1: column {i + 1} has no name; expected one")
    header = [header[i] for i in raw.columns]
    columns = _columns(header, path)
    raw.columns = columns
    given = dict(zip(columns, header, strict=True))
    read = [f"{name} is {column}" for column, name in given.items() if column != name]
    if read:
        _log.info("%s: columns read as: %s", path, ", ".join(read))
    empty_names = raw.index[raw["image"] == ""]
    if len(empty_names):
        raise InputError(f"{path}, line {empty_names[0]}, column {given['image']}: empty; expected an image")
    return raw, given, apart


def _place(name: str, header: Sequence[str], path: Path) -> int:
    """Where in the header a declared nuisance is."""
    found = [i for i, column in enumerate(header) if column == name]
    found = found or [i for i, column in enumerate(header) if _plain(column) == _plain(name)]
    if len(found) != 1:
        number = "no column" if not found else f"{len(found)} columns"
        raise InputError(f"{path}, line 1: nuisance {name!r} is {number} of {', '.join(header)}; expected one")
    meaning = _SYNONYMS.get(_plain(header[found[0]]))
    if meaning in ("image", "observer", "vote", "mos"):
        raise InputError(f"{path}, line 1: nuisance {name!r} is the column {meaning}; expected what is known of images")
    return found[0]


def _has_a_part(i: int, places: Sequence[int], header: Sequence[str]) -> bool:
    """Whether a nuisance is a column of its table besides: what it is called means one that no other column is."""
    others = {_SYNONYMS.get(_plain(name)) for k, name in enumerate(header) if k not in places}
    others |= {_SYNONYMS.get(_plain(header[k])) for k in places[: places.index(i)]}
    of_scores, of_votes = ("mos_std", "n_votes") if "mos" in others else (), "observer" in others or "vote" in others
    taken = {*ABOUT_IMAGE, *of_scores, *(_OF_VOTES if of_votes else ())}
    return _SYNONYMS.get(_plain(header[i])) in taken - others


def is_blank(cells: pd.Series) -> pd.Series:
    """Which cells say that there is no value."""
    return cells.str.lower().isin(_NOT_RATED)


def _plain(name: str) -> str:
    """A name as it is compared with others."""
    return re.sub(r"[\s._-]+", "", name).lower()


def _counts(cells: pd.Series, in_order: bool) -> bool:
    """Whether a column has whole numbers, each once; in order: 0, 1, 2 … or 1, 2, 3 …, rows left out maybe."""
    if not cells.str.fullmatch(r"\d{1,9}").all():
        return False
    numbers = cells.astype("int64")
    ordered = numbers.is_monotonic_increasing and numbers.max() <= 2 * len(numbers)
    return numbers.is_unique and (not in_order or ordered)


def _columns(header: Sequence[str], path: Path) -> list[str]:
    """Our names of the columns, once it is clear which table this is."""
    known = [_SYNONYMS.get(_plain(name), "") for name in header]
    if "observer" in known:  # the score that somebody gave is a vote
        known = ["vote" if column == "mos" and "vote" not in known else column for column in known]
        allowed, table, needed = {*ABOUT_IMAGE, *_OF_VOTES}, "votes in rows", ["image", "vote"]
    elif "mos" in known:
        allowed, table, needed = {*ABOUT_IMAGE, *_OF_SCORES}, "scores", ["image"]
    elif "vote" in known:
        if header[known.index("vote")].lower() == "rating":
            raise InputError(
                f"{path}, line 1: column {header[known.index('vote')]} may be scores or votes; expected it "
                "named mos, or vote (of one person), or a column observer besides"
            )
        allowed, table, needed = {*ABOUT_IMAGE, *_OF_VOTES}, "one person's votes", ["image"]
    else:
        allowed, table, needed = {*ABOUT_IMAGE, ""}, "one column of votes per observer", ["image", ""]
    for column in needed:
        if column not in known:
            what = f"column {column}" if column else "columns of votes or scores"
            raise InputError(
                f"{path}, line 1: no {what} in {', '.join(header)}; expected image,mos or observer,image,vote"
            )
    for name, column in zip(header, known, strict=True):
        if column not in allowed:
            raise InputError(
                f"{path}, line 1: column {name!r} does not belong to a table of {table}; expected it taken out, or "
                "nuisance: in dataset.yaml to name it"
            )
        if not column and (_SUMMARY.fullmatch(_plain(name)) or _NO_PERSON.fullmatch(_plain(name))):
            raise InputError(
                f"{path}, line 1: column {name!r} looks like no person's votes; expected it taken out, nuisance: in "
                "dataset.yaml to name it, or another name where it is"
            )
    columns = [column or name for name, column in zip(header, known, strict=True)]
    for i, column in enumerate(columns):
        if column in columns[:i]:
            first = header[columns.index(column)]
            same = f"{first!r} and {header[i]!r} both are {column}" if column != header[i] else f"{column!r} twice"
            raise InputError(f"{path}, line 1: columns {same}; expected one")
    return columns


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


def _optional_numbers(
    table: pd.DataFrame, column: str, given: dict[str, str], path: Path, expected: str = "a number"
) -> pd.Series:
    """A column of numbers 0 or more that may be absent or have empty cells (nan)."""
    numbers = pd.Series(np.nan, index=table.index)
    if column in table.columns:
        cells = table.loc[~is_blank(table[column]), column]
        filled = number_cells(cells, given[column], path, expected)
        below = filled.index[filled < 0]
        if len(below):
            found = cells[below[0]]
            raise InputError(f"{path}, line {below[0]}, column {given[column]}: found {found!r}, expected 0 or more")
        numbers[filled.index] = filled
    return numbers


def rated(
    table: pd.DataFrame, given: dict[str, str], stated: Mapping[str, Any], path: Path
) -> tuple[pd.DataFrame, pd.DataFrame, Scale]:
    """What a table says about its images.

    Args:
        table, given: from `read_table`.
        stated: low and high, higher_is_better, name of the scale, as far as they are stated.
        path: for the messages.

    Returns:
        mos (higher = better, on the own scale), mos_std and n_votes, index = the table's name of the image; votes frame
        with these names, votes brought to 1–5, without rows for a table of scores; the scale.

    Raises:
        InputError: a cell that is none of its column, outside the scale, or given twice.
    """
    if "mos" in table.columns:
        return _scores(table, given, stated, path)
    ratings = _ratings(table, given, path)
    if "low" not in stated:
        _check_codes(ratings, path)
    scale = _scale(ratings["value"], stated, path, _higher_is_better(given.get("vote", "")))
    if "low" not in stated:
        _check_one_scale(ratings, scale, path)
    _check_inside(ratings, scale, path)
    return _means(ratings, scale), _votes(ratings, scale, path), scale


def five_classes(values: np.ndarray, low: float, high: float, n_levels: int | None = None) -> np.ndarray:
    """Values of any scale as classes 1–5 of equal width.

    Level i of k, counted from 0, becomes 1 + ⌊5(i + ½)/k⌋, so that 1–5 stays as it is; a value v of a continuous scale
    1 + ⌊5(v − low)/(high − low)⌋, the highest included in 5.

    Args:
        values: within low…high, higher = better, shape (n,).
        low, high: ends of the scale.
        n_levels: k, where the scale has levels one apart; None = it is continuous.

    Returns:
        int64, shape (n,).
    """
    values = np.asarray(values, dtype=np.float64)
    share = (values - low) / (high - low) if n_levels is None else (values - low + 0.5) / n_levels
    return (1 + np.floor(5 * share)).clip(*VOTE_SCALE).astype(np.int64)


def _ratings(table: pd.DataFrame, given: dict[str, str], path: Path) -> pd.DataFrame:
    """One row a rating: line, column (as the file names it), observer, session, image, value, duration, timestamp."""
    cells = table.assign(column=given["vote"]) if "vote" in table.columns else _stacked(table, path)
    if "observer" not in cells.columns:
        cells["observer"] = path.stem
    for column in ("observer", "session"):
        blank = cells.index[cells[column] == ""] if column in cells.columns else []
        if len(blank):
            raise InputError(f"{path}, line {blank[0]}, column {given[column]}: empty; expected a value")
    sessions = 1
    if "session" in cells.columns:
        sessions = number_cells(cells["session"], given["session"], path, "a whole number").astype("int64")
    ratings = pd.DataFrame(
        {
            "line": cells.index,
            "column": cells["column"],
            "observer": cells["observer"],
            "session": sessions,
            "image": cells["image"],
            "value": number_cells(cells["vote"], cells["column"], path),
            "duration": _optional_numbers(cells, "duration", given, path) if "duration" in given else np.nan,
            "timestamp": read_times(cells["timestamp"], given["timestamp"], path) if "timestamp" in given else pd.NaT,
        }
    ).reset_index(drop=True)
    for person in ratings["observer"].unique():
        if "observer" in table.columns and _SUMMARY.fullmatch(_plain(person)):
            line = ratings.loc[ratings["observer"] == person, "line"].iloc[0]
            raise InputError(f"{path}, line {line}, column {given['observer']}: found {person!r}, expected a person")
    if "vote" not in table.columns:
        _check_people(ratings, path)
    return _first_of_each(ratings, path)


def _stacked(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """A wide table as one row a vote: image, observer, column (the same), vote; index = line."""
    people = [column for column in table.columns if column not in ABOUT_IMAGE]
    cells = table[people].to_numpy(dtype=object)
    twice = table.index[table["image"].duplicated()]
    if len(twice):
        name = table.at[twice[0], "image"]
        first = table.index[table["image"] == name][0]
        raise InputError(
            f"{path}, line {twice[0]}: image {name!r} a second time (first in line {first}); expected one row"
        )
    row, person = np.nonzero(~table[people].apply(is_blank).to_numpy())
    if not len(row):
        raise InputError(f"{path}: no votes in the columns {', '.join(people)}; expected numbers")
    nobody = [name for i, name in enumerate(people) if i not in set(person)]
    if nobody:
        _log.warning("%s: no votes of %s", path, ", ".join(nobody))
    names = np.array(people, dtype=object)[person]
    columns = {"image": table["image"].to_numpy()[row], "observer": names, "column": names, "vote": cells[row, person]}
    return pd.DataFrame(columns, index=table.index[row], dtype=object)


def _first_of_each(ratings: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Each person's first vote on each image in a session: by its time where all have one, else by its row."""
    key = ["observer", "image", "session"]
    times = pd.to_datetime(ratings["timestamp"])
    ordered = ratings if times.isna().any() else ratings.iloc[np.argsort(times.to_numpy(), kind="stable")]
    again = ordered[ordered.duplicated(key)].sort_index()
    if len(again):
        row = again.iloc[0]
        _log.warning(
            "%s: %d votes on images that the person had rated before in the session (line %d: %s, %r); the first of "
            "each is kept",
            *(path, len(again), row["line"], row["observer"], row["image"]),
        )
    return ratings.drop(index=again.index).reset_index(drop=True)


def _check_people(ratings: pd.DataFrame, path: Path) -> None:
    """Columns of a wide table that were computed from the others, whatever they are called, are no person's votes."""
    table = ratings.pivot(index="line", columns="column", values="value")
    broken = (table * 2 != np.round(table * 2)).where(table.notna(), False).any()
    if 1 <= broken.sum() <= 2 <= (~broken).sum() and (table.loc[:, ~broken] % 1).fillna(0).eq(0).all(axis=None):
        column = broken.index[broken][0]
        line = table.index[(table[column] * 2 != np.round(table[column] * 2)) & table[column].notna()][0]
        raise InputError(
            f"{path}, line {line}, column {column}: found {table.at[line, column]:g}, where the columns of others have "
            "whole numbers; expected votes, or the column taken out"
        )
    for column in table.columns:
        others = table.drop(columns=column)
        rows = others[(others.notna().sum(axis=1) >= 2) & table[column].notna()]
        if (rows.nunique(axis=1) > 1).sum() < 3:
            continue
        computed = {"mean": rows.mean(axis=1), "sum": rows.sum(axis=1)}
        if _plain(column) in ("max", "maximum", "min", "minimum"):
            computed |= {"maximum": rows.max(axis=1), "minimum": rows.min(axis=1)}
        for what, values in computed.items():
            if (table.loc[rows.index, column] - values).abs().max() < 0.0051:
                raise InputError(
                    f"{path}, column {column}: the {what} of the other columns in every row; expected one person's "
                    "votes, or the column taken out"
                )


def _check_codes(ratings: pd.DataFrame, path: Path, of_scores: bool = False) -> None:
    """Raises InputError where a value rather says that there is no vote; an end of a scale that is stated does not."""
    values = ratings["value"].to_numpy()
    code = _code(values, of_scores)
    if code is not None:
        first = ratings[values == code].iloc[0]
        others = values[values != code]
        low, high = min(code, 1), max(code, np.ceil(others.max()), 5)
        raise InputError(
            f"{path}, line {first['line']}, column {first['column']}: found {code:g} ({(values == code).sum()} in all) "
            f"among values {others.min():g} to {others.max():g}; expected nothing where an image was not rated, or, if "
            f"it is a vote, the scale stated in {_STATE_IT % (low, high, 'true')}"
        )


def _code(values: np.ndarray, of_scores: bool = False) -> float | None:
    """The value that stands apart from the votes (or scores) of a scale of up to ten levels; None = there is none."""
    levels, counts = np.unique(values, return_counts=True)
    share = dict(zip(levels, counts / len(values), strict=True))
    below, above = levels[levels < 0], levels[levels > 10]
    if len(below) == 1 and below[0] in _CODES:
        return below[0]
    if 0 < len(above) <= 2 and (values <= 10).mean() > 0.5 and not (of_scores and set(above) - set(_CODES)):
        return above[0]
    if len(above) or len(below):
        return None
    high = levels[levels > 5]
    if len(high) == 1 and np.isin(levels, range(1, 6)).sum() >= 3 and not (of_scores and high[0] not in _CODES):
        gap = high[0] - levels[-2]
        if gap >= 3 or (len(values) >= 20 and share[high[0]] <= 0.05):
            return high[0]
    return 0.0 if levels[0] == 0 and len(levels) > 1 and levels[1] >= 1 else None


def _scores(
    table: pd.DataFrame, given: dict[str, str], stated: Mapping[str, Any], path: Path
) -> tuple[pd.DataFrame, pd.DataFrame, Scale]:
    """Scores by image (mos, mos_std, n_votes), no votes, and the scale."""
    twice = table.index[table["image"].duplicated()]
    if len(twice):
        name = table.at[twice[0], "image"]
        first = table.index[table["image"] == name][0]
        raise InputError(
            f"{path}, line {twice[0]}: image {name!r} a second time (first in line {first}); expected one score "
            "per image"
        )
    values = number_cells(table["mos"], given["mos"], path)
    if "low" not in stated and _higher_is_better(given["mos"]):
        named = {"value": values, "line": values.index, "column": given["mos"]}
        _check_codes(pd.DataFrame(named), path, of_scores=True)
    scale = _scale(values, stated, path, _higher_is_better(given["mos"]))
    outside = np.flatnonzero((values < scale.low) | (values > scale.high))
    if len(outside):
        i = int(outside[0])
        raise InputError(
            f"{path}, line {values.index[i]}, column {given['mos']}: found {table['mos'].iloc[i]!r}, expected "
            f"{scale.low:g} to {scale.high:g}"
        )
    n_votes = _optional_numbers(table, "n_votes", given, path, "a whole number").fillna(0)
    scores = {
        "mos": scale.upward(values.to_numpy()),
        "mos_std": _optional_numbers(table, "mos_std", given, path).to_numpy(),
        "n_votes": n_votes.to_numpy(np.int64),
    }
    return pd.DataFrame(scores, index=pd.Index(table["image"], name="name")), empty("votes"), scale


def _higher_is_better(column: str) -> bool:
    """Differences to a reference (dmos) count how much worse an image is."""
    return not column.lower().startswith("dmos")


def _scale(values: pd.Series, stated: Mapping[str, Any], path: Path, higher_is_better: bool) -> Scale:
    """The scale that is stated, else the first usual one that holds all values."""
    better = stated.get("higher_is_better", higher_is_better)
    whole = bool((values == np.round(values)).all())
    if stated.get("low") is not None:
        low, high = stated["low"], stated["high"]
    else:
        usual = _WHOLE_SCALES if whole else _OTHER_SCALES
        fitting = [(low, high) for low, high in usual if low <= values.min() and values.max() <= high]
        if not fitting:
            raise InputError(
                f"{path}: values {values.min():g} to {values.max():g} are of no usual scale; expected it stated in "
                f"{_STATE_IT % (np.floor(values.min()), np.ceil(values.max()), 'true')}"
            )
        low, high = fitting[0]
    if "low" not in stated or "higher_is_better" not in stated:
        _log.info(
            f"%s: rating scale taken to be %g to %g, %s = better, from values %g to %g; confirm it in {_STATE_IT}",
            *(path, low, high, "higher" if better else "lower", values.min(), values.max()),
            *(low, high, str(better).lower()),
        )
    if not better:
        _log.info("%s: lower is better, so mos = %g − value", path, low + high)
    name = stated.get("name") or ("ACR" if (low, high) == VOTE_SCALE and whole else f"{low:g} to {high:g}")
    return Scale(float(low), float(high), better, name)


def _check_one_scale(ratings: pd.DataFrame, scale: Scale, path: Path) -> None:
    """Somebody who used a tenth of a wide scale that others used whole was probably shown another one."""
    used = ratings.groupby("observer")["value"].agg(["max", "count"])
    small = used[(used["count"] >= 5) & (used["max"] <= scale.high / 10)]
    if scale.high >= 50 and 0 < len(small) < len(used):
        raise InputError(
            f"{path}: votes of {small.index[0]} go up to {small['max'].iloc[0]:g}, those of others up to "
            f"{used['max'].max():g}; expected one scale for all, or it stated in "
            f"{_STATE_IT % (scale.low, scale.high, str(scale.higher_is_better).lower())}"
        )


def _check_inside(ratings: pd.DataFrame, scale: Scale, path: Path) -> None:
    outside = np.flatnonzero(~ratings["value"].between(scale.low, scale.high))
    if len(outside):
        row = ratings.iloc[int(outside[0])]
        raise InputError(
            f"{path}, line {row['line']}, column {row['column']}: found {row['value']:g}, expected {scale.low:g} to "
            f"{scale.high:g}"
        )


def _votes(ratings: pd.DataFrame, scale: Scale, path: Path) -> pd.DataFrame:
    """Votes frame with the table's names of the images; positions where the times tell the order."""
    values = ratings["value"].to_numpy()
    levels = np.append(values, [scale.low, scale.high])
    discrete = bool((levels == np.round(levels)).all()) and len(np.unique(values)) <= _DISCRETE
    n_levels = round(scale.high - scale.low) + 1 if discrete else None
    classes = five_classes(scale.upward(values), scale.low, scale.high, n_levels)
    if not np.array_equal(classes, values):
        kind = f"{n_levels} levels" if discrete else "continuous"
        _log.info(
            "%s: votes of %g to %g (%s) are brought to 1–5 by fifths; mos is on the own scale",
            *(path, scale.low, scale.high, kind),
        )
    return validate(ratings.assign(vote=classes, position=_positions(ratings))[list(VOTES)], "votes", str(path))


def _positions(ratings: pd.DataFrame) -> np.ndarray:
    """Order of the votes in each session; 0 in sessions of which a time is missing or occurs twice."""
    if ratings["timestamp"].isna().all():
        return np.zeros(len(ratings), dtype=np.int64)
    sessions = ratings.assign(timestamp=pd.to_datetime(ratings["timestamp"])).groupby(["observer", "session"])
    known = sessions["timestamp"].transform("nunique") == sessions["image"].transform("size")
    return sessions["timestamp"].rank().where(known, 0).to_numpy().astype(np.int64)


def _means(ratings: pd.DataFrame, scale: Scale) -> pd.DataFrame:
    """Mean of each person's first value of each image, by image: mos, mos_std (n − 1), n_votes."""
    first = first_votes(ratings.assign(position=_positions(ratings)))
    grouped = first.assign(value=scale.upward(first["value"].to_numpy())).groupby("image")["value"]
    means = grouped.agg(mos="mean", mos_std="std", n_votes="count").astype({"n_votes": "int64"})
    return means.rename_axis("name")
