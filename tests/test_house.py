"""The house's rules: imports go one way and in no circle; docs/design.md and notebooks/README.md show what is there."""

import ast
import importlib.util
import re
from graphlib import TopologicalSorter

import pytest

PARAMETERS = re.compile(r"^ {4}(\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: \(.*?\))?:", re.MULTILINE)


@pytest.fixture
def house(repository):
    spec = importlib.util.spec_from_file_location("house", repository / "docs" / "house.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_imports_go_one_way(house):
    order = list(house.ROOMS)
    arrows = house.between_rooms()
    back = {
        f"{module} imports {each}"
        for module, imported in house.imports().items()
        for each in imported
        if order.index(house.room(each)) > order.index(house.room(module)) and module != "iqasuite.__main__"
    }
    assert not back
    assert arrows["cli"] >= {"experiments", "inference"} and not arrows["base"]  # the graph is not empty


def test_every_folder_is_a_room(house):
    folders = {path.parent.name for path in house.PACKAGE.glob("*/__init__.py")}
    assert folders == set(house.ROOMS) - {"base"}


def test_no_module_imports_itself_in_a_circle(house):
    known = house.imports()
    # a package's own __init__ is run before its modules: what it imports lazily is no circle
    graph = {name: {each for each in imported if each != name} for name, imported in known.items()}
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def undocumented(function):
    """Parameters of a function that the section Args of its docstring does not name, if it has one."""
    _, _, rest = (ast.get_docstring(function) or "").partition("Args:\n")
    section = re.split(r"^(?=\S)", rest, maxsplit=1, flags=re.MULTILINE)[0]
    named = {name.strip("*") for names in PARAMETERS.findall(section) for name in names.split(", ")}
    arguments = function.args
    every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    return [each.arg for each in every if rest and each.arg not in {*named, "self", "cls"}]


def test_modules_and_functions_are_short(repository):
    long = []
    for file in (repository / "src").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        parts = [(file.name, len(text.splitlines()), 400)]
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                parts.append((f"{file.name}, {node.name}", node.end_lineno - node.lineno + 1, 60))
        long += [f"{name}: {lines} lines, expected at most {most}" for name, lines, most in parts if lines > most]
    assert not long


def test_a_section_of_parameters_names_all_of_them(house):
    section = ["Args:", "    a, b: two.", "    c: one.", "", "Returns:", "    d: a number."]
    text = "\n    ".join(["def f(a, b, *, c, d):", '"""F.', "", *section, '"""'])
    assert undocumented(ast.parse(text).body[0]) == ["d"]
    lacking = {
        f"{module}.{node.name}: {', '.join(missing)}"
        for module, file in house.modules().items()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and (missing := undocumented(node))
    }
    assert not lacking


def test_the_document_shows_the_house_of_today(house):
    document = house.DOCUMENT.read_text(encoding="utf-8")
    arrows = [line for line in house.drawn().splitlines() if "-->" in line]
    assert arrows and all(line in document for line in arrows), "run: python docs/house.py"


def test_the_notebooks_page_has_every_notebook_once_under_its_title_of_today(house):
    named = sorted(name for names in house.THEMES.values() for name in names)
    assert named == sorted(path.stem for path in house.NOTEBOOKS.glob("*.ipynb"))
    page = (house.NOTEBOOKS / "README.md").read_text(encoding="utf-8")
    assert page == house.notebooks_page(), "run: python docs/house.py"
