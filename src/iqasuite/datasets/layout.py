"""From a folder in (about) its official layout and its table of scores to a Dataset: what the adapters share.

Archives of one set unpack differently (other parents, other case, one folder more), so files are found by the end of
their path, whatever the case and whatever lies above.
"""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from iqasuite.datasets.card import Card
from iqasuite.datasets.dataset import Dataset
from iqasuite.datasets.frames import IMAGES, empty, validate
from iqasuite.datasets.spreadsheets import composed, is_left_behind
from iqasuite.errors import InputError

_log = logging.getLogger(__name__)


class Files:
    """Every file below a folder, found by the end of its path; hidden files and those of archivers are left out."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise InputError(f"{self.root}: no such folder; expected the data set in it (iqasuite data get)")
        self._by_name: dict[str, list[PurePosixPath]] = defaultdict(list)
        for folder, folders, names in os.walk(self.root):
            folders[:] = sorted(name for name in folders if not is_left_behind(name))
            relative = PurePosixPath(Path(folder).relative_to(self.root).as_posix())
            for name in sorted(names):
                if not is_left_behind(name):
                    self._by_name[composed(name).lower()].append(relative / name)

    def find(self, name: str) -> str | None:
        """POSIX path below the root of the file whose path ends so; None = there is none.

        Args:
            name: file name, with as many parents as it takes to be unique ("jp2k/img2.bmp").

        Raises:
            InputError: several files end so.
        """
        wanted = PurePosixPath(composed(name).lower()).parts
        same = self._by_name.get(wanted[-1], ()) if wanted else ()
        matches = [p for p in same if PurePosixPath(composed(str(p)).lower()).parts[-len(wanted) :] == wanted]
        if len(matches) > 1:
            raise InputError(f"{self.root}: {len(matches)} files {name!r} ({matches[0]}, …); expected one")
        return str(matches[0]) if matches else None

    def need(self, *names: str) -> Path:
        """The first of these files that is there.

        Raises:
            InputError: none of them is.
        """
        for name in names:
            if path := self.find(name):
                return self.root / path
        raise InputError(f"{self.root}: no {' or '.join(names)} in it or below; expected the official layout")

    def below(self, folder: str, endings: Sequence[str]) -> list[str]:
        """POSIX paths below the root of files with one of these endings in a folder of this name, sorted."""
        return sorted(
            str(path)
            for same in self._by_name.values()
            for path in same
            if path.suffix.lower() in endings and folder.lower() in (part.lower() for part in path.parts[:-1])
        )


def located(files: Files, names: Iterable[str], missing: str, what: str = "images") -> tuple[dict[str, str], list[str]]:
    """Where the images of the official set are: official name -> path, and the names of absent ones.

    Raises:
        InputError: `missing` is neither "error" nor "drop"; files absent while it is "error"; all absent.
    """
    check_missing(missing)
    names = list(dict.fromkeys(names))
    paths = {name: path for name in names if (path := files.find(name)) is not None}
    absent = [name for name in names if name not in paths]
    check_absent(absent, f"{files.root}: {len(absent)} of {len(names)} {what}", missing if paths else "error")
    return paths, absent


def check_missing(missing: str) -> None:
    """Raises InputError where `missing` is neither "error" nor "drop"."""
    if missing not in ("error", "drop"):
        raise InputError(f"missing={missing!r}: expected 'error' or 'drop'")


def check_absent(absent: Sequence[str], what: str, missing: str, expected: str = "all") -> None:
    """Stop, or say in the log, where files of a set are absent.

    Args:
        absent: their names, or sentences about them.
        what: folder, how many of how many, and of what, for the message.
        missing: "error" or "drop".
        expected: for the message.

    Raises:
        InputError: files are absent while `missing` is "error".
    """
    check_missing(missing)
    if absent:
        message = f"{what} absent ({', '.join(absent[:3])} …)"
        if missing == "error":
            raise InputError(f"{message}; expected {expected}, or missing='drop' to go on without them")
        _log.warning("%s; dropped", message)


def scored(
    card: Card,
    files: Files,
    table: pd.DataFrame,
    missing: str = "error",
    *,
    distributions: pd.DataFrame | None = None,
    official: pd.DataFrame | None = None,
    sources: dict[str, str] | None = None,
) -> Dataset:
    """A data set of scores (no single votes) from its official table.

    Args:
        card: its facts; `card.scale` says which way the scores go.
        files: its folder.
        table: columns name (as officially named, with parents where it is not unique) and score (on the set's own scale
            and direction); optional content (default: the name's stem), reference (official name, "" = none),
            distortion, level, std (of the votes; default nan), n_votes (default 0 = not published).
        missing: "error" or "drop", for images and for references; a reference that is absent is "" under "drop".
        distributions: columns name, p1…p5, where published.
        official: columns name, part, and fold where there are several, where the set has an official split.
        sources: content -> source photograph; None = every content has its own.

    Raises:
        InputError: files absent, scores that are no numbers, a name listed twice.
    """
    if table.empty:
        raise InputError(f"{files.root}: the table of {card.name} lists no images; expected {card.n_images}")
    table = table.assign(name=table["name"].astype(str))
    if table["name"].duplicated().any():
        twice = table.loc[table["name"].duplicated(), "name"].iloc[0]
        raise InputError(f"{files.root}: table of {card.name} lists {twice!r} twice; expected each image once")
    paths, absent = located(files, table["name"], missing)
    images = _images(card, files, table[table["name"].isin(paths)].reset_index(drop=True), paths, missing)
    return Dataset(
        name=card.name,
        root=files.root,
        images=images,
        votes=empty("votes"),
        scale=card.scale,
        sources=sources or {},
        absent=absent,
        licence=card.licence,
        citation=card.citation,
        distributions=None if distributions is None else _by_path(distributions, paths),
        official_split=None if official is None else _split(official, paths, images),
    )


def _images(card: Card, files: Files, table: pd.DataFrame, paths: dict[str, str], missing: str) -> pd.DataFrame:
    """The images frame of a table whose images all have a file."""
    reference = table.get("reference", pd.Series("", index=table.index))
    references, _ = located(files, sorted(set(reference) - {""}), missing, "references")
    scores = pd.to_numeric(table["score"], errors="coerce")
    if scores.isna().any():
        row = int(np.flatnonzero(scores.isna())[0])
        raise InputError(f"{files.root}: score of {table['name'][row]}: {table['score'][row]!r}, expected a number")
    images = {
        "image": table["name"].map(paths),
        "content": table.get("content", table["name"].map(lambda name: PurePosixPath(name).stem)),
        "reference": reference.map(lambda name: references.get(name, "")),
        "distortion": table.get("distortion", ""),
        "level": table.get("level", np.nan),
        "mos": card.scale.upward(scores),
        "mos_std": table.get("std", np.nan),
        "n_votes": table.get("n_votes", 0),
    }
    return validate(pd.DataFrame(images, columns=list(IMAGES)), "images", card.name)


def _by_path(frame: pd.DataFrame, paths: dict[str, str]) -> pd.DataFrame:
    """The rows of images that have a file, column `name` (official) replaced by `image` (path)."""
    rows = frame[frame["name"].isin(paths)]
    rows.insert(0, "image", rows["name"].map(paths))
    return rows.drop(columns="name").reset_index(drop=True)


def _split(official: pd.DataFrame, paths: dict[str, str], images: pd.DataFrame) -> pd.DataFrame:
    rows = _by_path(official, paths)
    content = rows["image"].map(images.set_index("image")["content"])
    return validate(rows.assign(content=content, fold=rows.get("fold", 0)), "split", "official split")
