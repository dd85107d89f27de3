"""What the project found, in sentences whose numbers are read from the suites' tables, never typed."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import pandas as pd

from iqasuite.csv_texts import read_csv
from iqasuite.datasets.frames import read_frame
from iqasuite.errors import InputError
from iqasuite.paths import results_root
from iqasuite.report.tables import own_first, with_interval

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finding:
    """A sentence or two, and where its numbers are seen: `run` and `figure` or table of a suite."""

    text: str
    suite: str
    run: str
    source: str  # file of the numbers, relative to the suite's results
    figure: str = ""  # file of a figure that shows them, "" where there is none

    @property
    def page(self) -> str:
        """The run's page, or the suite's where another run of its kind is shown; relative to the suite's results."""
        page = f"notebooks/{self.run}.html"
        return page if (results_root(self.suite) / page).is_file() else "index.html"


def findings() -> list[Finding]:
    """The main results of the suites that have been run; of another nothing is said, and a log line names it."""
    told = []
    for tell in (
        *(_simulated, _people, _individual, _few_votes, _repeated, _aio0, _maps),
        *(_photographs, _stills, _losses, _votes, _committed),
    ):
        try:
            told.append(tell())
        except (InputError, OSError, LookupError, ValueError) as error:
            log.info("no finding of %s: %s", tell.__name__.strip("_"), error)
    return told


def _simulated() -> Finding:
    text = _observers("demo", "demo", "{} simulated observers of the demo set")
    return Finding(text, "demo", "evaluate", "tables/evaluate/gains.csv", "figures/evaluate/cross_comparison.webp")


def _people() -> Finding:
    text = _observers("lab", "tta_h265_lab", "{} people who rated stills of H.265 video in a laboratory")
    return Finding(text, "lab", "evaluate", "tables/evaluate/gains.csv", "figures/evaluate/methods.webp")


def _individual() -> Finding:
    table = _table("lab", "evaluate/specificity_summary")
    best = table[table["model"].map(own_first) == 0].iloc[0]["model"]
    rows = table[table["model"] == best].set_index("metric")
    number = next(name for name in ("observers", "people") if name in rows)
    gains = {name: _difference(rows.loc[name], "gain") for name in ("accuracy", "srocc")}
    order = rows.loc["srocc"]
    text = (
        f"An AIO is nearer to its own observer's votes than the mean of the other AIOs is, by {gains['accuracy']} in "
        "accuracy, which strictness alone would give, too; in the order of images, which does not depend on "
        f"strictness, the gain is {gains['srocc']} in SROCC, and {int(order['ahead_of_best'])} of {int(order[number])} "
        "AIOs are ahead of the best of the others."
    )
    figure = "figures/evaluate/specificity.webp"
    return Finding(text, "lab", "evaluate", "tables/evaluate/specificity_summary.csv", figure)


def _few_votes() -> Finding:
    rows = _table("people", "many_lab_two/curve").query("metric == 'accuracy'").astype({"votes": str})
    after = rows.set_index(["method", "votes"])
    own, plain = after.loc["few-shot, named features"], after.loc[("bias only (P.910)", "5")]
    text = (
        f"An observer of the laboratory whom no network has learnt from is predicted, on scenes that it has not seen, "
        f"with accuracy {_value(own.loc['5'])} after five votes, {_value(own.loc['20'])} after twenty and "
        f"{_value(own.loc['all'])} after all; before any, as people in general, with "
        f"{_value(after.loc[('population', '0')])}; the usual correction of a bias has {_value(plain)} after five."
    )
    return Finding(text, "people", "many_lab_two", "tables/many_lab_two/curve.csv", "figures/many_lab_two/curve.webp")


def _repeated() -> Finding:
    rows = _scores("study", "aio_semi_real", "accuracy", "mean")
    own = rows[rows["model"].map(own_first) == 0].set_index(["model", "protocol"])
    rule, ours = _best(rows, 1), own.loc["ViT-IQA"]
    monotone = _table("study", "evaluate/marks").iloc[-1]["monotone thresholds on jpeg quality"]
    protocols = " and ".join(f"{_value(ours.loc[name])} in the {name} protocol" for name in ("corrected", "faithful"))
    text = (
        f"The individual-observer study, repeated with its votes on other images at the same JPEG qualities: accuracy "
        f"of ViT-IQA {protocols} ({ours['n'].iloc[0]:,} votes of {_n_observers('study')} observers), of JPEGResNet18 "
        f"{_value(own.loc[('JPEGResNet18', 'corrected')])}, beside {_value(rule)} of {_name(rule)}; thresholds chosen "
        f"for accuracy alone reach {monotone:.3f}."
    )
    return Finding(text, "study", "evaluate", "tables/evaluate/marks.csv", "figures/evaluate/marks.webp")


def _aio0() -> Finding:
    tables = [_table("aio0", f"{run}/held_out") for run in ("aio0_blocks", "aio0", "jpeg_resnet18")]
    ours, before, beside = (table[table["metric"] == "accuracy"].set_index("crops") for table in tables)
    kept = ours.loc["block grid kept"]
    text = (
        "The objective observer AIO0 reads the JPEG class of photographs that it has not seen with accuracy "
        f"{_value(kept)} ({int(kept['photographs'])} photographs, {int(kept['n']):,} crops; a guess 0.200) where its "
        f"patches are one JPEG block and keep their contrast, with {_value(before.loc['block grid kept'])} where "
        f"neither holds, as in the study; a narrow JPEGResNet18 has {_value(beside.loc['block grid kept'])}. Where the "
        f"crop does not begin on JPEG's grid of blocks, it has {_value(ours.loc['block grid shifted'])}."
    )
    return Finding(text, "aio0", "aio0_blocks", "tables/aio0_blocks/held_out.csv", "figures/aio0_blocks/held_out.webp")


def _maps() -> Finding:
    rows = _table("explain", "believed/localisation").query("metric == 'auc' and place == 'all'")
    auc = rows.set_index(["model", "distortion", "method"]).sort_index()
    quality, contrast = auc.loc[("jpeg_resnet18", "jpeg")].loc[["quality", "baseline: local contrast"]].iloc
    attention, default = auc.loc[("demo_aios/Obs1", "all", "attention")], auc.loc[("lite2_nr", "all", "quality")]
    text = (
        "Of JPEG distortions planted in a known place, JPEGResNet18's map of local quality finds that place with an "
        f"AUC of {_value(quality)} ({int(quality['n'])} images; local contrast {_value(contrast)}, chance 0.500). Of "
        f"blur, noise and JPEG, the attention of an AIO has {_value(attention)} ({int(attention['n'])} images) and the "
        f"quality map of the default network {_value(default)}; most maps do not say where an image is bad."
    )
    return Finding(
        text, "explain", "believed", "tables/believed/localisation.csv", "figures/believed/localisation.webp"
    )


def _photographs() -> Finding:
    text = _ranking("nr", "live_challenge", "clive_benchmark", "photographs of LIVE In the Wild")
    return Finding(text, "nr", "clive_benchmark", "scores.csv", "figures/clive_benchmark/medians.webp")


def _stills() -> Finding:
    text = _ranking("nr", "tta_h265_lab", "lab_benchmark", "stills of H.265 video")
    return Finding(text, "nr", "lab_benchmark", "scores.csv", "figures/lab_benchmark/medians.webp")


def _losses() -> Finding:
    rows = _table("fr", "compare/significance_loss")
    row = rows[rows["model"].str.contains("sorter") ^ rows["other"].str.contains("sorter")]
    row = row[~(row["model"] + row["other"]).str.contains("PLCC")].iloc[0]
    text = (
        f"As a loss for networks with a reference, {row['model']} and {row['other']} do not differ by more than a few "
        f"thousandths of SROCC: {_difference(row)} ({int(row['n']):,} pairs of {int(row['n_contents'])} photographs, "
        f"pseudo-labels, p = {row['p_holm']:.2g} after Holm)."
        if max(abs(row["low"]), abs(row["high"])) < 0.005
        else f"As a loss for networks with a reference, {row['model']} over {row['other']} gains {_difference(row)} in "
        f"SROCC ({int(row['n']):,} pairs of {int(row['n_contents'])} photographs, pseudo-labels)."
    )
    figure = "figures/compare/significance_loss.webp"
    return Finding(text, "fr", "compare", "tables/compare/significance_loss.csv", figure)


def _votes() -> Finding:
    rows = read_frame(results_root("fr") / "scores.csv", "scores")
    rows = rows[(rows["dataset"] == "tta_h265_lab") & (rows["part"] == "test") & (rows["metric"] == "srocc")]
    metrics, networks = (rows[(rows["protocol"] == "no training") == plain] for plain in (True, False))
    metric, network = (group.loc[group["value"].idxmax()] for group in (metrics, networks))
    sources = int(_table("fr", "compare/people_tta_h265_lab")["n_sources"].max())
    text = (
        "With the votes of people on stills that no network with a reference was trained on "
        f"({int(metric['n'])} pairs of {sources} source images, so no order of methods is certain), {metric['model']} "
        f"has SROCC {_value(metric)} and the best of {len(networks)} networks {_value(network)}."
    )
    return Finding(text, "fr", "compare", "scores.csv", "figures/compare/sources_tta_h265_lab.webp")


def _committed() -> Finding:
    rows = _scores("weights", "live_challenge", "srocc", "")
    rows = rows[rows["n"] == rows["n"].max()]
    network = rows[rows["model"].str.contains("mobile network")].iloc[0]
    others = rows[(rows["model"].map(own_first) == 0) & (rows["model"] != network["model"])]
    other, rule = others.loc[others["value"].idxmax()], _best(rows, 1)
    text = (
        f"The small committed network has SROCC {_value(network)} on {int(network['n'])} photographs of LIVE In the "
        f"Wild, each predicted by a network that has not seen its scene; {_name(other)} has "
        f"{_value(other)} and {_name(rule)} {_value(rule)}."
    )
    return Finding(text, "weights", "mobile_nr", "scores.csv", "figures/benchmark/medians.webp")


def _observers(suite: str, dataset: str, who: str) -> str:
    """AIOs beside the strongest rule and the ceiling, with the paired difference to the rule."""
    rows = _scores(suite, dataset, "accuracy", "mean")
    own, rule, ceiling = (_best(rows, place) for place in (0, 1, 2))
    gains = _table(suite, "evaluate/gains")
    pair = gains[(gains["metric"] == "accuracy") & (gains["against"] == rule["model"])].iloc[0]
    standing = _standing(pair["low"], pair["high"])
    trained = own["seeds"].count(",") + 1
    return (
        f"Artificial observers of {who.format(_n_observers(suite))} give the right vote with accuracy {_value(own)} "
        f"({int(own['n']):,} votes, {own['folds'].count(',') + 1} folds without a common scene, {trained} "
        f"training{'s' if trained > 1 else ''} each); {_name(rule)} has {_value(rule)}, so they are {standing} it "
        f"({_difference(pair, 'gain')} on the same votes); {_name(ceiling)} would have {_value(ceiling)}."
    )


def _ranking(suite: str, dataset: str, run: str, what: str) -> str:
    """The best method without a reference beside the strongest rule."""
    rows = _scores(suite, dataset, "srocc", "")
    own, rule = _best(rows, 0), _best(rows, 1)
    pairs = _table(suite, f"{run}/significance")
    pair = pairs[(pairs["model"] == own["model"]) & (pairs["other"] == rule["model"])]
    compared = (
        f" (difference {_difference(pair.iloc[0])}, {_standing(*pair.iloc[0][['low', 'high']])} it)"
        if len(pair)
        else ""
    )
    methods = int((rows["model"].map(own_first) == 0).sum())
    return (
        f"Without a reference, on {what}, the best of {methods} methods, {own['model']}, has SROCC {_value(own)} "
        f"({int(own['n'])} images, {own['folds'].count(',') + 1} splits by content); {_name(rule)} has "
        f"{_value(rule)}{compared}."
    )


def _standing(low: float, high: float) -> str:
    return "ahead of" if low > 0 else "behind" if high < 0 else "not told apart from"


def _scores(suite: str, dataset: str, metric: str, observer: str) -> pd.DataFrame:
    rows = read_frame(results_root(suite) / "scores.csv", "scores")
    wanted = (rows["dataset"] == dataset) & (rows["metric"] == metric) & (rows["observer"] == observer)
    return rows[wanted & (rows["part"] == "test")].dropna(subset="value")


def _best(rows: pd.DataFrame, place: int) -> pd.Series:
    """The highest score of own methods (0), baselines (1) or ceilings (2)."""
    group = rows[rows["model"].map(own_first) == place]
    return group.loc[group["value"].idxmax()]


def _n_observers(suite: str) -> int:
    observers = read_frame(results_root(suite) / "scores.csv", "scores")["observer"]
    return observers[~observers.isin(["", "mean"])].nunique()


def _table(suite: str, name: str) -> pd.DataFrame:
    return read_csv(results_root(suite) / "tables" / f"{name}.csv", "a table of the suite's results")


def _value(row: pd.Series) -> str:
    return with_interval(row["value"], row["low"], row["high"], 3)


def _difference(row: pd.Series, name: str = "difference") -> str:
    return with_interval(row[name], row["low"], row["high"], 3)


def _name(row: pd.Series) -> str:
    """A method's name within a sentence: of a baseline, what it is."""
    kind, _, rest = row["model"].partition(": ")
    return f"the {kind} “{rest}”" if rest else row["model"]
