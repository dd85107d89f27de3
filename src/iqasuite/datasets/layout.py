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
        same = self._by_name.get(wanted[-1], ())
        found = [p for p in same if PurePosixPath(composed(str(p)).lower()).parts[-len(wanted) :] == wanted]
        if len(found) > 1:
            raise InputError(f"{self.root}: {len(found)} files {name!r} ({found[0]}, {found[1]}, …); expected one")
        return str(found[0]) if found else None

    def need(self, *names: str) -> Path:
        """The first of these files that is there.

        Raises:
            InputError: none of them is.
        """
        for name in names:
            found = self.find(name)
            if found:
                return self.root / found
        raise InputError(f"{self.root}: no {' or '.join(names)} in it or below; expected the official layout")

    def below(self, folder: str, endings: Sequence[str]) -> list[str]:
        """POSIX paths below the root of files with one of these endings in a folder of this name, sorted."""
        found = [
            path
            for same in self._by_name.values()
            for path in same
            if path.suffix.lower() in endings and folder.lower() in (part.lower() for part in path.parts[:-1])
        ]
        return sorted(map(str, found))


def located(files: Files, names: Iterable[str], missing: str, what: str = "images") -> tuple[dict[str, str], list[str]]:
    """Where the images of the official set are: official name -> path, and the names that are not here.

    Raises:
        InputError: `missing` is neither "error" nor "drop"; files absent while it is "error"; all absent.
    """
    if missing not in ("error", "drop"):
        raise InputError(f"missing={missing!r}: expected 'error' or 'drop'")
    found = {name: files.find(name) for name in names}
    absent = [name for name, path in found.items() if path is None]
    if absent:
        message = f"{files.root}: {len(absent)} of {len(found)} {what} absent ({', '.join(absent[:3])} …)"
        if missing == "error" or len(absent) == len(found):
            raise InputError(f"{message}; expected all, or missing='drop' to go on without them")
        _log.warning("%s; dropped", message)
    return {name: path for name, path in found.items() if path is not None}, absent


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
        sources: content -> source photograph; None = every content is its own.

    Raises:
        InputError: files absent, scores that are no numbers, a name listed twice.
    """
    if table.empty:
        raise InputError(f"{files.root}: the table of {card.name} lists no images; expected {card.n_images}")
    if table["name"].duplicated().any():
        twice = table.loc[table["name"].duplicated(), "name"].iloc[0]
        raise InputError(f"{files.root}: table of {card.name} lists {twice!r} twice; expected each image once")
    paths, absent = located(files, table["name"], missing)
    table = table[table["name"].isin(paths)].reset_index(drop=True)
    reference = table.get("reference", pd.Series("", index=table.index))
    wanted = sorted(set(reference) - {""})
    references = located(files, wanted, missing, "references")[0] if wanted else {}
    stem = table["name"].map(lambda name: PurePosixPath(name).stem)
    images = pd.DataFrame(
        {
            "image": table["name"].map(paths),
            "content": table.get("content", stem),
            "reference": reference.map(lambda name: references.get(name, "")),
            "distortion": table.get("distortion", ""),
            "level": table.get("level", np.nan),
            "mos": card.scale.upward(pd.to_numeric(table["score"], errors="coerce")),
            "mos_std": table.get("std", np.nan),
            "n_votes": table.get("n_votes", 0),
        },
        columns=list(IMAGES),
    )
    if images["mos"].isna().any():
        row = int(np.flatnonzero(images["mos"].isna())[0])
        raise InputError(f"{files.root}: score of {table['name'][row]}: {table['score'][row]!r}, expected a number")
    images = validate(images, "images", card.name)
    return Dataset(
        name=card.name,
        root=files.root,
        images=images,
        votes=empty("votes"),
        scale=card.scale,
        sources=sources or {content: content for content in images["content"].unique()},
        absent=absent,
        licence=card.licence,
        citation=card.citation,
        distributions=None if distributions is None else _renamed(distributions, paths).reset_index(drop=True),
        official_split=None if official is None else _split(official, paths, images),
    )


def _renamed(frame: pd.DataFrame, paths: dict[str, str]) -> pd.DataFrame:
    """The rows of images that are here, column `name` (official) replaced by `image` (path)."""
    here = frame[frame["name"].isin(paths)]
    here = here.assign(image=here["name"].map(paths)).drop(columns="name")
    return here[["image", *(name for name in here.columns if name != "image")]]


def _split(official: pd.DataFrame, paths: dict[str, str], images: pd.DataFrame) -> pd.DataFrame:
    here = _renamed(official, paths)
    content = here["image"].map(images.set_index("image")["content"])
    return validate(here.assign(content=content, fold=here.get("fold", 0)), "split", "official split")
