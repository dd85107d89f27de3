"""Suites: which notebooks run with which parameters, read from YAML and checked before anything runs."""

from __future__ import annotations

import difflib
import functools
import graphlib
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from iqasuite.errors import InputError
from iqasuite.experiments.parameters import Parameter, declared_parameters, settled
from iqasuite.paths import project_root
from iqasuite.yaml_files import read_yaml, shown, valid_name

SUITE_KEYS = ("suite", "title", "description", "parameters", "highlights", "runs")
RUN_KEYS = ("name", "notebook", "needs", "foreach", "parameters", "cores", "resources")
# what a cluster is asked for: the default, the least and the most
RESOURCES = {"gpus": (0, 0, 1), "memory_mb": (8_000, 500, 10_000_000), "minutes": (240, 1, 100_000)}
GIVEN = ("suite", "run")  # every notebook that declares them is told these two
MOST_RUNS = 10_000
MOST_CHARACTERS = 5_000_000  # of all runs' parameters
MOST_NEEDS = 1_000_000  # of all runs
LONGEST_VALUE = 100  # characters of a foreach value, which is a part of a run's name
RANGE = re.compile(r"(\D*)(\d+)\.\.(\D*)(\d+)")


@dataclass(frozen=True)
class Run:
    """One execution of one notebook."""

    name: str
    notebook: str  # stem of the file in notebooks/
    parameters: Mapping[str, Any] = field(default_factory=dict)  # what this run's entry gives
    foreach: Mapping[str, Any] = field(default_factory=dict)  # its values of the entry's foreach variables
    needs: tuple[str, ...] = ()  # names of the runs that come before
    template: str = ""  # the entry's name before its foreach variables were filled in
    cores: int | None = None  # None: its share; 0: all of the machine's
    resources: Mapping[str, int] = field(default_factory=lambda: _resources(None, ""))  # RESOURCES, all of them

    @property
    def notebook_file(self) -> Path:
        """Path of the notebook relative to the project's root."""
        return Path("notebooks") / f"{self.notebook}.ipynb"


@dataclass(frozen=True)
class Suite:
    """A batch of runs in the order of its file."""

    name: str
    title: str
    description: str
    parameters: Mapping[str, Any]  # given to every run whose notebook declares them
    runs: tuple[Run, ...]
    highlights: tuple[str, ...]  # "run/figure" or "run/table", shown first
    path: Path

    def run(self, name: str) -> Run:
        """The run of that name; InputError lists the nearest ones where there is none."""
        for run in self.runs:
            if run.name == name:
                return run
        raise InputError(f"{self.path.name}: no run {shown(name)}{_nearest(name, [run.name for run in self.runs])}")

    def groups(self) -> dict[str, list[Run]]:
        """Runs by the entry that they came from, in the order of the file."""
        groups: dict[str, list[Run]] = {}
        for run in self.runs:
            groups.setdefault(run.template, []).append(run)
        return groups


def suites_folder() -> Path:
    """Where the suites' files are."""
    return project_root() / "notebooks" / "suites"


def known_suites() -> list[str]:
    """Names of the suites in `notebooks/suites`."""
    return sorted(path.stem for path in suites_folder().glob("*.yaml"))


def read_suite(name_or_path: str | Path) -> Suite:
    """Read a suite and expand its runs.

    Args:
        name_or_path: name of a file in `notebooks/suites` without its ending, or a path that ends in .yaml.

    Returns:
        The suite, `foreach` multiplied out and the patterns in `needs` resolved to names of runs.

    Raises:
        InputError: unknown suite, broken YAML, unknown or duplicate keys and runs, more than 10,000 runs, names that
            lead elsewhere, needs that match nothing or run in a circle, a highlight that names no run.
    """
    path = _suite_path(name_or_path)
    content = read_yaml(path)
    where = path.name
    if not isinstance(content, dict):
        raise InputError(f"{where}: found {type(content).__name__}; expected keys {', '.join(SUITE_KEYS)}")
    _check_keys(content, SUITE_KEYS, where)
    name = content.get("suite")
    if name != path.stem:
        raise InputError(f"{where}: suite is {shown(name)}; expected the file's own name, {path.stem!r}")
    entries = _typed(content, "runs", list, where, required=True)
    if not entries:
        raise InputError(f"{where}: runs is empty; expected at least one run")
    suite = Suite(
        name=valid_name(name, f"{where}: suite"),
        title=_typed(content, "title", str, where) or name,
        description=_typed(content, "description", str, where) or "",
        parameters=_typed(content, "parameters", dict, where) or {},
        runs=tuple(_resolve_needs(_expand_all(entries, where), where)),
        highlights=tuple(_typed(content, "highlights", list, where) or ()),
        path=path,
    )
    _check_highlights(suite)
    return suite


def check(suite: Suite) -> dict[str, dict[str, Any]]:
    """Compare what a suite gives with what its notebooks declare, and return what each run gets.

    Returns:
        Parameters by name of the run: the suite's where the notebook declares them, then the run's foreach values,
        then the run's own. Of a group of settings, a run gives what differs from the suite's.

    Raises:
        InputError: a notebook does not exist; a parameter is not declared or has another type; a parameter of the
            suite is declared by no notebook.
    """
    notebooks = {run.notebook: run.notebook_file for run in suite.runs}
    declared = {name: declared_parameters(project_root() / file) for name, file in notebooks.items()}
    where = suite.path.name
    for parameter in suite.parameters:
        if not any(parameter in parameters for parameters in declared.values()):
            known = {name for parameters in declared.values() for name in parameters}
            raise InputError(
                f"{where}: parameters.{parameter}: no notebook of the suite declares it{_nearest(parameter, known)}"
            )
    return {run.name: _parameters_of(suite, run, declared[run.notebook]) for run in suite.runs}


def _check_highlights(suite: Suite) -> None:
    names = {run.name for run in suite.runs}
    for highlight in suite.highlights:
        run_name, _, item = highlight.partition("/") if isinstance(highlight, str) else ("", "", "")
        if not _is_plain(item):
            raise InputError(
                f"{suite.path.name}: highlights: found {shown(highlight)}; expected 'run/figure' or 'run/table'"
            )
        if run_name not in names:
            suite.run(run_name)  # which raises


def _is_plain(name: str) -> bool:
    """Whether it names a file in a folder, and not one elsewhere."""
    return bool(re.fullmatch(r"[^./\\:][^/\\:]*", name)) and len(name.encode()) <= 200


def _parameters_of(suite: Suite, run: Run, declared: Mapping[str, Parameter]) -> dict[str, Any]:
    where = f"{suite.path.name}: run {run.name}"
    given = {name: value for name, value in suite.parameters.items() if name in declared}
    given |= {name: value for name, value in run.foreach.items() if name in declared}
    for name, value in run.parameters.items():  # a run's settings are laid over the suite's
        group = name in declared and declared[name].is_group and isinstance(value, dict)
        given[name] = given[name] | value if group and isinstance(given.get(name), dict) else value
    given |= {name: value for name, value in zip(GIVEN, (suite.name, run.name), strict=True) if name in declared}
    file = run.notebook_file.as_posix()
    for name, value in given.items():
        if name not in declared:
            raise InputError(f"{where}: parameter {name!r} is not declared in {file}{_nearest(name, declared)}")
        given[name] = settled(value, declared[name], f"{where}: parameter {name!r} of {file}")
    return given


def _suite_path(name_or_path: str | Path) -> Path:
    text = str(name_or_path)
    if text.endswith((".yaml", ".yml")):
        path = Path(text)
        if not path.is_file():
            raise InputError(f"{text}: no such file")
        return path
    path = suites_folder() / f"{text}.yaml"
    if text not in known_suites():
        known = ", ".join(known_suites()) or f"none in {suites_folder()}"
        raise InputError(f"unknown suite {text!r}; known: {known}")
    return path


def _expand_all(entries: list[Any], where: str) -> list[Run]:
    runs: list[Run] = []
    characters = 0
    for number, entry in enumerate(entries, 1):
        for run in _expand(entry, f"{where}: runs[{number}]", MOST_RUNS - len(runs)):
            runs.append(run)
            characters += len(repr((run.parameters, run.needs)))
            if characters > MOST_CHARACTERS:
                raise InputError(
                    f"{where}: runs[{number}]: more than {MOST_CHARACTERS:,} characters of parameters and needs in all "
                    "runs; expected fewer runs or shorter values"
                )
    return runs


def _expand(entry: Any, where: str, most: int) -> Iterator[Run]:
    """Runs of one entry, one for each combination of its foreach values."""
    if not isinstance(entry, dict):
        raise InputError(f"{where}: found {shown(entry)}; expected a mapping with {', '.join(RUN_KEYS)}")
    _check_keys(entry, RUN_KEYS, where)
    template = _typed(entry, "name", str, where, required=True)
    where = f"{where} ({shown(template)[1:-1]})"
    foreach = {
        variable: _values(values, f"{where}: foreach.{variable}")
        for variable, values in (_typed(entry, "foreach", dict, where) or {}).items()
    }
    parameters = _typed(entry, "parameters", dict, where) or {}
    needs = _typed(entry, "needs", list, where) or []
    notebook = _notebook(entry, where)
    number = math.prod(map(len, foreach.values()))
    if number > most:
        raise InputError(f"{where}: foreach: {number:,} runs; expected at most {MOST_RUNS:,} in a suite")
    for combination in itertools.product(*foreach.values()):
        values = dict(zip(foreach, combination, strict=True))
        yield Run(
            name=valid_name(_fill(template, values), f"{where}: name"),
            notebook=notebook,
            parameters={key: _fill(value, values) for key, value in parameters.items()},
            foreach=values,
            needs=tuple(str(_fill(need, values)) for need in needs),
            template=template,
            cores=_cores(entry.get("cores"), where),
            resources=_resources(_typed(entry, "resources", dict, where), where),
        )


def _notebook(entry: Mapping, where: str) -> str:
    name = _typed(entry, "notebook", str, where, required=True).removesuffix(".ipynb")
    if not _is_plain(name):
        raise InputError(f"{where}: notebook: found {shown(name)}; expected the name of a file in notebooks/")
    return name


def _cores(value: Any, where: str) -> int | None:
    if value is None or value == "all":
        return None if value is None else 0
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise InputError(f"{where}: cores: found {shown(value)}; expected a number above 0, or all")


def _resources(given: Mapping | None, where: str) -> dict[str, int]:
    given = given or {}
    _check_keys(given, RESOURCES, f"{where}: resources")
    for key, value in given.items():
        _, least, most = RESOURCES[key]
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise InputError(
                f"{where}: resources.{key}: found {shown(value)}; expected a whole number from {least:,} to {most:,}"
            )
    return {key: given.get(key, default) for key, (default, _, _) in RESOURCES.items()}


def _values(values: Any, where: str) -> list[Any]:
    """Foreach values: a list, in which (or instead of which) "user1..user21" and "0..4" stand for all between."""
    expanded: list[Any] = []
    for value in values if isinstance(values, list) else [values]:
        match = RANGE.fullmatch(value) if isinstance(value, str) else None
        if match and match[1] == match[3]:
            digits = max(len(match[2]), len(match[4]))
            numbers = range(int(match[2]), int(match[4]) + 1) if digits < 10 else range(2**31)
            if len(numbers) > MOST_RUNS:
                raise InputError(f"{where}: found {shown(value)}; expected at most {MOST_RUNS:,} values")
            expanded += [f"{match[1]}{number}" if match[1] else number for number in numbers]
        elif isinstance(value, (str, int, float)) and len(str(value)) <= LONGEST_VALUE:
            expanded.append(value)
        else:
            raise InputError(
                f"{where}: found {shown(value)}; expected a list of short texts and numbers, or a range like "
                "user1..user21"
            )
    if not expanded:
        raise InputError(f"{where}: no values; expected at least one")
    return expanded


def _fill(value: Any, values: Mapping[str, Any]) -> Any:
    """Put foreach values where their {names} stand, also within lists and mappings (keys, too); a value that is nothing
    but one name keeps the value's own type."""
    if isinstance(value, list):
        return [_fill(part, values) for part in value]
    if isinstance(value, dict):
        return {str(_fill(key, values)): _fill(part, values) for key, part in value.items()}
    if not isinstance(value, str):
        return value
    if value.startswith("{") and value[1:-1] in values and value.endswith("}"):
        return values[value[1:-1]]
    return re.sub(r"\{([^{}]*)\}", lambda name: str(values.get(name[1], name[0])), value)


def _resolve_needs(runs: list[Run], where: str) -> list[Run]:
    names = Counter(run.name for run in runs)
    for name, times in names.items():
        if times > 1:
            raise InputError(f"{where}: two runs are named {name!r}; put every foreach variable into the name")

    @functools.cache
    def matching(pattern: str) -> list[str]:
        return [pattern] if pattern in names else [name for name in names if fnmatchcase(name, pattern)]

    resolved, number = [], 0
    for run in runs:
        found: dict[str, None] = {}
        for pattern in run.needs:
            matches = [name for name in matching(pattern) if name != run.name]
            if not matches:
                raise InputError(
                    f"{where}: run {run.name}: needs {shown(pattern)}, which no other run matches"
                    f"{_nearest(pattern, names)}"
                )
            found |= dict.fromkeys(matches)
        number += len(found)
        if number > MOST_NEEDS:
            raise InputError(f"{where}: run {run.name}: needs: more than {MOST_NEEDS:,} in the suite; expected fewer")
        resolved.append(replace(run, needs=tuple(found)))
    try:
        graphlib.TopologicalSorter({run.name: run.needs for run in resolved}).prepare()
    except graphlib.CycleError as error:
        raise InputError(f"{where}: runs need each other in a circle: {' → '.join(error.args[1][:20])}") from None
    return resolved


def _check_keys(mapping: Mapping, known: Iterable[str], where: str) -> None:
    for key in mapping:
        if key not in known:
            raise InputError(f"{where}: unknown key {key!r}{_nearest(key, known)}; expected {', '.join(known)}")


def _typed(mapping: Mapping, key: str, kind: type, where: str, required: bool = False) -> Any:
    value = mapping.get(key)
    if value is None and not required:
        return None
    if not isinstance(value, kind):
        words: dict[type, str] = {list: "a list", dict: "a mapping", str: "a text"}
        found = "nothing" if value is None else shown(value)
        raise InputError(f"{where}: {key}: found {found}; expected {words[kind]}")
    return value


def _nearest(name: Any, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
