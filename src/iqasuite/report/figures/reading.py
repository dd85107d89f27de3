"""Figures of what a network reads in compressed photographs. Data in, Figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from iqasuite.report.figures import style

_BINS = np.array([1.5, 3.5, 5.5, 8.5, 10.5, 12.5, 15.5, 18.5, 20.5, 22.5, 25.5, 30.5, 40.5, 50.5, 60.5, 80.5, 100.5])


@style.styled
def classes_by_quality(reading: Mapping[str, pd.DataFrame], borders: Sequence[float]) -> Figure:
    """Share of crops that are read as each class, over the JPEG quality, one panel for each way of cutting crops.

    Args:
        reading: frames with the columns quality (2 to 100), class and predicted (1 to 5).
        borders: qualities between two classes, drawn as lines.
    """
    fig = style.new_figure(4.0 * len(reading), 3.2)
    colours = matplotlib.colormaps[style.SEQUENTIAL](np.linspace(0.05, 0.95, 5))
    for ax, (name, read) in zip(np.atleast_1d(fig.subplots(1, len(reading))), reading.items(), strict=True):
        counts = [np.histogram(read.loc[read["predicted"] == k, "quality"], _BINS)[0] for k in range(1, 6)]
        shares = np.array(counts) / np.maximum(np.sum(counts, axis=0), 1)
        edges = np.append(shares, shares[:, -1:], axis=1)
        ax.stackplot(_BINS, edges, step="post", colors=colours)
        for k, (low, high) in enumerate(zip([_BINS[0], *borders], [*borders, _BINS[-1]], strict=True)):
            label = {"facecolor": colours[k], "edgecolor": "white", "pad": 2.5}
            ax.text(np.sqrt(low * high), 0.06, str(k + 1), color=style.ink_on(colours[k]), ha="center", bbox=label)
        for border in borders:
            ax.axvline(border, color="white", linewidth=1.2)
        ax.set(xscale="log", xlim=_BINS[[0, -1]], ylim=(0, 1), xlabel="JPEG quality (lines: borders of the classes)")
        ax.set_xticks([2, 5, 10, 18, 25, 50, 100], ["2", "5", "10", "18", "25", "50", "100"])
        ax.xaxis.set_minor_locator(NullLocator())
        right = (read["predicted"] == read["class"]).mean()
        ax.set_title(f"{name}: accuracy {right:.3f}, n = {len(read)}", fontsize=9)
    fig.axes[0].set_ylabel("share of crops read as class 1 … 5")
    return fig
