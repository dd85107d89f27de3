import numpy as np
import pandas as pd
import pytest

from iqasuite.datasets import frames
from iqasuite.errors import InputError

VOTES = pd.DataFrame(
    {
        "observer": ["a", "a"],
        "session": [1, 1],
        "position": [1, 2],
        "image": ["x.png", "y.png"],
        "vote": [1, 5],
        "duration": [0.5, np.nan],
        "timestamp": ["2024-01-01 10:00:00", None],
    }
)


@pytest.mark.parametrize("kind", ["images", "votes", "split", "predictions", "scores"])
def test_empty_frames_are_valid(kind):
    frame = frames.empty(kind)
    assert list(frame.columns) == list(getattr(frames, kind.upper()))
    pd.testing.assert_frame_equal(frames.validate(frame, kind), frame)


def test_validate_orders_and_types_columns():
    votes = frames.validate(VOTES[list(reversed(VOTES.columns))].set_index(pd.Index([7, 3])), "votes")
    assert list(votes.columns) == list(frames.VOTES)
    assert votes["vote"].dtype == "int64" and votes["timestamp"].dtype == "datetime64[ns]"
    assert np.isnan(votes["duration"][1]) and pd.isna(votes["timestamp"][1]) and list(votes.index) == [0, 1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"vote": [0, 5]}, ["row 0", "column vote", "0", "1 to 5"]),
        ({"vote": [1, 6]}, ["row 1", "column vote", "6", "1 to 5"]),
        ({"vote": [1, 2.5]}, ["row 1", "2.5", "whole number"]),
        ({"vote": [1, None]}, ["row 1", "whole number"]),
        ({"image": ["x.png", "x.png"]}, ["row 1", "x.png", "second time"]),
        ({"image": ["x.png", ""]}, ["row 1", "column image", "empty"]),
        ({"duration": ["soon", 1]}, ["row 0", "column duration", "soon"]),
        ({"timestamp": ["soon", None]}, ["row 0", "column timestamp", "soon"]),
        ({"timestamp": ["0001-01-01 10:00:00", None]}, ["row 0", "column timestamp", "0001"]),
        ({"vote": [1, np.inf]}, ["row 1", "column vote", "inf", "whole number"]),
        ({"session": [1, 1e30]}, ["row 1", "column session", "1e+30", "whole number"]),
        ({"image": ["x.png", "y\n" * 3000], "vote": [1, 9]}, ["row 1", "column vote", "9"]),
    ],
)
def test_wrong_votes_name_file_row_and_column(change, words):
    with pytest.raises(InputError) as error:
        frames.validate(VOTES.assign(**change), "votes", "some.csv")
    assert str(error.value).startswith("some.csv: ") and "\n" not in str(error.value)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_wrong_columns_are_named():
    with pytest.raises(InputError, match=r"missing \['vote'\], unknown \['Vote'\]"):
        frames.validate(VOTES.rename(columns={"vote": "Vote"}), "votes")
    with pytest.raises(InputError, match="frame kind 'vote'"):
        frames.validate(VOTES, "vote")


@pytest.mark.parametrize("kind", ["votes", "images", "split", "predictions", "scores"])
@pytest.mark.parametrize("name", ["NA", "None", "null", "nan", "N/A", "<NA>", "1", "007", "True", "写真"])
def test_texts_are_read_as_they_were_written(tmp_path, kind, name):
    """And numbers that are missing as missing."""
    texts = {c for c in getattr(frames, kind.upper()) if c in ("observer", "image", "content", "model", "dataset")}
    row = {
        c: 1.0 if c in ("fold", "vote", "session", "position", "n_votes", "n", "seed") else np.nan
        for c in getattr(frames, kind.upper())
    }
    row |= dict.fromkeys(texts, name) | {"metric": "mae", "part": "test"}
    frame = frames.validate(pd.DataFrame([row])[list(getattr(frames, kind.upper()))], kind)
    frame.to_csv(tmp_path / "f.csv", index=False)
    pd.testing.assert_frame_equal(frames.read_frame(tmp_path / "f.csv", kind), frame)


def test_files_that_are_no_frames(tmp_path):
    for content, words in ((b"", "not a CSV table"), (b"\xff\xfe", "not a CSV table"), (b"a,b\n1,2\n", "columns of a")):
        (tmp_path / "f.csv").write_bytes(content)
        with pytest.raises(InputError, match=words):
            frames.read_frame(tmp_path / "f.csv", "split")
    with pytest.raises(InputError, match="none.csv: cannot be read .*; expected a split frame"):
        frames.read_frame(tmp_path / "none.csv", "split")


def test_split_and_images_are_checked():
    split = pd.DataFrame({"image": ["x"], "content": ["c"], "fold": [0], "part": ["Test"]})
    with pytest.raises(InputError, match="found 'Test'"):
        frames.validate(split, "split")
    images = pd.DataFrame({c: ["x", "x"] if c in ("image", "content") else [1, 1] for c in frames.IMAGES})
    with pytest.raises(InputError, match="second time"):
        frames.validate(images, "images")


def test_times_with_offsets_are_times():
    votes = frames.validate(VOTES.assign(timestamp=["2024-01-01T10:00:00+02:00", "2024-01-01T10:00:00+01:00"]), "votes")
    assert votes["timestamp"].astype(str).tolist() == ["2024-01-01 08:00:00", "2024-01-01 09:00:00"]


@pytest.mark.parametrize("rows", ["1,1,1,1,1\n1,1,1,1,1\n", "1,1,1,1\n1,1,1,1,1,1\n", '"1,1,1,1\n'])
def test_rows_that_do_not_fit_their_header_are_one_line(tmp_path, rows):
    path = tmp_path / "split.csv"
    path.write_text("image,content,fold,part\n" + rows)
    with pytest.raises(InputError, match=r"^\S+split.csv: .*; expected a split frame") as error:
        frames.read_frame(path, "split")
    assert "\n" not in str(error.value)
