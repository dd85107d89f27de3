"""What a model gets to see of an image at display size: random crops in training, a fixed grid of crops in testing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from iqasuite.errors import InputError


def random_crops(x: Tensor, size: int, generator: torch.Generator, flip: bool = True) -> Tensor:
    """One square crop of each image at a random place, mirrored left to right half of the time.

    Args:
        x: images of any type, shape (B, 3, H, W).
        size: side of the crops in pixels.
        generator: of the places; the same state gives the same crops on every device.
        flip: whether to mirror at all.

    Returns:
        Crops of the type and on the device of `x`, shape (B, 3, size, size).

    Raises:
        InputError: the images are smaller than the crops.
    """
    count, height, width = _check(x, size)
    draw: dict[str, Any] = {"generator": generator, "device": generator.device}
    top = torch.randint(height - size + 1, (count,), **draw).tolist()
    left = torch.randint(width - size + 1, (count,), **draw).tolist()
    mirrored = (torch.rand(count, **draw) < 0.5).to(x.device)
    # Slices are copied row by row; gathering by index arrays does the same several times slower.
    crops = torch.stack([x[i, :, t : t + size, w : w + size] for i, (t, w) in enumerate(zip(top, left, strict=True))])
    return torch.where(mirrored[:, None, None, None], crops.flip(-1), crops) if flip else crops


def grid_crops(x: Tensor, size: int, n_per_side: int) -> Tensor:
    """Square crops on a regular grid from border to border, row by row; one crop is the central one.

    Args:
        x: images, shape (B, 3, H, W).
        size: side of the crops in pixels; they overlap where the image is too small for that many.
        n_per_side: rows and columns of the grid, n.

    Returns:
        Crops, shape (B, n², 3, size, size).

    Raises:
        InputError: the images are smaller than the crops, or `n_per_side` is below 1.
    """
    _, height, width = _check(x, size)
    if n_per_side < 1:
        raise InputError(f"n_per_side={n_per_side}: expected 1 or more")
    rows, columns = _places(height - size, n_per_side), _places(width - size, n_per_side)
    return torch.stack([x[:, :, t : t + size, w : w + size] for t in rows for w in columns], dim=1)


def normalise(x: Tensor, mean: Sequence[float] | Tensor, std: Sequence[float] | Tensor) -> Tensor:
    """uint8 images as float32 with a model's input statistics: (x / 255 − mean) / std for each channel.

    Args:
        x: uint8, shape (..., 3, H, W).
        mean, std: of RGB values in [0, 1], three each.
    """
    mean = torch.as_tensor(mean, dtype=torch.float32, device=x.device).reshape(3, 1, 1)
    std = torch.as_tensor(std, dtype=torch.float32, device=x.device).reshape(3, 1, 1)
    return x.to(torch.float32).div_(255).sub_(mean).div_(std)


def _check(x: Tensor, size: int) -> tuple[int, int, int]:
    if x.ndim != 4 or x.shape[1] != 3:
        raise InputError(f"images of shape {tuple(x.shape)}: expected (B, 3, H, W)")
    if not 1 <= size <= min(x.shape[-2:]):
        raise InputError(f"crop of {size} pixels: expected 1 to {min(x.shape[-2:])}, the smaller side of the images")
    return x.shape[0], x.shape[2], x.shape[3]


def _places(room: int, n: int) -> list[int]:
    if n == 1:
        return [room // 2]
    return [round(i * room / (n - 1)) for i in range(n)]
