"""Figures that show pixels (of the demo set only) and where artificial observers (AIOs) look. Data in, Figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from iqasuite.explain.maps import shares
from iqasuite.explain.planted import CONTRAST
from iqasuite.inference.predictions import VOTES
from iqasuite.inference.predictor import enlarged
from iqasuite.names import natural_order
from iqasuite.report.figures import style

_LEAST_DEVIATION = 0.5  # even shares at which the colours of differences end at the nearest: little is to look little


def _over(ax: Axes, image: np.ndarray | None, heat: np.ndarray, **colours) -> Any:
    """`heat` (rows, columns), interpolated to the image's size, over the gray image (H, W, 3); None = on its own."""
    if image is None:
        drawn = ax.imshow(heat, interpolation="bilinear", **colours)
    else:
        ax.imshow(style.gray(image), cmap="gray", vmin=0, vmax=255)
        drawn = ax.imshow(enlarged(heat, image.shape[:2]), alpha=0.6, **colours)
    style.blank(ax)
    return drawn


@style.styled
def image_grid(images: Sequence[Sequence[np.ndarray]], columns: Sequence[str], rows: Sequence[str] = ()) -> Figure:
    """Images in rows and columns, such as one photograph in the five JPEG classes.

    Args:
        images: rows of uint8 images (H, W, 3).
        columns: a title for each column.
        rows: a label for each row (may be empty).
    """
    side = min(2.0, 10 / len(columns))
    fig = style.new_figure(side * len(columns) + 0.3, side * len(images) + 0.4)
    axes = fig.subplots(len(images), len(columns), squeeze=False)
    for row, line in enumerate(images):
        for column, image in enumerate(line):
            ax = axes[row, column]
            ax.imshow(image, interpolation="nearest" if image.shape[0] < 150 else "antialiased")
            style.blank(ax)
            if row == 0:
                ax.set_title(style.readable(columns[column], style.letters(side)), fontsize=9)
            if column == 0 and len(rows):
                ax.set_ylabel(style.readable(rows[row], style.letters(side, 8)), fontsize=8)
    return fig


def _within(floor: float) -> str:
    return "even: nothing to see" if floor <= style.EVEN else "even up to noise:\nnothing to see"


@style.styled
def attention_layers_heads(maps: np.ndarray, image: np.ndarray | None = None, floor: float = style.EVEN) -> Figure:
    """Attention of every layer (rows) and head (columns) for one image, one colour scale in multiples of an even share.

    Args:
        maps: (depth, heads, rows, columns).
        image: the view they belong to, uint8 (H, W, 3); None = maps alone.
        floor: even shares below which a map's distance from the even one is noise.
    """
    maps = shares(maps)
    depth, heads = maps.shape[:2]
    columns = heads + (image is not None)
    side = min(1.5, 10.5 / columns)
    fig = style.new_figure(side * columns + 0.6, side * depth + 0.6)
    axes = fig.subplots(depth, columns, squeeze=False)
    for layer in range(depth):
        if image is not None:
            axes[layer, 0].set_axis_off()
        for head in range(heads):
            ax = axes[layer, head + (image is not None)]
            drawn = _over(ax, None, maps[layer, head], **style.share_look(maps))
            if style.reach(maps[layer, head] - 1) < floor:
                style.stamp(ax, _within(floor))
            if layer == 0:
                ax.set_title(f"head {head + 1}" if head == 0 else f"{head + 1}", fontsize=8)
            if head == 0:
                ax.set_ylabel(f"layer {layer + 1}", fontsize=8)
    if image is not None:
        axes[0, 0].set_axis_on()
        axes[0, 0].imshow(image)
        style.blank(axes[0, 0])
        axes[0, 0].set_title("image", fontsize=8)
    style.share_bar(fig, axes, drawn)
    return fig


@style.styled
def attention_across_aios(
    images: Sequence[np.ndarray] | None,
    maps: np.ndarray,
    aios: Sequence[str],
    names: Sequence[str] = (),
    floor: float = style.EVEN,
) -> Figure:
    """The image and, beside it, what each AIO attends to; one colour scale in multiples of an even share.

    Args:
        images: uint8 views (H, W, 3), one a row; None = maps alone, for images that may not be shown.
        maps: (aios, images, rows, columns).
        aios, names: of the AIOs, and of the images (may be empty).
        floor: even shares below which a map's distance from the even one is noise.
    """
    maps = shares(maps)
    fig, axes, shown = _rows_of_images(images, maps.shape[1], [f"AIO {aio}" for aio in aios], names)
    for (row, column), ax in np.ndenumerate(axes):
        drawn = _over(ax, shown[row], maps[column, row], **style.share_look(maps))
        if style.reach(maps[column, row] - 1) < floor:
            style.stamp(ax, _within(floor))
    style.share_bar(fig, axes, drawn)
    return fig


@style.styled
def maps_beside_images(
    images: Sequence[np.ndarray] | None,
    maps: Mapping[str, Sequence[np.ndarray]],
    names: Sequence[str] = (),
    masks: np.ndarray | None = None,
    quality: tuple[str, str] = ("", ""),
) -> Figure:
    """Images, and beside each its maps, in multiples of an even share or quality lost; one colour scale for each.

    Args:
        images: uint8 (H, W, 3), one a row; None where they may not be shown.
        maps: title -> (rows, columns) of each image, a column of the figure; what makes an image better is 0.
        names: of the images (may be empty).
        masks: where each image is distorted, bool (images, H, W), outlined on it.
        quality: title of the maps of how far quality is below the best, and the name of its scale; ("", "") = none.
    """
    fig, axes, shown = _rows_of_images(images, len(next(iter(maps.values()))), list(maps), names)
    drawn: dict[bool, Any] = {}
    for own in (False, True):
        some = {t: [each if own else shares(each) for each in of] for t, of in maps.items() if (t == quality[0]) == own}
        flat = np.concatenate([each.ravel() for of in some.values() for each in of] or [np.ones(1)])
        look = {"cmap": style.WARM, "vmin": np.nanmin(flat), "vmax": np.nanmax(flat)} if own else style.share_look(flat)
        for title, of in some.items():
            for ax, image, values in zip(axes[:, list(maps).index(title)], shown, of, strict=True):
                drawn[own] = _over(ax, image, values, **look)
                if not own and style.reach(values - 1) < style.EVEN:
                    style.stamp(ax)
    for ax, mask in zip(fig.axes[:: len(maps) + 1], () if masks is None else masks, strict=masks is not None):
        for colour, width in (("black", 2.2), ("white", 1.0)):
            ax.contour(mask, levels=[0.5], colors=colour, linewidths=width)
    if False in drawn:
        style.share_bar(fig, axes, drawn[False], "map, in multiples of an even share")
    if True in drawn:
        fig.colorbar(
            drawn[True],
            ax=axes,
            shrink=0.6,
            aspect=30,
            label=f"below the best quality, {style.readable(quality[1], 40)}",
        )
    return fig


@style.styled
def attention_comparison(
    images: Sequence[np.ndarray] | None,
    maps: np.ndarray,
    aios: Sequence[str],
    names: Sequence[str] = (),
    mean: np.ndarray | None = None,
    floor: float = style.EVEN,
) -> Figure:
    """Where each AIO looks more or less than the mean AIO, on the gray image, one colour scale for the whole figure, in
    even shares; only one place in a hundred reaches its ends.

    Args:
        images: uint8 views (H, W, 3), one a row; None = maps alone, for images that may not be shown.
        maps: (aios, images, rows, columns).
        aios, names: of the AIOs, and of the images (may be empty).
        mean: map of the mean AIO on each image (images, rows, columns), where `maps` are of some AIOs only.
        floor: even shares by which maps of two trainings differ anyway; such a map is stamped.
    """
    maps = shares(maps)
    deviation = maps - (maps.mean(0) if mean is None else shares(mean))
    fig, axes, shown = _rows_of_images(images, deviation.shape[1], [f"AIO {aio}" for aio in aios], names)
    end = max(_LEAST_DEVIATION, style.reach(deviation))
    for (row, column), ax in np.ndenumerate(axes):
        drawn = _over(ax, shown[row], deviation[column, row], cmap=style.DIVERGING, vmin=-end, vmax=end)
        if style.reach(deviation[column, row]) < floor:
            style.stamp(ax, "as the mean")
    bar = fig.colorbar(drawn, ax=axes, shrink=0.6, aspect=30, ticks=[-end, 0, end])
    bar.ax.set_yticklabels([f"−{end:.1f} (less)", "0 (as the mean)", f"+{end:.1f} (more)"])
    bar.set_label("attention less that of the mean AIO, in even shares")
    return fig


def _rows_of_images(
    images: Sequence | None, n: int, columns: Sequence[str], names: Sequence[str]
) -> tuple[Figure, np.ndarray, Sequence]:
    """A figure of n rows: the image where it may be shown, and the empty axes (n, columns) of the maps beside it."""
    side = min(1.9, 10 / (len(columns) + (images is not None)))
    titles = [*["image"] * (images is not None), *(style.readable(name, style.letters(0.8 * side)) for name in columns)]
    fig = style.new_figure(side * len(titles) + 1.0, side * n + 0.4)
    axes = fig.subplots(n, len(titles), squeeze=False)
    for row in range(n):
        if images is not None:
            axes[row, 0].imshow(images[row])
            style.blank(axes[row, 0])
        if len(names):
            axes[row, 0].set_ylabel(style.readable(names[row], style.letters(side, 7)), fontsize=7)
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title, fontsize=9)
    return (fig, axes, [None] * n) if images is None else (fig, axes[:, 1:], images)


@style.styled
def vote_distributions(predictions: pd.DataFrame, images: Sequence[str]) -> Figure:
    """What each observer's AIO predicts for a few images: probability of each vote, the observer's own vote framed.

    Args:
        predictions: predictions frame of one model's AIOs; `target` is the observer's vote.
        images: which ones, one panel each.
    """
    aios = natural_order(predictions["observer"])
    panel = (2.2, 0.28 * len(aios) + 0.45)
    fig, axes = style.small_multiples(len(images), 4, panel, sharey=True)
    for ax, image in zip(axes, images, strict=True):
        own = predictions[predictions["image"] == image].drop_duplicates("observer").set_index("observer").reindex(aios)
        drawn = ax.imshow(own[["p1", "p2", "p3", "p4", "p5"]].to_numpy(float), vmin=0, vmax=1, aspect="auto")
        for row, vote in enumerate(own["target"]):
            if np.isfinite(vote):
                ax.add_patch(
                    Rectangle((vote - 1.5, row - 0.5), 1, 1, fill=False, edgecolor=style.VERMILLION, linewidth=1.8)
                )
        ax.set(
            xticks=range(5),
            xticklabels=VOTES,
            yticks=range(len(aios)),
            yticklabels=[style.readable(aio, 24) for aio in aios],
        )
        ax.set_title(style.readable(image.rpartition("/")[2], 34), fontsize=8)
        ax.tick_params(length=0)
    fig.supxlabel("vote (framed: the observer's own)", fontsize=9)
    fig.colorbar(drawn, ax=axes, label="predicted probability", shrink=0.9)
    return fig


@style.styled
def localisation_plot(table: pd.DataFrame, metric: str = "auc") -> Figure:
    """How well maps point at the true places of distortions, one panel a network; a line where local contrast stands.

    Args:
        table: model, method, value, low, high; rows of one metric and of the distortions that each network reads.
        metric: its name.
    """
    trivial = table[table["method"] == CONTRAST]
    own = table[~table["method"].str.startswith("baseline")]
    methods, models = list(pd.unique(own["method"])), list(pd.unique(own["model"]))
    fig, axes = style.small_multiples(len(models), 3, (3.4, 0.6 + 0.22 * len(methods)), sharex=True)
    for ax, model in zip(axes, models, strict=True):
        rows = own[own["model"] == model]
        style.rows_axis(ax, list(rows["method"]), 20)
        style.dots(ax, rows["value"], np.arange(len(rows)), rows["low"], rows["high"], style.BLUE)
        of = trivial[trivial["model"] == model]
        for row in of.itertuples():
            ax.axvline(row.value, color=style.GRAY, linestyle=":", linewidth=1.2)
        ax.axvline(0.5, color=style.GRAY, linewidth=0.8)
        ax.set_title(style.readable(model, 36), fontsize=9)
    fig.supxlabel(f"{metric} (line: chance; dotted: local contrast)", fontsize=9)
    return fig


@style.styled
def cascade_plot(table: pd.DataFrame) -> Figure:
    """Agreement of maps with those of the same network whose weights are shuffled, from its output on.

    Args:
        table: model, method, shuffled (share of the tensors), value.
    """
    models, methods = list(pd.unique(table["model"])), list(pd.unique(table["method"]))
    fig, axes = style.small_multiples(len(models), 3, (3.4, 2.3), sharex=True, sharey=True)
    looks = {m: (style.PALETTE[n % len(style.PALETTE)], "-:"[n // len(style.PALETTE)]) for n, m in enumerate(methods)}
    for ax, model in zip(axes, models, strict=True):
        for method, rows in table[table["model"] == model].groupby("method", sort=False):
            rows, (colour, line) = rows.sort_values("shuffled"), looks[method]
            ax.plot([0.0, *rows["shuffled"]], [1.0, *rows["value"]], color=colour, linestyle=line)
        ax.axhline(0, color=style.GRAY, linewidth=0.8)
        ax.set_title(style.readable(model, 36), fontsize=9)
    fig.supxlabel("share of the network's tensors whose numbers are shuffled", fontsize=9)
    fig.supylabel("rank correlation with its own map", fontsize=9)
    lines = [
        axes[0].plot([], [], color=colour, linestyle=line, label=style.readable(m, 24))[0]
        for m, (colour, line) in looks.items()
    ]
    fig.legend(handles=lines, loc="outside right upper")
    return fig
