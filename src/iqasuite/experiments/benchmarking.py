"""All methods of a suite that predict the mean opinion score (MOS), beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from iqasuite.datasets.dataset import Dataset
from iqasuite.errors import InputError
from iqasuite.evaluation.benchmark import METRICS, cross_dataset_table, median_scores, on_common_splits
from iqasuite.evaluation.rank_baselines import METRICS as RANK_METRICS
from iqasuite.evaluation.rank_baselines import rank_baselines, rank_statistics
from iqasuite.experiments.run import Run
from iqasuite.inference.predictions import check_split, read_predictions
from iqasuite.report.tables import with_interval
from iqasuite.training.aio import PROTOCOLS

STATED = ("srocc", "plcc", "krcc")  # what a publication says of a method, in this order


@dataclass(frozen=True)
class Benchmark:
    """Predictions of MOS on one set.

    Attributes:
        data: the set.
        contents: image -> content, those that show (nearly) the same scene joined.
        everything: predictions frame of all sets of the suite.
        here: of this set, all protocols.
        corrected: of the corrected protocol, checked against the split.
        complete: of the methods that were tested on every split.
        common: of all methods, on the splits and images that they share; without rows where all are complete.
    """

    data: Dataset
    contents: pd.Series
    everything: pd.DataFrame
    here: pd.DataFrame
    corrected: pd.DataFrame
    complete: pd.DataFrame
    common: pd.DataFrame

    @property
    def tested(self) -> pd.Index:
        """Images of the test parts."""
        return pd.Index(self.corrected.loc[self.corrected["part"] == "test", "image"].unique())

    @property
    def described(self) -> str:
        """Set, number of test images and of their contents, for captions."""
        n_contents = self.contents[self.tested].nunique()
        return f"{self.data.name}: {len(self.tested)} test images of {n_contents} contents"

    @property
    def seeds(self) -> list[int]:
        """Of all trainings on the set."""
        return sorted({int(seed) for seed in self.here["seed"]})

    def predicted(self) -> pd.DataFrame:
        """What was predicted: model, protocol, splits, trainings, test_images."""
        made = self.here[self.here["part"] == "test"].groupby(["model", "protocol"], sort=False)
        counts = made.agg(splits=("fold", "nunique"), trainings=("seed", "nunique"), test_images=("image", "nunique"))
        return counts.reset_index()

    def scores(self, n_boot: int, seed: int) -> pd.DataFrame:
        """Scores frame of complete methods, rank baselines, the faithful protocol, and what learnt elsewhere."""
        plain = rank_baselines(
            self.complete[self.complete["part"] == "test"], rank_statistics(self.data, list(self.tested))
        )
        as_the_study = self.here[self.here["protocol"] == "faithful"]
        elsewhere = self.here[~self.here["protocol"].isin(PROTOCOLS)]  # on the scale of the set they learnt
        groups = ((self.complete, METRICS), (plain, RANK_METRICS), (as_the_study, METRICS), (elsewhere, METRICS[:2]))
        tables = [
            median_scores(rows, self.contents, n_boot, seed, names, self.data.scale)
            for rows, names in groups
            if len(rows)
        ]
        return pd.concat(tables, ignore_index=True)


def benchmark(run: Run, data: Dataset, n_splits: int, n_folds: int, seed: int) -> Benchmark:
    """The predictions of a suite's models of MOS, on the suite's split.

    Args:
        run: whose suite it is.
        data: the data set.
        n_splits, n_folds, seed: of the split, see `splits.suite_split`. With folds, the networks that artificial
            observers start from are taken as well: they predict MOS on the same folds.

    Raises:
        InputError: no predictions; methods that share no test image; predictions made with another split.
    """
    split, sources = run.mos_split(data, n_splits, n_folds, seed)
    contents = data.images.dropna(subset="mos").set_index("image")["content"]
    contents = contents.map(lambda content: sources.get(content, content))
    everything, aios = read_predictions(run.work / "mos_predictions"), run.work / "predictions"
    if n_folds and aios.is_dir():
        of_mos = read_predictions(aios, data.name, split).query("observer == ''")
        everything = pd.concat([everything, of_mos], ignore_index=True)
    here = everything[everything["dataset"] == data.name]
    corrected = check_split(here[here["protocol"] == "corrected"], split)
    return Benchmark(data, contents, everything, here, corrected, *on_common_splits(corrected))


def protocols_side_by_side(scores: pd.DataFrame) -> pd.DataFrame:
    """SROCC and PLCC with their intervals, as text, of methods of the faithful protocol in both protocols.

    Args:
        scores: scores frame of one set.

    Returns:
        model, and a column a metric and protocol; without rows where nothing was predicted in the faithful protocol.
    """
    both = scores[scores["protocol"].isin(PROTOCOLS) & scores["metric"].isin(["srocc", "plcc"])]
    faithful = both.loc[both["protocol"] == "faithful", "model"].unique()
    if not len(faithful):
        return pd.DataFrame()
    numbers = both[["value", "low", "high"]].to_numpy()
    text = [with_interval(value, low, high, 3) for value, low, high in numbers]
    table = both.assign(text=text).pivot(index="model", columns=["metric", "protocol"], values="text")
    table = table.loc[faithful].fillna("–")
    table.columns = [f"{metric}, {protocol}" for metric, protocol in table.columns]
    return table.reset_index()


def beside_published(scores: pd.DataFrame, published: Mapping[str, Sequence]) -> pd.DataFrame:
    """Methods with their intervals, as text, each beside a row of a publication's table.

    Args:
        scores: scores frame of one set and protocol.
        published: method -> the row of the publication that it stands beside: its name there, SROCC, PLCC, KRCC.

    Returns:
        model, srocc, plcc, krcc (dashes where it was not run); published, the name there, and published_srocc, _plcc
        and _krcc.

    Raises:
        InputError: a published row that is not a name and three numbers.
    """
    known = {(row.model, row.metric): with_interval(row.value, row.low, row.high, 3) for row in scores.itertuples()}
    rows = []
    for model, stated in published.items():
        if len(stated) != 1 + len(STATED) or not all(isinstance(value, (int, float)) for value in stated[1:]):
            raise InputError(f"published: {model}: found {list(stated)}; expected a name and {', '.join(STATED)}")
        rows.append((model, *(known.get((model, metric), "–") for metric in STATED), *stated))
    return pd.DataFrame(rows, columns=["model", *STATED, "published", *(f"published_{metric}" for metric in STATED)])


def across_sets(predictions: pd.DataFrame, seed: int) -> pd.DataFrame:
    """SROCC of every method on every set of a suite, see `cross_dataset_table`.

    Args:
        predictions: predictions frame of several sets and protocols.
        seed: of the medians' (empty) resampling.
    """
    tables = []
    for _, own in predictions.groupby(["dataset", "protocol"], sort=False):
        complete, _ = on_common_splits(own)
        images = pd.Series(complete["image"].unique(), index=complete["image"].unique())
        tables.append(median_scores(complete, images, 0, seed, ("srocc",)))
    return cross_dataset_table(pd.concat(tables, ignore_index=True))
