"""Names of observers as names of files: on every system, in no other folder, each text another one."""

import os

import pytest

from iqasuite.errors import LONGEST, InputError
from iqasuite.paths import remove_unfinished_below, replacing, safe_name, unfinished, write_atomic

PLAIN = ["Obs1", "user 10", "Zoë", "O'Brien", "李四", "a.b", "run_Obs1", "confusion_A_on_B", "-x", "COM10"]
ODD = [
    "../x",
    "a/b",
    "a\\b",
    "CON",
    "con",
    "nul.txt",
    "Lpt1",
    "a\nb",
    "a\x00b",
    "",
    ".",
    "..",
    ".hidden",
    "a ",
    "a.",
    " a",
    "C:x",
    "a|b",
    "<script>",
    "x" * 300,
    "é" * 300,
    "x" * 300 + "y",
    "\ud800",
    "a*",
    "a?",
    "a[b]",
    "~",
    "a\u202eb",
    "a\tb",
]


@pytest.mark.parametrize("text", PLAIN)
def test_a_name_that_files_may_have_stays(text):
    assert safe_name(text) == text


def test_other_texts_become_names_of_files_here_and_all_differ(tmp_path):
    names = [safe_name(text) for text in [*ODD, *PLAIN, "a_b", "_a_b-0123abcd", safe_name("a/b")]]
    assert (
        len({name.lower() for name in names}) == len(names)
        and names == [safe_name(text) for text in ODD] + names[len(ODD) :]
    )
    for name in names:
        path = write_atomic(tmp_path / f"{name}.json", "x")
        assert path.resolve().parent == tmp_path.resolve() and len(name.encode()) < 120
        assert not set(name) & set('/\\:*?"<>|[]\n\t\0') and name.isprintable()
    assert len(list(tmp_path.iterdir())) == len(names)


def test_a_file_is_whole_or_as_before(tmp_path):
    path = tmp_path / "new" / "x.csv"
    with replacing(path, "w", encoding="utf-8") as file:
        file.write("first\n")
    assert path.read_text() == "first\n"
    with pytest.raises(KeyboardInterrupt), replacing(path, "w", encoding="utf-8") as file:
        file.write("second\n")
        raise KeyboardInterrupt
    assert path.read_text() == "first\n" and os.listdir(path.parent) == ["x.csv"]


def test_what_killed_writers_left_below_a_folder_is_removed_and_nothing_else(tmp_path):
    kept = [tmp_path / "a" / ".a.json", tmp_path / "a" / "a.unfinished-1"]
    left = [tmp_path / "a" / f"{unfinished(tmp_path / 'a.json')}1", tmp_path / f"{unfinished(tmp_path / 'a')}2" / "b"]
    for file in (*kept, *left):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"")
    remove_unfinished_below(tmp_path)
    assert [path for path in sorted(tmp_path.rglob("*")) if path.is_file()] == sorted(kept)


def test_an_error_is_one_line_of_bearable_length():
    error = InputError("a.csv: not a table (Expected 3 fields, saw 5\r\n); expected one")
    assert str(error) == "a.csv: not a table (Expected 3 fields, saw 5 ); expected one"
    long = str(InputError(f"a.csv: found {'x' * 10**6}; expected less"))
    assert len(long) <= LONGEST and long.startswith("a.csv: found x") and long.endswith("x; expected less")
