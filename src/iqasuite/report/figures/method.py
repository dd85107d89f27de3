"""Figures that explain how a method works, on an example small enough to follow by eye. Data in, Figure out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from iqasuite.report.figures.style import SEQUENTIAL, VERMILLION, blank, in_cell, ink_on, new_figure, signed, styled


@styled
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
    fig = new_figure(2.3 * len(shifts), 4.3)
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
            Rectangle((left - 0.5, top - 0.5), patch, patch, fill=False, edgecolor=VERMILLION, linewidth=1.8)
        )
        moved = f"{signed(down, 0)} down, {signed(right, 0)} right" if (down, right) != (0, 0) else "the image"
        whole.set_title(moved, fontsize=9)
        part.imshow(copy[top : top + patch, left : left + patch], interpolation="nearest")
        blank(part)
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


@styled
def attention_weights(weights: dict[str, np.ndarray]) -> Figure:
    """Small matrices of attention weights side by side, the numbers in their cells.

    Args:
        weights: title -> (n, n), rows summing to 1: how much token i (row) takes from token j (column).
    """
    fig = new_figure(3.1 * len(weights) + 0.6, 3.2)
    axes = fig.subplots(1, len(weights), squeeze=False)[0]
    norm = Normalize(0, 1)
    colours = ScalarMappable(norm, SEQUENTIAL)
    for ax, (title, matrix) in zip(axes, weights.items(), strict=True):
        ax.imshow(matrix, cmap=SEQUENTIAL, norm=norm)
        for (row, column), value in np.ndenumerate(matrix):
            in_cell(ax, column, row, f"{value:.2f}", ink_on(colours.cmap(norm(value))), 9)
        names = [str(i + 1) for i in range(len(matrix))]
        ax.set_xticks(range(len(matrix)), names)
        ax.set_yticks(range(len(matrix)), names)
        ax.set(title=title, xlabel="from token")
    axes[0].set_ylabel("token")
    fig.colorbar(colours, ax=list(axes), label="attention weight")
    return fig
