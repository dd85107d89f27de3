"""Statistics of natural scenes in the pixel domain: locally normalised luminance and the distributions that fit it.

What BRISQUE and NIQE share. Both describe how far an image's mean-subtracted, contrast-normalised (MSCN) coefficients,
and the products of neighbouring ones, are from those of undisturbed photographs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import gammaln
from torch import Tensor

from iqasuite.errors import InputError

_RGB_TO_LUMA = (0.298936, 0.587043, 0.114021)  # ITU-R BT.601, as MATLAB's rgb2gray has it
_WINDOW = np.exp(-(np.arange(-3, 4) ** 2) / (2 * (7 / 6) ** 2))  # 7 taps, σ 7/6
_WINDOW /= _WINDOW.sum()
_HALVING = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 256  # Keys' cubic (a = −½), stretched to twice its width
_MIDDLE = 128.0  # subtracted before squaring: less is lost to rounding in float32
# One gray level in the corner of the window moves the mean by 1.6e-4; what is smaller is rounding.
_ROUNDING = 5e-5
_SHAPES = np.arange(200, 10001) / 1000  # the authors' grid of shape parameters
_RATIOS = np.exp(2 * gammaln(2 / _SHAPES) - gammaln(1 / _SHAPES) - gammaln(3 / _SHAPES))  # E|x|² / E x², rising


def luminance(images: Tensor) -> Tensor:
    """Luminance of images in whole gray levels 0…255, as MATLAB makes of 8-bit images.

    Args:
        images: RGB or gray, shape (B, 3, H, W) or (B, 1, H, W), uint8 or floating point in [0, 1].

    Returns:
        Shape (B, 1, H, W), float64 where the images are, else float32.

    Raises:
        InputError: another shape or type, no pixels, values outside [0, 1].
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or images.numel() == 0:
        raise InputError(f"images of shape {tuple(images.shape)}: expected (B, 3, H, W) or (B, 1, H, W), not empty")
    if images.dtype == torch.uint8:
        levels = images.float()
    elif images.is_floating_point():
        low, high = (value.item() for value in images.aminmax())
        if not (low >= 0 and high <= 1):
            raise InputError(f"images with values {low:.4g}…{high:.4g}: expected floating point in [0, 1] or uint8")
        levels = images.to(torch.promote_types(images.dtype, torch.float32)) * 255
    else:
        raise InputError(f"images of type {images.dtype}: expected uint8 or floating point in [0, 1]")
    if images.shape[1] == 3:
        red, green, blue = (weight * levels[:, i : i + 1] for i, weight in enumerate(_RGB_TO_LUMA))
        levels = red + green + blue
    return levels.round()


def mscn(luma: Tensor, border: str) -> tuple[Tensor, Tensor]:
    """Mean-subtracted, contrast-normalised coefficients (x − µ) / (σ + 1), with µ and σ of a Gaussian window.

    The window has 7×7 pixels and σ 7/6. Where it is flat, the coefficient is exactly 0: in the authors' code its sign
    is a matter of rounding there, and counts in `fit_aggd`.

    Args:
        luma: gray levels 0…255, shape (B, 1, H, W).
        border: what lies outside the image, "constant" (black, BRISQUE) or "replicate" (its border pixels, NIQE).

    Returns:
        Coefficients and local standard deviation σ, each (B, 1, H, W).

    Reference: D. L. Ruderman, "The statistics of natural images", Network 5, 1994.
    """
    x = luma - _MIDDLE
    padded = F.pad(x, (3, 3, 3, 3), mode=border, **({"value": -_MIDDLE} if border == "constant" else {}))
    mean, mean_square = _separable(padded, _WINDOW, stride=1), _separable(padded.square(), _WINDOW, stride=1)
    std = (mean_square - mean.square()).clamp_min_(0).sqrt_()
    return F.hardshrink(x - mean, _ROUNDING) / (std + 1), std


def half_size(luma: Tensor) -> Tensor:
    """Images (B, 1, H, W) at half their size (⌈H/2⌉ × ⌈W/2⌉): bicubic, anti-aliased, borders mirrored as in MATLAB."""
    for dim in (2, 3):
        n = luma.shape[dim]
        place = torch.arange(-3, 2 * ((n + 1) // 2) + 3, device=luma.device) % (2 * n)
        luma = luma.index_select(dim, torch.where(place < n, place, 2 * n - 1 - place))
    return _separable(luma, _HALVING, stride=2)


def _separable(x: Tensor, kernel: np.ndarray, stride: int) -> Tensor:
    """Images (B, 1, h, w) filtered along both axes, without padding."""
    for dim in (2, 3):
        # On a single channel faster than conv2d, and the same sum whatever the batch.
        n = (x.shape[dim] - len(kernel)) // stride + 1
        taps = (x.narrow(dim, k, stride * (n - 1) + 1) for k in range(len(kernel)))
        taps = (tap[(slice(None),) * dim + (slice(None, None, stride),)] for tap in taps)
        total = next(taps) * kernel[0]
        for weight, tap in zip(kernel[1:], taps, strict=True):
            total.add_(tap, alpha=weight)
        x = total
    return x


def neighbour_products(x: Tensor) -> Iterator[Tensor]:
    """Products of each coefficient (…, h, w) with its neighbour: horizontal, vertical and the two diagonals.

    The image goes on at its opposite border.
    """
    for shift in ((0, 1), (1, 0), (1, 1), (-1, 1)):
        yield x * x.roll(shift, dims=(-2, -1))


def fit_ggd(x: Tensor) -> tuple[Tensor, Tensor]:
    """Generalised Gaussian of mean 0, fitted by moments: density ∝ exp(−(|x| / β)^α).

    Args:
        x: samples, shape (…, n).

    Returns:
        α in 0.2…10 (2 = Gaussian, 1 = Laplacian) in steps of .001, and the standard deviation, each (…). Where all
        samples are 0: 0.2 and 0.

    Reference: K. Sharifi & A. Leon-Garcia, IEEE Trans. Circuits Syst. Video Technol. 5(1), 1995.
    """
    square, absolute = _mean_square(x), x.abs().mean(dim=-1)
    return _shape(absolute.square() / square.clamp_min(torch.finfo(x.dtype).tiny)), square.sqrt()


def fit_aggd(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Asymmetric generalised Gaussian with its mode at 0, fitted by moments: one scale below it, another above.

    Args:
        x: samples, shape (…, n).

    Returns:
        α in 0.2…10 in steps of .001, root mean square of the negative and of the positive samples, each (…). A side
        without samples has 0; where all samples are 0, α is 0.2.

    Reference: N.-E. Lasmar, Y. Stitou, Y. Berthoumieu, "Multiscale skewed heavy tailed model for texture analysis",
    ICIP 2009.
    """
    above, n = x.clamp_min(0), x.shape[-1]
    square, square_above = _mean_square(x), _mean_square(above)
    absolute = 2 * above.mean(dim=-1) - x.mean(dim=-1)
    n_above = above.sign().sum(dim=-1)
    n_below = n_above - x.sign().sum(dim=-1)
    right = (square_above * n / n_above.clamp_min(1)).sqrt()
    # A difference of sums: where no sample is below 0, rounding may leave something.
    square_below = (square - square_above).clamp_min(0).masked_fill(n_below == 0, 0)
    left = (square_below * n / n_below.clamp_min(1)).sqrt()
    tiny = torch.finfo(x.dtype).tiny
    # The usual factor in left / right, multiplied out: nothing to divide by where one side is empty.
    l2, r2 = left.square(), right.square()
    asymmetry = (l2 * left + r2 * right) * (left + right) / (l2 + r2).square().clamp_min(tiny)
    return _shape(absolute.square() / square.clamp_min(tiny) * asymmetry), left, right


def aggd_mean(alpha: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Mean of an asymmetric generalised Gaussian from what `fit_aggd` returns: (β_right − β_left) Γ(2/α) / Γ(1/α)."""
    return (right - left) * aggd_scale(alpha) * torch.exp(torch.lgamma(2 / alpha) - torch.lgamma(1 / alpha))


def aggd_scale(alpha: Tensor) -> Tensor:
    """Scale β of a generalised Gaussian of standard deviation 1 and shape `alpha`: √(Γ(1/α) / Γ(3/α))."""
    return torch.exp((torch.lgamma(1 / alpha) - torch.lgamma(3 / alpha)) / 2)


def _mean_square(x: Tensor) -> Tensor:
    return torch.linalg.vecdot(x, x) / x.shape[-1]


def _shape(ratio: Tensor) -> Tensor:
    """The shape whose E|x|² / E x² is nearest on the grid: it rises with the shape, so borders are halfway between."""
    borders = torch.as_tensor((_RATIOS[1:] + _RATIOS[:-1]) / 2, dtype=ratio.dtype, device=ratio.device)
    shapes = torch.as_tensor(_SHAPES, dtype=ratio.dtype, device=ratio.device)
    return shapes[torch.searchsorted(borders, ratio.contiguous())]
