"""Suites are expanded and checked before anything runs; errors say where, what was found, what was expected."""

import pytest

from iqasuite.errors import InputError
from iqasuite.experiments.parameters import declared_parameters, fits
from iqasuite.experiments.suite import check, known_suites, read_suite

ONE_RUN = "runs:\n  - {name: one, notebook: first}\n"


def names(suite):
    return [run.name for run in suite.runs]


def test_foreach_is_a_product_and_ranges_are_expanded(project):
    project.suite(
        'runs:\n  - {name: "aio_{observer}_{fold}", notebook: first, foreach: {observer: user9..user10, fold: 0..1}}'
    )
    suite = read_suite("small")
    assert names(suite) == ["aio_user9_0", "aio_user9_1", "aio_user10_0", "aio_user10_1"]
    assert suite.runs[1].foreach == {"observer": "user9", "fold": 1}
    assert list(suite.groups()) == ["aio_{observer}_{fold}"]


def test_parameters_come_from_suite_foreach_and_run(project):
    declared = "observer: str = 'A'  # who\nfold: int = 0  # part\nlr: float = 0.1  # rate\nfrom_: str = ''  # start\n"
    project.notebook("first", declared)
    project.notebook("second", "seed: int = 0  # seed\n")
    project.suite("""
parameters: {seed: 3, lr: 1e-3}
runs:
  - name: "aio_{observer}_{fold}"
    notebook: first
    foreach: {observer: [Obs1], fold: [2]}
    parameters: {from_: "work/{observer}/{fold}"}
  - {name: last, notebook: second}
""")
    given = check(read_suite("small"))
    assert given == {
        "aio_Obs1_2": {
            "lr": 0.001,  # YAML 1.1 would read a text
            "observer": "Obs1",
            "fold": 2,
            "from_": "work/Obs1/2",
            "suite": "small",
            "run": "aio_Obs1_2",
        },
        "last": {"seed": 3, "suite": "small", "run": "last"},
    }


def test_settings_of_a_run_are_laid_over_those_of_the_suite(project):
    project.notebook("first", 'training: dict = {"lr": 0.1, "epochs": 3, "note": ""}  # how\nfree: dict = {}  # any\n')
    project.suite("""
parameters: {training: {epochs: 5, lr: 0.2}, free: {a: 1}}
runs:
  - {name: "r{k}", notebook: first, foreach: {k: [4]}, parameters: {training: {epochs: "{k}", note: "n{k}"}, free: {}}}
  - {name: plain, notebook: first}
""")
    given = check(read_suite("small"))
    assert given["r4"]["training"] == {"lr": 0.2, "epochs": 4, "note": "n4"} and given["r4"]["free"] == {}
    assert given["plain"]["training"] == {"lr": 0.2, "epochs": 5, "note": ""}


def test_foreach_variables_are_filled_in_within_lists_and_mappings(project):
    project.notebook("first", "parts: list[str] = []  # parts\nsizes: dict = {}  # sizes\n")
    entry = 'parameters: {parts: ["{k}", b], sizes: {inner: ["x{k}"], "{k}": 1}}'
    project.suite(f'runs:\n  - {{name: "r{{k}}", notebook: first, foreach: {{k: [a]}}, {entry}}}')
    given = check(read_suite("small"))["ra"]
    assert given["parts"] == ["a", "b"] and given["sizes"] == {"inner": ["xa"], "a": 1}


def test_a_parameter_that_is_one_foreach_variable_keeps_its_type(project):
    project.notebook("first", "part: int = 0  # part\n")
    project.suite('runs:\n  - {name: "r{k}", notebook: first, foreach: {k: [4]}, parameters: {part: "{k}"}}')
    assert check(read_suite("small"))["r4"]["part"] == 4


def test_a_foreach_value_with_braces_is_filled_in_once(project):
    project.notebook("first", "texts: str = ''  # some\n")
    tens = ", ".join(f"v{i}: ['{f'{{v{i + 1}}}' * 10}']" for i in range(9))  # filled in again and again: 10^10 of them
    project.suite(f'runs:\n  - {{name: one, notebook: first, foreach: {{{tens}}}, parameters: {{texts: "{{v0}}!"}}}}')
    assert check(read_suite("small"))["one"]["texts"] == "{v1}" * 10 + "!"


def test_a_run_asks_a_cluster_for_what_it_says_and_else_for_the_default(project):
    project.suite(
        "runs:\n  - {name: one, notebook: first}\n"
        '  - {name: "r{k}", notebook: first, foreach: {k: [1, 2]}, resources: {gpus: 1, minutes: 60}}'
    )
    asked = [run.resources for run in read_suite("small").runs]
    assert asked[0] == {"gpus": 0, "memory_mb": 8000, "minutes": 240}
    assert asked[1:] == [{"gpus": 1, "memory_mb": 8000, "minutes": 60}] * 2


def test_needs_are_resolved_to_runs(project):
    project.suite("""
runs:
  - {name: pre, notebook: first}
  - {name: "a_{k}", notebook: first, needs: [pre], foreach: {k: [1, 2]}}
  - {name: "b_{k}", notebook: first, needs: ["a_{k}"], foreach: {k: [1, 2]}}
  - {name: end, notebook: first, needs: ["?_*", pre]}
""")
    suite = read_suite("small")
    assert suite.run("a_2").needs == ("pre",)
    assert suite.run("b_2").needs == ("a_2",)
    assert suite.run("end").needs == ("a_1", "a_2", "b_1", "b_2", "pre")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title: [", ["small.yaml", "YAML"]),
        ("run: []", ["small.yaml", "unknown key 'run'", "did you mean 'runs'"]),
        ("runs: []", ["small.yaml", "runs is empty"]),
        ("runs: {}", ["small.yaml", "runs", "expected a list"]),
        ("title: 3\n" + ONE_RUN, ["title", "3", "expected a text"]),
        ("title: a\ntitle: b\n" + ONE_RUN, ["line", "'title' stands twice"]),
        ("runs:\n  - {name: one}", ["runs[1]", "notebook", "nothing"]),
        ("runs:\n  - {name: one, notbook: first}", ["runs[1]", "'notbook'", "did you mean 'notebook'"]),
        ("runs:\n  - {name: a/b, notebook: first}", ["name", "'a/b'"]),
        ('runs:\n  - {name: "a_{k}", notebook: first}', ["name", "'a_{k}'", "foreach"]),
        (ONE_RUN + "  - {name: one, notebook: first}", ["two runs are named 'one'"]),
        ("runs:\n  - {name: one, notebook: first, foreach: {k: [1, 2]}}", ["two runs are named 'one'"]),
        ("runs:\n  - {name: one, notebook: first, foreach: {k: []}}", ["foreach.k", "no values"]),
        ("runs:\n  - {name: one, notebook: first, foreach: {k: user9..user1}}", ["foreach.k", "no values"]),
        ("runs:\n  - {name: one, notebook: first, needs: [oen]}", ["run one", "'oen'", "no other run matches"]),
        (
            "runs:\n  - {name: one, notebook: first, needs: [two]}\n  - {name: two, notebook: first, needs: [one]}",
            ["circle", "one", "two"],
        ),
        ("runs:\n  - {name: one, notebook: first, cores: 0}", ["cores", "0"]),
        ("runs:\n  - {name: one, notebook: first, resources: 2}", ["runs[1] (one)", "resources", "2", "a mapping"]),
        (
            "runs:\n  - {name: one, notebook: first, resources: {gpu: 1}}",
            ["small.yaml", "runs[1] (one)", "resources", "'gpu'", "did you mean 'gpus'"],
        ),
        ("runs:\n  - {name: one, notebook: first, resources: {gpus: 2}}", ["resources.gpus", "2", "from 0 to 1"]),
        ("runs:\n  - {name: one, notebook: first, resources: {gpus: true}}", ["resources.gpus", "True"]),
        ("runs:\n  - {name: one, notebook: first, resources: {memory_mb: 8 GB}}", ["resources.memory_mb", "'8 GB'"]),
        ("runs:\n  - {name: one, notebook: first, resources: {minutes: 0}}", ["resources.minutes", "from 1"]),
        ("- a", ["small.yaml", "not YAML"]),
        ("runs: [1]", ["runs[1]", "found 1"]),
        ("runs:\n  - {name: .., notebook: first}", ["name", "'..'"]),
        ("runs:\n  - {name: Con, notebook: first}", ["name", "'Con'", "Windows"]),
        ('runs:\n  - {name: "{k}", notebook: first, foreach: {k: [a, nul.x]}}', ["name", "'nul.x'", "Windows"]),
        ("runs:\n  - {name: " + "a" * 101 + ", notebook: first}", ["name", "100"]),
        ("runs:\n  - {name: one, notebook: ../first}", ["notebook", "'../first'", "a file in notebooks/"]),
        ("runs:\n  - {name: one, notebook: /etc/first.ipynb}", ["notebook", "'/etc/first'"]),
        ("runs:\n  - {name: one, notebook: 'suites\\first'}", ["notebook", "a file in notebooks/"]),
        ("runs:\n  - {name: one, notebook: 'C:first'}", ["notebook", "'C:first'"]),
        ("runs:\n  - {name: one, notebook: " + "ö" * 150 + "}", ["notebook", "a file in notebooks/"]),
        ("highlights: [../../etc/passwd/x]\n" + ONE_RUN, ["highlights", "run/figure"]),
        ("highlights: [one/../x]\n" + ONE_RUN, ["highlights", "'one/../x'"]),
        ("highlights: [one/..]\n" + ONE_RUN, ["highlights", "'one/..'"]),
        ("highlights: ['one/..\\x']\n" + ONE_RUN, ["highlights", "run/figure"]),
        ("highlights: [/one/x]\n" + ONE_RUN, ["highlights", "'/one/x'"]),
        ("highlights: [{one: x}]\n" + ONE_RUN, ["highlights", "{'one': 'x'}"]),
        (
            "runs:\n  - {name: 'a{k}', notebook: first, foreach: {k: 1..20000000}}",
            ["foreach.k", "'1..20000000'", "10,000"],
        ),
        ("runs:\n  - {name: 'a{k}', notebook: first, foreach: {k: 0.." + "9" * 5000 + "}}", ["foreach.k", "10,000"]),
        (
            "runs:\n  - {name: 'a{k}{l}', notebook: first, foreach: {k: 1..999, l: x1..x999}}",
            ["foreach", "998,001 runs", "10,000"],
        ),
        (
            "runs:\n  - {name: 'a{k}', notebook: first, foreach: {k: 1..6000}}\n"
            "  - {name: 'b{k}', notebook: first, foreach: {k: 1..6000}}",
            ["runs[2]", "6,000 runs", "10,000"],
        ),
        ("runs:\n  - {name: 'a{k}', notebook: first, foreach: {k: [" + "x" * 200 + "]}}", ["foreach.k", "short texts"]),
        (
            "runs:\n  - {name: 'a{k}', notebook: first, foreach: {k: 1..9999}, parameters: {p: " + "x" * 5000 + "}}",
            ["runs[1]", "5,000,000 characters"],
        ),
        ("runs:\n  - {name: 'a{k}', notebook: first, needs: ['a*'], foreach: {k: 1..9999}}", ["needs", "1,000,000"]),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(project, text, words):
    project.suite(text)
    with pytest.raises(InputError) as caught:
        read_suite("small")
    message = str(caught.value)
    assert "\n" not in message and len(message) < 600
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("parameters: {epoch: 3}\n" + ONE_RUN, ["parameters.epoch", "no notebook", "did you mean 'epochs'"]),
        (
            "runs:\n  - {name: one, notebook: first, parameters: {epoch: 3}}",
            ["run one", "'epoch'", "first.ipynb", "did you mean 'epochs'"],
        ),
        (
            "runs:\n  - {name: one, notebook: first, parameters: {epochs: many}}",
            ["run one", "'epochs'", "'many' (str)", "expected int"],
        ),
        ("parameters: {epochs: 1.5}\n" + ONE_RUN, ["'epochs'", "1.5 (float)", "expected int"]),
        ("runs:\n  - {name: one, notebook: frist}", ["'frist'", "does not exist", "first"]),
        ("highlights: [one]\n" + ONE_RUN, ["highlights", "'one'", "run/figure"]),
        ("highlights: [two/votes]\n" + ONE_RUN, ["no run 'two'"]),
    ],
)
def test_parameters_are_checked_against_the_notebooks(project, text, words):
    project.notebook("first", "epochs: int = 3  # passes\n")
    project.suite(text)
    with pytest.raises(InputError) as caught:
        check(read_suite("small"))
    for word in words:
        assert word in str(caught.value)


def test_an_unknown_suite_lists_the_known_ones(project):
    project.suite(ONE_RUN)
    with pytest.raises(InputError, match="'smal'; known: small"):
        read_suite("smal")
    with pytest.raises(InputError, match="no such file"):
        read_suite("elsewhere.yaml")


def test_the_name_must_be_the_files(project):
    path = project.root / "other.yaml"
    path.write_text("suite: small\n" + ONE_RUN)
    with pytest.raises(InputError, match="expected the file's own name, 'other'"):
        read_suite(path)


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        (1, "int", True),
        (1, "float", True),
        (1.0, "int", False),
        (True, "int", False),
        (True, "bool", True),
        ("a", "str", True),
        (None, "str", False),
        (None, "str | None", True),
        (None, "Optional[int]", True),
        (2, "str | int", True),
        ([1, 2], "list[int]", True),
        ([1, "a"], "list[int]", False),
        ("a", "list", False),
        ([1, 2], "tuple[int, int]", True),
        ([1], "tuple[int, int]", False),
        ([1, 2, 3], "tuple[int, ...]", True),
        ({"a": 1}, "dict[str, float]", True),
        ("b", "Literal['a', 'b']", True),
        ("c", "Literal['a', 'b']", False),
        (3, "", True),
        (3, "Path", True),
    ],
)
def test_values_against_annotations(value, annotation, expected):
    assert fits(value, annotation) is expected


def test_declared_parameters_have_types_defaults_and_comments(project):
    path = project.notebook("first", 'lr: float = -1e-3  # step "size" # of the first\nnames: list[str] = ["a"]\n')
    declared = declared_parameters(path)
    assert list(declared) == ["suite", "run", "lr", "names"]
    assert (declared["lr"].annotation, declared["lr"].default) == ("float", -0.001)
    assert declared["lr"].comment == 'step "size" # of the first'
    assert declared["names"].comment == ""


@pytest.mark.parametrize(
    "line", ["import os", "x: int", "x: int = len('a')", "x = y = ", "print(1)", "x = {[]: 1}", "x = '''"]
)
def test_a_parameters_cell_holds_plain_values_only(project, line):
    with pytest.raises(InputError, match="first.ipynb"):
        declared_parameters(project.notebook("first", line))


def test_a_notebook_without_parameters_is_one_line(project):
    path = project.notebook("first", "epochs: int = 3  # passes\n")
    path.write_text(path.read_text().replace('"parameters"', '"another"'))
    project.suite(ONE_RUN)
    with pytest.raises(InputError, match=r"^first\.ipynb: no code cell is tagged 'parameters'$"):
        check(read_suite("small"))
    for content in ('{"cells": 1}', '{"cells": [1]}', '{"cells": [{"cell_type": "code", "metadata": 0}]}', "[" * 3000):
        path.write_text(content)
        with pytest.raises(InputError, match=r"^first\.ipynb: not readable as a notebook"):
            check(read_suite("small"))


def test_the_repositorys_suites_can_be_read(repository, monkeypatch):
    monkeypatch.chdir(repository)
    assert {"demo", "lab", "paper", "smoke"} <= set(known_suites())
    for name in known_suites():
        assert read_suite(name).runs
    lab = {run.name for run in read_suite("lab").runs}
    assert lab >= {f"aios_{fold}_0" for fold in range(5)}


def test_the_repositorys_suites_fit_their_notebooks(repository, monkeypatch):
    monkeypatch.chdir(repository)
    assert list(repository.glob("notebooks/*.ipynb"))
    for name in known_suites():
        check(read_suite(name))
