"""Is a data set available, whole and as it was? What is absent, what cannot be decoded, what has changed."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from iqasuite.datasets import adapters, load
from iqasuite.datasets.acquisition import UNFINISHED
from iqasuite.datasets.card import Card
from iqasuite.datasets.dataset import Dataset
from iqasuite.errors import InputError
from iqasuite.images.loading import read_image
from iqasuite.images.read_ahead import read_ahead
from iqasuite.paths import cache_root, file_hash, read_json, write_atomic

_log = logging.getLogger(__name__)


@dataclass
class Report:
    """What a check found.

    Attributes:
        name, folder: the set.
        n_images, n_references: different images and references that are available.
        n_votes: single observers' votes.
        expected_images, expected_references: of the official set; None = not known (a study's folder).
        absent: official names of images that are missing, and files that an earlier check had seen.
        broken: file -> why it cannot be used.
        changed: files that are not as they were at the first check.
        new: number of files that no earlier check had seen.
        record: where the files' checksums are kept; None = nothing was hashed.
    """

    name: str
    folder: Path
    n_images: int
    n_references: int
    n_votes: int
    expected_images: int | None = None
    expected_references: int | None = None
    absent: list[str] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    new: int = 0
    record: Path | None = None

    @property
    def whole(self) -> bool:
        """Everything is available, can be decoded and is as it was."""
        counts = self.expected_images in (None, self.n_images)
        references = self.expected_references is None or self.n_references >= self.expected_references
        return counts and references and not (self.absent or self.broken or self.changed)


def check(
    name: str,
    root: Path | str | None = None,
    quick: bool = False,
    progress: Callable[[int, int], None] | None = None,
    threads: int | None = None,
) -> Report:
    """Load a set without what is absent; decode and hash every image and reference; compare with earlier checks.

    The first checksum of a file stands: a changed file is reported until it is as it was, or until the record is
    deleted. The record is in the cache folder, because the data may be read-only.

    Args:
        name: of a set, or a folder: that of such a set, or a study's.
        root: the set's folder; None = where it lies in the data folder.
        quick: only whether each file is there, and neither empty nor of another length than recorded.
        progress: called with files done and files in all.
        threads: None = one a core, at most 8; each holds one image.

    Raises:
        InputError: the set cannot be loaded at all.
    """
    name = _name_of_folder(name)
    dataset = load(name, root, missing="drop")
    if dataset.images.empty:
        raise InputError(f"{dataset.root}: no image of {dataset.name} in it; expected at least one")
    card = adapters.card(name) if name in adapters.NAMES else None
    files, references = _files(dataset, references_alone=bool(card and card.n_references == card.n_images))
    record = _record(dataset)
    before = _read_record(record)
    examine = _glance if quick else _examine
    entries, broken, changed = {}, {}, []
    examined = read_ahead(lambda file: examine(dataset.root / file), files, threads)
    for number, (file, (entry, reason)) in enumerate(zip(files, examined, strict=True), start=1):
        if reason:
            broken[file] = reason
        elif file in before and any(before[file].get(key) != value for key, value in entry.items()):
            changed.append(file)
        else:
            entries[file] = entry
        if progress:
            progress(number, len(files))
    hashed = bool(files) and not quick
    if hashed:
        write_atomic(record, json.dumps(before | entries, indent=1, sort_keys=True) + "\n")
    return Report(
        name=dataset.name,
        folder=dataset.root,
        n_images=dataset.images["image"].nunique(),
        n_references=len(references),
        n_votes=len(dataset.votes),
        expected_images=card.n_images if card else None,
        expected_references=card.n_references if card else None,
        absent=[*dataset.absent, *_gone(dataset, before, files)],
        broken=broken,
        changed=changed,
        new=len(entries.keys() - before.keys()) if hashed else 0,
        record=record if hashed else None,
    )


def state(card: Card) -> str:
    """Whether a set is here, without looking at its files: "here", "unfinished", "not here", "made on first use"."""
    folder = card.folder()
    if not folder.is_dir():
        return "made on first use" if card.made else "not here"
    if (folder / UNFINISHED).exists():
        return "unfinished"
    with os.scandir(folder) as entries:
        something = any(not entry.name.startswith(".") for entry in entries)
    return "here" if something else "made on first use" if card.made else "not here"


def _name_of_folder(name: str) -> str:
    """The name of the set whose folder this is; else the same."""
    if name in adapters.NAMES or not Path(name).is_dir():
        return name
    folder = Path(name).resolve()
    return next((each for each in adapters.NAMES if adapters.card(each).folder().resolve() == folder), name)


def _files(dataset: Dataset, references_alone: bool) -> tuple[list[str], set[str]]:
    """Files of images and references below the root, each once; and the references."""
    references = set(dataset.images["image" if references_alone else "reference"]) - {""}
    if not dataset.has_pixels:
        return [], references
    names = set(dataset.images["image"]) | references
    return sorted({dataset.path(name).relative_to(dataset.root).as_posix() for name in names}), references


def _examine(path: Path) -> tuple[dict[str, Any], str]:
    """Length and checksum of an image file; why it cannot be used, or ""."""
    try:
        read_image(path)
        return {"size": path.stat().st_size, "sha256": file_hash(path)}, ""
    except (InputError, OSError) as error:
        return {}, str(error).removeprefix(f"{path}: ")


def _glance(path: Path) -> tuple[dict[str, Any], str]:
    try:
        size = path.stat().st_size
    except OSError as error:
        return {}, str(error.strerror)
    return {"size": size}, "" if size else "0 bytes; expected an image"


def _record(dataset: Dataset) -> Path:
    folder = hashlib.sha256(str(dataset.root.resolve()).encode()).hexdigest()[:12]
    return cache_root() / "checks" / f"{dataset.name}-{folder}.json"


def _read_record(record: Path) -> dict[str, dict[str, Any]]:
    """File -> size, sha256 at its first check; empty where none is, or where it cannot be read."""
    if not record.is_file():
        return {}
    try:
        entries = read_json(record)
    except InputError:
        entries = None
    if entries is None or not all(isinstance(entry, dict) for entry in entries.values()):
        _log.warning("%s: not a record of checksums; nothing to compare with, written anew", record)
        return {}
    return entries


def _gone(dataset: Dataset, before: dict[str, dict[str, Any]], files: list[str]) -> list[str]:
    """Recorded files that are not in the set any more and that no absent name stands for."""
    absent = {PurePosixPath(name).name.lower() for name in dataset.absent}
    gone = (PurePosixPath(file) for file in sorted(before.keys() - set(files)))
    return [str(path) for path in gone if path.name.lower() not in absent and path.stem.lower() not in absent]
