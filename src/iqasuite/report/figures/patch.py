"""Figures of patches: in which order they are read, what they look like to a network. Data in, Figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from iqasuite.report.figures.style import (
    BLUE,
    LIGHT,
    SEQUENTIAL,
    VERMILLION,
    WARM,
    gray,
    letters,
    new_figure,
    one_panel,
    readable,
    share_bar,
    share_look,
    small_multiples,
    styled,
)


@styled
def scan_orders(orders: Mapping[str, np.ndarray], rows: int, columns: int) -> Figure:
    """Ways through a grid of patches, from the dot to the triangle.

    Args:
        orders: name -> permutation of the patches in raster order, (rows · columns,).
        rows, columns: of the grid.
    """
    fig, axes = small_multiples(len(orders), 4, (2.3, 2.4))
    for ax, (name, order) in zip(axes, orders.items(), strict=True):
        y, x = np.divmod(np.asarray(order), columns)
        for edge in range(rows + 1):
            ax.axhline(edge - 0.5, color=LIGHT, linewidth=0.8)
        for edge in range(columns + 1):
            ax.axvline(edge - 0.5, color=LIGHT, linewidth=0.8)
        ax.plot(x, y, color=BLUE, linewidth=1.4)
        ax.scatter(x[:1], y[:1], color=BLUE, s=45, zorder=3)
        ax.scatter(x[-1:], y[-1:], color=VERMILLION, marker="^", s=45, zorder=3)
        ax.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5), aspect="equal")
        ax.set_axis_off()
        jumps = int((np.abs(np.diff(x)) + np.abs(np.diff(y)) > 1).sum())
        ax.set_title(f"{readable(name, 20)}: {jumps} jumps")
    return fig


@styled
def feature_plane(points: np.ndarray, mos: np.ndarray) -> Figure:
    """Images on the two main axes of their features, coloured by quality.

    Args:
        points: (n, 2).
        mos: (n,).
    """
    fig, ax = one_panel(6, 4.2)
    shown = ax.scatter(points[:, 0], points[:, 1], c=mos, s=14, cmap=SEQUENTIAL, linewidth=0)
    ax.set(xlabel="first main axis (standard deviations)", ylabel="second main axis")
    fig.colorbar(shown, ax=ax, label="mean opinion score")
    ax.set_title(f"{len(mos)} images")
    return fig


@styled
def quality_maps(
    local: Sequence[np.ndarray],
    attention: Sequence[np.ndarray],
    names: Sequence[str],
    images: Sequence[np.ndarray] | None = None,
    scale_name: str = "MOS",
) -> Figure:
    """Where an image is good and where a network looks: one column an image, quality above, attention below.

    Args:
        local: predicted quality of every place (rows, columns), one map an image; all on one scale of colours.
        attention: how much each place counts, in multiples of an equal share; one scale of colours.
        names: what stands above each column.
        images: uint8 (H, W, 3), drawn gray below the maps; None where they may not be shown.
        scale_name: of the predictions.
    """
    n = len(local)
    fig = new_figure(1.2 + 2.1 * n, 4.6)
    axes = fig.subplots(2, n, squeeze=False)
    low, high = min(np.nanmin(m) for m in local), max(np.nanmax(m) for m in local)
    shares = np.concatenate([m[np.isfinite(m)] for m in attention])
    looks = ({"cmap": WARM, "vmin": low, "vmax": high}, share_look(shares))
    for row, maps, look in zip(axes, (local, attention), looks, strict=True):
        for i, (ax, values) in enumerate(zip(row, maps, strict=True)):
            height, width = values.shape if images is None else images[i].shape[:2]
            place = {"extent": (0, width, height, 0), "interpolation": "nearest"}
            if images is not None:
                ax.imshow(gray(images[i]), cmap="gray", vmin=0, vmax=255)
            drawn = ax.imshow(values, alpha=1 if images is None else 0.55, **look, **place)
            ax.set(xticks=[], yticks=[])
        if row is axes[0]:
            fig.colorbar(drawn, ax=list(row), shrink=0.9, label=f"predicted {readable(scale_name, 24)}, patch by patch")
    share_bar(fig, list(axes[1]), drawn)
    for ax, name in zip(axes[0], names, strict=True):
        ax.set_title(readable(name, letters(2.1, 8)), fontsize=8)
    return fig
