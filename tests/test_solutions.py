"""Answers to the notebooks' exercises: each exercise has one, and its code runs and says what the text does."""

import re

import nbformat
import pytest

CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def solved(repository):
    """Notebook -> its file of solutions, of all notebooks that have one."""
    return {path.stem: path for path in sorted((repository / "docs" / "solutions").glob("*.md"))}


def exercises(path):
    """The numbered exercises of a notebook's last section, and the text above them."""
    cells = nbformat.read(path, as_version=4).cells
    text = next(cell.source for cell in cells if "## Try" in cell.source)
    above, *numbered = re.split(r"^\d\. ", text.partition("## Try")[2].partition("\n## ")[0], flags=re.MULTILINE)
    return above, numbered


def test_each_notebook_has_three_exercises_with_an_answer(repository, solved):
    notebooks = {path.stem: path for path in (repository / "notebooks").glob("*.ipynb")}
    assert set(solved) == set(notebooks)
    for name, path in solved.items():
        above, numbered = exercises(notebooks[name])
        assert f"(../docs/solutions/{name}.md)" in above, name
        assert len(numbered) == 3, name
        sections = re.split(r"^## ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
        assert [section[:2] for section in sections] == ["1.", "2.", "3."], name
        assert all("assert " in "".join(CODE.findall(section)) for section in sections), name


@pytest.mark.parametrize("number", [f"{n:02}" for n in range(19)])
def test_its_code_runs(number, solved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IQASUITE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "folder").mkdir()
    path = next(path for name, path in solved.items() if name.startswith(number))
    space = {"FOLDER": tmp_path / "folder"}
    for block in CODE.findall(path.read_text(encoding="utf-8")):
        exec(compile(block, path.name, "exec"), space)
