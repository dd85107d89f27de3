"""Rows as text that can be read back, and files that are whole or not there."""

import csv
import io
import json
import math
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from iqasuite.csv_texts import frame_csv
from iqasuite.datasets import splits
from iqasuite.errors import InputError
from iqasuite.inference.score import Scored, Task, challenge_lines
from iqasuite.inference.tables import format_of, lines, printable

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


@pytest.mark.parametrize("name", ["=1+1", "'=1+1", "''-x", "'quoted'", 'with, "marks"', "$x$"])
def test_what_the_suite_reads_back_has_the_names_as_they_were(name, tmp_path):
    split = pd.DataFrame({"fold": 0, "image": [name, "b"], "content": name, "part": ["train", "test"]})
    path = splits.save_split(split, tmp_path / "split.csv")
    assert splits.read_split(path)["image"].tolist() == sorted([name, "b"])
    assert splits.split_hash(splits.read_split(path)) == splits.split_hash(split)
    assert not re.search(r"(^|,)[=+-]", path.read_text(), re.MULTILINE)


def test_frames_for_people_have_no_formulas_in_any_text():
    frame = pd.DataFrame({"=name": ["-a", None], "n": [-1, 2], "kind": ["+1", "x"], "f": [-0.5, np.nan]})
    frame["kind"] = frame["kind"].astype("category")
    whole = frame_csv(frame.set_index(pd.Index(["@b", "c\udcff"], name="=i")), index=True)
    assert whole == "'=i,'=name,n,kind,f\n'@b,'-a,-1,'+1,-0.5\nc\\udcff,,2,x,\n"
    assert frame_csv(frame[["n", "f"]]) == frame[["n", "f"]].to_csv(index=False)
    two_levels = frame.set_index(["=name", "n"])
    assert frame_csv(two_levels, index=True).splitlines()[1] == "'-a,-1,'+1,-0.5"
    doubled = pd.DataFrame([["=a", 1]], columns=["x", "x"])
    assert frame_csv(doubled) == "x,x\n'=a,1\n"
    unnamed = frame_csv(pd.DataFrame({"a": [1]}, index=["-x"]), index=True)
    assert unnamed == ",a\n'-x,1\n"


def test_the_challenge_s_lines_are_csv_without_formulas():
    results = [Scored(Task(Path(name)), 0.5) for name in ("=x_0_1.bmp", "a,b_0_1.bmp", "A0001_00_00.bmp")]
    assert challenge_lines(results) == '\'=x_0_1.bmp,0.5\n"a,b_0_1.bmp",0.5\nA0001_00_00.bmp,0.5\n'


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


@pytest.mark.parametrize(
    ("output", "wanted", "form"),
    [
        (None, None, "table"),
        ("x.csv", None, "csv"),
        ("x.JSONL", None, "jsonl"),
        ("x.txt", None, "table"),
        ("x.out", "csv", "csv"),
    ],
)
def test_formats(output, wanted, form):
    assert format_of(output and Path(output), wanted) == form


@pytest.mark.parametrize(("output", "wanted"), [(None, "xml"), ("x.png", None), ("x.csv", "jsonl")])
def test_formats_that_are_none(output, wanted):
    with pytest.raises(InputError, match="expected"):
        format_of(output and Path(output), wanted)
