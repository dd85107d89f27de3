"""Figures of full-reference networks: where they see errors, which loss suits which network, how sure they are, what
the batch does. Data in, Figure out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from iqasuite.evaluation.uncertainty import bootstrap_by_content
from iqasuite.report.figures import style
from iqasuite.report.tables import rounded

_GAMMA = 0.5  # exponent of the colours' scale, so that small errors are seen beside large ones
_MARKERS, _LINES = ("o", "s", "^", "D", "v"), ("-", "--", "-.", ":")


@style.styled
def error_maps(images: Sequence[np.ndarray], maps: Sequence[np.ndarray], names: Sequence[str]) -> Figure:
    """Distorted images and, below each, where a network sees that it differs from the reference image.

    Args:
        images: distorted, uint8 (H, W, 3).
        maps: their error maps (H, W), 0 or more; all on one scale of colours, drawn over the image in gray, which
            shows through where there is no error.
        names: what stands above each column, such as the score.
    """
    n = len(images)
    height, width = images[0].shape[:2]
    fig = style.new_figure(0.9 + 2.2 * n, 0.35 + 4.15 * height / width)
    axes = fig.subplots(2, n, squeeze=False)
    end = max(1e-9, *(float(m.max()) for m in maps))
    for i, (image, values) in enumerate(zip(images, maps, strict=True)):
        share = np.clip(values / end, 0, 1) ** _GAMMA
        axes[0, i].imshow(image)
        axes[1, i].imshow(style.gray(image), cmap="gray", vmin=0, vmax=255)
        axes[1, i].imshow(share, cmap="inferno", vmin=0, vmax=1, alpha=0.35 + 0.65 * share)
        axes[0, i].set_title(style.readable(names[i], style.letters(2.2, 8)), fontsize=8)
        style.blank(axes[0, i])
        style.blank(axes[1, i])
    colours = ScalarMappable(Normalize(0, 1), "inferno")  # of the bar: the images' own are see-through
    bar = fig.colorbar(colours, ax=list(axes.flat), shrink=0.6, label="difference in the encoder")
    ticks = np.array([0, 0.1, 0.25, 0.5, 1])
    bar.set_ticks((ticks**_GAMMA).tolist(), labels=[f"{tick * end:.2g}" for tick in ticks])
    return fig


@style.styled
def loss_grid(scores: pd.DataFrame) -> Figure:
    """Networks (columns) × losses (rows): SROCC with its 95 % interval, best loss on top.

    Losses are sorted by how far they are above their columns' medians, so that one that was tried with the best network
    only does not stand above the others for that. What is more than .1 below the best has the darkest colour: one
    network that learnt the wrong thing leaves the others their differences.

    Args:
        scores: one row a cell: variant, loss, value, low, high (nan: not known).
    """
    cells = scores.set_index(["loss", "variant"])[["value", "low", "high"]]
    values = cells["value"].unstack("variant")
    columns = list(dict.fromkeys(scores["variant"]))
    rows = list((values - values.median()).mean(axis=1).sort_values(ascending=False).index)
    values = values.loc[rows, columns]
    fig, ax = style.one_panel(2.8 + 1.15 * len(columns), 1.4 + 0.5 * len(rows))
    best, worst = float(np.nanmax(values)), float(np.nanmin(values))
    norm = Normalize(max(worst, best - 0.1), best)
    image = ax.imshow(values, cmap=style.SEQUENTIAL, norm=norm, aspect="auto")
    style.cell_grid(ax, rows, columns)
    for (row, column), value in np.ndenumerate(values.to_numpy()):
        if not np.isfinite(value):
            style.in_cell(ax, column, row, "–", "black", 9)
            continue
        ink = style.ink_on(image.cmap(norm(value)))
        low, high = cells.loc[(rows[row], columns[column]), ["low", "high"]]
        style.in_cell(ax, column, row - 0.12, _number(value), ink, 9)
        if np.isfinite(low):
            style.in_cell(ax, column, row + 0.24, f"{_number(low)}–{_number(high)}", ink, 7)
    fig.colorbar(image, ax=ax, label="SROCC", extend="min" if worst < best - 0.1 else "neither")
    return fig


@style.styled
def spread_plot(
    spread: np.ndarray,
    error: np.ndarray,
    contents: Sequence[str],
    of: str = "pairs",
    spread_name: str = "standard deviation over views and models",
) -> Figure:
    """Whether a network knows when it is wrong: error over the spread of its views and models.

    Mean errors of eight groups of about as many are drawn with 95 % intervals.

    Args:
        spread: standard deviation over views, or what else it knows of its errors, (n,).
        error: |score − target|, (n,), in the same unit.
        contents: photograph of each pair or image, (n,), which the intervals draw anew.
        of: what a dot is.
        spread_name: name of the axis.
    """
    fig, ax = style.one_panel(5.2, 3.8)
    ax.scatter(spread, error, s=7, color=style.BLUE, alpha=0.3, linewidths=0)
    order = np.argsort(spread, kind="stable")
    for number, group in enumerate(np.array_split(order, min(8, len(order)))):
        mean = error[group].mean()
        low, high = bootstrap_by_content(error[group], np.asarray(contents)[group])
        bar = [[max(mean - low, 0)], [max(high - mean, 0)]]
        label = f"mean of {len(group)} {of}, 95 % interval over photographs" if number == 0 else None
        ax.errorbar(
            spread[group].mean(), mean, yerr=bar, color=style.VERMILLION, marker="o", capsize=2, zorder=3, label=label
        )
    value = pd.Series(spread).corr(pd.Series(error), method="spearman")
    ax.set_title(f"{len(spread)} {of}, rank correlation {_number(value)}", fontsize=9)
    ax.set(xlabel=spread_name, ylabel="|score − label|")
    ax.set_ylim(bottom=0, top=np.quantile(error, 0.995) * 1.05)
    ax.grid(True)
    ax.legend()
    return fig


@style.styled
def batch_size_plot(scores: pd.DataFrame) -> Figure:
    """What the number of images that a loss looks at once does to the SROCC, as many images seen in all.

    Args:
        scores: one row a loss and batch size: loss, batch_size, value, low, high.
    """
    fig, ax = style.one_panel(6.4, 3.6)
    sizes = sorted(scores["batch_size"].unique())
    losses = list(dict.fromkeys(scores["loss"]))
    for i, loss in enumerate(losses):
        own = scores[scores["loss"] == loss].sort_values("batch_size")
        x = np.array([sizes.index(size) for size in own["batch_size"]]) + 0.09 * (i - (len(losses) - 1) / 2)
        look: dict[str, Any] = {"color": style.PALETTE[i % len(style.PALETTE)], "marker": _MARKERS[i % len(_MARKERS)]}
        look |= {"linestyle": _LINES[i % len(_LINES)], "markersize": 5, "linewidth": 1.3}
        ax.errorbar(x, own["value"], yerr=style.ends(own), capsize=2, label=style.readable(loss, 32), **look)
    ax.set_xticks(range(len(sizes)), [str(size) for size in sizes])
    ax.set(xlabel="pairs in a batch", ylabel="SROCC, 95 % interval")
    ax.grid(True, axis="y")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return fig


@style.styled
def sources_plot(table: pd.DataFrame) -> Figure:
    """Rank correlation with MOS within each source photograph, and over all; one row a method.

    Args:
        table: model, source, n, srocc; rows of source "all" for everything together, by which methods are sorted.
    """
    whole = table[table["source"] == "all"].set_index("model")["srocc"].sort_values(ascending=False)
    sources = [source for source in dict.fromkeys(table["source"]) if source != "all"]
    fig, ax = style.one_panel(7.2, 1.2 + 0.32 * len(whole))
    names = list(whole.index)
    style.rows_axis(ax, names)
    ax.scatter(whole, range(len(names)), marker="|", s=160, color="black", linewidth=2, label="all sources", zorder=4)
    for i, source in enumerate(sources):
        own = table[table["source"] == source].set_index("model")["srocc"].reindex(names)
        height = np.arange(len(names)) + 0.16 * (i - (len(sources) - 1) / 2)
        look: Any = {
            "marker": _MARKERS[i % len(_MARKERS)],
            "color": style.PALETTE[i % len(style.PALETTE)],
            "label": style.readable(source, 24),
        }
        ax.scatter(own, height, s=20, alpha=0.9, linewidths=0, zorder=3, **look)
    ax.axvline(1, color=style.GRAY, linewidth=0.8)
    ax.set_xlabel("SROCC with the mean opinion score")
    fig.legend(loc="outside lower center", ncols=3)
    return fig


def _number(value: float) -> str:
    """Three digits, no zero before the point: .953, −.012."""
    return rounded(value).replace("0.", ".", 1) if abs(value) < 1 else rounded(value)
