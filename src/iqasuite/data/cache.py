"""Images decoded and resized once, kept as a uint8 memory map that batches are cut from.

A cache holds one list of files at one size. Its name is a SHA-256 of the files' contents and the size, so it is found
again wherever the files lie, and never stale. Memory does not grow with the number of images: the system pages it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from iqasuite.data.dataset import file_hash
from iqasuite.data.loading import read_image, resized
from iqasuite.errors import InputError
from iqasuite.paths import cache_root, write_atomic

_log = logging.getLogger(__name__)
_LAYOUT = 2  # raise it when other pixels come out of the same files
_SAMPLES = 8  # images whose checksums are compared at opening


class ImageCache:
    """uint8 images of one size, shape (N, H, W, 3), read from disk as they are needed.

    `len(cache)` is N; `cache[indices]` is a copy in memory, shape (B, H, W, 3) for a list or array of B indices.

    Attributes:
        shape: (N, H, W, 3).
        path: the file.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int, int]) -> None:
        self.path, self.shape = path, shape
        self._pixels = np.memmap(path, dtype=np.uint8, mode="r", shape=shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        return np.array(self._pixels[np.asarray(indices, dtype=np.int64)])

    def __reduce__(self):  # to another process goes the file's name, not its pixels
        return ImageCache, (self.path, self.shape)


def open_cache(paths: Sequence[Path | str], size: tuple[int, int], root: Path | str | None = None) -> ImageCache:
    """The cache of these files at this size, built first where it is absent or damaged.

    Images are decoded by `read_image` and resized straight to `size` (bicubic, anti-aliased), whatever their shape.

    Args:
        paths: image files, in the order of the indices.
        size: (height, width) in pixels.
        root: folder of caches; None = `images` in the cache folder.

    Raises:
        InputError: no files, a size below 1, a file that is missing or no image, too little disk space. Nothing
            half-written is left then, nor after an interrupt.
    """
    root = Path(root) if root is not None else cache_root() / "images"
    paths = [Path(path) for path in paths]
    height, width = size
    if not paths or height < 1 or width < 1:
        raise InputError(f"cache of {len(paths)} images at size {size}: expected one or more, at 1×1 or larger")
    hashes = _file_hashes(paths, root / "hashes.json")
    key = hashlib.sha256(json.dumps([_LAYOUT, height, width, hashes]).encode()).hexdigest()[:32]
    pixels, sums = root / f"{key}.u8", root / f"{key}.json"
    shape = (len(paths), height, width, 3)
    if not _is_whole(pixels, sums, shape):
        _log.info("caching %d images at %d×%d in %s", *shape[:3], pixels)
        _build(paths, pixels, sums, shape)
    return ImageCache(pixels, shape)


def _file_hashes(paths: list[Path], index_path: Path) -> list[str]:
    """SHA-256 of each file; those seen before with the same size and time of change are not read again."""
    try:
        index = json.loads(index_path.read_text())
    except (OSError, ValueError):
        index = {}
    known, hashes = len(index), []
    for path in paths:
        try:
            status = path.stat()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); expected an image") from error
        entry = f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}"
        if entry not in index:
            index[entry] = file_hash(path)
        hashes.append(index[entry])
    if len(index) != known:
        write_atomic(index_path, json.dumps(index))
    return hashes


def _is_whole(pixels: Path, sums: Path, shape: tuple[int, int, int, int]) -> bool:
    """Whether the file has its length and a sample of its images their checksums."""
    try:
        expected = json.loads(sums.read_text())["crc32"]
        if len(expected) != shape[0] or pixels.stat().st_size != int(np.prod(shape)):
            raise ValueError("of another length")
        images = np.memmap(pixels, dtype=np.uint8, mode="r", shape=shape)
        for i in np.unique(np.linspace(0, shape[0] - 1, _SAMPLES).astype(int)):
            if zlib.crc32(images[i]) != expected[i]:
                raise ValueError(f"image {i} has another checksum")
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("%s: damaged (%s), made again", pixels, error)
        return False
    return True


def _build(paths: list[Path], pixels: Path, sums: Path, shape: tuple[int, int, int, int]) -> None:
    """Write both files under temporary names, then rename: pixels first, so that checksums mean they are there."""
    pixels.parent.mkdir(parents=True, exist_ok=True)
    needed, free = int(np.prod(shape)), shutil.disk_usage(pixels.parent).free
    if needed > free:
        raise InputError(
            f"{pixels.parent}: cache needs {needed / 2**20:.0f} MiB, {free / 2**20:.0f} MiB are free; "
            "expected room (IQASUITE_CACHE names another folder)"
        )
    handle, temporary = tempfile.mkstemp(dir=pixels.parent, prefix=f".{pixels.name}.")
    try:
        checksums = []
        with os.fdopen(handle, "wb") as file:  # written, not mapped: a full disk is then an error, not a crash
            for image in _decoded(paths, shape[1:3]):
                file.write(image)
                checksums.append(zlib.crc32(image))
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, pixels)
    except OSError as error:
        raise InputError(f"{pixels}: cannot be written ({error.strerror}); expected a folder with room") from error
    finally:
        Path(temporary).unlink(missing_ok=True)
    write_atomic(sums, json.dumps({"shape": shape, "crc32": checksums}))


def _decoded(paths: list[Path], size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Every image at `size`, in order; decoded in threads, a few at a time so that memory stays small."""
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(paths), 2 * workers):
            yield from pool.map(lambda path: shown(path, size), paths[start : start + 2 * workers])


def shown(path: Path | str, size: tuple[int, int]) -> np.ndarray:
    """An image file as it is shown at `size` (height, width): uint8 (height, width, 3), bicubic, anti-aliased.

    Raises:
        InputError: the file is missing or no image.
    """
    return resized(read_image(path), size)
