"""Figures of no-reference networks: what they cost, where they look, which votes and categories they
give. Data in, Figure out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from iqasuite.report.figures import style
from iqasuite.weights.catalogue import CATEGORIES

_MARKERS = ("o", "s", "^", "D", "v", "P")
_PLACES = (
    (7, 5, "left"),
    (-7, 5, "right"),
    (7, -11, "left"),
    (-7, -11, "right"),
    (0, 11, "center"),
    (0, -18, "center"),
)


@style.styled
def latency_accuracy_plot(table: pd.DataFrame, bars: str = "95 % interval") -> Figure:
    """What a network costs against how good it is: milliseconds an image (log, 95 % intervals) and SROCC.

    Args:
        table: one row a point: model (named at one of its points; a line joins them), median_ms, low_ms, high_ms,
            value, low, high; intervals may be nan. Each `engine` has its colour and marker, where the table has that.
        bars: what `low` and `high` are.
    """
    fig, ax = style.one_panel(6.4, 4.2)
    table = table if "engine" in table else table.assign(engine="")
    engines = list(dict.fromkeys(table["engine"]))
    for _, own in table.sort_values("median_ms").groupby("model"):
        ax.plot(own["median_ms"], own["value"], color=style.LIGHT, linewidth=1.2, zorder=1)  # what belongs together
    for i, name in enumerate(engines):
        own = table[table["engine"] == name]
        look: Any = {"color": style.PALETTE[i % len(style.PALETTE)], "marker": _MARKERS[i % len(_MARKERS)]}
        look |= {"linestyle": "none", "markersize": 6, "elinewidth": 1.1, "capsize": 2}
        look["label"] = style.readable(name, 32) or None
        bars_of: Any = {"xerr": style.ends(own, "median_ms", "low_ms", "high_ms"), "yerr": style.ends(own)}
        ax.errorbar(own["median_ms"], own["value"], **bars_of, **look)
    ax.set_xscale("log")
    _millisecond_axis(ax, table)
    ax.set(xlabel="milliseconds an image (median, 95 % interval)", ylabel=f"SROCC, {bars}")
    ax.grid(True, which="major")
    if len(engines) > 1:
        fig.legend(loc="outside lower center", ncols=4)
    _label_points(fig, ax, table)
    return fig


def _millisecond_axis(ax: Axes, table: pd.DataFrame) -> None:
    spread = table[["median_ms", "low_ms", "high_ms"]].to_numpy(float)
    ax.set_xlim(np.nanmin(spread) / 1.35, np.nanmax(spread) * 1.35)
    steps = (1, 2, 5) if np.nanmax(spread) / np.nanmin(spread) < 200 else (1,)
    ax.xaxis.set_major_locator(LogLocator(subs=steps))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _label_points(fig: Figure, ax: Axes, table: pd.DataFrame) -> None:
    """Each model's name at one of its points, where it covers the least of names, points, intervals and the frame."""
    fig.draw_without_rendering()  # places are in pixels: the layout must be there
    taken, points = [], []
    for row in table.itertuples():
        (x, y), (_, low), (_, high) = ax.transData.transform(
            [(row.median_ms, row.value), (row.median_ms, row.low), (row.median_ms, row.high)]
        )
        taken += [Bbox.from_bounds(x - 4, y - 4, 8, 8), Bbox([(x - 3, low), (x + 3, high)])]
        points.append((row.model, Bbox.from_bounds(x - 25, y - 25, 50, 50)))  # a name must not seem to be theirs
    for name, own in table.groupby("model", sort=False):
        tried, near = [], [*taken, *(box for other, box in points if other != name)]
        shown = style.readable(name, 36)
        for x, y in own[["median_ms", "value"]].to_numpy(float):
            for dx, dy, side in _PLACES:
                text = ax.annotate(shown, (x, y), (dx, dy), textcoords="offset points", ha=side, fontsize=7.5)
                box = text.get_window_extent()
                covered = sum(_area(Bbox.intersection(box, other)) for other in near)
                tried.append((covered + _area(box) - _area(Bbox.intersection(box, ax.bbox)), text, box))
        best = min(tried, key=lambda each: each[0])
        for each in tried:
            if each is not best:
                each[1].remove()
        taken.append(best[2])


def _area(box: Bbox | None) -> float:
    return 0.0 if box is None else max(box.width, 0) * max(box.height, 0)


@style.styled
def category_confusion(counts: np.ndarray) -> Figure:
    """Categories of the mean opinion score (rows) against predicted ones (columns): numbers are counts, colours row
    shares.

    Args:
        counts: (5, 5), the worst category first.
    """
    counts = np.asarray(counts)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    fig, ax = style.one_panel(5.2, 4.0)
    drawn = ax.imshow(shares, cmap=style.SEQUENTIAL, vmin=0, vmax=1)
    style.cell_grid(ax, CATEGORIES, CATEGORIES)
    for (row, column), count in np.ndenumerate(counts):
        ink = style.ink_on(drawn.cmap(drawn.norm(shares[row, column])))
        style.in_cell(ax, column, row, f"{count:,d}", ink, 9)
    right, near = (sum(np.trace(counts, offset) for offset in of) / max(counts.sum(), 1) for of in ((0,), (-1, 0, 1)))
    ax.set(xlabel="predicted category", ylabel="category of the mean opinion score")
    ax.set_title(
        f"{counts.sum():,} images: {100 * right:.0f} % right, {100 * near:.0f} % right or next to it", fontsize=9
    )
    fig.colorbar(drawn, ax=ax, label="share of the row", shrink=0.85)
    return fig
