"""Screens and systems whose letters are not those of Unicode: names are shown with replacements, files are UTF-8."""

import os
import subprocess
import sys

import pytest


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
