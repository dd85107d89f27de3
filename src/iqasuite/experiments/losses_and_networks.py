"""All full-reference networks of a suite beside each other: losses, networks, batch sizes, metrics and votes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from iqasuite.datasets import load
from iqasuite.datasets.pseudo_labelled import CONSENSUS, PseudoLabelled, consensus
from iqasuite.errors import InputError
from iqasuite.evaluation.benchmark import median_scores, paired_significance, split_scores
from iqasuite.evaluation.source_by_source import source_scores, source_test
from iqasuite.experiments.full_reference import pseudo_labelled_pairs, pseudo_name, split_by_photograph
from iqasuite.experiments.pair_predictions import Votes
from iqasuite.experiments.run import Run
from iqasuite.inference import rated_pairs
from iqasuite.inference.predictions import check_split, read_predictions
from iqasuite.models.metrics.piq_metrics import METRICS
from iqasuite.report.provenance import read_runs

USUAL_BATCH = 16  # pairs, of methods without a note
_NAMES = ["variant", "loss", "more"]


@dataclass(frozen=True)
class Compared:
    """Methods that were trained and tested on the same pseudo-labelled pairs.

    Attributes:
        name: of the pairs, as tables have it.
        pairs: the pairs.
        split: by photograph.
        predictions: predictions frame of all methods of the corrected protocol on these pairs.
        everything: of all protocols and data sets.
        methods: model, variant, loss, more (the rest of the name), one row a method.
    """

    name: str
    pairs: PseudoLabelled
    split: pd.DataFrame
    predictions: pd.DataFrame
    everything: pd.DataFrame
    methods: pd.DataFrame

    @property
    def contents(self) -> pd.Series:
        """Photograph of each image (index image)."""
        return self.split.drop_duplicates("image").set_index("image")["content"]

    @property
    def test(self) -> pd.DataFrame:
        """The predictions of test parts, with the columns of `methods`."""
        return self.predictions[self.predictions["part"] == "test"].merge(self.methods, on="model", how="left")

    @property
    def seeds(self) -> list[int]:
        """Of all trainings on these pairs."""
        own = self.everything[self.everything["dataset"] == self.name]
        return sorted({int(seed) for seed in own["seed"]})

    def plain_grid(self) -> pd.DataFrame:
        """Test rows of methods that are a network and a loss and nothing more."""
        test = self.test
        return test[(test["more"] == "") & (test["loss"] != "")]


def compared_methods(run: Run, dataset: str, pairs: Mapping, n_splits: int, seed: int) -> Compared:
    """The methods of a suite whose predictions lie in `work/<suite>/pair_predictions/`.

    Args:
        run: whose folders are read and written.
        dataset, pairs, seed: as of `full_reference.material`.
        n_splits: number of splits by photograph.

    Raises:
        InputError: no predictions; networks that were tested on other pairs or another split.
    """
    everything, name = read_predictions(run.work / "pair_predictions"), pseudo_name(dataset)
    here = everything[everything["dataset"] == name]
    made = pseudo_labelled_pairs(dataset, pairs, seed)
    labels = here["image"].map(made.images.set_index("image")["mos"])
    if not (labels - here["target"]).abs().max() < 1e-6:
        found = "other pairs than the networks were tested on"
        raise InputError(f"dataset, pairs, seed: {found}; expected the same")
    split = split_by_photograph(run, dataset, made, n_splits, seed)
    corrected = check_split(here[here["protocol"] == "corrected"], split)
    methods = corrected[["model"]].drop_duplicates(ignore_index=True)
    parts = methods["model"].str.split(", ", n=2, expand=True).reindex(columns=range(3)).astype("string").fillna("")
    methods = methods.assign(**{name: parts[n] for n, name in enumerate(_NAMES)})
    return Compared(name, made, split, corrected, everything, methods)


def trained_table(run: Run, compared: Compared) -> pd.DataFrame:
    """What was trained: model, splits, seeds, pairs (of the test parts), width (of filters), seconds a training."""
    table = compared.test.groupby("model", sort=False).agg(
        splits=("fold", "nunique"), seeds=("seed", "nunique"), pairs=("image", "nunique")
    )
    runs = {described["extra"].get("method"): described for described in read_runs(run.suite).values()}
    table["width"] = [runs[model]["parameters"]["network"]["width"] for model in table.index]
    table["seconds a training"] = [runs[model]["extra"]["seconds a training"] for model in table.index]
    return table.reset_index()


def chosen_by_validation(compared: Compared, seed: int) -> str:
    """The method with the best median SROCC on the validation parts."""
    val = compared.predictions[compared.predictions["part"] == "val"].assign(part="test")
    scores = median_scores(val, compared.contents, 0, seed, ("srocc",))
    return scores.sort_values("value", ascending=False)["model"].iloc[0]


def over_the_others(compared: Compared, factor: str, n_boot: int, seed: int) -> pd.DataFrame:
    """Losses compared over all networks, or networks over all losses: on the same photographs, splits and seeds.

    Only losses that all networks were trained with are taken, and the first seed: one network a cell.

    Args:
        compared: of `compared_methods`.
        factor: "loss" or "variant".
        n_boot, seed: of the resampling.

    Returns:
        As `benchmark.paired_significance`; without rows where there is nothing to compare.
    """
    grid = compared.plain_grid()
    trained_with = grid.groupby("loss")["variant"].nunique()
    common = trained_with.index[trained_with == grid["variant"].nunique()]
    full = grid[grid["loss"].isin(common) & (grid["seed"] == grid["seed"].min())]
    if full[factor].nunique() < 2:
        return pd.DataFrame()
    other = "variant" if factor == "loss" else "loss"
    number = pd.factorize(full[other])[0] * 1000 + full["seed"]  # a method's networks stand as its seeds
    frame = full.assign(model=full[factor], seed=number).drop(columns=_NAMES)
    return paired_significance(frame, compared.contents, "srocc", n_boot, seed)


def within_networks(compared: Compared, n_boot: int, seed: int) -> pd.DataFrame:
    """All pairs of losses within each network (column `network`), first seed; without rows where there are none."""
    grid, tables = compared.plain_grid(), []
    for variant, own in grid[grid["seed"] == grid["seed"].min()].groupby("variant", sort=False):
        if own["loss"].nunique() > 1:
            frame = own.assign(model=own["loss"]).drop(columns=_NAMES)
            table = paired_significance(frame, compared.contents, "srocc", n_boot, seed)
            tables.append(table.assign(network=variant))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def with_several_seeds(compared: Compared, n_boot: int, seed: int) -> tuple[pd.DataFrame, float]:
    """Methods that were trained with several seeds, compared; and the standard deviation between seeds of one split.

    Returns:
        As `benchmark.paired_significance`, without rows where there are fewer than two such methods; and nan then.
    """
    grid = compared.plain_grid()
    seeds = grid.groupby("model")["seed"].nunique()
    several = list(seeds[seeds > 1].index)
    if len(several) < 2:
        return pd.DataFrame(), float("nan")
    frame = grid[grid["model"].isin(several)].drop(columns=_NAMES)
    scores = split_scores(frame).query("metric == 'srocc'")
    spread = scores.groupby(["model", "fold"])["value"].std().mean()
    return paired_significance(frame, compared.contents, "srocc", n_boot, seed), float(spread)


def batch_sizes(compared: Compared, n_boot: int, seed: int) -> pd.DataFrame:
    """Methods whose note names another batch size beside those of the usual one, on the splits and seeds they share.

    Returns:
        variant, loss, batch_size, value, low, high (SROCC), and folds; without rows where all have one size.
    """
    methods, test = compared.methods, compared.test
    others = methods[methods["more"].str.startswith("batch ")]
    usual = methods[(methods["more"] == "") & (methods["loss"] != "")]
    usual = usual.merge(others[["variant", "loss"]].drop_duplicates())
    names = [*usual["model"], *others["model"]]
    if others.empty:
        return pd.DataFrame()
    shared = {}
    for column in ("fold", "seed"):
        shared[column] = set.intersection(*(set(test.loc[test["model"] == name, column]) for name in names))
    rows = compared.predictions
    rows = rows[rows["model"].isin(names) & rows["fold"].isin(shared["fold"]) & rows["seed"].isin(shared["seed"])]
    sizes = median_scores(rows, compared.contents, n_boot, seed, ("srocc",)).merge(methods, on="model")
    sizes["batch_size"] = sizes["more"].str.removeprefix("batch ").replace("", str(USUAL_BATCH)).astype(int)
    return sizes.sort_values(["loss", "batch_size"]).assign(folds=len(shared["fold"]))


def metrics_on_test(compared: Compared, metrics: Sequence[str]) -> pd.DataFrame:
    """Predictions frame of metrics for all test parts; those that made the labels are marked with *."""
    test = compared.predictions[compared.predictions["part"] == "test"]
    values = rated_pairs.metric_values(compared.pairs, list(test["image"].unique()), metrics)
    titles = {metric: f"{METRICS[metric].title}{' *' if metric in CONSENSUS else ''}" for metric in metrics}
    return rated_pairs.metric_predictions(test, values.rename(columns=titles))


CONSENSUS_TITLE = "baseline: consensus of the labels"


def votes_on(compared: Compared, name: str, metrics: Sequence[str], side: int) -> Votes:
    """Networks, their ensembles, metrics and the consensus that made the labels, on a set that observers rated.

    Args:
        compared: of `compared_methods`.
        name: of the set.
        metrics: beside the networks.
        side: shorter side in pixels to which pairs are brought; 0 = as the set was shown.
    """
    data, everything = load(name, missing="drop"), compared.everything
    own = everything[(everything["dataset"] == name) & (everything["protocol"] != "faithful")]
    asked = {metric: rated_pairs.metric_predictor(metric) for metric in dict.fromkeys([*metrics, *CONSENSUS])}
    values = rated_pairs.predict_rated_pairs(data, asked, side)
    titles = {metric: METRICS[metric].title for metric in metrics}
    beside = (
        values[list(metrics)].rename(columns=titles).assign(**{CONSENSUS_TITLE: consensus(values[list(CONSENSUS)])})
    )
    frames = [own, rated_pairs.ensembles(own), rated_pairs.metric_predictions(own, beside)]
    return Votes(name, pd.concat(frames, ignore_index=True), data.sources_of_images())


def by_source(votes: Votes, scores: pd.DataFrame, chosen: str) -> pd.DataFrame:
    """`source_scores` of the four best metrics, PSNR, the six best networks, and the chosen one with its ensemble.

    Args:
        votes: of `votes_on`.
        scores: of `votes`, with metric "srocc".
        chosen: name of the method.
    """
    ranked, is_metric = _ranked(votes, scores)
    shown = [*ranked[is_metric][:4], "PSNR", *ranked[~is_metric][:6], chosen, f"{chosen}, ensemble"]
    return source_scores(votes.predictions[votes.predictions["model"].isin(shown)], votes.source)


def against_rival(votes: Votes, scores: pd.DataFrame, chosen: str, rival: str) -> pd.DataFrame:
    """The chosen method, its ensemble and the best one on these votes, each compared with a metric by photograph.

    Args:
        votes: of `votes_on`.
        scores, chosen: as of `by_source`.
        rival: title of the metric.

    Returns:
        As `source_test`, with the column `picked by`: "validation", or "these votes", which is too good.
    """
    ranked, is_metric = _ranked(votes, scores)
    networks = {chosen: "validation", f"{chosen}, ensemble": "validation", ranked[~is_metric].iloc[0]: "these votes"}
    rows = [
        source_test(votes.predictions, votes.source, network, rival) | {"picked by": by}
        for network, by in networks.items()
        if network in set(ranked)
    ]
    return pd.DataFrame(rows)


def _ranked(votes: Votes, scores: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Methods by SROCC, best first, and whether each is a metric."""
    ranked = scores[scores["metric"] == "srocc"].sort_values("value", ascending=False)["model"]
    return ranked, ~ranked.isin(votes.of_networks["model"])


def both_protocols(everything: pd.DataFrame) -> pd.DataFrame:
    """SROCC in both protocols, of methods of the faithful one: mean, min, max and count over splits."""
    methods = everything.loc[everything["protocol"] == "faithful", "model"].unique()
    both = everything[everything["model"].isin(methods) & everything["protocol"].isin(["corrected", "faithful"])]
    if both.empty:
        return both
    per_run = split_scores(both[both["part"] == "test"]).query("metric == 'srocc'")
    return per_run.groupby(["dataset", "model", "protocol"])["value"].agg(["mean", "min", "max", "count"]).reset_index()
