"""What the README shows is what the committed results say, and what it points to is there."""

import re

import pandas as pd
import pytest

from iqasuite.data.frames import validate
from iqasuite.report.tables import method_table, to_markdown
from iqasuite.suite import known_suites


@pytest.fixture
def readme(repository):
    return (repository / "README.md").read_text(encoding="utf-8")


def test_its_table_is_that_of_the_lab_suite(repository, readme):
    path = repository / "results" / "lab" / "scores.csv"
    scores = validate(pd.read_csv(path), "scores", path.name)
    scores = scores[(scores["part"] == "test") & (scores["protocol"] == "corrected")]
    assert to_markdown(method_table(scores, ("accuracy", "qwk"))) in readme


def test_what_it_points_to_is_there(repository, readme):
    targets = re.findall(r"\]\(([^)#]+)\)", readme)
    assert "results/demo/README.md" in targets
    for target in targets:
        assert (repository / target).exists(), target


def test_it_names_every_suite_and_notebook(repository, readme):
    for name in [*known_suites(), *(path.stem for path in repository.glob("notebooks/*.ipynb"))]:
        assert f"`{name}`" in readme, name
