"""A page for each observer of a suite, and one for its images: what was voted, and what was predicted.

Votes and images are shown where observers are simulated; real ones may not be redistributed, so that their pages have
scores and figures only.
"""

from __future__ import annotations

import io
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from iqasuite.csv_texts import without_guard
from iqasuite.datasets import load
from iqasuite.datasets.dataset import Dataset, first_votes
from iqasuite.datasets.frames import read_frame
from iqasuite.errors import InputError
from iqasuite.experiments.gallery_items import Item, figures_of
from iqasuite.experiments.kept_predictions import OF_OBSERVERS, kept
from iqasuite.experiments.page_templates import environment
from iqasuite.experiments.suite import Suite
from iqasuite.inference.predictions import VOTES, P
from iqasuite.names import natural_order
from iqasuite.paths import safe_name, write_atomic
from iqasuite.report.provenance import read_runs
from iqasuite.report.tables import UNTRAINED, method_table

EVALUATED = "05_evaluate_aios"
METRICS = ("accuracy", "qwk", "mae", "srocc")
THUMBNAIL = 96  # pixels of the longer side
_FOLDERS = ("observers", "images")


@dataclass
class Observer:
    """What a page says of an observer; `page` is relative to the suite's results.

    Attributes:
        name, page: of whom, and where.
        numbers: of the AIO, as in the table of all observers.
        scores: methods × metrics.
        figures: in which this observer's AIO meets votes, the own ones first.
        images: a row an image, worst predicted first; none where votes may not be shown.
    """

    name: str
    page: str
    numbers: dict[str, str]
    scores: Item
    figures: list[Item]
    images: list[dict[str, Any]] = field(default_factory=list)


def build(suite: Suite, root: Path) -> list[Observer]:
    """Write `observers/<name>.html` for everybody with an AIO and, for simulated observers, `images.html`.

    Args:
        suite: with a run of notebook 05 that has ended; without one, pages of earlier runs are removed.
        root: its results.

    Returns:
        The observers, in natural order.
    """
    for name in _FOLDERS:
        shutil.rmtree(root / name, ignore_errors=True)
    (root / "images.html").unlink(missing_ok=True)
    runs = read_runs(suite.name)
    ended = [run.name for run in suite.runs if run.notebook == EVALUATED and run.name in runs]
    run = next((name for name in ended if (root / "tables" / name / "bias.csv").is_file()), "")
    if not run:
        return []
    parameters = runs[run].get("parameters", {})
    scores = read_frame(root / "tables" / run / "scores.csv", "scores")
    scores = scores[(scores["part"] == "test") & scores["protocol"].isin([parameters["protocol"], UNTRAINED, ""])]
    bias = pd.read_csv(root / "tables" / run / "bias.csv", keep_default_na=False)
    bias = bias.set_index(bias["observer"].astype(str).map(without_guard))
    figures = figures_of(root / "figures" / run, root)
    observers = [_observer(name, scores, bias, figures, run) for name in natural_order(bias.index)]
    _add_images(observers, suite, root, str(parameters["dataset"]), str(parameters["method"]))
    templates = environment()
    template = templates.get_template("observer.html.j2")
    for number, each in enumerate(observers):
        beside = {"previous": observers[number - 1], "following": observers[(number + 1) % len(observers)]}
        write_atomic(root / each.page, template.render(suite=suite, observer=each, **beside))
    return observers


def _observer(name: str, scores: pd.DataFrame, bias: pd.DataFrame, figures: list[Item], run: str) -> Observer:
    table = method_table(scores, METRICS, observer=name)
    row = pd.to_numeric(bias.loc[name], errors="coerce")
    numbers = {metric: str(table[metric].iloc[0]) for metric in METRICS if metric in table}
    numbers |= {"bias, in votes": f"{row['bias']:+.2f}", "bias of the AIO": f"{row['bias_aio']:+.2f}"}
    numbers = {what: text.replace("-", "−") for what, text in numbers.items()}
    numbers["inconsistency, in votes"] = f"{row['inconsistency']:.2f}"
    columns, rows = list(map(str, table)), [list(map(str, values)) for values in table.to_numpy()]
    caption, file = "Test part, 95 % intervals.", f"tables/{run}/scores.csv"
    item = Item("scores", caption, file, columns, rows, [False] * len(columns))
    own = safe_name(f"confusion_{name}_on_{name}")
    chosen = [figure for figure in figures if figure.name == own]
    chosen += [f for f in figures if f.name.startswith(safe_name(f"confusion_{name}_on_")) and f.name != own]
    return Observer(name, f"observers/{safe_name(name)}.html", numbers, item, chosen)


def _add_images(observers: list[Observer], suite: Suite, root: Path, dataset: str, method: str) -> None:
    """Votes, predictions and images of simulated observers, on their pages and on one of all images."""
    file = root / "predictions" / f"{OF_OBSERVERS}.csv.xz"
    if not file.is_file():
        return
    try:
        data = load(dataset, missing="drop")
    except InputError:  # pages are built again where a set's files are not
        return
    if not data.simulated:
        return
    predicted = kept(file)
    predicted = predicted[(predicted["dataset"] == data.name) & (predicted["part"] == "test")]
    predicted = predicted[predicted["observer"] != ""]
    predicted = predicted[predicted["model"] == (method or predicted["model"].iloc[0])]
    shares = predicted.groupby(["observer", "image"])[P].mean()
    votes = first_votes(data.votes).set_index(["observer", "image"])["vote"]
    about = data.images.set_index("image")
    names = [image for image in about.index if image in set(predicted["image"])]
    for each in observers:
        rows = [_row(about, image, votes[each.name, image], shares.loc[(each.name, image)]) for image in names]
        each.images = sorted(rows, key=lambda row: -row["error"])
    _thumbnails(data, names, root / "images")
    every = [
        {"image": image, "file": _thumbnail(image), **_kind(about, image), "mos": votes[:, image].mean()}
        | {"observers": [next(row for row in each.images if row["image"] == image) for each in observers]}
        for image in names
    ]
    page = environment().get_template("images.html.j2")
    write_atomic(root / "images.html", page.render(suite=suite, observers=observers, images=every))


def _row(about: pd.DataFrame, image: str, vote: float, shares: pd.Series) -> dict[str, Any]:
    """An image on an observer's page: the vote, the distribution predicted, its mean, and how far that is off."""
    p = shares.to_numpy(float)
    expected = float(p @ VOTES)
    numbers = {"vote": int(vote), "p": [round(100 * value) for value in p], "expected": expected}
    given = {"share": float(p[int(vote) - 1]), "error": abs(expected - vote)}
    return {"image": image, "file": _thumbnail(image), **_kind(about, image), **numbers, **given}


def _kind(about: pd.DataFrame, image: str) -> dict[str, str]:
    row = about.loc[image]
    level = "" if pd.isna(row["level"]) else f"{row['level']:g}"
    return {"content": str(row["content"]), "distortion": str(row["distortion"]), "level": level}


def _thumbnail(image: str) -> str:
    return f"images/{safe_name(image)}.webp"


def _thumbnails(data: Dataset, names: list[str], folder: Path) -> None:
    for image in names:
        small = Image.fromarray(data.read(image))
        small.thumbnail((THUMBNAIL, THUMBNAIL))
        content = io.BytesIO()
        small.save(content, "webp", quality=80, method=6)
        write_atomic(folder.parent / _thumbnail(image), content.getvalue())
