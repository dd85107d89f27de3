"""Models of MOS photograph by photograph: what a set with few sources can tell."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from iqasuite.errors import InputError
from iqasuite.evaluation.gains import trainings_of
from iqasuite.evaluation.metrics import srocc
from iqasuite.evaluation.uncertainty import content_weights, least_p, paired_test, resampled_means

ALL = "all"
_RUN = ["model", "protocol", "seed", "fold"]


def source_scores(predictions: pd.DataFrame, source: Mapping[str, str] | pd.Series) -> pd.DataFrame:
    """Rank correlation within each source photograph, and over all images, of every model.

    Args:
        predictions: predictions frame of models of MOS on one set; rows of part "test" are taken.
        source: image -> source photograph.

    Returns:
        model, source ("all": everything together), n (images), srocc: mean over protocols' seeds and folds, nan where
        a source has fewer than three images, or all have one score or one MOS.

    Raises:
        InputError: no test rows, several sets, an image without a source.
    """
    grouped = _runs(predictions, source).groupby(["model", "source"], sort=False)
    return grouped.agg(n=("n", "first"), srocc=("srocc", "mean")).reset_index()


def _runs(predictions: pd.DataFrame, source: Mapping[str, str] | pd.Series) -> pd.DataFrame:
    """Rank correlation within each source photograph, and over all images, of every training: model, seed, source, n,
    srocc."""
    test = predictions[predictions["part"] == "test"]
    if test.empty or test["dataset"].nunique() > 1:
        found = ", ".join(sorted(predictions["dataset"].unique())) or "no rows"
        raise InputError(f"predictions: {len(test)} test rows of {found}; expected some of one set")
    of_image = test["image"].map(source)
    if of_image.isna().any():
        raise InputError(f"image {test['image'][of_image.isna()].iloc[0]!r} has no source, expected one for each image")
    rows = []
    for (model, _, seed, _), own in test.assign(source=of_image).groupby(_RUN, sort=False):
        for name, part in [(ALL, own), *own.groupby("source")]:
            value = srocc(part["prediction"].to_numpy(), part["target"].to_numpy())
            rows.append((model, seed, name, part["image"].nunique(), value))
    return pd.DataFrame(rows, columns=["model", "seed", "source", "n", "srocc"])


def source_test(
    predictions: pd.DataFrame, source: Mapping[str, str] | pd.Series, model: str, other: str
) -> dict[str, object]:
    """Whether one model orders each photograph's distorted images better than another, tested over the photographs.

    Photographs are drawn anew, and the trainings of both models with them where there are several (`over_trainings`).
    With four photographs p is never below .125 (`least_p`), whatever the data. That is no defect of the test; it is
    what four photographs can tell.

    Args:
        predictions, source: as of `source_scores`.
        model, other: names of two models.

    Returns:
        model, other, difference (SROCC over all images), within (mean over sources of the difference within each),
        better_on (sources on which `model` is better, half of the level ones), n_sources (that both have a correlation
        on), p (two-sided, `paired_test`; nan with fewer than two such sources), p_least.

    Raises:
        InputError: an unknown model, or as `source_scores`.
    """
    runs = _runs(predictions, source)
    for name in (model, other):
        if name not in set(runs["model"]):
            raise InputError(f"model {name!r}: no predictions, expected one of {', '.join(runs['model'].unique())}")
    tables = [trainings_of(runs[runs["model"] == name], ["source"], ["srocc"])["srocc"] for name in (model, other)]
    gain = tables[0].mean(axis=1) - tables[1].mean(axis=1)
    within, drawn = gain.drop(ALL).dropna(), np.array([np.nan])
    if len(within):
        weights = content_weights(within.index)
        of_model = [resampled_means(table.loc[within.index].to_numpy(), weights) for table in tables]
        drawn = of_model[0] - of_model[1]
    return {
        "model": model,
        "other": other,
        "difference": float(gain[ALL]),
        "within": float(within.mean()),
        "better_on": float((within > 1e-12).sum() + 0.5 * (within.abs() <= 1e-12).sum()),
        "n_sources": len(within),
        "p": paired_test(drawn, len(within)),
        "p_least": least_p(len(within)),
    }
