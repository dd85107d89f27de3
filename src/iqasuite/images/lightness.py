"""Images made lighter and darker: L of CIE Lab scaled, a and b as they are, on the device the images are on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from iqasuite.errors import InputError

# sRGB (IEC 61966-2-1) to XYZ, divided by the white point D65 of the 2° observer.
_TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
_WHITE = (0.95047, 1.0, 1.08883)
_KNEE = 0.008856  # of the cube root, below which it is a line


def scaled_lightness(images: Tensor, factors: Tensor | Sequence[float]) -> Tensor:
    """Images with L of Lab multiplied, cut off where they leave sRGB.

    In Lab, L is the cube root of Y on a scale and a and b are differences of cube roots; scaling L alone therefore adds
    the same number to all three, and Lab itself is never computed.

    Args:
        images: sRGB, uint8, shape (B, …, 3, H, W).
        factors: of each image (B,), 0 or more; 1 leaves every 8-bit colour as it is.

    Returns:
        uint8 of the same shape, rounded.

    Raises:
        InputError: images of another type, not one factor an image, or a negative factor.
    """
    factors = torch.as_tensor(factors, dtype=torch.float32, device=images.device)
    if images.dtype != torch.uint8 or images.ndim < 4 or images.shape[-3] != 3:
        raise InputError(f"images of {images.dtype}, shape {tuple(images.shape)}: expected uint8 (B, …, 3, H, W)")
    if factors.shape != images.shape[:1] or not (factors >= 0).all():
        raise InputError(f"lightness: factors {factors.tolist()[:4]} for {len(images)} images, expected one each, ≥ 0")
    to_xyz = torch.tensor(_TO_XYZ, device=images.device) / torch.tensor(_WHITE, device=images.device)[:, None]
    linear = _linear_levels(images.device)[images.int()]
    roots = _cube_root(_mixed(to_xyz, linear))
    lightness = roots[..., 1:2, :, :] - 16 / 116  # L / 116
    roots = roots + (factors - 1).reshape(-1, *[1] * (images.ndim - 1)) * lightness
    roots[..., 2, :, :].clamp_(min=0)  # a saturated blue, darkened, would have less than no Z; as scikit-image has it
    linear = _mixed(torch.linalg.inv(to_xyz.double()).float(), _cube(roots)).clamp_(0, 1)
    encoded = torch.where(linear > 0.0031308, 1.055 * linear.pow(1 / 2.4) - 0.055, 12.92 * linear)
    return (255 * encoded).round_().to(torch.uint8)


def _linear_levels(device: torch.device) -> Tensor:
    """Light of the 256 levels of an sRGB channel."""
    level = torch.arange(256, device=device) / 255
    return torch.where(level > 0.04045, ((level + 0.055) / 1.055) ** 2.4, level / 12.92)


def _mixed(matrix: Tensor, channels: Tensor) -> Tensor:
    return (matrix @ channels.flatten(-2)).unflatten(-1, channels.shape[-2:])


def _cube_root(x: Tensor) -> Tensor:
    return torch.where(x > _KNEE, x.clamp(min=_KNEE).pow(1 / 3), 7.787 * x + 16 / 116)


def _cube(y: Tensor) -> Tensor:
    return torch.where(y > _KNEE ** (1 / 3), y * y * y, (y - 16 / 116) / 7.787)
