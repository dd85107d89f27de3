"""Pages of observers: numbers of the tables, votes and images where they may be shown, links that lead somewhere."""

import lzma
import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from iqasuite.csv_texts import frame_csv
from iqasuite.datasets.dataset import first_votes
from iqasuite.errors import InputError
from iqasuite.experiments import observer_pages
from iqasuite.experiments.page_templates import environment
from iqasuite.experiments.suite import read_suite
from iqasuite.inference.predictions import predictions_frame

CERTAIN = np.full(5, 0.025) + 0.875 * np.eye(5)  # row v - 1: nearly all on v


@pytest.fixture
def demo(project, repository, demo_set):
    """The demo suite's results, with predictions of ten images that are right but for one of Obs1's."""
    results = project.root / "results" / "demo"
    shutil.copytree(repository / "results" / "demo", results, ignore=shutil.ignore_patterns("notebooks"))
    for name in ("predictions", "images", "observers"):
        shutil.rmtree(results / name, ignore_errors=True)
    for path in (repository / "notebooks").glob("*.ipynb"):
        shutil.copy(path, project.root / "notebooks")
    shutil.copy(repository / "notebooks" / "suites" / "demo.yaml", project.root / "notebooks" / "suites")
    votes = first_votes(demo_set.votes).set_index(["observer", "image"])["vote"]
    images, frames = demo_set.images["image"].tolist()[:10], []
    for observer in demo_set.votes["observer"].unique():
        own = votes[observer].reindex(images).to_numpy()
        p = CERTAIN[own - 1].copy()
        if observer == "Obs1":
            p[3] = CERTAIN[4 if own[3] < 3 else 0]
        about = "demo", "ViT-IQA, spectrum", "corrected", 0, 0, "test", observer
        frames.append(predictions_frame(*about, images, own, p).drop(columns="target").assign(run="aios_0_0"))
    (results / "predictions").mkdir()
    content = lzma.compress(frame_csv(pd.concat(frames)).encode())
    (results / "predictions" / "predictions.csv.xz").write_bytes(content)
    return results, images


def test_pages_have_votes_predictions_and_images_of_simulated_observers(demo):
    results, images = demo
    observers = observer_pages.build(read_suite("demo"), results)
    assert [each.name for each in observers] == ["Obs1", "Obs2", "Obs3", "Obs4", "Obs5"]
    worst = observers[0].images[0]
    assert worst["image"] == images[3] and worst["error"] > 1.5 and worst["share"] == pytest.approx(0.025)
    assert all(row["share"] == pytest.approx(0.9) for each in observers[1:] for row in each.images)
    pages = [results / each.page for each in observers] + [results / "images.html"]
    for page in pages:
        for link in re.findall(r'(?:href|src)="([^"#]+)"', page.read_text(encoding="utf-8")):
            target = (page.parent / link).resolve()
            assert target.is_file() or target.name == "index.html", link
    own = observers[1].figures[0]
    assert own.name == "confusion_Obs2_on_Obs2" and len(observers[1].figures) == 5
    assert len(list((results / "images").iterdir())) == 10
    names_are_text(observers[0])


def test_votes_and_images_of_people_stay_out(demo, demo_set, monkeypatch):
    results, _ = demo
    monkeypatch.setattr(observer_pages, "load", lambda *_, **__: replace(demo_set, simulated=False))
    observers = observer_pages.build(read_suite("demo"), results)
    assert not any(each.images for each in observers) and not (results / "images").exists()
    assert "may not be passed on" in (results / observers[0].page).read_text(encoding="utf-8")
    assert not (results / "images.html").exists()


def test_pages_are_built_where_the_set_is_not(demo, monkeypatch):
    results, _ = demo

    def absent(*_, **__):
        raise InputError("demo: no such file")

    monkeypatch.setattr(observer_pages, "load", absent)
    observers = observer_pages.build(read_suite("demo"), results)
    assert len(observers) == 5 and all((results / each.page).is_file() for each in observers)


def names_are_text(observer):
    observer.name = '"><script>alert(1)</script>'
    beside = {"previous": observer, "following": observer}
    template = environment().get_template("observer.html.j2")
    page = template.render(suite=read_suite("demo"), observer=observer, votes=[], **beside)
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page
