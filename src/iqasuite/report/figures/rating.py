"""Figures of ratings: who votes how, how far observers agree, what the file itself gives away. Data in, Figure out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas.api.types import is_numeric_dtype

from iqasuite.evaluation.metrics import LEAST, srocc
from iqasuite.inference.predictions import VOTES
from iqasuite.names import natural_order
from iqasuite.report.figures import style

_NUISANCES = {"height": "height of the encoded image (px)", "jpeg_quality": "JPEG quality setting of the file"}
_CATEGORIES = 20  # of a nuisance that are drawn


@style.styled
def votes_histogram(votes: pd.DataFrame) -> Figure:
    """Share of each vote, one panel per observer, one bar per session.

    Args:
        votes: votes frame.
    """
    observers, chosen = style.some(natural_order(votes["observer"]))
    sessions = sorted(votes["session"].unique())
    per_row = min(7, len(observers))
    fig, axes = style.small_multiples(len(observers), per_row, (max(1.45, 10 / per_row), 1.7), sharex=True, sharey=True)
    width = 0.8 / len(sessions)
    for ax, observer in zip(axes, observers, strict=True):
        own = votes[votes["observer"] == observer]
        for number, session in enumerate(sessions):
            cast = own.loc[own["session"] == session, "vote"]
            shares = [100 * (cast == vote).mean() if len(cast) else 0 for vote in VOTES]
            place = VOTES - 0.4 + width * (number + 0.5)
            ax.bar(place, shares, width, color=style.PALETTE[number % len(style.PALETTE)], label=f"session {session}")
        ax.set_title(f"{style.readable(observer, _beside(per_row))} (mean {own['vote'].mean():.2f})", fontsize=9)
        ax.set_xticks(VOTES)
    fig.supxlabel("vote (1 = bad, 5 = excellent)", fontsize=9)
    fig.supylabel("share of votes (%)", fontsize=9)
    if len(sessions) > 1:
        handles, labels = axes[0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside upper right", ncols=len(sessions))
    if chosen:
        fig.suptitle(chosen)
    return fig


@style.styled
def votes_over_mos(votes: pd.DataFrame, mos: pd.Series) -> Figure:
    """Each observer's votes over the mean opinion score of the image, with the observer's mean vote per half MOS step.

    Args:
        votes: votes frame.
        mos: mean opinion score on the vote scale, index image.
    """
    observers, chosen = style.some(natural_order(votes["observer"]))
    per_row = min(7, len(observers))
    fig, axes = style.small_multiples(
        len(observers), per_row, (max(1.45, 10 / per_row), 1.75), sharex=True, sharey=True
    )
    jitter = np.random.default_rng(7)  # only spreads dots that would hide each other
    for ax, observer in zip(axes, observers, strict=True):
        own = votes[votes["observer"] == observer]
        x, y = own["image"].map(mos).to_numpy(float), own["vote"].to_numpy(float)
        ax.plot([1, 5], [1, 5], color=style.GRAY, linewidth=0.8, linestyle="--")
        ax.scatter(x, y + jitter.uniform(-0.18, 0.18, len(y)), s=3, color=style.BLUE, alpha=0.35, linewidth=0)
        bins = np.round(x * 2) / 2
        mean = pd.Series(y).groupby(bins).agg(["mean", "size"]).query("size >= 3")["mean"]
        ax.plot(mean.index, mean, color=style.VERMILLION, linewidth=1.6)
        ax.set_title(
            f"{style.readable(observer, _beside(per_row))} ({style.signed(y.mean() - np.nanmean(x))})", fontsize=9
        )
        ax.set(xticks=VOTES, yticks=VOTES, xlim=(0.8, 5.2), ylim=(0.6, 5.4))
    fig.supxlabel("mean opinion score of the image (in brackets: the observer's mean vote minus it)", fontsize=9)
    fig.supylabel("vote", fontsize=9)
    if chosen:
        fig.suptitle(chosen)
    return fig


@style.styled
def agreement_plot(table: pd.DataFrame) -> Figure:
    """Rank correlation of each observer with the mean of the others, with 95 % intervals.

    Args:
        table: observer, n, srocc, low, high, as `agreement_with_others` returns it; who has no SROCC is marked with n.
    """
    table = table.sort_values("srocc", ascending=False)
    fig, ax = style.one_panel(7, 0.7 + 0.27 * len(table))
    marks = np.where(table["srocc"].isna(), " (n = " + table["n"].astype(str) + ")", "")
    style.rows_axis(ax, list(table["observer"] + marks))
    style.dots(ax, table["srocc"], np.arange(len(table)), table["low"], table["high"], style.BLUE)
    mean = table["srocc"].mean()
    style.named_line(ax, mean, f"mean {mean:.3f}")
    ax.set_xlabel("SROCC with the mean vote of the other observers")
    return fig


@style.styled
def retest_plot(table: pd.DataFrame) -> Figure:
    """How far each observer agrees with their own repeated session, with 95 % intervals.

    Args:
        table: long frame of `retest`; accuracy and qwk are shown.
    """
    observers = natural_order(table["observer"])
    fig = style.new_figure(9, 0.9 + 0.3 * len(observers))
    axes = fig.subplots(1, 2, sharey=True)
    shown = {"accuracy": "share of images with the same vote", "qwk": "quadratic-weighted kappa"}
    for ax, (metric, label) in zip(axes, shown.items(), strict=True):
        style.rows_axis(ax, observers)
        own = table[table["metric"] == metric]
        y = own["observer"].map({name: k for k, name in enumerate(observers)}).to_numpy(float)
        style.dots(ax, own["value"], y, own["low"], own["high"], style.BLUE)
        for value, height in zip(own["value"], y, strict=True):
            style.above(ax, value, height, f"{value:.2f}")
        ax.set_xlabel(label)
    return fig


@style.styled
def nuisance_plot(nuisances: pd.DataFrame, mos: pd.Series) -> Figure:
    """Mean opinion score over what the file itself gives away, one dot an image, one panel a nuisance.

    Args:
        nuisances: of `Dataset`, index image; nan where the file gives nothing away (those are only counted). Of
            categories the most frequent are drawn, from the worst to the best, with their means.
        mos: index image.
    """
    fig = style.new_figure(7, 3.4 * nuisances.shape[1])
    for ax, name in zip(fig.subplots(nuisances.shape[1], squeeze=False)[:, 0], nuisances, strict=True):
        known = pd.DataFrame({"x": nuisances[name].reindex(mos.index), "mos": mos}).dropna()
        draw = _numbers if is_numeric_dtype(nuisances[name]) else _categories
        title = draw(ax, known["x"], known["mos"].to_numpy(float))
        label = _NUISANCES.get(name, name.replace("_", " "))
        ax.set(xlabel=style.readable(label), ylabel="mean opinion score", ylim=(0.9, 5.1), yticks=VOTES)
        ax.grid(True)
        without = len(mos) - len(known)
        ax.set_title(f"{len(known)} images{title}" + (f"; {without} images give nothing away" if without else ""))
    return fig


def _beside(per_row: int) -> int:
    """Letters of a name above a panel, beside a number, where so many panels stand in a row."""
    return max(12, style.letters(10 / per_row) - 12)


def _numbers(ax: Axes, values: pd.Series, mos: np.ndarray) -> str:
    x = values.to_numpy(float)
    ax.scatter(x, mos, s=14, color=style.BLUE, alpha=0.6, linewidth=0)
    return f", SROCC {srocc(x, mos):.3f}" if len(x) >= LEAST else ""


def _categories(ax: Axes, values: pd.Series, mos: np.ndarray) -> str:
    frequent = values.value_counts(sort=True).index[:_CATEGORIES]
    means = pd.Series(mos, index=values.index).groupby(values).mean()[frequent].sort_values()
    place = values.map({name: k for k, name in enumerate(means.index)}).to_numpy(float)
    ax.scatter(place, mos, s=14, color=style.BLUE, alpha=0.4, linewidth=0)
    ax.plot(range(len(means)), means, "_", color=style.VERMILLION, markersize=14, markeredgewidth=2)
    names = [style.readable(name, 20) or "(empty)" for name in means.index]
    turned: dict[str, Any] = {"rotation": 30, "ha": "right"} if len(means) > 6 else {}
    ax.set_xticks(range(len(means)), names, **turned)
    n = values.nunique()
    return f", {n} categories" + (f" of which the {_CATEGORIES} most frequent are drawn" if n > _CATEGORIES else "")
