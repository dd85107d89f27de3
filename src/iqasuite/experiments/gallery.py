"""A suite's pages: `results/<suite>/index.html`, one page for each executed notebook, and a README for code hosts.

Static files with relative links only: they open from a file system, without a network, in light and dark. Each figure
is stored once: pages and executed notebooks link to it.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from iqasuite.experiments import kept_predictions, landing, observer_pages
from iqasuite.experiments.gallery_items import Item, figures_of, highlight, scores, tables_of
from iqasuite.experiments.page_templates import duration, environment, style
from iqasuite.experiments.parameters import Parameter, declared_parameters
from iqasuite.experiments.suite import GIVEN, Run, Suite, check, read_suite
from iqasuite.paths import check_writable, project_root, results_root, work_root, write_atomic
from iqasuite.report import notebook_page
from iqasuite.report.executed import link_images
from iqasuite.report.outputs import gather_scores
from iqasuite.report.provenance import read_runs

FOLD_ABOVE = 20  # of a larger kind, the figures of the runs that are not shown are in work/ only
LARGE = 75_000  # bytes of a figure: diagrams have less, photographs more
README_ROWS = 12
MAIN_NUMBERS = 4  # of a run, that its kind's table shows


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

    @property
    def numbers(self) -> dict[str, Any]:
        """Its main numbers and texts, as its notebook's last cell has them."""
        main = (self.described.get("extra") or {}).items()
        return {name: value for name, value in main if isinstance(value, (int, float, str)) and value != ""}


@dataclass
class Kind:
    """Runs that differ in their numbers only: one notebook, the same texts among its parameters."""

    title: str
    cards: list[Card]
    shown: list[Card]  # those with a page: the first that went well, what failed, what the suite highlights

    def count(self, status: str) -> int:
        """How many of its runs have this status."""
        return sum(card.status == status for card in self.cards)

    @property
    def names(self) -> str:
        """The run's name, or the first and the last."""
        first, last = self.cards[0].name, self.cards[-1].name
        return first if len(self.cards) == 1 else f"{first} … {last}"

    @property
    def varying(self) -> list[str]:
        """Names of the parameters that tell its runs apart."""
        names = dict.fromkeys(name for card in self.cards for name in card.parameters)
        return [name for name in names if len({str(card.parameters.get(name)) for card in self.cards}) > 1]

    @property
    def measured(self) -> list[str]:
        """Names of main numbers that all of its runs have that are done."""
        done = [card.numbers for card in self.cards if card.status == "ok"]
        common = [name for name in done[0] if all(name in numbers for numbers in done)] if done else []
        return common[:MAIN_NUMBERS]


def build(suite: Suite | str) -> Path:
    """Write a suite's pages from what its runs left in `results/`, and remove what belongs to no run of it.

    Pages are made from executed notebooks, which stay of one run of a kind only; their images become links to files.
    Building twice changes nothing.

    Returns:
        Path of `index.html`.

    Raises:
        InputError: unknown or wrong suite, or a score outside its range.
    """
    suite = read_suite(suite) if isinstance(suite, str) else suite
    root = results_root(suite.name)
    check_writable(root)
    _remove_strangers(suite, root)
    kinds = _kinds(suite, root)
    for kind in kinds:
        _lighten(suite, kind, root)
    cards = [card for kind in kinds for card in kind.cards]
    _write_notebook_pages(suite, cards, root)
    gather_scores(suite.name)
    kept_predictions.keep(suite)
    observers = observer_pages.build(suite, root)
    content = {
        "suite": suite,
        "facts": _facts(cards),
        "kinds": kinds,
        "highlights": [item for item in (highlight(entry, root) for entry in suite.highlights) if item],
        "scores": scores(root),
        "cards": cards,
        "observers": observers,
        "images": (root / "images.html").is_file(),
        "readme_rows": README_ROWS,
    }
    templates = environment()
    write_atomic(root / "page.css", style())
    write_atomic(root / "README.md", templates.get_template("README.md.j2").render(content))
    page = write_atomic(root / "index.html", templates.get_template("index.html.j2").render(content))
    landing.build()
    return page


def _kinds(suite: Suite, root: Path) -> list[Kind]:
    described = read_runs(suite.name)
    given = check(suite)
    notebooks = {run.notebook: project_root() / run.notebook_file for run in suite.runs}
    declared = {name: declared_parameters(file) for name, file in notebooks.items()}
    titles = {name: notebook_page.title(file) for name, file in notebooks.items()}
    wanted = {entry.partition("/")[0] for entry in suite.highlights}
    groups: dict[tuple, list[Run]] = {}
    for run in suite.runs:
        groups.setdefault(_kind_of(run, given[run.name], declared[run.notebook]), []).append(run)
    kinds = []
    for runs in groups.values():
        name = runs[0].notebook
        differing = {run.name: _differing(given[run.name], declared[name]) for run in runs}
        cards = [_card(run, titles[name], differing[run.name], described.get(run.name), root) for run in runs]
        done = [card for card in cards if card.status == "ok"]
        first = next((card for card in done if card.page), done[0] if done else None)
        shown = [card for card in cards if card is first or card.status == "failed" or card.name in wanted]
        sets = {_used(given[run.name], declared[name], "dataset") for run in suite.runs if run.notebook == name}
        of_set = f"{_used(given[runs[0].name], declared[name], 'dataset')}: " if len(sets) > 1 else ""
        kinds.append(Kind(f"{of_set}{titles[name]}", cards, shown))
    return kinds


def _kind_of(run: Run, given: Mapping[str, Any], declared: Mapping[str, Parameter]) -> tuple:
    """The notebook and what tells kinds of its runs apart: texts among the parameters, and the protocol."""
    used = {name: given.get(name, parameter.default) for name, parameter in declared.items() if name not in GIVEN}
    texts = [(name, value) for name, value in used.items() if isinstance(value, str) and name not in run.foreach]
    protocols = [value["protocol"] for value in used.values() if isinstance(value, dict) and "protocol" in value]
    return (run.notebook, *texts, *protocols)


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
    return Card(
        name=run.name,
        status=described["status"] if described else "not run",
        title=title,
        notebook=run.notebook_file.as_posix(),
        parameters=parameters | dict(run.foreach),
        described=described or {},
        figures=figures_of(root / "figures" / run.name, root),
        tables=tables_of(root / "tables" / run.name, root),
        page=f"notebooks/{run.name}.html" if (root / "notebooks" / f"{run.name}.ipynb").is_file() else "",
    )


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


def _write_notebook_pages(suite: Suite, cards: list[Card], root: Path) -> None:
    template = environment().get_template("notebook.html.j2")
    shown = [card for card in cards if card.page]
    for number, card in enumerate(shown):
        body = notebook_page.body(root / "notebooks" / f"{card.name}.ipynb")
        page = template.render(
            suite=suite,
            card=card,
            previous=shown[number - 1] if number else None,
            following=shown[number + 1] if number + 1 < len(shown) else None,
            body=body,
            sections=notebook_page.sections(body),
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


def _lighten(suite: Suite, kind: Kind, root: Path) -> None:
    """Keep what a kind's runs left, each figure once.

    Runs that are not shown leave their executed notebooks and large figures in `work/` only; of a kind of more than
    `FOLD_ABOVE` runs, all their figures.
    """
    work = work_root(suite.name) / "figures"
    for card in kind.cards:
        notebook, figures = root / "notebooks" / f"{card.name}.ipynb", root / "figures" / card.name
        if card in kind.shown:
            if card.page:
                link_images(notebook, figures)
            continue
        notebook.unlink(missing_ok=True)  # work/ has a copy
        notebook.with_suffix(".html").unlink(missing_ok=True)
        shutil.rmtree(notebook.with_suffix(""), ignore_errors=True)
        for path in sorted(figures.glob("*.webp")):
            if len(kind.cards) > FOLD_ABOVE or path.stat().st_size > LARGE:
                write_atomic(work / card.name / path.name, path.read_bytes())
                path.unlink()
        if figures.is_dir() and not list(figures.glob("*.webp")):
            shutil.rmtree(figures)
        card.page, card.figures = "", figures_of(figures, root)
