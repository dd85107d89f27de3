"""Rows as text that can be read back, and files that are whole or not there."""

import csv
import io
import json
import math
import os
from pathlib import Path

import pytest

from iqasuite.errors import InputError
from iqasuite.inference.tables import format_of, lines, printable, written

NAMES = ["a.png", "two\nlines.png", 'b, "c"\nd.png', "ü\x1b[31m.png", os.fsdecode(b"\xff.png")]
ROWS = [{"score": 1 / 3, "word": "fair", "image": name} for name in NAMES] + [{"image": "e.png", "error": "lost"}]
COLUMNS = {"score": ">8", "word": "<5", "error": "<0", "image": "<0"}


def test_csv_and_json_lines_come_back():
    read = list(csv.DictReader(io.StringIO("\n".join(lines(ROWS, COLUMNS, "csv")))))
    assert [row["image"] for row in read] == [*NAMES[:4], "\\udcff.png", "e.png"]
    assert float(read[0]["score"]) == pytest.approx(1 / 3, abs=1e-8)
    assert read[5] == {"image": "e.png", "score": "", "word": "", "error": "lost"} and next(iter(read[0])) == "image"
    texts = list(lines(ROWS, COLUMNS, "jsonl"))
    assert all("\n" not in text for text in texts)
    read = [json.loads(text) for text in texts]
    assert [row["image"] for row in read][:4] == NAMES[:4] and read[5] == {"image": "e.png", "error": "lost"}


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "-5.2"])
def test_text_is_no_formula_and_numbers_stay_numbers(name):
    row = {"score": -0.25, "n": -3, name: 1.5, "error": f"{name}: lost", "image": name}
    columns = {"score": ">8", "n": ">3", name: ">5", "error": "<0", "image": "<0"}
    (read,) = csv.DictReader(io.StringIO("\n".join(lines([row], columns, "csv")), newline=""))
    assert read == {"image": f"'{name}", "score": "-0.25", "n": "-3", f"'{name}": "1.5", "error": f"'{name}: lost"}
    assert json.loads(*lines([row], columns, "jsonl"))["image"] == name  # programs get the name itself


def test_nan_is_no_json():
    (text,) = lines([{"score": math.nan, "image": "a"}], COLUMNS, "jsonl")
    assert json.loads(text) == {"image": "a", "score": None}


def test_a_table_is_aligned_and_each_row_one_line():
    text = list(lines(ROWS, COLUMNS, "table"))
    assert len(text) == 1 + len(ROWS) and not any("\x1b" in line or "\n" in line for line in text)
    assert {
        line.index(end)
        for line, end in zip(text, ("image", "a.png", "two", "b,", "ü", "\\udcff", "e.png"), strict=True)
    } == {text[0].index("image")}
    assert text[1].startswith("  0.3333  fair")


def test_rows_are_written_as_they_come():
    taken = []
    rows = (taken.append(number) or {"score": 1.0, "image": str(number)} for number in range(9))
    some = lines(rows, COLUMNS, "csv")
    next(some), next(some)
    assert taken == [0]


def test_printable_keeps_what_can_be_seen():
    assert printable("Größe 1.png") == "Größe 1.png" and printable("a\tb\u202e") == "a\\tb\\u202e"


def test_a_file_is_whole_or_as_before(tmp_path):
    path = tmp_path / "new" / "x.csv"
    with written(path) as file:
        file.write("first\n")
    assert path.read_text() == "first\n"
    with pytest.raises(KeyboardInterrupt), written(path) as file:
        file.write("second\n")
        raise KeyboardInterrupt
    assert path.read_text() == "first\n" and os.listdir(path.parent) == ["x.csv"]


@pytest.mark.parametrize(("output", "wanted", "form"), [(None, None, "table"), ("x.csv", None, "csv"),
                         ("x.JSONL", None, "jsonl"), ("x.txt", None, "table"), ("x.out", "csv", "csv")])  # fmt: skip
def test_formats(output, wanted, form):
    assert format_of(output and Path(output), wanted) == form


@pytest.mark.parametrize(("output", "wanted"), [(None, "xml"), ("x.png", None), ("x.csv", "jsonl")])
def test_formats_that_are_none(output, wanted):
    with pytest.raises(InputError, match="expected"):
        format_of(output and Path(output), wanted)
