"""Features that a frozen backbone gives of patches or of whole images, computed once and stored in half precision."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
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
from iqasuite.paths import cache_root, file_hash
from iqasuite.training.feature_store import opened, store
from iqasuite.training.machine import computes_in_bf16, default_device
from iqasuite.training.outputs import outputs

POOLINGS = {"average": average, "moments": moments}
_LAYOUT = 1  # raise it when other features come out of the same files and weights


@dataclass(frozen=True)
class Patches:
    """Which features of which patches.

    Attributes:
        size: sides of the patches in pixels, (height, width) or one for both.
        overlap: of neighbours, as in `images.patches.patch_boxes`.
        taps: layers whose maps are pooled, side by side (-1 = the last).
        pooling: "average" (global average pooling) or "moments" (mean and standard deviation of each map).
    """

    size: int | tuple[int, int] = 224
    overlap: float = 0.5
    taps: tuple[int, ...] = (-1,)
    pooling: str = "average"

    def __post_init__(self):
        if self.pooling not in POOLINGS:
            raise InputError(f"pooling={self.pooling!r}: expected one of {', '.join(POOLINGS)}")

    @property
    def sides(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    def boxes(self, pixels: np.ndarray) -> np.ndarray:
        """Places of the patches of an image (H, W, 3): top, left, bottom, right, int64 (n, 4)."""
        return patch_boxes(pixels.shape[0], pixels.shape[1], self.sides, self.overlap)

    def features(self, network: Any, x: Tensor) -> Tensor:
        """Pooled maps (B, dim) that a backbone gives of patches (B, H, W, 3)."""
        return POOLINGS[self.pooling](network.maps(x.permute(0, 3, 1, 2), self.taps))


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
        index, self._rows = opened(self.path)
        self.images, self.dim, self.settings = list(index["images"]), index["dim"], index["settings"]
        self._place = {image: i for i, image in enumerate(self.images)}
        self._sizes, self._grids, self._first = index["sizes"], index["grids"], index["first_rows"]

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
    patches: Patches = Patches(),
    *,
    images: Sequence[str] | None = None,
    shown_at: tuple[int, int] | None = None,
    precision: str = "auto",
    device: torch.device | str | None = None,
    batch_size: int = 64,
    root: Path | str | None = None,
) -> PatchFeatures:
    """Features of all sliding patches of images: from the store, or computed now.

    Args:
        source: a data set, image -> file, or files (named by their paths as given).
        network: name of a torchvision classifier, "spectrum" (which needs no weights), or a backbone.
        patches: which features of which patches.
        images: some of the source's images, or references of a data set; None = its images.
        shown_at: (height, width) to which every image is brought first (`loading.resized`, by the set's `fit`); None =
            its own size.
        precision: "bf16", "float32", or "auto": bf16 where the machine has it.
        device: None = the GPU where there is one.
        batch_size: patches a step, also of several images.
        root: folder of stores; None = `features` in the cache folder.

    Raises:
        InputError: no images, a file that is missing or no image, an unknown setting, a patch too small for the
            network, too little disk space.

    Reference: patches of 224 × 224 with global average pooling, as before recurrent regression on patch sequences.
    """
    chosen = network if isinstance(network, Backbone) else backbone(network)
    shown, where = _Images(source, images, shown_at), default_device(device)
    dim, dtype = _dim(chosen, patches), _dtype(precision, where, chosen)
    sizes = [shown.size(image) for image in shown.names]
    grids = [patch_grid(*size, patches.sides, patches.overlap) for size in sizes]
    counts = {image: rows * columns for image, (rows, columns) in zip(shown.names, grids, strict=True)}

    def compute(wanted: list[str], first: int) -> Iterator[np.ndarray]:
        while wanted and counts[wanted[0]] <= first:  # stored already: not decoded again
            first -= counts[wanted[0]]
            wanted = wanted[1:]
        cut = _patches(shown.pixels, wanted, first, patches, chosen, (where, dtype))
        network = folded(chosen).to(where, dtype)
        return (rows.cpu().numpy() for rows in outputs(network, _stacked(cut, batch_size), patches.features))

    index = {
        "settings": _settings(network, chosen, patches, shown_at, dtype),
        "dim": dim,
        "images": shown.names,
        "contents": shown.contents(),
        "grids": grids,
        "sizes": sizes,
    }
    return PatchFeatures(store(Path(root) if root else cache_root() / "features", index, batch_size, compute))


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


def _patches(
    pixels: Callable[[str], np.ndarray],
    images: Sequence[str],
    first: int,
    patches: Patches,
    network: Backbone,
    where: tuple[torch.device, torch.dtype],
) -> Iterator[Tensor]:
    """Patches (h, w, 3) of images as the network takes them, from number `first` on.

    The channels are last: patches are then cut by rows. A few images are decoded ahead while the network computes.
    """
    height, width = patches.sides
    for image in read_ahead(pixels, images, workers=2, ahead=4):
        x = torch.from_numpy(np.ascontiguousarray(padded(image, patches.sides))).to(where[0]).permute(2, 0, 1)
        x = normalise(x, network.mean, network.std).permute(1, 2, 0).to(where[1])
        boxes = patches.boxes(image)
        for top, left in boxes[first:, :2].tolist():
            yield x[top : top + height, left : left + width]
        first = max(0, first - len(boxes))


def _stacked(patches: Iterable[Tensor], batch_size: int) -> Iterator[Tensor]:
    patches = iter(patches)
    while some := list(islice(patches, batch_size)):
        yield torch.stack(some)


def _dim(network: Backbone, patches: Patches) -> int:
    height, width = patches.sides
    widths = network.widths(patches.taps)
    try:
        network.shapes((height, width), patches.taps)
    except RuntimeError as error:
        raise InputError(f"images or patches of {height}×{width} pixels: too small for the network ({error})") from None
    return POOLINGS[patches.pooling]([torch.zeros(1, width, 1, 1) for width in widths]).shape[1]


def _dtype(precision: str, device: torch.device, network: Backbone) -> torch.dtype:
    if precision == "auto":
        precision = "bf16" if computes_in_bf16(device) and not network.precise else "float32"
    if precision not in ("bf16", "float32"):
        raise InputError(f"precision={precision!r}: expected auto, bf16 or float32")
    return torch.bfloat16 if precision == "bf16" else torch.float32


def _settings(
    network: str | Backbone, chosen: Backbone, patches: Patches, shown_at: tuple[int, int] | None, dtype: torch.dtype
) -> dict:
    digest = hashlib.sha256(repr(chosen).encode())
    for name, tensor in chosen.state_dict().items():
        digest.update(f"{name}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy())
    return {
        "layout": _LAYOUT,
        "kind": "patches",
        "backbone": network if isinstance(network, str) else "given",
        "weights": digest.hexdigest(),
        "mean": chosen.mean,
        "std": chosen.std,
        "pooling": patches.pooling,
        "taps": sorted({tap % len(chosen.layers) for tap in patches.taps}),
        "shown_at": shown_at,
        "precision": str(dtype).removeprefix("torch."),
        "size": patches.sides,
        "overlap": patches.overlap,
    }
