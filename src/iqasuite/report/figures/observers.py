"""Figures of observers as raters: subject model, agreement, repetition, thresholds, ceilings. Data in, Figure out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from iqasuite.evaluation.subjects.agreement import SosFit
from iqasuite.evaluation.subjects.screening import LEAST_R1
from iqasuite.evaluation.subjects.subject_model import SubjectModel
from iqasuite.evaluation.subjects.thresholds import CUTS
from iqasuite.names import natural_order
from iqasuite.report.figures import style
from iqasuite.report.tables import with_interval


@style.styled
def subject_model_plot(model: SubjectModel) -> Figure:
    """Bias and inconsistency of each observer with 95 % intervals, the strictest on top.

    Args:
        model: as `fit_subject_model` returns it.
    """
    order = model.bias.sort_values("value").index
    fig = style.new_figure(9, 0.8 + 0.26 * len(order))
    axes = fig.subplots(1, 2, sharey=True)
    for ax, frame, label in (
        (axes[0], model.bias, "bias (votes): left = stricter than most, right = milder"),
        (axes[1], model.inconsistency, "inconsistency (standard deviation, votes)"),
    ):
        style.rows_axis(ax, list(order))
        own = frame.loc[order]
        style.dots(ax, own["value"], np.arange(len(order)), own["low"], own["high"], style.BLUE)
        ax.set_xlabel(label)
    axes[0].axvline(0, color=style.GRAY, linewidth=0.8)
    axes[1].set_xlim(0)
    return fig


@style.styled
def ambiguity_plot(ambiguity: pd.DataFrame, at_most: int = 40) -> Figure:
    """Which contents observers differ about, beyond their inconsistency, with 95 % intervals.

    Args:
        ambiguity: index content; value, low, high in votes.
        at_most: so many contents are shown, evenly chosen over the order.
    """
    ordered = ambiguity.sort_values("value", ascending=False)
    chosen = np.unique(np.linspace(0, len(ordered) - 1, min(at_most, len(ordered))).round().astype(int))
    shown = ordered.iloc[chosen]
    fig, ax = style.one_panel(8, 0.8 + 0.19 * len(shown))
    style.rows_axis(ax, list(shown.index), longest=36)
    ax.tick_params(axis="y", labelsize=7)
    style.dots(ax, shown["value"], np.arange(len(shown)), shown["low"], shown["high"], style.BLUE)
    ax.set_xlim(0)
    ax.set_xlabel("ambiguity of the content (standard deviation, votes)")
    ax.set_title("all contents" if len(shown) == len(ordered) else f"{len(shown)} of {len(ordered)} contents")
    return fig


@style.styled
def recovered_quality_plot(quality: pd.DataFrame, mos: pd.Series) -> Figure:
    """What the subject model changes: recovered quality against the plain mean vote, and the difference.

    Args:
        quality: index image; value, low, high, in votes.
        mos: mean vote, index image.
    """
    both = quality.join(mos.rename("mos"), how="inner").sort_values("mos")
    fig = style.new_figure(9, 3.3)
    left, right = fig.subplots(1, 2)
    left.vlines(both["mos"], both["low"], both["high"], color=style.LIGHT, linewidth=0.8)
    left.scatter(both["mos"], both["value"], s=7, color=style.BLUE, alpha=0.7, linewidth=0, zorder=3)
    left.axline((3, 3), slope=1, color=style.GRAY, linestyle="--", linewidth=0.8)
    left.set(xlabel="mean vote (MOS)", ylabel="recovered quality, 95 % interval")
    change = both["value"] - both["mos"]
    right.axhline(0, color=style.GRAY, linewidth=0.8)
    right.scatter(both["mos"], change, s=7, color=style.BLUE, alpha=0.6, linewidth=0)
    right.set(xlabel="mean vote (MOS)", ylabel="recovered quality − mean vote")
    right.set_title(f"{len(both)} images; half of them change by less than {change.abs().median():.3f}")
    return fig


@style.styled
def pairwise_map(pairs: pd.DataFrame, metric: str = "accuracy") -> Figure:
    """Agreement of every two observers, observers in order of their mean agreement.

    Args:
        pairs: long frame observer_a, observer_b and the metric, as `pairwise_agreement` returns it.
        metric: accuracy, qwk or srocc.
    """
    both = pd.concat([pairs, pairs.rename(columns={"observer_a": "observer_b", "observer_b": "observer_a"})])
    table = both.pivot(index="observer_a", columns="observer_b", values=metric)
    order = table.mean().sort_values(ascending=False).index
    table = table.loc[order, order]
    size = max(3.4, 0.36 * len(order) + 1.2)
    fig, ax = style.one_panel(size + 0.9, size)
    shown = ax.imshow(table, cmap=style.SEQUENTIAL)
    if len(order) <= style.MANY:
        names = [style.readable(name, 24) for name in order]
        ax.set_xticks(range(len(order)), names, rotation=90)
        ax.set_yticks(range(len(order)), names)
    else:
        ax.set(xticks=[], yticks=[], xlabel=f"{len(order)} observers, by mean agreement", ylabel="the same")
    if len(order) <= 24:
        middle = (np.nanmin(table.to_numpy()) + np.nanmax(table.to_numpy())) / 2
        for (i, j), value in np.ndenumerate(table.to_numpy()):
            if np.isfinite(value):
                text = f"{value:.2f}".removeprefix("0").replace("-0", "−")
                style.in_cell(ax, j, i, text, "black" if value > middle else "white", 6.5 if len(order) > 10 else 8.5)
    labels = {"accuracy": "share of equal votes", "qwk": "quadratic-weighted kappa", "srocc": "SROCC"}
    fig.colorbar(shown, ax=ax, shrink=0.8, label=labels.get(metric, metric))
    return fig


@style.styled
def reliability_plot(table: pd.DataFrame) -> Figure:
    """Coefficients of agreement with 95 % intervals.

    Args:
        table: measure, value, low, high.
    """
    fig, ax = style.one_panel(7, 0.8 + 0.32 * len(table))
    style.rows_axis(ax, list(table["measure"]))
    style.dots(ax, table["value"], np.arange(len(table)), table["low"], table["high"], style.BLUE)
    for row, line in enumerate(table.itertuples()):
        style.above(ax, line.value, row, f"{line.value:.3f}")
    ax.set_xlim(min(0, table["low"].min()), 1)
    ax.set_xlabel("1 = all observers vote alike, 0 = no more than by chance (alpha) or not at all (ICC)")
    return fig


@style.styled
def sos_plot(fit: SosFit) -> Figure:
    """Spread of the votes over their mean, with the one-parameter curve of the SOS hypothesis.

    Args:
        fit: as `sos_parameter` returns it.
    """
    fig, ax = style.one_panel(6, 3.3)
    ax.scatter(fit.images["mos"], fit.images["sos"], s=8, color=style.BLUE, alpha=0.4, linewidth=0)
    mos = np.linspace(1, 5, 101)
    curve = np.maximum(-(mos**2) + 6 * mos - 5, 0)
    ax.plot(mos, np.sqrt(fit.a * curve), color=style.VERMILLION, linewidth=1.6)
    ax.fill_between(
        mos, np.sqrt(fit.low * curve), np.sqrt(fit.high * curve), color=style.VERMILLION, alpha=0.2, linewidth=0
    )
    ax.plot(mos, np.sqrt(curve), color=style.GRAY, linewidth=0.8, linestyle="--")
    offset: Any = {"xytext": (0, 3), "textcoords": "offset points"}
    ax.annotate("only 1 and 5 used (a = 1)", (3, 2), ha="center", color=style.GRAY, fontsize=8, **offset)
    ax.set(xlabel="mean vote (MOS)", ylabel="standard deviation of the votes", ylim=(0, 2.25), xticks=range(1, 6))
    ax.set_title(f"a = {with_interval(fit.a, fit.low, fit.high, 3)}, {fit.n} images, {fit.n_votes:,} votes")
    return fig


@style.styled
def thresholds_plot(thresholds: pd.DataFrame, label: str) -> Figure:
    """Where each observer's votes change, on the axis of quality, with 95 % intervals.

    Args:
        thresholds: as `personal_thresholds` returns it.
        label: of the axis.
    """
    observers = natural_order(thresholds["observer"])
    fig, ax = style.one_panel(8, 0.9 + 0.27 * len(observers))
    style.rows_axis(ax, observers)
    row = {name: k for k, name in enumerate(observers)}
    for cut, colour in zip(CUTS, (style.VERMILLION, style.ORANGE, style.BLUE, style.GREEN), strict=True):
        own = thresholds[(thresholds["parameter"] == cut) & thresholds["value"].notna()]
        y = own["observer"].map(row).to_numpy(float)
        style.dots(ax, own["value"], y, own["low"], own["high"], colour, label=cut.replace("|", " | "))
    known = thresholds[thresholds["parameter"].isin(CUTS)].dropna(subset="value")
    low, high = known["value"].quantile([0.02, 0.98])
    ax.set_xlim(low - 0.25 * (high - low), high + 0.25 * (high - low))
    ax.set_xlabel(style.readable(label, 100))
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper right", ncols=4, title="between the votes")
    return fig


@style.styled
def screening_plot(bt500: pd.DataFrame, p913: pd.DataFrame) -> Figure:
    """Both rules of outlier screening at once: each dot an observer, the shaded side is flagged.

    Args:
        bt500: as `screen_bt500` returns it.
        p913: as `screen_p913` returns it.
    """
    both = bt500.merge(p913[["observer", "r1"]], on="observer")
    fig = style.new_figure(9, 3.2)
    left, right = fig.subplots(1, 2)
    ordered = p913["r1"].dropna().sort_values().to_numpy()
    lowest = ordered.min(initial=0.45) - 0.05
    colours = np.where(ordered >= LEAST_R1, style.BLUE, style.VERMILLION)
    left.scatter(np.arange(1, len(ordered) + 1), ordered, s=22, zorder=3, color=colours)
    left.axhspan(min(0, lowest), LEAST_R1, color="#f2f2f2", zorder=0)
    left.set(xlabel="observers, in order", ylabel="correlation with the mean of all", ylim=(lowest, 1))
    left.set_title(f"P.913: {int((p913['flagged']).sum())} of {len(p913)} flagged")
    colours = np.where(both["flagged"], style.VERMILLION, style.BLUE)
    right.scatter(100 * both["share"], both["balance"].fillna(1), s=22, color=colours, zorder=3)
    limit = np.nanmax([12, 110 * both["share"].max()])
    right.fill_between([5, limit], 0, 0.3, color="#f2f2f2", zorder=0, linewidth=0)
    right.set(xlabel="votes far from the others (%)", ylabel="one-sidedness |P − Q| / (P + Q)", ylim=(-0.03, 1.05))
    right.set_xlim(0, limit)
    right.set_title(f"BT.500: {int(both['flagged'].sum())} of {len(both)} flagged")
    for row in both[both["share"].notna() & (both["flagged"] | (both["r1"] < LEAST_R1))].head(8).itertuples():
        place = 100 * row.share, 1 if np.isnan(row.balance) else row.balance
        name = style.readable(row.observer, 20)
        right.annotate(name, place, xytext=(4, 3), textcoords="offset points", fontsize=7)
    return fig


@style.styled
def two_tests_plot(first: pd.Series, second: pd.Series, first_label: str, second_label: str) -> Figure:
    """Mean votes of the same images in two tests.

    Args:
        first, second: index image.
        first_label, second_label: of the axes.
    """
    both = pd.DataFrame({"x": first, "y": second}).dropna()
    fig, axes = style.small_multiples(1, 1, (4.6, 4.2))
    ax = axes[0]
    ax.axline((3, 3), slope=1, color=style.GRAY, linestyle="--", linewidth=0.8)
    ax.scatter(both["x"], both["y"], s=11, color=style.BLUE, alpha=0.5, linewidth=0)
    slope, start = np.polyfit(both["x"], both["y"], 1)
    ax.plot([1, 5], [start + slope, start + 5 * slope], color=style.VERMILLION, linewidth=1.4)
    ax.set(xlim=(0.9, 5.1), ylim=(0.9, 5.1), xticks=range(1, 6), yticks=range(1, 6), aspect="equal")
    ax.set(xlabel=style.readable(first_label), ylabel=style.readable(second_label))
    ax.set_title(f"{len(both)} images, SROCC {both['x'].corr(both['y'], 'spearman'):.3f}, slope {slope:.2f}")
    return fig
