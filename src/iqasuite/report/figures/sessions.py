"""Figures of what changes while observers vote: repetition, drift, position, response time, ceilings. Data in, Figure
out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from iqasuite.names import natural_order
from iqasuite.report.figures import style

_EFFECTS = {
    "residual": "vote − expected vote\n(votes per 100 images)",
    "disagreement": "|vote − expected vote|\n(votes per 100 images)",
    "log_duration": "log of the response time\n(per 100 images)",
}


@style.styled
def drift_plot(drift: pd.DataFrame) -> Figure:
    """Mean change of each observer's vote on the same images, later minus earlier session, with 95 % intervals.

    Args:
        drift: as `session_drift` returns it.
    """
    names = [f"{row.observer}: session {row.session} − {row.repeats}" for row in drift.itertuples()]
    fig, ax = style.one_panel(7, 0.8 + 0.28 * len(drift))
    style.rows_axis(ax, names)
    ax.axvline(0, color=style.GRAY, linewidth=0.8)
    sure = (drift["low"] > 0) | (drift["high"] < 0)
    for mask, colour in ((sure, style.VERMILLION), (~sure, style.BLUE)):
        own = drift[mask]
        style.dots(ax, own["drift"], np.flatnonzero(mask), own["low"], own["high"], colour)
    ax.set_xlabel("change of the vote on the same images (votes); red: the interval excludes 0")
    return fig


@style.styled
def position_plot(effects: pd.DataFrame) -> Figure:
    """Learning and fatigue: slopes over the position in a session, per observer and session, with 95 % intervals.

    Args:
        effects: as `position_effects` returns it.
    """
    observers = natural_order(effects["observer"])
    sessions = sorted(effects["session"].unique())
    shown = [effect for effect in _EFFECTS if effect in set(effects["effect"])]
    fig = style.new_figure(3.3 * len(shown) + 0.8, 0.9 + (0.16 * len(sessions) + 0.12) * len(observers))
    axes = np.atleast_1d(fig.subplots(1, len(shown), sharey=True))
    row = {name: k for k, name in enumerate(observers)}
    for ax, effect in zip(axes, shown, strict=True):
        style.rows_axis(ax, observers)
        style.bands(ax, len(observers))
        ax.axvline(0, color=style.GRAY, linewidth=0.8)
        for number, session in enumerate(sessions):
            own = effects[(effects["effect"] == effect) & (effects["session"] == session)]
            offset = 0.0 if len(sessions) == 1 else 0.7 * (number / (len(sessions) - 1) - 0.5)
            colour = style.PALETTE[number % len(style.PALETTE)]
            y = own["observer"].map(row).to_numpy(float) + offset
            style.dots(ax, own["slope"], y, own["low"], own["high"], colour, label=f"session {session}")
        ax.set_xlabel(_EFFECTS[effect])
    if len(sessions) > 1:
        fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=len(sessions))
    return fig


@style.styled
def response_time_plot(table: pd.DataFrame, by_disagreement: pd.DataFrame) -> Figure:
    """Do observers take longer where they disagree? Correlation per observer, and medians by how far off the vote is.

    Args:
        table: as `response_time` returns it.
        by_disagreement: as `duration_by_disagreement` returns it.
    """
    observers = list(table["observer"])
    fig = style.new_figure(9, 1.0 + 0.27 * len(observers))
    left, right = fig.subplots(1, 2, sharey=True)
    for ax in (left, right):
        style.rows_axis(ax, observers)
    left.axvline(0, color=style.GRAY, linewidth=0.8)
    style.dots(left, table["srocc"], np.arange(len(observers)), table["low"], table["high"], style.BLUE)
    left.set_xlabel("SROCC of response time and disagreement")
    row = {name: k for k, name in enumerate(observers)}
    for (name, own), colour, offset in zip(
        by_disagreement.groupby("disagreement"),
        (style.BLUE, style.ORANGE, style.VERMILLION),
        (-0.22, 0.0, 0.22),
        strict=False,
    ):
        own = own[own["observer"].isin(row)]
        y = own["observer"].map(row).to_numpy(float) + offset
        style.dots(right, own["median"], y, own["low"], own["high"], colour, label=f"{name} off")
    right.set_xscale("log")
    right.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
    right.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    right.xaxis.set_minor_formatter(NullFormatter())
    right.set_xlabel("response time (s): median and middle half")
    fig.legend(*right.get_legend_handles_labels(), loc="outside upper right", ncols=3)
    return fig


@style.styled
def ceilings_plot(ceilings: pd.DataFrame, retest: pd.DataFrame, reached: pd.DataFrame) -> Figure:
    """How accurately each observer's votes can be known: bracket, estimate and what simple rules reach.

    Args:
        ceilings: as `retest_ceiling` returns it.
        retest: as `retest` returns it: how often observers repeat their vote.
        reached: observer, model, value, of the rules to compare with.
    """
    own = ceilings[ceilings["metric"] == "accuracy"].reset_index(drop=True)
    again = retest[retest["metric"] == "accuracy"].drop_duplicates("observer").set_index("observer")["value"]
    observers = list(own["observer"])
    fig, ax = style.one_panel(8.5, 1.1 + 0.42 * len(observers))
    style.rows_axis(ax, observers)
    y = np.arange(len(observers))
    ax.hlines(y, own["bracket_low"], own["bracket_high"], color=style.LIGHT, linewidth=9, label="model-free bracket")
    style.dots(ax, own["value"], y, own["low"], own["high"], style.GREEN, label="ceiling, estimated")
    repeated: Any = {"marker": "|", "s": 120, "color": "black", "linewidth": 1.6, "zorder": 4}
    ax.scatter(again.reindex(observers), y, label="own vote repeated", **repeated)
    for number, (model, rows) in enumerate(reached.groupby("model", sort=False)):
        values = rows.set_index("observer")["value"].reindex(observers)
        colour, label = style.PALETTE[number % len(style.PALETTE)], style.readable(model, 40)
        look: Any = {"marker": "sv^D"[number % 4], "edgecolor": colour, "facecolor": "none", "label": label}
        ax.scatter(values, y, s=26, linewidth=1.2, zorder=3, **look)
    ax.set_xlabel("share of votes predicted")
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return fig


@style.styled
def repeats_plot(report: pd.DataFrame, faults: pd.DataFrame) -> Figure:
    """How much of each session the observer had seen in an earlier one; a faulty run stands out.

    Args:
        report: as `session_report` returns it.
        faults: as `faulty_runs` returns it.
    """
    observers = natural_order(report["observer"])
    sessions = sorted(report["session"].unique())
    table = report.pivot(index="observer", columns="session", values="share_repeated").reindex(observers)
    fig, ax = style.one_panel(1.3 + 0.95 * len(sessions), 0.9 + 0.36 * len(observers))
    ax.imshow(table[sessions], cmap="Blues", vmin=0, vmax=1, aspect="auto")
    ax.set_xticks(range(len(sessions)), [f"session {session}" for session in sessions])
    ax.set_yticks(range(len(observers)), [style.readable(name, 24) for name in observers])
    faulty = set(zip(faults["observer"], faults["session"], strict=True))
    for i, observer in enumerate(observers):
        for j, session in enumerate(sessions):
            value = table.at[observer, session]
            if np.isfinite(value):
                wrong = (observer, session) in faulty
                ink, weight = (style.VERMILLION, "bold") if wrong else ("white" if value > 0.6 else "black", "normal")
                style.in_cell(ax, j, i, f"{100 * value:.0f} %" + " !" * wrong, ink, weight=weight)
    ax.set_title("images that an earlier session of the observer had too")
    return fig
