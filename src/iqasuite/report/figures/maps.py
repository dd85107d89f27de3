"""Where in an image a network finds its quality, or looks: drawn beside the image, and as plain numbers."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from iqasuite.inference.predictor import Map, Predictor, enlarged
from iqasuite.paths import write_atomic
from iqasuite.report.figures import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from iqasuite.weights.catalogue import Entry

_INCHES = 4.5  # longer side of the image in the figure


def save_map(predictor: Predictor, image: np.ndarray, file: Path | str, folder: Path) -> Path:
    """Write what a predictor's map of an image looks like (.png) and its values as the network gave them (.npy).

    Args:
        predictor: whose map.
        image: uint8 (H, W, 3), as `predictor.shown` has it.
        file: where the image came from: it gives the map its name.
        folder: where the map goes, and nowhere else.

    Returns:
        The .png. The .npy beside it is float32 (rows, columns): votes from 1 to 5, or attention that sums to 1.
    """
    found = predictor.map(image)
    path = folder / f"{map_name(file, predictor.entry.name)}.png"
    array = io.BytesIO()
    np.save(array, found.values.astype(np.float32), allow_pickle=False)
    write_atomic(path.with_suffix(".npy"), array.getvalue())
    values, meaning = in_units(predictor.entry, found)
    ends = colour_ends(predictor.entry, [found])
    return write_atomic(path, style.png_of(map_figure(image, values, *ends, meaning)))


def map_name(file: Path | str, model: str) -> str:
    """A file name without ending for an image's map: of letters, digits, _ and -, and another for each image.

    The same image has the same name in every run; images of one name in two folders differ in the digits behind it,
    which are those of the SHA-256 of the whole path.
    """
    path = Path(file)
    digits = hashlib.sha256(str(path.absolute()).encode("utf-8", "surrogateescape")).hexdigest()[:10]
    return f"{_plain(path.stem)[:80]}-{digits}-{_plain(model)[-60:]}"


def in_units(entry: Entry, found: Map) -> tuple[np.ndarray, str]:
    """A map as it is drawn, more where there is more, and what its numbers are: attention in multiples of an even
    share; in place of quality how far it is below the best, on the model's scale.
    """
    if found.kind == "attention":
        return found.values * float(found.values.size), style.SHARES
    return (5 - found.values) / 4 * abs(entry.high - entry.low), f"below the best quality, {entry.scale}"


def colour_ends(entry: Entry, maps: Sequence[Map]) -> tuple[float, float]:
    """Ends of the colours of maps: of quality a quarter of the scale or more, so that little looks little."""
    values = np.concatenate([in_units(entry, found)[0].ravel() for found in maps])
    if maps[0].kind == "attention":
        return 0.0, float(style.share_look(values)["vmax"])
    whole = abs(entry.high - entry.low)
    low, high = float(values.min()), float(values.max())
    reach = max(high - low, whole / 4) / 2
    middle = min(max((low + high) / 2, reach), whole - reach)
    return middle - reach, middle + reach


@style.styled
def map_figure(image: np.ndarray, values: np.ndarray, low: float, high: float, meaning: str) -> Figure:
    """An image, and beside it its map over the gray image, with a colour bar.

    Args:
        image: uint8 (H, W, 3).
        values: (rows, columns) over the whole image.
        low, high: of the colours.
        meaning: what the colours are, with their unit; `SHARES` have the even one marked, and stamped.
    """
    height, width = image.shape[:2]
    factor = _INCHES / max(height, width)
    fig = style.new_figure(2 * max(width * factor, 2.5) + 1.2, max(height * factor, 2.5) + 0.2)
    axes = fig.subplots(1, 2)
    axes[0].imshow(image)
    axes[1].imshow(image.mean(axis=2), cmap="gray", vmin=0, vmax=255)
    drawn = axes[1].imshow(enlarged(values, (height, width)), cmap=style.WARM, vmin=low, vmax=high, alpha=0.6)
    for ax in axes:
        style.blank(ax)
    if meaning != style.SHARES:
        fig.colorbar(drawn, ax=axes, shrink=0.9, label=meaning)
        return fig
    style.share_bar(fig, axes, drawn)
    if np.abs(values - 1).max() < style.EVEN:
        style.stamp(axes[1])
    return fig


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-") or "image"
