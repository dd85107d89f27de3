"""The ceiling: how well anybody who knew an observer perfectly could predict that observer's next vote on an image.

Observers do not repeat themselves, so no prediction reaches 1; nor is their agreement with themselves the limit,
because the best prediction is the most probable vote, not a random one. Here it comes from observers' own repeated
votes. Where nobody repeats, `baselines.CEILING` (the mean of the others, with personal thresholds) is what is known: a
lower estimate, since an observer's own taste is not in it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from iqasuite.datasets.dataset import first_votes
from iqasuite.evaluation import resampled
from iqasuite.evaluation.subjects.observers import content_of
from iqasuite.evaluation.subjects.repetition import repeated_votes
from iqasuite.evaluation.uncertainty import content_weights, interval
from iqasuite.inference.predictions import VOTES
from iqasuite.names import natural_order

AT_LEAST = 20  # repeated images: fewer do not determine the fit's five parameters
# Latent values at which distributions are summed, close enough for a noise of .03 of their spread.
_GRID = np.linspace(-5, 5, 201)
_GRID_WEIGHTS = np.exp(-0.5 * _GRID**2) / np.exp(-0.5 * _GRID**2).sum()
_LARGEST_SPREAD = 30.0
_ITERATIONS = 200


def retest_ceiling(
    votes: pd.DataFrame, contents: pd.Series | None = None, n_boot: int = 200, seed: int = 0
) -> pd.DataFrame:
    """Each observer's ceiling from the images they rated twice: an estimate with interval, and a model-free bracket.

    An image has a distribution p of this observer's votes, from which both votes are drawn independently. The estimate
    is that of an ordinal probit: p(vote ≤ k | θ) = Φ(t_k − θ) with θ normal over the images, fitted to the 5×5 table
    of both votes (either order) and to the votes on images rated once. It is the accuracy of the most probable vote,
    the mae of the median vote, and the qwk of the votes that maximise it (a little more spread than the expected vote),
    all for one who knows every image's θ but not the session: drift between sessions counts as noise, and can be much
    of it (`session_ceiling` leaves it out).

    The bracket assumes nothing of θ. Accuracy: with A = E Σp² the share of equal votes, A ≤ E max p ≤ √A. Mae: with D
    the mean absolute difference of both votes, D/2 ≤ mae ≤ D. Qwk: with K the kappa of both votes, K ≤ qwk ≤ √K.
    Whoever remembers the first vote breaks the assumption, and raises what is found.

    Args:
        votes: votes frame. Pairs come from sessions that repeat another, as for `retest`; of images outside them the
            first vote counts as a single one.
        contents: image -> content for intervals by content; None = images are resampled one by one.
        n_boot: resamples, each fitted anew.
        seed: of their draw.

    Returns:
        Long frame observer, n (images rated twice), metric (accuracy, qwk, mae), value, low, high (95 %), bracket_low,
        bracket_high (of the sample); observers with fewer than 20 repeated images are left out.

    Reference: for the model, U. Olsson, "Maximum likelihood estimation of the polychoric correlation coefficient",
    Psychometrika 44, 1979; for the choice
    that maximises kappa, W. Dinkelbach, "On nonlinear fractional programming", Management Science 13, 1967.
    """
    rows = []
    pairs = repeated_votes(votes).drop_duplicates(["observer", "image"])
    for observer in natural_order(votes["observer"]):
        pair = pairs[pairs["observer"] == observer].set_index("image")
        if len(pair) < AT_LEAST:
            continue
        first = first_votes(votes[votes["observer"] == observer]).set_index("image")["vote"].astype(int)
        first.update(pair["vote_early"].astype(int))
        second = pair["vote_late"].astype(int)
        weights = _weights(first.index, contents, n_boot, seed)
        twice = first.index.isin(second.index)
        weights, n_contents = weights[weights @ twice > 0], _n_contents(pair.index, contents)
        x, y = first[twice].to_numpy(), second[first.index[twice]].to_numpy()
        tables = (weights[:, twice] @ np.eye(25)[5 * x + y - 6]).reshape(-1, 5, 5)
        once = weights[:, ~twice] @ np.eye(5)[first[~twice].to_numpy() - 1]
        thresholds, _, spread = fit_repeated(tables, once)
        brackets = _brackets(x, y)
        for metric, values in _ceilings(tables, thresholds, spread).items():
            low, high = interval(values[1:], n_contents)
            rows.append((observer, len(second), metric, values[0], low, high, *brackets[metric]))
    columns = ["observer", "n", "metric", "value", "low", "high", "bracket_low", "bracket_high"]
    return pd.DataFrame(rows, columns=columns)


def session_ceiling(
    votes: pd.DataFrame, contents: pd.Series | None = None, n_boot: int = 200, seed: int = 0
) -> pd.DataFrame:
    """Each observer's ceiling within a session, for one who also knows how lenient or harsh the observer is that day.

    As `retest_ceiling`, but early and late votes have thresholds of their own, so drift between the sessions is no
    noise. It is the limit where a model learns from the very session that it is tested on; `retest_ceiling` is that for
    a session to come. There is no bracket without a model.

    Args:
        votes, contents, n_boot, seed: as for `retest_ceiling`.

    Returns:
        Long frame observer, session, n (images rated twice), metric (accuracy, qwk, mae), value, low, high (95 %), for
        both sessions of each pair.
    """
    rows = []
    for (observer, *sessions), pair in repeated_votes(votes).groupby(["observer", "early", "late"], sort=False):
        if len(pair) < AT_LEAST:
            continue
        images = pd.Index(pair["image"])
        weights, n_contents = _weights(images, contents, n_boot, seed), _n_contents(images, contents)
        cells = (5 * pair["vote_early"] + pair["vote_late"] - 6).to_numpy(int)
        tables = (weights @ np.eye(25)[cells]).reshape(-1, 5, 5)
        *thresholds, spread = fit_repeated(tables, same=False)
        for session, own in zip(sessions, thresholds, strict=True):
            for metric, values in _ceilings(tables, own, spread).items():
                rows.append((observer, session, len(pair), metric, values[0], *interval(values[1:], n_contents)))
    return pd.DataFrame(rows, columns=["observer", "session", "n", "metric", "value", "low", "high"])


def _brackets(x: np.ndarray, y: np.ndarray) -> dict[str, tuple[float, float]]:
    whole = np.ones((1, len(x)))
    agreement, difference = float(np.mean(x == y)), float(np.mean(np.abs(x - y)))
    kappa = float(resampled.qwk(x, y, whole)[0])
    return {
        "accuracy": (agreement, float(np.sqrt(agreement))),
        "qwk": (kappa, float(np.sqrt(max(kappa, 0)))),
        "mae": (difference / 2, difference),
    }


def _weights(images: pd.Index, contents: pd.Series | None, n_boot: int, seed: int) -> np.ndarray:
    """Weights (1 + n_boot, images): the sample itself, then its resamples."""
    groups = content_of(images, contents)
    return np.vstack([np.ones(len(images)), content_weights(groups, n_boot, seed)])


def _n_contents(images: pd.Index, contents: pd.Series | None) -> int:
    return len(np.unique(content_of(images, contents).astype(str)))


def _ceilings(tables: np.ndarray, thresholds: np.ndarray, spread: np.ndarray) -> dict[str, np.ndarray]:
    """Ceiling (b,) of each metric from a fit to tables (b, 5, 5)."""
    found = _best(_distributions(thresholds, spread))
    # All repeated votes are equal: no noise to estimate, and the bracket leaves one value only.
    certain = np.trace(tables, axis1=1, axis2=2) == tables.sum((1, 2))
    found["accuracy"][certain], found["mae"][certain] = 1, 0
    varied = (tables.sum(2) > 0).sum(1) > 1
    found["qwk"][certain] = np.where(varied[certain], 1, np.nan)
    return found


def fit_repeated(
    tables: np.ndarray, once: np.ndarray | None = None, same: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ordinal probit with a normal latent value of each image, for many tables at once.

    Args:
        tables: how often vote a was followed by vote b, (b, 5, 5).
        once: votes on images rated once, (b, 5), taken to be early ones.
        same: the thresholds of both times are one parameter.

    Returns:
        Early and late thresholds (b, 4), increasing, in units of the noise, and the spread (b,) of the latent values in
        the same unit.
    """
    once = np.zeros((len(tables), 5)) if once is None else once
    # A hundredth of a pair for each vote keeps the thresholds of unused votes finite.
    counts = tables + 0.01 * np.eye(5)
    early, late = counts.sum(2) + once, counts.sum(1)
    ties = np.eye(9)
    if same:
        ties = np.vstack([np.hstack([np.eye(4), np.eye(4), np.zeros((4, 1))]), np.eye(9)[8]])
        early = early + late
    parts = [_start(early)] if same else [_start(early), _start(late)]
    free = np.column_stack([*parts, np.zeros(len(counts))])
    lowest, highest = np.tile([-60.0, -7, -7, -7], 2), np.tile([60.0, 5, 5, 5], 2)
    lowest, highest = np.append(lowest, -5), np.append(highest, np.log(_LARGEST_SPREAD))
    lowest, highest = lowest[-free.shape[1] :], highest[-free.shape[1] :]
    damping = np.full(len(counts), 1e-3)
    likelihood, gradient, information = _derivatives(free @ ties, counts, once, ties)
    for _ in range(_ITERATIONS):
        diagonal = np.einsum("bii->bi", information)
        damped = information + (damping[:, None] * diagonal + 1e-9)[:, :, None] * np.eye(free.shape[1])
        step = np.clip(np.linalg.solve(damped, gradient[:, :, None])[:, :, 0], -1, 1)
        proposed = np.clip(free + step, lowest, highest)
        new = _derivatives(proposed @ ties, counts, once, ties)
        better = new[0] >= likelihood
        gain = np.where(better, new[0] - likelihood, np.inf)
        free = np.where(better[:, None], proposed, free)
        likelihood = np.where(better, new[0], likelihood)
        gradient = np.where(better[:, None], new[1], gradient)
        information = np.where(better[:, None, None], new[2], information)
        damping = np.clip(np.where(better, damping / 5, damping * 8), 1e-7, 1e7)
        if ((gain < 1e-7) | (np.abs(step).max(1) < 1e-7)).all():
            break
    full = free @ ties
    return _thresholds(full[:, :4]), _thresholds(full[:, 4:8]), np.exp(full[:, 8])


def _start(votes: np.ndarray) -> np.ndarray:
    """First threshold and log gaps (b, 4) for a spread of 1, from votes (b, 5)."""
    below = np.cumsum(votes, axis=1)
    position = np.sqrt(2) * ndtri(np.clip(below[:, :4] / below[:, 4:], 1e-6, 1 - 1e-6))
    return np.column_stack([position[:, 0], np.log(np.maximum(np.diff(position), 1e-2))])


def _thresholds(parameters: np.ndarray) -> np.ndarray:
    """(b, 4) from first threshold and log gaps (b, 4)."""
    return np.cumsum(np.column_stack([parameters[:, 0], np.exp(parameters[:, 1:])]), axis=1)


def _distributions(thresholds: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Probability (b, latent values, 5) of each vote."""
    below = ndtr(thresholds[:, None, :] - spread[:, None, None] * _GRID[:, None])
    edges = np.concatenate([np.zeros((*below.shape[:2], 1)), below, np.ones((*below.shape[:2], 1))], axis=2)
    return np.maximum(np.diff(edges, axis=2), 1e-12)


def _moves(parameters: np.ndarray, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (b, latent values, 5) and their derivatives (…, 5) by first threshold, log gaps and log spread."""
    thresholds = _thresholds(parameters)
    edge = thresholds[:, None, :] - spread[:, None, None] * _GRID[:, None]
    density = np.exp(-0.5 * edge**2) / np.sqrt(2 * np.pi)
    by_edge = np.zeros((*density.shape[:2], 5, 5))
    for k in range(4):  # a threshold moves probability from the vote above to the one below; so does the latent value
        by_edge[:, :, k, k], by_edge[:, :, k + 1, k] = density[:, :, k], -density[:, :, k]
    by_edge[..., 4] = -(_GRID[:, None] * spread[:, None, None]) * by_edge[..., :4].sum(3)
    chain = np.zeros((len(parameters), 5, 5))
    chain[:, :4, 0], chain[:, 4, 4] = 1, 1
    for k in range(3):
        chain[:, k + 1 : 4, k + 1] = np.exp(parameters[:, [k + 1]])
    return _distributions(thresholds, spread), by_edge @ chain[:, None]


def _derivatives(
    full: np.ndarray, counts: np.ndarray, once: np.ndarray, ties: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-likelihood (b,), its gradient (b, f) and Fisher's information (b, f, f) by f free parameters.

    Args:
        full: first threshold and log gaps of early and late votes, and log spread, (b, 9).
        counts: tables of both votes, (b, 5, 5).
        once: votes on images rated once, (b, 5).
        ties: (f, 9), full = free @ ties.
    """
    spread = np.exp(full[:, 8])
    early, by_early = _moves(full[:, :4], spread)
    late, by_late = (early, by_early) if len(ties) == 5 else _moves(full[:, 4:8], spread)
    pair = np.einsum("bga,bgc->bac", _GRID_WEIGHTS[:, None] * early, late)
    of_early = np.einsum("bgaj,bgc->bacj", by_early, _GRID_WEIGHTS[:, None] * late, optimize=True)
    of_late = np.einsum("bga,bgcj->bacj", _GRID_WEIGHTS[:, None] * early, by_late, optimize=True)
    by_pair = np.concatenate([of_early[..., :4], of_late[..., :4], of_early[..., 4:] + of_late[..., 4:]], axis=3)
    single = np.einsum("g,bgc->bc", _GRID_WEIGHTS, early)
    of_single = np.einsum("g,bgcj->bcj", _GRID_WEIGHTS, by_early)
    by_single = np.concatenate([of_single[..., :4], np.zeros((*single.shape, 4)), of_single[..., 4:]], axis=2)
    by_pair, by_single = by_pair @ ties.T, by_single @ ties.T
    likelihood = (counts * np.log(pair)).sum((1, 2)) + (once * np.log(single)).sum(1)
    gradient = np.einsum("bac,bacj->bj", counts / pair, by_pair) + np.einsum("bc,bcj->bj", once / single, by_single)
    information = counts.sum((1, 2))[:, None, None] * np.einsum("bacj,back->bjk", by_pair / pair[..., None], by_pair)
    information += once.sum(1)[:, None, None] * np.einsum("bcj,bck->bjk", by_single / single[..., None], by_single)
    return likelihood, gradient, information


def _best(p: np.ndarray) -> dict[str, np.ndarray]:
    """Accuracy, qwk and mae (b,) of the best predictions from distributions p (b, latent values, 5)."""
    apart = np.abs(VOTES[:, None] - VOTES)
    marginal = np.einsum("g,bgv->bv", _GRID_WEIGHTS, p)
    squared, by_chance = p @ apart**2.0, marginal @ apart**2.0
    # Kappa is 1 − E error / E error by chance, and both means are sums over the latent values of what the vote chosen
    # there adds: the best ratio is found by choosing the least error − ratio · chance in turn (Dinkelbach 1967).
    ratio = np.ones(len(p))
    for _ in range(20):
        chosen = (squared - ratio[:, None, None] * by_chance[:, None, :]).argmin(2)
        error = np.take_along_axis(squared, chosen[:, :, None], 2)[:, :, 0] @ _GRID_WEIGHTS
        expected = np.take_along_axis(by_chance, chosen, 1) @ _GRID_WEIGHTS
        ratio = error / expected
    return {"accuracy": p.max(2) @ _GRID_WEIGHTS, "qwk": 1 - ratio, "mae": (p @ apart).min(2) @ _GRID_WEIGHTS}
