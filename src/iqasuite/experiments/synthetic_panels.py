"""Panels of artificial observers beside people: their mean as a MOS, and whether anything tells them apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from iqasuite.evaluation import resampled
from iqasuite.evaluation.subjects.agreement import sos_parameter
from iqasuite.evaluation.subjects.observers import bias_and_inconsistency
from iqasuite.evaluation.subjects.score_distribution import gsd_fits, pp_line
from iqasuite.evaluation.uncertainty import content_weights, interval
from iqasuite.experiments.few_shot import Case
from iqasuite.experiments.panel import Panel, long_votes, of_observers, prior_of
from iqasuite.training.few_shot import PEOPLE, PERSONAL, VOTES, Observer, Population, fit_observer

DIRECT, OF_AIOS, OF_SYNTHETIC = "direct: the trunk's quality", "mean of the others' AIOs", "mean of a synthetic panel"
OF_NAMED = f"{OF_AIOS}, named features"
_METRICS = {"srocc": resampled.sroccs, "plcc": resampled.plccs, "rmse": resampled.rmses}
_REPEATS, _FOLDS, _FOREST = 5, 5, {"n_estimators": 200, "min_samples_leaf": 3, "class_weight": "balanced"}


def drawn_panel(
    population: Population, quality: pd.Series, features: pd.DataFrame | None, n: int, seed: int = 0
) -> pd.DataFrame:
    """Votes of people drawn from a population, index image, columns "drawn 1" and so on.

    Args:
        population: whom they are drawn from.
        quality: that all of them see, index image.
        features: φ, index image; None = the population has none.
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


def _statistics(votes: pd.DataFrame) -> dict[str, float]:
    frame = long_votes(votes)
    each = bias_and_inconsistency(frame)
    inconsistency = each["inconsistency"].clip(lower=0.05)
    return {
        "SOS parameter a": sos_parameter(frame, n_boot=3).a,
        "SD of biases": each["bias"].std(),
        "median inconsistency": inconsistency.median(),
        "SD of log inconsistency": np.log(inconsistency).std(),
    }


def compared(people: pd.DataFrame, synthetic: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Statistics of a panel of people beside synthetic ones: statistic, people, synthetic, low, high (95 % of these).

    Args:
        people: votes, index image, columns observers.
        synthetic: the same of panels as large.
    """
    drawn = pd.DataFrame([_statistics(votes) for votes in synthetic])
    table = pd.DataFrame({"people": _statistics(people), "synthetic": drawn.mean()})
    return table.assign(low=drawn.quantile(0.025), high=drawn.quantile(0.975)).rename_axis("statistic").reset_index()


def described(votes: pd.DataFrame, contents: pd.Series) -> pd.DataFrame:
    """What each observer is like beside the mean of the others of their panel, index observer: what is personal
    (`few_shot.PERSONAL`), SROCC, shares of 1, of 5 and of votes far off, and how far residuals of a content agree.

    Args:
        votes: index image, columns observers.
        contents: image -> content.
    """
    rows = []
    for name in votes:
        own = votes[name].dropna()
        others = votes.drop(columns=name).mean(axis=1)[own.index]
        fitted = fit_observer(PEOPLE, others.to_numpy(), own.to_numpy())
        rest = own - fitted.distribution(others.to_numpy()) @ VOTES
        between = rest.groupby(contents[own.index]).transform("mean").var() / max(rest.var(), 1e-9)
        shares = [(own == 1).mean(), (own == 5).mean(), (rest.abs() >= 1.5).mean()]
        rows.append([*fitted.estimate[: len(PERSONAL)], spearmanr(own, others).statistic, *shares, between])
    columns = [*PERSONAL, "srocc", "share of 1", "share of 5", "far off", "by content"]
    return pd.DataFrame(rows, votes.columns, columns).fillna(0.0)


def told_apart(
    people: pd.DataFrame, synthetic: Sequence[pd.DataFrame], contents: pd.Series, n_boot: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """How well a random forest tells people from synthetic observers by `described`.

    Args:
        people: votes, index image, columns observers.
        synthetic: the same of some panels.
        contents: image -> content.
        n_boot, seed: resamples of observers, and the seed of folds, forests and resamples.

    Returns:
        One row: auc (0.5 = they pass as people; five folds of observers, five times), low, high (95 %, over observers),
        people, synthetic (how many).
    """
    x = pd.concat([described(votes, contents) for votes in (people, *synthetic)]).to_numpy()
    label, found = (np.arange(len(x)) < people.shape[1]).astype(int), []
    for k in range(seed, seed + _REPEATS):
        forest = RandomForestClassifier(random_state=k, **_FOREST)
        folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=k)
        found.append(cross_val_predict(forest, x, label, cv=folds, method="predict_proba")[:, 1])
    score, rng, drawn = np.mean(found, axis=0), np.random.default_rng(seed), []
    for _ in range(n_boot):
        rows = np.concatenate([rng.choice(np.flatnonzero(label == k), (label == k).sum()) for k in (0, 1)])
        drawn.append(roc_auc_score(label[rows], score[rows]))
    low, high = np.quantile(drawn, [0.025, 0.975])
    counts = {"people": label.sum(), "synthetic": len(label) - label.sum()}
    return pd.DataFrame([{"auc": roc_auc_score(label, score), "low": low, "high": high} | counts])


def pp_lines(panels: dict[str, pd.DataFrame], n_boot: int = 199, seed: int = 0) -> pd.DataFrame:
    """`score_distribution.pp_line` of panels (name -> votes), with a column panel; arguments as of `gsd_fits`."""
    fits = {name: gsd_fits(long_votes(votes), n_boot, seed)["p"].to_numpy() for name, votes in panels.items()}
    return pd.concat([pp_line(p, np.linspace(0.01, 1, 100)).assign(panel=name) for name, p in fits.items()])


def mos_table(
    cases: Sequence[Case], contents: pd.Series, n_synthetic: int = 100, n_boot: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Predictions of the unseen observers' mean vote on the test part, by one number and by panels.

    Args:
        cases: of `few_shot.cases`.
        contents: image -> content.
        n_synthetic: people in a synthetic panel.
        n_boot, seed: resamples of contents; the seed of their draw and of the panels.

    Returns:
        Rows prediction, metric (srocc, plcc, rmse), value (mean over cases), low, high (95 %, over contents), n images.
    """
    drawn: dict[tuple[str, str], list[np.ndarray]] = {}
    weights = np.vstack([np.ones(len(contents)), content_weights(contents.to_numpy(), n_boot, seed)])
    for number, case in enumerate(cases):
        mos = case.votes.loc[case.images("test"), list(case.unseen)].mean(axis=1).dropna()
        predicted = _by_panels(case, mos.index, n_synthetic, seed + number)
        about = np.array(list(predicted.values())), mos.to_numpy(), weights[:, contents.index.get_indexer(mos.index)]
        for metric, of in _METRICS.items():
            for name, value in zip(predicted, of(*about), strict=True):
                drawn.setdefault((name, metric), []).append(value)
    means = {key: np.nanmean(values, axis=0) for key, values in drawn.items()}
    n = contents.nunique()
    rows = [(*key, mean[0], *interval(mean[1:], n), len(contents)) for key, mean in means.items()]
    return pd.DataFrame(rows, columns=["prediction", "metric", "value", "low", "high", "n"])


def _by_panels(case: Case, at: pd.Index, n_synthetic: int, seed: int) -> dict[str, np.ndarray]:
    quality, ways = case.quality[at], {OF_AIOS: (case.others, None)}
    if case.features is not None:
        ways[OF_NAMED] = (case.others_with_named, case.features.loc[at])
    found = {DIRECT: quality, OF_SYNTHETIC: drawn_panel(case.population, quality, None, n_synthetic, seed).mean(axis=1)}
    for name, (others, phi) in ways.items():
        found[name] = np.mean([each.distribution(quality.to_numpy(), phi) @ VOTES for each in others], axis=0)
    return {name: np.asarray(values) for name, values in found.items()}
