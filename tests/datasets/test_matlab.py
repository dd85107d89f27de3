import math
import struct
import sys
import zlib
from datetime import datetime
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from iqasuite.datasets import matlab
from iqasuite.datasets.matlab import read_mat
from iqasuite.datasets.matlab_sessions import read_mat_session, text_of_time, time_of_datenum, time_of_text
from iqasuite.errors import InputError

sys.path.insert(0, str(Path(__file__).parent))
from matlab_files import put, save, save_hdf5

VERSIONS = pytest.mark.parametrize("version", ["6", "7", "7.3"])
TIMES = [f"24-Jan-2023 10:51:{second}" for second in (16, 25, 34, 43)]
SESSION = {
    "imgList": ["a.png", "b.png", "c.png", "d.png"],
    "sortTable": np.array([[3.0, 1.0, 4.0, 2.0]]),
    "voteList": np.array([[5.0, 1.0, 2.0, 4.0]]),
    "drtList": np.array([[0.5], [1.25], [np.nan], [2.0]]),
    "voteTime": TIMES,
}


def refusal(path: Path, names=("x",)) -> str:
    with pytest.raises(InputError) as error:
        read_mat(path, names)
    message = str(error.value)
    assert message.startswith(str(path)) and "\n" not in message
    return message


def session_refusal(tmp_path: Path, version: str = "7", **changed) -> str:
    path = save(tmp_path / "s.mat", {k: v for k, v in {**SESSION, **changed}.items() if v is not None}, version)
    with pytest.raises(InputError) as error:
        read_mat_session(path)
    message = str(error.value)
    assert message.startswith(str(path)) and "\n" not in message
    return message


@VERSIONS
def test_every_version_gives_the_same(tmp_path, version):
    given = {
        "matrix": np.arange(6.0).reshape(2, 3),
        "column": np.array([[1], [2], [3]], dtype=np.uint8),
        "row": np.array([[0.5, np.nan, np.inf]], dtype=np.float32),
        "flags": np.array([[True, False]]),
        "nothing": np.zeros((0, 0)),
        "names": ["ä.png", "b c.png", "", "日本.png"],
        "text": "one line",
        "rows": np.array(["first ", "second"]),
        "numbers": [np.array([[3.0]]), np.zeros((0, 0)), np.array([[4]], dtype=np.int8)],
        "nested": [["x.png"], ["y.png"]],
    }
    found = read_mat(save(tmp_path / "all.mat", given, version), list(given))
    for name in ("matrix", "column", "row", "flags", "nothing"):
        assert found[name].dtype == given[name].dtype and found[name].shape == given[name].shape, name
        np.testing.assert_array_equal(found[name], given[name])
    assert found["names"] == given["names"] and found["text"] == ["one line"]
    assert found["rows"] == ["first", "second"] and found["nested"] == ["x.png", "y.png"]
    np.testing.assert_array_equal(found["numbers"], [[3], [np.nan], [4]])


@VERSIONS
def test_missing_and_optional_variables(tmp_path, version):
    path = save(tmp_path / "m.mat", {"dmos": np.ones((1, 3)), "orgs": np.zeros((1, 3))}, version)
    assert list(read_mat(path, ["dmos"], optional=["orgs", "none"])) == ["dmos", "orgs"]
    assert "variable x: missing; the file has dmos, orgs" in refusal(path)


def test_characters_of_16_bits(tmp_path):
    """As MATLAB's -v6 writes them; scipy writes UTF-8."""
    units = "bär".encode("utf-16-le")
    parts = struct.pack("<IIII", 6, 8, 4, 0) + struct.pack("<IIii", 5, 8, 1, 3) + struct.pack("<HHI", 1, 1, ord("x"))
    parts += struct.pack("<II", 4, 6) + units + b"\x00\x00"
    head = b"MATLAB 5.0".ljust(124) + b"\x00\x01IM"
    (tmp_path / "old.mat").write_bytes(head + struct.pack("<II", 14, len(parts)) + parts)
    assert read_mat(tmp_path / "old.mat", ["x"])["x"] == ["bär"]


@pytest.mark.parametrize("content", [b"", b"Image Name,Vote\na.png,3\n", bytes(600), b"\x89HDF\r\n\x1a\n"])
def test_no_matlab_file(tmp_path, content):
    path = tmp_path / "x.mat"
    path.write_bytes(content)
    assert "MATLAB file" in refusal(path)
    assert "cannot be read" in refusal(tmp_path / "none.mat")


@VERSIONS
def test_truncated_at_any_place(tmp_path, version):
    """Either an error that names the file or, where only unneeded bytes are gone, the same values."""
    path = save(tmp_path / "x.mat", {"x": ["one.png", "two.png"], "y": np.arange(50.0)[None]}, version)
    whole, refused = path.read_bytes(), 0
    for length in range(0, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:length])
        try:
            assert read_mat(path, ["x"])["x"] == ["one.png", "two.png"]
        except InputError as error:
            refused += str(error).startswith(str(path))
    assert refused > 50


@VERSIONS
def test_flipped_bytes_never_escape(tmp_path, version):
    path = save(tmp_path / "x.mat", {"x": ["one.png", "two.png"], "y": np.arange(5.0)[None]}, version)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    places = np.flatnonzero(np.frombuffer(whole, np.uint8))
    for place in rng.choice(places, 150):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ int(rng.integers(1, 256))]) + whole[place + 1 :])
        try:
            read_mat(path, ["x", "y"])
        except InputError as error:
            assert str(error).startswith(str(path))


def test_classes_that_only_matlab_reads(tmp_path):
    savemat(tmp_path / "s.mat", {"x": {"name": "a.png"}})
    assert "variable x: of class struct" in refusal(tmp_path / "s.mat") and "{x.name}" in refusal(tmp_path / "s.mat")
    savemat(tmp_path / "c.mat", {"x": np.array([1 + 2j])})
    assert "of class complex numbers" in refusal(tmp_path / "c.mat")
    parts = struct.pack("<IIII", 6, 8, 17, 0) + struct.pack("<HHI", 1, 1, ord("x"))
    parts += struct.pack("<HH4s", 1, 4, b"MCOS") + struct.pack("<II8s", 1, 5, b"table")
    head = b"MATLAB 5.0".ljust(124) + b"\x00\x01IM"
    packed = zlib.compress(struct.pack("<II", 14, len(parts)) + parts)
    (tmp_path / "t.mat").write_bytes(head + struct.pack("<II", 15, len(packed)) + packed)
    assert "variable x: of class table" in refusal(tmp_path / "t.mat")
    assert "x = x.Name" in refusal(tmp_path / "t.mat")
    save_hdf5(tmp_path / "h.mat", {"y": np.ones((1, 2))})
    with h5py.File(tmp_path / "h.mat", "r+") as file:
        file.create_dataset("x", data=np.zeros((1, 6), "u4")).attrs["MATLAB_class"] = np.bytes_("string")
        file.create_group("z").attrs["MATLAB_class"] = np.bytes_("struct")
    assert "variable x: of class string" in refusal(tmp_path / "h.mat")
    assert "cellstr" in refusal(tmp_path / "h.mat") and "struct" in refusal(tmp_path / "h.mat", ["z"])


@VERSIONS
def test_cells_of_more_than_one_kind(tmp_path, version):
    path = save(tmp_path / "x.mat", {"x": ["a.png", np.array([[3.0]])]}, version)
    assert "strings and numbers" in refusal(path)
    path = save(tmp_path / "y.mat", {"x": [np.array([[3.0, 4.0]])]}, version)
    assert "variable x{1}: more than one value" in refusal(path)


def test_nothing_outside_the_file_is_read(tmp_path):
    secret = save_hdf5(tmp_path / "secret.mat", {"x": np.array([[42.0]])})
    raw = tmp_path / "raw.bin"
    raw.write_bytes(np.array([42.0]).tobytes())
    path = save_hdf5(tmp_path / "links.mat", {"here": np.ones((1, 1))})
    with h5py.File(path, "r+") as file:
        file["external"] = h5py.ExternalLink(str(secret), "/x")
        file["soft"] = h5py.SoftLink("/here")
        file.create_dataset("raw", shape=(1, 1), dtype="f8", external=[(str(raw), 0, 8)])
        layout = h5py.VirtualLayout((1, 1), "f8")
        layout[:] = h5py.VirtualSource(str(secret), "x", (1, 1))
        file.create_virtual_dataset("virtual", layout)
    with h5py.File(path) as file:  # without the check they would be read
        assert file["external"][0, 0] == file["raw"][0, 0] == file["virtual"][0, 0] == 42
    for name in ("external", "soft", "raw", "virtual"):
        assert "another file" in refusal(path, [name])
    with h5py.File(path, "r+") as file:  # nor through a cell
        cell = np.array([[file["raw"].ref]], dtype=h5py.ref_dtype)
        file.create_dataset("cell", data=cell).attrs["MATLAB_class"] = np.bytes_("cell")
    assert "another file" in refusal(path, ["cell"])


def test_declared_sizes_are_not_believed(tmp_path, monkeypatch):
    monkeypatch.setattr(matlab, "LIMIT", 2**20)
    path = save_hdf5(tmp_path / "large.mat", {"here": np.ones((1, 1))})
    with h5py.File(path, "r+") as file:
        file.create_dataset("x", shape=(2**20, 2**20), dtype="f8", chunks=(64, 64))
        loop = file.create_dataset("loop", shape=(1, 3), dtype=h5py.ref_dtype)
        loop[:] = np.array([[loop.ref] * 3], dtype=h5py.ref_dtype)
        loop.attrs["MATLAB_class"] = np.bytes_("cell")
    assert path.stat().st_size < 10**5
    assert "expected at most" in refusal(path) and "cells in cells" in refusal(path, ["loop"])
    head = b"MATLAB 5.0".ljust(124) + b"\x00\x01IM"
    bomb = zlib.compress(struct.pack("<II", 14, 2 * matlab.LIMIT) + bytes(matlab.LIMIT + 1), 9)
    path.write_bytes(head + struct.pack("<II", 15, len(bomb)) + bomb)
    assert "unpacks to more than" in refusal(path)
    parts = struct.pack("<IIII", 6, 8, 1, 0) + struct.pack("<IIii", 5, 8, 2**30, 2**30)
    parts += struct.pack("<HHI", 1, 1, ord("x"))
    path.write_bytes(head + struct.pack("<II", 14, len(parts)) + parts)
    assert "damaged" in refusal(path)


@VERSIONS
@pytest.mark.parametrize("order", ["numbers", "names", "absent"])
def test_session(tmp_path, version, order):
    given = dict(SESSION)
    if order == "names":
        given["sortTable"] = ["c.png", "a.png", "d.png", "b.png"]
    if order == "absent":
        given["imgList"], given["sortTable"] = ["c.png", "a.png", "d.png", "b.png"], None
    path = save(tmp_path / "Obs1_2.mat", {k: v for k, v in given.items() if v is not None}, version)
    votes = read_mat_session(path)
    assert votes["image"].tolist() == ["c.png", "a.png", "d.png", "b.png"]
    assert votes["vote"].tolist() == [5, 1, 2, 4] and votes["position"].tolist() == [1, 2, 3, 4]
    assert set(votes["observer"]) == {"Obs1_2"} and set(votes["session"]) == {1}
    np.testing.assert_array_equal(votes["duration"], [0.5, 1.25, np.nan, 2.0])
    assert votes["timestamp"].tolist() == [pd.Timestamp(2023, 1, 24, 10, 51, s) for s in (16, 25, 34, 43)]


@VERSIONS
def test_session_of_other_forms(tmp_path, version):
    """Vectors lying down, a char matrix, votes in cells, date numbers, images that were not voted on."""
    given = {
        "imgList": np.array(["a.png ", "bb.png", "c.png "]),
        "voteList": [np.array([[3.0]]), np.zeros((0, 0)), np.array([[5.0]])],
        "voteTime": np.array([[738910.452268518545, 0.0, 738910.452314814786]]),  # datenum(2023,1,24,10,51,16 and 20)
    }
    votes = read_mat_session(save(tmp_path / "o.mat", given, version))
    assert votes["image"].tolist() == ["a.png", "c.png"] and votes["vote"].tolist() == [3, 5]
    assert votes["position"].tolist() == [1, 2] and votes["duration"].isna().all()
    assert votes["timestamp"].tolist() == [pd.Timestamp(2023, 1, 24, 10, 51, s) for s in (16, 20)]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"voteList": np.array([[5, 1, 2]])}, "voteList: shape (1, 3); expected a vector of 4"),
        ({"voteList": np.array([[5, 1], [2, 3]])}, "voteList: shape (2, 2); expected a vector of 4"),
        ({"voteList": np.array([[5, 1, 2, 6]])}, "voteList(4): found 6, expected a whole number 1 to 5"),
        ({"voteList": np.array([[5, 1, 2, 2.5]])}, "voteList(4): found 2.5"),
        ({"voteList": np.array([[5, -1, 2, np.inf]])}, "voteList(2): found -1"),
        ({"voteList": np.zeros((1, 4))}, "voteList: no votes"),
        ({"voteList": ["5", "1", "2", "3"]}, "voteList: text"),
        ({"voteList": None}, "voteList: missing"),
        ({"imgList": ["a.png", "b.png", "a.png", "d.png"]}, "imgList(3): 'a.png' a second time"),
        ({"imgList": ["a.png", "", "c.png", "d.png"]}, "imgList: no name at 2"),
        ({"imgList": np.array([[1.0, 2, 3, 4]])}, "imgList: numbers"),
        ({"sortTable": np.array([[3, 1, 4]])}, "sortTable: shape (1, 3)"),
        ({"sortTable": np.array([[0, 1, 2, 3]])}, "sortTable: found 0; expected each of 1 to 4 once"),
        ({"sortTable": np.array([[3, 1, 4, 5]])}, "sortTable: found 5; expected each of 1 to 4 once"),
        ({"sortTable": np.array([[3, 1, 4, 4]])}, "sortTable: found a number twice"),
        ({"sortTable": np.array([[3, 1, 4, np.nan]])}, "sortTable: found nan"),
        ({"sortTable": ["c.png", "a.png", "d.png"]}, "sortTable: 3 names; expected 4"),
        ({"sortTable": ["c.png", "a.png", "d.png", "x.png"]}, "sortTable: 'x.png' is not in imgList"),
        ({"sortTable": ["c.png", "a.png", "d.png", "a.png"]}, "sortTable(4): 'a.png' a second time"),
        ({"drtList": np.array([[1.0, 2, 3]])}, "drtList: shape (1, 3)"),
        ({"drtList": np.array([[1.0, -2, 3, 4]])}, "drtList(2): found -2"),
        ({"voteTime": TIMES[:3]}, "voteTime: 3 times; expected 4"),
        ({"voteTime": [*TIMES[:3], "2023-01-24"]}, "voteTime(4): '2023-01-24'"),
        ({"voteTime": np.array([[1.0, 2, 3, 4]])}, "voteTime(1): 1: expected a date number"),
    ],
)
def test_inconsistent_sessions(tmp_path, changed, words):
    assert words in session_refusal(tmp_path, **changed)


def test_times():
    """738910.4523 days: MATLAB's documented datenum of 2000-01-01 is 730486, which fixes the zero."""
    assert time_of_datenum(730486) == datetime(2000, 1, 1)
    assert time_of_datenum(730486.5) == datetime(2000, 1, 1, 12)
    assert time_of_datenum(math.nextafter(730487, 0)) == datetime(2000, 1, 2)
    for text in ("24-Jan-2023 10:51:16", "06-Feb-2023 09:00:01", "31-Dec-1999 23:59:59"):
        assert text_of_time(time_of_text(text)) == text
    for text in ("24-Foo-2023 10:51:16", "31-Feb-2023 10:51:16", "24-Jan-2023", ""):
        with pytest.raises(ValueError):
            time_of_text(text)


def test_a_variable_of_plain_hdf5(tmp_path):
    """Numbers need no class; other than MATLAB's, text is refused rather than guessed."""
    with h5py.File(tmp_path / "plain.mat", "w") as file:
        file["x"], file["text"] = np.arange(6.0).reshape(3, 2), "name"
        put(file, file, "y", ["a.png"])
    found = read_mat(tmp_path / "plain.mat", ["x", "y"])
    assert found["x"].shape == (2, 3) and found["y"] == ["a.png"]
    assert "values of type object" in refusal(tmp_path / "plain.mat", ["text"])
