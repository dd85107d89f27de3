"""What is predicted for the patches of an image, laid out over its pixels."""

from __future__ import annotations

import numpy as np

from iqasuite.errors import InputError


def patch_map(values: np.ndarray, boxes: np.ndarray, cell: int = 8) -> np.ndarray:
    """Mean of the values of all patches that cover a place.

    Args:
        values: one for each patch (n,).
        boxes: top, left, bottom, right of the patches in pixels (n, 4), as of `images.patches.patch_boxes`; together
            they cover the image.
        cell: side in pixels of the places.

    Returns:
        float64 (rows, columns): as many cells as the image has, the last ones cut off at its border; nan where no
        patch covers a cell's centre.

    Raises:
        InputError: not as many values as boxes, or none.
    """
    values, boxes = np.asarray(values, float), np.asarray(boxes)
    if values.shape != boxes.shape[:1] or boxes.shape[1:] != (4,) or not len(boxes):
        raise InputError(f"patch_map: values {values.shape} and boxes {boxes.shape}, expected (n,) and (n, 4), n ≥ 1")
    height, width = boxes[:, 2].max(), boxes[:, 3].max()
    y, x = np.arange(cell // 2, max(height, cell // 2 + 1), cell), np.arange(cell // 2, max(width, cell // 2 + 1), cell)
    rows = ((boxes[:, :1] <= y) & (y < boxes[:, 2:3])).astype(float)  # (n, rows): which a patch covers
    columns = ((boxes[:, 1:2] <= x) & (x < boxes[:, 3:])).astype(float)
    total, count = np.einsum("n,nr,nc->rc", values, rows, columns), np.einsum("nr,nc->rc", rows, columns)
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
