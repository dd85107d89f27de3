"""Figures of ranking losses: a staircase and its smooth stand-ins, how close these are, where they push. Data in,
Figure out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from iqasuite.report.figures import style

_LINES = ("-", "--", "-.", ":")


@style.styled
def staircase_plot(position: np.ndarray, exact: np.ndarray, stand_ins: Mapping[str, np.ndarray]) -> Figure:
    """A rank loss while one of the scores moves: the exact one has steps, and no slope between them.

    Args:
        position: of the moved score, (n,), in standard deviations of the others.
        exact: 1 − Spearman's correlation at each position, (n,).
        stand_ins: name -> the same by a smooth loss, (n,).
    """
    fig, ax = style.one_panel(7.5, 3.4)
    ax.plot(position, exact, color="black", linewidth=2.2, label="exact", drawstyle="steps-mid")
    for (name, values), colour, line in zip(stand_ins.items(), style.PALETTE, _LINES * 2, strict=False):
        ax.plot(position, values, color=colour, linestyle=line, linewidth=1.4, label=style.readable(name, 32))
    ax.set(xlabel="one score of the batch (standard deviations)", ylabel="1 − rank correlation")
    ax.grid(True)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return fig


@style.styled
def surrogate_plot(pairs: Mapping[str, tuple[np.ndarray, np.ndarray]], trained_on: tuple[str, ...] = ()) -> Figure:
    """A sorter's rank correlation against the true one, one panel a distribution of vectors.

    Args:
        pairs: distribution -> true and surrogate correlations (n,), (n,).
        trained_on: distributions that training had; the others are marked as new.
    """
    fig, axes = style.small_multiples(len(pairs), 4, (2.5, 2.5), sharex=True, sharey=True)
    for ax, (name, (true, surrogate)) in zip(axes, pairs.items(), strict=True):
        known = np.isfinite(true) & np.isfinite(surrogate)
        error = np.abs(surrogate[known] - true[known]).mean()
        ax.axline((0, 0), slope=1, color=style.GRAY, linewidth=0.8, linestyle="--")
        colour = style.BLUE if name in trained_on else style.VERMILLION
        ax.scatter(true, surrogate, s=4, alpha=0.25, linewidth=0, color=colour, rasterized=True)
        new = "" if name in trained_on else ", never trained on"
        ax.set_title(f"{style.readable(name.replace('_', ' '), 20)}{new}\nmean |difference| {error:.3f}", fontsize=8)
        ax.set(xlim=(-1, 1), ylim=(-1, 1))
        ax.grid(True)
    fig.supxlabel("true Spearman correlation", fontsize=9)
    fig.supylabel("by the sorter's ranks", fontsize=9)
    return fig


@style.styled
def gradient_cosines(table: pd.DataFrame) -> Figure:
    """How well each loss points where the true rank correlation rises: mean cosine and its 95 % interval.

    Args:
        table: loss, step (in standard deviations), cosine, low, high; one row a loss and step.
    """
    order = table.groupby("loss")["cosine"].mean().sort_values(ascending=False).index
    steps = sorted(table["step"].unique())
    fig, ax = style.one_panel(6.5, 1.2 + 0.42 * len(order))
    style.rows_axis(ax, list(order))
    for number, (step, colour) in enumerate(zip(steps, style.PALETTE, strict=False)):
        own = table[table["step"] == step].set_index("loss").loc[order]
        y = np.arange(len(order)) + 0.24 * (number - (len(steps) - 1) / 2)
        style.dots(ax, own["cosine"], y, own["low"], own["high"], colour, label=f"slope over steps of {step:g}")
    ax.axvline(0, color=style.LIGHT, linewidth=1)
    ax.set_xlabel("cosine of the loss's descent with the slope of the true correlation")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(steps))
    return fig


@style.styled
def batch_noise_plot(table: pd.DataFrame) -> Figure:
    """What a batch says of the rank loss of the whole set, over the batch's size.

    Args:
        table: batch, loss, deviation (standard deviation of a batch's value about the whole set's) and cosine (of a
            batch's gradient with that of the whole set at the same scores).
    """
    fig = style.new_figure(9, 3.2)
    left, right = fig.subplots(1, 2)
    for (name, own), colour, line in zip(table.groupby("loss", sort=False), style.PALETTE, _LINES * 2, strict=False):
        for ax, column in ((left, "deviation"), (right, "cosine")):
            look = {"color": colour, "linestyle": line, "label": style.readable(name, 32)}
            ax.plot(own["batch"], own[column], marker="o", markersize=3.5, **look)
    left.set(xscale="log", yscale="log", xlabel="images a batch", ylabel="noise of the loss (standard deviation)")
    right.set(xscale="log", xlabel="images a batch", ylabel="cosine with the whole set's gradient", ylim=(0, 1.02))
    left.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    left.yaxis.set_major_formatter("{x:g}")
    for ax in (left, right):
        ax.set_xticks(sorted(table["batch"].unique()), sorted(table["batch"].unique()))
        ax.minorticks_off()
        ax.grid(True)
    right.legend(fontsize=7)
    return fig
