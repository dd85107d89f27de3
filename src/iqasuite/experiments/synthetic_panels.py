"""Panels of artificial observers beside people: their mean as a MOS, and whether anything tells them apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.naive_bayes import GaussianNB
from sklearn.preprocessing import StandardScaler

from iqasuite.evaluation import resampled
from iqasuite.evaluation.subjects.agreement import sos_parameter
from iqasuite.evaluation.subjects.observers import bias_and_inconsistency
from iqasuite.evaluation.subjects.score_distribution import gsd_fits
from iqasuite.evaluation.uncertainty import Z, content_weights, interval
from iqasuite.experiments.few_shot import Case
from iqasuite.experiments.panel import Panel, long_votes, of_observers, prior_of
from iqasuite.training.few_shot import PEOPLE, PERSONAL, VOTES, Observer, Population, fit_observer

DIRECT, OF_AIOS, OF_SYNTHETIC = "direct: the trunk's quality", "mean of the others' AIOs", "mean of a synthetic panel"
OF_NAMED = f"{OF_AIOS}, named features"
_METRICS = {"srocc": resampled.sroccs, "plcc": resampled.plccs, "rmse": resampled.rmses}
_LARGE = 100  # people in a synthetic panel whose mean counts


def drawn_panel(
    population: Population, quality: pd.Series, features: pd.DataFrame | None, n: int, seed: int = 0
) -> pd.DataFrame:
    """Votes of people drawn from a population, index image, columns "drawn 1" and so on.

    Args:
        population: whom they are drawn from.
        quality, features: that all of them see, index image; None = the population has no features.
        n, seed: how many people, and the seed of their draw.
    """
    rng, p, table = np.random.default_rng(seed), len(population.mean()), {}
    for k in range(1, n + 1):
        person = population.mean() + population.sd() * rng.standard_normal(p)
        shares = Observer(population, person, np.zeros((p, p))).distribution(quality.to_numpy(), features)
        table[f"drawn {k}"] = 1.0 + (rng.random((len(quality), 1)) > shares.cumsum(axis=1)[:, :4]).sum(1)
    return pd.DataFrame(table, quality.index)


def synthetic_panels(of: Panel, n_panels: int, seed: int = 0) -> list[pd.DataFrame]:
    """Panels as large as a set's, drawn from its own population, on the qualities that its observers agree on."""
    phi = of.features if len(of.features.columns) else None
    population = of_observers(of.votes, None if of.truth is None else of.quality, phi, prior_of(of))
    drawn = (drawn_panel(population, of.quality, phi, of.votes.shape[1], seed + k) for k in range(n_panels))
    return [votes.where(of.votes.notna().to_numpy()) for votes in drawn]


def compared(people: pd.DataFrame, synthetic: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Statistics of a panel of people beside synthetic ones: statistic, people, synthetic, low, high (95 % of these).

    Args:
        people, synthetic: votes, index image, columns observers, of panels as large.
    """
    found = []
    for votes in (people, *synthetic):
        each = bias_and_inconsistency(long_votes(votes))
        logs = np.log(each["inconsistency"].clip(lower=0.05))
        a = sos_parameter(long_votes(votes), n_boot=3).a
        found.append([a, each["bias"].std(), np.exp(logs.median()), logs.std()])
    names = ["SOS parameter a", "SD of biases", "median inconsistency", "SD of log inconsistency"]
    drawn = pd.DataFrame(found[1:], columns=names)
    table = pd.DataFrame({"people": pd.Series(found[0], names), "synthetic": drawn.mean()})
    return table.assign(low=drawn.quantile(0.025), high=drawn.quantile(0.975)).rename_axis("statistic").reset_index()


def _described(votes: pd.DataFrame, contents: pd.Series) -> list[list[float]]:
    """Each observer beside the mean of the others: what is personal, SROCC, shares of 1, of 5 and of votes far off, and
    how much of the residuals images of one content share."""
    rows = []
    for name in votes:
        own = votes[name].dropna()
        others = votes.drop(columns=name).mean(axis=1)[own.index]
        fitted = fit_observer(PEOPLE, others.to_numpy(), own.to_numpy())
        rest = own - fitted.distribution(others.to_numpy()) @ VOTES
        shared = rest.groupby(contents[own.index]).transform("mean").var() / max(rest.var(), 1e-9)
        shares = [(own == 1).mean(), (own == 5).mean(), (rest.abs() >= 1.5).mean(), shared]
        rows.append([*fitted.estimate[: len(PERSONAL)], np.nan_to_num(spearmanr(own, others).statistic), *shares])
    return rows


def told_apart(
    people: pd.DataFrame, synthetic: Sequence[pd.DataFrame], contents: pd.Series, n_boot: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """How well Gaussian naive Bayes tells people from synthetic observers, each beside the others of their panel.

    Each pair of the two is left out in turn: folds would give less than 0.5 where nothing can be told.

    Args:
        people, synthetic: votes, index image, columns observers.
        contents: image -> content.
        n_boot, seed: resamples of observers, and the seed of their draw.

    Returns:
        One row: auc (0.5 = they pass as people), low, high (95 %, over observers), people, synthetic (how many).

    Reference: A. Airola et al., Computational Statistics & Data Analysis 55, 2011 (leave-pair-out).
    """
    x = StandardScaler().fit_transform(np.concatenate([_described(votes, contents) for votes in (people, *synthetic)]))
    n, right = people.shape[1], np.empty((people.shape[1], len(x) - people.shape[1]))
    for i, j in np.ndindex(right.shape):
        kept, pair = np.delete(np.arange(len(x)), [i, n + j]), x[[i, n + j]]
        fitted = GaussianNB(priors=[0.5, 0.5], var_smoothing=1e-3).fit(x[kept], kept < n)
        as_synthetic, as_person = fitted.predict_joint_log_proba(pair).T
        odds = as_person - as_synthetic
        right[i, j] = np.heaviside(odds[0] - odds[1], 0.5)
    rng = np.random.default_rng(seed)
    drawn = [right[rng.choice(n, n)][:, rng.choice(len(x) - n, len(x) - n)].mean() for _ in range(n_boot)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return pd.DataFrame([{"auc": right.mean(), "low": low, "high": high, "people": n, "synthetic": len(x) - n}])


def pp_lines(panels: Mapping[str, pd.DataFrame], n_boot: int = 199, seed: int = 0) -> pd.DataFrame:
    """Shares of images whose p (`gsd_fits`) is at most a level: panel, level, share, low, high (95 % of chance).

    Args:
        panels: name -> votes, index image, columns observers.
        n_boot, seed: as of `gsd_fits`.
    """
    frames, level = [], np.linspace(0.01, 1, 100)
    for name, votes in panels.items():
        p = gsd_fits(long_votes(votes), n_boot, seed)["p"].to_numpy()
        share, width = (p[:, None] <= level + 1e-12).mean(0), Z * np.sqrt(level * (1 - level) / len(p))
        ends = {"low": level - width, "high": level + width}
        frames.append(pd.DataFrame({"panel": name, "level": level, "share": share, **ends}))
    return pd.concat(frames, ignore_index=True)


@np.errstate(invalid="ignore", divide="ignore")  # a resample may have none of a case's images: nan
def mos_table(cases: Sequence[Case], contents: pd.Series, n_boot: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Predictions of the unseen observers' mean vote on the test part, by one number and by panels.

    Args:
        cases: of `few_shot.cases`.
        contents: image -> content.
        n_boot, seed: resamples of contents; the seed of their draw and of synthetic panels.

    Returns:
        Rows prediction, metric (srocc, plcc, rmse), value (mean over cases), low, high (95 %, over contents), n images.
    """
    drawn: dict[tuple[str, str], list[np.ndarray]] = {}
    weights = np.vstack([np.ones(len(contents)), content_weights(contents.to_numpy(), n_boot, seed)])
    for number, case in enumerate(cases):
        mos = case.votes.loc[case.images("test"), list(case.unseen)].mean(axis=1).dropna()
        q, ways = case.quality[mos.index], {OF_AIOS: (case.others, None)}
        if case.features is not None:
            ways[OF_NAMED] = (case.others_with_named, case.features.loc[mos.index])
        predicted = {DIRECT: q, OF_SYNTHETIC: drawn_panel(case.population, q, None, _LARGE, seed + number).mean(axis=1)}
        for name, (others, phi) in ways.items():
            predicted[name] = np.mean([each.distribution(q.to_numpy(), phi) @ VOTES for each in others], axis=0)
        about = np.array(list(predicted.values())), mos.to_numpy(), weights[:, contents.index.get_indexer(mos.index)]
        for metric, of in _METRICS.items():
            for name, value in zip(predicted, of(*about), strict=True):
                drawn.setdefault((name, metric), []).append(value)
    means = {key: np.nanmean(values, axis=0) for key, values in drawn.items()}
    ends = {key: interval(mean[1:], contents.nunique()) for key, mean in means.items()}
    rows = [(*key, mean[0], *ends[key], len(contents)) for key, mean in means.items()]
    return pd.DataFrame(rows, columns=["prediction", "metric", "value", "low", "high", "n"])
