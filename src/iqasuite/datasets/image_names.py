"""Which file a name in a table means: that very path, or a name that only one file has; never another image's file."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath

import pandas as pd

from iqasuite.datasets.spreadsheets import composed
from iqasuite.errors import InputError
from iqasuite.images.endings import IMAGES, OTHERS

_log = logging.getLogger(__name__)
_ENDINGS = {*IMAGES, *OTHERS}
# Folders whose images are taken for a distorted one only where its path says so.
_REFERENCES = {
    *("ref", "refs", "reference", "references", "reference_images", "source", "sources", "src", "pristine", "gt"),
    *("original", "originals", "orig", "hq", "undistorted", "ground_truth"),
}


@dataclass
class Located:
    """What became of the names of a column.

    Attributes:
        files: name -> path of the file below the folder.
        absent: name -> where it stands and why no file was taken, for a message.
    """

    files: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)


def inside(name: str, where: str) -> PurePosixPath:
    """The name as a path below the folder.

    Raises:
        InputError: it leads out of it.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or PureWindowsPath(name).drive or ".." in path.parts or not path.parts:
        raise InputError(f"{where}: {name!r} is outside of the folder; expected a path within it")
    return path


def located(
    images: pd.Series, references: pd.Series, files: Sequence[PurePosixPath], folder: Path, table: Path
) -> tuple[Located, Located]:
    """The files of images and of their references.

    A name with folders is that path below the set's folder, or below the one folder in it that the whole column starts
    from; a name alone is the only file of that name. Case and the way in which accents are written do not count.
    A name without an ending, or with one that no file of the set has, is the only file of that stem in the named
    folder. Where a file is not named by its path, it must not be the one that another name means, and an image none
    of the references: neither in a folder of such a name, nor in the column, unless other images have it as theirs.
    All other names are absent.

    Args:
        images, references: names as in the table, index = line; "" = no reference.
        files: the image files below the folder, relative to it.
        folder, table: for the messages and for paths that begin with the folder's own name.

    Raises:
        InputError: a name leads out of the folder, or two names of images mean one file.
    """
    places = _Places(files)
    of_others = set(references[references != images.reindex(references.index)])
    of_images = _candidates(images, places, folder, table, of_others)
    of_references = _candidates(references[references != ""], places, folder, table, None)
    named = {c.file: c.name for c in of_images if c.by_path}
    second = _chosen(of_references, named)
    meant = {file: name if name in of_others else "the reference" for name, file in second.files.items()}
    first = _chosen(of_images, meant | named)
    taken: dict[str, str] = {}
    for candidate in of_images:
        file = first.files.get(candidate.name)
        if file in taken:
            raise InputError(
                f"{table}, line {candidate.line}: {candidate.name!r} and {taken[file]!r} are the same file {file}; "
                "expected one name"
            )
        if file is not None:
            taken[file] = candidate.name
    return first, second


@dataclass(frozen=True)
class _Candidate:
    """A name, the files that it may mean (one: `file`), whether by its path, and files that look like it."""

    name: str
    line: int
    files: list[PurePosixPath]
    by_path: bool
    alike: list[PurePosixPath]

    @property
    def file(self) -> str:
        return str(self.files[0]) if len(self.files) == 1 else ""


class _Places:
    """Files by their path, by their name, and by their folder and stem, all in small letters."""

    def __init__(self, files: Iterable[PurePosixPath]) -> None:
        self.by_path, self.by_name, self.by_stem = defaultdict(list), defaultdict(list), defaultdict(list)
        for file in files:
            key = _key(file)
            self.by_path[key].append(file)
            self.by_name[key.name].append(file)
            self.by_stem[key.stem].append(file)
        self.endings = {PurePosixPath(name).suffix for name in self.by_name}
        self.references = {
            file for key, found in self.by_path.items() if not _REFERENCES.isdisjoint(key.parts[:-1]) for file in found
        }
        if len(self.references) == sum(map(len, self.by_path.values())):
            self.references = set()  # the folder of all images is called so

    def of(self, wanted: PurePosixPath) -> tuple[list[PurePosixPath], bool]:
        """Files that a path may mean, and whether it is theirs."""
        key, alone = _key(wanted), len(wanted.parts) == 1
        if key in self.by_path:
            same = self.by_path[key]  # several differ in case, or in how accents are written
            exact = [file for file in same if composed(str(file)) == composed(str(wanted))]
            return exact or same, True
        if alone and key.name in self.by_name:
            return self.by_name[key.name], False
        stem = key.stem if key.suffix in _ENDINGS else key.name  # names of images have dots
        if key.suffix in self.endings:
            return [], False
        return [file for file in self.by_stem.get(stem, ()) if alone or _key(file).parent == key.parent], False


def _key(path: PurePosixPath) -> PurePosixPath:
    return PurePosixPath(composed(str(path)).lower())


def _candidates(
    names: pd.Series, places: _Places, folder: Path, table: Path, hidden: set[str] | None
) -> list[_Candidate]:
    """Of every name; `hidden`: references that may be among the images where only their names are given; None = all."""
    names = names.drop_duplicates()
    wanted = {line: inside(name, f"{table}, line {line}") for line, name in names.items()}
    start = _start([path for path in wanted.values() if len(path.parts) > 1], places, folder)
    result = []
    for line, path in wanted.items():
        full = path
        if len(path.parts) > 1 and start is not None:
            full = start / path if start.parts else PurePosixPath(*path.parts[1:])
        files, by_path = places.of(full)
        if hidden is not None and not by_path and len(path.parts) == 1:
            files = [file for file in files if file not in places.references or names[line] in hidden]
        alike = places.by_name.get(_key(path).name) or places.by_stem.get(_key(path).stem, [])
        result.append(_Candidate(names[line], line, files, by_path, alike))
    return result


def _start(paths: list[PurePosixPath], places: _Places, folder: Path) -> PurePosixPath | None:
    """The folder that all paths of a column start from, "" = the one above the set's; None = the set's."""
    if any(_key(path) in places.by_path for path in paths):
        return None
    if paths and all(_key(path).parts[0] == composed(folder.resolve().name).lower() for path in paths):
        return PurePosixPath()
    starts = set()
    for path in map(_key, paths):
        ends = [
            file for file in places.by_name.get(path.name, ()) if _key(file).parts[-len(path.parts) :] == path.parts
        ]
        starts |= {PurePosixPath(*file.parts[: -len(path.parts)]) for file in ends}
    if len(starts) != 1:
        return None
    _log.info("%s: paths of images are taken to start from its folder %s", folder, *starts)
    return starts.pop()


def _chosen(candidates: list[_Candidate], others: dict[str, str]) -> Located:
    """The one file of each name, unless another name means it."""
    result = Located()
    for candidate in candidates:
        name, file = candidate.name, candidate.file
        other = others.get(file, name)
        if file and (candidate.by_path or other == name):
            result.files[name] = file
            continue
        if file:
            why = f", {file} is {other!r}"
        elif candidate.files:
            why = f", may be {', '.join(map(str, candidate.files[:3]))}"
        else:
            why = f", not {candidate.alike[0]}" if candidate.alike else ""
        result.absent[name] = f"line {candidate.line}: {name}{why}"
    return result
