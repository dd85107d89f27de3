"""Where in an image a network finds its quality, or looks: drawn beside the image, and as plain numbers."""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from iqasuite.inference.predictor import Map, Predictor, enlarged
from iqasuite.paths import write_atomic
from iqasuite.report.figures.style import EVEN, WARM, blank, new_figure, png_of, share_bar, share_look, stamp, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SATURATED = 99  # percentile of places at the end of the colours: one place must not darken all others
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
    values = io.BytesIO()
    np.save(values, found.values.astype(np.float32), allow_pickle=False)
    write_atomic(path.with_suffix(".npy"), values.getvalue())
    return write_atomic(path, png_of(map_figure(image, *coloured(predictor, found))))


def map_name(file: Path | str, model: str) -> str:
    """A file name without ending for an image's map: of letters, digits, _ and -, and another for each image.

    The same image has the same name in every run; images of one name in two folders differ in the digits behind it,
    which are those of the SHA-256 of the whole path.
    """
    path = Path(file)
    digits = hashlib.sha256(str(path.absolute()).encode("utf-8", "surrogateescape")).hexdigest()[:10]
    return f"{_plain(path.stem)[:80]}-{digits}-{_plain(model)[-60:]}"


def coloured(predictor: Predictor, found: Map) -> tuple[np.ndarray, float, float, str]:
    """Values to be drawn, both ends of the colours, and what these mean: scores of the model, or multiples of an even
    share, as everywhere in the suite ("").

    The colours of quality go from the least to the most that this image has, one place in a hundred left aside, but are
    never spread over less than a fifth of the scale: what differs less is to look alike.
    """
    if found.kind == "attention":
        values = found.values * float(found.values.size)
        return values, 0.0, share_look(values)["vmax"], ""
    entry = predictor.entry
    values, least = entry.score_of(found.values.astype(float)), (entry.high - entry.low) / 5
    low, high = np.percentile(values, [100 - _SATURATED, _SATURATED])
    wider = max(least - (high - low), 0) / 2
    meaning = f"quality of each place ({entry.scale}, {entry.low:g} to {entry.high:g})"
    return values, float(low - wider), float(high + wider), meaning


@styled
def map_figure(image: np.ndarray, values: np.ndarray, low: float, high: float, meaning: str) -> Figure:
    """An image, and beside it its map over the gray image, with a colour bar.

    Args:
        image: uint8 (H, W, 3).
        values: (rows, columns) over the whole image.
        low, high: of the colours.
        meaning: what the colours are, with their unit; "" = attention, in multiples of an even share.
    """
    height, width = image.shape[:2]
    factor = _INCHES / max(height, width)
    fig = new_figure(2 * max(width * factor, 2.5) + 1.2, max(height * factor, 2.5) + 0.2)
    axes = fig.subplots(1, 2)
    axes[0].imshow(image)
    axes[1].imshow(image.mean(axis=2), cmap="gray", vmin=0, vmax=255)
    drawn = axes[1].imshow(enlarged(values, (height, width)), cmap=WARM, vmin=low, vmax=high, alpha=0.6)
    for ax in axes:
        blank(ax)
    if meaning:
        fig.colorbar(drawn, ax=axes, shrink=0.9, label=meaning)
    else:
        share_bar(fig, axes, drawn)
        if np.abs(values - 1).max() < EVEN:
            stamp(axes[1])
    return fig


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-") or "image"
