"""Fixtures for all tests: a project in an empty folder, and the real data where they are."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.modules.setdefault("rfc3987_syntax", None)  # as the command does: 3 s a process
import nbformat  # noqa: E402

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


@pytest.fixture(scope="session")
def real_data():
    """A function: data set, or file of one, by name -> its path; skips the test where it is not in IQASUITE_DATA."""
    return lambda name: _found("IQASUITE_DATA", "data", name)


@pytest.fixture(scope="session")
def real_weights():
    """A function: file of weights by name -> its path; skips the test where it is not in IQASUITE_WEIGHTS."""
    return lambda name: _found("IQASUITE_WEIGHTS", "weights", name)


def _found(variable: str, default: str, name: str) -> Path:
    path = Path(os.environ.get(variable) or ROOT / default) / name
    if not path.exists():
        pytest.skip(f"{name} is not in {variable}")
    return path


@pytest.fixture(scope="session")
def demo_set():
    """The demo set."""
    from iqasuite.datasets import demo  # here: most tests need no torch

    return demo.load()


@pytest.fixture(scope="session")
def simulate():
    """The functions of simulated_people.py: observers, their split, their AIOs."""
    spec = importlib.util.spec_from_file_location("simulated_people", ROOT / "tests" / "simulated_people.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def lab_folder(real_data) -> Path:
    """The lab set in its official layout."""
    return real_data("tta_h265_lab")


@pytest.fixture(scope="session")
def playlists_folder(real_data) -> Path:
    """The published playlists of the individual-observer study."""
    return real_data("aio_playlists")


@pytest.fixture(scope="session")
def kodak_folder(real_data) -> Path:
    """The 24 Kodak photographs."""
    return real_data("kodak24")


def pytest_collection_modifyitems(items):
    """Files with slow tests first, so that no worker is left with a long one at the end; each begins with a batch.

    What needs a GPU is skipped where there is none.
    """
    if on_gpu := [item for item in items if item.get_closest_marker("gpu")]:
        import torch  # here: most tests need no torch

        for item in on_gpu if not torch.cuda.is_available() else ():
            item.add_marker(pytest.mark.skip(reason="there is no GPU"))
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
    whole = "test_smoke_suite_runs", "test_a_study_goes_from_votes_to_gallery", "test_a_killed_job_and_a_drained_node"
    batches = [item for item in items if item.name.startswith(whole)]
    rest = [item for item in items if item not in batches]
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT") or 1)
    share = -(-len(rest) // workers)  # of consecutive tests, what xdist gives to each worker at first
    items[:] = [
        item
        for worker in range(workers)
        for item in (*batches[worker::workers], *rest[worker * share : (worker + 1) * share])
    ]


def skips(config: pytest.Config) -> Counter[str]:
    """Number of skipped tests by reason; of all workers where there are several."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    reports = reporter.stats.get("skipped", []) if reporter else []
    return Counter(report.longrepr[2].removeprefix("Skipped: ") for report in reports)


def skips_of_what_was_promised(config: pytest.Config) -> list[str]:
    """Reasons that name a variable which is set to an existing folder: whoever sets it wants these tests to run."""
    promised = [name for name in ("IQASUITE_DATA", "IQASUITE_WEIGHTS") if Path(os.environ.get(name) or "/no").is_dir()]
    return [reason for reason in skips(config) if any(name in reason for name in promised)]


def pytest_sessionfinish(session, exitstatus):
    """The run fails where real data are promised and a test did without."""
    controls = not hasattr(session.config, "workerinput")
    if controls and exitstatus == pytest.ExitCode.OK and skips_of_what_was_promised(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    """How many tests were skipped, and why."""
    counted, broken = skips(config), skips_of_what_was_promised(config)
    if counted:
        terminalreporter.section("skipped tests by reason")
        terminalreporter.line(f"{counted.total()} skipped")
        for reason, number in counted.most_common():
            terminalreporter.line(f"{number:4} {reason}")
    for reason in broken:
        terminalreporter.line(f"ERROR: a test was skipped though the variable is set: {reason}", red=True)
