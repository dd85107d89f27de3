"""Regressors on one vector an image: support vectors and ridge, their settings chosen without the test part."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from iqasuite.errors import InputError

C = (0.3, 1.0, 3.0, 10.0, 30.0)
GAMMA = (0.1, 0.3, 1.0)  # over the number of features: 1 is scikit-learn's own guess
ALPHA = tuple(10.0 ** np.arange(-2, 6.5, 0.5))


class GaussianSVR(RegressorMixin, BaseEstimator):
    """Support vector regression whose Gaussian kernel comes from one matrix product.

    The same regressor as `sklearn.svm.SVR(C=C, gamma=gamma)`, which computes the kernel number by number: with some
    thousand features that takes nearly all of its time.
    """

    def __init__(self, C: float = 1.0, gamma: float = 1.0):  # noqa: N803 (the field's name)
        self.C, self.gamma = C, gamma

    def fit(self, x: np.ndarray, y: np.ndarray) -> GaussianSVR:
        """Learn scores y (n,) of features x (n, k)."""
        self.seen_ = x
        self.svr_ = SVR(kernel="precomputed", C=self.C).fit(rbf_kernel(x, gamma=self.gamma), y)
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Scores (m,) of features x (m, k)."""
        return self.svr_.predict(rbf_kernel(x, self.seen_, gamma=self.gamma))


def fit_pooled(
    kind: str, x_train: np.ndarray, y_train: np.ndarray, x_val: np.ndarray, y_val: np.ndarray
) -> RegressorMixin:
    """Fit a regressor to the training part, with the setting whose mean squared error on the validation part is lowest.

    Features and targets are standardised by the training part. It is not fitted anew with the validation part.

    Args:
        kind: "svr" (support vectors with a Gaussian kernel; C and gamma are chosen) or "ridge" (alpha is chosen).
        x_train, y_train: features (n, k) and scores (n,).
        x_val, y_val: features (m, k) and scores (m,).

    Returns:
        scikit-learn regressor: `predict` takes features (n, k) and gives scores (n,); `get_params` tells the setting.

    Raises:
        InputError: unknown kind, or shapes that do not fit.
    """
    if kind not in ("svr", "ridge"):
        raise InputError(f"fit_pooled: kind is {kind!r}, expected one of svr, ridge")
    x_train, y_train = _checked("train", x_train, y_train)
    x_val, y_val = _checked("val", x_val, y_val)
    k = x_train.shape[1]
    if x_val.shape[1] != k:
        raise InputError(f"fit_pooled: {x_val.shape[1]} features in val, expected {k} as in train")
    if kind == "svr":
        regressor, grid = GaussianSVR(), {"gaussiansvr__C": C, "gaussiansvr__gamma": [gamma / k for gamma in GAMMA]}
    else:
        regressor, grid = Ridge(), {"ridge__alpha": ALPHA}
    standardised = make_pipeline(StandardScaler(), regressor)
    model = TransformedTargetRegressor(standardised, transformer=StandardScaler())
    grid = {f"regressor__{name}": values for name, values in grid.items()}
    cv = PredefinedSplit(np.repeat([-1, 0], [len(x_train), len(x_val)]))
    search = GridSearchCV(model, grid, cv=cv, scoring="neg_mean_squared_error", refit=False)
    search.fit(np.concatenate([x_train, x_val]), np.concatenate([y_train, y_val]))
    return model.set_params(**search.best_params_).fit(x_train, y_train)


def _checked(part: str, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.ndim != 2 or y.shape != x.shape[:1] or not len(x):
        raise InputError(f"fit_pooled: {part} features {x.shape} and scores {y.shape}, expected (n, k) and (n,), n ≥ 1")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError(f"fit_pooled: {part} has values that are not finite")
    return x, y
