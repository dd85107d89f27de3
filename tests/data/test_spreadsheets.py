import pytest

from iqasuite.data.spreadsheets import read_rows
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
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
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
