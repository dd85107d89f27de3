"""Images decoded and resized once, kept as a uint8 memory map that batches are cut from.

A cache holds one list of files at one size. Its name is a SHA-256 of the files' contents, the size and how images of
another aspect are brought to it, so it is found again wherever the files lie, and never stale. Memory does not grow
with the number of images: the system pages it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from iqasuite.errors import InputError
from iqasuite.images.loading import fitted, image_size, read_image, resized
from iqasuite.images.read_ahead import read_ahead
from iqasuite.paths import cache_root, file_hash, locked, read_json, replacing, write_atomic

_log = logging.getLogger(__name__)
_LAYOUT = 2  # raise it when other pixels come out of the same files
_SAMPLES = 8  # images whose checksums are compared at opening


class ImageCache:
    """uint8 images of one size, shape (N, H, W, 3), read from disk as they are needed.

    `len(cache)` is N; `cache[indices]` is a copy in memory, shape (B, H, W, 3) for a list or array of B indices.

    Attributes:
        shape: (N, H, W, 3).
        path: the file.
        key: tells its pixels from those of other files and sizes, and of files that were fitted otherwise, whatever
            folder it is in.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int, int], key: str | None = None) -> None:
        self.path, self.shape, self.key = path, shape, key or path.stem
        self._pixels = np.memmap(path, dtype=np.uint8, mode="r", shape=shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        return np.array(self._pixels[np.asarray(indices, dtype=np.int64)])

    def __reduce__(self) -> tuple[type[ImageCache], tuple[Path, tuple[int, ...], str]]:  # a process gets the name
        return ImageCache, (self.path, self.shape, self.key)


def open_cache(
    paths: Sequence[Path | str],
    size: tuple[int, int],
    root: Path | str | None = None,
    fit: str = "crop",
    references: Sequence[Path | str] | None = None,
) -> ImageCache:
    """The cache of these files at this size, built first where it is absent or damaged.

    Images are decoded by `read_image` and resized straight to `size` (bicubic, anti-aliased).

    Args:
        paths: image files, in the order of the indices.
        size: (height, width) in pixels.
        root: folder of caches; None = `images` in the cache folder.
        fit: what is done with images of another aspect, as of `loading.resized`.
        references: for each file that of its image, so that both show the same part of the scene; None = no references.

    Raises:
        InputError: no files, a size below 1, a file that is missing or no image, too little disk space. Nothing
            half-written is left then, nor after an interrupt.
    """
    root = Path(root) if root is not None else cache_root() / "images"
    files = [Path(path) for path in paths]
    height, width = size
    if not files or height < 1 or width < 1:
        raise InputError(f"cache of {len(files)} images at size {size}: expected one or more, at 1×1 or larger")
    shapes = _shapes(files if references is None else [Path(path) for path in references], fit)
    hashes = _file_hashes(files, root / "hashes.json")
    described = [shown_as(name, shape, size, fit) for name, shape in zip(hashes, shapes, strict=True)]
    key = hashlib.sha256(json.dumps([_LAYOUT, height, width, described]).encode()).hexdigest()[:32]
    pixels, sums = root / f"{key}.u8", root / f"{key}.json"
    shape = (len(files), height, width, 3)
    if not _is_whole(pixels, sums, shape):
        with locked(pixels):  # runs of a batch want the same images at the same time: one of them decodes
            if not _is_whole(pixels, sums, shape):
                _log.info("caching %d images at %d×%d in %s", *shape[:3], pixels)
                _build(files, pixels, sums, shape, fit, shapes)
    return ImageCache(pixels, shape)


def shown_as(file_hash: str, shape: tuple[int, int], size: tuple[int, int], fit: str) -> str:
    """A file's hash, and how its shape (height, width) is fitted into `size` where it has another aspect.

    Images of that aspect have the names that they had when all were stretched: their pixels are the same.
    """
    how = fitted(shape, size, fit)
    return file_hash if how == "stretch" else f"{file_hash} {how} {shape[0]}x{shape[1]}"


def _shapes(paths: list[Path], fit: str) -> list[tuple[int, int]]:
    """(height, width) of each file, from its header; what they are does not matter to images that are stretched."""
    if fit == "stretch":
        return [(1, 1)] * len(paths)
    of_file = {path: image_size(path)[::-1] for path in dict.fromkeys(paths)}
    return [of_file[path] for path in paths]


def _file_hashes(paths: list[Path], index_path: Path) -> list[str]:
    """SHA-256 of each file; those seen before with the same size and time of change are not read again."""
    try:
        index = read_json(index_path)
    except (OSError, ValueError):
        index = {}
    n_before, hashes = len(index), []
    for path in paths:
        try:
            status = path.stat()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); expected an image") from error
        entry = f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}"
        if not isinstance(index.get(entry), str):
            index[entry] = file_hash(path)
        hashes.append(index[entry])
    if len(index) != n_before:
        try:
            write_atomic(index_path, json.dumps(index))
        except InputError as error:  # what is cached can still be read
            _log.warning("%s; the files are read again for their hashes each time", error)
    return hashes


def _is_whole(pixels: Path, sums: Path, shape: tuple[int, int, int, int]) -> bool:
    """Whether the file has its length and a sample of its images their checksums."""
    try:
        expected = read_json(sums)["crc32"]
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


def _build(
    paths: list[Path],
    pixels: Path,
    sums: Path,
    shape: tuple[int, int, int, int],
    fit: str,
    shapes: list[tuple[int, int]],
) -> None:
    """Write both files, each whole or not at all: pixels first, so that checksums mean they are there."""
    needed, free = int(np.prod(shape)), shutil.disk_usage(pixels.parent).free
    if needed > free:
        raise InputError(
            f"{pixels.parent}: cache needs {needed / 2**20:.0f} MiB, {free / 2**20:.0f} MiB are free; "
            "expected room (IQASUITE_CACHE names another folder)"
        )
    checksums = []
    with replacing(pixels) as file:  # written, not mapped: a full disk is then an error, not a crash
        size = shape[1:3]
        decoded = read_ahead(lambda i: resized(read_image(paths[i]), size, fit, shapes[i]), range(len(paths)))
        for image in decoded:
            file.write(image.data)
            checksums.append(zlib.crc32(image.data))
    write_atomic(sums, json.dumps({"shape": shape, "crc32": checksums}))
