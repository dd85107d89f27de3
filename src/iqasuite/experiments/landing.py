"""The page above the suites, `results/index.html`: findings, the suites, a search over all they hold, the glossary."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from iqasuite.errors import InputError
from iqasuite.experiments import try_page
from iqasuite.experiments.findings import findings
from iqasuite.experiments.page_templates import environment, style
from iqasuite.experiments.suite import Suite, known_suites, read_suite
from iqasuite.paths import project_root, results_root, write_atomic
from iqasuite.report import notebook_page
from iqasuite.report.outputs import captions
from iqasuite.report.provenance import read_runs

NOT_SHOWN = ("smoke",)  # made to be run, not to be read
TERM = re.compile(r"^### (.+)\n\n((?:(?!^#).*\n?)*)", re.MULTILINE)


@dataclass(frozen=True)
class Entry:
    """What the search finds: a text, what it is, and where."""

    kind: str  # "run", "figure", "table", "term"
    text: str
    link: str


def build() -> Path:
    """Write `results/index.html`, and the same as a README for code hosts, from what the suites' folders hold.

    Returns:
        Path of `index.html`.
    """
    root = project_root() / "results"
    suites = _suites()
    terms = _glossary()
    content: dict[str, Any] = {
        "findings": findings(),
        "suites": [(suite, read_runs(suite.name)) for suite in suites],
        "entries": [entry for suite in suites for entry in _entries(suite)],
        "terms": terms,
    }
    templates = environment()
    content["try_page"] = try_page.build(root)
    write_atomic(root / "page.css", style())
    write_atomic(root / "README.md", templates.get_template("landing.md.j2").render(content))
    return write_atomic(root / "index.html", templates.get_template("landing.html.j2").render(content))


def _suites() -> list[Suite]:
    """Suites that have pages, in the order of their names; one whose file is wrong has none."""
    shown = []
    for name in known_suites():
        if name not in NOT_SHOWN and (results_root(name) / "index.html").is_file():
            try:
                shown.append(read_suite(name))
            except InputError:
                continue
    return shown


def _entries(suite: Suite) -> list[Entry]:
    root = results_root(suite.name)
    entries = []
    for run in suite.runs:
        if not (root / "runs" / f"{run.name}.json").is_file():
            continue
        page = f"notebooks/{run.name}.html"
        link = page if (root / page).is_file() else "index.html"
        entries.append(Entry("run", f"{suite.name} · {run.name}", f"{suite.name}/{quote(link)}"))
        for kind, ending in (("figures", "webp"), ("tables", "csv")):
            folder = root / kind / run.name
            for name, caption in captions(folder).items():
                if (folder / f"{name}.{ending}").is_file():
                    link = quote(f"{suite.name}/{kind}/{run.name}/{name}.{ending}")
                    entries.append(Entry(kind[:-1], f"{suite.name} · {run.name} · {caption}", link))
    return entries


def _glossary() -> list[tuple[str, str, str]]:
    """Anchor, term and explanation (HTML) of each entry of `docs/glossary.md`; none where there is no such file."""
    file = project_root() / "docs" / "glossary.md"
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    text = re.sub(r"\]\((?!\.\./|#|\w+:)", "](../docs/", text)  # links from docs/ lead from results/ as well
    return [(_anchor(term), term, notebook_page.markdown(meaning)) for term, meaning in TERM.findall(text)]


def _anchor(term: str) -> str:
    return re.sub(r"[^\w-]", "", term.lower().replace(" ", "-"))
