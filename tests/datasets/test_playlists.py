import math
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from iqasuite.datasets import playlists
from iqasuite.datasets.matlab_sessions import read_mat_session
from iqasuite.datasets.playlists import (
    checked_playlists,
    convert_playlists,
    read_playlist,
    read_playlists,
    write_playlist,
)
from iqasuite.errors import InputError

sys.path.insert(0, str(Path(__file__).parent))
from matlab_files import save

HEADER = "Image Name,Vote,Duration,Timestamp\n"
ROW = "a.png,3,0.90555,24-Jan-2023 10:51:16\n"


def refusal(path, content: str | bytes, **options) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError) as error:
        read_playlist(path, **options)
    message = str(error.value)
    assert message.startswith(str(path)) and "\n" not in message
    return message


def test_four_columns(tmp_path):
    path = tmp_path / "Obs7.csv"
    path.write_text(HEADER + ROW + "b.png,5,0.0008762,06-Feb-2023 09:00:01\n\n")
    votes = read_playlist(path, session=2)
    assert votes["observer"].tolist() == ["Obs7", "Obs7"] and votes["session"].tolist() == [2, 2]
    assert votes["position"].tolist() == [1, 2] and votes["vote"].tolist() == [3, 5]
    assert votes["duration"].tolist() == [0.90555, 0.0008762]
    assert votes["timestamp"].tolist() == [pd.Timestamp("2023-01-24 10:51:16"), pd.Timestamp("2023-02-06 09:00:01")]


@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_two_columns_and_windows_files(tmp_path, start):
    path = tmp_path / "Obs0.csv"
    path.write_bytes((start + "Image Name,Vote\r\nä.png,3\r\nb.png,1\r\n").encode())
    votes = read_playlist(path)
    assert votes["image"].tolist() == ["ä.png", "b.png"] and votes["vote"].tolist() == [3, 1]
    assert votes["duration"].isna().all() and votes["timestamp"].isna().all()


def test_semicolons_of_a_spreadsheet(tmp_path):
    path = tmp_path / "Obs1.csv"
    path.write_text("Image Name;Vote;Duration;Timestamp\na,b.png;3;0,90555;24-Jan-2023 10:51:16\n")
    votes = read_playlist(path)
    assert votes["image"].tolist() == ["a,b.png"] and votes["duration"].tolist() == [0.90555]
    for separator in ";\t":
        path.write_text(f"Image Name{separator}Vote\na.png{separator}3\n")
        assert read_playlist(path)["vote"].tolist() == [3]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_as_spreadsheets_save_them(tmp_path, encoding):
    path = tmp_path / "p.csv"
    text = "sep=;\r\nImage Name;Vote;Duration;Timestamp\r\n写.png;3,0;0,5;24/01/2023 10:51:16 PM\r\nb.png;2;;\r\n"
    path.write_bytes(text.encode(encoding))
    votes = read_playlist(path)
    assert votes["image"].tolist() == ["写.png", "b.png"] and votes["vote"].tolist() == [3, 2]
    assert votes["timestamp"][0] == pd.Timestamp("2023-01-24 22:51:16") and votes["duration"][0] == 0.5
    text = text.replace("22", "2").replace(";24/01/2023 10:51:16 PM", ";1674557476.25")
    path.write_bytes(text.encode(encoding))
    assert read_playlist(path)["timestamp"][0] == pd.Timestamp("2023-01-24 10:51:16.25")


@pytest.mark.parametrize("vote", ["0", "6", "2.5", "good", "", "nan", "inf"])
def test_vote_outside_the_scale(tmp_path, vote):
    message = refusal(tmp_path / "p.csv", HEADER + ROW + f"b.png,{vote},1,24-Jan-2023 10:51:17\n")
    assert "line 3, column Vote" in message and f"found {vote!r}" in message and "1 to 5" in message


def test_the_first_of_two_votes_counts(tmp_path, caplog):
    path = tmp_path / "p.csv"
    path.write_text(HEADER + ROW + ROW.replace("a.png", "b.png") + ROW.replace(",3,", ",5,") + "c.png,1,,\n")
    votes = read_playlist(path)
    assert votes["image"].tolist() == ["a.png", "b.png", "c.png"] and votes["vote"].tolist() == [3, 3, 1]
    assert votes["position"].tolist() == [1, 2, 3] and path.name in caplog.text
    assert "1 images rated a second time ('a.png' in line 4, first in line 2); the first vote is kept" in caplog.text


def test_names_with_accents_are_those_of_the_set(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("Image Name,Vote\n\u00e9t\u00e9.png,3\n", encoding="utf-8")
    on_disk = "e\u0301te\u0301.png"
    assert read_playlist(path, known_images=[on_disk])["image"].tolist() == [on_disk]


def test_unknown_image(tmp_path):
    message = refusal(tmp_path / "p.csv", HEADER + ROW, known_images={"x.png", "y.png"})
    assert "line 2" in message and "'a.png' unknown" in message and "expected one of the set's 2" in message


@pytest.mark.parametrize("content", ["", "\n"])
def test_empty_file(tmp_path, content):
    message = refusal(tmp_path / "p.csv", content)
    assert "line 1" in message and "(none)" in message and "expected Image Name,Vote" in message


def test_no_rows(tmp_path):
    message = refusal(tmp_path / "p.csv", HEADER)
    assert "no votes" in message and "line 2" in message and "expected at least one row" in message


def test_latin_1(tmp_path):
    message = refusal(tmp_path / "p.csv", (HEADER + ROW + "bär.png,3,1,24-Jan-2023 10:51:16\n").encode("latin-1"))
    assert "line 3" in message and "0xe4 is not UTF-8" in message and "expected the file saved as UTF-8" in message


@pytest.mark.parametrize(
    "header", ["image,vote", "Image Name,Vote,Duration", "Image Name|Vote", "Vote,Image Name", "Image Name"]
)
def test_wrong_columns(tmp_path, header):
    message = refusal(tmp_path / "p.csv", f"{header}\na.png,3\n")
    assert "line 1" in message and header in message and "expected Image Name,Vote,Duration,Timestamp" in message


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("b.png,3,1", "3 fields; expected 4"),
        (",3,1,24-Jan-2023 10:51:16", "no image name"),
        ("b.png,3,-1,24-Jan-2023 10:51:16", "column Duration: found '-1'"),
        ("b.png,3,soon,24-Jan-2023 10:51:16", "column Duration: found 'soon'"),
        ("b.png,3,1,2023-01", "column Timestamp: found '2023-01'"),
        ("b.png,3,1,02/03/2023 10:51:16", "column Timestamp: found '02/03/2023 10:51:16', of which day and month"),
        ("b.png,3,1,31-Feb-2023 10:51:16", "column Timestamp: found '31-Feb-2023 10:51:16'"),
        ("b.png,3,1,24-Foo-2023 10:51:16", "column Timestamp"),
    ],
)
def test_broken_row(tmp_path, row, words):
    message = refusal(tmp_path / "p.csv", f"{HEADER}{ROW}{row}\n")
    assert "line 3" in message and words in message


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="none.csv: cannot be read"):
        read_playlist(tmp_path / "none.csv")


def test_written_and_read_again(tmp_path):
    path = tmp_path / "Obs1" / "Obs1_1.csv"
    path.parent.mkdir()
    path.write_text(HEADER + ROW + "b.png,5,,\n" + "c.png,1,12.5,01-Dec-2022 23:59:59\n")
    votes = read_playlist(path, "Obs1")
    content = path.read_text()
    write_playlist(votes.sample(frac=1, random_state=0), path)
    assert path.read_text() == content
    short = votes.assign(duration=math.nan, timestamp=pd.NaT)
    assert write_playlist(short, tmp_path / "short.csv").read_text() == "Image Name,Vote\na.png,3\nb.png,5\nc.png,1\n"
    with pytest.raises(InputError, match="votes of 2 sessions"):
        write_playlist(pd.concat([votes, votes.assign(session=2)]), path)
    assert path.read_text() == content


def test_folder_of_playlists(tmp_path):
    for name in ("Obs1/Obs1_1.csv", "Obs1/Obs1_4_selfacc.csv", "Obs10/Obs10_1.csv", "Obs2/Obs2_3.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(HEADER + ROW)
    votes = read_playlists(tmp_path)
    found = list(zip(votes["observer"], votes["session"], strict=True))
    assert found == [("Obs1", 1), ("Obs1", 4), ("Obs2", 3), ("Obs10", 1)]
    assert set(read_playlists(tmp_path, ["Obs2"])["observer"]) == {"Obs2"}
    with pytest.raises(InputError, match="observer 'Obs3' unknown; expected one of Obs1, Obs2, Obs10"):
        read_playlists(tmp_path, ["Obs3"])
    with pytest.raises(InputError, match="line 2: image 'a.png' unknown"):
        read_playlists(tmp_path, known_images=["b.png"])
    (tmp_path / "Obs2" / "mine.csv").write_text(HEADER + ROW)
    with pytest.raises(InputError, match="mine.csv: name of a playlist; expected Obs2_<session>.csv"):
        read_playlists(tmp_path)


def test_every_invalid_file_is_named(tmp_path):
    files = {"Obs1_1": HEADER + ROW, "Obs1_2": HEADER + "a.png,7,,\n", "Obs1_1_again": HEADER + ROW, "mine": "?"}
    (tmp_path / "Obs1").mkdir()
    for name, content in files.items():
        (tmp_path / "Obs1" / f"{name}.csv").write_text(content)
    votes, messages = checked_playlists(tmp_path)
    assert votes[["observer", "session"]].to_numpy().tolist() == [["Obs1", 1]]
    assert len(messages) == 3 and "Obs1_1_again.csv: session 1 a second time (first Obs1_1.csv)" in messages[0]
    assert "Obs1_2.csv, line 2, column Vote" in messages[1] and "mine.csv: name of a playlist" in messages[2]
    votes, messages = checked_playlists(tmp_path, known_images=["b.png"])
    assert len(messages) == 4 and votes.empty
    for name in ("Obs1_2", "Obs1_1_again", "mine"):
        (tmp_path / "Obs1" / f"{name}.csv").unlink()
    assert checked_playlists(tmp_path)[1] == [] and len(read_playlists(tmp_path)) == 1


def test_endings_in_capitals_and_what_systems_leave_behind(tmp_path, caplog):
    for name in ("Obs1/Obs1_1.csv", "Obs1/Obs1_2.CSV", "Obs1/Obs1_3.Csv", "NA/NA_1.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(HEADER + ROW)
    for name in ("Obs1/._Obs1_1.csv", "Obs1/.DS_Store", "Obs1/Thumbs.db", "__MACOSX/Obs1_1.csv", "NA/desktop.ini"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    votes = read_playlists(tmp_path)
    found = list(zip(votes["observer"], votes["session"], strict=True))
    assert found == [("NA", 1), ("Obs1", 1), ("Obs1", 2), ("Obs1", 3)] and not caplog.text
    for name in ("Obs1/Obs1_4.xlsx", "Obs1/Obs1_5.txt", "Obs2_1.csv"):
        (tmp_path / name).write_bytes(b"?")
    assert len(read_playlists(tmp_path)) == 4
    assert [Path(record.args[0]).name for record in caplog.records] == ["Obs2_1.csv", "Obs1_4.xlsx", "Obs1_5.txt"]
    (tmp_path / "Obs1" / "Obs1_1.CSV").write_text(HEADER + ROW)
    with pytest.raises(InputError, match="session 1 a second time"):
        read_playlists(tmp_path)


def matlab_session(votes: list[float]) -> dict:
    names = [f"{letter}.png" for letter in "abcde"[: len(votes)]]
    return {
        "imgList": names,
        "sortTable": np.arange(len(votes), 0, -1.0)[None],
        "voteList": np.array([votes]),
        "drtList": np.linspace(0.5, 1, len(votes))[None],
        "voteTime": [f"24-Jan-2023 10:51:{16 + i}" for i in range(len(votes))],
    }


@pytest.mark.parametrize("version", ["7", "7.3"])
def test_converted_sessions_are_the_same(tmp_path, version):
    source = tmp_path / "matlab"
    for name, votes in {"Obs1/Obs1_1": [1, 5, 3], "Obs1/Obs1_2_selfacc": [2, 0, 4], "Obs2/Obs2_1": [3, 3]}.items():
        save(source / f"{name}.mat", matlab_session(votes), version)
    (source / "Obs1" / "._Obs1_1.mat").write_bytes(b"what a file system left")
    written = convert_playlists(source, tmp_path / "csv")
    assert [path.relative_to(tmp_path / "csv").as_posix() for path in written] == [
        *("Obs1/Obs1_1.csv", "Obs1/Obs1_2_selfacc.csv", "Obs2/Obs2_1.csv")
    ]
    votes = read_playlists(tmp_path / "csv")
    for session, path in ((1, "Obs1/Obs1_1"), (2, "Obs1/Obs1_2_selfacc")):
        own = votes[(votes["observer"] == "Obs1") & (votes["session"] == session)].reset_index(drop=True)
        pd.testing.assert_frame_equal(
            own, read_mat_session(source / f"{path}.mat").assign(observer="Obs1", session=session)
        )
    assert votes[votes["session"] == 2]["image"].tolist() == ["c.png", "a.png"]  # b.png was not voted on


def test_one_session_converted(tmp_path):
    source = save(tmp_path / "s.MAT", matlab_session([1, 2]), "7")
    assert convert_playlists(source, tmp_path / "out") == [tmp_path / "out" / "s.csv"]
    assert convert_playlists(source, tmp_path / "mine.csv") == [tmp_path / "mine.csv"]
    assert (tmp_path / "mine.csv").read_text() == (tmp_path / "out" / "s.csv").read_text()
    with pytest.raises(InputError, match="a MATLAB file; expected CSV"):
        read_playlist(source)


def test_nothing_is_half_converted(tmp_path, monkeypatch):
    source, target = tmp_path / "matlab", tmp_path / "csv"
    save(source / "Obs1" / "Obs1_1.mat", matlab_session([1, 5]), "7")
    with pytest.raises(InputError, match=r"no playlists.*\.mat files are there, convert them first"):
        read_playlists(source)
    save(source / "Obs1" / "Obs1_2.mat", matlab_session([1, 6]), "7")
    (source / "Obs1" / "Obs1_3.mat").write_bytes(b"no MATLAB file")
    with pytest.raises(InputError, match=r"2 of 3 files wrong: .*Obs1_2\.mat, .*found 6.*Obs1_3\.mat: not a MATLAB"):
        convert_playlists(source, target)
    assert not target.exists()
    for number in (2, 3):
        save(source / "Obs1" / f"Obs1_{number}.mat", matlab_session([number, 5]), "7")
    first = convert_playlists(source, target)[0]
    before = {path: path.read_text() for path in target.rglob("*.csv")}
    with pytest.raises(InputError, match="3 playlists there already"):
        convert_playlists(source, target)
    write, calls = playlists.write_playlist, []

    def full(votes, path):
        calls.append(path)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return write(votes.assign(vote=1), path)

    monkeypatch.setattr(playlists, "write_playlist", full)
    with pytest.raises(InputError, match=r"csv/.*: cannot be written \(No space"):
        convert_playlists(source, target, overwrite=True)
    assert {path: path.read_text() for path in target.rglob("*") if path.is_file()} == before
    assert os.listdir(target) == ["Obs1"]
    monkeypatch.undo()
    first.write_text("old")
    convert_playlists(source, target, overwrite=True)
    assert {path: path.read_text() for path in target.rglob("*.csv")} == before


def test_what_cannot_be_converted(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        convert_playlists(tmp_path / "none", tmp_path)
    with pytest.raises(InputError, match="no .mat files"):
        convert_playlists(tmp_path, tmp_path / "csv")
    save(tmp_path / "a.mat", matlab_session([1]), "7")
    with pytest.raises(InputError, match="one playlist; expected a folder"):
        convert_playlists(tmp_path, tmp_path / "all.csv")


def test_folder_without_playlists(tmp_path):
    with pytest.raises(InputError, match="no playlists"):
        read_playlists(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        read_playlists(tmp_path / "none")


def test_real_playlists_agree_with_themselves_as_published(playlists_folder):
    votes = read_playlists(playlists_folder / "Obs_iterative", [f"Obs{i}" for i in range(1, 6)])
    assert (votes.groupby(["observer", "session"]).size() == 300).all()
    first, repeated = votes[votes["session"] == 1], votes[votes["session"] == 4]
    both = first.merge(repeated, on=["observer", "image"], suffixes=("", "_again"))
    agreement = (both["vote"] == both["vote_again"]).groupby(both["observer"]).mean()
    assert agreement.round(3).tolist() == [0.580, 0.623, 0.727, 0.567, 0.470]
    assert len(read_playlist(playlists_folder / "Test" / "Obs0.csv")) == 300
