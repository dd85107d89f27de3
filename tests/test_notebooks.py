"""Every notebook of the repository: valid, without outputs, with its parameters cell and headline cells."""

import re
from pathlib import Path

import nbformat
import pytest

from iqasuite.experiments.parameters import declared_parameters, fits

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


def test_is_valid_and_its_kernel_is_pythons(notebook):
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"


def test_has_no_outputs(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None
    assert "widgets" not in notebook.metadata


def test_parameters_have_types_comments_and_fitting_defaults(path):
    declared = declared_parameters(path)
    assert {"suite", "run"} <= set(declared)
    assert declared["suite"].default == "interactive"
    for parameter in declared.values():
        assert parameter.annotation, parameter.name
        assert parameter.comment, parameter.name
        assert fits(parameter.default, parameter.annotation), parameter.name


def test_begins_with_a_question_and_says_what_goes_in_and_out(notebook):
    """Title as a question, what will be seen, the table in – out – time, then the parameters."""
    first = notebook.cells[0]
    assert first.cell_type == "markdown" and re.match(r"# .+\?\s*$", first.source.splitlines()[0])
    position = next(n for n, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", []))
    assert all(cell.cell_type == "markdown" for cell in notebook.cells[:position])
    introduction = "\n".join(cell.source for cell in notebook.cells[:position])
    assert re.search(r"^\|.*\bin\b.*\bout\b.*time", introduction, re.MULTILINE | re.IGNORECASE)


def test_ends_with_what_we_learned_and_what_to_try(notebook):
    headings = " ".join(
        line
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("#")
    ).lower()
    assert "learned" in headings and "try" in headings


def test_calls_the_library_and_names_no_path_of_a_machine(notebook):
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert "iqasuite" in code
    assert not re.search(r"['\"](/[a-z]+/|[A-Z]:\\)", code)
    assert not re.search(r"^\s*[!%](pip|conda)", code, re.MULTILINE)
