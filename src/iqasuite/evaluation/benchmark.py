"""Models of MOS side by side: scores of every split, their medians, paired significance.

The protocol: several content-disjoint splits of one set (`fold` counts them), each with a validation part, and several
seeds. Every function takes a predictions frame with observer "" and, where the validation part is needed, its rows too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from iqasuite.datasets.dataset import Scale
from iqasuite.datasets.frames import SCORES, validate
from iqasuite.errors import InputError
from iqasuite.evaluation import metrics, resampled
from iqasuite.evaluation.scores import numbers_of
from iqasuite.evaluation.subjects.observers import content_of
from iqasuite.evaluation.uncertainty import (
    drawn_contents,
    holm,
    interval,
    least_p,
    over_defined,
    over_trainings,
    tested,
)
from iqasuite.names import natural_order

METRICS = ("srocc", "plcc", "plcc_logistic", "krcc", "rmse")
_METHOD, _RUN = ["dataset", "model", "protocol"], ["dataset", "model", "protocol", "seed", "fold"]
_PLAIN = metrics.METRICS | {"plcc_logistic": metrics.plcc}  # the plain correlation of mapped predictions
_log = logging.getLogger(__name__)


def split_scores(predictions: pd.DataFrame) -> pd.DataFrame:
    """Every metric of every run (model, protocol, seed and fold) on its test part.

    Args:
        predictions: predictions frame of models of MOS, parts val and test. The 4-parameter logistic of plcc_logistic
            is fitted to the validation rows of the same run and applied to its test rows; a run without validation
            rows (a note is logged) or without a fit has nan there.

    Returns:
        dataset, model, protocol, seed, fold, n (test images), metric (srocc, plcc, plcc_logistic, krcc, rmse), value.
        rmse is of the predictions as they are, in the unit of the target.

    Raises:
        InputError: predictions of observers, no test rows, an image twice in a run.
    """
    return _scores_of_runs(_tested(predictions, METRICS), METRICS)


def median_scores(
    predictions: pd.DataFrame,
    contents: pd.Series,
    n_boot: int = 1000,
    seed: int = 0,
    names: Sequence[str] = METRICS,
    scale: Scale | None = None,
) -> pd.DataFrame:
    """Median over splits of the mean over seeds, with the interval of that median.

    Splits of one set share images: resampling the splits themselves, as if they were independent, would give an
    interval that shrinks with every further split. Here the set's contents are resampled once for all splits, seeds and
    models; each run is scored again on its test images as often as their contents were drawn, the trainings (seeds) of
    each split are drawn anew as well, and the median is taken anew. So an image that several splits test counts as one
    image, and the interval holds for other contents and other trainings; with one or two trainings a split, for other
    contents only.

    Args:
        predictions: as in `split_scores`.
        contents: image -> content (or source photograph, where contents share one).
        n_boot: resamples of contents; 0 = no intervals.
        seed: of the resampling.
        names: which metrics. Intervals of krcc take time with the square of the number of test images (and are left out
            above `resampled.KENDALL_LIMIT`). The logistic is not fitted again in a resample.
        scale: of the targets; None = rmse for all methods.

    Returns:
        Scores frame, observer "", part "test", n = different test images. With few contents (below about ten) the
        intervals are rough. rmse is nan for a method with predictions outside of the scale: it is on another one.

    Raises:
        InputError: as in `split_scores`; an image without content, an unknown metric.
    """
    _known(names)
    test = _tested(predictions, names)
    plain = _scores_of_runs(test, names)
    per_split = plain.groupby([*_METHOD, "metric", "fold"], sort=False)["value"].mean()
    medians = per_split.groupby(level=[*_METHOD, "metric"], sort=False).median()
    about = test.groupby(_METHOD, sort=False)
    images, seeds, folds = about["image"].nunique(), about["seed"].agg(numbers_of), about["fold"].agg(numbers_of)
    elsewhere = set() if scale is None else _on_another_scale(test, scale)
    rows = []
    found = {}
    if n_boot:
        drawn, code = _drawn(test, contents, n_boot, seed)
        for metric in names:
            for key, values in _resampled_splits(test, metric, drawn, code).items():
                found[(*key, metric)] = interval(
                    over_defined(np.nanmedian, np.array(list(values.values())))[1:], drawn.shape[1]
                )
    for key, median in medians.items():
        *names_of_method, metric = key
        method = tuple(names_of_method)
        known = metric != "rmse" or method not in elsewhere
        numbers = (median, *found.get(key, (np.nan, np.nan))) if known else [np.nan] * 3
        rows.append((*method, "", "test", images[method], metric, *numbers, seeds[method], folds[method]))
    return validate(pd.DataFrame(rows, columns=list(SCORES)), "scores", "median_scores")


def paired_significance(
    predictions: pd.DataFrame, contents: pd.Series, metric: str = "srocc", n_boot: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Every two methods compared on the same images of the same splits.

    The difference is taken within each split (of the means over seeds), so that an easy or hard split cancels out, and
    its mean over the splits is tested: a median of ten splits jumps from one to the next between resamples. Contents
    are resampled once for all methods, splits and seeds, as in `median_scores`; predictions are never averaged, which
    would evaluate an ensemble. It answers whether these trained models differ on other contents of this kind. With
    fewer than some hundred test images the test is careful for rank correlations: images that are drawn twice are
    ties, which widens the spread (by a tenth with 90 images, not at all with 400).

    Args:
        predictions: as in `split_scores`, one data set; a method is a model (with its protocol, where there are
            several). Seeds may differ between methods.
        contents, n_boot, seed: as in `median_scores`.
        metric: one of METRICS.

    Returns:
        One row a pair, methods in order of their median, best first: model (the one with the better median), other,
        metric, difference (positive = `model` is better), low, high (95 %), p (two-sided, `paired_test`), p_holm (over
        all pairs), p_least (the smallest p_holm that so many contents can give), n images, n_contents.

    Raises:
        InputError: as in `split_scores`; several data sets, fewer than two methods, methods without a common split,
            other images or targets in one split.
    """
    _known([metric])
    sign = -1 if metric in metrics.LOWER_IS_BETTER else 1
    test = _tested(_with_method(predictions), [metric])
    _check_same_images(test)
    drawn, code = _drawn(test, contents, n_boot, seed)
    found = {key[1]: values for key, values in _resampled_splits(test, metric, drawn, code).items()}
    order = sorted(
        found,
        key=lambda m: -np.nan_to_num(sign * over_defined(np.nanmedian, np.array(list(found[m].values())))[0], nan=-9e9),
    )
    of_image = code.to_numpy()
    place = pd.Series(code.index.get_indexer(test["image"]), index=test.index)
    places = {fold: own.unique() for fold, own in place.groupby(test["fold"])}  # the same for all methods
    rows = []
    for model, other in combinations(order, 2):
        folds = sorted(set(found[model]) & set(found[other]))
        if not folds:
            raise InputError(f"predictions: {model!r} and {other!r} have no fold in common, expected the same splits")
        gain = over_defined(np.nanmean, [sign * (found[model][fold] - found[other][fold]) for fold in folds])
        images = np.unique(np.concatenate([places[fold] for fold in folds]))
        n_contents = len(np.unique(of_image[images]))
        rows.append((model, other, metric, *tested(gain, n_contents), len(images), n_contents))
    columns = ["model", "other", "metric", "difference", "low", "high", "p", "n", "n_contents"]
    table = pd.DataFrame(rows, columns=columns)
    table.insert(7, "p_holm", holm(table["p"].to_numpy(float)))
    table.insert(8, "p_least", [least_p(n, len(table)) for n in table["n_contents"]])
    return table


def on_common_splits(predictions: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Methods that can be ranked with each other: tested on the same images of the same splits.

    Args:
        predictions: predictions frame of models of MOS, one data set and protocol.

    Returns:
        The rows of the methods that were run on every split that any method was run on; and every method's rows of the
        splits and images that all methods have in common, empty where the first frame has all methods already.

    Raises:
        InputError: the methods have no split in common.
    """
    tested_on = {
        model: frozenset(zip(rows["fold"], rows["image"], strict=True))
        for model, rows in predictions[predictions["part"] == "test"].groupby("model")
    }
    everything, common = frozenset().union(*tested_on.values()), frozenset.intersection(*tested_on.values())
    complete = predictions[predictions["model"].isin([m for m, own in tested_on.items() if own == everything])]
    if len(complete) == len(predictions):
        return complete, predictions.iloc[:0]
    if not common:
        raise InputError("predictions: the methods have no test image of a split in common, expected the same splits")
    shared = pd.MultiIndex.from_frame(predictions[["fold", "image"]]).isin(list(common))
    folds = {fold for fold, _ in common}
    kept = shared | ((predictions["part"] != "test") & predictions["fold"].isin(folds))
    return complete, predictions[kept]


def _on_another_scale(test: pd.DataFrame, scale: Scale) -> set[tuple[Any, ...]]:
    """(dataset, model, protocol) of the methods with predictions outside of the targets' scale."""
    slack = 1e-6 * (scale.high - scale.low)
    outside = ~test["prediction"].between(scale.low - slack, scale.high + slack)
    return set(test.loc[outside, _METHOD].itertuples(index=False, name=None))


def per_distortion(predictions: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """SROCC within each distortion: median over splits of the mean over seeds, test part.

    Args:
        predictions: as in `split_scores`.
        images: images frame; images without a distortion are left out.

    Returns:
        dataset, model, protocol, distortion, n (different images), srocc; distortions in natural order. nan where no
        split has three images of a distortion that differ.

    Raises:
        InputError: as in `split_scores`; no image with a distortion.
    """
    test = _checked(predictions).query("part == 'test'")
    distortions = images.set_index("image")["distortion"]
    test = test.assign(distortion=test["image"].map(distortions).fillna(""))
    test = test[test["distortion"] != ""]
    if test.empty:
        raise InputError("images: column distortion is empty for all test images, expected their distortions")
    rows = []
    for key, own in test.groupby([*_RUN, "distortion"], sort=False):
        rows.append((*key, metrics.srocc(own["prediction"].to_numpy(), own["target"].to_numpy())))
    runs = pd.DataFrame(rows, columns=[*_RUN, "distortion", "srocc"])
    split = runs.groupby([*_METHOD, "distortion", "fold"], sort=False)["srocc"].mean()
    table = test.groupby([*_METHOD, "distortion"], sort=False)["image"].nunique().rename("n").to_frame()
    table["srocc"] = split.groupby(level=[*_METHOD, "distortion"]).median()
    table = table.reset_index()
    order = {name: number for number, name in enumerate(natural_order(table["distortion"]))}
    return table.sort_values("distortion", key=lambda names: names.map(order), kind="stable", ignore_index=True)


def cross_dataset_table(scores: pd.DataFrame) -> pd.DataFrame:
    """SROCC of models (rows) × data sets they were tested on (columns), best mean first.

    Args:
        scores: scores frame of models of MOS, part test; `protocol` says what a model was trained on, where it was
            trained on several.

    Returns:
        model, protocol, one column a data set, and mean over the data sets (nan where a model lacks one).

    Raises:
        InputError: no such rows, a model with several rows for one data set.
    """
    rows = scores[(scores["observer"] == "") & (scores["part"] == "test") & (scores["metric"] == "srocc")]
    if rows.empty:
        raise InputError("scores: no test rows of models of MOS with metric 'srocc'")
    if rows.duplicated(_METHOD).any():
        twice = rows[rows.duplicated(_METHOD)].iloc[0]
        raise InputError(f"scores: {twice['model']!r} twice on {twice['dataset']!r}, expected once a protocol")
    table = rows.pivot(index=["model", "protocol"], columns="dataset", values="value")
    table = table.reindex(columns=natural_order(rows["dataset"]))
    table["mean"] = table.mean(axis=1, skipna=False)
    return table.sort_values("mean", ascending=False, kind="stable").rename_axis(columns=None).reset_index()


def _checked(predictions: pd.DataFrame) -> pd.DataFrame:
    predictions = predictions.dropna(subset="target")  # images that nobody rated
    named = predictions.loc[predictions["observer"] != "", "observer"]
    if len(named):
        raise InputError(f"predictions: rows of observer {named.iloc[0]!r}, expected ''")
    if not (predictions["part"] == "test").any():
        raise InputError(f"predictions: parts {sorted(predictions['part'].unique())}, expected rows of part 'test'")
    twice = predictions.duplicated([*_RUN, "part", "image"])
    if twice.any():
        row = predictions[twice].iloc[0]
        raise InputError(
            f"predictions: model {row['model']!r}, seed {row['seed']}, fold {row['fold']}, part {row['part']!r} has "
            f"image {row['image']!r} twice, expected once"
        )
    return predictions


def _known(names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise InputError(f"metric {unknown[0]!r}: expected one of {', '.join(METRICS)}")


def _tested(predictions: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Test rows, ordered by image within each run; for plcc_logistic with a column `mapped`, nan without a fit."""
    predictions = _checked(predictions)
    test = predictions[predictions["part"] == "test"].sort_values("image", kind="stable", ignore_index=True)
    if "plcc_logistic" not in names:
        return test
    val = {run: rows for run, rows in predictions[predictions["part"] == "val"].groupby(_RUN)}
    mapped, unfitted = pd.Series(np.nan, index=test.index), []
    runs = test.groupby(_RUN, sort=False)
    for run, rows in runs:
        own = val.get(run, rows.iloc[:0])
        fit = metrics.logistic_map(own["prediction"].to_numpy(), own["target"].to_numpy()) if len(own) >= 4 else None
        if fit is None:
            unfitted.append(run[1])
        else:
            mapped[rows.index] = fit(rows["prediction"].to_numpy())
    if unfitted:
        reason, models = "without validation rows or a fit to them", "models " + ", ".join(dict.fromkeys(unfitted))
        _log.warning(
            "plcc_logistic: nan for %d of %d runs, %s (models %s)", len(unfitted), runs.ngroups, reason, models
        )
    return test.assign(mapped=mapped)


def _runs(test: pd.DataFrame, metric: str) -> Iterator[tuple[tuple[Any, ...], np.ndarray, pd.DataFrame]]:
    """Each run's key, the predictions that the metric is of, and its rows."""
    column = "mapped" if metric == "plcc_logistic" else "prediction"
    for run, rows in test.groupby(_RUN, sort=False):
        yield run, rows[column].to_numpy(), rows


def _scores_of_runs(test: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    rows = []
    for metric in names:
        for run, prediction, own in _runs(test, metric):
            defined = np.isfinite(prediction).all()
            value = _PLAIN[metric](prediction, own["target"].to_numpy()) if defined else float("nan")
            rows.append((*run, len(own), metric, value))
    return pd.DataFrame(rows, columns=[*_RUN, "n", "metric", "value"])


def _with_method(predictions: pd.DataFrame) -> pd.DataFrame:
    """One data set's predictions whose `model` names the protocol too where there are several."""
    predictions = _checked(predictions)
    datasets = sorted(predictions["dataset"].unique())
    if len(datasets) > 1:
        raise InputError(f"predictions: data sets {datasets}, expected one")
    if predictions["protocol"].nunique() > 1:
        predictions = predictions.assign(model=predictions["model"] + ", " + predictions["protocol"])
    if predictions["model"].nunique() < 2:
        raise InputError(f"predictions: only model {predictions['model'].iloc[0]!r}, expected two or more to compare")
    return predictions


def _check_same_images(test: pd.DataFrame) -> None:
    for fold, rows in test.groupby("fold"):
        runs = rows.groupby(["model", "seed"], sort=False)
        counts, first = runs.size(), rows["image"].nunique()
        if (counts != first).any():
            model, seed = counts.index[(counts != first).to_numpy()][0]
            raise InputError(
                f"predictions: fold {fold}: model {model!r}, seed {seed} has {counts[model, seed]} of the "
                f"{first} images that were tested, expected the same for all models"
            )
        targets = rows.groupby("image")["target"]
        spread = targets.max() - targets.min()
        if (spread > 1e-6).any():
            raise InputError(f"predictions: fold {fold}: image {spread.idxmax()!r} has several targets, expected one")


def _drawn(test: pd.DataFrame, contents: pd.Series, n_boot: int, seed: int) -> tuple[np.ndarray, pd.Series]:
    """Draws of contents (1 + n_boot, contents), of which row 0 is the sample itself, and each image's place among the
    contents (index image)."""
    images = pd.Index(np.sort(test["image"].unique()))
    names, code = np.unique(content_of(images, contents).astype(str), return_inverse=True)
    drawn = np.vstack([np.ones((1, len(names))), drawn_contents(len(names), n_boot, seed)])
    return drawn, pd.Series(code, index=images)


def _resampled_splits(
    test: pd.DataFrame, metric: str, drawn: np.ndarray, code: pd.Series
) -> dict[tuple[Any, ...], dict[int, np.ndarray]]:
    """(dataset, model, protocol) -> fold -> the metric in each draw (b,), mean over the seeds, which are drawn anew.

    Runs that were tested on the same images are resampled together.
    """
    together: dict[tuple[Any, ...], list[tuple[tuple[Any, ...], np.ndarray]]] = {}
    for run, prediction, rows in _runs(test, metric):
        same = (run[0], run[-1], tuple(rows["image"]), rows["target"].to_numpy().tobytes())
        together.setdefault(same, []).append((run, prediction))
    seeds: dict[tuple[Any, ...], dict[int, list[np.ndarray]]] = {}
    for (_, fold, images, target), runs in together.items():
        weights = drawn[:, code[list(images)].to_numpy()]
        values = _resampled(metric, np.array([value for _, value in runs]), np.frombuffer(target), weights)
        for (run, _), own in zip(runs, values, strict=True):
            seeds.setdefault(run[:3], {}).setdefault(fold, []).append(own)
    return {
        key: {fold: over_trainings(np.array(values), fold) for fold, values in folds.items()}
        for key, folds in seeds.items()
    }


@np.errstate(invalid="ignore", divide="ignore")  # a draw may have none of a split's contents: nan
def _resampled(metric: str, predictions: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The metric of predictions (m, n) in each resample, (m, b)."""
    if metric == "krcc":
        return np.array([resampled.krcc(prediction, target, weights) for prediction in predictions])
    many = {"srocc": resampled.sroccs, "rmse": resampled.rmses}.get(metric, resampled.plccs)
    return many(predictions, target, weights)
