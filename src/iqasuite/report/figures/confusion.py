"""Confusion maps: what an observer voted against what an artificial observer (AIO) predicted. Data in, Figure out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from iqasuite.inference.predictions import VOTES
from iqasuite.names import natural_order
from iqasuite.report.figures import style
from iqasuite.report.figures.score import LABELS
from iqasuite.report.tables import rounded

CROWD, SHOWN = 30, 12  # observers, from which on a grid is a choice, and how many it then shows


def _confusion(ax: Axes, counts: np.ndarray, numbers: bool, size: float = 8) -> None:
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    ax.imshow(shares, vmin=0, vmax=1)
    for side in ax.spines.values():
        side.set_visible(False)
    if numbers:
        for row, column in np.ndindex(counts.shape):
            ink = "black" if shares[row, column] > 0.55 else "white"
            style.in_cell(ax, column, row, f"{counts[row, column]:d}", ink, size)


def _accuracy(counts: np.ndarray) -> float:
    return np.trace(counts) / max(counts.sum(), 1)


@style.styled
def confusion_map(counts: np.ndarray, aio: str = "", observer: str = "", classes: str = "") -> Figure:
    """Votes of an observer (rows) against those of an AIO (columns): numbers are counts, colour is the share of the
    row.

    Args:
        counts: (5, 5).
        aio, observer: names for the axes.
        classes: what is read where nobody has voted, such as "JPEG class"; `aio` is then the network's name.
    """
    predicted, given = (
        f"vote predicted by AIO {style.readable(aio, 32)}",
        f"vote of {style.readable(observer, 32) or 'the observer'}",
    )
    if classes:
        predicted, given = f"{classes} read by {style.readable(aio, 32)}", classes
    fig, ax = style.one_panel(4.4, 3.8)
    _confusion(ax, counts, numbers=True, size=10)
    ax.set(
        xticks=range(5),
        yticks=range(5),
        xticklabels=VOTES,
        yticklabels=VOTES,
        xlabel=predicted.rstrip(),
        ylabel=given,
        title=f"{counts.sum():,} {'crops' if classes else 'votes'}, accuracy {_accuracy(counts):.3f}",
    )
    ax.tick_params(length=0)
    fig.colorbar(ax.images[0], ax=ax, label="share of the row", shrink=0.85)
    return fig


@style.styled
def confusion_grid(matrices: dict[tuple[str, str], np.ndarray]) -> Figure:
    """The confusion maps of every AIO (columns) with every observer (rows), own pairs framed, accuracy in the corner.

    Numbers are written into the cells for up to six AIOs; beyond that the maps are an overview, and of a crowd of more
    than 30 those of the twelve observers with the most votes.

    Args:
        matrices: (aio, observer) -> counts (5, 5), rows the observer's votes, columns the AIO's.
    """
    aios, observers = natural_order([a for a, _ in matrices]), natural_order([o for _, o in matrices])
    of_all = ""
    if len(observers) > CROWD:
        most = sorted(observers, key=lambda name: matrices[name, name].sum(), reverse=True)[:SHOWN]
        of_all = f"; the {SHOWN} of {len(observers)} observers with the most votes"
        aios = observers = natural_order(most)
    numbers = len(aios) <= 6
    panel = 1.75 if numbers else max(0.5, 10 / len(aios))
    longest = style.letters(panel) if numbers else 16
    fig = style.new_figure(panel * len(aios) + 0.7, panel * len(observers) + 0.9)
    axes = fig.subplots(len(observers), len(aios), squeeze=False)
    for row, observer in enumerate(observers):
        for column, aio in enumerate(aios):
            ax, counts = axes[row, column], matrices[aio, observer]
            _confusion(ax, counts, numbers)
            ax.set(xticks=[], yticks=[])
            if numbers:
                ax.set_title(f"accuracy {_accuracy(counts):.2f}", fontsize=8, pad=4)
            else:
                text = f"{100 * _accuracy(counts):.0f}"
                ax.text(4.4, -0.35, text, ha="right", va="top", fontsize=7, color="white")
            if aio == observer:
                ax.add_patch(
                    Rectangle((-0.5, -0.5), 5, 5, fill=False, edgecolor=style.VERMILLION, linewidth=2.5, clip_on=False)
                )
            if column == 0:
                upright = {"rotation": 90, "fontsize": 9} if numbers else {"rotation": 0, "fontsize": 7, "va": "center"}
                ax.set_ylabel(style.readable(observer, longest), ha="center" if numbers else "right", **upright)
            if row == len(observers) - 1:
                ax.set_xlabel(style.readable(aio, longest), fontsize=9 if numbers else 7, rotation=0 if numbers else 60)
    corner = "" if numbers else "; number in the corner: accuracy in %"
    fig.suptitle(
        f"In each map: rows = the observer's vote 1–5, columns = the AIO's; framed: own AIO{corner}{of_all}", fontsize=9
    )
    fig.supylabel("votes of …", fontsize=9)
    fig.supxlabel("predicted by the AIO of …", fontsize=9)
    engine: Any = fig.get_layout_engine()  # the constrained one
    engine.set(w_pad=0.01 if not numbers else 0.03, h_pad=0.01 if not numbers else 0.03)
    return fig


@style.styled
def cross_comparison_map(table: pd.DataFrame) -> Figure:
    """Accuracy of every AIO (columns) with every observer (rows); own pairs are outlined.

    For more than 30 observers the map is without names and numbers, and own pairs are its diagonal.

    Args:
        table: long frame of `cross_comparison`.
    """
    order = natural_order(table["observer"])
    accuracy = table[table["metric"] == "accuracy"]
    values = accuracy.pivot(index="observer", columns="aio", values="value").loc[order, order]
    size = 0.75 if len(order) <= 8 else 0.42 if len(order) <= CROWD else 8 / len(order)
    fig, ax = style.one_panel(size * len(order) + 2.2, size * len(order) + 1.0)
    drawn = ax.imshow(values, cmap=style.SEQUENTIAL)
    fig.colorbar(drawn, ax=ax, label=LABELS["accuracy"], shrink=0.8)
    if len(order) > CROWD:
        ax.set(xticks=[], yticks=[], xlabel="predicted by the AIO of …", ylabel="votes of …")
        ax.set_title(f"{len(order)} observers in one order; diagonal: own AIO")
        return fig
    for row, column in np.ndindex(values.shape):
        value = values.iloc[row, column]
        dark = np.isfinite(value) and sum(drawn.cmap(drawn.norm(value))[:3]) < 1.5
        text = rounded(value, 2)
        text = text if len(order) <= 8 else text.replace("0.", ".")
        size, weight = 9 if len(order) <= 8 else 7, "bold" if row == column else "normal"
        style.in_cell(ax, column, row, text, "white" if dark else "black", size, fontweight=weight)
        if row == column:
            ax.add_patch(
                Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=style.VERMILLION, linewidth=2)
            )
    ax.set(xticks=range(len(order)), yticks=range(len(order)), xlabel="predicted by the AIO of …", ylabel="votes of …")
    ax.set_xticklabels([style.readable(name, 12) for name in order], rotation=0 if len(order) <= 8 else 60)
    ax.set_yticklabels([style.readable(name, 24) for name in order])
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)
    return fig
