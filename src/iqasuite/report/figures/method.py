"""Figures that explain how a method works, on an example small enough to follow by eye. Data in, Figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from iqasuite.report.figures import style

_LINES = ("-", "--", "-.", ":")


@style.styled
def shifted_patches(
    image: np.ndarray, patch: int, shifts: Sequence[tuple[int, int]], at: tuple[int, int] | None = None
) -> Figure:
    """An image and its shifted copies with the grid of patches, and what one token is made of.

    Args:
        image: uint8 (H, W, 3), sides multiples of `patch`.
        patch: side of a patch in pixels.
        shifts: (down, right) of each copy in pixels, the image itself first: (0, 0).
        at: row and column of the patch whose token is shown; None = the one with most structure.
    """
    if at is None:
        spread = image.reshape(image.shape[0] // patch, patch, -1, patch, 3).std((1, 3)).mean(-1)
        at = tuple(int(i) for i in np.unravel_index(spread.argmax(), spread.shape))  # type: ignore[assignment]
    assert at is not None
    fig = style.new_figure(2.3 * len(shifts), 4.3)
    axes = fig.subplots(2, len(shifts), squeeze=False, height_ratios=[1.6, 1])
    top, left = at[0] * patch, at[1] * patch
    for (down, right), whole, part in zip(shifts, *axes, strict=True):
        copy = _shifted(image, down, right)
        whole.imshow(copy)
        whole.set_xticks(np.arange(0, image.shape[1], patch) - 0.5, [])
        whole.set_yticks(np.arange(0, image.shape[0], patch) - 0.5, [])
        whole.grid(True, color="white", linewidth=0.4)
        whole.tick_params(length=0)
        whole.add_patch(
            Rectangle((left - 0.5, top - 0.5), patch, patch, fill=False, edgecolor=style.VERMILLION, linewidth=1.8)
        )
        moved = (
            f"{style.signed(down, 0)} down, {style.signed(right, 0)} right" if (down, right) != (0, 0) else "the image"
        )
        whole.set_title(moved, fontsize=9)
        part.imshow(copy[top : top + patch, left : left + patch], interpolation="nearest")
        style.blank(part)
    axes[1, 0].set_ylabel("one patch of each", fontsize=9)
    fig.suptitle(f"One token is made of {len(shifts)} × {patch} × {patch} × 3 numbers", fontsize=10)
    return fig


def _shifted(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """The image moved by whole pixels; what moves in from outside is 0."""
    height, width = image.shape[:2]
    copy = np.zeros_like(image)
    to = np.s_[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)]
    of = np.s_[max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)]
    copy[to] = image[of]
    return copy


@style.styled
def attention_weights(weights: dict[str, np.ndarray]) -> Figure:
    """Small matrices of attention weights side by side, the numbers in their cells.

    Args:
        weights: title -> (n, n), rows summing to 1: how much token i (row) takes from token j (column).
    """
    return small_matrices(weights, "token", "from token", "attention weight")


@style.styled
def small_matrices(matrices: Mapping[str, np.ndarray], rows: str, columns: str, of: str = "") -> Figure:
    """Small matrices side by side, the numbers in their cells; rows and columns are counted from 1.

    Args:
        matrices: title -> (m, n); whole numbers are shown as such, others with two digits.
        rows, columns: what is counted.
        of: what the numbers are, 0 to 1, where all have one scale of colours; "" = each has its own.
    """
    fig = style.new_figure(3.1 * len(matrices) + 0.6, 3.2)
    axes = fig.subplots(1, len(matrices), squeeze=False)[0]
    for ax, (title, matrix) in zip(axes, matrices.items(), strict=True):
        norm = Normalize(0, 1 if of else matrix.max())
        colours = ScalarMappable(norm, style.SEQUENTIAL)
        ax.imshow(matrix, cmap=style.SEQUENTIAL, norm=norm)
        for (row, column), value in np.ndenumerate(matrix):
            text = f"{value:.2f}" if matrix.dtype.kind == "f" else f"{value}"
            style.in_cell(ax, column, row, text, style.ink_on(colours.cmap(norm(value))), 9)
        ax.set_xticks(range(matrix.shape[1]), [str(i + 1) for i in range(matrix.shape[1])])
        ax.set_yticks(range(matrix.shape[0]), [str(i + 1) for i in range(matrix.shape[0])])
        ax.set(title=title, xlabel=columns)
    axes[0].set_ylabel(rows)
    if of:
        fig.colorbar(colours, ax=list(axes), label=of)
    return fig


@style.styled
def example_curves(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    x: str,
    y: str,
    title: str,
    dots: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
    band: tuple[np.ndarray, np.ndarray] | None = None,
) -> Figure:
    """A few curves of one example, with a legend beside them.

    Args:
        curves: name -> x and y, (n,) each; up to 30 points are marked, and what is called "baseline …" is gray.
        x, y: what the axes show, with the unit.
        title: what is to be seen.
        dots: name -> x and y of points that no line joins.
        band: lowest and highest y along the first curve, (n,) each, shaded.
    """
    fig, ax = style.one_panel(6.8, 3.2)
    for (name, (at, value)), colour, line in zip(curves.items(), style.PALETTE, _LINES * 2, strict=False):
        shade = style.GRAY if name.startswith("baseline") else colour
        marker = "o" if len(at) <= 30 else ""
        ax.plot(at, value, line, color=shade, marker=marker, markersize=4, label=style.readable(name))
    for (name, (at, value)), marker in zip((dots or {}).items(), "x+D", strict=False):
        ax.scatter(at, value, marker=marker, s=30, color="black", linewidth=1.2, label=style.readable(name), zorder=3)
    if band is not None:
        ax.fill_between(next(iter(curves.values()))[0], *band, color=style.BLUE, alpha=0.15, linewidth=0)
    ax.set(xlabel=x, ylabel=y)
    ax.set_title(title, fontsize=9)
    if all((np.asarray(at) % 1 == 0).all() for at, _ in curves.values()):
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(True)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return fig


@style.styled
def bootstrap_draws(
    drawn: np.ndarray, contents: Sequence[str], values: np.ndarray, whole: float, metric: str
) -> Figure:
    """A few draws of contents with replacement, and the metric of each.

    Args:
        drawn: how often each content is in each draw, (draws, contents), whole numbers.
        contents: their names.
        values: the metric of each draw, (draws,).
        whole: the metric of the sample itself, where each content is there once.
        metric: its name.
    """
    fig = style.new_figure(0.36 * len(contents) + 4.4, 0.27 * len(drawn) + 2)
    left, right = fig.subplots(1, 2, sharey=True, width_ratios=[max(4, 0.36 * len(contents)), 3])
    norm = Normalize(0, max(3, drawn.max()))
    left.imshow(drawn, cmap=style.SEQUENTIAL, norm=norm, aspect="auto")
    for (row, column), value in np.ndenumerate(drawn.astype(int)):
        style.in_cell(
            left, column, row, f"{value}", style.ink_on(ScalarMappable(norm, style.SEQUENTIAL).cmap(norm(value))), 7.5
        )
    left.set_xticks(range(len(contents)), [style.readable(name, 20) for name in contents], rotation=40, ha="right")
    left.set_yticks(range(len(drawn)), [f"draw {i + 1}" for i in range(len(drawn))])
    left.set_title("how often each content is drawn", fontsize=9)
    right.scatter(values, range(len(values)), s=26, color=style.BLUE, zorder=3)
    style.named_line(right, whole, "all contents once")
    right.set_xlabel(metric)
    right.grid(True)
    return fig


@style.styled
def holm_steps(p: Sequence[float], adjusted: Sequence[float], names: Sequence[str]) -> Figure:
    """From each p-value to the one that Holm's correction makes of it, smallest first.

    Args:
        p: of the tests, (k,).
        adjusted: the same after the correction, (k,).
        names: of the tests.
    """
    fig, ax = style.one_panel(6.8, 0.5 * len(p) + 1.2)
    order = np.argsort(p, kind="stable")
    for row, test in enumerate(order):
        factor = len(p) - row
        raised = adjusted[test] > factor * p[test] + 1e-12
        text = f"× {factor}" + (" would be below the one before: raised to it" if raised else "")
        look = {"arrowstyle": "->", "color": style.GRAY, "shrinkA": 5, "shrinkB": 5}
        ax.annotate("", (adjusted[test], row), (p[test], row), arrowprops=look)
        place: dict[str, Any] = {"xytext": (8, 0), "textcoords": "offset points", "va": "center", "fontsize": 8}
        ax.annotate(text, (max(adjusted[test], p[test]), row), **place)
    ax.scatter(np.take(p, order), range(len(p)), s=30, facecolor="white", edgecolor=style.BLUE, zorder=3, label="p")
    ax.scatter(np.take(adjusted, order), range(len(p)), s=30, color=style.BLUE, zorder=3, label="p after Holm")
    style.named_line(ax, 0.05, "p = .05")
    style.rows_axis(ax, [names[test] for test in order])
    ax.set(xlabel="p", xlim=(0, 1.6 * max(*adjusted, 0.05)))
    ax.set_title(f"The smallest p times the number of tests ({len(p)}), the next times one less", fontsize=9, pad=16)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return fig


@style.styled
def sign_patterns(differences: np.ndarray, unit: str) -> Figure:
    """The means of all patterns of signs that differences could have had, were there nothing but chance.

    Args:
        differences: one a content, (k,), at most 12.
        unit: what the differences are of.
    """
    signs = np.array(list(product((1, -1), repeat=len(differences))))
    means = np.sort((signs * np.abs(differences)).mean(1))
    observed = float(np.mean(differences))
    extreme = np.abs(means) >= abs(observed) - 1e-12
    fig, ax = style.one_panel(6.8, 2.0)
    for chosen, colour, name in (
        (~extreme, style.LIGHT, "nearer to 0"),
        (extreme, style.VERMILLION, "as far from 0, or farther"),
    ):
        ax.scatter(means[chosen], np.zeros(chosen.sum()), marker="|", s=400, linewidth=2, color=colour, label=name)
    style.named_line(ax, observed, "observed")
    ax.set(xlabel=f"mean difference of {unit}", yticks=[], ylim=(-1, 1))
    ax.set_title(f"{extreme.sum()} of {len(means)} patterns: p = {extreme.mean():.3g}", fontsize=9, pad=16)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.4), ncols=2)
    return fig


@style.styled
def unrolled_network(
    patches: Sequence[float], forward: Sequence[float], backward: Sequence[float], weights: Sequence[float]
) -> Figure:
    """A bidirectional recurrent network of one unit each way over a short sequence, and the attention that pools it.

    Args:
        patches: what goes in, one number a patch (n,).
        forward, backward: states of the two units at each patch, (n,) each.
        weights: of the pooling, (n,), summing to 1.
    """
    n = len(patches)
    fig, ax = style.one_panel(1.25 * n + 1.8, 4.4)
    look = {"boxstyle": "round,pad=0.35", "facecolor": "white", "linewidth": 1.2}
    rows = (
        ("patch", patches, 0, style.GRAY),
        ("→ state", forward, 1.0, style.BLUE),
        ("← state", backward, 2.0, style.VERMILLION),
    )
    for name, values, y, colour in rows:
        ax.text(-0.75, y, name, color=colour, ha="right", va="center")
        for t, value in enumerate(values):
            ax.text(t, y, f"{value:.2f}", ha="center", va="center", bbox=look | {"edgecolor": colour}, zorder=3)
    for t in range(n):
        _arrow(ax, (t, 0.25), (t, 0.75))
        _arrow(ax, (t + 0.2, 0.1), (t + 0.2, 1.85), curved=0.25)
        if t + 1 < n:
            _arrow(ax, (t + 0.3, 1.0), (t + 0.7, 1.0), style.BLUE)
            _arrow(ax, (t + 0.7, 2.0), (t + 0.3, 2.0), style.VERMILLION)
    height = 1.1 / max(weights)
    ax.bar(range(n), np.multiply(weights, height), 0.5, bottom=2.6, color=style.ORANGE)
    for t, weight in enumerate(weights):
        ax.text(t, 2.62 + weight * height, f"{weight:.2f}", ha="center", va="bottom", fontsize=8)
    ax.text(-0.75, 2.9, "weight", color="black", ha="right", va="center")
    pooled = [float(np.dot(weights, states)) for states in (forward, backward)]
    ax.set_title(f"Pooled: weighted means of the states ({pooled[0]:.2f}, {pooled[1]:.2f}) → dense layers → score")
    ax.set(xlim=(-1.8, n - 0.4), ylim=(-0.4, 4.1))
    style.blank(ax)
    return fig


def _arrow(ax: Axes, start: tuple, end: tuple, colour: str = style.GRAY, curved: float = 0.0) -> None:
    look = {"arrowstyle": "->", "color": colour, "linewidth": 1, "connectionstyle": f"arc3,rad={curved}"}
    ax.annotate("", end, start, arrowprops=look)


@style.styled
def receptive_field(layers: Sequence[tuple[int, int]]) -> Figure:
    """What one position behind some convolutions sees, in one dimension: pixels at the bottom, layers above.

    Args:
        layers: size of the filter and stride of each, in the order of the data.
    """
    fig, ax = style.one_panel(8.2, 0.42 * len(layers) + 1.6)
    seen, steps = [0], np.cumprod([1, *(stride for _, stride in layers)])
    for level in range(len(layers), -1, -1):
        x = np.array(seen) * steps[level]
        ax.scatter(
            x,
            np.full(len(x), level),
            s=9,
            color=style.VERMILLION if level in (0, len(layers)) else style.BLUE,
            zorder=3,
        )
        ax.annotate(f"{len(x)}", (x[-1], level), (6, 0), textcoords="offset points", va="center", fontsize=8)
        if level:
            size, stride = layers[level - 1]
            below = [[stride * at + step for step in range(-(size // 2), size // 2 + 1)] for at in seen]
            for at, those in zip(x, below, strict=True):
                for other in those:
                    ax.plot(
                        [at, other * steps[level - 1]], [level, level - 1], color=style.LIGHT, linewidth=0.6, zorder=1
                    )
            seen = sorted({other for those in below for other in those})
    names = [f"layer {i + 1}: {size}×{size}, stride {stride}" for i, (size, stride) in enumerate(layers)]
    ax.set_yticks(range(len(layers) + 1), ["pixels", *names])
    ax.set(xlabel="distance from the middle (pixels)", ylim=(-0.5, len(layers) + 0.5))
    ax.set_title(f"One position of the last layer sees {len(seen)} × {len(seen)} pixels of the image", fontsize=9)
    return fig


@style.styled
def convolutions_counted(channels: int, size: int) -> Figure:
    """The weights of a convolution and of a depthwise-separable one, a dark cell each: multiplications a place.

    Args:
        channels: that go in and come out, few.
        size: of the filter, odd.
    """
    whole, point = np.ones((size, size)), np.zeros((size, size))
    point[size // 2, size // 2] = 1
    mixed, alone = np.ones((channels, channels)), np.eye(channels)
    kinds = {"convolution": (mixed, whole), "depthwise": (alone, whole), "pointwise": (mixed, point)}
    fig = style.new_figure(9, 3.4)
    for ax, (name, (pairs, taps)) in zip(fig.subplots(1, 3), kinds.items(), strict=True):
        weights = np.kron(pairs, taps)
        ax.imshow(np.where(weights > 0, 0.25, 0.95), cmap="gray", vmin=0, vmax=1)
        middles, borders = size * np.arange(channels) + size // 2, size * np.arange(channels + 1) - 0.5
        ax.set_xticks(middles, [str(i + 1) for i in range(channels)])
        ax.set_yticks(middles, [str(i + 1) for i in range(channels)])
        ax.set_xticks(borders, minor=True)
        ax.set_yticks(borders, minor=True)
        ax.grid(True, which="minor", color=style.ORANGE, linewidth=1.5)
        ax.tick_params(which="both", length=0)
        ax.set(title=f"{name}: {int(weights.sum())}", xlabel="from channel", ylabel="to channel")
    return fig
