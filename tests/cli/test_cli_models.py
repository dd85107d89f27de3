"""`iqasuite models`, `iqasuite app`, completion: quick, and one line a network or set of people."""

import json
import subprocess
import sys
import types

import pytest
import torch
from typer.testing import CliRunner

import iqasuite
from iqasuite import models
from iqasuite.cli import app
from iqasuite.cli.options import data_names, model_names, observer_names
from iqasuite.weights.files import save_weights

OF_MEANS = {
    "scores": {"srocc, test": 0.5},
    "caution": "An example.",
    "rank_baselines": {"srocc, test": {"n": 9, "sharpness": [0.45, 0.4, 0.5]}},
}


@pytest.fixture
def command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IQASUITE_WEIGHTS", str(tmp_path / "weights"))
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


@pytest.fixture
def weights(tmp_path, command):
    card = {"licence": "CC0", "scale": {"name": "ACR", "low": 1, "high": 5}, "title": "A small one"}
    with torch.random.fork_rng():
        network = models.create("mobile_nr", width=0.25)
    save_weights(network, tmp_path / "weights" / "mobile_nr.safetensors", card | OF_MEANS)
    for name in ("user10", "user2"):
        save_weights(network, tmp_path / "weights" / "people" / f"{name}.safetensors", card | {"observer": name})
    return tmp_path / "weights"


def test_a_line_each(weights, command):
    found = command("models")
    head, one, people, caution = found.stdout.splitlines()
    assert found.exit_code == 0 and head.split() == [
        "name",
        "predicts",
        "scale",
        "size",
        "scores",
        "sharpness",
        "licence",
        "what",
    ]
    for fact in ("mobile_nr", "images", "ACR 1–5", "SROCC 0.5 ", "0.45 [0.4, 0.5]", "CC0", "A small one"):
        assert fact in one
    assert caution == "mobile_nr: An example."
    assert people.startswith("people") and "as 2 observers" in people and people.endswith("AIOs of user2, user10")


def test_cards(weights, command):
    name, _, card = command("models", "people/user2", "--long").stdout.partition("\n")
    assert name == f"people/user2  {weights / 'people' / 'user2.safetensors'}"
    assert json.loads(card)["observer"] == "user2"
    unknown = command("models", "other")
    assert unknown.exit_code == 2 and "mobile_nr, people/user10, people/user2" in unknown.output


def test_a_broken_card_is_one_line_and_the_others_are_listed(weights, command):
    (weights / "deep.safetensors").write_bytes(b"")
    (weights / "deep.json").write_text("[" * 50_000)
    listed = command("models")
    assert listed.exit_code == 0 and "mobile_nr" in listed.stdout and "user2, user10" in listed.stdout
    for arguments in (["models", "deep"], ["models", "deep", "--long"], ["score", "--model", "deep", "a.png"]):
        found = command(*arguments)
        assert found.exit_code == 2 and "deep.json" in found.output and "Traceback" not in found.output, arguments


def test_what_a_card_says_cannot_write_over_the_screen(weights, command):
    card = json.loads((weights / "mobile_nr.json").read_text())
    said = {"title": "a\x1b[2J\nb", "licence": "\x07", "caution": "\rx", "scale": {"name": "\x9b", "low": 0, "high": 1}}
    (weights / "mobile_nr.json").write_text(json.dumps(card | said))
    found = command("models")
    assert len(found.stdout.splitlines()) == 4 and not set("\x1b\x07\r\x9b") & set(found.stdout)


def test_none_here(command):
    assert "iqasuite train" in command("models").output


def test_completion(weights):
    assert model_names("people/") == ["people/user10", "people/user2"]
    assert observer_names("user2") == ["user2"] and observer_names("people/a") == ["people/all"]
    assert data_names("tid") == ["tid2008", "tid2013"]


def test_quick_commands_import_nothing_heavy(weights):
    heavy = ("torch", "pandas", "numpy", "gradio", "matplotlib", "scipy", "PIL")
    for arguments in (["--help"], ["--version"], ["models"], ["score", "--help"], ["train", "--help"]):
        program = f"""
import sys
from iqasuite.cli import app
try:
    app({arguments!r})
except SystemExit as end:
    assert not end.code
print([m for m in {heavy} if m in sys.modules], file=sys.stderr)
"""
        found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert found.stderr.strip() == "[]", arguments


def test_version(command):
    assert command("--version").stdout.startswith("iqasuite 0.")


@pytest.mark.parametrize("name", ["score", "evaluate", "train", "models", "app"])
def test_help_has_examples(command, name):
    found = command(name, "--help")
    assert found.exit_code == 0 and f"Example: iqasuite {name}" in found.output


def test_the_page_is_started_as_asked(command, monkeypatch):
    asked = []
    page = types.ModuleType("iqasuite.app")
    page.serve = lambda *arguments: asked.append(arguments)
    monkeypatch.setitem(sys.modules, "iqasuite.app", page)
    monkeypatch.setattr(iqasuite, "app", page, raising=False)
    assert command("app").exit_code == 0 and command("app", "--port", "80", "--share", "--open").exit_code == 0
    assert asked == [("127.0.0.1", 7860, False, False, None), ("127.0.0.1", 80, True, True, None)]
    assert command("app", "--port", "70000").exit_code == 2
