"""How every figure looks: one size of type, colours that colour-blind readers can tell apart, no global settings."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, cast

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageChops

from iqasuite.inference.tables import printable

# M. Okabe & K. Ito, "Color universal design", 2008.
BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
PALETTE = (BLUE, VERMILLION, PURPLE, ORANGE, SKY, "#000000")
GRAY, LIGHT = "#767676", "#d9d9d9"
CEILING_COLOUR = GREEN
LARGEST = 12.0  # inches of a side that a page can show
MANY = 60  # rows, from which on there is no room for their names
SEQUENTIAL, DIVERGING = "cividis", "PuOr_r"  # more is yellow, orange: warm
WARM = "inferno"  # of maps in images: more is warmer
EVEN = 0.1  # of an even share: maps that differ less from it have nothing to show
SHARES = "attention, in multiples of an even share"
_LEAST_END = 2.0  # even shares at which the colours of maps end at the nearest: little is to look little
_SATURATED = 99  # percentile of places that reach the end of the colours: one place must not darken all others
_UNSEEN = 0.3  # gray levels of mean error: smoothed edges of letters; photographs have 3
_QUALITY = 90  # of WebP

_RC: Any = {
    "figure.dpi": 110,
    "savefig.dpi": 110,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "figure.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "grid.color": LIGHT,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "image.cmap": SEQUENTIAL,
}


@contextmanager
def style() -> Iterator[None]:
    """Within it, new figures look like the suite's; afterwards everything is as before."""
    with matplotlib.rc_context(_RC):
        yield


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """A drawing function that draws within `style()`."""

    @wraps(draw)
    def within(*args, **kwargs) -> Figure:
        with style():
            return draw(*args, **kwargs)

    return within


class NotebookFigure(Figure):
    """A Figure that Jupyter shows as an image without pyplot and its list of open figures.

    Drawing takes longer than most of what is drawn, so what was saved is shown again as long as nothing has changed.
    """

    _saved: tuple[float, bytes] = (0.0, b"")

    def _repr_png_(self) -> bytes:
        return png_of(self)


def png_of(fig: Figure) -> bytes:
    """The figure as a PNG file of the same pixels as `webp_of` has."""
    dpi, file = fig._saved if isinstance(fig, NotebookFigure) and not fig.stale else (0.0, b"")
    written = io.BytesIO()
    Image.open(io.BytesIO(file if dpi == fig.dpi else webp_of(fig))).save(written, format="png")
    return written.getvalue()


def webp_of(fig: Figure) -> bytes:
    """The figure as a small WebP file (`lighter`)."""
    drawn = io.BytesIO()
    fig.savefig(drawn, format="png", bbox_inches="tight")
    file = lighter(Image.open(drawn))
    if isinstance(fig, NotebookFigure):
        fig._saved, fig.stale = (fig.dpi, file), False
    return file


def lighter(image: Image.Image) -> bytes:
    """A WebP file that looks the same: of 256 colours, nothing else lost, where nobody could tell the difference.

    Else, as with photographs, it is compressed with losses that need a second look to be seen: a quarter of the size.
    """
    whole = image.convert("RGB")
    light = whole.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    error = np.asarray(ImageChops.difference(whole, light.convert("RGB"))).mean()
    written = io.BytesIO()
    few = bool(error < _UNSEEN)
    (light.convert("RGB") if few else whole).save(written, format="webp", lossless=few, quality=_QUALITY)
    return written.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, at most 12 a side, whose parts never overlap."""
    return NotebookFigure(figsize=(min(width, LARGEST), min(height, LARGEST)), layout="constrained")


def one_panel(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of one panel, of this size in inches."""
    fig = new_figure(width, height)
    return fig, fig.subplots()


def some(observers: Sequence[str], most: int = 42) -> tuple[list[str], str]:
    """Observers that get a panel each, evenly chosen where there are too many, and a note of that."""
    if len(observers) <= most:
        return list(observers), ""
    places = np.linspace(0, len(observers) - 1, most).round().astype(int)
    return [observers[place] for place in places], f"{most} of {len(observers)} observers"


def small_multiples(n: int, per_row: int, panel: tuple[float, float], **shared) -> tuple[Figure, list[Axes]]:
    """A figure with `n` equal panels of `panel` (width, height) inches, at most `per_row` in a row."""
    columns = min(n, per_row)
    rows = -(-n // columns)
    fig = new_figure(columns * panel[0], rows * panel[1] + 0.5)
    axes = list(fig.subplots(rows, columns, squeeze=False, **shared).flat)
    for spare in axes[n:]:
        spare.set_axis_off()
    return fig, axes[:n]


def readable(name: object, longest: int = 56) -> str:
    """A name as a figure shows it, whatever it is: of an observer, an image, a model, a data set.

    What lies between two `$` is no formula then, control characters are escaped, a long name has "…" in its middle (the
    ends of names tell them apart), and one that begins with `_` is not left out of a legend.

    Args:
        name: as files have it.
        longest: letters that are shown; `letters` tells how many fit.
    """
    text = printable(name)
    if len(text) > longest:
        end = (longest - 1) // 3
        text = f"{text[: longest - 1 - end]}…{text[len(text) - end :]}"
    return f"{' ' * text.startswith('_')}{text}".replace("$", r"\$")


def letters(inches: float, size: float = 9) -> int:
    """About how many letters of a size in points fit in a width, and never fewer than eight."""
    return max(8, int(125 * inches / size))


def rows_axis(ax: Axes, names: Sequence[str], longest: int = 56) -> None:
    """One row per name (`readable`), the first on top, with faint lines to follow; more than 60 have no names."""
    if len(names) <= MANY:
        ax.set_yticks(range(len(names)), [readable(name, longest) for name in names])
        ax.grid(True, axis="y")
    else:
        ax.set_yticks([])
        ax.set_ylabel(f"{len(names)} rows")
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


def ink_on(colour: Sequence[float] | np.ndarray) -> str:
    """Black or white, whichever stands out more on this colour (relative luminance of WCAG 2.1)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    luminance = float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
    return "black" if luminance > 0.18 else "white"


def cell_grid(ax: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Names of rows and columns (`readable`) beside a heat map, white lines between its cells."""
    width, height = cast("Figure", ax.figure).get_size_inches()
    beside, below = (min(56, letters(share, 8)) for share in (0.4 * width, 0.7 * height))  # those below are turned
    ax.set_yticks(range(len(rows)), [readable(name, beside) for name in rows])
    names = [readable(name, below) for name in columns]
    ax.set_xticks(range(len(columns)), names, rotation=40, ha="right", rotation_mode="anchor")
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)
    ax.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(len(rows) + 1) - 0.5, minor=True)
    ax.grid(True, which="minor", color="white", linewidth=1.2)
    ax.tick_params(which="minor", length=0)


def blank(ax: Axes) -> None:
    """No ticks and no frame, for pixels and maps."""
    ax.set(xticks=[], yticks=[])
    for side in ax.spines.values():
        side.set_visible(False)


def gray(image: np.ndarray) -> np.ndarray:
    """Luma (H, W) of an image (H, W, 3), both uint8."""
    return np.asarray(Image.fromarray(image).convert("L"))


def above(ax: Axes, x: float, y: float, text: str) -> None:
    """A small text just above a point."""
    ax.annotate(text, (x, y), xytext=(0, 5), textcoords="offset points", ha="center", fontsize=7.5)


def in_cell(ax: Axes, column: float, row: float, text: str, colour: str, size: float = 8, **look: Any) -> None:
    """A text in the middle of a heat map's cell."""
    ax.text(column, row, text, ha="center", va="center", color=colour, fontsize=size, **look)


def named_line(ax: Axes, x: float, name: str) -> None:
    """A dashed vertical line with its name above the frame."""
    ax.axvline(x, color=GRAY, linestyle="--", linewidth=0.9)
    place: Any = {"xycoords": ("data", "axes fraction"), "xytext": (3, 2), "textcoords": "offset points"}
    ax.annotate(name, (x, 1), color=GRAY, fontsize=8, **place)


def ends(frame: pd.DataFrame, value: str = "value", low: str = "low", high: str = "high") -> list[pd.Series]:
    """Lengths of the two halves of each interval, as `Axes.errorbar` takes them."""
    return [(frame[value] - frame[low]).clip(lower=0), (frame[high] - frame[value]).clip(lower=0)]


def bands(ax: Axes, n: int) -> None:
    """Every other one of `n` rows shaded, for rows that hold several dots each."""
    ax.grid(False)
    for row in range(0, n, 2):
        ax.axhspan(row - 0.5, row + 0.5, color="#f2f2f2", zorder=0, linewidth=0)


def signed(number: float, digits: int = 2) -> str:
    """A number with its sign, a true minus where it is negative: "+0.41", "−0.34"."""
    return f"{number:+.{digits}f}".replace("-", "−")


def share_look(shares: np.ndarray) -> dict[str, Any]:
    """How maps in multiples of an even share are coloured, all of a figure alike: from 0 to twice that or more."""
    return {"cmap": WARM, "vmin": 0.0, "vmax": max(_LEAST_END, reach(shares))}


def reach(values: np.ndarray) -> float:
    """How far the values of maps reach from 0, but for one place in a hundred."""
    return float(np.percentile(np.abs(values), _SATURATED))


def share_bar(fig: Figure, axes: Any, drawn: Any, label: str = SHARES) -> None:
    """The colour bar of maps of `share_look`, with numbers and the even share named."""
    end = drawn.get_clim()[1]
    bar = fig.colorbar(drawn, ax=axes, shrink=0.6, aspect=30, ticks=[0, 1, end], label=label)
    bar.ax.set_yticklabels(["0", "1 (even)", f"{end:.1f}"])


def stamp(ax: Axes, text: str = "even: nothing to see") -> None:
    """A text across a map that must not be read."""
    look: Any = {"boxstyle": "round", "facecolor": "white", "alpha": 0.85, "linewidth": 0}
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", fontsize=6, bbox=look, color="black")


def dots(ax: Axes, value, y, low, high, colour: str, marker: str = "o", label: str | None = None, hollow: bool = False):
    """Values at heights `y` with horizontal 95 % intervals."""
    ax.hlines(y, low, high, color=colour, linewidth=1.2, alpha=0.8)
    face = "white" if hollow else colour
    return ax.scatter(value, y, s=26, color=face, edgecolor=colour, marker=marker, label=label, zorder=3, linewidth=1.2)
