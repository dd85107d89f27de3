"""Fixtures for all tests: a project in an empty folder, and the real data where they are."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
PARAMETERS = 'suite: str = "interactive"  # batch that this run belongs to\nrun: str = "run"  # its name\n'


@pytest.fixture
def repository() -> Path:
    """Root of the repository."""
    return ROOT


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project as working directory, with functions that add notebooks and suites to it."""
    (tmp_path / "notebooks" / "suites").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IQASUITE_CACHE", raising=False)
    return Project(tmp_path)


class Project:
    """Writes small notebooks and suites below a root."""

    def __init__(self, root: Path):
        self.root = root

    def notebook(self, name: str, parameters: str = "", *cells: str, title: str = "Does it run?") -> Path:
        """A notebook with a title, a parameters cell (suite, run and what is given) and code cells."""
        content = nbformat.v4.new_notebook()
        content.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        declared = nbformat.v4.new_code_cell(PARAMETERS + parameters, metadata={"tags": ["parameters"]})
        content.cells = [nbformat.v4.new_markdown_cell(f"# {title}"), declared, *map(nbformat.v4.new_code_cell, cells)]
        path = self.root / "notebooks" / f"{name}.ipynb"
        nbformat.write(content, path)
        return path

    def suite(self, text: str, name: str = "small") -> str:
        """A suite's file; returns the suite's name."""
        content = f"suite: {name}\n{text}"
        (self.root / "notebooks" / "suites" / f"{name}.yaml").write_text(content, encoding="utf-8")
        return name


def real_data(name: str) -> Path:
    """Folder of a real data set; skips the test, saying so, where it is not."""
    folder = Path(os.environ.get("IQASUITE_DATA") or ROOT / "data") / name
    if not folder.is_dir():
        pytest.skip(f"{name} is not in IQASUITE_DATA")
    return folder


@pytest.fixture(scope="session")
def lab_folder() -> Path:
    """The lab set in its official layout."""
    return real_data("tta_h265_lab")


@pytest.fixture(scope="session")
def playlists_folder() -> Path:
    """The published playlists of the individual-observer study."""
    return real_data("aio_playlists")


@pytest.fixture(scope="session")
def kodak_folder() -> Path:
    """The 24 Kodak photographs."""
    return real_data("kodak24")


@pytest.fixture(scope="session")
def weights_folder() -> Path:
    """ImageNet weights as safetensors; skips the test, saying so, where they are not."""
    folder = Path(os.environ.get("IQASUITE_WEIGHTS") or ROOT / "weights")
    if not (folder / "mobilenet_v2.safetensors").is_file():
        pytest.skip("mobilenet_v2.safetensors is not in IQASUITE_WEIGHTS")
    return folder
