"""Screens and systems whose letters are not those of Unicode: names are shown with replacements, files are UTF-8."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import iqasuite


def run(*arguments, **environment):
    whole = {**os.environ, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", **environment}
    command = [sys.executable, "-m", "iqasuite", *map(str, arguments)]
    return subprocess.run(command, env=whole, capture_output=True, check=False)


@pytest.mark.parametrize("encoding", ["cp1252", "cp932", "cp437"])
def test_names_and_signs_that_a_screen_lacks(tmp_path, encoding):
    folder = tmp_path / "写真 – é"
    (folder / "Zoë").mkdir(parents=True)
    (folder / "Zoë" / "Zoë_1.csv").write_text("Image Name,Vote\n写.png,3\n", encoding="utf-8")
    done = run("playlist", "check", folder, PYTHONIOENCODING=encoding)
    shown = done.stdout.decode(encoding)
    assert done.returncode == 0 and b"Traceback" not in done.stderr and "1 votes of 1 observers" in shown
    assert ("写真" if encoding == "cp932" else r"\u5199\u771f") in shown


def test_text_files_where_the_system_has_ascii(tmp_path):
    """Cards have signs beyond ASCII, a folder's facts and table as well."""
    path = tmp_path / "p.csv"
    path.write_text("Image Name,Vote\né.png,3\n", encoding="utf-8")
    for arguments in (("models",), ("playlist", "check", path)):
        done = run(*arguments, LC_ALL="C")
        assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr


def _opens_text(call: ast.Call) -> bool:
    """Whether a call opens a file as text, in an encoding of the system's choice where it names none."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if name in ("read_text", "write_text"):
        return True
    mode = [a.value for a in call.args if isinstance(a, ast.Constant) and str(a.value).strip("rwxatb+") == ""]
    mode += [k.value.value for k in call.keywords if k.arg == "mode" and isinstance(k.value, ast.Constant)]
    return name in ("open", "fdopen", "NamedTemporaryFile") and any(set("rwxa") & set(m) and "b" not in m for m in mode)


def test_every_text_file_is_opened_in_an_encoding_that_is_named():
    found = []
    for path in sorted(Path(iqasuite.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and _opens_text(node) and "encoding" not in {k.arg for k in node.keywords}:
                found.append(f"{path.name}:{node.lineno}")
    assert not found
