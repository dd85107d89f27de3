"""Skipped tests are counted by reason, and a run that was promised real data fails where a test did without."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import pytest

def test_one(kodak_folder): pass
def test_two(kodak_folder): pass
def test_three(real_weights): real_weights("alexnet.safetensors")
def test_four(): pytest.skip("chromium is not on PATH")
def test_five(): pass
"""
COUNTED = (
    "4 skipped",
    "   2 kodak24 is not in IQASUITE_DATA",
    "   1 alexnet.safetensors is not in IQASUITE_WEIGHTS",
    "   1 chromium is not on PATH",
)


@pytest.fixture
def run(tmp_path):
    """A function that runs five small tests beside this folder's conftest, with these variables."""
    (tmp_path / "tests").mkdir()
    shutil.copy(Path(__file__).parent / "conftest.py", tmp_path / "tests")
    (tmp_path / "tests" / "test_small.py").write_text(TESTS)

    def small_run(*arguments, **variables) -> subprocess.CompletedProcess:
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("IQASUITE_", "PYTEST_"))}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", ".", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment | variables, capture_output=True, text=True)

    return small_run


@pytest.mark.parametrize(("workers", "variable"), [("0", "IQASUITE_WEIGHTS"), ("1", "IQASUITE_DATA")])
def test_a_run_fails_that_was_promised_real_data_and_did_without(run, tmp_path, workers, variable):
    done = run("-n", workers, **{variable: str(tmp_path)})
    missing = {"IQASUITE_DATA": "kodak24", "IQASUITE_WEIGHTS": "alexnet.safetensors"}[variable]
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    errors = [line for line in done.stdout.splitlines() if line.startswith("ERROR")]
    assert errors == [f"ERROR: a test was skipped though the variable is set: {missing} is not in {variable}"]
    assert set(COUNTED) <= set(done.stdout.splitlines())


def test_without_real_data_skips_are_counted_only(run):
    done = run(IQASUITE_DATA="/no/such/folder")
    assert done.returncode == 0 and "ERROR" not in done.stdout
    assert set(COUNTED) <= set(done.stdout.splitlines())


def test_with_all_real_data_nothing_is_said(run, tmp_path):
    (tmp_path / "kodak24").mkdir()
    (tmp_path / "alexnet.safetensors").touch()
    done = run(
        "--deselect", "tests/test_small.py::test_four", IQASUITE_DATA=str(tmp_path), IQASUITE_WEIGHTS=str(tmp_path)
    )
    assert done.returncode == 0 and "skipped" not in done.stdout
