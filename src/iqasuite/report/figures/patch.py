"""Figures of patches: in which order they are read, what they look like to a network. Data in, Figure out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from iqasuite.report.figures import style


@style.styled
def scan_orders(orders: Mapping[str, np.ndarray], rows: int, columns: int) -> Figure:
    """Ways through a grid of patches, from the dot to the triangle.

    Args:
        orders: name -> permutation of the patches in raster order, (rows · columns,).
        rows, columns: of the grid.
    """
    fig, axes = style.small_multiples(len(orders), 4, (2.3, 2.4))
    for ax, (name, order) in zip(axes, orders.items(), strict=True):
        y, x = np.divmod(np.asarray(order), columns)
        for edge in range(rows + 1):
            ax.axhline(edge - 0.5, color=style.LIGHT, linewidth=0.8)
        for edge in range(columns + 1):
            ax.axvline(edge - 0.5, color=style.LIGHT, linewidth=0.8)
        ax.plot(x, y, color=style.BLUE, linewidth=1.4)
        ax.scatter(x[:1], y[:1], color=style.BLUE, s=45, zorder=3)
        ax.scatter(x[-1:], y[-1:], color=style.VERMILLION, marker="^", s=45, zorder=3)
        ax.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5), aspect="equal")
        ax.set_axis_off()
        jumps = int((np.abs(np.diff(x)) + np.abs(np.diff(y)) > 1).sum())
        ax.set_title(f"{style.readable(name, 20)}: {jumps} jumps")
    return fig


@style.styled
def feature_plane(points: np.ndarray, mos: np.ndarray) -> Figure:
    """Images on the two main axes of their features, coloured by quality.

    Args:
        points: (n, 2).
        mos: (n,).
    """
    fig, ax = style.one_panel(6, 4.2)
    shown = ax.scatter(points[:, 0], points[:, 1], c=mos, s=14, cmap=style.SEQUENTIAL, linewidth=0)
    ax.set(xlabel="first main axis (standard deviations)", ylabel="second main axis")
    fig.colorbar(shown, ax=ax, label="mean opinion score")
    ax.set_title(f"{len(mos)} images")
    return fig
