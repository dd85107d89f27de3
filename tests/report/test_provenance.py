"""What a run records about itself, and what it must not."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from iqasuite.errors import InputError
from iqasuite.report import provenance


@pytest.fixture
def dataset():
    images = pd.DataFrame({"image": ["a.png", "b.png"]})
    return SimpleNamespace(name="demo", hash=lambda: "ab12", images=images, absent=["c.png"], simulated=True)


def test_record_has_what_is_needed_to_repeat_a_run(project, dataset, monkeypatch):
    monkeypatch.setattr(provenance, "time", SimpleNamespace(time=lambda: 1_700_000_002.5))
    started = 1_700_000_000.0
    described = provenance.record("one", {"epochs": 3}, dataset, seeds=[0, 1], started=started, extra={"qwk": 0.5})
    assert described["name"] == "one" and described["parameters"] == {"epochs": 3} and described["seeds"] == [0, 1]
    assert described["data"] == {"name": "demo", "hash": "ab12", "images": 2, "absent": 1, "simulated": True}
    assert described["wall_s"] == 2.5
    assert described["peak_memory_mib"] > 10
    assert {"python", "numpy", "torch", "iqasuite"} <= set(described["versions"])
    assert described["device"]["cores"] >= 1 and described["device"]["name"]
    assert described["started"].endswith("+00:00")
    assert described["git"] == {}  # an empty folder is no repository
    assert described["extra"] == {"qwk": 0.5}


def test_the_splits_hash_is_recorded(project):
    from iqasuite.datasets.splits import split_hash

    split = pd.DataFrame({"image": ["a"], "content": ["c"], "fold": [0], "part": ["test"]})
    assert provenance.record("one", {}, split=split)["split_hash"] == split_hash(split)


def test_no_path_of_the_machine_is_recorded(project, monkeypatch):
    monkeypatch.setenv("IQASUITE_DATA", "/somewhere/else/data")
    given = {
        "weights": str(project.root / "weights" / "a.safetensors"),
        "folders": ["/somewhere/else/data/kodak24", str(Path.home() / "pictures")],
        "python": sys.executable,
    }
    recorded = provenance.record("one", given)["parameters"]
    assert recorded["weights"] == "./weights/a.safetensors"
    assert recorded["folders"] == ["$IQASUITE_DATA/kodak24", "~/pictures"]
    assert recorded["python"].startswith("…/")


def test_paths_in_tracebacks_are_replaced(project):
    text = f"File \x1b[32m{project.root}/src/iqasuite/x.py:3\x1b[39m and /var/folders/ipykernel_12/345.py:1"
    assert provenance.without_machine_paths(text) == "File \x1b[32m./src/iqasuite/x.py:3\x1b[39m and <cell>:1"
    assert (
        provenance.without_machine_paths(f"{project.root}-other")
        == provenance.without_machine_paths(str(project.root.parent)) + f"/{project.root.name}-other"
    )


def test_write_run_and_read_runs(project):
    described = provenance.record("one", {"where": Path("a")})
    path = provenance.write_run("small", described)
    assert path == project.root / "results" / "small" / "runs" / "one.json"
    assert json.loads(path.read_text())["parameters"] == {"where": "a"}
    assert provenance.read_runs("small") == {"one": described}
    for content in ("<<<<<<< HEAD\n", "[]", "[" * 3000, "\xff"):  # such as git leaves it
        path.write_text(content)
        with pytest.raises(InputError, match="one.json: .*; expected .*as it was written"):
            provenance.read_runs("small")


def test_the_repositorys_revision(project):
    def git(*arguments) -> str:
        named = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
        return subprocess.run(["git", *named, *arguments], check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    (project.root / "votes.csv").write_text("image,vote\n")
    git("add", "votes.csv")
    git("commit", "--quiet", "--message", "Votes")
    head = git("rev-parse", "HEAD")
    assert provenance.git_revision() == {"revision": head, "dirty": False}
    (project.root / "votes.csv").write_text("image,observer,vote\n")
    assert provenance.git_revision() == {"revision": head, "dirty": True}


def test_a_very_long_word_is_read_once():
    assert provenance.without_machine_paths("a/" * 200_000) == "a/" * 200_000
    assert provenance.without_machine_paths('File "/tmp/ipykernel_12/34.py", line 1') == 'File "<cell>", line 1'
