"""`iqasuite evaluate`: how good the scores of a model are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iqasuite.cli.options import BatchSize, Format, Missing, Output, Precision, RatedSet, check_precision, model_names
from iqasuite.cli.results import Target, warn, watched
from iqasuite.cli.scoring import network_of
from iqasuite.csv_texts import frame_csv
from iqasuite.paths import write_atomic

if TYPE_CHECKING:
    import pandas as pd

    from iqasuite.datasets.dataset import Dataset
    from iqasuite.weights.catalogue import Entry

_MODEL = "Name or weights (iqasuite models), or a metric."
_OBSERVER = "Against this observer's votes (an AIO: its own observer's), not the mean."
Model = Annotated[str, typer.Option(help=_MODEL, autocompletion=model_names)]
Part = Annotated[str | None, typer.Option(metavar="train|val|test", help="Only this part of --split.")]
Split = Annotated[Path | None, typer.Option(help="Split (CSV), as iqasuite train leaves it.")]
Fold = Annotated[int, typer.Option(help="Of the split.")]
Observer = Annotated[str | None, typer.Option(help=_OBSERVER)]
Predictions = Annotated[Path | None, typer.Option(help="CSV for the prediction of each image.")]


def evaluate(
    model: Model,
    test_data: RatedSet,
    part: Part = None,
    split: Split = None,
    fold: Fold = 0,
    observer: Observer = None,
    missing: Missing = "error",
    form: Format = None,
    output: Output = None,
    predictions: Predictions = None,
    batch_size: BatchSize = 16,
    precision: Precision = "auto",
) -> None:
    """Evaluate how well a model agrees with a set's observers.

    Errors and correlations have 95 % intervals over contents, which are resampled as wholes, and stand beside a trivial
    rule, the mean of these very images; below them is the SROCC of four statistics of the image, such as its sharpness,
    that took no training. MSE is on the set's own scale, to which the model's scale is stretched, end to end. Models
    that compare are asked about the images that have a reference, both at the display size of a set that has one, and
    have no MSE. What cannot be known, such as an interval from two contents, is a dash, and a line says why. Where the
    model has seen some of the images in training, as far as its card says, a warning counts them.

    \b
    Example: iqasuite evaluate --test-data live_challenge --model mobile_nr
    Example: iqasuite evaluate --test-data my_study/ --model w.safetensors --part test --split w_split.csv
    """
    target = Target(output, form)
    target.format()  # a wrong one is an error before anything begins
    from iqasuite import datasets
    from iqasuite.experiments import evaluating as ev
    from iqasuite.inference.predictor import Predictor
    from iqasuite.weights import seen

    network, predictor = network_of(model), None
    if network is not None and not network.needs_reference:
        check_precision(precision)
        predictor = Predictor(network, precision)
    the_split, part = ev.read_split(split, part)
    data = datasets.load(test_data, missing=missing)
    observer = _observer(data, network, observer)
    rows = ev.rated(data, observer)
    if the_split is not None:
        rows = ev.in_part(rows, the_split, fold, part)
    if predictor is None:
        found = ev.compared_rows(model, data, rows, part, watched)
    else:
        drop = missing == "drop"
        found = ev.predicted_rows(predictor, data, rows, observer, part, batch_size, drop, warn, watched)
    rows = rows[rows["image"].isin(found["image"])]
    if network is not None and (why := seen.warning(network, data, rows["image"].tolist(), part, the_split)):
        warn(why)
    scores = ev.scores(ev.beside_trivial(found, rows["target"]), rows, same_scale=predictor is not None)
    if why := ev.unknown(scores, found, rows):
        warn(why)
    ranked = ev.above_statistics(data, found, rows)
    _write_scores(scores, ranked, ev.heading(data, model, rows, observer, part), target)
    if predictions is not None:  # last: on a full disk the scores have been said
        write_atomic(predictions, frame_csv(found))


def _observer(data: Dataset, network: Entry | None, observer: str | None) -> str:
    """Who is predicted: the observer that is named, else that of an AIO of this set; "" = the mean of all."""
    if observer is None and network is not None and network.card.dataset == data.name:
        # observers of one name in two sets are two
        observer = network.observer if network.observer in data.observers() else ""
    return data.check_observer(observer) if observer else ""


def _write_scores(scores: pd.DataFrame, ranked: pd.DataFrame, heading: str, target: Target) -> None:
    """Scores to read (one row a metric, the baseline beside; then the rank baselines) or for programs, in one table.

    For programs a difference has its own metric, such as "srocc above sharpness".
    """
    import pandas as pd

    from iqasuite.experiments import evaluating as ev
    from iqasuite.inference.tables import lines

    form = target.format()
    if form == "table":
        of_model = lines(ev.beside_baseline(scores), ev.COLUMNS, form)
        beside = lines(ev.beside_model(ranked), ev.RANK_COLUMNS, form)
        below = "SROCC of rank baselines, statistics of each image that took no training"
        target.write_lines([heading, *of_model, "", below, *beside])
    else:
        every = pd.concat([scores, ranked.iloc[1:]]).drop(columns=["protocol", "seeds"])
        columns = dict.fromkeys([*(c for c in every if c != "dataset"), "dataset"], "<0")
        target.write_lines(lines(every.to_dict("records"), columns, form))
    if target.output:
        typer.echo(f"{target.output}: {heading}")
