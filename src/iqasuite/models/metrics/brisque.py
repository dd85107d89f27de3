"""BRISQUE: 36 numbers that say how natural an image's local luminance is, at two scales, for a regressor to learn from.

A. Mittal, A. K. Moorthy, A. C. Bovik, "No-Reference Image Quality Assessment in the Spatial Domain", IEEE Transactions
on Image Processing 21(12), 2012.
"""

from __future__ import annotations

import torch
from torch import Tensor

from iqasuite.models.metrics.natural_scenes import (
    aggd_mean,
    fit_aggd,
    fit_ggd,
    half_size,
    luminance,
    mscn,
    neighbour_products,
)

N_SCALES = 2


@torch.no_grad()
def brisque_features(images: Tensor) -> Tensor:
    """BRISQUE's features, in the order of the authors' code.

    For each of two scales: shape and variance of the coefficients' generalised Gaussian; then, for horizontal,
    vertical and both diagonal neighbours, shape, mean, left and right variance of their products' asymmetric one.

    Args:
        images: RGB or gray, shape (B, 3, H, W) or (B, 1, H, W), uint8 or floating point in [0, 1].

    Returns:
        Shape (B, 36), on the device of the images; finite also for flat images and single pixels.

    Raises:
        InputError: another shape or type, no pixels, values outside [0, 1].
    """
    luma, features = luminance(images), []
    for scale in range(N_SCALES):
        luma = half_size(luma) if scale else luma
        coefficients = mscn(luma, border="constant")[0][:, 0]
        alpha, std = fit_ggd(coefficients.flatten(1))
        features += [alpha, std.square()]
        for products in neighbour_products(coefficients):
            alpha, left, right = fit_aggd(products.flatten(1))
            features += [alpha, aggd_mean(alpha, left, right), left.square(), right.square()]
    return torch.stack(features, dim=1)
