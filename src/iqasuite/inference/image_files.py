"""Which image files are meant: by their names, by their folders, by patterns, by a list from another program."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from iqasuite.errors import InputError
from iqasuite.images import endings

_log = logging.getLogger(__name__)
_CHUNK = 65_536  # bytes of a list of names


def named(names: Iterable[str]) -> list[str]:
    """Image files of names as they are typed, in their order.

    Args:
        names: files (taken whatever their ending), folders (all images in and below them, by name), patterns with
            *, ?, [ ] and ** (what they match, by name). A file or folder of exactly that name is no pattern.

    Raises:
        InputError: a name that is nothing of these, a pattern without a match, a folder without images.
    """
    files: list[str] = []
    for name in names:
        if os.path.isdir(name):
            files += _in_folder(name)
        elif os.path.exists(name):
            files.append(name)
        else:
            files += _matches(name)
    return files


def streamed(stream: BinaryIO, separator: bytes = b"\n") -> Iterator[str]:
    """Names from a list as it arrives; folders stand for their images, everything else for itself.

    Args:
        stream: such as `sys.stdin.buffer`.
        separator: between names; a carriage return before a line break is none of the name's, empty names are none.
    """
    for raw in _split(stream, separator):
        name = os.fsdecode(raw.removesuffix(b"\r") if separator == b"\n" else raw)
        if name:
            yield from _in_folder(name) if os.path.isdir(name) else (name,)


def images_in(folder: Path | str) -> list[Path]:
    """Images in a folder and below it, in order of their paths; hidden files and folders are left out.

    Raw files of cameras, and others whose pixels are not used as they are, are left out with a warning in the log.

    Raises:
        InputError: no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in (*endings.IMAGES, *endings.OTHERS)
        and path.is_file()
        and not any(part.startswith(".") or part == "__MACOSX" for part in path.relative_to(folder).parts)
    ]
    others = [path.name for path in files if path.suffix.lower() in endings.OTHERS]
    if others:
        named = ", ".join([*others[:3], *["…"] * (len(others) > 3)])
        _log.warning("%s: %d raw or layered files and drawings left out (%s)", folder, len(others), named)
    return [path for path in files if path.suffix.lower() in endings.IMAGES]


def _in_folder(folder: str) -> list[str]:
    files = [str(path) for path in images_in(folder)]
    if not files:
        raise InputError(f"{folder}: no images in it or below; expected {', '.join(endings.IMAGES)}")
    return files


def _matches(pattern: str) -> list[str]:
    if not glob.has_magic(pattern):
        raise InputError(f"{pattern}: no such file or folder")
    matches = [match for match in sorted(glob.glob(pattern, recursive=True)) if os.path.isfile(match)]
    # a pattern for everything is meant for the images, one that names an ending for just these files
    matches = [match for match in matches if match.lower().endswith(endings.IMAGES)] or matches
    if not matches:
        raise InputError(f"{pattern}: no file matches")
    return matches


def _split(stream: BinaryIO, separator: bytes) -> Iterator[bytes]:
    rest = b""
    while chunk := (stream.read1(_CHUNK) if hasattr(stream, "read1") else stream.read(_CHUNK)):
        *whole, rest = (rest + chunk).split(separator)
        yield from whole
    yield rest
