"""Notebook 01 on sets with next to nothing to compare: it says so, and goes on to its end."""

import json
import logging

import IPython.display
import nbformat
import numpy as np
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from PIL import Image

VOTES = {
    "one person": lambda person, content, version: 1 + (content + version) % 5 if person == 0 else None,
    "no image in common": lambda person, content, version: 1 + version if content % 3 == person else None,
    "always the same vote": lambda person, content, version: 4,
    "two contents": lambda person, content, version: 1 + (version + person) % 5 if content < 2 else None,
    "two people an image": lambda person, content, version: (
        1 + (content + version + person // 2) % 5 if (person + content + version) % 3 else None
    ),
    "one with two votes": lambda person, content, version: (
        1 + (content + version + person) % 5
        if person < 2 or content + version < 1 or (content, version) == (1, 0)
        else None
    ),
}


@pytest.fixture(autouse=True)
def left_as_it_was():
    """The notebook makes the log quiet and has a shell to itself; what follows in this process is to have neither."""
    log = logging.getLogger("iqasuite")
    before = log.level
    yield
    log.setLevel(before)
    InteractiveShell.clear_instance()


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
    said = executed(repository, folder, monkeypatch)
    assert any("reliability cannot be measured" in text for text in said) == (name in list(VOTES)[:2])
    assert any("too few for a training" in text for text in said) == (name == "two contents")
    run = json.loads((tmp_path / "results" / "interactive" / "runs" / "01_look_at_the_ratings.json").read_text())
    assert run["extra"]
    tables = tmp_path / "results" / "interactive" / "tables" / "01_look_at_the_ratings"
    if name == "two people an image":  # nobody rated everything, and ICC is known
        found = pd.read_csv(tables / "reliability.csv").set_index("measure").loc["ICC(2,1)"]
        assert found["n_images"] == 24 and found["n_observers"] == 3 and 0 < found["value"] < 1
        assert "ICC by variance components" in (tables / "captions.json").read_text(encoding="utf-8")
    if name == "one with two votes":
        found = pd.read_csv(tables / "agreement.csv").set_index("observer")
        assert found.loc["P2", "n"] == 2 and np.isnan(found.loc["P2", "srocc"]) and found["srocc"].count() == 2
        assert any("1 who rated fewer than 5 of these images do not count" in text for text in said)


def executed(repository, folder, monkeypatch) -> list[str]:
    """What the notebook shows of a study."""
    monkeypatch.setenv("IQASUITE_CACHE", str(folder.parent / "cache"))
    (folder.parent / "notebooks").mkdir()
    monkeypatch.chdir(folder.parent)
    said = []
    monkeypatch.setattr(IPython.display, "display", lambda *shown: said.extend(map(str, map(vars_of, shown))))
    notebook = nbformat.read(repository / "notebooks" / "01_look_at_the_ratings.ipynb", as_version=4)
    shell = InteractiveShell.instance()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            shell.run_cell(cell.source, store_history=True).raise_error()
        if "parameters" in cell.metadata.get("tags", []):
            shell.push({"dataset": str(folder), "n_boot": 20})
    return said


NUISANCES = {
    "both kinds": "[codec, rate]",
    "a category alone": "codec",
}


@pytest.mark.parametrize("name", NUISANCES)
@pytest.mark.parametrize("overlap", [True, False])
def test_declared_nuisances(repository, tmp_path, monkeypatch, name, overlap):
    """Each in its figure, its table and its baseline; the codec decides the votes, the rate nothing."""
    folder, rows = tmp_path / "study", ["observer,image,vote,content,codec,rate"]
    folder.mkdir()
    rng = np.random.default_rng(0)
    for content in range(12):
        for version in range(4):
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / f"{content}_{version}.png")
            people = range(3) if overlap else [content % 3]
            cells = f"c{content},{['', 'old', 'new', 'newer'][version]},{rng.integers(1000) or ''}"
            rows += [f"P{p},{content}_{version}.png,{1 + version},{cells}" for p in people]
    rows = rows if "rate" in NUISANCES[name] else [row.rpartition(",")[0] for row in rows]
    (folder / "ratings.csv").write_text("\n".join(rows) + "\n")
    (folder / "dataset.yaml").write_text(f"nuisance: {NUISANCES[name]}\n")
    said = "\n".join(executed(repository, folder, monkeypatch))
    assert "baseline: votes by codec | 1.000" in said and "accuracy, votes by codec 1.000" in said
    results = tmp_path / "results" / "interactive"
    table = pd.read_csv(results / "tables" / "01_look_at_the_ratings" / "nuisances.csv").set_index("nuisance")
    assert table.loc["codec", "value"] > 0.99 and table.loc["codec", ["n", "measure"]].tolist() == [
        48,
        "means of 4 categories, leave one out",
    ]
    assert (results / "figures" / "01_look_at_the_ratings" / "nuisance.webp").is_file()
    assert ("baseline: thresholds on rate" in said) == ("rate" in table.index) == (name == "both kinds")
    if name == "both kinds":
        assert table.loc["rate", "value"] < 0.2


def vars_of(shown):
    return getattr(shown, "data", type(shown))
