"""Images cut into overlapping patches, and the orders in which such a grid is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from iqasuite.errors import InputError
from iqasuite.images.loading import read_image

ORDERS = ("raster", "snake", "spiral", "hilbert")


def patch_grid(height: int, width: int, size: int | tuple[int, int] = 224, overlap: float = 0.5) -> tuple[int, int]:
    """Rows and columns of the patches that cover an image; arguments as of `patch_boxes`."""
    tall, wide = _checked(height, width, size, overlap)
    return len(_starts(height, tall, overlap)), len(_starts(width, wide, overlap))


def patch_boxes(height: int, width: int, size: int | tuple[int, int] = 224, overlap: float = 0.5) -> np.ndarray:
    """Places of sliding patches that cover an image wholly, row by row.

    Neighbours are size · (1 − overlap) pixels apart; the last row and column are shifted inwards to end at the border.
    Along a side that is shorter than the patch there is one patch, and its box is that side: `cut` pads it.

    Args:
        height, width: of the image in pixels.
        size: of the patches in pixels: one side, or (height, width).
        overlap: share of a patch that its neighbour repeats, in [0, 1).

    Returns:
        int64 array (n, 4): top, left, bottom, right, the last two exclusive.

    Raises:
        InputError: a size below 1 or an overlap outside [0, 1).
    """
    tall, wide = _checked(height, width, size, overlap)
    tops, lefts = _starts(height, tall, overlap), _starts(width, wide, overlap)
    top, left = np.repeat(tops, len(lefts)), np.tile(lefts, len(tops))
    return np.stack([top, left, np.minimum(top + tall, height), np.minimum(left + wide, width)], axis=1)


def padded(image: np.ndarray, size: int | tuple[int, int]) -> np.ndarray:
    """An image (H, W, C) that is no smaller than a patch: reflected at both ends of a side that is too short.

    Padded and not scaled, because a change of size is a change of quality.
    """
    lacking = [max(0, wanted - there) for wanted, there in zip(_sides(size), image.shape[:2], strict=True)]
    if not any(lacking):
        return image
    return np.pad(image, [(n // 2, n - n // 2) for n in lacking] + [(0, 0)], mode="reflect")


def cut(image: np.ndarray, boxes: np.ndarray, size: int | tuple[int, int] = 224) -> np.ndarray:
    """The patches (n, height, width, C) of an image (H, W, C) at `boxes`, made by `patch_boxes` for this `size`."""
    tall, wide = _sides(size)
    image = padded(image, size)
    return np.stack([image[top : top + tall, left : left + wide] for top, left in boxes[:, :2]])


def scan_order(rows: int, columns: int, order: str = "raster") -> np.ndarray:
    """Order in which the cells of a grid are read: indices into its rows one after another, each exactly once.

    raster: row by row. snake: every second row backwards. spiral: clockwise from the upper left corner to the centre.
    hilbert: along the Hilbert curve of the smallest square of 2^k cells a side that holds the grid, cells outside it
    left out. Successive cells are neighbours in snake and spiral, in hilbert where the grid is such a square.

    Returns:
        int64 array (rows · columns,).

    Raises:
        InputError: an empty grid or an unknown order.

    Reference: D. Hilbert, "Über die stetige Abbildung einer Linie auf ein Flächenstück", 1891.
    """
    if rows < 1 or columns < 1:
        raise InputError(f"grid of {rows}×{columns}: expected one row and column or more")
    cells = np.arange(rows * columns).reshape(rows, columns)
    if order == "raster":
        return cells.ravel()
    if order == "snake":
        cells[1::2] = cells[1::2, ::-1].copy()
        return cells.ravel()
    if order == "spiral":
        return _spiral(cells)
    if order == "hilbert":
        row, column = _hilbert(max(rows, columns))
        inside = (row < rows) & (column < columns)
        return row[inside] * columns + column[inside]
    raise InputError(f"order {order!r}: expected one of {', '.join(ORDERS)}")


class PatchGenerator:
    """Patches of one image file after another: iterates (patches, ID), `len()` is the number of images.

    Args:
        list_IDs: names of image files.
        overlapping: share of a patch that its neighbour repeats, in [0, 1).
        db_path: folder of the files.
        dim: (height, width) of the patches in pixels.
        part: "train" gives the images in a new random order in each pass, any other part in the order of `list_IDs`.
        base: what is made of an image's patches, uint8 (n, height, width, 3): a base model's preparation or features;
            None = the patches themselves.
        seed: of the orders.
    """

    def __init__(
        self,
        list_IDs: Sequence[str],  # noqa: N803 (the study's name)
        overlapping: float = 0.5,
        db_path: Path | str = ".",
        dim: tuple[int, int] = (224, 224),
        part: str = "test",
        base: Callable[[np.ndarray], np.ndarray] | None = None,
        seed: int = 0,
    ):
        self.list_IDs, self.overlapping, self.db_path = list(list_IDs), overlapping, Path(db_path)
        self.dim, self.part, self.base = dim, part, base
        self._random = np.random.default_rng(seed)

    def __len__(self) -> int:
        return len(self.list_IDs)

    def __iter__(self) -> Iterator[tuple[np.ndarray, str]]:
        order = self._random.permutation(len(self)) if self.part == "train" else range(len(self))
        for i in order:
            image = read_image(self.db_path / self.list_IDs[i])
            height, width = image.shape[:2]
            patches = cut(image, patch_boxes(height, width, self.dim, self.overlapping), self.dim)
            yield (self.base(patches) if self.base else patches), self.list_IDs[i]


def _sides(size: int | tuple[int, int]) -> tuple[int, int]:
    tall, wide = (size, size) if isinstance(size, (int, np.integer)) else size
    return int(tall), int(wide)


def _checked(height: int, width: int, size: int | tuple[int, int], overlap: float) -> tuple[int, int]:
    tall, wide = _sides(size)
    if min(height, width, tall, wide) < 1:
        raise InputError(f"patches of {tall}×{wide} of an image of {height}×{width} pixels: expected 1×1 or larger")
    if not 0 <= overlap < 1:
        raise InputError(f"overlap={overlap}: expected a share in [0, 1)")
    return tall, wide


def _starts(side: int, patch: int, overlap: float) -> np.ndarray:
    room, step = max(side - patch, 0), max(1, round(patch * (1 - overlap)))
    return np.minimum(np.arange(-(-room // step) + 1) * step, room)


def _spiral(cells: np.ndarray) -> np.ndarray:
    rings = []
    while cells.size:
        rings.append(cells[0])
        cells = np.rot90(cells[1:])  # the column on the right becomes the next upper row
    return np.concatenate(rings)


def _hilbert(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns along the curve of the smallest square of 2^k ≥ `side` cells a side."""
    row = column = np.zeros(1, dtype=np.int64)
    n = 1
    while n < side:  # four copies of the curve: mirrored at a diagonal, as it is, as it is, mirrored at the other one
        row, column = (
            np.concatenate([column, row, row + n, 2 * n - 1 - column]),
            np.concatenate([row, column + n, column + n, n - 1 - row]),
        )
        n *= 2
    return row, column
