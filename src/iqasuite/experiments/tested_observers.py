"""What the artificial observers (AIOs) of a suite predict of its test part, scored beside rules and a ceiling."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from iqasuite.datasets import simulated
from iqasuite.datasets.dataset import Dataset, first_votes
from iqasuite.datasets.frames import LEAST_IMAGES
from iqasuite.errors import InputError
from iqasuite.evaluation.baselines import CEILING, MAJORITY, MOS_PERSONAL, baseline_predictions, nuisance_baselines
from iqasuite.evaluation.benchmark import median_scores
from iqasuite.evaluation.gains import gains
from iqasuite.evaluation.scores import score_frame
from iqasuite.evaluation.subjects.aios import aio_bias, specificity, specificity_summary
from iqasuite.evaluation.subjects.observers import bias_and_inconsistency
from iqasuite.evaluation.uncertainty import LEAST_TRAININGS
from iqasuite.inference.predictions import mean_of_aios
from iqasuite.names import natural_order

FEW = 5  # contents below which an interval only shows how far they differ
READABLE = 8  # observers beyond which a figure with all rules cannot be read
FITTED = (MAJORITY, MOS_PERSONAL)  # rules that are fitted to each observer and look at no file


@dataclass(frozen=True)
class Tested:
    """Predictions of a suite, and which of them are looked at in detail.

    Attributes:
        dataset: images and votes.
        predictions: predictions frame of all methods, protocols and parts.
        method, protocol: of the AIOs that are looked at in detail.
    """

    dataset: Dataset
    predictions: pd.DataFrame
    method: str
    protocol: str

    @cached_property
    def test(self) -> pd.DataFrame:
        """Predictions of the test part: no network was trained on it."""
        return self.predictions[self.predictions["part"] == "test"]

    @cached_property
    def aios(self) -> pd.DataFrame:
        """Predictions of all methods' AIOs."""
        return self.test[self.test["observer"] != ""]

    @cached_property
    def under_protocol(self) -> pd.DataFrame:
        """Predictions of all methods' AIOs under this protocol."""
        return self.aios[self.aios["protocol"] == self.protocol]

    @cached_property
    def main(self) -> pd.DataFrame:
        """Predictions of this method's AIOs under this protocol."""
        return self.under_protocol[self.under_protocol["model"] == self.method]

    @cached_property
    def observers(self) -> list[str]:
        """Observers that have an AIO of this method, in natural order."""
        return natural_order(self.main["observer"])

    @cached_property
    def images(self) -> np.ndarray:
        """Images that this method's AIOs have predicted."""
        return self.main["image"].unique()

    @cached_property
    def mos(self) -> pd.Series:
        """Mean of the first votes, by image."""
        return first_votes(self.dataset.votes).groupby("image")["vote"].mean()

    @cached_property
    def sources(self) -> pd.Series:
        """Source photograph, or content where none is known, by image."""
        return self.dataset.sources_of_images()

    @property
    def n_units(self) -> int:
        """How many independent contents or source photographs were tested."""
        return self.sources[self.images].nunique()

    @property
    def n_seeds(self) -> int:
        """How often each network was trained."""
        return self.main["seed"].nunique()

    @property
    def unit(self) -> str:
        """What is resampled, in words."""
        plain = all(content == source for content, source in self.dataset.sources.items())
        return "contents" if plain else "source photographs"

    @property
    def who(self) -> str:
        """Whose votes these are, in words."""
        return self.dataset.voters

    @property
    def on(self) -> str:
        """What was tested, in words."""
        return f"{len(self.images)} test images of {self.n_units} {self.unit}"

    @property
    def over(self) -> str:
        """What the intervals are over, in words."""
        if self.n_units < FEW:
            return f"bars span the {self.n_units} {self.unit}"
        trained = f" and {self.n_seeds} trainings"
        if self.n_seeds < LEAST_TRAININGS:
            trained = ", one training" if self.n_seeds == 1 else f", mean of {self.n_seeds} trainings"
        return f"95 % intervals over {self.n_units} {self.unit}{trained}"

    @property
    def here(self) -> str:
        """Data set, observers, images, method and protocol, in brackets behind a caption."""
        observers = f"{len(self.observers)} {self.who}"
        return f"({self.dataset.name}, {observers}, {self.on}, {self.method}, {self.protocol} protocol)"


def tested(dataset: Dataset, predictions: pd.DataFrame, method: str, protocol: str) -> Tested:
    """Predictions with the method and protocol that are looked at in detail.

    Args:
        dataset: images and votes.
        predictions: predictions frame of a suite.
        method: "" = the first one.
        protocol: "corrected" or "faithful".

    Raises:
        InputError: no AIOs of that method and protocol; those that there are are named.
    """
    aios = predictions[(predictions["part"] == "test") & (predictions["observer"] != "")]
    models = aios.loc[aios["protocol"] == protocol, "model"]
    if models.empty or method not in ("", *models):
        made = ", ".join(sorted(set(aios["model"] + " (" + aios["protocol"] + ")")))
        raise InputError(f"method={method!r}, protocol={protocol!r}: no predictions; there are {made}")
    return Tested(dataset, predictions, method or models.iloc[0], protocol)


def made_table(aios: pd.DataFrame) -> pd.DataFrame:
    """What each method's AIOs have predicted: model, protocol, observers, folds, seeds, images, votes."""
    grouped = aios.groupby(["model", "protocol"], sort=False)
    return grouped.agg(
        observers=("observer", "nunique"),
        folds=("fold", "nunique"),
        seeds=("seed", "nunique"),
        images=("image", "nunique"),
        votes=("target", "count"),
    ).reset_index()


def rules_of(found: Tested, split: pd.DataFrame) -> pd.DataFrame:
    """Predictions frame of the rules and of the ceiling, of the same votes as the AIOs', fold by fold.

    Args:
        found: the AIOs; where there is a network of all observers whose name their method's begins with, rules are made
            of its MOS as well.
        split: whose training and validation parts the rules are fitted on.
    """
    networks = found.predictions[
        (found.predictions["observer"] == "") & (found.predictions["protocol"] == found.protocol)
    ]
    name = max((name for name in networks["model"].unique() if found.method.startswith(name)), key=len, default="")
    networks = networks[networks["model"] == name]
    rules, main = [], found.main
    for fold, seed in main[["fold", "seed"]].drop_duplicates().itertuples(index=False):
        network = networks[(networks["fold"] == fold) & (networks["seed"] == seed)]
        who = main.loc[(main["fold"] == fold) & main["target"].notna(), "observer"].unique()
        mos = None if network.empty else network
        rules.append(baseline_predictions(found.dataset, split, fold, mos, found.protocol, who).assign(seed=seed))
    rated = main.dropna(subset="target")[["observer", "image"]].drop_duplicates()
    return pd.concat(rules, ignore_index=True).merge(rated, on=["observer", "image"])


def scores_of(found: Tested, rules: pd.DataFrame, n_boot: int, seed: int) -> pd.DataFrame:
    """Scores frame of all AIOs, rules, networks of all observers, and the AIOs of each method as a panel.

    Args:
        found: all predictions.
        rules: of `rules_of`.
        n_boot, seed: of the resampling.
    """
    panels = [mean_of_aios(own, found.mos) for _, own in found.aios.groupby(["model", "protocol"], sort=False)]
    of_mos = pd.concat([found.test[found.test["observer"] == ""], *panels], ignore_index=True)
    metrics = ("srocc", "plcc", "krcc", "rmse")
    of_observers = score_frame(pd.concat([found.aios, rules], ignore_index=True), found.sources, n_boot, seed)
    of_mos = median_scores(of_mos, found.sources, n_boot, seed, metrics, found.dataset.scale)
    return pd.concat([of_observers, of_mos], ignore_index=True)


def mean_of(scores: pd.DataFrame, model: str, metric: str) -> float:
    """A method's mean over the observers; nan where the method is not there."""
    rows = scores["model"].eq(model) & scores["metric"].eq(metric) & scores["observer"].eq("mean")
    return scores.loc[rows, "value"].item() if rows.any() else np.nan


def rules_on_files(dataset: Dataset) -> list[str]:
    """Names of the rules on what a file gives away."""
    return list(nuisance_baselines(dataset.nuisances).values())


def best_of(scores: pd.DataFrame, models: Iterable[str]) -> str:
    """The method with the highest mean accuracy; "" of none."""
    return max(models, key=lambda name: mean_of(scores, name, "accuracy"), default="")


def best_rule(found: Tested, scores: pd.DataFrame) -> str:
    """The rule that is to be beaten: the best of those on files and of those that are fitted to each observer."""
    present = set(scores["model"])
    return best_of(scores, [name for name in rule_names(found.dataset) if name in present])


def rule_names(dataset: Dataset) -> list[str]:
    """Names of the rules that an AIO should be better than, whether they are there or not."""
    return [MAJORITY, *rules_on_files(dataset), MOS_PERSONAL]


def headline_of(found: Tested, scores: pd.DataFrame) -> dict[str, object]:
    """The run's main numbers: accuracy and QWK of the AIOs, of the rules and of the ceiling."""
    file_rule = best_of(scores, rules_on_files(found.dataset))
    marks = {
        "AIO": found.method,
        "majority": MAJORITY,
        "file": file_rule,
        "MOS model": MOS_PERSONAL,
        "ceiling": CEILING,
    }
    headline = {"method": found.method, "observers": len(found.observers), "test images": len(found.images)}
    headline[found.unit] = int(found.n_units)
    for name, model in marks.items():
        headline |= {f"{metric}, {name}": mean_of(scores, model, metric) for metric in ("accuracy", "qwk")}
    return headline


def gains_of(found: Tested, rules: pd.DataFrame, n_boot: int, seed: int) -> pd.DataFrame:
    """`gains` of this method over all others and over the rules, on the same votes."""
    return gains(pd.concat([found.under_protocol, rules], ignore_index=True), found.method, found.sources, n_boot, seed)


def beside_rules(found: Tested, rules: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Rows of a scores frame that are of this method, of a rule or of the ceiling."""
    return scores[scores["model"].isin([found.method, *rules["model"]])]


def readable(found: Tested, rows: pd.DataFrame) -> pd.DataFrame:
    """With many observers, the rows of `beside_rules` with the marks that matter most: too many hide each other."""
    if len(found.observers) <= READABLE:
        return rows
    marks = [found.method, best_of(rows, rules_on_files(found.dataset)), MOS_PERSONAL, CEILING]
    return rows[rows["model"].isin(marks)]


def beside_best_rule(found: Tested, scores: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of every observer's AIO (own) and of the best rule for that observer (rule), by observer.

    Observers with fewer than `LEAST_IMAGES` rated test images have nan.
    """
    counted = scores[(scores["n"] >= LEAST_IMAGES) & (scores["metric"] == "accuracy")]
    own = counted[counted["model"] == found.method].set_index("observer")["value"]
    rules = counted[counted["model"].isin(rule_names(found.dataset))].groupby("observer")["value"].max()
    return pd.DataFrame({"own": own.reindex(found.observers), "rule": rules.reindex(found.observers)})


def per_fold(found: Tested) -> pd.DataFrame:
    """Accuracy, QWK, MAE and SROCC of every observer's AIO in every fold, mean over trainings."""
    folds = [score_frame(rows, found.sources, 0).assign(fold=fold) for fold, rows in found.main.groupby("fold")]
    table = pd.concat(folds)
    table = table[table["metric"].isin(["accuracy", "qwk", "mae", "srocc"]) & (table["observer"] != "mean")]
    return table[["model", "fold", "seeds", "observer", "n", "metric", "value"]]


def specificities(found: Tested, rules: pd.DataFrame, n_boot: int, seed: int) -> dict[str, pd.DataFrame]:
    """`specificity` of this method's AIOs, and of the rules that are fitted to each observer, by model."""
    beside = rules[rules["model"].isin(FITTED)]
    return {
        model: specificity(own, found.dataset.votes, found.sources, n_boot, seed)
        for model, own in [(found.method, found.main), *beside.groupby("model")]
    }


def summary_of(found: Tested, rules: pd.DataFrame, n_boot: int, seed: int) -> pd.DataFrame:
    """`specificity_summary` of this method's AIOs and of the rules that are fitted to each observer."""
    rows = pd.concat([found.main, rules[rules["model"].isin(FITTED)]], ignore_index=True)
    return specificity_summary(rows, found.dataset.votes, found.sources, n_boot, seed)


def bias_table(found: Tested) -> pd.DataFrame:
    """Bias and inconsistency of every observer and, with the ending `_aio`, of their AIO, in votes.

    Where the observers are simulated, `bias_true` is what they were made with.
    """
    on_test = found.dataset.votes[found.dataset.votes["image"].isin(found.images)]
    human, aios = bias_and_inconsistency(on_test, found.mos), aio_bias(found.main, found.mos)
    table = human.merge(aios, on="observer", suffixes=("", "_aio"))
    if not found.dataset.simulated:
        return table
    true = simulated.table()[["observer", "bias"]].rename(columns={"bias": "bias_true"})
    return table.merge(true, on="observer", how="left")


def correlation(table: pd.DataFrame, a: str, b: str) -> float:
    """Pearson correlation of two columns; nan with two rows or fewer."""
    return table[a].corr(table[b]) if len(table) > 2 else np.nan


def both_protocols(found: Tested) -> pd.DataFrame:
    """Predictions of the methods that were run under several protocols, each named `<method>, <protocol>`."""
    protocols = found.aios.groupby("model", sort=False)["protocol"].nunique()
    both = found.aios[found.aios["model"].isin(protocols.index[protocols > 1])]
    return both.assign(method=both["model"], model=both["model"] + ", " + both["protocol"])


def protocol_scores(found: Tested, n_boot: int, seed: int) -> pd.DataFrame:
    """Scores frame of `both_protocols`, a model for each protocol of a method; empty of one protocol only."""
    both = both_protocols(found).drop(columns="method")
    return score_frame(both, found.sources, n_boot, seed) if len(both) else both


def protocol_effect(found: Tested, n_boot: int, seed: int) -> pd.DataFrame:
    """What the faithful protocol seems to gain over the corrected one on the same votes.

    Args:
        found: methods that were run under both protocols.
        n_boot, seed: of the resampling.

    Returns:
        Rows of `gains` with the column method.
    """
    effects = []
    for name, own in both_protocols(found).groupby("method", sort=False):
        table = gains(own.drop(columns="method"), f"{name}, faithful", found.sources, n_boot, seed)
        effects.append(table[table["against"] == f"{name}, corrected"].assign(method=name))
    return pd.concat(effects, ignore_index=True)
