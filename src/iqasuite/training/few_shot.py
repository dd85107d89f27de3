"""An observer from no votes, a few or thousands: what is personal about them, with the population as prior.

Of an image of quality q (1–5, a trunk's or a panel's) with features φ, observer i sees

    z = 3 + b_i + β_i·(q − 3) + s_iᵀφ    and votes at most k with probability    Φ((c_ik − z) / σ_i).

Bias b, slope β, sensitivities s, the logarithm of the inconsistency σ and of the gaps between the four cut points c are
normal in the population. One vote in a hundred is taken for a slip, which may be anything. The posterior given votes is
Laplace's: Newton's steps with the expected information, milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import ndtr

from iqasuite.errors import InputError

VOTES = np.arange(1, 6)
CENTRE = 3.0  # of the scale; the middle of the cut points, and the quality that the slope turns around
SLIPS = 0.01  # share of votes that say nothing
PERSONAL = ("bias", "slope", "log_inconsistency", "log_gap_1", "log_gap_2", "log_gap_3")
# Cut points less CENTRE as sums of the gaps: each row a cut.
_OF_GAPS = np.array([[-1, -0.5, 0], [0, -0.5, 0], [0, 0.5, 0], [0, 0.5, 1]])
_Z = 1.959963984540054
_STEPS = 60
_HALF_STEPS = 12


@dataclass(frozen=True)
class Population:
    """What people are like: the prior of an observer.

    Defaults are of 745 people in 27 video-quality tests, each against the mean of the others
    (`evaluation.subjects.population.people_statistics`; 95 % intervals over tests: bias_sd .39–.44, slope_sd .16–.21,
    inconsistency .49–.56, inconsistency_sd .19–.22, gap_sd .16–.18). Source: the votes of the
    repository Telecommunication-Telemedia-Assessment/avt_subject_rating_analysis. They have no sensitivities.

    Attributes:
        bias, bias_sd: votes above the quality, mean and standard deviation over people.
        slope_sd: of β, whose mean is 1.
        inconsistency, inconsistency_sd: σ of the median person, in votes, and the standard deviation of its logarithm.
        gaps, gap_sd: distances of the cut points of the median person, in votes, and the standard deviation of their
            logarithms.
        features: names of the columns of φ.
        sensitivity_sd: of each s, in votes per unit of its feature; mean 0.
        mass: probability at which a vote set is full, from `set_mass`; 0.9 before anything was calibrated.
    """

    bias: float = 0.0
    bias_sd: float = 0.41
    slope_sd: float = 0.18
    inconsistency: float = 0.52
    inconsistency_sd: float = 0.20
    gaps: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gap_sd: float = 0.17
    features: tuple[str, ...] = ()
    sensitivity_sd: float = 0.2
    mass: float = 0.9

    def mean(self) -> np.ndarray:
        """Prior means (6 + features,) of `PERSONAL` and the sensitivities."""
        logs = np.log([self.inconsistency, *self.gaps])
        return np.concatenate([[self.bias, 1.0], logs, np.zeros(len(self.features))])

    def sd(self) -> np.ndarray:
        """Prior standard deviations, as `mean`."""
        personal = [self.bias_sd, self.slope_sd, self.inconsistency_sd, *[self.gap_sd] * 3]
        return np.array(personal + [self.sensitivity_sd] * len(self.features))


PEOPLE = Population()


@dataclass(frozen=True)
class Observer:
    """The posterior of one observer, normal around `estimate`.

    Attributes:
        population: the prior.
        estimate: of `PERSONAL` and the sensitivities, shape (p,).
        covariance: shape (p, p).
        n: votes that it was fitted to.
        log_evidence: logarithm of the votes' probability under the prior, by Laplace's method; 0 without votes.
        remark: a sentence where the votes say little, otherwise "".
    """

    population: Population
    estimate: np.ndarray
    covariance: np.ndarray
    n: int = 0
    log_evidence: float = 0.0
    remark: str = ""

    @property
    def bias(self) -> float:
        """Votes above (+) or below (−) what the median person gives."""
        return float(self.estimate[0] - self.population.bias)

    @property
    def slope(self) -> float:
        """Votes per unit of quality; above 1 = uses more of the scale than others."""
        return float(self.estimate[1])

    @property
    def inconsistency(self) -> float:
        """Standard deviation around the expected vote, in votes."""
        return float(np.exp(self.estimate[2]))

    @property
    def cuts(self) -> np.ndarray:
        """Where votes change, on the scale of z, shape (4,)."""
        return CENTRE + _OF_GAPS @ np.exp(self.estimate[3:6])

    @property
    def sensitivities(self) -> pd.Series:
        """Votes per unit of each feature, index feature."""
        return pd.Series(self.estimate[6:], index=list(self.population.features), dtype=float)

    def table(self) -> pd.DataFrame:
        """Index parameter (bias, slope, inconsistency, gap_1 … gap_3, features): value, low, high (95 %), prior."""
        names = [name.removeprefix("log_") for name in PERSONAL] + list(self.population.features)
        logs = np.array([name.startswith("log_") for name in PERSONAL] + [False] * len(self.population.features))
        width = _Z * np.sqrt(np.diag(self.covariance))
        columns = [self.estimate, self.estimate - width, self.estimate + width, self.population.mean()]
        values = np.where(logs, np.exp(columns), columns).T
        values[0] -= self.population.bias
        return pd.DataFrame(values, pd.Index(names, name="parameter"), ["value", "low", "high", "prior"])

    def expected(
        self, quality: np.ndarray, features: pd.DataFrame | np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Expected vote before rounding, z (n,), and its standard error (n,); arguments as `distribution`."""
        quality, phi, _ = _inputs(self.population, quality, features, 0.0)
        design = _design(quality, phi)
        linear = [0, 1, *range(6, len(self.estimate))]
        covariance = self.covariance[np.ix_(linear, linear)]
        z = design @ self.estimate[linear] + CENTRE
        return z, np.sqrt(np.maximum((design @ covariance * design).sum(1), 0))

    def distribution(
        self,
        quality: np.ndarray,
        features: pd.DataFrame | np.ndarray | None = None,
        quality_sd: np.ndarray | float = 0.0,
    ) -> np.ndarray:
        """Distributions of this observer's votes 1–5, shape (n, 5), with what is not known of the observer in them.

        Args:
            quality: of each image, on the scale of votes, shape (n,).
            features: φ, shape (n, features); a frame may have its columns in any order. None where the population has
                none.
            quality_sd: standard error of the quality, beyond that of the images that the population was estimated on.

        Raises:
            InputError: as `fit_observer`.
        """
        inputs = _inputs(self.population, quality, features, quality_sd)
        edges, moves = _edges(self.estimate, *inputs)
        variance = np.einsum("nkp,pq,nkq->nk", moves, self.covariance, moves)
        below = np.maximum.accumulate(ndtr(edges / np.sqrt(1 + variance)), axis=1)
        return _with_slips(below)


def fit_observer(
    population: Population,
    quality: pd.Series | np.ndarray,
    votes: pd.Series | np.ndarray,
    features: pd.DataFrame | np.ndarray | None = None,
    quality_sd: np.ndarray | float = 0.0,
    start: np.ndarray | None = None,
) -> Observer:
    """The posterior of an observer, given a population and any number of votes, by the ordinal model.

    Args:
        population: the prior; `PEOPLE`, or one that was estimated on other people's votes on this set.
        quality: of the voted images, on the scale of votes, shape (n,); or of any images, index image, where votes are
            a series, too.
        votes: whole numbers 1–5, shape (n,), or index image.
        features: φ of the same images, shape (n, features), or index image.
        quality_sd: standard error of the quality, a number or shape (n,), beyond that of the images that the population
            was estimated on.
        start: estimate to start from, shape (p,); None = the prior's.

    Returns:
        The observer; without votes that is the population's median person, with the spread of people.

    Raises:
        InputError: votes off the scale, a voted image without quality or features, shapes that do not fit.
    """
    quality, votes, features = _aligned(quality, votes, features)
    vote, inputs = _votes(votes, len(quality)), _inputs(population, quality, features, quality_sd)
    mean, precision = population.mean(), population.sd() ** -2.0
    theta = mean if start is None else np.asarray(start, float)
    value, gradient, information = _posterior(theta, vote, inputs, mean, precision)
    for _ in range(_STEPS if len(vote) else 0):
        step = np.linalg.solve(information, gradient)
        for _ in range(_HALF_STEPS):
            reached = _posterior(theta + step, vote, inputs, mean, precision)
            if reached[0] >= value:
                break
            step = step / 2
        else:
            break
        gained, theta = reached[0] - value, theta + step
        value, gradient, information = reached
        if gained < 1e-6:
            break
    evidence = value + 0.5 * (np.log(precision).sum() - np.linalg.slogdet(information)[1])
    covariance = np.linalg.inv(information)
    return Observer(population, theta, covariance, len(vote), float(evidence), _remark(vote))


def fit_gaussian(
    population: Population,
    quality: pd.Series | np.ndarray,
    votes: pd.Series | np.ndarray,
    features: pd.DataFrame | np.ndarray | None = None,
) -> Observer:
    """As `fit_observer` in closed form: votes are taken for real numbers, and the inconsistency for the population's.

    w = (ZᵀZ + diag(σ²/τ²))⁻¹ Zᵀ(y − m), Z = [1, m − 3, φ], of covariance σ²(·)⁻¹. Cut points and inconsistency stay
    as they are in the population.

    Args:
        population, quality, votes, features: as of `fit_observer`.

    Raises:
        InputError: as `fit_observer`.
    """
    quality, votes, features = _aligned(quality, votes, features)
    vote, (quality, phi, _) = _votes(votes, len(quality)), _inputs(population, quality, features, 0.0)
    mean, sd = population.mean(), population.sd()
    linear = np.array([0, 1, *range(6, len(mean))])
    design, variance = _design(quality, phi), population.inconsistency**2
    inverse = np.linalg.inv(design.T @ design + np.diag(variance / sd[linear] ** 2))
    estimate, covariance = mean.copy(), np.diag(sd**2)
    estimate[linear] += inverse @ design.T @ (vote - CENTRE - design @ mean[linear])
    covariance[np.ix_(linear, linear)] = variance * inverse
    spread = design * sd[linear] @ (design * sd[linear]).T + variance * np.eye(len(vote))
    rest = vote - CENTRE - design @ mean[linear]
    evidence = -0.5 * (rest @ np.linalg.solve(spread, rest) + np.linalg.slogdet(2 * np.pi * spread)[1])
    return Observer(population, estimate, covariance, len(vote), float(evidence), _remark(vote))


def vote_sets(p: np.ndarray, mass: float = 0.9) -> np.ndarray:
    """Votes that an observer may give, such as "3 or 4": neighbours around the most probable one, shape (n, 5), bool.

    A set grows from the most probable vote by the more probable of its two neighbours until it has the mass. With
    `mass` from `set_mass` on other observers' votes it is conformal: it holds the vote as often as was asked for,
    whatever the distributions are worth.

    Args:
        p: distributions (n, 5).
        mass: probability at which a set is full.
    """
    return entered_at(p) < mass


def set_mass(p: np.ndarray, votes: np.ndarray, coverage: float = 0.9) -> float:
    """The mass of `vote_sets` with which so many sets hold the vote, from distributions (n, 5) and votes (n,).

    Split conformal prediction: the quantile of the mass that a set has when its vote enters, with the correction for n.
    The votes must not be those that the distributions were fitted to; for new observers they are other observers'.

    Reference: Y. Romano, M. Sesia & E. Candès, "Classification with valid and adaptive coverage", NeurIPS 2020.
    """
    entered = np.sort(entered_at(p)[np.arange(len(p)), np.asarray(votes, int) - 1])
    rank = int(np.ceil(coverage * (len(entered) + 1)))
    return float(np.nextafter(entered[rank - 1], 2)) if 0 < rank <= len(entered) else 1.0


def set_in_words(members: np.ndarray) -> str:
    """One set, shape (5,), bool, as "3 or 4"."""
    return " or ".join(str(vote) for vote in VOTES[members])


def entered_at(p: np.ndarray) -> np.ndarray:
    """Mass (n, 5) that the growing set of `vote_sets` has when each vote enters; 0 for the most probable one."""
    p = np.asarray(p, float)
    rows = np.arange(len(p))
    entered = np.zeros(p.shape)
    low = high = p.argmax(1)
    mass = p[rows, low]
    padded = np.pad(p, ((0, 0), (1, 1)), constant_values=-1)
    for _ in range(4):
        down = padded[rows, low] > padded[rows, high + 2]
        new = np.where(down, low - 1, high + 1)
        entered[rows, new] = mass
        mass = mass + p[rows, new]
        low, high = np.where(down, new, low), np.where(down, high, new)
    return entered


def with_features(population: Population, features: tuple[str, ...], sensitivity_sd: float) -> Population:
    """The same people, sensitive to these features with this standard deviation."""
    return replace(population, features=features, sensitivity_sd=sensitivity_sd)


def _design(quality: np.ndarray, phi: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones(len(quality)), quality - CENTRE, phi])


def _edges(
    theta: np.ndarray, quality: np.ndarray, phi: np.ndarray, quality_sd: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(c_k − z) / σ, shape (n, 4), and its derivatives by the parameters, shape (n, 4, p)."""
    gaps, variance = np.exp(theta[3:6]), np.exp(2 * theta[2])
    z = CENTRE + theta[0] + theta[1] * (quality - CENTRE) + phi @ theta[6:]
    sd = np.sqrt(variance + quality_sd**2)[:, None]
    edges = (CENTRE + _OF_GAPS @ gaps - z[:, None]) / sd
    moves = np.empty((len(quality), 4, len(theta)))
    moves[:, :, 0] = -1 / sd
    moves[:, :, 1] = -(quality - CENTRE)[:, None] / sd
    moves[:, :, 2] = -edges * variance / sd**2
    moves[:, :, 3:6] = (_OF_GAPS * gaps)[None] / sd[:, :, None]
    moves[:, :, 6:] = -(phi / sd)[:, None, :]
    return edges, moves


def _with_slips(below: np.ndarray) -> np.ndarray:
    return (1 - SLIPS) * _between(below, 1.0) + SLIPS / len(VOTES)


def _between(below: np.ndarray, last: float) -> np.ndarray:
    """Differences (n, 5, …) of neighbours of 0, below (n, 4, …) and `last`."""
    steps = np.empty((len(below), len(VOTES), *below.shape[2:]))
    steps[:, 0], steps[:, -1] = below[:, 0], last - below[:, -1]
    np.subtract(below[:, 1:], below[:, :-1], out=steps[:, 1:-1])
    return steps


def _posterior(
    theta: np.ndarray, vote: np.ndarray, inputs: tuple[np.ndarray, ...], mean: np.ndarray, precision: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Logarithm of the posterior (without constants of the prior), its gradient (p,), expected information (p, p)."""
    edges, moves = _edges(theta, *inputs)
    p = _with_slips(ndtr(edges))
    by_edge = (1 - SLIPS) * np.exp(-0.5 * edges**2)[:, :, None] / np.sqrt(2 * np.pi) * moves
    by_vote = _between(by_edge, 0.0)  # (n, 5, p)
    rows, away = np.arange(len(vote)), theta - mean
    chosen = p[rows, vote - 1]
    gradient = (by_vote[rows, vote - 1] / chosen[:, None]).sum(0) - precision * away
    scaled = (by_vote / np.sqrt(p)[:, :, None]).reshape(-1, len(theta))
    value = np.log(chosen).sum() - 0.5 * precision @ away**2
    return float(value), gradient, scaled.T @ scaled + np.diag(precision)


def _aligned(quality, votes, features):
    """All three in the order of the votes, where votes and quality have images as their index."""
    if not (isinstance(votes, pd.Series) and isinstance(quality, pd.Series)):
        return np.asarray(quality, float), votes, features
    unknown = votes.index.difference(quality.index)
    if len(unknown):
        raise InputError(f"votes: image {unknown[0]!r} is unknown, expected one of the {len(quality)} with a quality")
    if isinstance(features, pd.DataFrame):
        features = features.reindex(votes.index)
    return quality[votes.index].to_numpy(float), votes.to_numpy(), features


def _votes(votes, n: int) -> np.ndarray:
    votes = np.asarray(votes, float)
    if votes.shape != (n,):
        raise InputError(f"votes: shape {votes.shape}, expected ({n},) as of the quality")
    bad = votes[~np.isin(votes, VOTES)]
    if len(bad):
        raise InputError(f"votes: found {bad[0]:g}, expected whole numbers from 1 to 5")
    return votes.astype(int)


def _inputs(population: Population, quality, features, quality_sd) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    quality = np.asarray(quality, float)
    names = list(population.features)
    if isinstance(features, pd.DataFrame):
        missing = [name for name in names if name not in features]
        if missing:
            raise InputError(f"features: no column {missing[0]!r}, expected {', '.join(names)}")
        features = features[names].to_numpy(float)
    without = (len(quality), len(names) * (len(quality) == 0))
    phi = np.zeros(without) if features is None else np.asarray(features, float)
    if quality.ndim != 1 or phi.shape != (len(quality), len(names)):
        raise InputError(f"features: shape {phi.shape}, expected ({len(quality)}, {len(names)}) as of the population")
    for what, values in (("quality", quality), ("features", phi)):
        if not np.isfinite(values).all():
            row = np.flatnonzero(~np.isfinite(values.reshape(len(quality), -1)).all(1))[0]
            raise InputError(f"{what}: image {row} of {len(quality)} has none, expected finite numbers")
    return quality, phi, np.broadcast_to(np.asarray(quality_sd, float), quality.shape)


def _remark(vote: np.ndarray) -> str:
    if len(vote) == 0:
        return "No votes: this is what people in general would vote."
    if len(vote) < 3:
        return f"{len(vote)} vote{'s' * (len(vote) > 1)}: little more is known than of people in general."
    if np.ptp(vote) == 0:
        return f"All {len(vote)} votes are {vote[0]}: the bias may be known, slope and cut points are the population's."
    return ""
