"""What README and cards say is what the committed results say."""

import json
import re

import pandas as pd
import pytest

from iqasuite.datasets.dataset import first_votes
from iqasuite.datasets.frames import read_frame
from iqasuite.evaluation import metrics
from iqasuite.experiments.kept_predictions import kept
from iqasuite.experiments.suite import known_suites
from iqasuite.inference.predictions import hard_predictions
from iqasuite.report.tables import method_table, to_markdown

MARKED = re.compile(r"<!-- (results/\S+\.csv)(.*?) -->\n\n((?:\|.*\n)+)")


@pytest.fixture
def readme(repository):
    return (repository / "README.md").read_text(encoding="utf-8")


def table_from(repository, path, how):
    """Markdown of a results file; `how` is "observer | dataset | metrics" for a scores file, or columns of another."""
    if not path.endswith("scores.csv"):
        frame = pd.read_csv(repository / path)
        return to_markdown(frame[how.split()] if how.strip() else frame)
    scores = read_frame(repository / path, "scores")
    observer, dataset, metrics = (part.strip() for part in how.split("|"))
    scores = scores[(scores["part"] == "test") & (scores["protocol"] == "corrected") & (scores["dataset"] == dataset)]
    return to_markdown(method_table(scores, tuple(metrics.split()), observer))


@pytest.mark.parametrize(("page", "shown"), [("README.md", "lab"), ("docs/results.md", "nr")])
def test_tables_are_those_of_the_results(repository, page, shown):
    marked = MARKED.findall((repository / page).read_text(encoding="utf-8"))
    assert f"results/{shown}/scores.csv" in {path for path, _, _ in marked}
    for path, how, table in marked:
        assert table_from(repository, path, how) == table, f"{path}: {page} has another table"


def test_no_result_stands_in_a_sentence(readme):
    """Numbers of results stand in tables that the test above compares; sentences say what the tables show."""
    prose = "\n".join(line for line in readme.splitlines() if not line.startswith(("|", "    ", "!", "<!--")))
    assert re.findall(r"(?<![A-Za-z\d])0?\.\d{2,}", prose) == []


def test_cards_of_committed_weights_say_what_the_results_say(repository):
    weights, results = repository / "weights", repository / "results"
    for name in ("lite2_nr", "mobile_nr"):
        scores = json.loads((weights / f"{name}.json").read_text())["scores"]
        medians = pd.read_csv(results / "weights" / "tables" / name / "medians.csv").iloc[0]
        for metric in ("srocc", "plcc", "krcc", "rmse"):
            value, low, high = scores[f"{metric}, test parts, median of 10 splits [95 %]"]
            shown = [float(number) for number in re.findall(r"[\d.]+", medians[metric])]
            assert shown == pytest.approx([value, low, high], abs=6e-4)  # the card has a digit more, rounded itself


def test_cards_of_the_demos_aios_say_what_was_predicted(repository, demo_set):
    predicted = kept(repository / "results" / "demo" / "predictions" / "predictions.csv.xz")
    votes = first_votes(demo_set.votes).set_index(["observer", "image"])["vote"]
    cards = sorted((repository / "weights" / "demo_aios").glob("*.json"))
    assert len(cards) == 5
    for path in cards:
        card = json.loads(path.read_text())
        about = {"observer": card["observer"], "fold": card["fold"], "seed": card["seed"], "part": "test"}
        own = predicted[(predicted[list(about)] == pd.Series(about)).all(axis=1)]
        truth = votes[card["observer"]][own["image"]].to_numpy()
        hard = hard_predictions(own)
        assert card["scores"]["test images"] == len(own)
        assert card["scores"]["accuracy"] == pytest.approx(metrics.accuracy(hard, truth), abs=5e-5), path.name
        assert card["scores"]["qwk"] == pytest.approx(metrics.qwk(hard, truth), abs=5e-5), path.name


def test_it_names_every_suite_and_notebook(repository, readme):
    for name in [*known_suites(), *(path.stem for path in repository.glob("notebooks/*.ipynb"))]:
        assert f"`{name}`" in readme, name
