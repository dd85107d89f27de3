"""Your own data set: a folder with images, a CSV of votes or scores and, if you like, a `dataset.yaml` with its facts.

The CSV is one of three tables, told by their headers; each may have content, reference, distortion, level besides:

    long      observer, image, vote and maybe session, duration, timestamp; without observer all votes are one person's
    wide      image and one column of votes per observer; an empty cell was not rated
    scores    image, mos (or dmos) and maybe mos_std, n_votes
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from iqasuite.datasets import adapters
from iqasuite.datasets.dataset import Dataset
from iqasuite.datasets.frames import IMAGES, validate
from iqasuite.datasets.image_names import Located, inside, located
from iqasuite.datasets.rating_tables import ABOUT_IMAGE, is_blank, number_cells, rated, read_table
from iqasuite.datasets.spreadsheets import is_left_behind
from iqasuite.errors import InputError
from iqasuite.images.endings import IMAGES as IMAGE_ENDINGS
from iqasuite.images.loading import fitted, image_size
from iqasuite.yaml_files import is_file_name, read_yaml, shown

_log = logging.getLogger(__name__)

FACTS = "dataset.yaml"
_COLUMNS = (str, list)  # one, or several
_KEYS = {
    "name": str,
    "scale": dict,
    "licence": str,
    "citation": str,
    "display_size": list,
    "fit": str,
    "ratings": str,
    "nuisance": _COLUMNS,
}
_MOST_NUISANCES = 5  # each is a row of every table of methods
_SCALE_KEYS = {"low": float, "high": float, "higher_is_better": bool, "name": str}


def load(folder: Path | str, missing: str = "error") -> Dataset:
    """The data set in a folder.

    The CSV is the only one that lies in the folder itself, or the one that `dataset.yaml` names. Images are found by
    their path below the folder, or by a name that only one file has (`image_names.located`).
    `dataset.yaml` may have name, licence, citation, display_size: [height, width], fit: crop or letterbox (for images
    of another shape), ratings: <file>.csv, nuisance: columns of the CSV that may give quality away, and
    scale: {low, high, higher_is_better, name}; a scale that is not stated is told from the values, which is logged.

    `mos`, `mos_std` and `n_votes` are on the set's own scale, turned so that higher = better (low + high − value), from
    each person's first vote on each image. The votes themselves are brought to 1–5 by fifths of that scale
    (`rating_tables.five_classes`). Without content and reference every image is a content of its own, which is logged;
    without display_size the size that most images have is taken, which is logged where there are several.

    Args:
        folder: with the images, in subfolders as you like.
        missing: where images of the table are absent, "error" stops, "drop" goes on without them.

    Raises:
        InputError: no, several or wrong tables; a value that is none of its column, outside the scale or given twice;
            images absent or outside the folder; a nuisance that is no column, is empty, or differs between rows of one
            image. The message names the file, the line and the column.
    """
    folder = Path(folder)
    if missing not in ("error", "drop"):
        raise InputError(f"missing={missing!r}: expected 'error' or 'drop'")
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected one with images and a CSV of ratings")
    facts = _facts(folder)
    path = _table_path(folder, facts.get("ratings"))
    table, given, cells = read_table(path, facts.get("nuisance", ()))
    scores, votes, scale = rated(table, given, facts.get("scale", {}), path)
    unrated = table["image"].nunique() - len(scores)
    if unrated:
        _log.info("%s: %d images without any vote; left out", path, unrated)
    table = table[table["image"].isin(scores.index)]
    about = [column for column in ABOUT_IMAGE if column in table.columns]
    cells = cells.loc[table.index]
    _check_the_same(table[about], given, path)
    _check_the_same(cells.assign(image=table["image"]), {}, path)
    rows = table[about].drop_duplicates("image")
    named = rows.get("reference", pd.Series("", index=rows.index))
    images, references = located(rows["image"], named, _files(folder), folder, path)
    _report_absent(images, folder, path, missing)
    found, absent = images.found, list(images.absent)
    if not found:
        raise InputError(f"{path}: all {len(absent)} images absent; expected them in {folder} or below")
    _report_absent(references, folder, path, missing, "references")
    images = _images(rows, given, found, references.found, path).join(scores, on="name")
    return Dataset(
        name=facts.get("name") or _name_of(folder),
        root=folder,
        images=validate(images[list(IMAGES)], "images", str(path)),
        votes=_here(votes, found, path),
        scale=scale,
        display_size=_display_size(folder, images["image"], facts.get("display_size"), facts.get("fit", "crop")),
        fit=facts.get("fit", "crop"),
        nuisances=_nuisances(cells, table["image"].map(found), path),
        sources={content: content for content in images["content"].unique()},
        absent=absent,
        licence=facts.get("licence", ""),
        citation=facts.get("citation", ""),
    )


def _facts(folder: Path) -> dict[str, Any]:
    """What `dataset.yaml` says, checked; {} where there is none."""
    path = folder / FACTS
    if not path.is_file():
        if (folder / "dataset.yml").is_file():
            raise InputError(f"{folder / 'dataset.yml'}: expected the name {FACTS}")
        return {}
    facts = read_yaml(path)
    facts = {} if facts is None else facts
    _check_keys(facts, _KEYS, str(path))
    if "scale" in facts:
        _check_keys(facts["scale"], _SCALE_KEYS, f"{path}: scale")
        low, high = facts["scale"].get("low"), facts["scale"].get("high")
        if (low is None) != (high is None) or (low is not None and not low < high):
            raise InputError(f"{path}: scale has low {low} and high {high}; expected two numbers, low below high")
    if "display_size" in facts:
        size = facts["display_size"]
        if len(size) != 2 or any(type(side) is not int or not 1 <= side <= 2**15 for side in size):
            raise InputError(f"{path}: display_size is {shown(size)}; expected [height, width] in pixels")
        facts["display_size"] = tuple(size)
    if facts.get("fit", "crop") not in ("crop", "letterbox"):
        raise InputError(f"{path}: fit is {shown(facts['fit'])}; expected crop or letterbox")
    if "nuisance" in facts:
        facts["nuisance"] = _columns_named(facts["nuisance"], path)
    if "name" in facts and not is_file_name(facts["name"]):
        raise InputError(f"{path}: name is {shown(facts['name'])}; expected letters, digits, and _ . - within")
    if len(facts.get("ratings", "").encode()) > 200:
        raise InputError(f"{path}: ratings is {shown(facts['ratings'])}; expected the name of a file in the folder")
    if facts.get("name") in adapters.NAMES:
        raise InputError(f"{path}: name is {facts['name']!r}, which is another data set's; expected one of its own")
    return facts


def _columns_named(found: str | list[Any], path: Path) -> list[str]:
    """The names of the nuisances' columns."""
    names = [found] if isinstance(found, str) else found
    if not all(isinstance(name, str) and name.strip() for name in names) or len(set(map(str, names))) < len(names):
        raise InputError(f"{path}: nuisance is {shown(found)}; expected names of different columns")
    if len(names) > _MOST_NUISANCES:
        raise InputError(f"{path}: nuisance has {len(names)} columns; expected {_MOST_NUISANCES} at most")
    return names


def _check_keys(found: Any, keys: dict[str, Any], where: str) -> None:
    if not isinstance(found, dict):
        raise InputError(f"{where}: {type(found).__name__}; expected keys {', '.join(keys)}")
    for key, value in found.items():
        if key not in keys:
            raise InputError(f"{where}: key {key!r} unknown; expected one of {', '.join(keys)}")
        right = isinstance(value, keys[key]) or (keys[key] is float and type(value) is int)
        if not right:
            expected = {
                dict: "keys with values",
                list: "a list",
                float: "a number",
                bool: "true or false",
                str: "text",
                _COLUMNS: "the name of a column, or a list of them",
            }
            raise InputError(f"{where}: {key} is {shown(value)}; expected {expected[keys[key]]}")


def _name_of(folder: Path) -> str:
    """Of its folder and the one above; the end tells it from all other folders, whatever these are called."""
    whole = folder.resolve()
    above = "" if whole.parent == Path.home() else whole.parent.name  # who somebody is is nobody's business
    readable = "_".join(name for name in map(_safe, (above, whole.name)) if name)
    name = f"{readable or 'own'}-{hashlib.sha256(os.fsencode(whole.as_posix())).hexdigest()[:6]}"
    _log.info("%s: called %s; name: … in %s says another", folder, name, FACTS)
    return name


def _safe(name: str) -> str:
    """The name with what is awkward in file names replaced."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name).lstrip(".-")


def _table_path(folder: Path, named: str | None) -> Path:
    if named is not None:
        path = folder / inside(named, f"{folder / FACTS}: ratings")
        if not path.is_file():
            raise InputError(f"{folder / FACTS}: ratings is {named!r}; expected a file in the folder")
        return path
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() == ".csv" and not is_left_behind(p.name))
    if not found:
        raise InputError(
            f"{folder}: no CSV file in it; expected one with the ratings (a spreadsheet saved as CSV UTF-8)"
        )
    if len(found) > 1:
        names = ", ".join(p.name for p in found[:5])
        raise InputError(
            f"{folder}: {len(found)} CSV files ({names}); expected one, or its name in {FACTS} (ratings: …)"
        )
    return found[0]


def _files(folder: Path) -> list[PurePosixPath]:
    """Images below the folder, relative to it, in order; hidden ones are left out."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_left_behind(name)]
        below = PurePosixPath(Path(parent).relative_to(folder).as_posix())
        found += [below / n for n in names if not is_left_behind(n) and Path(n).suffix.lower() in IMAGE_ENDINGS]
    if not found:
        raise InputError(f"{folder}: no images in it or below; expected PNG, JPEG, WebP, TIFF, BMP …")
    return sorted(found)


def _display_size(folder: Path, images: Iterable[str], stated: tuple[int, int] | None, fit: str) -> tuple[int, int]:
    """(height, width) that is stated, or that of most images; of equally frequent sizes the larger."""
    sizes = []
    for image in images:
        try:
            width, height = image_size(folder / image)
            sizes.append((height, width))
        except InputError as error:  # whoever reads the pixels, or checks the set, will hear of it
            _log.warning("%s", error)
    if not sizes and stated is None:
        raise InputError(f"{folder}: none of its images can be read; expected PNG, JPEG, …")
    counts = Counter(sizes)
    height, width = stated or max(counts, key=lambda size: (counts[size], size))
    if stated is None and len(counts) > 1:
        _log.warning(
            "%s: images of %d sizes, %d of %d×%d (width×height), which all are brought to for networks; "
            "display_size: [height, width] in %s says another",
            *(folder, len(counts), counts[height, width], width, height, FACTS),
        )
    _say_what_is_fitted(folder, counts, (height, width), fit)
    return int(height), int(width)


def _say_what_is_fitted(folder: Path, counts: Counter[tuple[int, int]], size: tuple[int, int], fit: str) -> None:
    """How networks are shown the images of another shape, and what says another way."""
    others = [shape for shape in counts if fitted(shape, size) != "stretch"]
    if not others:
        return
    height, width = size
    seen = min(min(h * width / (w * height), w * height / (h * width)) for h, w in others)
    how, other = {
        "crop": (f"cropped to their centre ({100 * seen:.0f} % of the image at least)", "letterbox"),
        "letterbox": ("letterboxed with gray", "crop"),
    }[fit]
    _log.warning(
        "%s: %d of %d images have another shape than %d×%d (width×height) and are %s for networks; fit: %s in %s says "
        "another way",
        *(folder, sum(counts[shape] for shape in others), counts.total(), width, height, how, other, FACTS),
    )


def _report_absent(found: Located, folder: Path, path: Path, missing: str, what: str = "images") -> None:
    if not found.absent:
        return
    shown = "; ".join(list(found.absent.values())[:3])
    message = f"{path}: {len(found.absent)} of {len(found.absent) + len(found.found)} {what} absent ({shown} …)"
    if missing == "error":
        raise InputError(f"{message}; expected all in {folder} or below, or missing='drop' to go on without them")
    _log.warning("%s; dropped", message)


def _images(
    rows: pd.DataFrame, given: dict[str, str], found: dict[str, str], references: dict[str, str], path: Path
) -> pd.DataFrame:
    """What is known of every image that is here: name (in the table), image, content, reference, distortion, level.

    Args:
        rows: one of each image, columns of `ABOUT_IMAGE`.
        given: our names of the columns -> the file's.
        found, references: name -> file.
        path: the table, for messages.
    """
    rows = rows[rows["image"].isin(found)]
    rows = rows.assign(level=_levels(rows, given, path)).rename(columns={"image": "name"})
    rows["image"] = rows["name"].map(found)
    rows["distortion"] = rows.get("distortion", "")
    named = rows.pop("reference") if "reference" in rows else pd.Series("", index=rows.index)
    rows["reference"] = [references.get(name, "") for name in named]
    if "content" in rows:
        blank = rows.index[rows["content"] == ""]
        if len(blank):
            raise InputError(
                f"{path}, line {blank[0]}, column {given['content']}: empty; expected what the image shows"
            )
    else:
        shown = rows["reference"].where(rows["reference"] != "", named).where(named != "", rows["image"])
        rows["content"] = shown.map(_labels(shown))
        if (named == "").all():
            _log.warning(
                "%s: no column content or reference, so every image is a content of its own; images of one scene "
                "should share one, or they end up in training and test",
                path,
            )
    rows["reference"] = rows["reference"].where(rows["reference"] != rows["image"], "")
    return rows.reset_index(drop=True)


def _check_the_same(table: pd.DataFrame, given: dict[str, str], path: Path) -> None:
    """One image, one description, however many rows."""
    for column in table.columns.drop("image"):
        first = table.groupby("image")[column].transform("first")
        differs = table.index[table[column] != first]
        if len(differs):
            line = differs[0]
            raise InputError(
                f"{path}, line {line}, column {given.get(column, column)}: {table.at[line, column]!r} for "
                f"{table.at[line, 'image']!r}, before {first[line]!r}; expected the same in all its rows"
            )


def _nuisances(cells: pd.DataFrame, images: pd.Series, path: Path) -> pd.DataFrame:
    """What is known of each image that is here: numbers where all cells with a value are, else categories.

    Args:
        cells: as text, index = line.
        images: line -> file; nan where it is absent.
        path: the table, for messages.
    """
    of_image = cells.assign(image=images).dropna(subset="image").drop_duplicates("image").set_index("image")
    for column, values in of_image.items():
        filled = ~is_blank(values)
        numbers = pd.to_numeric(values[filled].str.replace(",", ".", n=1, regex=False), errors="coerce")
        finite = np.isfinite(numbers)  # what is not, as the PSNR of references, is no number to rank by
        if numbers.isna().any():
            _log.info("%s: nuisance %s: %d categories", path, column, values.nunique())
        elif finite.any():
            of_image[column] = numbers.where(finite).reindex(values.index).astype(float)
            _log.info("%s: nuisance %s: numbers, of %d images", path, column, finite.sum())
        else:
            raise InputError(f"{path}, column {column}: no value for any image; expected a nuisance's")
    return of_image


def _levels(rows: pd.DataFrame, given: dict[str, str], path: Path) -> pd.Series:
    levels = pd.Series(np.nan, index=rows.index)
    if "level" in rows:
        filled = number_cells(rows.loc[rows["level"] != "", "level"], given["level"], path)
        levels[filled.index] = filled
    return levels


def _labels(paths: Iterable[str]) -> dict[str, str]:
    """Path -> stem, or the path without ending where several have one stem."""
    whole = {path: str(PurePosixPath(path).with_suffix("")) for path in set(paths)}
    stems = {path: PurePosixPath(path).stem for path in whole}
    return stems if len(set(stems.values())) == len(stems) else whole


def _here(votes: pd.DataFrame, found: dict[str, str], path: Path) -> pd.DataFrame:
    """The votes on images that are here, under the paths of these."""
    here = votes[votes["image"].isin(found)]
    return validate(here.assign(image=here["image"].map(found)), "votes", str(path))
