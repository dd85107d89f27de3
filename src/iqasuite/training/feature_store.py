"""Stores of rows of features: folders that are made once, gone on with after a kill, and never stale.

A store is named after the settings that its rows were made with and the contents of the images. It holds the rows
(float16) and an index (JSON). Rows are written block by block: after a kill the next call goes on where this one was,
at most two batches before. Rows of images that another store of the same settings has are copied, not computed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from iqasuite.errors import InputError
from iqasuite.paths import locked, read_json, remove_unfinished, replacing, writable, write_atomic
from iqasuite.training.machine import progress

logger = logging.getLogger(__name__)
_SAMPLES = 8  # images whose checksums are compared at opening
_LARGEST = 6e4  # float16 ends soon after
Compute = Callable[[list[str], int], Iterator[np.ndarray]]


def opened(folder: Path) -> tuple[dict, np.ndarray]:
    """Index of a store and its rows, float16 (n, dim), read from disk as they are needed."""
    index = read_json(folder / "index.json")
    shape = (index["first_rows"][-1], index["dim"])
    return index, np.memmap(folder / "rows.f16", np.float16, "r", shape=shape)


def store(root: Path, index: dict, batch_size: int, compute: Compute) -> Path:
    """The store of some images with some settings, made or completed first where it is not whole.

    Args:
        root: folder of stores.
        index: settings, dim (of a row), images (names), contents (what each is), grids (rows and columns of its
            patches) and sizes (height and width).
        batch_size: rows computed at once.
        compute: (images, first) -> their rows (B, dim) from number `first` on, in blocks of `batch_size`.

    Raises:
        InputError: a batch size below 1, a folder that cannot be written, too little disk space.
    """
    if batch_size < 1:
        raise InputError(f"batch_size={batch_size}: expected 1 or more")
    folder = root / f"{_digest(index['settings'])}-{_digest([index['images'], index['contents']])}"
    counts = [rows * columns for rows, columns in index["grids"]]
    index = index | {"first_rows": [0, *np.cumsum(counts).tolist()]}
    if _is_whole(folder, index):
        return folder
    with locked(folder), writable(folder):  # a batch's jobs want the same features at the same time: one computes
        if not _is_whole(folder, index):
            folder.mkdir(exist_ok=True)
            _make(folder, index, batch_size, compute)
    return folder


def _make(folder: Path, index: dict, batch_size: int, compute: Compute) -> None:
    """Compute what no other store has, put all rows together, then write the index: it means that they are there."""
    images, contents, first_rows, dim = index["images"], index["contents"], index["first_rows"], index["dim"]
    known = _known(folder, set(contents))
    missing = [i for i, content in enumerate(contents) if content not in known]
    n_rows = sum(first_rows[i + 1] - first_rows[i] for i in missing)
    plan, part, rows = folder / "plan.json", folder / "rows.part", folder / "rows.f16"
    (folder / "index.json").unlink(missing_ok=True)  # of a damaged store
    remove_unfinished(rows)
    planned = json.dumps([contents[i] for i in missing])
    if not (plan.is_file() and plan.read_text(encoding="utf-8") == planned):
        part.unlink(missing_ok=True)
        write_atomic(plan, planned)
    done = part.stat().st_size // (2 * dim) // batch_size * batch_size if part.is_file() else 0
    done = max(0, done - batch_size)  # the last block may be torn
    needed = 2 * dim * (n_rows - done + (first_rows[-1] if known else 0))
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{folder}: features need {needed / 2**20:.0f} MiB, {free / 2**20:.0f} MiB are free; "
            "expected room (IQASUITE_CACHE names another folder)"
        )
    logger.info("features of %d of %d images, %d rows of %d in %s", len(missing), len(images), n_rows, done, folder)
    if missing:
        _append(part, compute([images[i] for i in missing], done), done, n_rows, dim)
    if known:
        _merge(rows, part, [known.get(content) for content in contents], first_rows, dim)
        part.unlink(missing_ok=True)
    else:
        part.replace(rows)
    written = np.memmap(rows, np.float16, "r", shape=(first_rows[-1], dim))
    sums = [zlib.crc32(written[a:b].data) for a, b in pairwise(first_rows)]
    write_atomic(folder / "index.json", json.dumps(index | {"crc32": sums}))
    plan.unlink()


def _append(part: Path, blocks: Iterator[np.ndarray], done: int, n_rows: int, dim: int) -> None:
    """Write blocks of rows behind the first `done`, each on disk before the next is computed."""
    part.touch()
    bar = progress(None, "features", n_rows, done)
    with open(part, "r+b") as file, bar:
        file.truncate(2 * dim * done)
        file.seek(0, os.SEEK_END)
        for block in blocks:
            file.write(np.clip(block, -_LARGEST, _LARGEST).astype(np.float16))
            file.flush()
            os.fsync(file.fileno())
            bar.update(len(block))
    if part.stat().st_size != 2 * dim * n_rows:
        raise RuntimeError(f"{part}: {part.stat().st_size} bytes, expected {n_rows} rows of {dim}")


def _merge(rows: Path, part: Path, known: list[np.ndarray | None], first_rows: list[int], dim: int) -> None:
    """Rows of all images in order: those known elsewhere, and the computed ones one after another."""
    computed = np.memmap(part, np.float16, "r").reshape(-1, dim) if any(k is None for k in known) else None
    used = 0
    with replacing(rows) as file:
        for i, elsewhere in enumerate(known):
            count = first_rows[i + 1] - first_rows[i]
            if elsewhere is None:
                assert computed is not None  # what is not known elsewhere was computed
                elsewhere, used = computed[used : used + count], used + count
            file.write(np.ascontiguousarray(elsewhere))


def _known(folder: Path, contents: set[str]) -> dict[str, np.ndarray]:
    """Content -> its rows, where a whole store of the same settings has them."""
    known: dict[str, np.ndarray] = {}
    for path in sorted(folder.parent.glob(f"{folder.name.partition('-')[0]}-*/index.json")):
        if path.parent == folder or not _is_whole(path.parent):
            continue
        index, rows = opened(path.parent)
        for content, (first, end) in zip(index["contents"], pairwise(index["first_rows"]), strict=True):
            if content in contents:
                known.setdefault(content, rows[first:end])
    return known


def _is_whole(folder: Path, wanted: dict | None = None) -> bool:
    """Whether rows and index are all there and as wanted, and a sample of the images' rows has its checksums."""
    try:
        index = read_json(folder / "index.json")
        if wanted is not None and any(index[key] != wanted[key] for key in ("dim", "images", "contents", "first_rows")):
            raise ValueError("another index")
        first, dim, expected = index["first_rows"], index["dim"], index["crc32"]
        n = len(index["contents"])
        if (folder / "rows.f16").stat().st_size != 2 * dim * first[-1] or (len(first), len(expected)) != (n + 1, n):
            raise ValueError("of another length")
        rows = opened(folder)[1]
        for i in np.unique(np.linspace(0, len(expected) - 1, _SAMPLES).astype(int)):
            if zlib.crc32(rows[first[i] : first[i + 1]].data) != expected[i]:
                raise ValueError(f"image {i} has another checksum")
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        logger.warning("%s: damaged (%s), made again", folder, error)
        return False
    return True


def _digest(described: object) -> str:
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:16]
