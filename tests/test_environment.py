"""pyproject.toml, requirements.lock and environment.yml name the same dependencies in the same versions."""

import re
import sys
import tomllib

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from typer.testing import CliRunner

from iqasuite.cli import app
from iqasuite.cli.group import EXTRAS

PYTHON = {"python_version": "3.11", "python_full_version": "3.11.9"}  # what environment.yml asks for
ENTRY = re.compile(r"^([a-z0-9._-]+)==([^\s;]+)(?: ; (.*?))?(?: \\)?$", re.MULTILINE)


@pytest.fixture
def wanted(repository) -> list[Requirement]:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    texts = [*project["dependencies"], *(text for extra in project["optional-dependencies"].values() for text in extra)]
    return [wish for wish in map(Requirement, texts) if wish.name != project["name"]]


@pytest.fixture
def extras(repository) -> dict[str, set[str]]:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    return {
        name: {Requirement(text).name for text in texts} for name, texts in project["optional-dependencies"].items()
    }


@pytest.fixture
def locked(repository) -> dict[str, str]:
    entries = ENTRY.findall((repository / "requirements.lock").read_text())
    return {name: version for name, version, marker in entries if not marker or Marker(marker).evaluate(PYTHON)}


@pytest.fixture
def conda(repository) -> dict[str, str]:
    dependencies = yaml.safe_load((repository / "environment.yml").read_text())["dependencies"]
    assert f"python={PYTHON['python_version']}" in dependencies
    pip = next(entry["pip"] for entry in dependencies if isinstance(entry, dict))
    assert pip[-1] == "-e ."
    return dict(line.split("==") for line in pip[:-1])


def test_lock_satisfies_pyproject(wanted, locked):
    for requirement in wanted:
        assert requirement.specifier.contains(locked[requirement.name]), requirement.name


def test_environment_has_the_locked_versions_and_nothing_else(wanted, locked, conda):
    assert conda == {requirement.name: locked[requirement.name] for requirement in wanted}


def test_lock_has_hashes_and_names_no_index(repository):
    text = (repository / "requirements.lock").read_text()
    assert "--hash=sha256:" in text
    assert "://" not in text and "--index" not in text
    for entry in re.split(r"\n(?=\S)", text):
        assert not ENTRY.match(entry) or "--hash" in entry, entry.splitlines()[0]


def test_a_missing_package_is_said_with_the_extra_that_brings_it(extras):
    for module, extra in EXTRAS.items():
        assert {"markdown_it": "markdown-it-py"}.get(module, module) in extras[extra], module


def test_a_command_without_its_packages_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    for loaded in [name for name in sys.modules if name.startswith("iqasuite.app")]:
        monkeypatch.delitem(sys.modules, loaded)
    done = CliRunner().invoke(app, ["app"])
    assert done.exit_code == 2
    assert (
        done.stderr == "error: gradio is not installed; expected the extra that has it: pip install 'iqasuite[app]'\n"
    )
