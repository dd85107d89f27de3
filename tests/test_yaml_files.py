"""YAML is read as plain values of bounded size; everything else is one line that names the file, at once."""

import pytest

from iqasuite import yaml_files
from iqasuite.errors import InputError
from iqasuite.yaml_files import is_file_name, read_yaml, shown


@pytest.fixture
def read(tmp_path):
    def write_and_read(text: str | bytes):
        path = tmp_path / "facts.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_yaml(path)

    return write_and_read


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("\ufeffa: 1", {"a": 1}),
        ("a: 1\r\nb: yes\r\n", {"a": 1, "b": True}),
        ("[1e-3, -2E+2, 1.5, 0x1f, ~]", [0.001, -200.0, 1.5, 31, None]),
        ("[2024-01-31, 2024-99-99, 2024-01-01 10:00:00]", ["2024-01-31", "2024-99-99", "2024-01-01 10:00:00"]),
        (
            "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: *a",
            {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}, "c": {"x": 1, "y": 2}},
        ),
        ('a: "two\\nlines"', {"a": "two\nlines"}),
        (f"{2**63 - 1}", 2**63 - 1),
    ],
)
def test_plain_values(read, text, value):
    assert read(text) == value


def doubled(kind: str, levels: int) -> str:
    """Aliases, each of which stands for ten of the one before."""
    lists = {
        "list": "a{i}: &a{i} [{ten}]\n",
        "merge": "a{i}: &a{i} {{<<: [{ten}]}}\n",
        "value": "a{i}: &a{i} {{k: [{ten}]}}\n",
    }
    lines = [lists[kind].format(i=i, ten=",".join([f"*a{i - 1}"] * 10)) for i in range(1, levels)]
    return "a0: &a0 {x: 1, y: 2}\n" + "".join(lines)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 0b_", ["line 2, key 'b'", "0b_", "finite number"]),
        ("a: 0x_", ["line 1, key 'a'", "0x_"]),
        ("a: " + "7" * 5000, ["key 'a'", "finite number"]),
        ("a: 0x" + "f" * 30, ["key 'a'", "64 bits"]),
        (f"a: -{2**63}", ["key 'a'", "64 bits"]),
        ("a: " + ":".join(["59"] * 12), ["key 'a'", "64 bits"]),
        ("a: [1, .inf]", ["key 'a'", ".inf"]),
        ("a: {b: .NaN}", ["key 'b'", ".NaN"]),
        ("a: 1e999", ["key 'a'", "1e999"]),
        ("a: !!int x", ["key 'a'", "'a': found x"]),
        ("a: !!float ''", ["key 'a'", "finite"]),
        ("a: !!bool perhaps", ["key 'a'", "perhaps", "true or false"]),
        ("a: !!timestamp 2024-13-01", ["line 1", "timestamp"]),
        ("a: !!set {b}", ["line 1", "tag", "set"]),
        ("a: !!binary YQ==", ["line 1", "binary"]),
        ("- !!python/object/apply:os.system [echo]", ["line 1", "python/object"]),
        ("a: !mine 3", ["line 1", "!mine"]),
        ("{" * 5000, ["nested deeper than 30"]),
        ("- " * 1000 + "a", ["nested deeper than 30"]),
        ("\n".join(" " * i + "k:" for i in range(300)), ["nested deeper than 30"]),
        ("a: [" + "1," * 45_000 + "]", ["10,000 values"]),
        ("a:\n  &x [1, *x]", ["line 2, key 'a'", "contain themselves"]),
        ("a: &x {b: {c: *x}}", ["line 1", "contain themselves"]),
        ("a: &x {<<: *x}", ["line 1", "contain themselves"]),
        (doubled("list", 9), ["aliases"]),
        (doubled("value", 9), ["aliases"]),
        (doubled("merge", 9), ["aliases"]),
        ("a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 800)), ["aliases", "nest deeper"]),
        ("a: &s " + "x" * 50_000 + "\nb: [*s, *s, *s, *s]", ["key 'b'", "200,000 characters"]),
        ("a: 1\nb: 2\na: 3", ["line 3", "'a' stands twice"]),
        ("b:\n  c: {1: x}", ["line 2", "key 1 is not a short text"]),
        ("{true: x}", ["key true is not a short text"]),
        ("{[1, 2]: x}", ["is not a short text"]),
        ("? " + "k" * 3000 + "\n: 1", ["is not a short text"]),
        ('"a\\nb": 1', ["is not a short text"]),
        ('a: "\\0"', ["key 'a'", "control characters"]),
        ('a: "\\ud800"', ["key 'a'", "control characters"]),
        ('a: "\\U00110000"', ["not YAML"]),
        (b"a: b\0c", ["not YAML"]),
        (b"a: \xe9", ["not YAML in UTF-8"]),
        ("a: b".encode("utf-16"), ["not YAML in UTF-8"]),
        ("# " + "x" * 100_001, ["more than 100,000 bytes"]),
        ("a: 1\n---\nb: 2", ["line 2", "not YAML"]),
        ("a: *nothing", ["line 1", "nothing"]),
        ("a: [", ["not YAML"]),
        ("a: \tb: c\n\t- d", ["not YAML"]),
    ],
)
def test_everything_else_is_refused_in_one_line(read, tmp_path, text, words):
    with pytest.raises(InputError) as caught:
        read(text)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'facts.yaml'}: ") and "\n" not in message and len(message) < 600
    for word in words:
        assert word in message


def test_no_more_is_read_than_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(yaml_files, "_MOST_BYTES", 10)
    path = tmp_path / "large.yaml"
    with open(path, "wb") as file:
        file.truncate(10**10)  # takes no room on most disks
    with pytest.raises(InputError, match="more than 10 bytes"):
        read_yaml(path)


def test_names_of_files():
    for name in ("a", "aio_Obs1_2", "x.y-z", "_a", "console", "com10", "7"):
        assert is_file_name(name), name
    for name in (
        "",
        ".",
        "..",
        ".a",
        "-a",
        "a.",
        "a/b",
        "a\\b",
        "a b",
        "a\n",
        "ä",
        "con",
        "NUL",
        "aux.txt",
        "Lpt1",
        "a" * 101,
    ):
        assert not is_file_name(name), name


def test_long_values_are_shortened():
    assert shown([1, "a"]) == "[1, 'a']"
    assert len(shown("x" * 10**6)) == 120
