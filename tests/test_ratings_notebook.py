"""Notebook 01 on sets with next to nothing to compare: it says so, and goes on to its end."""

import json
import logging

import IPython.display
import nbformat
import numpy as np
import pytest
from PIL import Image

VOTES = {
    "one person": lambda person, content, version: 1 + (content + version) % 5 if person == 0 else None,
    "no image in common": lambda person, content, version: 1 + version if content % 3 == person else None,
    "always the same vote": lambda person, content, version: 4,
    "two contents": lambda person, content, version: 1 + (version + person) % 5 if content < 2 else None,
}


@pytest.fixture(autouse=True)
def level_of_the_log():
    """The notebook makes the log quiet; what follows in this process is not to be."""
    log = logging.getLogger("iqasuite")
    before = log.level
    yield
    log.setLevel(before)


@pytest.mark.parametrize("name", VOTES)
def test_few_people_few_images_nobody_in_common(repository, tmp_path, monkeypatch, name):
    folder, rows = tmp_path / "study", ["observer,image,vote,content"]
    folder.mkdir()
    rng = np.random.default_rng(0)
    for content in range(6):
        for version in range(4):
            votes = [VOTES[name](person, content, version) for person in range(3)]
            if any(votes):
                pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{content}_{version}.png")
            rows += [f"P{p},{content}_{version}.png,{v},c{content}" for p, v in enumerate(votes) if v]
    (folder / "ratings.csv").write_text("\n".join(rows) + "\n")
    monkeypatch.setenv("IQASUITE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path)
    said = []
    monkeypatch.setattr(IPython.display, "display", lambda *shown: said.extend(map(str, map(vars_of, shown))))
    notebook = nbformat.read(repository / "notebooks" / "01_look_at_the_ratings.ipynb", as_version=4)
    known: dict = {}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, cell.id, "exec"), known)
            if "parameters" in cell.metadata.get("tags", []):
                known |= {"dataset": str(folder), "n_boot": 20}
    assert any("reliability cannot be measured" in text for text in said) == (name in list(VOTES)[:2])
    assert any("too few for a training" in text for text in said) == (name == "two contents")
    run = json.loads((tmp_path / "results" / "interactive" / "runs" / "01_look_at_the_ratings.json").read_text())
    assert run["extra"]


def vars_of(shown):
    return getattr(shown, "data", type(shown))
