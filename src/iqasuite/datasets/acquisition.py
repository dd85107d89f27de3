"""A whole data set from where it is published: every file of its card downloaded, archives unpacked."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from iqasuite.datasets.card import Card, Download
from iqasuite.datasets.download import fetch
from iqasuite.datasets.extraction import BY_HAND, by_hand, extract, is_archive
from iqasuite.errors import InputError
from iqasuite.paths import data_root, locked, read_json, writable, write_atomic

_log = logging.getLogger(__name__)
UNFINISHED = ".unfinished.json"  # in the set's folder while it is being made: what is in place already


def get(
    card: Card,
    into: Path | None = None,
    keep_archives: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[str]:
    """Download and unpack a set. What broke off goes on where it was.

    Args:
        card: what.
        into: folder to put the set's folder in; None = the data folder. `downloads.json` there records the checksums.
        keep_archives: leave them in `downloads/<name>` of that folder.
        progress: called with file name, bytes here, bytes in all (0 = not known).

    Returns:
        What is left to do by hand; one line each.

    Raises:
        InputError: nothing to download; as `fetch` and `extract`.
    """
    if not card.downloads:
        raise InputError(f"{card.name}: cannot be downloaded by a program; expected by hand: {card.manual}")
    folder, into = place(card, into), into or data_root()
    archives = into / "downloads" / card.name
    left = []
    with locked(into / f".{card.name}"), writable(into):
        folder.mkdir(parents=True, exist_ok=True)
        marker = folder / UNFINISHED
        done = _done(marker)
        for download in card.downloads:
            if download.url in done:
                continue
            write_atomic(marker, json.dumps(done))
            left += _obtain(download, folder, archives, into / "downloads.json", keep_archives, progress)
            done.append(download.url)
        marker.unlink(missing_ok=True)
        _remove_if_empty(archives)
    return left


def place(card: Card, into: Path | None) -> Path:
    """The folder that `get` puts a set in."""
    return card.folder() if into is None else into / (card.folders or (card.name,))[0]


def _obtain(
    download: Download,
    folder: Path,
    archives: Path,
    record: Path,
    keep: bool,
    progress: Callable[[str, int, int], None] | None,
) -> list[str]:
    """One file in place; what is left to do by hand."""
    name, where = download.file, folder / download.folder
    report = partial(progress, name) if progress else None
    if not is_archive(name):
        fetch(download, where / name, report, record)
        return []
    archive = fetch(download, archives / download.folder / name, report, record)
    if name.lower().endswith(BY_HAND):
        return [by_hand(archive, where)]
    _log.info("unpacking %s", name)
    _log.info("%s: %d files in %s", name, extract(archive, where), where)
    if not keep:
        archive.unlink()
    return []


def _done(marker: Path) -> list[str]:
    try:
        return [str(step) for step in read_json(marker, list)]
    except (OSError, ValueError):
        return []


def _remove_if_empty(archives: Path) -> None:
    """The folder of archives, where only locks are left in it, and the one above it likewise."""
    for folder in (*sorted((p for p in archives.rglob("*") if p.is_dir()), reverse=True), archives, archives.parent):
        if folder.is_dir():
            (folder / ".download.lock").unlink(missing_ok=True)
            if not any(folder.iterdir()):
                folder.rmdir()
