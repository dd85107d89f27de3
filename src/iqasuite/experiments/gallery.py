"""A suite's pages: `results/<suite>/index.html`, one page for each executed notebook, and a README for code hosts.

Static files with relative links only: they open from a file system, without a network, in light and dark.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import jinja2
import pandas as pd

from iqasuite.csv_texts import without_guard
from iqasuite.datasets.frames import read_frame
from iqasuite.experiments.parameters import Parameter, declared_parameters
from iqasuite.experiments.suite import GIVEN, Run, Suite, check, read_suite
from iqasuite.paths import project_root, results_root, work_root, write_atomic
from iqasuite.report import notebook_page
from iqasuite.report.outputs import captions, gather_scores
from iqasuite.report.provenance import read_runs
from iqasuite.report.tables import UNTRAINED, method_table

FOLD_ABOVE = 20  # a larger group of runs is one table with pages for its first and its failed runs only
PREVIEW_ROWS = 12
METRICS = ("accuracy", "qwk", "mae", "mse_expected", "srocc", "plcc", "krcc", "rmse")  # columns, in this order
# what Markdown would obey: HTML, code, columns, headings, entities, links, emphasis
MARKUP = re.compile(r"[<`|\\*~]|^[#>]|&(?=#?\w+;)|\](?=[(\[:])|(?<!\w)_|_(?!\w)")
MOS_METRICS = ("srocc", "plcc", "plcc_logistic", "krcc", "rmse")


@dataclass
class Item:
    """A figure or table as the pages show it; `file` is relative to the suite's results."""

    name: str
    caption: str
    file: str
    columns: list[str] = field(default_factory=list)  # of a table
    rows: list[list[str]] = field(default_factory=list)
    numeric: list[bool] = field(default_factory=list)
    left_out: int = 0  # rows that the preview does not show


@dataclass
class Card:
    """One run as the pages show it."""

    name: str
    status: str  # "ok", "failed", "not run"
    title: str
    notebook: str
    parameters: dict[str, Any]  # those that differ from the notebook's own defaults
    described: dict[str, Any]
    figures: list[Item] = field(default_factory=list)
    tables: list[Item] = field(default_factory=list)
    page: str = ""  # of the executed notebook, relative to the suite's results; "" where there is none


@dataclass
class Group:
    """The runs that one entry of the suite's file stands for."""

    template: str
    title: str
    cards: list[Card]
    folded: bool
    varying: list[str]  # names of what tells the runs of the group apart

    def count(self, status: str) -> int:
        """How many of its runs have this status."""
        return sum(card.status == status for card in self.cards)


def build(suite: Suite | str) -> Path:
    """Write a suite's pages from what its runs left in `results/`, and remove what belongs to no run of it.

    Returns:
        Path of `index.html`.

    Raises:
        InputError: unknown or wrong suite.
    """
    suite = read_suite(suite) if isinstance(suite, str) else suite
    root = results_root(suite.name)
    groups = _groups(suite, root)
    _remove_strangers(suite, root)
    for group in groups:
        if group.folded:
            _lighten(suite, group)
    cards = [card for group in groups for card in group.cards]
    _write_notebook_pages(suite, cards, root)
    gather_scores(suite.name)
    content = {
        "suite": suite,
        "facts": _facts(cards),
        "groups": groups,
        "highlights": [item for item in (_highlight(entry, root) for entry in suite.highlights) if item],
        "scores": _scores(root / "scores.csv"),
        "cards": cards,
        "revision": _revision(cards),
    }
    environment = _environment()
    write_atomic(root / "README.md", environment.get_template("README.md.j2").render(content))
    return write_atomic(root / "index.html", environment.get_template("index.html.j2").render(content))


def _groups(suite: Suite, root: Path) -> list[Group]:
    described = read_runs(suite.name)
    given = check(suite)
    notebooks = {run.notebook: project_root() / run.notebook_file for run in suite.runs}
    declared = {name: declared_parameters(file) for name, file in notebooks.items()}
    titles = {name: notebook_page.title(file) for name, file in notebooks.items()}
    groups: list[Group] = []
    for template, runs in suite.groups().items():
        cards = []
        for run in runs:
            parameters = _differing(given[run.name], declared[run.notebook])
            cards.append(_card(run, titles[run.notebook], parameters, described.get(run.name), root))
        folded = len(runs) > FOLD_ABOVE
        heading = titles[runs[0].notebook]
        of_notebook = [run for run in suite.runs if run.notebook == runs[0].notebook]
        sets = {run.name: _used(given[run.name], declared[run.notebook], "dataset") for run in of_notebook}
        if len(set(sets.values())) > 1:  # one notebook on several sets
            heading = f"{sets[runs[0].name]}: {heading}"
        if any(group.title == heading for group in groups):
            heading = f"{heading} ({template})"
        groups.append(Group(template, heading, cards, folded, list(runs[0].foreach)))
    return groups


def _used(given: Mapping[str, Any], declared: Mapping[str, Parameter], name: str) -> Any:
    """The value that a run's notebook has of a parameter; None where it declares none of that name."""
    return given.get(name, declared[name].default if name in declared else None)


def _differing(given: Mapping[str, Any], declared: Mapping[str, Parameter]) -> dict[str, Any]:
    """What is not as the notebook has it by itself; of a group of settings, those settings that are not."""
    differing = {}
    for name, value in given.items():
        default = declared[name].default
        if name not in GIVEN and value != default:
            group = declared[name].is_group
            differing[name] = {k: own for k, own in value.items() if own != default[k]} if group else value
    return differing


def _card(run: Run, title: str, parameters: dict[str, Any], described: dict[str, Any] | None, root: Path) -> Card:
    figures, tables = root / "figures" / run.name, root / "tables" / run.name
    return Card(
        name=run.name,
        status=described["status"] if described else "not run",
        title=title,
        notebook=run.notebook_file.as_posix(),
        parameters=parameters | dict(run.foreach),
        described=described or {},
        figures=[_figure(figures / f"{name}.png", caption, root) for name, caption in captions(figures).items()],
        tables=[_table(tables / f"{name}.csv", caption, root) for name, caption in captions(tables).items()],
        page=f"notebooks/{run.name}.html" if (root / "notebooks" / f"{run.name}.ipynb").is_file() else "",
    )


def _figure(path: Path, caption: str, root: Path) -> Item:
    return Item(path.stem, caption, path.relative_to(root).as_posix())


def _table(path: Path, caption: str, root: Path) -> Item:
    frame = pd.read_csv(path, keep_default_na=False, na_values=[""])  # an observer may be called NA
    names = [without_guard(str(column)) for column in frame.columns]
    columns = (_texts(column) for _, column in frame.head(PREVIEW_ROWS).items())
    rows = [list(row) for row in zip(*columns, strict=True)]
    numeric = [pd.api.types.is_numeric_dtype(kind) for kind in frame.dtypes]
    file = path.relative_to(root).as_posix()
    return Item(path.stem, caption, file, names, rows, numeric, max(0, len(frame) - PREVIEW_ROWS))


def _texts(column: pd.Series) -> list[str]:
    """A column's values as text, all with the same decimals."""
    if not pd.api.types.is_float_dtype(column):
        return ["" if pd.isna(value) else without_guard(str(value)) for value in column]
    finite = column.dropna()
    decimals = 0 if (finite == finite.round()).all() or finite.abs().max() >= 1000 else 3
    return ["–" if pd.isna(value) else f"{value:,.{decimals}f}" for value in column]


def _highlight(entry: str, root: Path) -> Item | None:
    run, _, name = entry.partition("/")
    figure, table = root / "figures" / run / f"{name}.png", root / "tables" / run / f"{name}.csv"
    if figure.is_file():
        return _figure(figure, captions(figure.parent).get(name, name), root)
    if table.is_file():
        return _table(table, captions(table.parent).get(name, name), root)
    return None


def _scores(path: Path) -> list[Item]:
    """Means over observers, then models of MOS: methods × metrics with 95 % intervals.

    A table for each data set, protocol, set of splits and number of images: only what was tested on the same splits and
    images is ranked together.
    """
    if not path.is_file():
        return []
    scores = read_frame(path, "scores")
    scores = scores[scores["part"] == "test"]
    items = []
    for observer, metrics, what in (("mean", METRICS, "mean over the observers"), ("", MOS_METRICS, "models of MOS")):
        wanted = scores[(scores["observer"] == observer) & scores["metric"].isin(metrics)]
        shown_with = wanted["protocol"].replace(UNTRAINED, "corrected")  # metrics stand beside what was trained
        keys = ["dataset", shown_with, "folds"] + (["n"] if observer == "" else [])
        for (dataset, protocol, folds, *_), rows in wanted.groupby(keys, sort=False):
            table = method_table(rows, metrics, observer)
            splits = folds.count(",") + 1
            middle = f", median over {splits} splits" if folds and observer == "" else ""
            caption = (
                f"{dataset}: {what}, {protocol}{'' if ' ' in protocol else ' protocol'}, test part{middle}, with 95 % "
                "intervals over contents, and over trainings where there are several."
            )
            columns = [str(column).replace("_", " ") for column in table.columns]
            numeric = [False] + [True] * (len(columns) - 1)
            items.append(Item("scores", caption, path.name, columns, table.to_numpy().tolist(), numeric))
    return items


def _facts(cards: list[Card]) -> list[tuple[str, str]]:
    described = [card.described for card in cards if card.described]
    counts = {status: sum(card.status == status for card in cards) for status in ("ok", "failed", "not run")}
    facts = [("runs", ", ".join(f"{number} {status}" for status, number in counts.items() if number))]
    if not described:
        return facts
    newest = max(described, key=lambda run: run["started"])
    sets = {run["data"]["name"]: run["data"] for run in described if run.get("data")}
    if len(sets) > 1:  # each run has its hashes in its provenance
        facts.append(("data", f"{len(sets)} sets, {sum(data['images'] for data in sets.values()):,} images"))
    for data in sets.values() if len(sets) == 1 else []:
        simulated = " (simulated observers)" if data["simulated"] else ""
        facts += [("data", f"{data['name']}{simulated}, {data['images']} images"), ("data hash", data["hash"][:12])]
    if len(sets) < 2:
        splits = sorted({run["split_hash"][:12] for run in described if run.get("split_hash")})
        facts += [("split hash", ", ".join(splits))] if splits else []
    facts.append(("computing time", duration(sum(run.get("wall_notebook_s") or 0 for run in described))))
    overheads = [run["overhead_s"] for run in described if run.get("overhead_s") is not None]
    if overheads:
        facts.append(("overhead of a run", f"{median(overheads):.1f} s"))
    memory = [run["peak_memory_mib"] for run in described if run.get("peak_memory_mib")]
    if memory:
        facts.append(("peak memory of a run", f"{max(memory) / 1024:.1f} GiB"))
    device = newest["device"]
    facts.append(("device", device.get("gpu") or f"{device['name']}, {device['cores']} cores"))
    if _revision(cards):
        facts.append(("revision", _revision(cards)))
    facts.append(("last run", newest["started"][:16].replace("T", " ") + " UTC"))
    return facts


def _revision(cards: list[Card]) -> str:
    """Short git revisions of the runs, with a plus where tracked files differed."""
    stamps = [card.described["git"] for card in cards if card.described.get("git")]
    short = dict.fromkeys(stamp["revision"][:10] + ("+" if stamp["dirty"] else "") for stamp in stamps)
    return ", ".join(short)


def duration(seconds: float | None) -> str:
    """A time in words short enough for a table: `8.2 s`, `3 min 05 s`, `2 h 07 min`."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _write_notebook_pages(suite: Suite, cards: list[Card], root: Path) -> None:
    template = _environment().get_template("notebook.html.j2")
    shown = [card for card in cards if card.page]
    for number, card in enumerate(shown):
        page = template.render(
            suite=suite,
            card=card,
            previous=shown[number - 1] if number else None,
            following=shown[number + 1] if number + 1 < len(shown) else None,
            body=notebook_page.body(root / "notebooks" / f"{card.name}.ipynb"),
            code_style=notebook_page.code_style(),
        )
        write_atomic(root / card.page, page)


def _remove_strangers(suite: Suite, root: Path) -> None:
    names = {run.name for run in suite.runs} | {"split"}  # tables/split is the suite's, shared by its runs
    for kind in ("runs", "notebooks", "figures", "tables"):
        for path in root.glob(f"{kind}/*"):
            if path.is_dir() and path.name not in names:
                shutil.rmtree(path)
            elif path.is_file() and path.stem not in names:
                path.unlink()


def _lighten(suite: Suite, group: Group) -> None:
    """Keep a large group's first and failed runs' pages and figures in `results/`, the others' in `work/` only."""
    root, work = results_root(suite.name), work_root(suite.name)
    wanted = {entry.partition("/")[0] for entry in suite.highlights}
    first = next((card for card in group.cards if card.status == "ok"), None)
    for card in group.cards:
        if card is first or card.status == "failed" or card.name in wanted:
            continue
        for ending in ("ipynb", "html"):
            (root / "notebooks" / f"{card.name}.{ending}").unlink(missing_ok=True)  # work/ has a copy
        figures = root / "figures" / card.name
        if figures.is_dir():
            shutil.rmtree(work / "figures" / card.name, ignore_errors=True)
            (work / "figures").mkdir(parents=True, exist_ok=True)
            shutil.move(figures, work / "figures" / card.name)
        card.page, card.figures = "", []


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(notebook_page.TEMPLATES),
        autoescape=jinja2.select_autoescape(enabled_extensions=("html", "html.j2"), default_for_string=False),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "duration": duration,
        "text": _markdown_text,
        "markdown": notebook_page.markdown,
        "words": _words,
    }
    return environment


def _markdown_text(text: str) -> str:
    """Text in one line that Markdown shows as it is, in a table too: a name may look like HTML, a link or a column."""
    return MARKUP.sub(lambda found: f"&#{ord(found[0])};", re.sub(r"\s+", " ", str(text)))


def _words(value: Any) -> str:
    """A parameter's value as text: `none` for an empty one."""
    if value in ("", None, [], {}):
        return "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_words(setting)}" for name, setting in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
