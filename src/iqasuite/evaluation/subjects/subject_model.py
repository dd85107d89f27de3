"""The subject model of ITU-T P.910 and P.913: how good each image is, how biased and inconsistent each observer.

vote = quality(image) + bias(observer) + noise, whose variance is inconsistency(observer)², with contents plus
ambiguity(content)². Maximum likelihood; that votes are whole numbers is not modelled.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import linalg, sparse
from scipy.sparse.csgraph import connected_components

from iqasuite.datasets.frames import LEAST_IMAGES
from iqasuite.errors import InputError
from iqasuite.evaluation.subjects.observers import content_of
from iqasuite.evaluation.uncertainty import Z
from iqasuite.names import natural_order

# The likelihood grows without limit where the noise of one observer vanishes. Nobody's falls below this.
FLOOR = 0.01
TOLERANCE = 1e-9  # largest change of a standard deviation (votes) in the last iteration
ITERATIONS = 1000

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SubjectModel:
    """A fitted subject model; each frame has the columns value, std, low, high, in votes.

    Attributes:
        quality: index image. bias: index observer, mean 0 over those with `LEAST_IMAGES` images or more. inconsistency:
            index observer. ambiguity: index content, 0 for the least ambiguous one; None where no contents were given.
        log_likelihood: at the values. n: votes.
    """

    quality: pd.DataFrame
    bias: pd.DataFrame
    inconsistency: pd.DataFrame
    ambiguity: pd.DataFrame | None
    log_likelihood: float
    n: int


@dataclass(frozen=True)
class _Cells:
    """Votes summed up per image and observer that met: all that the likelihood needs."""

    image: np.ndarray  # sorted
    observer: np.ndarray
    content: np.ndarray
    n: np.ndarray
    counted: np.ndarray  # n, but 0 for an observer's only vote: their bias fits it whatever the variance
    mean: np.ndarray
    within: np.ndarray  # sum of squares of repeated votes around their mean
    single: np.ndarray  # (observers,) who voted once
    origin: np.ndarray  # (observers,) whose biases have mean 0
    images: int
    observers: int
    contents: int  # 0 = no ambiguity

    def per_image(self, values: np.ndarray) -> np.ndarray:
        return np.bincount(self.image, values, self.images)

    def per_observer(self, values: np.ndarray) -> np.ndarray:
        return np.bincount(self.observer, values, self.observers)

    def per_content(self, values: np.ndarray) -> np.ndarray:
        return np.bincount(self.content, values, self.contents)

    def table(self, values: np.ndarray) -> sparse.csr_array:
        """(images, observers)"""
        starts = np.searchsorted(self.image, np.arange(self.images + 1))
        return sparse.csr_array((values, self.observer, starts), shape=(self.images, self.observers))

    def total(self, own: np.ndarray, shared: np.ndarray) -> np.ndarray:
        """Variance of a vote in each cell: the observer's own, and what the content adds."""
        return own[self.observer] + shared[self.content]


def fit_subject_model(votes: pd.DataFrame, contents: pd.Series | None = None) -> SubjectModel:
    """Maximum-likelihood quality, bias and inconsistency, from any design that ties all observers together.

    Values are those of `sureal` (MLE_CO; MLE with contents): the maximum next to the mean votes. Bias has mean 0 over
    the observers, as there, but for those with fewer than `LEAST_IMAGES` images, who would move all qualities. The
    likelihood depends on the sums inconsistency² + ambiguity² only, so a constant can be moved from all inconsistencies
    to all ambiguities; here the least ambiguous content has ambiguity 0, while sureal's division depends on the way it
    went.

    With few votes an image (about ten or fewer) the likelihood may lead to an observer without noise, whom all
    qualities then follow; this is logged as a warning. More observers, or a model of fewer parameters, is the way out.

    The intervals are Wald's from the Fisher information (bias and quality together; of inconsistency on a logarithmic
    scale), with variances estimated by restricted likelihood: the maximum-likelihood ones are too low, by about one in
    as many as rated each image, because qualities were fitted to the same votes. So an inconsistency from few observers
    lies low in its interval, or below. Sureal's are conditional on all other parameters, hence shorter.

    Args:
        votes: votes frame; missing cells and repeated votes are welcome.
        contents: image -> content; None = the model of P.910, without ambiguity.

    Returns:
        The model. Of an observer with one vote the inconsistency is nan (their bias takes up the vote; its interval
        assumes every observer's median inconsistency). Where an inconsistency is at the floor of .01, its std, low and
        high are nan: this observer never differs from what the model expects, or too few others rated the same images.

    Raises:
        InputError: fewer than two observers, nobody with two votes, a vote that is no number, an image without content,
            or groups of observers without a common image (nothing says how their biases compare).

    Reference: ITU-T P.910 (2023), Annex E; ITU-T P.913 (2021), clause 12.6; Z. Li, C. Bampis, L. Krasula, L. Janowski
    & I. Katsavounidis, "A simple model for subject behavior in subjective experiments", Electronic Imaging 2020;
    with ambiguity Z. Li & C. Bampis, "Recover subjective quality scores from noisy measurements", DCC 2017. Restricted
    likelihood: H. D. Patterson & R. Thompson, Biometrika 58, 1971.
    """
    images, observers, names, cells = _summed(votes, contents)
    own, shared = _maximum_likelihood(cells, *_start(cells))
    at_floor = observers[~cells.single & (own <= FLOOR**2 * (1 + 1e-9))]
    if len(at_floor):
        _log.warning("subject model: no inconsistency found in %s; too few others to compare with?", list(at_floor))
    total = cells.total(own, shared)
    quality, bias, _ = _location(cells, total)
    squares = cells.n * (cells.mean - quality[cells.image] - bias[cells.observer]) ** 2 + cells.within
    restricted = _restricted_likelihood(cells, *_start(cells))
    covariance, _, variance = _location_covariance(cells, cells.total(*restricted))
    quality_std, bias_std = np.sqrt(variance), np.sqrt(np.diag(covariance))
    ambiguity = None if contents is None else _ambiguity_frame(cells, shared, restricted, names)
    return SubjectModel(
        _wald(quality, quality_std, images),
        _wald(bias, bias_std, observers),
        _inconsistency_frame(cells, own, shared, restricted, observers),
        ambiguity,
        float(-0.5 * (cells.counted * np.log(2 * np.pi * total) + squares / total).sum()),
        len(votes),
    )


def _summed(votes: pd.DataFrame, contents: pd.Series | None) -> tuple[pd.Index, pd.Index, pd.Index, _Cells]:
    """Names of images, observers and contents, and the cells, checked to be a design that can be solved."""
    vote = votes["vote"].to_numpy(float)
    if not np.isfinite(vote).all():
        raise InputError(f"votes: column vote holds {vote[~np.isfinite(vote)][0]}, expected numbers only")
    observers = pd.Index(natural_order(votes["observer"]), name="observer")
    image, images = pd.factorize(votes["image"], sort=True)
    observer = observers.get_indexer(votes["observer"])
    if len(observers) < 2:
        raise InputError(f"votes: {len(observers)} observers, expected at least two to tell quality from bias")
    met, cell = np.unique(image * len(observers) + observer, return_inverse=True)
    n = np.bincount(cell).astype(float)
    mean = np.bincount(cell, vote) / n
    within = np.bincount(cell, (vote - mean[cell]) ** 2)
    cell_image, cell_observer = np.divmod(met, len(observers))
    _require_connected(cell_image, cell_observer, images, observers)
    names, content = pd.Index([], name="content"), np.zeros(len(images), int)
    if contents is not None:
        content, names = pd.factorize(pd.Series(content_of(images, contents)), sort=True)
        names = pd.Index(names, name="content")
    single = np.bincount(observer, minlength=len(observers)) < 2
    if single.all():
        raise InputError("votes: no observer with two votes, expected some to tell how inconsistent they are")
    counted = np.where(single[cell_observer], 0, n)
    origin = np.bincount(cell_observer, minlength=len(observers)) >= LEAST_IMAGES
    origin |= not origin.any()
    sizes = len(images), len(observers), len(names)
    cells = _Cells(cell_image, cell_observer, content[cell_image], n, counted, mean, within, single, origin, *sizes)
    return pd.Index(images, name="image"), observers, names, cells


def _require_connected(image: np.ndarray, observer: np.ndarray, images: pd.Index, observers: pd.Index) -> None:
    nodes = len(images) + len(observers)
    edges = sparse.coo_array((np.ones(len(image)), (image, len(images) + observer)), shape=(nodes, nodes))
    groups, group = connected_components(edges, directed=False)
    if groups > 1:
        apart = group[len(images) :]
        other = observers[np.flatnonzero(apart != apart[0])[0]]
        raise InputError(
            f"votes: {groups} groups of observers without a common image ({observers[0]!r} and {other!r}, for one), "
            "expected a design that ties all together: nothing says how their biases compare"
        )


def _start(cells: _Cells) -> tuple[np.ndarray, np.ndarray]:
    """Variances around the mean votes: half by observer and half by content; all by observer without contents."""
    mos = cells.per_image(cells.n * cells.mean) / cells.per_image(cells.n)
    squares = cells.counted * (cells.mean - mos[cells.image]) ** 2 + cells.within
    own = cells.per_observer(squares) / np.maximum(cells.per_observer(cells.counted), 1)
    if not cells.contents:
        return _within_bounds(cells, own, np.zeros(1))
    shared = cells.per_content(squares) / np.maximum(cells.per_content(cells.counted), 1)
    return _within_bounds(cells, own / 2, shared / 2)


def _within_bounds(cells: _Cells, own: np.ndarray, shared: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same sums with 0 as the least ambiguity; nobody below the floor, and single votes as the median."""
    if cells.contents:
        own, shared = own + shared.min(), shared - shared.min()
    own = np.maximum(own, FLOOR**2)
    own[cells.single] = np.median(own[~cells.single])
    return own, shared


def _location(cells: _Cells, total: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[Any, ...]]:
    """Weighted least squares with the qualities eliminated: quality (images,), bias (observers,) of mean 0, and what
    their covariance needs (weight per image, shares of the observers in it, system of the biases)."""
    weight = cells.n / total
    per_image = cells.per_image(weight)
    shares = cells.table(weight / per_image[cells.image])
    weighted_mean = cells.per_image(weight * cells.mean) / per_image
    system = np.diag(cells.per_observer(weight)) - (cells.table(weight).T @ shares).toarray()
    # Only differences of biases are determined; the added constant makes the mean of those of the origin 0.
    system += np.trace(system) / cells.observers**2 * np.outer(cells.origin, cells.origin)
    right = cells.per_observer(weight * (cells.mean - weighted_mean[cells.image]))
    bias = linalg.solve(system, right, assume_a="pos")
    return weighted_mean - shares @ bias, bias, (per_image, shares, system)


def _location_covariance(cells: _Cells, total: np.ndarray) -> tuple[Any, ...]:
    """Covariance (observers, observers) of the biases, shares, shares @ covariance, and variance of the qualities."""
    _, _, (per_image, shares, system) = _location(cells, total)
    covariance = linalg.inv(system)
    covariance -= covariance[np.ix_(cells.origin, cells.origin)].mean()  # the added constant's own part
    carried = shares @ covariance
    return covariance, carried, 1 / per_image + np.asarray((shares.multiply(carried)).sum(1)).ravel()


def _scored(
    cells: _Cells, own: np.ndarray, shared: np.ndarray, free: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fisher scoring's next variances, unbounded, and the cells' log-likelihood at the present ones.

    `free` (cells,): votes less what quality and bias take; the votes themselves for maximum likelihood.
    """
    total = cells.total(own, shared)
    quality, bias, _ = _location(cells, total)
    squares = cells.counted * (cells.mean - quality[cells.image] - bias[cells.observer]) ** 2 + cells.within
    likelihood = -0.5 * (cells.counted * np.log(total) + squares / total)
    by_total = 0.5 * (squares / total - free) / total
    information = 0.5 * free / total**2
    gradient, diagonal = cells.per_observer(by_total), cells.per_observer(information)
    if not cells.contents:
        return own + gradient / np.where(cells.single, 1, diagonal), shared, likelihood
    gradient = np.concatenate([gradient, cells.per_content(by_total)])
    matrix = _variance_information(cells, information)
    shift = np.concatenate([np.where(cells.single, 0, 1), np.full(cells.contents, -1)])
    matrix += np.trace(matrix) / len(shift) ** 2 * np.outer(shift, shift)  # only sums of the two are determined
    change = linalg.solve(matrix, gradient, assume_a="pos")
    return own + change[: cells.observers], shared + change[cells.observers :], likelihood


def _variance_information(cells: _Cells, information: np.ndarray) -> np.ndarray:
    """Fisher information (observers + contents, same) of the variances; 1 where nothing is known."""
    between = np.bincount(
        cells.observer * cells.contents + cells.content, information, cells.observers * cells.contents
    ).reshape(cells.observers, cells.contents)
    diagonal = np.concatenate([between.sum(1), between.sum(0)])
    matrix = np.diag(np.where(diagonal > 0, diagonal, 1))
    matrix[: cells.observers, cells.observers :] = between
    matrix[cells.observers :, : cells.observers] = between.T
    return matrix


def _maximum_likelihood(cells: _Cells, own: np.ndarray, shared: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    reached, step, origin = -np.inf, 1.0, (own, shared)
    for _ in range(ITERATIONS):
        next_own, next_shared, likelihood = _scored(cells, own, shared, cells.counted)
        if likelihood.sum() < reached - 1e-9 * abs(reached) and step > 1e-3:
            step /= 2
            own, shared = _within_bounds(cells, *(o + (n - o) / 2 for o, n in zip(origin, (own, shared), strict=True)))
            continue
        reached, step, origin = likelihood.sum(), 1.0, (own, shared)
        own, shared = _within_bounds(cells, np.maximum(next_own, 0.1 * own), next_shared)
        if _change(origin, (own, shared)) < TOLERANCE:
            return own, shared
    _log.warning("subject model: not converged after %d iterations", ITERATIONS)
    return own, shared


def _change(before: tuple[Any, ...], after: tuple[Any, ...]) -> float:
    """Largest change of a standard deviation, to first order where it is not near 0."""
    changes = [np.abs(a - b) / np.sqrt(np.maximum(a, FLOOR**2)) for b, a in zip(before, after, strict=True)]
    return float(max(change.max() for change in changes) / 2)


def _free(cells: _Cells, total: np.ndarray) -> np.ndarray:
    """Votes in each cell less those that fitting quality and bias takes."""
    covariance, carried, of_quality = _location_covariance(cells, total)
    fitted = of_quality[cells.image] + np.diag(covariance)[cells.observer] - 2 * carried[cells.image, cells.observer]
    # Where a vote stands alone on its image all of it is taken; a rest keeps the information positive.
    return cells.counted * np.maximum(1 - fitted / total, 1e-9)


def _restricted_likelihood(cells: _Cells, own: np.ndarray, shared: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variances (own, shared) that allow for the votes which quality and bias were fitted to."""
    for _ in range(ITERATIONS):
        before = own, shared
        next_own, next_shared, _ = _scored(cells, own, shared, _free(cells, cells.total(own, shared)))
        own, shared = _within_bounds(cells, np.maximum(next_own, 0.1 * own), next_shared)
        if _change(before, (own, shared)) < 1e-6:
            break
    return own, shared


def _variance_std(cells: _Cells, own: np.ndarray, shared: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standard errors of the variances; the least ambiguous content is the origin, with 0."""
    total = cells.total(own, shared)
    information = 0.5 * _free(cells, total) / total**2
    if not cells.contents:
        return 1 / np.sqrt(np.maximum(cells.per_observer(information), 1e-300)), shared
    matrix = _variance_information(cells, information)
    kept = np.arange(len(matrix)) != cells.observers + np.argmin(shared)
    variance = np.zeros(len(matrix))
    variance[kept] = np.diag(linalg.inv(matrix[np.ix_(kept, kept)]))
    return np.sqrt(variance[: cells.observers]), np.sqrt(variance[cells.observers :])


def _frame(value: np.ndarray, std: np.ndarray, low: np.ndarray, high: np.ndarray, index: pd.Index) -> pd.DataFrame:
    return pd.DataFrame({"value": value, "std": std, "low": low, "high": high}, index=index)


def _wald(value: np.ndarray, std: np.ndarray, index: pd.Index) -> pd.DataFrame:
    return _frame(value, std, value - Z * std, value + Z * std, index)


def _inconsistency_frame(
    cells: _Cells, own: np.ndarray, shared: np.ndarray, restricted: tuple[Any, ...], observers: pd.Index
) -> pd.DataFrame:
    variance, std = restricted[0], _variance_std(cells, *restricted)[0]
    unknown = cells.single | (own <= FLOOR**2 * (1 + 1e-9))
    centre = np.where(unknown, np.nan, np.sqrt(variance))
    width = Z * std / (2 * centre**2)  # on the logarithm of the standard deviation
    value = np.where(cells.single, np.nan, np.sqrt(own))
    return _frame(value, std / (2 * centre), centre * np.exp(-width), centre * np.exp(width), observers)


def _ambiguity_frame(cells: _Cells, shared: np.ndarray, restricted: tuple[Any, ...], names: pd.Index) -> pd.DataFrame:
    variance, std = restricted[1], _variance_std(cells, *restricted)[1]
    low, high = (np.sqrt(np.maximum(variance + sign * Z * std, 0)) for sign in (-1, 1))
    return _frame(np.sqrt(shared), (high - low) / (2 * Z), low, high, names)
