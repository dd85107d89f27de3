from datetime import datetime

import pandas as pd
import pytest

from iqasuite.datasets.spreadsheets import is_left_behind, read_rows, read_times
from iqasuite.errors import InputError


def rows(path, content: str | bytes):
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    header, found = read_rows(path, "a table")
    return header, list(found)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_separators_and_line_ends(tmp_path, separator, end):
    lines = [("image ", "vote, or score"), ("a;b,c.png", "3,5"), ("", ""), ("d.png", "two\nlines"), ("e", "1")]
    quoted = [separator.join(f'"{field}"' for field in line) for line in lines]
    header, found = rows(tmp_path / "t.csv", "\ufeff" + end.join(quoted))
    assert header == ["image", "vote, or score"]
    assert found == [(2, ["a;b,c.png", "3,5"]), (5, ["d.png", "two\nlines"]), (6, ["e", "1"])]


def test_unquoted_commas_among_semicolons(tmp_path):
    assert rows(tmp_path / "t.csv", "image;mos\na.png;3,5\n") == (["image", "mos"], [(2, ["a.png", "3,5"])])


def test_empty_file(tmp_path):
    assert rows(tmp_path / "t.csv", "") == ([], [])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a,b\n1\n", "line 2: 1 fields; expected 2"),
        ("a,b\n1,2\n1,2,3\n", "line 3: 3 fields; expected 2"),
        ("a,b\nä,2\n".encode("latin-1"), "line 2: byte 0xe4 is not UTF-8"),
        ("a,b\n1,2\n".encode("utf-16") + b"x", "UTF-16 that is damaged"),
        ("a,b\n1,2\n".encode("utf-16-le"), "bytes of value 0"),
        ("sep=;\na;b\n1\n", "line 3: 1 fields; expected 2"),
        ("a,b\n1,=AVERAGE(B2:D2)\n", "line 2, column b: found the formula '=AVERAGE(B2:D2)', expected its value"),
        ("a,b\n=A1,2\n", "line 2, column a: found the formula '=A1'"),
        ("a,b\n#REF!,2\n", "line 2, column a: found the formula '#REF!'"),
        ("a,=B7\n1,2\n", "line 1: found the formula '=B7'"),
        ("a,b\n" + "x" * 200_000 + ",1\n", "line 2: field larger than"),
    ],
)
def test_broken_files(tmp_path, content, words):
    with pytest.raises(InputError) as error:
        rows(tmp_path / "t.csv", content)
    assert str(error.value).startswith(str(tmp_path / "t.csv")) and words in str(error.value)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"none.csv: cannot be read .*expected a table \(CSV\)"):
        read_rows(tmp_path / "none.csv", "a table")


@pytest.mark.parametrize("first", ["sep=;\n", "sep=;\r\n", '"sep=;"\n', "SEP=;\r", "sep=;;;\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_first_line_that_states_the_separator(tmp_path, first, encoding):
    end = first[len(first.rstrip()) :]
    text = first + end.join(["image;mos, 1 to 5", "a,b.png;3,5", "c.png;2"])
    found = rows(tmp_path / "t.csv", text.encode(encoding))
    assert found == (["image", "mos, 1 to 5"], [(3, ["a,b.png", "3,5"]), (4, ["c.png", "2"])])


@pytest.mark.parametrize(
    ("text", "header", "first"),
    [
        ("image;vote (1, 2, 3, 4, 5)\na.png;3\n", ["image", "vote (1, 2, 3, 4, 5)"], ["a.png", "3"]),
        ("image\tvote, or; score\na.png\t3\n", ["image", "vote, or; score"], ["a.png", "3"]),
        ("a,b;c;d,e\n1;2,5;3\n", ["a,b", "c", "d,e"], ["1", "2,5", "3"]),
        ("image,note\na.png,x;y\n", ["image", "note"], ["a.png", "x;y"]),
        ("image,mos\na.png,3,,\nb.png,2\n", ["image", "mos"], ["a.png", "3"]),  # blank fields at the end
        ('image,mos\n="001.png",3\n', ["image", "mos"], ["001.png", "3"]),
        ("image,mos\n#1.png,-3\n", ["image", "mos"], ["#1.png", "-3"]),
        ("image\na.png\n", ["image"], ["a.png"]),
    ],
)
def test_what_separates(tmp_path, text, header, first):
    names, found = rows(tmp_path / "t.csv", text)
    assert names == header and found[0] == (2, first)


def test_letters_are_composed(tmp_path):
    assert rows(tmp_path / "t.csv", "e\u0301,b\nA\u030a.png,1\n") == (["\u00e9", "b"], [(2, ["\u00c5.png", "1"])])


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("24-Jan-2023 10:51:16", datetime(2023, 1, 24, 10, 51, 16)),
        ("24 January 2023, 10:51", datetime(2023, 1, 24, 10, 51)),
        ("2023-01-24T10:51:16", datetime(2023, 1, 24, 10, 51, 16)),
        ("2023-01-24 10:51:16.263829", datetime(2023, 1, 24, 10, 51, 16, 263829)),
        ("2023-01-24 10:51:16 263829", datetime(2023, 1, 24, 10, 51, 16, 263829)),
        ("2023-01-24 10:51:16,5", datetime(2023, 1, 24, 10, 51, 16, 500000)),
        ("2023-01-24T10:51:16.123456789Z", datetime(2023, 1, 24, 10, 51, 16, 123456)),
        ("2023-01-24T10:51:16+01:00", datetime(2023, 1, 24, 10, 51, 16)),
        ("2023-01-24 10:51:16 -0500", datetime(2023, 1, 24, 10, 51, 16)),
        ("2023/01/24 10:51:16 PM", datetime(2023, 1, 24, 22, 51, 16)),
        ("1/24/2023 12:05:00 AM", datetime(2023, 1, 24, 0, 5)),
        ("24/1/2023 12:05 p.m.", datetime(2023, 1, 24, 12, 5)),
        ("3.4.2023 9:05", datetime(2023, 4, 3, 9, 5)),
        ("2023-01-24", datetime(2023, 1, 24)),
        ("1674557476", datetime(2023, 1, 24, 10, 51, 16)),
        ("1674557476.5", datetime(2023, 1, 24, 10, 51, 16, 500000)),
        ("1674557476500", datetime(2023, 1, 24, 10, 51, 16, 500000)),
        ("", pd.NaT),
    ],
)
def test_times(text, time):
    found = read_times(pd.Series([text], [2]), "time", "t.csv")[0]
    assert found is time or found == time


def test_days_and_months():
    assert read_times(pd.Series(["03/04/2023 10:00", "13/04/2023 10:00"]), "t", "t.csv")[0] == datetime(2023, 4, 3, 10)
    assert read_times(pd.Series(["03/04/2023 10:00", "04/13/2023 10:00"]), "t", "t.csv")[0] == datetime(2023, 3, 4, 10)
    for texts in (["03/04/2023 10:00"], ["03/04/2023 10:00", "13/04/2023 10:00", "04/13/2023 10:00"]):
        with pytest.raises(
            InputError, match="t.csv, line 0, column t: found '03/04/2023 10:00', of which day and month"
        ):
            read_times(pd.Series(texts), "t", "t.csv")


@pytest.mark.parametrize(
    "text", ["soon", "10:51:16", "44950.45", "1.67456E+09", "2023-13-01 10:00", "2023-01-24 13:00 PM"]
)
def test_what_is_no_time(text):
    with pytest.raises(InputError, match=r"t.csv, line 7, column t: found .*, expected a time like"):
        read_times(pd.Series([text], [7]), "t", "t.csv")


def test_files_of_systems_and_archivers():
    assert all(
        map(is_left_behind, ("._a.csv", ".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX", "~$a.xlsx", ".~lock.a#"))
    )
    assert not any(map(is_left_behind, ("a.csv", "Obs1", "thumbs.png", "_a.csv")))
