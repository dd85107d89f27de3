"""Figures that show pixels (of the demo set only) and where artificial observers (AIOs) look. Data in, Figure out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from iqasuite.evaluation.uncertainty import bootstrap_by_content
from iqasuite.explain.regions import REGIONS
from iqasuite.inference.predictions import VOTES
from iqasuite.inference.predictor import enlarged
from iqasuite.names import natural_order
from iqasuite.report.figures.style import (
    BLUE,
    DIVERGING,
    GRAY,
    PALETTE,
    VERMILLION,
    blank,
    gray,
    letters,
    new_figure,
    one_panel,
    readable,
    rows_axis,
    small_multiples,
    styled,
)

HEAT = "inferno"
_SATURATED = 99  # percentile of places that reach the end of a colour scale: one place must not darken all others
# Colour scales of attention, in shares of an even spread, never end nearer than here: what differs less than this from
# the even spread, or from other AIOs, is drawn as the near-nothing that it is.
_LEAST_END, _LEAST_DEVIATION = 2.0, 0.5


def _of_even(maps: np.ndarray) -> np.ndarray:
    """Attention (…, rows, columns) in shares of an even spread: 1 everywhere where all places get as much."""
    return maps / maps.mean((-2, -1), keepdims=True)


def _over(ax: Axes, image: np.ndarray | None, heat: np.ndarray, **colours) -> Any:
    """`heat` (rows, columns), interpolated to the image's size, over the gray image (H, W, 3); None = on its own."""
    if image is None:
        drawn = ax.imshow(heat, interpolation="bilinear", **colours)
    else:
        ax.imshow(gray(image), cmap="gray", vmin=0, vmax=255)
        drawn = ax.imshow(enlarged(heat, image.shape[:2]), alpha=0.6, **colours)
    blank(ax)
    return drawn


@styled
def image_grid(images: Sequence[Sequence[np.ndarray]], columns: Sequence[str], rows: Sequence[str] = ()) -> Figure:
    """Images in rows and columns, such as one photograph in the five JPEG classes.

    Args:
        images: rows of uint8 images (H, W, 3).
        columns: a title for each column.
        rows: a label for each row (may be empty).
    """
    side = min(2.0, 10 / len(columns))
    fig = new_figure(side * len(columns) + 0.3, side * len(images) + 0.4)
    axes = fig.subplots(len(images), len(columns), squeeze=False)
    for row, line in enumerate(images):
        for column, image in enumerate(line):
            ax = axes[row, column]
            ax.imshow(image, interpolation="nearest" if image.shape[0] < 150 else "antialiased")
            blank(ax)
            if row == 0:
                ax.set_title(readable(columns[column], letters(side)), fontsize=9)
            if column == 0 and len(rows):
                ax.set_ylabel(readable(rows[row], letters(side, 8)), fontsize=8)
    return fig


@styled
def attention_layers_heads(maps: np.ndarray, image: np.ndarray | None = None) -> Figure:
    """Attention of every layer (rows) and head (columns) for one image, one colour scale in shares of an even spread.

    Args:
        maps: (depth, heads, rows, columns).
        image: the view they belong to, uint8 (H, W, 3); None = maps alone.
    """
    maps = _of_even(maps)
    end = max(_LEAST_END, float(np.percentile(maps, _SATURATED)))
    depth, heads = maps.shape[:2]
    columns = heads + (image is not None)
    side = min(1.3, 10.5 / columns)
    fig = new_figure(side * columns + 0.6, side * depth + 0.6)
    axes = fig.subplots(depth, columns, squeeze=False)
    for layer in range(depth):
        if image is not None:
            axes[layer, 0].set_axis_off()
        for head in range(heads):
            ax = axes[layer, head + (image is not None)]
            drawn = ax.imshow(maps[layer, head], cmap=HEAT, vmin=0, vmax=end, interpolation="bilinear")
            blank(ax)
            if layer == 0:
                ax.set_title(f"head {head + 1}" if head == 0 else f"{head + 1}", fontsize=8)
            if head == 0:
                ax.set_ylabel(f"layer {layer + 1}", fontsize=8)
    if image is not None:
        axes[0, 0].set_axis_on()
        axes[0, 0].imshow(image)
        blank(axes[0, 0])
        axes[0, 0].set_title("image", fontsize=8)
    _share_bar(fig, axes, drawn, end)
    return fig


def _share_bar(fig: Figure, axes: np.ndarray, drawn: Any, end: float) -> None:
    bar = fig.colorbar(drawn, ax=axes, shrink=0.6, aspect=30, ticks=[0, 1, end])
    bar.ax.set_yticklabels(["0", "1 (even)", f"{end:.1f}"])
    bar.set_label("attention, in shares of an even spread")


@styled
def attention_across_aios(
    images: Sequence[np.ndarray] | None, maps: np.ndarray, aios: Sequence[str], names: Sequence[str] = ()
) -> Figure:
    """The image and, beside it, what each AIO attends to; one colour scale in shares of an even spread.

    Args:
        images: uint8 views (H, W, 3), one a row; None = maps alone, for images that may not be shown.
        maps: (aios, images, rows, columns).
        aios, names: of the AIOs, and of the images (may be empty).
    """
    maps = _of_even(maps)
    end = max(_LEAST_END, float(np.percentile(maps, _SATURATED)))
    fig, axes, shown = _rows_of_images(images, maps.shape[1], aios, names)
    for row in range(maps.shape[1]):
        for column in range(len(aios)):
            drawn = _over(axes[row, column], shown[row], maps[column, row], cmap=HEAT, vmin=0, vmax=end)
    _share_bar(fig, axes, drawn, end)
    return fig


@styled
def attention_comparison(
    images: Sequence[np.ndarray] | None,
    maps: np.ndarray,
    aios: Sequence[str],
    names: Sequence[str] = (),
    mean: np.ndarray | None = None,
) -> Figure:
    """Where each AIO looks more or less than the mean AIO, on the gray image, one colour scale for the whole figure, in
    shares of an even spread; only one place in a hundred reaches its ends.

    Args:
        images: uint8 views (H, W, 3), one a row; None = maps alone, for images that may not be shown.
        maps: (aios, images, rows, columns).
        aios, names: of the AIOs, and of the images (may be empty).
        mean: map of the mean AIO on each image (images, rows, columns), where `maps` are of some AIOs only.
    """
    maps = _of_even(maps)
    deviation = maps - (maps.mean(0) if mean is None else _of_even(mean))
    fig, axes, shown = _rows_of_images(images, deviation.shape[1], aios, names)
    end = max(_LEAST_DEVIATION, float(np.percentile(np.abs(deviation), _SATURATED)))
    for row in range(deviation.shape[1]):
        for column in range(len(aios)):
            heat = deviation[column, row]
            drawn = _over(axes[row, column], shown[row], heat, cmap=DIVERGING + "_r", vmin=-end, vmax=end)
    bar = fig.colorbar(drawn, ax=axes, shrink=0.6, aspect=30, ticks=[-end, 0, end])
    bar.ax.set_yticklabels([f"−{end:.1f} (less)", "0 (as the mean)", f"+{end:.1f} (more)"])
    bar.set_label("attention less that of the mean AIO, in shares of an even spread")
    return fig


def _rows_of_images(
    images: Sequence | None, n: int, aios: Sequence[str], names: Sequence[str]
) -> tuple[Figure, np.ndarray, Sequence]:
    """A figure of n rows: the image where it may be shown, and the empty axes (n, aios) of the AIOs beside it."""
    side = min(1.9, 10 / (len(aios) + (images is not None)))
    titles = [*["image"] * (images is not None), *(f"AIO {readable(aio, letters(0.8 * side) - 4)}" for aio in aios)]
    fig = new_figure(side * len(titles) + 1.0, side * n + 0.4)
    axes = fig.subplots(n, len(titles), squeeze=False)
    for row in range(n):
        if images is not None:
            axes[row, 0].imshow(images[row])
            blank(axes[row, 0])
        if len(names):
            axes[row, 0].set_ylabel(readable(names[row], letters(side, 7)), fontsize=7)
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title, fontsize=9)
    return (fig, axes, [None] * n) if images is None else (fig, axes[:, 1:], images)


@styled
def disagreement_plot(ranking: pd.DataFrame, marked: Sequence[int] = ()) -> Figure:
    """How much the AIOs' attention differs on each image, over the image's MOS; a colour a distortion.

    Args:
        ranking: rank, image, difference (of `rank_by_disagreement`), mos, distortion.
        marked: ranks that are written beside their dots.
    """
    fig, ax = one_panel(7.5, 3.4)
    for number, (distortion, rows) in enumerate(ranking.groupby("distortion", sort=True)):
        colour = PALETTE[number % len(PALETTE)]
        ax.scatter(rows["mos"], rows["difference"], s=22, alpha=0.85, color=colour, label=readable(distortion, 24))
    for row in ranking[ranking["rank"].isin(marked)].itertuples():
        ax.annotate(str(row.rank), (row.mos, row.difference), xytext=(5, 2), textcoords="offset points", fontsize=8)
    ax.set(xlabel="mean opinion score", ylabel="difference of attention (0 to 2)")
    ax.grid(True)
    if ranking["distortion"].nunique() > 1:
        fig.legend(loc="outside right upper")
    return fig


@styled
def vote_distributions(predictions: pd.DataFrame, images: Sequence[str]) -> Figure:
    """What each observer's AIO predicts for a few images: probability of each vote, the observer's own vote framed.

    Args:
        predictions: predictions frame of one model's AIOs; `target` is the observer's vote.
        images: which ones, one panel each.
    """
    aios = natural_order(predictions["observer"])
    panel = (2.2, 0.28 * len(aios) + 0.45)
    fig, axes = small_multiples(len(images), 4, panel, sharey=True)
    for ax, image in zip(axes, images, strict=True):
        own = predictions[predictions["image"] == image].drop_duplicates("observer").set_index("observer").reindex(aios)
        drawn = ax.imshow(own[["p1", "p2", "p3", "p4", "p5"]].to_numpy(float), vmin=0, vmax=1, aspect="auto")
        for row, vote in enumerate(own["target"]):
            if np.isfinite(vote):
                ax.add_patch(Rectangle((vote - 1.5, row - 0.5), 1, 1, fill=False, edgecolor=VERMILLION, linewidth=1.8))
        ax.set(
            xticks=range(5), xticklabels=VOTES, yticks=range(len(aios)), yticklabels=[readable(aio, 24) for aio in aios]
        )
        ax.set_title(readable(image.rpartition("/")[2], 34), fontsize=8)
        ax.tick_params(length=0)
    fig.supxlabel("vote (framed: the observer's own)", fontsize=9)
    fig.colorbar(drawn, ax=axes, label="predicted probability", shrink=0.9)
    return fig


@styled
def perturbation_plot(table: pd.DataFrame, value: str = "difference") -> Figure:
    """How much each perturbation changes attention, one line of dots per AIO.

    Args:
        table: rows of `perturbation.changes`, with a column `aio` (and any number of images).
        value: column to show: difference, change or centre_share.
    """
    labels = {
        "difference": "summed absolute difference of the attention maps",
        "change": "change of the summed attention (min–max maps)",
        "centre_share": "share of attention in the central 96 px",
    }
    rows = table if value == "centre_share" else table[table["perturbation"] != "none"]
    perturbations, aios = list(pd.unique(rows["perturbation"])), natural_order(rows["aio"])
    fig, ax = one_panel(8, 1.0 + 0.42 * len(perturbations))
    rows_axis(ax, perturbations)
    for number, aio in enumerate(aios):
        mean = rows[rows["aio"] == aio].groupby("perturbation")[value].mean().reindex(perturbations)
        offset = 0.4 * (number / max(1, len(aios) - 1) - 0.5)
        look: dict[str, Any] = {"color": PALETTE[number % len(PALETTE)], "marker": "os^D"[number // len(PALETTE) % 4]}
        ax.scatter(mean, np.arange(len(perturbations)) + offset, s=24, label=f"AIO {readable(aio, 24)}", **look)
    ax.set_xlabel(labels.get(value, value))
    if len(aios) <= 12:
        fig.legend(loc="outside upper center", ncols=min(6, len(aios)))
    return fig


@styled
def region_changes_plot(table: pd.DataFrame, value_name: str = "change of the score") -> Figure:
    """What blurring a share of each image does to the score, by whether that part is attended to.

    Args:
        table: rows of `regions.region_changes`: a dot is an image; means with 95 % intervals over images.
        value_name: of the change, with its unit.
    """
    fig, ax = one_panel(6.6, 2.5)
    rows_axis(ax, list(REGIONS))
    rng = np.random.default_rng(0)
    for row, region in enumerate(REGIONS):
        own = table[table["region"] == region]
        values = own["change"].to_numpy()
        ax.scatter(values, row + rng.uniform(-0.18, 0.18, len(own)), s=12, color=BLUE, alpha=0.45, linewidths=0)
        low, high = bootstrap_by_content(values, own["image"].to_numpy())
        mean = values.mean()
        ends = [[max(mean - low, 0)], [max(high - mean, 0)]]
        label = f"mean of {len(own)} images, 95 % interval" if row == 0 else None
        ax.errorbar(mean, row, xerr=ends, color=VERMILLION, marker="o", capsize=3, zorder=4, label=label)
        share, place = f"{100 * own['attended'].mean():.0f} %", ("axes fraction", "data")
        ax.annotate(share, (1.02, row), xycoords=place, va="center", fontsize=8)
    ax.annotate("attention", (1.02, 1.04), xycoords="axes fraction", fontsize=8)
    ax.axvline(0, color=GRAY, linewidth=0.8)
    ax.set_xlabel(value_name)
    fig.legend(loc="outside upper center")
    return fig
