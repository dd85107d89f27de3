"""A study's folder: images, a CSV of votes or scores and, maybe, a `dataset.yaml` with its facts.

The CSV is one of three tables, told by their headers; each may have content, reference, distortion, level besides:

    long      observer, image, vote and maybe session, duration, timestamp; without observer all votes are one's
    wide      image and one column of votes per observer; an empty cell was not rated
    scores    image, mos (or dmos) and maybe mos_std, n_votes
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from iqasuite.datasets.dataset import Dataset, Scale
from iqasuite.datasets.frames import IMAGES, VOTE_SCALE, empty, validate
from iqasuite.datasets.image_names import Located, inside, located
from iqasuite.datasets.layout import check_absent, check_missing
from iqasuite.datasets.rating_columns import ABOUT_IMAGE, RatingTable, is_blank, number_cells, read_table
from iqasuite.datasets.rating_tables import rated
from iqasuite.datasets.spreadsheets import is_left_behind
from iqasuite.datasets.study_facts import FACTS, read_facts
from iqasuite.errors import InputError
from iqasuite.images.endings import IMAGES as IMAGE_ENDINGS
from iqasuite.images.loading import fitted, image_size

_log = logging.getLogger(__name__)


def load(folder: Path | str, missing: str = "error") -> Dataset:
    """The data set in a folder.

    The CSV is the only one that lies in the folder itself, or the one that `dataset.yaml` names. Images are found by
    their path below the folder, or by a name that only one file has (`image_names.located`). A scale that
    `dataset.yaml` does not state is told from the values, which is logged.

    `mos`, `mos_std` and `n_votes` are on the set's own scale, turned so that higher = better (low + high − value), from
    each observer's first vote on each image. The votes themselves are brought to 1–5 by fifths of that scale
    (`rating_scales.five_classes`). Without content and reference every image is a content of its own, which is logged;
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
    check_missing(missing)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected one with images and a CSV of ratings")
    facts = read_facts(folder)
    table = read_table(_table_path(folder, facts.ratings), facts.nuisance)
    scores, votes, scale = rated(table, facts.scale.model_dump(exclude_none=True))
    unrated = table.cells["image"].nunique() - len(scores)
    if unrated:
        _log.info("%s: %d images without any vote; left out", table.path, unrated)
    table = _of_images(table, scores.index)
    _check_the_same(table)
    images, references = _located(table, folder, missing)
    files = images.files
    table = _of_images(table, files)
    frame = _images(table, files, references.files).join(scores, on="name")
    frame = validate(frame[list(IMAGES)], "images", str(table.path))
    votes = votes[votes["image"].isin(files)]
    return Dataset(
        name=facts.name or _name_of(folder),
        root=folder,
        images=frame,
        votes=validate(votes.assign(image=votes["image"].map(files)), "votes", str(table.path)),
        scale=scale,
        display_size=_display_size(folder, frame["image"], facts.display_size, facts.fit),
        fit=facts.fit,
        nuisances=_nuisances(table, files),
        absent=list(images.absent),
        licence=facts.licence,
        citation=facts.citation,
    )


def unrated(folder: Path | str) -> Dataset:
    """The images in a folder and below it, to be rated; a table of ratings is not looked at.

    Each is shown at the display size that `dataset.yaml` states, else at its own. Links that lead out of the folder are
    left out.

    Raises:
        InputError: no such folder, no images in it, a wrong `dataset.yaml`.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected one with images")
    facts, root = read_facts(folder), folder.resolve()
    images = [str(file) for file in _files(folder) if (folder / file).resolve().is_relative_to(root)]
    if not images:
        raise InputError(f"{folder}: its images are links that lead out of it; expected images")
    frame = pd.DataFrame({"image": images, "content": images}).reindex(columns=list(IMAGES))
    return Dataset(
        name=facts.name or _name_of(folder),
        root=folder,
        images=validate(frame.fillna({"n_votes": 0}), "images", str(folder)),
        votes=empty("votes"),
        scale=Scale(*VOTE_SCALE),
        display_size=None if facts.display_size is None else (facts.display_size[0], facts.display_size[1]),
        fit=facts.fit,
    )


def _name_of(folder: Path) -> str:
    """Of its folder and the one above; the end tells it from all other folders, whatever these are called."""
    whole = folder.resolve()
    above = "" if whole.parent == Path.home() else whole.parent.name  # names of users are private
    safe = (re.sub(r"[^A-Za-z0-9_.-]+", "_", name).lstrip(".-") for name in (above, whole.name))
    readable = "_".join(name for name in safe if name)
    name = f"{readable or 'own'}-{hashlib.sha256(os.fsencode(whole.as_posix())).hexdigest()[:6]}"
    _log.info("%s: called %s; name: … in %s says another", folder, name, FACTS)
    return name


def _table_path(folder: Path, named: str | None) -> Path:
    if named is not None:
        path = folder / inside(named, f"{folder / FACTS}: ratings")
        if not path.is_file():
            raise InputError(f"{folder / FACTS}: ratings is {named!r}; expected a file in the folder")
        return path
    tables = sorted(p for p in folder.iterdir() if p.suffix.lower() == ".csv" and not is_left_behind(p.name))
    if not tables:
        raise InputError(
            f"{folder}: no CSV file in it; expected one with the ratings (a spreadsheet saved as CSV UTF-8)"
        )
    if len(tables) > 1:
        names = ", ".join(p.name for p in tables[:5])
        raise InputError(
            f"{folder}: {len(tables)} CSV files ({names}); expected one, or its name in {FACTS} (ratings: …)"
        )
    return tables[0]


def _files(folder: Path) -> list[PurePosixPath]:
    """Images below the folder, relative to it, in order; hidden ones are left out."""
    files = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_left_behind(name)]
        below = PurePosixPath(Path(parent).relative_to(folder).as_posix())
        files += [below / n for n in names if not is_left_behind(n) and Path(n).suffix.lower() in IMAGE_ENDINGS]
    if not files:
        raise InputError(f"{folder}: no images in it or below; expected PNG, JPEG, WebP, TIFF, BMP …")
    return sorted(files)


def _display_size(folder: Path, images: Iterable[str], stated: list[int] | None, fit: str) -> tuple[int, int]:
    """(height, width) that is stated, or that of most images; of equally frequent sizes the larger."""
    sizes = []
    for image in images:
        try:
            width, height = image_size(folder / image)
            sizes.append((height, width))
        except InputError as error:  # reading its pixels, or checking the set, is an error
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
    _log_fitted(folder, counts, (height, width), fit)
    return int(height), int(width)


def _log_fitted(folder: Path, counts: Counter[tuple[int, int]], size: tuple[int, int], fit: str) -> None:
    """How images of another shape are brought to the display size, and how to state another way."""
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


def _of_images(table: RatingTable, names: Collection[str]) -> RatingTable:
    """The rows of some images."""
    rows = table.cells["image"].isin(names)
    return replace(table, cells=table.cells[rows], nuisances=table.nuisances[rows])


def _located(table: RatingTable, folder: Path, missing: str) -> tuple[Located, Located]:
    """The files of images and of references, and the absent ones, which stop or are logged."""
    rows = table.cells.drop_duplicates("image")
    names = rows.get("reference", pd.Series("", index=rows.index))
    images, references = located(rows["image"], names, _files(folder), folder, table.path)
    for what, files in (("images", images), ("references", references)):
        n = len(files.absent)
        about = f"{table.path}: {n} of {n + len(files.files)} {what}"
        check_absent(list(files.absent.values()), about, missing, f"all in {folder} or below")
        if not images.files:
            raise InputError(f"{table.path}: all {n} images absent; expected them in {folder} or below")
    return images, references


def _images(table: RatingTable, files: dict[str, str], references: dict[str, str]) -> pd.DataFrame:
    """Properties of every image: name (in the table), image, content, reference, distortion, level.

    Args:
        table: rows of the images that have files.
        files, references: name -> file.
    """
    rows = table.cells[table.cells.columns.intersection(list(ABOUT_IMAGE))].drop_duplicates("image")
    names = rows.get("reference", pd.Series("", index=rows.index))
    rows = rows.rename(columns={"image": "name"}).assign(image=rows["image"].map(files))
    rows["distortion"] = rows.get("distortion", "")
    levels = rows.get("level", names[:0])
    rows["level"] = number_cells(levels[levels != ""], table.names.get("level", ""), table.path).reindex(rows.index)
    rows["reference"] = names.map(lambda name: references.get(name, ""))
    if "content" in rows:
        table.check_filled("content", "what the image shows")
    else:
        scenes = rows["reference"].where(rows["reference"] != "", names).where(names != "", rows["image"])
        rows["content"] = scenes.map(_labels(scenes))
        if (names == "").all():
            _log.warning(
                "%s: no column content or reference, so every image is a content of its own; images of one scene "
                "should share one, or they end up in training and test",
                table.path,
            )
    rows["reference"] = rows["reference"].where(rows["reference"] != rows["image"], "")
    return rows.reset_index(drop=True)


def _check_the_same(table: RatingTable) -> None:
    """One image, one description, however many rows."""
    images = table.cells["image"]
    properties = table.cells[table.cells.columns.intersection(list(ABOUT_IMAGE)).drop("image")]
    for column, cells in (*properties.items(), *table.nuisances.items()):
        first = cells.groupby(images).transform("first")
        differs = images.index[cells != first]
        if len(differs):
            line = differs[0]
            raise InputError(
                f"{table.where(line, column)}: {cells[line]!r} for {images[line]!r}, before {first[line]!r}; expected "
                "the same in all its rows"
            )


def _nuisances(table: RatingTable, files: dict[str, str]) -> pd.DataFrame:
    """Nuisances by image: numbers where all cells with a value are, else categories."""
    of_image = table.nuisances.assign(image=table.cells["image"].map(files)).drop_duplicates("image").set_index("image")
    for column, values in of_image.items():
        filled = ~is_blank(values)
        numbers = pd.to_numeric(values[filled].str.replace(",", ".", n=1, regex=False), errors="coerce")
        finite = np.isfinite(numbers)  # what is not, as the PSNR of references, is no number to rank by
        if numbers.isna().any():
            _log.info("%s: nuisance %s: %d categories", table.path, column, values.nunique())
        elif finite.any():
            of_image[column] = numbers.where(finite).reindex(values.index).astype(float)
            _log.info("%s: nuisance %s: numbers, of %d images", table.path, column, finite.sum())
        else:
            raise InputError(f"{table.path}, column {column}: no value for any image; expected a nuisance's")
    return of_image


def _labels(paths: Iterable[str]) -> dict[str, str]:
    """Path -> stem, or the path without ending where several have one stem."""
    whole = {path: str(PurePosixPath(path).with_suffix("")) for path in set(paths)}
    stems = {path: PurePosixPath(path).stem for path in whole}
    return stems if len(set(stems.values())) == len(stems) else whole
