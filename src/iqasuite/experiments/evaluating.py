"""How well a trained model agrees with a data set's observers, for `iqasuite evaluate` and `iqasuite train`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from iqasuite.datasets import splits
from iqasuite.datasets.dataset import Dataset, first_votes
from iqasuite.errors import InputError
from iqasuite.evaluation.baselines import MAJORITY, majority
from iqasuite.evaluation.metrics import LEAST, why_unknown
from iqasuite.evaluation.rank_baselines import rank_scores, rank_statistics, short_name
from iqasuite.evaluation.resampled import KENDALL_LIMIT
from iqasuite.evaluation.scores import score_frame
from iqasuite.evaluation.uncertainty import LEAST_CONTENTS
from iqasuite.inference.predictions import predictions_frame
from iqasuite.inference.predictor import Predictor
from iqasuite.inference.stream import predicted_by
from iqasuite.training.quality import scores_of

MEAN = "baseline: mean"
OF_MEANS = ("mse", "rmse", "mae", "plcc", "plcc_logistic", "srocc", "krcc")
OF_VOTES = ("accuracy", "qwk", "mae", "mse_expected", "plcc", "srocc", "krcc", "cross_entropy")
_OF_LEVEL = ("mse", "rmse", "mae")  # mean nothing where a model's scale is not the set's
COLUMNS = {"value": ">9", "low": ">9", "high": ">9", "baseline": ">9", "n": ">6", "metric": "<0"}
RANK_COLUMNS = {"value": ">9", "low": ">9", "high": ">9", "n": ">6", "rank baseline": "<0"}
FEW = 10  # contents below which intervals are rough


def rated(dataset: Dataset, observer: str = "") -> pd.DataFrame:
    """What observers voted: image, content (source photograph, where known), reference and target.

    Args:
        dataset: of which the images with a rating are taken.
        observer: whose first votes are the target; "" = the mean opinion, on the set's own scale.

    Raises:
        InputError: no observer of that name; fewer than two rated images.
    """
    images = dataset.images.assign(content=dataset.sources_of_images().to_numpy())
    if observer:
        votes = first_votes(dataset.votes)
        target = votes[votes["observer"] == dataset.check_observer(observer)].set_index("image")["vote"]
        images = images.assign(target=images["image"].map(target))
    else:
        images = images.assign(target=images["mos"])
    rows = images.dropna(subset="target")[["image", "content", "reference", "target"]].reset_index(drop=True)
    if len(rows) < 2:
        raise InputError(f"{dataset.name}: {len(rows)} images with ratings; expected two or more")
    return rows


def in_part(rated: pd.DataFrame, split: pd.DataFrame, fold: int, part: str) -> pd.DataFrame:
    """The rows of one part of a split.

    Raises:
        InputError: no such part or fold, or fewer than two of its images are rated.
    """
    chosen = rated[rated["image"].isin(splits.part(split, fold, part))].reset_index(drop=True)
    if len(chosen) < 2:
        raise InputError(
            f"split, fold {fold}, part {part}: {len(chosen)} rated images of the set; expected two or more"
        )
    return chosen


def predicted_rows(
    predictor: Predictor,
    dataset: Dataset,
    rows: pd.DataFrame,
    observer: str,
    part: str,
    batch_size: int = 16,
    drop: bool = False,
    say: Callable[[str], None] = lambda text: None,
    watch: Callable[[Iterable, int], Iterable] = lambda items, total: items,
) -> pd.DataFrame:
    """Predictions frame of a no-reference model for `rated` rows, on the set's scale; of votes for an observer.

    Args:
        predictor: the model.
        dataset: where the images are.
        rows: of `rated`.
        observer: as of `rated`.
        part: named in the frame.
        batch_size: images at a time.
        drop: leave out images that cannot be read, with a line, instead of stopping.
        say: takes these lines.
        watch: wraps the items as they are done, such as with a progress bar.

    Raises:
        InputError: an image that cannot be read.
    """
    predictions = {}
    items = predicted_by([predictor], rows["image"].tolist(), dataset.read, batch_size)
    for image, found in watch(items, len(rows)):
        if not isinstance(found, str):
            predictions[image] = found[0][0]
        elif drop:
            say(f"{found}; left out")
        else:
            raise InputError(f"{found} (--missing drop goes on without)")
    rows = rows[rows["image"].isin(predictions)]
    ordered = [predictions[image] for image in rows["image"]]
    facts = (dataset.name, predictor.entry.name, "corrected", 0, 0, part, observer, rows["image"], rows["target"])
    if observer and all(prediction.distribution is not None for prediction in ordered):
        return predictions_frame(*facts, predicted=np.stack([prediction.distribution for prediction in ordered]))
    votes = np.array([prediction.vote for prediction in ordered])
    return predictions_frame(*facts, predicted=votes if observer else scores_of(votes, dataset.scale))


def compared_rows(
    name: str,
    dataset: Dataset,
    rows: pd.DataFrame,
    part: str,
    watch: Callable[[Iterable, int], Iterable] = lambda items, total: items,
) -> pd.DataFrame:
    """Predictions frame of a metric or full-reference network, turned so that higher = better, on its own scale.

    Images without a reference are left out. Where the set has a display size, both images of a pair are brought to it:
    there observers saw them, and distorted images of several sizes can be compared with one reference.

    Raises:
        InputError: fewer than two images have a reference; one that cannot be compared.
    """
    from iqasuite.inference.score import Task, scored, scorer_for
    from iqasuite.models.metrics.piq_metrics import METRICS

    rows = rows[rows["reference"] != ""]
    if len(rows) < 2:
        raise InputError(f"{dataset.name}: {len(rows)} rated images with a reference, which {name} compares them with")
    if dataset.regions:
        raise InputError(
            f"{dataset.name}: its images are parts of files, which {name} cannot compare; expected whole ones"
        )

    references = dict(zip(rows["image"], rows["reference"], strict=True))

    def read(path: Path) -> np.ndarray:
        name = path.relative_to(dataset.root).as_posix()
        return dataset.read(name, dataset.display_size, references.get(name))

    tasks = [Task(dataset.path(image), dataset.path(reference), read) for image, reference in references.items()]
    results = list(watch(scored(scorer_for([name]), tasks), len(tasks)))
    for result in results:
        if result.error:
            raise InputError(result.error)
    sign = METRICS[name].sign if name in METRICS else 1
    scores = sign * np.array([result.score for result in results])
    return predictions_frame(
        dataset.name, name, "corrected", 0, 0, part, "", rows["image"], rows["target"], predicted=scores
    )


def baseline_rows(predictions: pd.DataFrame, known: Sequence[float]) -> pd.DataFrame:
    """The rule that looks at no image, for the same ones: the mean of `known` targets, or their commonest vote."""
    first, n = predictions.iloc[0], len(predictions)
    keys = (first["protocol"], 0, 0, first["part"], first["observer"], predictions["image"], predictions["target"])
    if first["observer"]:
        return predictions_frame(first["dataset"], MAJORITY, *keys, predicted=majority(np.asarray(known), n))
    return predictions_frame(first["dataset"], MEAN, *keys, predicted=np.full(n, np.mean(known)))


def beside_trivial(predictions: pd.DataFrame, known: Sequence[float]) -> pd.DataFrame:
    """Predictions, and below them those of the rule that looks at no image, see `baseline_rows`."""
    return pd.concat([predictions, baseline_rows(predictions, known)], ignore_index=True)


def scores(predictions: pd.DataFrame, rows: pd.DataFrame, same_scale: bool = True) -> pd.DataFrame:
    """Scores frame with 95 % intervals by content, of the usual metrics, `mse` among them.

    Args:
        predictions: of one observer or of means, models and baselines.
        rows: of `rated`, for the contents.
        same_scale: whether predictions are on the targets' scale.
    """
    every = score_frame(predictions, rows.set_index("image")["content"])
    every = every[every["observer"] != "mean"]
    squared = every[every["metric"] == "rmse"].copy()
    squared[["value", "low", "high"]] **= 2
    every = pd.concat([squared.assign(metric="mse"), every], ignore_index=True)
    of_kind: tuple[str, ...] = OF_VOTES if (every["observer"] != "").any() else OF_MEANS
    wanted = [metric for metric in of_kind if same_scale or metric not in _OF_LEVEL]
    chosen = every[every["metric"].isin(wanted)]
    return chosen.sort_values("metric", kind="stable", key=lambda m: m.map(wanted.index), ignore_index=True)


def unknown(scores: pd.DataFrame, predictions: pd.DataFrame, rows: pd.DataFrame) -> str:
    """Which numbers of a model are not known and why, in one line; "" where all are.

    Args:
        scores: of `scores`, for the model and its baseline.
        predictions: of the model alone.
        rows: of `rated`, for the contents.
    """
    own = scores[~scores["model"].str.startswith("baseline: ")]
    names = own.loc[own["value"].isna(), "metric"].tolist()
    n, n_contents = len(predictions), rows["content"].nunique()
    if not names:
        without = own.loc[own["low"].isna(), "metric"].tolist()
        if without and n_contents < LEAST_CONTENTS:
            return f"no intervals: {n_contents} contents, expected {LEAST_CONTENTS} or more"
        if "krcc" in without and n > KENDALL_LIMIT:
            return f"no interval of krcc: {n:,} images, expected {KENDALL_LIMIT:,} at most (its pairs are their square)"
        return ""
    values = {name: predictions[name[:-1]].to_numpy() for name in ("predictions", "targets")}
    reason = why_unknown(values["predictions"], values["targets"], LEAST if "srocc" in names else 4)
    for name, found in values.items():
        reason = reason or (f"all {n} {name} are {found[0]:g}" if (found == found[0]).all() else "")
    return f"not known: {', '.join(names)} ({reason or 'no logistic could be fitted'})"


def beside_baseline(scores: pd.DataFrame) -> list[dict]:
    """One row a metric, `COLUMNS`: the model with its interval, and the baseline's value."""
    trivial = scores["model"].str.startswith("baseline: ")
    of_baseline = scores[trivial].set_index("metric")["value"]
    of_model = scores[~trivial]
    return of_model.assign(baseline=of_model["metric"].map(of_baseline))[list(COLUMNS)].to_dict("records")


def above_statistics(dataset: Dataset, predictions: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Scores frame of a model and of the rank baselines: SROCC with 95 % intervals by content, and the difference.

    Args:
        dataset: where the images are.
        predictions: of the model, one observer or means.
        rows: of `rated`, for the contents.
    """
    statistics = rank_statistics(dataset, predictions["image"].tolist())
    ranked = rank_scores(predictions, statistics, rows.set_index("image")["content"])
    return ranked.assign(**predictions.iloc[0][["dataset", "protocol", "part", "observer"]], seeds="0")


def beside_model(ranked: pd.DataFrame) -> list[dict]:
    """One row a rank baseline, `RANK_COLUMNS`, and last the difference of the model from the best of them."""
    rows = ranked.iloc[1:]
    names = rows["metric"].where(rows["metric"] != "srocc", rows["model"].map(short_name))
    return rows.assign(**{"rank baseline": names})[list(RANK_COLUMNS)].to_dict("records")


def heading(dataset: Dataset, model: str, rows: pd.DataFrame, observer: str, part: str) -> str:
    """What was evaluated, in one line."""
    scale = dataset.scale
    target = f"votes of {observer}" if observer else f"mean opinion ({scale.name}, {scale.low:g} to {scale.high:g})"
    simulated = ", simulated observers" if dataset.simulated else ""
    which = "all images" if part == "all" else f"{part} part"
    contents = rows["content"].nunique()
    rough = " (few: the intervals are rough)" if LEAST_CONTENTS <= contents < FEW else ""
    counts = f"{len(rows):,} images of {contents:,} contents{rough}"
    return f"{model} on {dataset.name}, {which}: {counts}, {target}{simulated}"


def read_split(path: Path | None, part: str | None) -> tuple[pd.DataFrame | None, str]:
    """The split in a file, and the part that is meant: "test" where none is named, "all" without a split."""
    if path is None and part is not None:
        raise InputError(f"--part {part} without --split; expected the split (CSV) that the part is of")
    return (None, "all") if path is None else (splits.read_split(path), part or "test")
