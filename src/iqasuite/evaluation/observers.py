"""Artificial observers (AIOs) beside the people: is an AIO like its own person rather than like people in general?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from iqasuite.errors import InputError
from iqasuite.evaluation import metrics
from iqasuite.evaluation.agreement import (
    SosFit,
    icc,
    krippendorff_alpha,
    pairwise_agreement,
    sos_parameter,
    vote_table,
)
from iqasuite.evaluation.ceilings import retest_ceiling, session_ceiling
from iqasuite.evaluation.people import (
    agreement_with_others,
    bias_and_inconsistency,
    content_of,
    first_votes,
    natural_order,
    retest,
)
from iqasuite.evaluation.predictions import P, hard_predictions
from iqasuite.evaluation.repetition import (
    duration_by_disagreement,
    position_effects,
    repeated_votes,
    response_time,
    session_drift,
)
from iqasuite.evaluation.screening import screen_bt500, screen_p913
from iqasuite.evaluation.subject_model import SubjectModel, fit_subject_model
from iqasuite.evaluation.thresholds import AccuracyThresholds, personal_thresholds
from iqasuite.evaluation.uncertainty import bootstrap_by_content, holm, paired_test_by_content

__all__ = [
    "AccuracyThresholds",
    "SosFit",
    "SubjectModel",
    "agreement_with_others",
    "aio_bias",
    "bias_and_inconsistency",
    "classification_report",
    "confusion_matrices",
    "content_of",
    "cross_comparison",
    "duration_by_disagreement",
    "first_votes",
    "fit_subject_model",
    "icc",
    "krippendorff_alpha",
    "natural_order",
    "pairwise_agreement",
    "personal_thresholds",
    "position_effects",
    "repeated_votes",
    "response_time",
    "retest",
    "retest_ceiling",
    "screen_bt500",
    "screen_p913",
    "session_ceiling",
    "session_drift",
    "sos_parameter",
    "specificity",
    "vote_table",
]


def _one_model(predictions: pd.DataFrame) -> pd.DataFrame:
    models = predictions["model"].unique()
    if len(models) != 1:
        raise InputError(f"predictions: {len(models)} models {list(models)[:5]}, expected the AIOs of exactly one")
    aios = predictions[predictions["observer"] != ""].copy()
    key = ["seed", "observer", "image"]
    if aios.duplicated(key).any():
        twice = aios[aios.duplicated(key)].iloc[0]
        raise InputError(
            f"predictions: AIO {twice['observer']!r} predicts {twice['image']!r} twice (part {twice['part']}, fold "
            f"{twice['fold']}), expected each image once a seed; choose one part"
        )
    aios["hard"] = hard_predictions(aios)
    return aios


def _with_votes(predictions: pd.DataFrame, votes: pd.DataFrame) -> pd.DataFrame:
    """Every AIO's predictions beside everybody's votes on the same images: columns aio, observer, vote and more."""
    aios = _one_model(predictions).rename(columns={"observer": "aio"})
    people = first_votes(votes)[["observer", "image", "vote"]]
    people = people[people["observer"].isin(aios["aio"])]
    return aios.merge(people, on="image")


def cross_comparison(predictions: pd.DataFrame, votes: pd.DataFrame) -> pd.DataFrame:
    """Every AIO against the votes of every person.

    What an AIO predicts does not depend on whom it is compared with, so the off-diagonal needs no further predictions:
    AIO i's are joined by image with person j's votes.

    Args:
        predictions: predictions frame of one model's AIOs, each image once per AIO and seed (folds pooled).
        votes: votes frame; each person's first vote on an image counts.

    Returns:
        Long frame aio, observer, metric (those of `metrics.evaluate_votes`), value, n; seeds pooled.

    Raises:
        InputError: several models, or an image predicted twice by one AIO and seed.
    """
    rows = []
    for (aio, observer), pair in _with_votes(predictions, votes).groupby(["aio", "observer"], sort=False):
        found = metrics.evaluate_votes(pair[P].to_numpy(float), pair["vote"].to_numpy(), pair["prediction"].to_numpy())
        rows += [(aio, observer, metric, value, len(pair)) for metric, value in found.items()]
    table = pd.DataFrame(rows, columns=["aio", "observer", "metric", "value", "n"])
    order = natural_order(table["observer"])
    rank = {name: position for position, name in enumerate(order)}
    keys = table["aio"].map(rank) * len(order) + table["observer"].map(rank)
    return table.iloc[np.argsort(keys.to_numpy(), kind="stable")].reset_index(drop=True)


def confusion_matrices(predictions: pd.DataFrame, votes: pd.DataFrame) -> dict[tuple[str, str], np.ndarray]:
    """Counts (5, 5), rows the person's vote, columns the AIO's, for every (aio, observer)."""
    joined = _with_votes(predictions, votes)
    order = {name: position for position, name in enumerate(natural_order(joined["aio"]))}
    found = {
        pair: metrics.confusion(rows["hard"].to_numpy(), rows["vote"].to_numpy())
        for pair, rows in joined.groupby(["aio", "observer"])
    }
    return dict(sorted(found.items(), key=lambda item: (order[item[0][0]], order[item[0][1]])))


def specificity(
    predictions: pd.DataFrame, votes: pd.DataFrame, contents: pd.Series, n_boot: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Is a person's own AIO closer to that person than the AIOs of other people are?

    Args:
        predictions: predictions frame of one model's AIOs, each image once per AIO and seed.
        votes: votes frame.
        contents: image -> content.
        n_boot, seed: resamples of contents for the interval.

    Returns:
        One row per observer, metric (accuracy, mae) and `against` ("mean of others", "best other"): own, other (the two
        values), best_other (its name, for "best other"), gain (positive = the own AIO is better: own − other for
        accuracy, other − own for mae), low, high (95 % interval of the gain by content), p (sign-flip test by content),
        p_holm (adjusted over the observers), n images, n_contents. The best other AIO is chosen on these same images,
        which favours it.

    Raises:
        InputError: fewer than two AIOs, several models, an image without content.
    """
    joined = _with_votes(predictions, votes)
    error = (joined["hard"] - joined["vote"]).abs()
    joined = joined.assign(accuracy=(error == 0).astype(float), mae=error.astype(float))
    if joined["aio"].nunique() < 2:
        raise InputError(f"predictions: {joined['aio'].nunique()} AIOs, expected at least two to compare")
    rows = []
    for observer in natural_order(joined["observer"]):
        person = joined[joined["observer"] == observer]
        for metric, sign in (("accuracy", 1), ("mae", -1)):
            by_aio = person.pivot_table(index="image", columns="aio", values=metric).dropna()  # seeds averaged
            if observer not in by_aio:
                continue
            own, others = by_aio[observer], by_aio.drop(columns=observer)
            best = (others.mean() * sign).idxmax()
            content = content_of(by_aio.index, contents)
            for against, other in (("mean of others", others.mean(axis=1)), ("best other", others[best])):
                gain = (sign * (own - other)).to_numpy()
                low, high = bootstrap_by_content(gain, content, n_boot, seed)
                rows.append(
                    {
                        "observer": observer,
                        "metric": metric,
                        "against": against,
                        "own": own.mean(),
                        "other": other.mean(),
                        "best_other": best if against == "best other" else "",
                        "gain": gain.mean(),
                        "low": low,
                        "high": high,
                        "p": paired_test_by_content(gain, content, seed),
                        "n": len(own),
                        "n_contents": len(np.unique(content)),
                    }
                )
    table = pd.DataFrame(rows)
    table.insert(10, "p_holm", table.groupby(["metric", "against"])["p"].transform(lambda p: holm(p.to_numpy())))
    return table


def aio_bias(predictions: pd.DataFrame, mos: pd.Series | None = None) -> pd.DataFrame:
    """Each AIO's bias: mean of its expected vote minus quality, in votes.

    Args:
        predictions: predictions frame of one model's AIOs, each image once per AIO and seed.
        mos: quality of each image (index image); None = the mean over the AIOs.

    Returns:
        observer, bias, inconsistency (standard deviation of what remains), n.
    """
    aios = _one_model(predictions)
    quality = aios.groupby("image")["prediction"].transform("mean") if mos is None else aios["image"].map(mos)
    residual = aios.assign(residual=aios["prediction"] - quality).dropna(subset="residual")
    table = residual.groupby("observer")["residual"].agg(bias="mean", inconsistency="std", n="count")
    return table.loc[natural_order(residual["observer"])].reset_index()


def classification_report(predictions: pd.DataFrame, votes: pd.DataFrame | None = None) -> pd.DataFrame:
    """Precision, recall and F1 of every vote class, per observer.

    Args:
        predictions: predictions frame of one model's AIOs; compared with its own `target`s (the person's votes).
        votes: give them to compare with each person's first vote instead.

    Returns:
        observer, vote (1–5), precision, recall, f1, support (images with that vote); nan where nothing was predicted
        (precision) or nobody voted so (recall, f1).
    """
    aios = _one_model(predictions)
    if votes is not None:
        people = first_votes(votes)[["observer", "image", "vote"]].rename(columns={"vote": "target"})
        aios = aios.drop(columns="target").merge(people, on=["observer", "image"])
    rows = []
    for observer in natural_order(aios["observer"]):
        own = aios[aios["observer"] == observer]
        counts = metrics.confusion(own["hard"].to_numpy(), own["target"].to_numpy())
        for k in range(5):
            right, predicted, support = counts[k, k], counts[:, k].sum(), counts[k].sum()
            rows.append(
                {
                    "observer": observer,
                    "vote": k + 1,
                    "precision": right / predicted if predicted else np.nan,
                    "recall": right / support if support else np.nan,
                    "f1": 2 * right / (predicted + support) if support else np.nan,
                    "support": int(support),
                }
            )
    return pd.DataFrame(rows)
