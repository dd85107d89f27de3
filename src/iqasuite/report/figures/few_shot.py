"""Figures of few-shot observers: curves over the number of votes, the posterior step by step, parts of the variance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from iqasuite.report.figures import style

_COLOURS = (style.BLUE, style.VERMILLION, style.PURPLE, style.ORANGE, style.GREEN, style.SKY)
_DASHES = ("-", "--", ":", "-.")
_LABELS = {
    "accuracy": "accuracy",
    "qwk": "quadratic-weighted kappa (QWK)",
    "mae": "mean absolute error (votes)",
    "rps": "ranked probability score (lower = better)",
    "ece": "expected calibration error",
    "pairs": "pairs in the right order",
    "srocc": "SROCC",
    "coverage": "vote sets that hold the vote",
    "set_size": "votes in a set",
}


@style.styled
def few_shot_curves(table: pd.DataFrame, metrics: Sequence[str], leading: Sequence[str], ceiling: str = "") -> Figure:
    """Metrics over the number of votes: leading methods in colour with 95 % bands, the others gray.

    Args:
        table: rows method, votes, metric, value, low, high.
        metrics: one panel each.
        leading: methods in colour.
        ceiling: a method drawn in green, if any.
    """
    counts = list(dict.fromkeys(table["votes"]))
    methods = list(dict.fromkeys(table["method"]))
    fig, axes = style.small_multiples(len(metrics), 2, (4.6, 3.1))
    others = [name for name in methods if name not in leading and name != ceiling]
    for ax, metric in zip(axes, metrics, strict=False):
        for name in [*others, *leading, *([ceiling] if ceiling else [])]:
            rows = table[(table["method"] == name) & (table["metric"] == metric)]
            if rows.empty:
                continue
            x = [counts.index(count) for count in rows["votes"]]
            gray = name in others
            colour = style.GRAY if gray else style.GREEN if name == ceiling else _COLOURS[list(leading).index(name)]
            dash = _DASHES[others.index(name) % len(_DASHES)] if gray else "-"
            mark = "o^sDvPX<>*"[others.index(name) % 10] if gray else "o"
            width = 1 if gray else 1.8
            ax.plot(x, rows["value"], dash, color=colour, marker=mark, markersize=3.5, linewidth=width, label=name)
            if not gray:
                ax.fill_between(x, rows["low"], rows["high"], color=colour, alpha=0.15, linewidth=0)
        ax.set_xticks(range(len(counts)), counts)
        ax.set_ylabel(_LABELS.get(metric, metric))
        ax.set_xlabel("votes of the new observer")
        if metric == "coverage":
            ax.axhline(0.9, color=style.LIGHT, linewidth=1)
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=3)
    return fig


@style.styled
def posterior_steps(steps: pd.DataFrame, truth: pd.Series | None = None) -> Figure:
    """What is known of an observer after more and more votes: estimate and 95 % interval of each parameter.

    Args:
        steps: rows votes, parameter, value, low, high.
        truth: index parameter, drawn where it is known (simulated observers).
    """
    names = list(dict.fromkeys(steps["parameter"]))
    counts = list(dict.fromkeys(steps["votes"]))
    fig, axes = style.small_multiples(len(names), 4, (2.4, 2.0))
    for ax, name in zip(axes, names, strict=False):
        rows = steps[steps["parameter"] == name]
        x = np.arange(len(counts))
        ax.fill_between(x, rows["low"], rows["high"], color=style.SKY, alpha=0.35, linewidth=0)
        ax.plot(x, rows["value"], "o-", color=style.BLUE, markersize=3)
        if truth is not None and name in truth:
            ax.axhline(truth[name], color=style.GREEN, linestyle="--", linewidth=1.2)
        ax.set_xticks(x, [str(count) for count in counts])
        ax.set_title(name.replace("_", " "))
    for ax in axes[-4:]:
        ax.set_xlabel("votes")
    return fig


@style.styled
def pp_plot(lines: pd.DataFrame) -> Figure:
    """Shares of images whose p is at most a level, which follow the diagonal where a distribution describes the votes.

    Args:
        lines: rows panel, level, share, low, high (what chance allows).
    """
    fig, ax = style.one_panel(4.6, 4)
    for colour, (name, rows) in zip(_COLOURS, lines.groupby("panel", sort=False), strict=False):
        ax.plot(rows["level"], rows["share"], color=colour, label=name)
    ax.fill_between(rows["level"], rows["low"].clip(0), rows["high"].clip(upper=1), color=style.LIGHT, linewidth=0)
    ax.set_xlabel("p of the G-test")
    ax.set_ylabel("share of images at or below")
    ax.legend()
    return fig


@style.styled
def variance_plot(parts: pd.DataFrame) -> Figure:
    """Shares of the variance of votes, a group of bars per set, with 95 % intervals.

    Args:
        parts: rows dataset, part, share, low, high.
    """
    sets, names = list(dict.fromkeys(parts["dataset"])), list(dict.fromkeys(parts["part"]))
    fig, ax = style.one_panel(8, 3.4)
    width = 0.8 / len(sets)
    for i, name in enumerate(sets):
        rows = parts[parts["dataset"] == name].set_index("part").reindex(names)
        x = np.arange(len(names)) + (i - (len(sets) - 1) / 2) * width
        error = np.abs(rows[["low", "high"]].to_numpy().T - rows["share"].to_numpy())
        ax.bar(x, rows["share"], width * 0.92, color=_COLOURS[i], label=name)
        ax.errorbar(x, rows["share"], error, fmt="none", ecolor="#222222", elinewidth=0.9)
    ax.axhline(0, color=style.GRAY, linewidth=0.8)
    ax.set_xticks(range(len(names)), names)
    ax.set_ylabel("share of the variance of votes")
    ax.legend()
    return fig
