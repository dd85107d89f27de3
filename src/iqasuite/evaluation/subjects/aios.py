"""Artificial observers (AIOs) beside observers: is an AIO like its own observer rather than like the others?"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_fscore_support

from iqasuite.datasets.dataset import first_votes
from iqasuite.datasets.frames import LEAST_IMAGES
from iqasuite.errors import InputError
from iqasuite.evaluation import metrics, resampled, uncertainty
from iqasuite.evaluation.subjects.observers import content_of
from iqasuite.inference.predictions import VOTES, P, hard_predictions
from iqasuite.names import natural_order


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
    """Every AIO's predictions beside every observer's votes on the same images: columns aio, observer, vote and
    more."""
    aios = _one_model(predictions).rename(columns={"observer": "aio"})
    observers = first_votes(votes)[["observer", "image", "vote"]]
    observers = observers[observers["observer"].isin(aios["aio"])]
    return aios.merge(observers, on="image")


def cross_comparison(predictions: pd.DataFrame, votes: pd.DataFrame) -> pd.DataFrame:
    """Every AIO against the votes of every observer.

    What an AIO predicts does not depend on whom it is compared with, so the off-diagonal needs no further predictions:
    AIO i's are joined by image with observer j's votes.

    Args:
        predictions: predictions frame of one model's AIOs, each image once per AIO and seed (folds pooled).
        votes: votes frame; each observer's first vote on an image counts.

    Returns:
        Long frame aio, observer, metric (those of `metrics.evaluate_votes`), value, n; seeds pooled. Values are nan
        where n is below `LEAST_IMAGES`.

    Raises:
        InputError: several models, or an image predicted twice by one AIO and seed.
    """
    rows = []
    for (aio, observer), pair in _with_votes(predictions, votes).groupby(["aio", "observer"], sort=False):
        found = metrics.evaluate_votes(pair[P].to_numpy(float), pair["vote"].to_numpy(), pair["prediction"].to_numpy())
        found = found if len(pair) >= LEAST_IMAGES else dict.fromkeys(found, np.nan)
        rows += [(aio, observer, metric, value, len(pair)) for metric, value in found.items()]
    table = pd.DataFrame(rows, columns=["aio", "observer", "metric", "value", "n"])
    order = natural_order(table["observer"])
    rank = {name: position for position, name in enumerate(order)}
    keys = table["aio"].map(rank) * len(order) + table["observer"].map(rank)
    return table.iloc[np.argsort(keys.to_numpy(), kind="stable")].reset_index(drop=True)


def confusion_matrices(predictions: pd.DataFrame, votes: pd.DataFrame) -> dict[tuple[str, str], np.ndarray]:
    """Counts (5, 5), rows the observer's vote, columns the AIO's, for every (aio, observer)."""
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
    """Is an observer's own AIO closer to that observer than the AIOs of other observers are?

    Args:
        predictions: predictions frame of one model's AIOs, each image once per AIO and seed. The predictions of a rule
            that is fitted to each observer (`baselines.baseline_predictions`) are such a frame, too.
        votes: votes frame.
        contents: image -> content.
        n_boot, seed: resamples of contents and trainings for the interval.

    Returns:
        One row per observer, metric (accuracy, mae) and `against` ("mean of others", "best other"): own, other (the two
        values), best_other (its name, for "best other"), gain (positive = the own AIO is better: own − other for
        accuracy, other − own for mae), low, high (95 % over contents, and trainings where there are several), p
        (`paired_test`), p_holm (adjusted over the observers), p_least (the smallest p_holm that so many contents can
        give), n images, n_contents, trainings. The best other AIO is chosen on these same images,
        which favours it. Of an observer with fewer than `LEAST_IMAGES` images all values are nan.

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
        rated = joined[joined["observer"] == observer]
        for metric, sign in (("accuracy", 1), ("mae", -1)):
            by_aio = rated.pivot_table(index="image", columns=["aio", "seed"], values=metric)
            if observer not in by_aio.columns.get_level_values("aio"):
                continue
            own, others = by_aio[observer], by_aio.drop(columns=observer, level="aio")
            ahead = sign * others.T.groupby(level="aio").mean().T.rsub(own.mean(axis=1), axis=0).mean()
            best = ahead.idxmin()
            mean_of_others = others.T.groupby(level="seed").mean().T
            for against, other in (("mean of others", mean_of_others), ("best other", others[best])):
                both = own.notna().all(axis=1) & other.notna().all(axis=1)
                mine, theirs, content = own[both], other[both], content_of(by_aio.index[both], contents)
                weights, n_contents = uncertainty.content_weights(content, n_boot, seed), len(np.unique(content))
                drawn = [uncertainty.resampled_means(values.to_numpy(), weights, seed) for values in (mine, theirs)]
                name = best if against == "best other" else ""
                found = [drawn[0][0], drawn[1][0], name, *uncertainty.tested(sign * (drawn[0] - drawn[1]), n_contents)]
                if len(mine) < LEAST_IMAGES:
                    found = [np.nan, np.nan, "", *[np.nan] * 4]
                rows.append((observer, metric, against, *found, len(mine), n_contents, mine.shape[1]))
    columns = ["observer", "metric", "against", "own", "other", "best_other", "gain", "low", "high", "p", "n"]
    table = pd.DataFrame(rows, columns=[*columns, "n_contents", "trainings"])
    grouped = table.groupby(["metric", "against"])
    table.insert(10, "p_holm", grouped["p"].transform(lambda p: uncertainty.holm(p.to_numpy())))
    tests = grouped["p"].transform("count")
    table.insert(11, "p_least", [uncertainty.least_p(n, k) for n, k in zip(table["n_contents"], tests, strict=True)])
    return table


def specificity_summary(
    predictions: pd.DataFrame, votes: pd.DataFrame, contents: pd.Series, n_boot: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """For how many observers is their own AIO the closest, and is a rule that is fitted to each observer, too?

    An AIO that knows only how strict its observer is beats the mean of the others, too. So the rules stand beside it:
    an observer's most frequent vote, and one MOS for all observers with personal thresholds.

    Args:
        predictions: predictions frame of several models, each with an AIO (or fitted rule) for every observer.
        votes, contents, n_boot, seed: as of `specificity`.

    Returns:
        One row per model and metric (accuracy, qwk, srocc): observers (who have an AIO and `LEAST_IMAGES` images or
        more; the others do not count here), ahead_of_mean and ahead_of_best (for how many their own is better than the
        mean of the others, and than the best of the others), gain (own − mean of the others, mean over observers), low,
        high (95 % over contents, and trainings where there are several), trainings. srocc has no row
        for rules that give all observers the same order, or none.
    """
    rows = []
    for model, own in predictions[predictions["observer"] != ""].groupby("model", sort=False):
        joined = _with_votes(own, votes)
        names = natural_order(joined["aio"])
        for metric in ("accuracy", "qwk", "srocc"):
            pairs = _resampled_pairs(joined, names, metric, contents, n_boot, seed)
            if pairs is None:
                continue
            k = len(names)
            own = pairs[np.arange(k), np.arange(k)]
            others = np.where(np.eye(k, dtype=bool)[..., None], np.nan, pairs)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # of means of nothing: nan
                ahead, best = own - np.nanmean(others, axis=0), np.nanmax(others[..., 0], axis=0)
                gain = np.nanmean(ahead, axis=0)
            counted = int((joined.groupby("observer")["image"].nunique() >= LEAST_IMAGES).sum())
            n_contents = len(np.unique(content_of(joined["image"].drop_duplicates(), contents).astype(str)))
            numbers = counted, int((ahead[:, 0] > 0).sum()), int((own[:, 0] > best).sum())
            gains = gain[0], *uncertainty.interval(gain[1:], n_contents)
            rows.append((model, metric, *numbers, *gains, joined["seed"].nunique()))
    columns = ["model", "metric", "observers", "ahead_of_mean", "ahead_of_best", "gain", "low", "high", "trainings"]
    return pd.DataFrame(rows, columns=columns)


def _resampled_pairs(
    joined: pd.DataFrame, names: list[str], metric: str, contents: pd.Series, n_boot: int, seed: int
) -> np.ndarray | None:
    """The metric of every AIO with every observer (aios, observers, 1 + n_boot), entry 0 the sample itself, nan where
    they have too few images in common; None where it is not defined for anybody, or the same for all AIOs."""
    images = pd.Index(np.sort(joined["image"].unique()))
    content = content_of(images, contents)
    weights = np.vstack([np.ones((1, len(images))), uncertainty.content_weights(content, n_boot, seed)])
    found = np.empty((len(names), len(names), len(weights)))
    for column, observer in enumerate(names):
        of_aio: dict[str, list[np.ndarray]] = {}
        for (aio, _), rows in joined[joined["observer"] == observer].groupby(["aio", "seed"]):
            if len(rows) < LEAST_IMAGES:
                continue
            drawn = weights[:, images.get_indexer(rows["image"])]
            of_aio.setdefault(aio, []).append(_in_resamples(rows, metric, drawn))
        for row, aio in enumerate(names):
            found[row, column] = uncertainty.over_trainings(np.array(of_aio[aio]), seed) if aio in of_aio else np.nan
    plain = found[..., 0]
    alike = metric == "srocc" and np.allclose(plain, plain[:1], atol=1e-9, equal_nan=True)
    return None if alike or (metric != "accuracy" and not np.isfinite(np.diag(plain)).any()) else found


@np.errstate(invalid="ignore", divide="ignore")  # a resample may have none of an observer's images: nan
def _in_resamples(rows: pd.DataFrame, metric: str, weights: np.ndarray) -> np.ndarray:
    hard, vote = rows["hard"].to_numpy(int), rows["vote"].to_numpy(int)
    if metric == "srocc":
        return resampled.srocc(rows["prediction"].to_numpy(float), vote.astype(float), weights)
    return resampled.qwk(hard, vote, weights) if metric == "qwk" else resampled.mean(hard == vote, weights)


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


def classification_report(predictions: pd.DataFrame) -> pd.DataFrame:
    """Precision, recall and F1 of every vote class, per observer.

    Args:
        predictions: predictions frame of one model's AIOs; compared with its own `target`s (the observer's votes).

    Returns:
        observer, vote (1–5), precision, recall, f1, support (images with that vote); nan where nothing was predicted
        (precision) or nobody voted so (recall, f1).
    """
    aios = _one_model(predictions).dropna(subset="target").astype({"target": int})
    frames = []
    for observer in natural_order(aios["observer"]):
        own = aios[aios["observer"] == observer]
        scores = precision_recall_fscore_support(own["target"], own["hard"], labels=VOTES, zero_division=np.nan)
        table = pd.DataFrame(dict(zip(("precision", "recall", "f1", "support"), scores, strict=True)))
        table["f1"] = table["f1"].where(table["support"] > 0)
        table.insert(0, "observer", observer)
        table.insert(1, "vote", VOTES)
        frames.append(table)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
