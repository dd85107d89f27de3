"""Sentences that read the figures and tables of `05_evaluate_aios`, with the numbers of the run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from iqasuite.evaluation.baselines import CEILING
from iqasuite.evaluation.uncertainty import LEAST_TRAININGS
from iqasuite.experiments.tested_observers import FEW, FITTED, Tested, best_rule, correlation, mean_of
from iqasuite.report.tables import with_interval

_PREFIX = "baseline: "


def looked_at(found: Tested) -> str:
    """Whose predictions of what are looked at in detail, and what the intervals are worth."""
    seeds, unit, n_units = found.n_seeds, found.unit, found.n_units
    votes = found.main["target"].count() // seeds
    text = (
        f"Looked at in detail: the {len(found.observers)} AIOs of **{found.method}** ({found.protocol} protocol) on "
        f"{found.on}, {votes:,} votes of {found.who}. Intervals come from resampling {unit}"
    )
    few = "is one training" if seeds == 1 else f"are {seeds} trainings"
    text += f" and the {seeds} trainings." if seeds >= LEAST_TRAININGS else f"; there {few}, so they hold for no other."
    if n_units < FEW:
        least = min(1, 2 / 2**n_units)
        text += (
            f" **{n_units} {unit} are too few**: the intervals below only show how far these differ from each other, "
            f"and no test can give less than p = {least:.2g}. More folds bring more of them."
        )
    return text


def verdict(found: Tested, scores: pd.DataFrame, won: pd.DataFrame) -> str:
    """How often an AIO gives its observer's vote, between the best rule and the ceiling.

    Args:
        found: the AIOs.
        scores: scores frame of one protocol.
        won: table of `gains`.
    """
    rule = best_rule(found, scores)
    aio, below, ceiling = (mean_of(scores, name, "accuracy") for name in (found.method, rule, CEILING))
    row = won[(won["against"] == rule) & (won["metric"] == "accuracy")].iloc[0]
    points = with_interval(100 * row["gain"], 100 * row["low"], 100 * row["high"], 1)
    text = (
        f"An AIO gives its observer's vote on {100 * aio:.1f} % of the images; the best rule "
        f"({rule.removeprefix(_PREFIX)}) on {100 * below:.1f} %, the other observers on {100 * ceiling:.1f} %. On the "
        f"same votes the AIO gains {points} points over that rule (p = {row['p_holm']:.2g} after Holm; "
        f"{found.n_units} {found.unit} cannot give less than {row['p_least']:.2g})"
    )
    if below < aio < ceiling:
        text += f": {100 * (aio - below) / (ceiling - below):.0f} % of the way to the ceiling"
    return text + "."


def for_whom(beside: pd.DataFrame) -> str:
    """For how many observers their AIO lies above every rule.

    Args:
        beside: of `beside_best_rule`.
    """
    own, n_observers = beside["own"], len(beside)
    few = n_observers - own.count()
    text = f"{few} of {n_observers} observers have too few rated test images to count in a mean. " if few else ""
    if own.count():
        text += f"Accuracy runs from {own.min():.2f} ({own.idxmin()}) to {own.max():.2f} ({own.idxmax()}). "
    above = int((own > beside["rule"]).sum())
    return f"{text}{above} of {own.count()} AIOs lie above every rule for their observer."


def missed(counts: np.ndarray) -> str:
    """How far the predicted votes are from the true ones.

    Args:
        counts: (5, 5), rows the observers' votes, columns the AIOs'.
    """
    gap = np.abs(np.subtract.outer(np.arange(5), np.arange(5)))
    met, by_one, by_more = (100 * counts[at].sum() / counts.sum() for at in (gap == 0, gap == 1, gap > 1))
    recall = np.diag(counts) / np.maximum(counts.sum(1), 1)
    least = int(np.argmin(np.where(counts.sum(1) > 0, recall, np.inf)))
    return (
        f"{met:.0f} % of the votes are met, {by_one:.0f} % are missed by one, {by_more:.0f} % by more. The vote "
        f"{least + 1} is recognised least often (recall {recall[least]:.2f})."
    )


def predicted_best(crossed: pd.DataFrame, observers: list[str]) -> str:
    """Who is predicted best by whose AIO.

    Args:
        crossed: table of `cross_comparison`.
        observers: in order.
    """
    accuracy = crossed[crossed["metric"] == "accuracy"]
    square = accuracy.pivot(index="observer", columns="aio", values="value").loc[observers]
    beaten = {name: row.drop(name).idxmax() for name, row in square.iterrows() if row.drop(name).max() > row[name]}
    text = f"{len(observers) - len(beaten)} of {len(observers)} observers are predicted best by their own AIO."
    if beaten:
        first = ", ".join(f"{name} by the AIO of {other}" for name, other in list(beaten.items())[:5])
        text += f" Predicted better by another: {first}{' …' if len(beaten) > 5 else ''}."
    return text


def ahead_of_others(summary: pd.DataFrame, method: str) -> str:
    """For how many observers their own AIO is ahead of the others', beside rules that are fitted to each observer.

    Args:
        summary: table of `specificity_summary`.
        method: of the AIOs.
    """
    rows = summary.set_index(["model", "metric"])
    ahead, best = rows.loc[(method, "accuracy"), ["ahead_of_mean", "ahead_of_best"]].astype(int)
    text = f"The own AIO is ahead of the mean of the others for {ahead} of {summary['observers'].max()} observers"
    text += f", of the best other for {best}."
    for name in FITTED:
        if (name, "accuracy") in rows.index:
            row = rows.loc[(name, "accuracy")]
            rule = name.removeprefix(_PREFIX)
            text += f" *{rule}* is for {int(row['ahead_of_mean'])} ({100 * row['gain']:+.1f} points)."
    if (method, "srocc") in rows.index:
        text += f" In the order of images the own AIO gains {rows.loc[(method, 'srocc'), 'gain']:+.3f} of SROCC."
    return _minus(text)


def strictness(bias: pd.DataFrame) -> str:
    """Whether a strict observer has a strict AIO.

    Args:
        bias: of `bias_table`.
    """
    text = (
        f"The observers' biases run from {bias['bias'].min():.2f} to {bias['bias'].max():.2f} votes, those of the "
        f"AIOs from {bias['bias_aio'].min():.2f} to {bias['bias_aio'].max():.2f}"
    )
    if len(bias) > 2:
        slope = np.polyfit(bias["bias"], bias["bias_aio"], 1)[0]
        r = correlation(bias, "bias", "bias_aio")
        text += f"; a vote more of an observer is {slope:.2f} votes more of the AIO (r = {r:.2f})"
        if "bias_true" in bias:
            text += (
                f". With the true biases the AIOs' correlate at r = {correlation(bias, 'bias_true', 'bias_aio'):.2f}"
            )
    return _minus(text) + "."


def repeated(again: pd.Series, own: pd.Series) -> str:
    """How often observers repeat their own votes, beside how often their AIOs predict them.

    Args:
        again, own: accuracy of the repeated session and of the AIO, by observer.
    """
    best, worst = (own / again).idxmax(), (own / again).idxmin()
    return (
        f"Observers repeat {100 * again.mean():.0f} % of their votes; their AIOs predict {100 * own.mean():.0f} %. "
        f"Measured by what its observer repeats, the AIO of {best} does best ({own[best]:.2f} beside "
        f"{again[best]:.2f}), that of {worst} worst ({own[worst]:.2f} beside {again[worst]:.2f})."
    )


def panel(srocc: Mapping[str, float], method: str, n_aios: int) -> str:
    """How well the mean of the AIOs follows the MOS, beside one network of all observers.

    Args:
        srocc: by model.
        method: of the AIOs.
        n_aios: number of AIOs.
    """
    text = f"The mean of the {n_aios} AIOs follows the MOS with SROCC {srocc[f'{method}, mean of the AIOs']:.3f}"
    return text + (f", one network of all observers with {srocc[method]:.3f}." if method in srocc else ".")


def selection(row: pd.Series) -> str:
    """What one method seems to gain when the test part chooses the epoch.

    Args:
        row: of `protocol_effect`, of accuracy.
    """
    points = with_interval(100 * row["gain"], 100 * row["low"], 100 * row["high"], 1)
    return f"{row['method']}: the faithful protocol seems to be {points} points of accuracy better."


def _minus(text: str) -> str:
    """Minus signs in place of hyphens."""
    return text.replace("-", "−")
