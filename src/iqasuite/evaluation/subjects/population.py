"""What people are like: the population model's few numbers, from the votes of many or of the set at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from iqasuite.datasets.dataset import first_votes
from iqasuite.datasets.frames import LEAST_IMAGES
from iqasuite.datasets.tables import csv_table
from iqasuite.errors import InputError
from iqasuite.evaluation.subjects.agreement import sos_parameter
from iqasuite.evaluation.subjects.repetition import expected_of
from iqasuite.evaluation.uncertainty import drawn_contents, interval
from iqasuite.training.few_shot import PEOPLE, Observer, Population, fit_observer
from iqasuite.training.levels import ERRORS, EXPECTED_ERROR

ROUNDS = 40
_STILL = 0.02  # change of means, in standard deviations, and of the latter's logarithms: the last round
Rated = tuple[np.ndarray, np.ndarray, pd.DataFrame | None]  # quality, votes and features of an observer's images
STATISTICS = ("bias_sd", "slope_sd", "inconsistency", "inconsistency_sd", "gap_sd", "sos")


def estimate_population(
    votes: pd.DataFrame,
    quality: pd.Series | None = None,
    features: pd.DataFrame | None = None,
    start: Population = PEOPLE,
    weight: float = 5.0,
    quality_sd: float = 0.0,
) -> Population:
    """The population that makes these observers' votes most probable (marginal likelihood, by EM).

    Each round fits every observer with the population so far (Laplace), brings all to a unit in which the mean slope is
    1, and takes means and variances of the observers from their estimates and standard errors. The population that it
    starts from counts as `weight` observers more, so a few observers change it a little. The mean of the sensitivities
    stays 0.

    Args:
        votes: votes frame; rows without a quality are left out.
        quality: on the scale of votes, index image or (observer, image); such as a trunk gives it to images that it was
            not trained on. None = the mean vote of the others.
        features: φ, index image, columns as in `start.features`.
        start: the prior of the population.
        weight: of `start`, in observers; 0 = these observers only.
        quality_sd: standard error of the quality that is not to become part of the inconsistency.

    Returns:
        The population; `start` where nobody has votes on images with a quality.

    Reference: A. Dempster, N. Laird & D. Rubin, J. Royal Statistical Society B 39, 1977; the unit: C. Liu, D. Rubin &
    Y. Wu, "Parameter expansion to accelerate EM", Biometrika 85, 1998.
    """
    people = _by_observer(votes, quality, features)
    population = start
    starts: list[np.ndarray | None] = [None] * len(people)
    for _ in range(ROUNDS if people else 0):
        fitted = [
            fit_observer(population, rated, vote, phi, quality_sd, start=at)
            for (rated, vote, phi), at in zip(people, starts, strict=True)
        ]
        starts = [observer.estimate for observer in fitted]
        before, population = population, _of_fitted(fitted, start, weight)
        moved = np.abs(population.mean() - before.mean()) / population.sd()
        if max(moved.max(), np.abs(np.log(population.sd() / before.sd())).max()) < _STILL:
            break
    return population


def _by_observer(votes: pd.DataFrame, quality: pd.Series | None, features: pd.DataFrame | None) -> list[Rated]:
    """(quality, votes, features) of each observer's rows that have all of them."""
    votes = votes.assign(quality=expected_of(votes, quality))
    votes = votes[np.isfinite(votes["quality"])]
    of = [(own["quality"], own["vote"], own["image"]) for _, own in votes.groupby("observer")]
    return [
        (q.to_numpy(float), v.to_numpy(), None if features is None else features.loc[i]) for q, v, i in of if len(v)
    ]


def _of_fitted(fitted: list[Observer], start: Population, weight: float) -> Population:
    estimates = np.array([observer.estimate for observer in fitted])
    errors = np.array([np.diag(observer.covariance) for observer in fitted])
    n, linear = len(fitted), np.r_[0, 1, 6 : estimates.shape[1]]
    # One unit for all: only ratios of slope, gaps and inconsistency are determined, and the mean slope is to be 1.
    unit = (weight + estimates[:, 1].sum()) / (weight + n)
    estimates[:, linear] /= unit
    errors[:, linear] /= unit**2
    estimates[:, 2:6] -= np.log(unit)
    mean, first = (weight * start.mean() + estimates.sum(0)) / (weight + n), start.mean()
    mean[1], mean[6:] = 1.0, 0.0
    squares = ((estimates - mean) ** 2 + errors).sum(0) + weight * (start.sd() ** 2 + (first - mean) ** 2)
    sd = np.sqrt(squares / (weight + n))
    return replace(
        start,
        bias=float(mean[0]),
        bias_sd=float(sd[0]),
        slope_sd=float(sd[1]),
        inconsistency=float(np.exp(mean[2])),
        inconsistency_sd=float(sd[2]),
        gaps=tuple(np.exp(mean[3:6]).tolist()),
        gap_sd=float(np.sqrt((sd[3:6] ** 2).mean())),
        sensitivity_sd=float(np.sqrt((sd[6:] ** 2).mean())) if len(sd) > 6 else start.sensitivity_sd,
    )


def population_here(votes: pd.DataFrame, quality: pd.Series) -> tuple[Population, tuple[float, float], int]:
    """The population of the others who rated a set, the trunk's error for `fit_level`, and how many others count.

    Args:
        votes: votes frame of the others; first votes on images with a quality count, of observers with `LEAST_IMAGES`;
            where these are fewer than two, people elsewhere are the population.
        quality: that the trunk predicts, index image.
    """
    votes = first_votes(votes)
    votes = votes[votes["image"].isin(quality.index)]
    counted = votes["observer"].value_counts()
    votes = votes[votes["observer"].isin(counted.index[counted >= LEAST_IMAGES])]
    n = votes["observer"].nunique()
    if n < 2:
        return PEOPLE, EXPECTED_ERROR, 0
    people = _by_observer(votes, quality, None)
    evidence = [sum(fit_observer(PEOPLE, q, v, None, error).log_evidence for q, v, _ in people) for error in ERRORS]
    error = float(ERRORS[int(np.argmax(evidence))])
    return estimate_population(votes, quality, quality_sd=error), (error, EXPECTED_ERROR[1] / 2), n


def panels(folder: Path | str) -> dict[str, pd.DataFrame]:
    """Votes frames of tests that are kept as tables of stimuli × people, as in avt_subject_rating_analysis.

    Args:
        folder: holds a CSV file per test, its first column the stimuli, each other one a person.

    Returns:
        Test -> votes; people of different tests are different observers.

    Raises:
        InputError: no such files, or a table with fewer than two people.
    """
    tests = {}
    for path in sorted(Path(folder).glob("*.csv")):
        table = csv_table(path, ())
        stimulus, *people = table.columns
        if len(people) < 2:
            raise InputError(f"{path}: columns {list(table.columns)}, expected stimuli and two people or more")
        votes = table.melt(stimulus, people, "observer", "vote").dropna()
        votes = votes.rename(columns={stimulus: "image"}).assign(session=1, position=0)
        tests[path.stem] = votes.assign(observer=f"{path.stem}/" + votes["observer"])
    if not tests:
        raise InputError(f"{folder}: no CSV files, expected a table of votes per test")
    return tests


def people_statistics(tests: Mapping[str, pd.DataFrame], n_boot: int = 1000, seed: int = 0) -> pd.DataFrame:
    """The numbers of a population from many tests, each observer against the mean of the others in the same test.

    Args:
        tests: test -> votes frame; those with fewer than `LEAST_IMAGES` images are left out.
        n_boot, seed: resamples of tests, and the seed of their draw.

    Returns:
        Rows `STATISTICS` ("sos" is the SOS parameter a): value (mean over tests, of standard deviations the root of the
        mean square), low, high (95 %, over tests), least, most (of one test), n_tests, n_observers.
    """
    rows, people = [], 0
    for votes in tests.values():
        if votes["image"].nunique() < LEAST_IMAGES:
            continue
        n, spread = votes["observer"].nunique(), votes.groupby("image")["vote"].std().mean()
        found = estimate_population(votes, weight=1.0, quality_sd=float(spread / np.sqrt(n - 1)))
        rows.append([getattr(found, name) for name in STATISTICS[:-1]] + [sos_parameter(votes, n_boot=3).a])
        people += n
    values = np.array(rows)
    power = np.array([2 if name.endswith("_sd") else 1 for name in STATISTICS])
    drawn = np.vstack([np.ones(len(values)), drawn_contents(len(values), n_boot, seed)])
    means = (drawn @ values**power / len(values)) ** (1 / power)
    ends = [interval(column, len(values)) for column in means[1:].T]
    table = pd.DataFrame(
        {"statistic": STATISTICS, "value": means[0], **dict(zip(("low", "high"), zip(*ends, strict=True), strict=True))}
    )
    return table.assign(least=values.min(0), most=values.max(0), n_tests=len(values), n_observers=people)
