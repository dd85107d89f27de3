"""NIQE: how far an image's patches are from those of undisturbed photographs, without a single rating.

A. Mittal, R. Soundararajan, A. C. Bovik, "Making a 'Completely Blind' Image Quality Analyzer", IEEE Signal Processing
Letters 20(3), 2013.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from iqasuite.errors import InputError
from iqasuite.models.metrics.natural_scenes import (
    aggd_mean,
    aggd_scale,
    fit_aggd,
    half_size,
    luminance,
    mscn,
    neighbour_products,
)
from iqasuite.paths import weights_roots, write_atomic

PATCH = 96  # pixels a side, at the first of two scales
SHARP = 0.75  # patches of pristine images with at least this share of the sharpest one's local deviation
N_FEATURES = 36
PUBLISHED = "niqe_pris_params.npz"


def niqe_features(image: Tensor) -> Tensor:
    """Features of an image's 96×96 patches that lie side by side from its top left corner.

    For each of two scales: shape and scale of the coefficients' distribution; then, for horizontal, vertical and both
    diagonal neighbours, shape, mean, left and right scale of their products'. Patches without variation on both sides
    of 0 (flat ones) are left out.

    Args:
        image: RGB or gray, shape (3, H, W) or (1, H, W), uint8 or floating point in [0, 1], at least 96×96 pixels.

    Returns:
        Shape (patches, 36), on the device of the image.

    Raises:
        InputError: another shape or type, values outside [0, 1].
    """
    return _patch_features(image)[0]


@dataclass(frozen=True)
class NiqeModel:
    """Multivariate Gaussian of the features of pristine patches.

    Attributes:
        mean: shape (36,), float64.
        covariance: shape (36, 36), float64.
    """

    mean: Tensor
    covariance: Tensor

    @classmethod
    def published(cls) -> NiqeModel:
        """The authors' model of 125 pristine photographs, from `niqe_pris_params.npz` in a weights folder.

        Raises:
            InputError: the file is in none of them.
        """
        places = [root / PUBLISHED for root in weights_roots()]
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            raise InputError(f"NIQE: no {PUBLISHED}; expected in {' or '.join(str(p.parent) for p in places)}")
        return cls.from_file(path)

    @classmethod
    def from_file(cls, path: Path | str) -> NiqeModel:
        """A model kept as `.safetensors` (`mean`, `covariance`) or `.npz` (these, or the authors' names).

        Raises:
            InputError: the file is missing, damaged, or holds something else.
        """
        path = Path(path)
        try:
            if path.suffix == ".safetensors":
                arrays = {name: value.double() for name, value in load_file(path).items()}
            else:
                with np.load(path, allow_pickle=False) as file:
                    arrays = {name: torch.from_numpy(file[name].astype(np.float64)) for name in file.files}
        except Exception as error:  # of an archive, of headers that may say anything
            raise InputError(f"{path}: not a NIQE model that can be read ({error})") from None
        mean = arrays.get("mean", arrays.get("mu_pris_param", torch.empty(0))).flatten()
        covariance = arrays.get("covariance", arrays.get("cov_pris_param", torch.empty(0)))
        if mean.shape != (N_FEATURES,) or covariance.shape != (N_FEATURES, N_FEATURES):
            raise InputError(
                f"{path}: holds { ({name: tuple(a.shape) for name, a in arrays.items()}) }; expected a mean of "
                f"{N_FEATURES} features and their covariance"
            )
        if not (mean.isfinite().all() and covariance.isfinite().all()):
            raise InputError(f"{path}: mean or covariance with values that are not finite")
        return cls(mean, covariance)

    @classmethod
    def fit(cls, images: Iterable[Tensor]) -> NiqeModel:
        """A model of the sharp patches of pristine images, each as `niqe_features` takes them.

        Raises:
            InputError: fewer than 37 sharp patches in all, or an image that `niqe_features` refuses.
        """
        kept = []
        for image in images:
            features, sharpness = _patch_features(image)
            if len(features):
                kept.append(features[sharpness > SHARP * sharpness.max()].double().cpu())
        features = torch.cat(kept) if kept else torch.empty(0, N_FEATURES)
        if len(features) <= N_FEATURES:
            raise InputError(f"NIQE: {len(features)} sharp patches; expected more than {N_FEATURES}")
        return cls(features.mean(dim=0), features.T.cov())

    def save(self, path: Path | str) -> Path:
        """Write the model as safetensors, whole or not at all."""
        return write_atomic(path, safetensors_bytes({"mean": self.mean, "covariance": self.covariance}))

    def score(self, image: Tensor) -> float:
        """NIQE of an image: distance of its patches' Gaussian to the model's. Lower = better; 0 and more.

        An image that is flat all over has no score: nan.

        Args:
            image: as `niqe_features` takes it.

        Raises:
            InputError: as `niqe_features`.
        """
        features = niqe_features(image).double().cpu()
        if len(features) == 0:
            return float("nan")
        spread = features.T.cov() if len(features) > 1 else torch.zeros_like(self.covariance)
        difference = features.mean(dim=0) - self.mean
        inverse = torch.linalg.pinv((self.covariance + spread) / 2)
        return (difference @ inverse @ difference).clamp_min(0).sqrt().item()


@torch.no_grad()
def _patch_features(image: Tensor) -> tuple[Tensor, Tensor]:
    """Features (patches, 36) and sharpness (patches,), the mean local standard deviation at the first scale."""
    if image.ndim != 3 or min(image.shape[1:]) < PATCH:
        raise InputError(f"image of shape {tuple(image.shape)}: expected (3 or 1, H, W), at least {PATCH}×{PATCH}")
    height, width = (side // PATCH * PATCH for side in image.shape[1:])
    luma, scales = luminance(image[None, :, :height, :width]), list[Tensor]()
    for patch in (PATCH, PATCH // 2):
        luma = half_size(luma) if scales else luma
        coefficients, std = mscn(luma, border="replicate")
        if not scales:
            sharpness = _patches(std, patch).mean(dim=(1, 2))
        scales.append(_describe(_patches(coefficients, patch)))
    features = torch.cat(scales, dim=1)
    varied = features.isfinite().all(dim=1)
    return features[varied], sharpness[varied]


def _patches(x: Tensor, side: int) -> Tensor:
    """Patches (n, side, side) of a map (1, 1, H, W) that has a whole number of them."""
    return x[0, 0].unfold(0, side, side).unfold(1, side, side).flatten(0, 1)


def _describe(patches: Tensor) -> Tensor:
    """The 18 features of coefficients (n, h, w), nan where a distribution has only one side."""
    alpha, left, right = _two_sided(patches)
    features = [alpha, aggd_scale(alpha) * (left + right) / 2]
    for products in neighbour_products(patches):
        alpha, left, right = _two_sided(products)
        features += [alpha, aggd_mean(alpha, left, right), aggd_scale(alpha) * left, aggd_scale(alpha) * right]
    return torch.stack(features, dim=1)


def _two_sided(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    alpha, left, right = fit_aggd(x.flatten(1))
    one_sided = (left == 0) | (right == 0)
    return alpha.masked_fill(one_sided, torch.nan), left, right
