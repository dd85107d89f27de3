"""Notebook 12 on sets with votes: preferences first, then mean opinion scores, then more of them from saved weights."""

import json

import numpy as np
import pandas as pd
import papermill
import pytest
from PIL import Image

from iqasuite.experiments.parameters import declared_parameters, settled

BRIEF = {"viewing": {"views": "one", "figures": "few"}, "rated": {"side": 128, "peers": ["psnr"]}, "n_boot": 20}
SMALL, ONCE = {"width": 0.25, "grid": 4}, {"epochs": 1}
HEAD = "ref. image, distorted image A, distorted image B, raw preference for A, processed preference for A\n"


def execute(notebook, out, folder, **given):
    """The notebook with settings laid over its own, as a suite lays them."""
    declared = declared_parameters(notebook)
    given = {name: settled(value, declared[name], name) for name, value in (BRIEF | given | {"suite": "test"}).items()}
    papermill.execute_notebook(notebook, out, given, cwd=folder, progress_bar=False, start_timeout=1200)


@pytest.fixture
def drawn_pieapp(tmp_path):
    """Three references of 160 pixels and noisy versions; the less noisy one is preferred."""
    rng = np.random.default_rng(0)
    for n, part in ((1, "train"), (2, "val"), (3, "test")):
        smooth = rng.integers(0, 256, (10, 10, 3), dtype=np.uint8)
        reference = np.asarray(Image.fromarray(smooth).resize((160, 160)))
        names = [f"distort_{n}_noise_intra_{i}.png" for i in range(4)]
        root = tmp_path / "data" / "pieapp"
        for folder in (f"distorted_images/{part}/ref_{n}", f"reference_images/{part}", f"labels/{part}"):
            (root / folder).mkdir(parents=True)
        Image.fromarray(reference).save(root / f"reference_images/{part}/ref_{n}.png")
        for i, name in enumerate(names):
            noisy = np.clip(reference + rng.normal(0, 8 + 20 * i, reference.shape), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(root / f"distorted_images/{part}/ref_{n}/{name}")
        lines = [f"ref_{n}.png,{names[i]},{names[j]},0.9,0.9\n" for i in range(4) for j in range(i + 1, 4)]
        (root / f"labels/{part}/ref_{n}_pairwise_labels.csv").write_text(HEAD + "".join(lines))


@pytest.mark.slow
def test_preferences_then_votes_then_on_from_there(repository, drawn_pieapp, tmp_path, monkeypatch):
    monkeypatch.setenv("IQASUITE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("IQASUITE_CACHE", str(repository / ".cache"))  # the demo set is made at most once for all tests
    notebook = repository / "notebooks" / "12_full_reference.ipynb"
    (tmp_path / "notebooks").mkdir()
    votes = {"pairs": {"labels": "votes", "size": 160}, "splits": {"n_splits": 1}}
    sorter = str(repository / "weights" / "pair_sorter.safetensors")
    first = {"network": SMALL | {"pretrain": {"pieapp": 1}}, "training": ONCE | {"relight": True}}
    second = {"network": {"start": "first"}, "training": ONCE | {"sorter": sorter}}
    second["losses"] = {"mse": 0.1, "plcc_squared": 0.9, "sorter": 0.1}
    for run, given in (("first", first), ("second", second)):
        out = tmp_path / f"{run}.ipynb"
        execute(notebook, out, tmp_path, run=run, **votes, **given)
        assert "18 comparisons, validation accuracy" in out.read_text() or run == "second"
    weights = tmp_path / "work" / "test" / "weights"
    cards = [json.loads((weights / f"{run}_0_0.json").read_text()) for run in ("first", "second")]
    assert [card["start"] for card in cards] == ["pieapp", "first"]
    assert all(card["scale"]["name"] in ("ACR", "MOS") and card["trained_on"].startswith("demo") for card in cards)
    learnt = {"astronaut", "chelsea", "china", "coffee", "flower", "motorcycle", "rocket"}
    assert set(cards[0]["photographs"]) == set(cards[1]["photographs"]) < learnt  # names of photographs, not of scenes
    assert "the study's" in (tmp_path / "work" / "test" / "pair_predictions" / "second.csv").read_text()
    assert not list((tmp_path / "work" / "test" / "checkpoints").glob("*"))


@pytest.mark.slow
def test_a_random_split_leaves_no_photograph_to_ask_people_about(repository, tmp_path, monkeypatch):
    """Pairs are dealt out, so every photograph has taught. For the corrected protocol see the smoke suite."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("IQASUITE_CACHE", str(repository / ".cache"))  # the demo set is made at most once for all tests
    (tmp_path / "notebooks").mkdir()
    out = tmp_path / "one.ipynb"
    notebook = repository / "notebooks" / "12_full_reference.ipynb"
    pairs, splits = {"kinds": ["noise"], "size": 176, "places": 1}, {"protocol": "faithful"}
    execute(notebook, out, tmp_path, run="one", pairs=pairs, splits=splits, network=SMALL, training=ONCE)
    card = json.loads((tmp_path / "work" / "test" / "weights" / "one_0_0.json").read_text())
    predictions = pd.read_csv(tmp_path / "work" / "test" / "pair_predictions" / "one.csv")
    assert not (predictions["dataset"] == "demo").any() and "nothing to ask" in out.read_text()
    assert all("photographs shared" in name for name in card["scores"])
