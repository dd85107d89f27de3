"""Features that a frozen backbone gives of patches or of whole images, computed once and stored in half precision.

A store is a folder named after the settings, the weights and the files' contents, so it is never stale. It holds the
rows (float16) and an index (JSON). Rows are written block by block: after a kill the next call goes on where this one
was, at most two batches before. Rows of files that another store of the same settings has are copied, not computed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from iqasuite.datasets.dataset import Dataset
from iqasuite.errors import InputError
from iqasuite.images.cache import shown_as
from iqasuite.images.crops import normalise
from iqasuite.images.loading import image_size, read_image, resized
from iqasuite.images.patches import padded, patch_boxes, patch_grid, scan_order
from iqasuite.images.read_ahead import read_ahead
from iqasuite.models.backbones import Backbone, average, backbone, folded, moments
from iqasuite.paths import cache_root, file_hash, locked, remove_unfinished, replacing, writable, write_atomic
from iqasuite.training.machine import computes_in_bf16, progress

logger = logging.getLogger(__name__)
POOLINGS = {"average": average, "moments": moments}
_LAYOUT = 1  # raise it when other features come out of the same files and weights
_SAMPLES = 8  # images whose checksums are compared at opening
_AHEAD = 4  # images decoded before they are needed
_LARGEST = 6e4  # float16 ends soon after


class PatchFeatures:
    """Features of the patches of images, read from disk as they are needed.

    `features[image]` is float32 (n_patches, dim) in raster order; `len`, `in` and iteration are over the images.

    Attributes:
        images: names, in the order in which they were given.
        dim: features of a patch.
        settings: what the features were made with: backbone, hash of its weights, taps, pooling, geometry, precision.
        path: the store's folder.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        index = json.loads((self.path / "index.json").read_text(encoding="utf-8"))
        self.images, self.dim, self.settings = list(index["images"]), index["dim"], index["settings"]
        self._place = {image: i for i, image in enumerate(self.images)}
        self._sizes, self._grids, self._first = index["sizes"], index["grids"], index["first_rows"]
        self._rows = np.memmap(self.path / "rows.f16", np.float16, "r", shape=(self._first[-1], self.dim))

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[str]:
        return iter(self.images)

    def __contains__(self, image: object) -> bool:
        return image in self._place

    def __getitem__(self, image: str) -> np.ndarray:
        i = self._number(image)
        return self._rows[self._first[i] : self._first[i + 1]].astype(np.float32)

    def __reduce__(self):  # to another process goes the folder's name, not its rows
        return PatchFeatures, (self.path,)

    def grid(self, image: str) -> tuple[int, int]:
        """Rows and columns of the image's patches."""
        return tuple(self._grids[self._number(image)])

    def boxes(self, image: str) -> np.ndarray:
        """Places of the patches, int64 (n_patches, 4): top, left, bottom, right in pixels of the image as shown."""
        height, width = self._sizes[self._number(image)]
        if "size" not in self.settings:
            return np.array([[0, 0, height, width]])
        return patch_boxes(height, width, tuple(self.settings["size"]), self.settings["overlap"])

    def sequence(self, image: str, order: str = "raster") -> np.ndarray:
        """Features float32 (n_patches, dim) in one of `images.patches.ORDERS`."""
        return self[image][scan_order(*self.grid(image), order)]

    def within(self, image: str, region: Sequence[float], order: str = "raster") -> np.ndarray:
        """Features float32 (n, dim) of the patches that lie wholly in a part of an image.

        Args:
            image: name.
            region: top, left, bottom, right as shares of the image's height and width.
            order: as of `sequence`.

        Raises:
            InputError: no patch lies wholly in it.
        """
        height, width = self._sizes[self._number(image)]
        top, left, bottom, right = np.multiply(region, (height, width, height, width))
        box = self.boxes(image)[scan_order(*self.grid(image), order)].T
        inside = (box[0] >= top) & (box[1] >= left) & (box[2] <= bottom) & (box[3] <= right)
        if not inside.any():
            raise InputError(
                f"{image}: no patch lies wholly in {tuple(region)}; expected smaller patches or more overlap"
            )
        return self.sequence(image, order)[inside]

    def pooled(self, images: Sequence[str]) -> np.ndarray:
        """Mean and standard deviation (n) of each feature over an image's patches, float32 (n images, 2 · dim)."""
        rows = [self[image] for image in images]
        return np.array([np.concatenate([x.mean(0), x.std(0)]) for x in rows]).reshape(-1, 2 * self.dim)

    def vectors(self, images: Sequence[str]) -> np.ndarray:
        """The one row of each image, float32 (n images, dim): single patches or whole images.

        Raises:
            InputError: an image has several patches.
        """
        for image in images:
            if self.grid(image) != (1, 1):
                raise InputError(f"{image}: {np.prod(self.grid(image))} patches; expected one (pooled() takes several)")
        return self._rows[[self._first[self._number(image)] for image in images]].astype(np.float32)

    def _number(self, image: str) -> int:
        if image not in self._place:
            raise InputError(f"image {image!r}: no features in {self.path}, which has {len(self)} images")
        return self._place[image]


def extract(
    source: Dataset | Mapping[str, Path] | Sequence[Path | str],
    network: str | Backbone = "resnet50",
    size: int | tuple[int, int] = 224,
    overlap: float = 0.5,
    taps: tuple[int, ...] = (-1,),
    pooling: str = "average",
    *,
    images: Sequence[str] | None = None,
    shown_at: tuple[int, int] | None = None,
    pretrained: bool = True,
    precision: str = "auto",
    device: torch.device | str | None = None,
    batch_size: int = 64,
    root: Path | str | None = None,
) -> PatchFeatures:
    """Features of all sliding patches of images: from the store, or computed now.

    Args:
        source: a data set, image -> file, or files (named by their paths as given).
        network: name of a torchvision classifier, "spectrum" (which needs no weights), or a backbone.
        size, overlap: of the patches, as in `images.patches.patch_boxes`.
        taps: layers whose maps are pooled, side by side (-1 = the last).
        pooling: "average" (global average pooling) or "moments" (mean and standard deviation of each map).
        images: some of the source's images, or references of a data set; None = its images.
        shown_at: (height, width) to which every image is brought first (`loading.resized`, by the set's `fit`); None =
            its own size.
        pretrained: ImageNet weights, not random ones; where `network` is a name.
        precision: "bf16", "float32", or "auto": bf16 where the machine has it.
        device: None = the GPU where there is one.
        batch_size: patches a step, also of several images.
        root: folder of stores; None = `features` in the cache folder.

    Raises:
        InputError: no images, a file that is missing or no image, an unknown setting, a patch too small for the
            network, too little disk space.

    Reference: patches of 224 × 224 with global average pooling, as before recurrent regression on patch sequences.
    """
    pool, chosen, shown = _pooling(pooling), _backbone(network, pretrained), _Images(source, images, shown_at)
    height, width = (size, size) if isinstance(size, int) else size
    sides = (height, width)
    dim = _dim(chosen, taps, pool, sides)
    grids = [patch_grid(*shown.size(image), sides, overlap) for image in shown.names]
    device = _device(device)
    dtype = _dtype(precision, device, chosen)
    settings = _settings("patches", network, chosen, taps, pooling, shown_at, dtype)
    settings |= {"size": sides, "overlap": overlap}

    def compute(wanted: list[str], first: int) -> Iterator[np.ndarray]:
        extractor, waiting, passed = folded(chosen).to(device, dtype), [], 0
        counts = {image: rows * columns for image, (rows, columns) in zip(shown.names, grids, strict=True)}
        while wanted and passed + counts[wanted[0]] <= first:  # stored already: not decoded again
            passed += counts[wanted[0]]
            wanted = wanted[1:]
        for pixels in shown.read_ahead(wanted):
            x = _normalised(padded(pixels, sides), chosen, device).to(dtype)
            boxes = patch_boxes(pixels.shape[0], pixels.shape[1], sides, overlap)
            corners = boxes[max(0, first - passed) :, :2].tolist()
            passed += len(boxes)
            waiting += [x[top : top + sides[0], left : left + sides[1]] for top, left in corners]
            while len(waiting) >= batch_size:
                yield _rows(extractor, torch.stack(waiting[:batch_size]), taps, pool)
                waiting = waiting[batch_size:]
        if waiting:
            yield _rows(extractor, torch.stack(waiting), taps, pool)

    return _store(root, settings, shown, grids, dim, batch_size, compute)


class _Images:
    """Names, contents, sizes and pixels of images as they are shown, wherever they come from."""

    def __init__(self, source: Any, images: Sequence[str] | None, shown_at: tuple[int, int] | None):
        files: Callable[[str], Path | str]
        self._read: Callable[[str], np.ndarray]
        self._shape: Callable[[str], tuple[int, int]]
        self._sizes: dict[str, tuple[int, int]] = {}
        if isinstance(source, Dataset):
            self.names = list(source.images["image"] if images is None else images)
            files, self._regions, self._read = source.path, source.regions, source.read
            self._shape, self._fit = source.shape, source.fit
        else:
            table = source if isinstance(source, Mapping) else {str(path): path for path in source}
            given = source if isinstance(source, Mapping) else [str(path) for path in source]
            self.names = list(given if images is None else images)
            unknown = [name for name in self.names if name not in table]
            if unknown:
                raise InputError(f"image {unknown[0]!r}: not among the {len(table)} images given")
            files, self._regions, self._fit = table.__getitem__, {}, "crop"
            self._read, self._shape = lambda name: read_image(table[name]), lambda name: image_size(table[name])[::-1]
        if not self.names or len(set(self.names)) != len(self.names):
            raise InputError(f"{len(self.names)} images: expected one or more, each once")
        if shown_at is not None and min(shown_at) < 1:
            raise InputError(f"shown_at={shown_at}: expected (height, width) of 1×1 pixels or more")
        self._paths = {name: Path(files(name)) for name in self.names}
        self._shown_at = shown_at

    def contents(self) -> list[str]:
        """What each image is: SHA-256 of its file, its part of it where it is one, and how it is brought to size."""
        with ThreadPoolExecutor() as pool:
            hashes = list(pool.map(file_hash, self._paths.values()))
        if self._shown_at is not None:
            shown = zip(hashes, self.names, strict=True)
            hashes = [shown_as(h, self._shape(name), self._shown_at, self._fit) for h, name in shown]
        return [
            f"{h}{list(self._regions[n][1]) if n in self._regions else ''}"
            for n, h in zip(self.names, hashes, strict=True)
        ]

    def size(self, name: str) -> tuple[int, int]:
        """(height, width) at which the image is shown, without decoding it."""
        if self._shown_at is not None:
            return self._shown_at
        if name not in self._sizes:
            self._sizes[name] = self._shape(name)
        return self._sizes[name]

    def pixels(self, name: str) -> np.ndarray:
        """The image as it is shown, uint8 (H, W, 3)."""
        image = self._read(name)
        if self._shown_at is not None:
            image = resized(image, self._shown_at, self._fit)
        if image.shape[:2] != self.size(name):
            raise InputError(f"{self._paths[name]}: {image.shape[:2]} pixels, but its header says {self.size(name)}")
        return image

    def read_ahead(self, names: Sequence[str]) -> Iterator[np.ndarray]:
        """Pixels of the images, in order; a few are decoded in the background while the network computes."""
        return read_ahead(self.pixels, names, 2, _AHEAD)


def _normalised(pixels: np.ndarray, network: Backbone, device: torch.device) -> Tensor:
    """Pixels (H, W, 3) as the network takes them, the channels last: patches are then cut by rows."""
    x = torch.from_numpy(np.ascontiguousarray(pixels)).to(device).permute(2, 0, 1)
    return normalise(x, network.mean, network.std).permute(1, 2, 0)


@torch.inference_mode()
def _rows(network: Any, x: Tensor, taps: tuple[int, ...], pool: Callable) -> np.ndarray:
    """Pooled maps of a batch (B, H, W, 3), float32 (B, dim)."""
    return pool(network.maps(x.permute(0, 3, 1, 2), taps)).cpu().numpy()


def _backbone(network: str | Backbone, pretrained: bool) -> Backbone:
    return network if isinstance(network, Backbone) else backbone(network, pretrained)


def _pooling(name: str) -> Callable[[list[Tensor]], Tensor]:
    if name not in POOLINGS:
        raise InputError(f"pooling={name!r}: expected one of {', '.join(POOLINGS)}")
    return POOLINGS[name]


def _dim(network: Backbone, taps: tuple[int, ...], pool: Callable, size: tuple[int, int]) -> int:
    widths = network.widths(taps)
    try:
        network.shapes(size, taps)
    except RuntimeError as error:
        raise InputError(
            f"images or patches of {size[0]}×{size[1]} pixels: too small for the network ({error})"
        ) from None
    return pool([torch.zeros(1, width, 1, 1) for width in widths]).shape[1]


def _device(device: torch.device | str | None) -> torch.device:
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def _dtype(precision: str, device: torch.device, network: Backbone) -> torch.dtype:
    if precision == "auto":
        precision = "bf16" if computes_in_bf16(device) and not network.precise else "float32"
    if precision not in ("bf16", "float32"):
        raise InputError(f"precision={precision!r}: expected auto, bf16 or float32")
    return torch.bfloat16 if precision == "bf16" else torch.float32


def _settings(
    kind: str,
    network: str | Backbone,
    chosen: Backbone,
    taps: tuple[int, ...],
    pooling: str,
    shown_at: tuple[int, int] | None,
    dtype: torch.dtype,
) -> dict:
    digest = hashlib.sha256(repr(chosen).encode())
    for name, tensor in chosen.state_dict().items():
        digest.update(f"{name}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy())
    return {
        "layout": _LAYOUT,
        "kind": kind,
        "backbone": network if isinstance(network, str) else "given",
        "weights": digest.hexdigest(),
        "mean": chosen.mean,
        "std": chosen.std,
        "pooling": pooling,
        "taps": sorted({tap % len(chosen.layers) for tap in taps}),
        "shown_at": shown_at,
        "precision": str(dtype).removeprefix("torch."),
    }


def _digest(described: object) -> str:
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:16]


def _store(
    root: Path | str | None,
    settings: dict,
    shown: _Images,
    grids: list[tuple[int, int]],
    dim: int,
    batch_size: int,
    compute: Callable[[list[str], int], Iterator[np.ndarray]],
) -> PatchFeatures:
    """The store of these images with these settings, made or completed first where it is not whole.

    `compute(images, first)` gives the rows of the images from row `first` on, in blocks of `batch_size`.
    """
    root = Path(root) if root is not None else cache_root() / "features"
    if batch_size < 1:
        raise InputError(f"batch_size={batch_size}: expected 1 or more")
    contents = shown.contents()
    folder = root / f"{_digest(settings)}-{_digest([shown.names, contents])}"
    if _is_whole(folder):
        return PatchFeatures(folder)
    with locked(folder), writable(folder):  # a batch's jobs want the same features at the same time: one computes
        if not _is_whole(folder):
            folder.mkdir(exist_ok=True)
            first_rows = [0, *np.cumsum([rows * columns for rows, columns in grids]).tolist()]
            index = {
                "settings": settings,
                "dim": dim,
                "images": shown.names,
                "contents": contents,
                "grids": grids,
                "sizes": [shown.size(name) for name in shown.names],
                "first_rows": first_rows,
            }
            _make(folder, index, batch_size, compute)
    return PatchFeatures(folder)


def _make(
    folder: Path, index: dict, batch_size: int, compute: Callable[[list[str], int], Iterator[np.ndarray]]
) -> None:
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
    found = np.memmap(rows, np.float16, "r", shape=(first_rows[-1], dim))
    sums = [zlib.crc32(found[a:b].data) for a, b in pairwise(first_rows)]
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
        index = json.loads(path.read_text(encoding="utf-8"))
        first = index["first_rows"]
        rows = np.memmap(path.parent / "rows.f16", np.float16, "r", shape=(first[-1], index["dim"]))
        for i, content in enumerate(index["contents"]):
            if content in contents:
                known.setdefault(content, rows[first[i] : first[i + 1]])
    return known


def _is_whole(folder: Path) -> bool:
    """Whether the rows are all there and a sample of the images' rows has its checksums."""
    try:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        first, dim, expected = index["first_rows"], index["dim"], index["crc32"]
        if (folder / "rows.f16").stat().st_size != 2 * dim * first[-1]:
            raise ValueError("of another length")
        rows = np.memmap(folder / "rows.f16", np.float16, "r", shape=(first[-1], dim))
        for i in np.unique(np.linspace(0, len(expected) - 1, _SAMPLES).astype(int)):
            if zlib.crc32(rows[first[i] : first[i + 1]].data) != expected[i]:
                raise ValueError(f"image {i} has another checksum")
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        logger.warning("%s: damaged (%s), made again", folder, error)
        return False
    return True
