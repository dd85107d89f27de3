"""Where a ViT-IQA looks: maps of the attention that its class token pays to the image's tokens.

`attn` are attention weights as `ViTIQA.attention` returns them, `(B, depth, heads, N + 1, N + 1)`, each row summing
to 1; row 0 belongs to the class token. `grid` is the (rows, columns) of the tokens. A stem with several scales has
k·rows·columns tokens; what goes to one place at all its scales is added. All maps are float32 arrays.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from iqasuite.errors import InputError


def layer_head_maps(attn: torch.Tensor | np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Attention of the class token, in every layer and head.

    Args:
        attn: (…, N + 1, N + 1), such as (B, depth, heads, N + 1, N + 1).
        grid: rows and columns of the tokens.

    Returns:
        (…, rows, columns), each map summing to 1 − what the class token pays to itself.

    Raises:
        ValueError: the tokens do not fill the grid.
    """
    attn = attn.detach().cpu().float().numpy() if isinstance(attn, torch.Tensor) else np.asarray(attn, np.float32)
    rows, columns = grid
    tokens = attn.shape[-1] - 1
    if attn.shape[-2] != attn.shape[-1] or tokens < 1 or tokens % (rows * columns):
        raise ValueError(f"attention {attn.shape} over a grid of {rows}×{columns}: expected (..., N + 1, N + 1) tokens")
    to_tokens = attn[..., 0, 1:]
    return to_tokens.reshape(*to_tokens.shape[:-1], tokens // (rows * columns), rows, columns).sum(-3)


def focus_layer(maps: np.ndarray, layer: int = -1) -> np.ndarray:
    """Focus maps (…, rows, columns) of maps (…, depth, heads, rows, columns): one layer, mean over its heads.

    Raises:
        InputError: there is no such layer.
    """
    depth = maps.shape[-4]
    if not -depth <= layer < depth:
        raise InputError(f"layer={layer}: expected {-depth} to {depth - 1}")
    return maps[..., layer, :, :, :].mean(-3)


def rollout(attn: torch.Tensor | np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """How much of each place reaches the class token through all layers, if residual paths carry half of everything.

    Args:
        attn: (B, depth, heads, N + 1, N + 1).
        grid: rows and columns of the tokens.

    Returns:
        (B, rows, columns), each map summing to 1 − what the class token keeps of itself.

    Reference: S. Abnar and W. Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020.
    """
    mean = torch.as_tensor(attn).detach().cpu().double().mean(2)
    flow = eye = torch.eye(mean.shape[-1], dtype=mean.dtype)
    for layer in range(mean.shape[1]):
        flow = (mean[:, layer] + eye) / 2 @ flow
    return layer_head_maps(flow.expand(len(mean), -1, -1), grid)


def minmax(maps: np.ndarray) -> np.ndarray:
    """Each map (…, rows, columns) stretched to [0, 1]; a constant map becomes 0. Only for looking at one map alone."""
    maps = np.asarray(maps, np.float32)
    low, high = maps.min((-2, -1), keepdims=True), maps.max((-2, -1), keepdims=True)
    return (maps - low) / np.where(high > low, high - low, 1)


def rank_by_disagreement(maps: np.ndarray, images: list[str] | None = None) -> pd.DataFrame:
    """Images sorted by how much the AIOs' maps of them differ, most first.

    Args:
        maps: (aios, images, rows, columns).
        images: their names; None = their numbers.

    Returns:
        image, difference: the mean, over pairs of AIOs, of the summed absolute difference of their maps (0 to 2).

    Raises:
        ValueError: fewer than two AIOs, or as many names as there are not images.
    """
    maps = np.asarray(maps, np.float64)
    names = range(maps.shape[1]) if images is None else images
    if len(maps) < 2 or len(names) != maps.shape[1]:
        raise ValueError(
            f"{len(maps)} AIOs, {maps.shape[1]} maps, {len(names)} names: expected ≥ 2 AIOs, as many names"
        )
    total = np.zeros(maps.shape[1])
    for first in range(len(maps)):
        total += np.abs(maps[first + 1 :] - maps[first]).sum((0, 2, 3))
    pairs = len(maps) * (len(maps) - 1) / 2
    table = pd.DataFrame({"image": list(names), "difference": total / pairs})
    return table.sort_values("difference", ascending=False, kind="stable").reset_index(drop=True)


def people_and_noise(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far maps of two observers lie apart, and maps of one observer in two trainings: the floor of the former.

    Pairs are of different trainings in both, so that only the observer tells them apart.

    Args:
        maps: (trainings, aios, …, images, rows, columns) of two or more trainings and AIOs.

    Returns:
        Mean summed absolute difference (0 to 2) of each image: between observers, within one, both (images,).

    Raises:
        ValueError: fewer than two trainings or AIOs.
    """
    maps = np.asarray(maps, np.float64)
    n, people = maps.shape[:2]
    if n < 2 or people < 2:
        raise ValueError(f"maps of {n} trainings and {people} AIOs, expected two or more of both")
    between, within = [], []
    for one in range(n):
        for other in range(one + 1, n):
            for number in range(people):
                apart = np.abs(maps[one, number] - maps[other]).sum((-2, -1))
                within.append(apart[number])
                between.append(np.delete(apart, number, axis=0).mean(0))
    return np.mean(between, axis=0), np.mean(within, axis=0)
