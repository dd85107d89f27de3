"""Figures of data sets: how quality, contents and distortions are distributed, what splits and audits find."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from iqasuite.evaluation.metrics import srocc
from iqasuite.names import natural_order
from iqasuite.report.figures import style

_PART_COLOURS = {"train": style.BLUE, "val": style.ORANGE, "test": style.VERMILLION}


@style.styled
def mos_distribution(images: pd.DataFrame, scale_name: str = "MOS") -> Figure:
    """How many images have which quality, and how much observers differ over them.

    Args:
        images: images frame; the right panel is left out where no standard deviations are known.
        scale_name: of the set's own scale, for the axis.
    """
    spread = images["mos_std"].notna().any()
    fig = style.new_figure(9 if spread else 5.5, 3)
    axes = fig.subplots(1, 2 if spread else 1, squeeze=False)[0]
    mos = images["mos"].dropna()
    axes[0].hist(mos, bins=min(40, max(8, int(np.sqrt(len(mos))))), color=style.BLUE)
    axes[0].axvline(mos.mean(), color=style.VERMILLION, linewidth=1.4)
    scale_name = style.readable(scale_name, 36)
    axes[0].set(xlabel=f"{scale_name} (higher = better)", ylabel="images")
    axes[0].set_title(f"{len(mos)} images, mean {mos.mean():.2f}, standard deviation {mos.std():.2f}")
    if spread:
        known = images.dropna(subset=["mos", "mos_std"])
        axes[1].scatter(known["mos"], known["mos_std"], s=8, color=style.BLUE, alpha=0.35, linewidth=0)
        axes[1].set(xlabel=f"{scale_name} (higher = better)", ylabel="standard deviation of the votes")
        axes[1].set_title(f"{len(known)} images: how far observers differ")
        axes[1].set_ylim(0)
    return fig


@style.styled
def content_spread(images: pd.DataFrame, at_most: int = 60) -> Figure:
    """Each content's images on the MOS axis, contents in order of their mean.

    Args:
        images: images frame.
        at_most: so many contents are shown, evenly chosen over the order.
    """
    mean = images.groupby("content")["mos"].mean().sort_values(ascending=False)
    shown = mean.iloc[np.unique(np.linspace(0, len(mean) - 1, min(at_most, len(mean))).astype(int))]
    fig, ax = style.one_panel(8, 0.9 + 0.17 * len(shown))
    style.rows_axis(ax, list(shown.index), longest=34)
    ax.tick_params(axis="y", labelsize=7)
    own = images[images["content"].isin(shown.index)]
    y = own["content"].map({name: row for row, name in enumerate(shown.index)})
    ax.scatter(own["mos"], y, s=7, color=style.BLUE, alpha=0.45, linewidth=0, label="image")
    ax.scatter(shown, range(len(shown)), marker="|", s=70, color=style.VERMILLION, linewidth=2, zorder=3, label="mean")
    ax.set_xlabel("mean opinion score (higher = better)")
    ax.set_title("all contents" if len(shown) == len(mean) else f"{len(shown)} of {len(mean)} contents")
    fig.legend(loc="outside upper right", ncols=2)
    return fig


@style.styled
def distortion_levels(images: pd.DataFrame, per_row: int = 5) -> Figure:
    """MOS over the level of each distortion: one dot an image, the line the mean of a level (or of a tenth of them).

    Args:
        images: images frame with distortion and level.
        per_row: panels side by side.
    """
    known = images[(images["distortion"] != "") & images["level"].notna()]
    distortions = natural_order(known["distortion"])
    width = max(1.9, 9 / min(len(distortions), per_row))
    fig, axes = style.small_multiples(len(distortions), per_row, (width, 2.0), sharey=True)
    for ax, distortion in zip(axes, distortions, strict=True):
        own = known[known["distortion"] == distortion]
        ax.scatter(own["level"], own["mos"], s=6, color=style.BLUE, alpha=0.35, linewidth=0)
        if own["level"].nunique() <= 12:
            mean = own.groupby("level")["mos"].mean()
        else:
            tenth = pd.qcut(own["level"], 10, duplicates="drop")
            mean = own.groupby(tenth, observed=True)[["level", "mos"]].mean().set_index("level")["mos"]
        ax.plot(mean.index, mean, color=style.VERMILLION, marker="o", markersize=3, linewidth=1.3)
        varies = own["level"].nunique() > 1
        value = srocc(own["level"].to_numpy(float), own["mos"].to_numpy(float)) if varies else np.nan
        order = f", SROCC {value:.2f}".replace("-", "−") if varies else ""
        ax.set_title(f"{style.readable(distortion, style.letters(width, 8))}\nn = {len(own)}{order}", fontsize=8)
    fig.supxlabel("level, in the set's own units", fontsize=9)
    fig.supylabel("mean opinion score", fontsize=9)
    return fig


@style.styled
def file_facts_plot(facts: pd.DataFrame, mos: pd.Series) -> Figure:
    """Quality over what a file tells without being looked at: pixels, bytes, bits per pixel.

    Args:
        facts: as `iqasuite.images.file_facts.file_facts` returns it, index image.
        mos: index image.
    """
    both = facts.join(mos.rename("mos"), how="inner").dropna(subset="mos")
    panels = {
        "height of the file (pixels)": both["height"],
        "size of the file (kB)": both["bytes"] / 1000,
        "bits per pixel": both["bits_per_pixel"],
    }
    fig = style.new_figure(10, 2.9)
    for ax, (label, values) in zip(fig.subplots(1, 3, sharey=True), panels.items(), strict=True):
        ax.scatter(values, both["mos"], s=8, color=style.BLUE, alpha=0.4, linewidth=0)
        varies = values.nunique() > 1
        if varies and values.max() > 20 * max(values.min(), 1e-9):
            ax.set_xscale("log")
        order = srocc(values.to_numpy(float), both["mos"].to_numpy(float)) if varies else np.nan
        ax.set_xlabel(label)
        ax.set_title(f"SROCC {order:.3f}".replace("-", "−") if varies else "all the same", fontsize=9)
        ax.grid(True)
    fig.supylabel("mean opinion score", fontsize=9)
    return fig


@style.styled
def split_balance(split: pd.DataFrame, images: pd.DataFrame) -> Figure:
    """Is every part of every fold alike in quality? Median, middle half and range of the MOS.

    Args:
        split: split frame.
        images: images frame.
    """
    merged = split.merge(images[["image", "mos"]], on="image").dropna(subset="mos")
    folds = sorted(merged["fold"].unique())
    fig, ax = style.one_panel(max(5.5, 0.9 * len(folds) + 2), 3)
    for number, (part, colour) in enumerate(_PART_COLOURS.items()):
        for place, fold in enumerate(folds):
            values = merged.loc[(merged["fold"] == fold) & (merged["part"] == part), "mos"]
            if values.empty:
                continue
            x = place + 0.25 * (number - 1)
            low, first, middle, third, high = np.percentile(values, [0, 25, 50, 75, 100])
            ax.vlines(x, low, high, color=colour, linewidth=0.8)
            ax.vlines(x, first, third, color=colour, linewidth=5, label=part if place == 0 else "")
            ax.scatter([x], [middle], color="white", s=9, zorder=3)
            ax.annotate(str(len(values)), (x, low), xytext=(0, -8), textcoords="offset points", ha="center", fontsize=7)
    ax.set_xticks(range(len(folds)), [f"fold {fold}" for fold in folds])
    ax.set_ylabel("mean opinion score")
    ax.margins(y=0.12)
    ax.set_title("below each bar: its images")
    fig.legend(loc="outside upper right", ncols=3)
    return fig


@style.styled
def leak_counts(leaks: dict[str, pd.DataFrame]) -> Figure:
    """How much is shared between parts, by kind, for several ways to split one set.

    Args:
        leaks: name of the split -> what `audit` found; at most as many names as there are rows to read.
    """
    kinds = ("content", "reference", "source", "near-duplicate")
    fig, ax = style.one_panel(8.5, 0.9 + 0.55 * len(leaks))
    style.rows_axis(ax, list(leaks))
    largest = max((int((found["kind"] == kind).sum()) for found in leaks.values() for kind in kinds), default=0)
    height = 0.8 / len(kinds)
    for number, kind in enumerate(kinds):
        counts = [int((found["kind"] == kind).sum()) for found in leaks.values()]
        y = np.arange(len(leaks)) + height * (number - (len(kinds) - 1) / 2)
        ax.barh(y, counts, height, color=style.PALETTE[number], label=f"shared {kind}" if number < 3 else kind)
    for row, found in enumerate(leaks.values()):
        if found.empty:
            ax.annotate(
                "nothing shared", (0, row), xytext=(6, 0), textcoords="offset points", va="center", color=style.GREEN
            )
    ax.set_xlim(0, max(1, largest) * 1.05)
    ax.set_xlabel("leaks: values (or pairs) shared between two parts, over all folds")
    fig.legend(loc="outside upper right", ncols=4)
    return fig


@style.styled
def worst_pairs(pairs: pd.DataFrame, near: float, at_most: int = 20) -> Figure:
    """The most similar images of different contents, by name.

    Args:
        pairs: image_a, image_b, similarity, as `near_duplicates` returns them.
        near: from which similarity on they count as the same image.
        at_most: so many pairs are shown.
    """
    shown = pairs.head(at_most)
    names = [f"{_short(a)} – {_short(b)}" for a, b in zip(shown["image_a"], shown["image_b"], strict=True)]
    fig, ax = style.one_panel(8, 0.9 + 0.22 * max(len(shown), 2))
    style.rows_axis(ax, names)
    found = shown["similarity"].to_numpy() >= near
    ax.scatter(
        shown["similarity"], range(len(shown)), s=24, color=np.where(found, style.VERMILLION, style.GRAY), zorder=3
    )
    style.named_line(ax, near, "the same image from here on")
    ax.set_xlabel("similarity of the fingerprints (correlation)")
    ax.set_xlim(min(0.5, shown["similarity"].min() - 0.02) if len(shown) else 0.5, 1.01)
    return fig


@style.styled
def pair_sheet(pairs: pd.DataFrame, read: Callable[[str], np.ndarray], at_most: int = 12) -> Figure:
    """The images of the most similar pairs, side by side under its similarity.

    Args:
        pairs: image_a, image_b, similarity, the most similar first.
        read: image -> uint8 (H, W, 3).
        at_most: so many pairs are shown.
    """
    shown = list(pairs.head(at_most).itertuples())
    fig, axes = style.small_multiples(len(shown), 4, (2.6, 1.35))
    for ax, pair in zip(axes, shown, strict=True):
        both = [_thumbnail(read(name)) for name in (pair.image_a, pair.image_b)]
        gap = np.full((both[0].shape[0], 6, 3), 255, np.uint8)
        ax.imshow(np.concatenate([both[0], gap, both[1]], axis=1))
        ax.set_axis_off()
        ax.set_title(f"{pair.similarity:.3f}", fontsize=8)
    return fig


@style.styled
def contact_sheet(images: pd.DataFrame, read: Callable[[str], np.ndarray], n: int = 18) -> Figure:
    """Images over the whole range of quality, the worst first, each with its MOS.

    Args:
        images: images frame.
        read: image -> uint8 (H, W, 3).
        n: how many.
    """
    ordered = images.sort_values(["mos", "image"], ignore_index=True)
    chosen = ordered.iloc[np.unique(np.linspace(0, len(ordered) - 1, min(n, len(ordered))).round().astype(int))]
    fig, axes = style.small_multiples(len(chosen), 6, (1.7, 1.5))
    for ax, row in zip(axes, chosen.itertuples(), strict=True):
        ax.imshow(_thumbnail(read(row.image), 220))
        ax.set_axis_off()
        ax.set_title(
            f"{row.mos:.2f}" if np.isfinite(row.mos) else style.readable(row.content, style.letters(1.7, 8)), fontsize=8
        )
    return fig


@style.styled
def recall_of_copies(found: pd.DataFrame) -> Figure:
    """Which planted copies the audit finds.

    Args:
        found: kind, n (copies planted), found (share), median similarity `similarity`.
    """
    fig, ax = style.one_panel(7, 0.8 + 0.3 * len(found))
    style.rows_axis(ax, list(found["kind"]))
    y = np.arange(len(found))
    ax.barh(y, 100 * found["found"], 0.62, color=style.BLUE)
    for row, line in enumerate(found.itertuples()):
        text = f"{100 * line.found:.0f} % of {line.n}, median similarity {line.similarity:.2f}"
        ax.annotate(text, (2, row), va="center", color="white" if line.found > 0.5 else "black", fontsize=8)
    ax.set_xlim(0, 100)
    ax.set_xlabel("planted copies found (%)")
    ax.axvline(100, color=style.LIGHT, linewidth=0.8)
    return fig


def _short(name: str) -> str:
    stem = name.rsplit("/", 1)[-1]
    return stem if len(stem) <= 26 else stem[:12] + "…" + stem[-12:]


def _thumbnail(image: np.ndarray, side: int = 160) -> np.ndarray:
    """Every k-th pixel, then the middle square: enough for a small image."""
    height, width = image.shape[:2]
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    square = image[top : top + edge, left : left + edge]
    index = np.linspace(0, edge - 1, side).round().astype(int)
    return square[index][:, index]
