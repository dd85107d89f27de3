"""From predictions to scores: one number with its interval per model, observer and metric."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from iqasuite.datasets.frames import LEAST_IMAGES, SCORES, validate
from iqasuite.errors import InputError
from iqasuite.evaluation import resampled
from iqasuite.evaluation.metrics import logistic_map
from iqasuite.evaluation.subjects.observers import content_of
from iqasuite.evaluation.uncertainty import content_weights, interval, over_defined, over_trainings
from iqasuite.inference.predictions import P, hard_votes
from iqasuite.names import natural_order

# Weights of a block of resamples times images, so that memory does not grow with the number of images (32 MB).
_BLOCK = 4_000_000
_log = logging.getLogger(__name__)


def score_frame(predictions: pd.DataFrame, contents: pd.Series, n_boot: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Scores of every model, protocol and part in a predictions frame.

    Predictions of all folds are pooled per observer and the metric is computed once over them. Seeds are scored one by
    one and their scores averaged. Contents are resampled jointly for all observers and models, and trainings (seeds)
    with them, so the interval of the mean over observers holds for these observers, other contents and other trainings;
    with one or two trainings it is over contents only.

    Args:
        predictions: predictions frame, each image once per model, protocol, part, observer and seed. Rows without a
            target (images that an observer has not rated) are left out.
        contents: image -> content (or source photograph, where contents share one).
        n_boot: resamples of contents; 0 = no intervals.
        seed: of the resampling.

    Returns:
        Scores frame. Observers are scored with the metrics of `metrics.evaluate_votes`; models of MOS (observer "")
        with srocc, plcc, plcc_logistic, krcc, rmse and mae. Rows with observer "mean" are the mean over the observers
        with `LEAST_IMAGES` images or more for whom the metric is defined, their `n` the votes of all observers with so
        many images; the log names the others. With few contents (below about ten) the intervals are rough, below three
        they are nan.

    Raises:
        InputError: an image without content, an image predicted twice.
    """
    predictions = predictions.dropna(subset="target")
    _check_once(predictions)
    names = np.unique(content_of(predictions["image"].drop_duplicates(), contents).astype(str))
    drawn = np.vstack([np.ones((1, len(names))), content_weights(names, n_boot, seed)])  # row 0: the sample itself
    rows: list[dict[str, Any]] = []
    few: dict[str, str] = {}
    keys = ["dataset", "model", "protocol", "part"]
    for key, group in predictions.groupby(keys, sort=False):
        fixed = dict(zip(keys, key, strict=True))
        observers: dict[str, list[np.ndarray]] = {}
        counted = []
        of_observers = dict(tuple(group.groupby("observer")))
        for observer, own in ((name, of_observers[name]) for name in natural_order(of_observers)):
            found = _over_seeds(own, contents, names, drawn, seed)
            n = own["image"].nunique()
            rows += _rows(fixed, observer, n, found, own, contents)
            if observer == "":
                continue
            if n >= LEAST_IMAGES:
                counted.append(observer)
            else:
                few[observer] = f"{observer} ({n} of part {fixed['part']})"
            for metric, values in found.items():
                observers.setdefault(metric, []).append(values if n >= LEAST_IMAGES else np.full_like(values, np.nan))
        votes = int(group["observer"].isin(counted).sum() / group["seed"].nunique())
        rows += _rows(
            fixed, "mean", votes, {m: over_defined(np.nanmean, v) for m, v in observers.items()}, group, contents
        )
    if few and predictions["observer"].nunique() > 1:
        _log.warning(
            "scores: observers with fewer than %d rated images are not in the mean: %s",
            LEAST_IMAGES,
            ", ".join(few.values()),
        )
    return validate(pd.DataFrame(rows, columns=list(SCORES)), "scores", "score_frame")


def _check_once(predictions: pd.DataFrame) -> None:
    twice = predictions.duplicated(["dataset", "model", "protocol", "part", "observer", "seed", "image"])
    if twice.any():
        row = predictions[twice].iloc[0]
        raise InputError(
            f"predictions: model {row['model']!r}, observer {row['observer']!r}, part {row['part']!r} has image "
            f"{row['image']!r} twice, expected once a seed"
        )


def _over_seeds(
    own: pd.DataFrame, contents: pd.Series, names: np.ndarray, drawn: np.ndarray, seed: int
) -> dict[str, np.ndarray]:
    """Each metric (1 + n_boot,): the mean over the seeds, drawn anew in each resample; entry 0 is the value itself."""
    per_seed: dict[str, list[np.ndarray]] = {}
    for _, rows in own.groupby("seed"):
        code = np.searchsorted(names, content_of(rows["image"], contents).astype(str))
        for metric, values in _resample(rows, drawn, code).items():
            per_seed.setdefault(metric, []).append(values)
    return {metric: over_trainings(np.array(values), seed) for metric, values in per_seed.items()}


@np.errstate(invalid="ignore", divide="ignore")  # a resample may have none of an observer's contents: nan
def _resample(rows: pd.DataFrame, drawn: np.ndarray, code: np.ndarray) -> dict[str, np.ndarray]:
    target, prediction = rows["target"].to_numpy(float), rows["prediction"].to_numpy(float)
    if (rows["observer"] == "").all():
        mapping = logistic_map(prediction, target)
        mapped = np.full(len(rows), np.nan) if mapping is None else mapping(prediction)
        blocks = [resampled.mos_metrics(prediction, target, mapped, w) for w in _blocks(drawn, code)]
    else:
        p, votes = rows[P].to_numpy(float), target.astype(int)
        hard = hard_votes(p, prediction) if np.isfinite(prediction).all() else np.full(len(rows), np.nan)
        blocks = [resampled.vote_metrics(p, prediction, hard, votes, w) for w in _blocks(drawn, code)]
    return {metric: np.concatenate([block[metric] for block in blocks]) for metric in blocks[0]}


def _blocks(drawn: np.ndarray, code: np.ndarray) -> Iterator[np.ndarray]:
    """Image weights (b, n), in blocks of resamples."""
    size = max(1, _BLOCK // max(1, len(code)))
    for start in range(0, len(drawn), size):
        yield drawn[start : start + size][:, code]


def numbers_of(values: pd.Series) -> str:
    """The different whole numbers of a column as text, such as "0,1,2"."""
    return ",".join(str(value) for value in sorted(values.unique()))


def _rows(
    fixed: dict[str, Any], observer: str, n: int, found: dict[str, np.ndarray], group: pd.DataFrame, contents: pd.Series
) -> list[dict[str, Any]]:
    trained = {"seeds": numbers_of(group["seed"]), "folds": numbers_of(group["fold"])}
    n_contents = len(np.unique(content_of(group["image"].drop_duplicates(), contents).astype(str)))
    rows = []
    for metric, values in found.items():
        low, high = interval(values[1:], n_contents)
        rows.append(
            {**fixed, "observer": observer, "n": n, "metric": metric, "value": values[0], "low": low, "high": high}
            | trained
        )
    return rows
