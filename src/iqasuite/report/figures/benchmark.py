"""Figures of the benchmark of models of MOS: medians, significance, fits, selection. Data in, Figure out."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from iqasuite.errors import InputError
from iqasuite.evaluation.metrics import LOWER_IS_BETTER, logistic_map, plcc, srocc
from iqasuite.report.figures import style
from iqasuite.report.tables import require_once, rounded

NAMES = {
    "srocc": "SROCC",
    "plcc": "PLCC",
    "plcc_logistic": "PLCC after the logistic fitted on val",
    "krcc": "KRCC",
    "rmse": "RMSE (unit of the MOS)",
}


def _stars(p: float) -> str:
    return "***" if p < 0.001 else "**" if p < 0.01 else "*" if p < 0.05 else ""


@style.styled
def significance_matrix(table: pd.DataFrame) -> Figure:
    """Who beats whom: each cell is the row's method less the column's, stars where it holds after Holm's correction.

    Args:
        table: frame of `paired_significance` (one metric); its order of methods, best first, is kept.
    """
    models = list(dict.fromkeys([*table["model"], *table["other"]]))
    place = {model: number for number, model in enumerate(models)}
    n = len(models)
    difference, p = np.full((n, n), np.nan), np.full((n, n), np.nan)
    for row in table.itertuples():
        a, b = place[row.model], place[row.other]
        difference[a, b], difference[b, a] = row.difference, -row.difference
        p[a, b] = p[b, a] = row.p_holm
    end = max(np.nanmax(np.abs(difference), initial=0), 1e-6)
    norm = Normalize(-end, end)
    fig, ax = style.one_panel(2.6 + 0.62 * n, 1.6 + 0.5 * n)
    # orange is better: as everywhere, warm is more
    image = ax.imshow(difference, cmap=style.DIVERGING, norm=norm, aspect="auto")
    style.cell_grid(ax, models, models)
    for a, b in np.ndindex(n, n):
        if np.isfinite(difference[a, b]):
            text = style.signed(float(difference[a, b]), 3).replace("0.", ".", 1)
            ink = style.ink_on(image.cmap(norm(difference[a, b])))
            bold = "bold" if p[a, b] < 0.05 else "normal"
            style.in_cell(ax, b, a - 0.12, text, ink, 7, fontweight=bold)
            style.in_cell(ax, b, a + 0.26, _stars(float(p[a, b])), ink)
    name = NAMES.get(table["metric"].iloc[0], table["metric"].iloc[0])
    better = " saved" if table["metric"].iloc[0] in LOWER_IS_BETTER else ""
    fig.colorbar(image, ax=ax, label=f"{name}{better}: row − column", shrink=0.85)
    n_images, n_contents = int(table["n"].max()), int(table["n_contents"].max())
    least = table["p_least"].min()
    stars = "after Holm * p < .05, ** < .01, *** < .001"
    if least >= 0.05:
        stars = f"too few for a test: no p below {least:.2g} after Holm"
    elif least >= 0.001:
        stars += f"; no p below {least:.2g}"
    ax.set_title(f"{n_images} images of {n_contents} contents; {stars}", fontsize=8)
    return fig


@style.styled
def median_plot(scores: pd.DataFrame, metrics: tuple[str, ...] = ("srocc", "plcc_logistic", "krcc")) -> Figure:
    """Methods, best on top, one panel a metric: median over splits with its 95 % interval.

    Args:
        scores: scores frame of `median_scores`, one data set and protocol.
        metrics: one panel each; the first one sorts.

    Raises:
        InputError: a method with several rows.
    """
    rows = scores[(scores["observer"] == "") & scores["metric"].isin(metrics)]
    require_once(rows, ["model", "metric"])
    values = rows.set_index(["metric", "model"])[["value", "low", "high"]]
    models = list(values.loc[metrics[0]]["value"].sort_values(ascending=metrics[0] in LOWER_IS_BETTER).index)
    fig = style.new_figure(2.2 + 2.7 * len(metrics), 0.9 + 0.36 * len(models))
    axes = fig.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    for ax, metric in zip(axes, metrics, strict=True):
        style.rows_axis(ax, models)
        own = values.loc[metric].reindex(models) if metric in values.index else values.iloc[:0].reindex(models)
        y = np.arange(len(models))
        known = own["value"].notna().to_numpy()
        style.dots(ax, own["value"][known], y[known], own["low"][known], own["high"][known], style.BLUE)
        for row in y[known]:
            value = own["value"].iloc[row]
            style.above(ax, value, row, rounded(value))
        ax.set_xlabel(NAMES.get(metric, metric))
        ax.margins(x=0.1)
    return fig


@style.styled
def scatter_with_logistic(predictions: pd.DataFrame, scale_name: str = "MOS") -> Figure:
    """Predictions of one run against MOS on its test part, with the curve that was fitted to its validation part.

    Args:
        predictions: predictions frame of one model, seed and fold, parts val and test; without val there is no curve.
        scale_name: of the set's own scale.

    Raises:
        InputError: several runs, no test rows.
    """
    if len(predictions[["dataset", "model", "protocol", "seed", "fold"]].drop_duplicates()) != 1:
        raise InputError("predictions: several models, seeds or folds, expected one run")
    test, val = (predictions[predictions["part"] == part] for part in ("test", "val"))
    if len(test) < 2:
        raise InputError("predictions: fewer than two rows of part 'test', expected more")
    x, y = test["prediction"].to_numpy(float), test["target"].to_numpy(float)
    mapping = logistic_map(val["prediction"].to_numpy(float), val["target"].to_numpy(float)) if len(val) >= 4 else None
    fig, ax = style.one_panel(4.9, 4.1)
    faint = float(np.clip(60 / np.sqrt(len(x)) / 2, 0.15, 0.6))
    label = f"{len(x)} test images"
    ax.scatter(x, y, s=9, color=style.BLUE, alpha=faint, linewidths=0, rasterized=len(x) > 2000, label=label)
    title = f"SROCC {srocc(x, y):.3f}, PLCC {plcc(x, y):.3f}"
    if mapping is not None:
        line = np.linspace(x.min(), x.max(), 200)
        ax.plot(
            line, mapping(line), color=style.VERMILLION, linewidth=1.8, label=f"logistic, fitted to {len(val)} of val"
        )
        title += f", after the logistic {plcc(mapping(x), y):.3f}"
    first = test.iloc[0]
    ax.set_xlabel(f"prediction of {style.readable(first['model'], 48)}")
    ax.set_ylabel(f"{style.readable(scale_name, 32)} (higher = better)")
    ax.set_title(title.replace("-", "−"), fontsize=9)
    ax.grid(True)
    for handle in fig.legend(loc="outside lower center", ncols=2).legend_handles:
        if handle is not None:
            handle.set_alpha(1)
    return fig


@style.styled
def split_spread(splits: pd.DataFrame) -> Figure:
    """Each split's SROCC (mean over seeds) as a dot, dots of one split at one height in every row; the line the median.

    Args:
        splits: frame of `split_scores`, one data set and protocol.
    """
    rows = splits[(splits["metric"] == "srocc") & splits["value"].notna()]
    per_split = rows.groupby(["model", "fold"])["value"].mean().unstack("fold")
    medians = per_split.median(axis=1).sort_values(ascending=False)
    fig, ax = style.one_panel(7.5, 1.1 + 0.42 * len(medians))
    style.rows_axis(ax, list(medians.index))
    heights = np.linspace(-0.28, 0.28, per_split.shape[1]) if per_split.shape[1] > 1 else np.zeros(1)
    for row, (model, median) in enumerate(medians.items()):
        values = per_split.loc[model].to_numpy()
        dot, line = ("a split", "median") if row == 0 else (None, "")
        ax.scatter(values, row + heights, s=16, color=style.BLUE, alpha=0.65, linewidths=0, zorder=3, label=dot)
        ax.vlines(median, row - 0.38, row + 0.38, color=style.VERMILLION, linewidth=2, zorder=4, label=line)
        ax.annotate(rounded(median), (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=8)
    n_seeds, n_splits = rows["seed"].nunique(), per_split.shape[1]
    ax.set_xlabel(f"SROCC on the test part; {n_splits} splits, mean over {n_seeds} seeds")
    fig.legend(loc="outside upper center", ncols=2)
    return fig


@style.styled
def selection_gap_plot(table: pd.DataFrame) -> Figure:
    """What the epoch picked on test would have claimed beside the honest SROCC, and the gap with its 95 % interval.

    Args:
        table: frame of `selection_gap`.
    """
    fig = style.new_figure(9, 1.3 + 0.36 * len(table))
    left, right = fig.subplots(1, 2, sharey=True, width_ratios=(1.3, 1))
    y = np.arange(len(table))
    for ax in (left, right):
        style.rows_axis(ax, list(table["model"]))
    left.hlines(y, table["honest"], table["claimed"], color=style.GRAY, linewidth=1.4)
    left.scatter(table["honest"], y, s=30, color=style.BLUE, zorder=3, label="picked by validation")
    hollow = {"facecolor": "white", "edgecolor": style.VERMILLION, "linewidth": 1.4}
    left.scatter(table["claimed"], y, s=30, zorder=3, label="picked by test", **hollow)
    left.set_xlabel("SROCC on the test part, mean over splits")
    right.axvline(0, color=style.GRAY, linewidth=0.8)
    style.dots(right, table["gap"], y, table["low"], table["high"], style.VERMILLION)
    for row, gap in zip(y, table["gap"], strict=True):
        style.above(right, gap, float(row), style.signed(gap, 3))
    right.set_xlabel("claimed too much")
    right.margins(x=0.12)
    fig.legend(loc="outside upper center", ncols=2)
    return fig


@style.styled
def per_distortion_heatmap(table: pd.DataFrame) -> Figure:
    """SROCC of every method (columns) within every distortion (rows), the hardest on top.

    Args:
        table: frame of `per_distortion`, one data set and protocol.

    Raises:
        InputError: a method and distortion several times.
    """
    require_once(table, ["model", "distortion"])
    values = table.pivot(index="distortion", columns="model", values="srocc")
    values = values.loc[values.mean(axis=1).sort_values().index, values.mean().sort_values(ascending=False).index]
    n = table.groupby("distortion")["n"].max()
    low = min(0.0, float(np.nanmin(values)))
    norm = Normalize(low, 1)
    fig, ax = style.one_panel(2.8 + 0.62 * values.shape[1], 1.5 + 0.26 * len(values))
    image = ax.imshow(values, cmap=style.SEQUENTIAL, norm=norm, aspect="auto")
    style.cell_grid(ax, [f"{name} (n = {n[name]})" for name in values.index], list(values.columns))
    for (row, column), value in np.ndenumerate(values.to_numpy()):
        ink = style.ink_on(image.cmap(norm(value))) if np.isfinite(value) else "black"
        style.in_cell(ax, column, row, rounded(value, 2), ink, 7)
    fig.colorbar(image, ax=ax, label="SROCC")
    ax.set_title("within each distortion", fontsize=9)
    return fig
