"""The page above the suites: its numbers are those of the tables, and its links lead somewhere."""

import re

import pandas as pd

from iqasuite.experiments import landing
from iqasuite.experiments.findings import findings


def rounded(path) -> set[str]:
    """All numbers of a table with three digits, without their signs."""
    frame = pd.read_csv(path)
    return {f"{abs(value):.3f}" for value in frame.select_dtypes("number").to_numpy(float).ravel()}


def test_numbers_of_the_findings_are_in_their_tables(repository, monkeypatch):
    monkeypatch.chdir(repository)
    told = findings()
    assert len(told) == 12
    for finding in told:
        root = repository / "results" / finding.suite
        assert (root / finding.source).is_file() and (root / finding.figure).is_file(), finding
        tables = {root / finding.source, *root.glob("scores.csv"), *root.glob(f"tables/{finding.run}/significance.csv")}
        tables |= {*root.glob("tables/jpeg_resnet18/held_out.csv"), *root.glob("tables/aio0/held_out.csv")}  # beside it
        known = {"0.200", "0.500"}.union(*map(rounded, tables))
        numbers = re.findall(r"\d\.\d{3}", finding.text)
        assert len(numbers) >= 3 and set(numbers) <= known, finding.text


def test_the_committed_pages_links_lead_somewhere(repository):
    page = repository / "results" / "index.html"
    text = page.read_text(encoding="utf-8")
    links = re.findall(r'(?:src|href)="([^"#]+)(?:#[^"]*)?"', text)
    relative = [link for link in links if not re.match(r"\w+:", link)]
    assert len(relative) > 300
    assert not [link for link in relative if not (page.parent / link.replace("%20", " ")).exists()]
    anchors = re.findall(r'href="#([^"]+)"', text)
    assert not set(anchors) - set(re.findall(r'id="([^"]+)"', text))


def test_without_results_there_are_no_findings_and_names_are_escaped(project):
    project.notebook("first")
    project.suite("title: A <b>\nruns: [{name: one, notebook: first}]\n")
    (project.root / "docs").mkdir()
    (project.root / "docs" / "glossary.md").write_text("## A\n\n### AIO\n\n<i>See</i> [b](#b), [c](suites.md).\n")
    (project.root / "results" / "small").mkdir(parents=True)
    (project.root / "results" / "small" / "index.html").write_text("")
    text = landing.build().read_text()
    assert "What was found" not in text and "A &lt;b&gt;" in text and 'href="small/index.html"' in text
    assert '<div id="aio"><dt>AIO</dt>' in text and "&lt;i&gt;" in text and 'href="../docs/suites.md"' in text
