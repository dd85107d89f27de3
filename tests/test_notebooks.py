"""Every notebook of the repository: valid, without outputs, with its parameters cell and headline cells, and thin."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

from iqasuite.experiments.parameters import declared_parameters, fits
from iqasuite.report.notebook_page import FORMULA, SYMBOLS, plain_formulas

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
MOST_PARAMETERS, LONGEST_CELL = 12, 15
IMPORTS = (ast.Import, ast.ImportFrom)


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


READABLE = {
    *SYMBOLS,
    "text",
    "mathrm",
    "mathbf",
    "operatorname",
    "mathit",
    "hat",
    "bar",
    "tilde",
    "sqrt",
    "frac",
    "tanh",
}


def test_formulas_can_be_read_in_a_page_without_mathjax(path, notebook):
    allowed = READABLE | ({"varphi", "top"} if path.stem == "15_your_own_observer" else set())  # shown as these words
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            used = {name for found in FORMULA.finditer(cell.source) for name in re.findall(r"\\([A-Za-z]+)", found[0])}
            assert used <= allowed, cell.id
            shown = re.findall(r'<span class="formula[^>]*>(.*?)</span>', plain_formulas(cell.source), re.DOTALL)
            assert not [formula for formula in shown if re.search(r"[{}\\]", formula)], cell.id


def breaches(path: Path) -> list[str]:
    """Where a notebook is not thin: its parameters, the length of its cells, and how it opens and closes."""
    declared = set(declared_parameters(path))
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    found = [f"{len(declared)} parameters, expected at most {MOST_PARAMETERS}"] * (len(declared) > MOST_PARAMETERS)
    for cell in cells:
        if (length := len(cell.source.splitlines())) > LONGEST_CELL:
            found.append(f"{cell.id}: {length} lines, expected at most {LONGEST_CELL}")
    trees = [ast.parse(cell.source) for cell in cells]
    importing = [n for n, tree in enumerate(trees) if any(isinstance(x, IMPORTS) for x in ast.walk(tree))]
    if importing != [1]:
        found.append(f"code cells {importing} import, expected one, after the parameters")
    if ast.unparse(trees[1].body[-1]) != "run = Run.from_notebook()":
        found.append("the import cell does not end in run = Run.from_notebook()")
    if "run.finish(" not in cells[-1].source:
        found.append("the last code cell does not call run.finish")
    for names in (_to_themselves(node) for tree in trees for node in ast.walk(tree)):
        if len(names & declared) > 1 and 2 * len(names & declared) > len(declared - {"suite", "run"}):
            found.append(f"parameters typed again: {', '.join(sorted(names & declared))}")
    return found


def _to_themselves(node: ast.AST) -> set[str]:
    """Names that a dict maps to the variables so named, as `{"epochs": epochs}` or `dict(epochs=epochs)` does."""
    pairs: list[tuple] = []
    if isinstance(node, ast.Dict):
        pairs = [(key.value, value) for key, value in zip(node.keys, node.values, strict=True) if hasattr(key, "value")]
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "dict":
        pairs = [(keyword.arg, keyword.value) for keyword in node.keywords]
    return {name for name, value in pairs if isinstance(value, ast.Name) and value.id == name}


def test_is_thin(path):
    assert not breaches(path)


THIN = ("from iqasuite.experiments.run import Run\nrun = Run.from_notebook()", "run.finish()")
MANY = "".join(f"p{n}: int = {n}  # one\n" for n in range(11))


@pytest.mark.parametrize(
    ("parameters", "cells", "breach"),
    [
        ("", THIN, None),
        (MANY, THIN, "13 parameters"),
        ("", (THIN[0], "x = 1\n" * 16, THIN[1]), "16 lines"),
        ("", (THIN[0], "import time", THIN[1]), "code cells [1, 2] import"),
        ("", ("import time", THIN[1]), "does not end in run"),
        ("", (THIN[0], "write_run()"), "does not call run.finish"),
        ("a: int = 1  # one\nb: int = 2  # two\n", (THIN[0], 'd = {"a": a, "b": b}', THIN[1]), "typed again: a, b"),
        ("a: int = 1  # one\nb: int = 2  # two\n", (THIN[0], "d = dict(a=a, b=b)", THIN[1]), "typed again: a, b"),
        ("a: int = 1  # one\nb: int = 2  # two\n", (THIN[0], 'd = {"a": a, "c": b}', THIN[1]), None),
    ],
)
def test_what_is_not_thin_is_found(project, parameters, cells, breach):
    found = breaches(project.notebook("one", parameters, *cells))
    assert len(found) == (breach is not None) and (breach or "") in "".join(found)
