"""Classical full-reference metrics under one roof: what a learned full-reference network must be compared with.

All are piq's and need no download. Pairs have one order everywhere, reference first. Every metric keeps its published
direction; `METRICS[name].sign` turns it so that higher is better, and `quality` does so at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from iqasuite.errors import InputError

_AT_ONCE = 16  # pairs, so that memory does not grow with their number


@dataclass(frozen=True)
class Metric:
    """A full-reference metric.

    Attributes:
        name: of piq's function: distorted and reference (B, 3, H, W) in [0, 1] -> (B,).
        sign: 1 where higher is better, −1 where lower is.
        smallest: smallest side in pixels that it can be computed at.
        identical: what a pair of the same image gets.
        title: as the literature writes it.
        reference: its paper.
    """

    name: str
    sign: int
    smallest: int
    identical: float
    title: str
    reference: str

    @property
    def function(self) -> Callable[..., Tensor]:
        """Piq's function."""
        import piq  # takes seconds (with torchvision), which those who only name metrics need not wait for

        return getattr(piq, self.name)


METRICS: dict[str, Metric] = {
    "psnr": Metric("psnr", 1, 1, 80.0, "PSNR", "10·log10(1 / (MSE + 10⁻⁸)), which ends at 80 dB"),
    "ssim": Metric("ssim", 1, 11, 1.0, "SSIM", "Z. Wang et al., IEEE Trans. Image Processing 13, 2004"),
    "ms_ssim": Metric("multi_scale_ssim", 1, 161, 1.0, "MS-SSIM", "Z. Wang et al., Asilomar Conference 37, 2003"),
    "iw_ssim": Metric(
        "information_weighted_ssim", 1, 161, 1.0, "IW-SSIM", "Z. Wang, Q. Li, IEEE Trans. Image Processing 20, 2011"
    ),
    "vif": Metric("vif_p", 1, 41, 1.0, "VIF", "H. Sheikh, A. Bovik, IEEE Trans. Image Processing 15, 2006"),
    "fsim": Metric("fsim", 1, 8, 1.0, "FSIM", "L. Zhang et al., IEEE Trans. Image Processing 20, 2011"),
    "srsim": Metric("srsim", 1, 40, 1.0, "SR-SIM", "L. Zhang, H. Li, ICIP 2012"),
    "gmsd": Metric("gmsd", -1, 8, 0.0, "GMSD", "W. Xue et al., IEEE Trans. Image Processing 23, 2014"),
    "ms_gmsd": Metric("multi_scale_gmsd", -1, 17, 0.0, "MS-GMSD", "B. Zhang et al., ICASSP 2017"),
    "mdsi": Metric("mdsi", -1, 8, 0.0, "MDSI", "H. Nafchi et al., IEEE Access 4, 2016"),
    "haarpsi": Metric(
        "haarpsi", 1, 16, 1.0, "HaarPSI", "R. Reisenhofer et al., Signal Processing: Image Communication 61, 2018"
    ),
    "vsi": Metric("vsi", 1, 8, 1.0, "VSI", "L. Zhang et al., IEEE Trans. Image Processing 23, 2014"),
    "dss": Metric("dss", 1, 32, 1.0, "DSS", "A. Balanov et al., ICIP 2015"),
}


def score(name: str, reference: Tensor, distorted: Tensor) -> Tensor:
    """A metric of each pair, in the metric's own direction, float32 (B,).

    No pair gives nan or an infinite value. A pair of the same image gets `METRICS[name].identical`, also where it is
    black and the formula divides by 0 (HaarPSI). Between two different constant images most metrics see the difference
    in brightness only through their constants, and two say nothing of use: VSI is 1 whatever the difference, VIF a
    ratio of rounding errors. IW-SSIM weighs by information, and where an image has none (or too little to invert a
    covariance) it is MS-SSIM.

    Args:
        name: one of METRICS.
        reference, distorted: float in [0, 1] or uint8, both (B, 3, H, W).

    Raises:
        InputError: unknown name, shapes that differ or are no RGB batches, images below the metric's smallest side,
            values outside [0, 1].
    """
    if name not in METRICS:
        raise InputError(f"metric {name!r}: expected one of {', '.join(METRICS)}")
    metric = METRICS[name]
    reference, distorted = _checked(name, reference, distorted)
    parts = zip(reference.split(_AT_ONCE), distorted.split(_AT_ONCE), strict=True)
    values = torch.cat([_of_pairs(name, r, d).float() for r, d in parts])
    same = (reference == distorted).flatten(1).all(dim=1)
    return torch.where(same, torch.full_like(values, metric.identical), values)


def quality(name: str, reference: Tensor, distorted: Tensor) -> Tensor:
    """As `score`, turned so that higher is better."""
    values = score(name, reference, distorted)
    return METRICS[name].sign * values


def qualities(names: Sequence[str] = tuple(METRICS)) -> Mapping[str, Callable[[Tensor, Tensor], Tensor]]:
    """Name -> function of reference and distorted, higher = better, for `datasets.pseudo_labelled` and tables.

    Raises:
        InputError: unknown name.
    """
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise InputError(f"metric {unknown[0]!r}: expected some of {', '.join(METRICS)}")
    return {name: partial(quality, name) for name in names}


def _checked(name: str, reference: Tensor, distorted: Tensor) -> tuple[Tensor, Tensor]:
    if reference.shape != distorted.shape or reference.ndim != 4 or reference.shape[1] != 3 or not len(reference):
        shapes = f"reference {tuple(reference.shape)}, distorted {tuple(distorted.shape)}"
        raise InputError(f"{name}: {shapes}; expected the same (B, 3, H, W)")
    smallest = METRICS[name].smallest
    if min(reference.shape[2:]) < smallest:
        height, width = reference.shape[2:]
        raise InputError(f"{name}: images of {width}×{height} pixels; expected {smallest} or more on each side")
    both = [x.float() / 255 if x.dtype == torch.uint8 else x.float() for x in (reference, distorted)]
    for what, x in zip(("reference", "distorted"), both, strict=True):
        if not (x.min() >= 0 and x.max() <= 1):  # nan fails as well
            raise InputError(f"{name}: {what} has values {x.min():g}…{x.max():g}; expected [0, 1] or uint8")
    return both[0], both[1]


def _of_pairs(name: str, reference: Tensor, distorted: Tensor) -> Tensor:
    if name == "srsim" and len(reference) > 1:  # piq scales its saliency over the batch, which mixes the pairs
        return _one_by_one(name, reference, distorted)
    try:
        return METRICS[name].function(distorted, reference, data_range=1.0, reduction="none").reshape(-1)
    except torch.linalg.LinAlgError:  # IW-SSIM: a singular covariance; the batch's other pairs keep their own values
        if len(reference) > 1:
            return _one_by_one(name, reference, distorted)
        return METRICS["ms_ssim"].function(distorted, reference, data_range=1.0, reduction="none").reshape(-1)


def _one_by_one(name: str, reference: Tensor, distorted: Tensor) -> Tensor:
    pairs = zip(reference.split(1), distorted.split(1), strict=True)
    return torch.cat([_of_pairs(name, r, d) for r, d in pairs])
