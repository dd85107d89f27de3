"""The command: quick to start, one line where something is wrong, exit status other than 0."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from iqasuite.cli import app
from iqasuite.experiments import batch


@pytest.fixture
def command():
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def test_help_imports_nothing_heavy():
    program = "import sys, iqasuite.cli; print([m for m in ('torch', 'pandas', 'papermill') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_list_and_check(project, command):
    project.notebook("first")
    project.suite("title: A small one\nruns:\n  - {name: one, notebook: first}")
    assert "small" in command("suite", "list").output
    checked = command("suite", "check", "small")
    assert checked.exit_code == 0 and "1 runs" in checked.output


def test_a_wrong_suite_is_one_line_and_runs_nothing(project, command, monkeypatch):
    monkeypatch.setattr(batch, "_snakemake", lambda *_: pytest.fail("something ran"))
    project.notebook("first")
    project.suite("runs:\n  - {name: one, notebook: first, parameters: {epochs: 3}}")
    for arguments in (["suite", "check", "small"], ["suite", "run", "small"], ["gallery", "none"]):
        failed = command(*arguments)
        assert failed.exit_code == 2
        assert failed.output.startswith("error: ") and failed.output.count("\n") == 1
    assert not (project.root / "results").exists() and not (project.root / "work").exists()


def test_ctrl_c_is_130(project, command, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(batch, "run_suite", interrupted)
    assert command("suite", "run", "small").exit_code == 130


def test_a_full_disk_is_one_line(project, command, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "results/x.json")

    monkeypatch.setattr(batch, "run_suite", full)
    failed = command("suite", "run", "small")
    assert failed.exit_code == 1 and failed.output == "error: [Errno 28] No space left on device: 'results/x.json'\n"


def test_playlist_check(tmp_path, command):
    (tmp_path / "good.csv").write_text("Image Name,Vote\na.png,3\nb.png,5\n")
    (tmp_path / "bad.csv").write_text("Image Name,Vote\na.png,6\n")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").touch()
    good = command("playlist", "check", str(tmp_path / "good.csv"))
    assert good.exit_code == 0 and "2 votes, 2 images (3: 1, 5: 1)" in good.output
    bad = command("playlist", "check", str(tmp_path / "bad.csv"))
    assert bad.exit_code == 2 and "bad.csv" in bad.output and "6" in bad.output
    unknown = command("playlist", "check", str(tmp_path / "good.csv"), "--images", str(tmp_path / "images"))
    assert unknown.exit_code == 2 and "b.png" in unknown.output
    assert command("playlist", "check", str(tmp_path / "good.csv"), "--images", str(tmp_path / "none")).exit_code == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("inference --image-path a.png --model-path m", "score a.png --model m"),
        ("score --ref=r.png --distorted d.png", "score --reference=r.png d.png"),
        ("evaluate --test-data tid2013 --model-path=m", "evaluate --test-data tid2013 --model=m"),
    ],
)
def test_names_of_the_programs_before_are_taken_with_a_hint(command, old, new):
    asked, today = command(*old.split()), command(*new.split())
    hints = [line for line in asked.stderr.splitlines() if "the old name; now " in line]
    renamed = sum(word.partition("=")[0] not in new.replace("=", " ").split() for word in old.split())
    assert len(hints) == renamed and asked.exit_code == today.exit_code == 2
    assert asked.stderr.splitlines()[len(hints) :] == today.stderr.splitlines()
    assert "the old name" not in command("score", "--", "--ref").stderr  # a file of that name
