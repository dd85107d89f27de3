"""The head of `models.frozen_nr`: kernel ridge regression on features of whole images, and intervals around it.

Everything is chosen by cross-validation within the images that are learnt from, contents kept together.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import cast

import numpy as np
import torch
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import GroupKFold

from iqasuite.errors import InputError
from iqasuite.models import create
from iqasuite.models.backbones import Backbone
from iqasuite.models.frozen_nr import FrozenNR
from iqasuite.models.network import LEVELS

COMPONENTS = 64
GAMMA = (0.3, 0.6, 1.0)  # two images are 1 apart, squared, in the mean
LINEAR = (0.1, 0.3, 1.0)  # of the linear kernel, beside the Gaussian one
RIDGE = 10.0 ** np.arange(-3, 2.5, 0.5)
N_FOLDS, LEAST = 5, 20  # LEAST: images of which the error that nine of ten stay below can be told
SMALLEST = 0.01  # votes: smaller errors count as this

Folds = list[tuple[np.ndarray, np.ndarray]]


def fit_frozen(
    base: str,
    backbone: Backbone,
    taps: Sequence[int],
    features: np.ndarray,
    votes: np.ndarray,
    spread: np.ndarray,
    groups: Sequence[str],
    seed: int = 0,
) -> FrozenNR:
    """A network that has learnt from the features of images.

    Args:
        base, backbone, taps: its classifier by name and as it is, and the layers that were described.
        features: means and standard deviations of these layers' channels (n, dim), as `FrozenNR.described` gives them.
        votes: mean opinions from 1 to 5 (n,).
        spread: standard deviations of observers' votes (n,), in votes.
        groups: contents (n,), kept together in the folds of the cross-validation.
        seed: of these folds.

    Raises:
        InputError: too few images or contents to learn from, or features that are not finite.
    """
    features, votes = np.asarray(features, np.float64), np.asarray(votes, np.float64)
    if len(features) < LEAST or len(set(groups)) < N_FOLDS or not np.isfinite(features).all():
        found = f"{len(features)} images of {len(set(groups))} contents"
        raise InputError(f"frozen_nr: {found}; expected {LEAST} or more of {N_FOLDS} or more, with finite features")
    folds = list(GroupKFold(N_FOLDS, shuffle=True, random_state=seed).split(features, groups=groups))
    widths = np.array(backbone.widths(tuple(taps)))
    shift, scale, axes = _axes(features, np.repeat(widths, 2 * widths))
    x, seen = (features - shift) * scale, (features - shift) @ axes
    tried = {
        (gamma, linear): _in_folds(rbf_kernel(seen, gamma=gamma) + linear * x @ x.T, votes, folds)
        for gamma, linear in product(GAMMA, LINEAR)
    }
    gamma, linear = min(tried, key=lambda setting: tried[setting][0])
    _, ridge, predicted = tried[gamma, linear]
    kernel = rbf_kernel(seen, gamma=gamma) + linear * x @ x.T
    off = np.log(np.abs(votes - predicted).clip(SMALLEST))
    observers = np.log(np.asarray(spread, np.float64).clip(SMALLEST))
    ridge_of_off, usual = _in_folds(kernel, off, folds)[1:]
    learnt = ((votes, ridge), (off, ridge_of_off), (observers, _in_folds(kernel, observers, folds)[1]))
    weights = np.stack([np.linalg.solve(kernel + r * np.eye(len(x)), y - y.mean()) for y, r in learnt], axis=1)
    state = {
        "mean": backbone.mean,
        "std": backbone.std,
        "shift": shift,
        "axes": axes,
        "seen": seen,
        "gamma": gamma,
        "weights": weights,
        "linear": linear * scale[:, None] * (x.T @ weights),
        "offset": [y.mean() for y, _ in learnt],
        "reach": _reach(np.exp(off - usual)),
    }
    shape = {"dim": features.shape[1], "components": axes.shape[1], "n_seen": len(seen)}
    network = cast("FrozenNR", create("frozen_nr", base=base, taps=list(taps), **shape))
    network.load_state_dict({name: torch.as_tensor(np.array(v), dtype=torch.float32) for name, v in state.items()})
    return network.eval()


def _axes(features: np.ndarray, widths: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is subtracted from features (n, dim), by what they are multiplied then, and their main axes (dim, k).

    Each is standardised; a layer of many channels counts for more than one of few, but not in proportion. After that
    the mean squared length of an image is 1, and on the axes the mean squared distance of two is 1.

    Args:
        features: of images (n, dim).
        widths: of the layer that each feature comes from (dim,).
    """
    shift = features.mean(0)
    scale = widths**-0.25 / (features.std(0) + 1e-6)
    scale /= np.sqrt((((features - shift) * scale) ** 2).sum(1).mean()) + 1e-12
    _, size, axes = np.linalg.svd((features - shift) * scale, full_matrices=False)
    kept = min(COMPONENTS, len(features) - 1)
    return shift, scale, axes[:kept].T * scale[:, None] / np.sqrt(2 * (size[:kept] ** 2).sum() / len(features))


def _in_folds(kernel: np.ndarray, target: np.ndarray, folds: Folds) -> tuple[float, float, np.ndarray]:
    """Kernel ridge regression in cross-validation: lowest mean squared error, its ridge, and what it predicts (n,)."""
    predicted = np.empty((len(RIDGE), len(target)))
    for train, test in folds:
        values, vectors = np.linalg.eigh(kernel[np.ix_(train, train)])
        mean = target[train].mean()
        along = vectors.T @ (target[train] - mean) / (values + RIDGE[:, None])
        predicted[:, test] = mean + along @ (kernel[np.ix_(test, train)] @ vectors).T
    errors = ((predicted - target) ** 2).mean(1)
    best = int(errors.argmin())
    return float(errors[best]), float(RIDGE[best]), predicted[best]


def _reach(ratios: np.ndarray) -> np.ndarray:
    """Quantiles (levels,) of errors over the usual ones (n,), for a new image: of n + 1, it may be the largest."""
    ranks = np.ceil(np.array(LEVELS) * (len(ratios) + 1)).astype(int)
    return np.sort(ratios)[np.minimum(ranks, len(ratios)) - 1]
