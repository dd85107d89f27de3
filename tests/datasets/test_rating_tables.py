import logging

import numpy as np
import pandas as pd
import pytest

from iqasuite.datasets.rating_columns import read_table
from iqasuite.datasets.rating_scales import five_classes
from iqasuite.datasets.rating_tables import rated
from iqasuite.errors import InputError


def read(tmp_path, content: str | bytes, **stated):
    path = tmp_path / "ratings.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return rated(read_table(path), stated)


def refusal(tmp_path, content: str | bytes, **stated) -> str:
    with pytest.raises(InputError) as error:
        read(tmp_path, content, **stated)
    message = str(error.value)
    assert message.startswith(str(tmp_path / "ratings.csv")) and "\n" not in message
    return message


def scores_text(values, column: str = "mos") -> str:
    return f"image,{column}\n" + "".join(f"{i}.png,{value}\n" for i, value in enumerate(values))


@pytest.mark.parametrize("low", [-3, 0, 1])
@pytest.mark.parametrize("k", range(2, 13))
def test_classes_of_levels(k, low):
    """Five classes of as equal a number of levels as there can be, in order, the same from both ends."""
    classes = five_classes(np.arange(low, low + k), low, low + k - 1, k)
    assert (np.diff(classes) >= 0).all() and classes[0] <= (1 if k >= 3 else 2)
    np.testing.assert_array_equal(classes, 6 - classes[::-1])
    if k >= 5:
        counts = np.bincount(classes, minlength=6)[1:]
        assert counts.min() >= 1 and counts.max() - counts.min() <= 1


def test_five_levels_stay_and_seven_are_known():
    np.testing.assert_array_equal(five_classes([1, 2, 3, 4, 5], 1, 5, 5), [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(five_classes(range(1, 8), 1, 7, 7), [1, 2, 2, 3, 4, 4, 5])


def test_classes_of_a_continuum():
    values = [0, 19.99, 20, 39.99, 40, 60, 79.99, 80, 100]
    np.testing.assert_array_equal(five_classes(values, 0, 100), [1, 1, 2, 2, 3, 4, 4, 5, 5])
    uniform = five_classes(np.linspace(-3, 3, 10_001), -3, 3)
    np.testing.assert_allclose(np.bincount(uniform)[1:] / 10_001, 0.2, atol=1e-3)


@pytest.mark.parametrize(
    ("values", "low", "high", "name"),
    [
        ([1, 3, 5], 1, 5, "ACR"),
        ([2, 3, 4], 1, 5, "ACR"),
        ([1, 6], 1, 7, "1 to 7"),
        ([1, 9], 1, 9, "1 to 9"),
        ([1, 10], 1, 10, "1 to 10"),
        ([-2, 3], -3, 3, "-3 to 3"),
        ([12, 80], 0, 100, "0 to 100"),
        ([1.5, 4.5], 1, 5, "1 to 5"),
        ([0.1, 0.9], 0, 1, "0 to 1"),
        ([0.1, 4.9], 0, 5, "0 to 5"),
        ([3.42, 92.4], 0, 100, "0 to 100"),
        ([-1.5, 2.5], -3, 3, "-3 to 3"),
    ],
)
def test_a_scale_is_told_from_the_values(tmp_path, caplog, values, low, high, name):
    with caplog.at_level(logging.INFO):
        scale = read(tmp_path, scores_text(values))[2]
    assert (scale.low, scale.high, scale.higher_is_better, scale.name) == (low, high, True, name)
    guess = [record.getMessage() for record in caplog.records]
    assert len(guess) == 1 and f"dataset.yaml (scale: {{low: {low}, high: {high}, higher_is_better: true}})" in guess[0]


def test_a_stated_scale_is_taken_without_a_word(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        scale = read(tmp_path, scores_text([1, 3]), low=0, high=20, higher_is_better=True, name="own")[2]
    assert (scale.low, scale.high, scale.name) == (0, 20, "own") and not caplog.records
    assert "found -1, expected 0 to 20" in refusal(tmp_path, scores_text([1, -1]), low=0, high=20)
    assert "line 3, column mos: found 21" in refusal(tmp_path, scores_text([1, 21]), low=0, high=20)


def test_no_usual_scale(tmp_path):
    message = refusal(tmp_path, scores_text([-50, 150.5]))
    assert "-50 to 150.5" in message and "dataset.yaml (scale: {low: -50, high: 151" in message


def test_scores(tmp_path):
    text = "File Name;MOS;MOS Std;N_Votes\na.png;3,5;0,25;20\nb.png;4;;21\n"
    scores, votes, scale = read(tmp_path, text)
    assert scores.loc["a.png"].tolist() == [3.5, 0.25, 20] and votes.empty and scale.high == 5
    assert scores.loc["b.png", "mos"] == 4 and np.isnan(scores.loc["b.png", "mos_std"])


def test_differences_count_down(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        scores, _, scale = read(tmp_path, scores_text([10.5, 90], "DMOS"))
    assert not scale.higher_is_better and scores["mos"].tolist() == [89.5, 10]
    assert "lower is better, so mos = 100 − value" in caplog.text
    assert read(tmp_path, scores_text([10.5, 90], "DMOS"), higher_is_better=True)[0]["mos"].tolist() == [10.5, 90]


def test_long_votes(tmp_path):
    text = (
        "Subject,Image Name,Score,Run,Response Time,Timestamp\n"
        "P1,a.png,4,1,1.5,24-Jan-2023 10:51:26\nP1,b.png,2,1,,2023-01-24 10:51:16\n"
        "P2,a.png,5,1,0.5,\nP1,a.png,1,2,1,2023-01-25T09:00:00\n"
    )
    scores, votes, _ = read(tmp_path, text)
    assert votes["observer"].tolist() == ["P1", "P1", "P2", "P1"] and votes["session"].tolist() == [1, 1, 1, 2]
    assert votes["vote"].tolist() == [4, 2, 5, 1] and votes["position"].tolist() == [2, 1, 0, 1]
    np.testing.assert_array_equal(votes["duration"], [1.5, np.nan, 0.5, 1])
    assert votes["timestamp"].iloc[0] == pd.Timestamp(2023, 1, 24, 10, 51, 26) and votes["timestamp"].isna().sum() == 1
    assert scores.loc["a.png", "mos"] == 4.5 and scores.loc["a.png", "n_votes"] == 2  # each person's first vote
    assert scores.loc["b.png", "n_votes"] == 1 and np.isnan(scores.loc["b.png", "mos_std"])


def test_a_playlist_is_one_persons_votes(tmp_path):
    text = "Image Name,Vote,Duration,Timestamp\na.png,4,1.5,24-Jan-2023 10:51:26\nb.png,3,1,24-Jan-2023 10:51:36\n"
    votes = read(tmp_path, text)[1]
    assert set(votes["observer"]) == {"ratings"} and votes["position"].tolist() == [1, 2]


def test_wide_votes(tmp_path, caplog):
    text = "image,anna,bob,user 3,nobody\na.png,4,,5,\nb.png,2,3,1,\nc.png,,,,\n"
    with caplog.at_level(logging.INFO):
        scores, votes, _ = read(tmp_path, text)
    rows = votes[["image", "observer", "vote"]].to_numpy().tolist()
    assert rows == [
        *(["a.png", "anna", 4], ["a.png", "user 3", 5]),
        *(["b.png", "anna", 2], ["b.png", "bob", 3], ["b.png", "user 3", 1]),
    ]
    assert "no votes of nobody" in caplog.text and (votes["position"] == 0).all()
    assert scores["mos"].to_dict() == {"a.png": 4.5, "b.png": 2.0} and scores["n_votes"].tolist() == [2, 3]


def test_wide_and_long_are_the_same(tmp_path):
    rng = np.random.default_rng(0)
    wide = pd.DataFrame(rng.integers(0, 11, (12, 4)), columns=list("ABCD"), index=[f"{i}.png" for i in range(12)])
    wide = wide.where(rng.random(wide.shape) < 0.8)
    text = wide.astype("Int64").rename_axis("image").to_csv()
    long = wide.stack().dropna().astype(int).rename_axis(["image", "observer"]).rename("vote").reset_index()
    one, other = (read(tmp_path, content, low=0, high=10) for content in (text, long.to_csv(index=False)))
    pd.testing.assert_frame_equal(one[0], other[0])
    pd.testing.assert_frame_equal(one[1], other[1])
    assert one[2] == other[2]


def test_other_scales_are_brought_to_five_classes(tmp_path, caplog):
    text = "observer,image,vote\nP,a,0\nP,b,33\nP,c,100\nP,d,79.5\n"
    with caplog.at_level(logging.INFO):
        scores, votes, _ = read(tmp_path, text)
    assert votes["vote"].tolist() == [1, 2, 5, 4] and scores["mos"].tolist() == [0, 33, 100, 79.5]
    assert "votes of 0 to 100 (continuous) are brought to 1–5 by fifths; mos is on the own scale" in caplog.text
    scores, votes, scale = read(tmp_path, "observer,image,vote\nP,a,1\nP,b,7\nP,c,4\n", higher_is_better=False)
    assert votes["vote"].tolist() == [5, 1, 3] and scores["mos"].tolist() == [7, 1, 4] and scale.high == 7
    votes = read(tmp_path, "observer,image,vote\nP,a,1\nP,b,2\n", low=1, high=5, higher_is_better=False)[1]
    assert votes["vote"].tolist() == [5, 4]


@pytest.mark.parametrize(("n", "kind"), [(20, "(101 levels)"), (21, "(continuous)")])
def test_many_levels_are_a_continuum(tmp_path, caplog, n, kind):
    text = "observer,image,vote\n" + "".join(f"P,{i},{5 * i}\n" for i in range(n))
    with caplog.at_level(logging.INFO):
        read(tmp_path, text)
    assert kind in caplog.text


def test_observers_on_different_scales(tmp_path):
    rows = [f"P1,{i},{i % 5 + 1}\nP2,{i},{13 * i}\n" for i in range(7)]
    text = "observer,image,vote\n" + "".join(rows)
    message = refusal(tmp_path, text)
    assert "votes of P1 go up to 5, those of others up to 78; expected one scale for all" in message
    assert read(tmp_path, text, low=0, high=100)[2].high == 100


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: empty"),
        ("image,mos\n", "line 2: no ratings"),
        ("image\na.png\n", "line 1: no columns of votes or scores in image"),
        ("observer,image\nP,a\n", "line 1: no column vote"),
        ("observer,vote\nP,3\n", "line 1: no column image"),
        ("mos\n3\n", "line 1: no column image"),
        ("anna,bob\n3,4\n", "line 1: no column image"),
        ("image,mos,anna\na,3,4\n", "column 'anna' does not belong to a table of scores"),
        ("observer,image,vote,mood\nP,a,3,4\n", "column 'mood' does not belong to a table of votes in rows"),
        ("image,anna,Timestamp\na,3,4\n", "column 'Timestamp' does not belong to a table of one column of votes per"),
        ("image,rating\na,3\n", "column rating may be scores or votes"),
        ("image,Filename,mos\na,a,3\n", "columns 'image' and 'Filename' both are image"),
        ("image,anna,anna\na,3,4\n", "columns 'anna' twice"),
        ("image,mos,\na,3,x\n", "line 1: column 3 has no name"),
        ("image,mos\n,3\n", "line 2, column image: empty"),
        ("image,mos\na,good\n", "line 2, column mos: found 'good', expected a number"),
        ("image,mos\na,nan\n", "line 2, column mos: found 'nan'"),
        ("image,mos\na,3\nb,\n", "line 3, column mos: found ''"),
        ("image,MOS,sd\na,3,-1\n", "line 2, column sd: found '-1', expected 0 or more"),
        ("image,mos,n_votes\na,3,2.5\n", "line 2, column n_votes: found '2.5', expected a whole number"),
        ("image,mos\na,3\nb,4\na,5\n", "line 4: image 'a' a second time (first in line 2)"),
        ("observer,image,vote\nP,a,\n", "line 2, column vote: found ''"),
        ("observer,image,vote\n,a,3\n", "line 2, column observer: empty"),
        ("observer,image,vote,session\nP,a,3,x\n", "line 2, column session: found 'x', expected a whole number"),
        ("observer,image,vote,session\nP,a,3,\n", "line 2, column session: empty"),
        ("observer,image,vote,duration\nP,a,3,-1\n", "line 2, column duration: found '-1', expected 0 or more"),
        ("observer,image,vote,timestamp\nP,a,3,01/02/2023\n", "line 2, column timestamp: found '01/02/2023'"),
        ("image,anna,bob\na,3,4\nb,2,no\n", "line 3, column bob: found 'no', expected a number"),
        ("image,anna\na,\nb,\n", "no votes in the columns anna"),
        ("image,anna\na,3\na,4\n", "line 3: image 'a' a second time (first in line 2)"),
        ("image,mos\na\n", "line 2: 1 fields; expected 2"),
        ("image,mos\nä,3\n".encode("latin-1"), "line 2: byte 0xe4 is not UTF-8"),
        ("observer,image,vote\nmean,a,3\n", "line 2, column observer: found 'mean', expected an observer"),
        ("image,anna,index\na,3,7\nb,2,3\n", "column 'index' looks like no observer's votes"),
        ("image,anna,mean\na,3,3\n", "column 'mean' looks like no observer's votes"),
        ("image;anna;Average Score\na;3;3,5\n", "column 'Average Score' looks like no observer's votes"),
        ("image,anna,bob,n\na,3,4,2\n", "column 'n' looks like no observer's votes"),
        ("image,anna,bob,mos\na,3,4,3.5\n", "column 'anna' does not belong to a table of scores"),
        ("image,anna,bob,Streuung\na,3,4,0.71\nb,3,3,0\n", "line 2, column Streuung: found 0.71, where the columns of"),
        ("image,a,b,Mittel\n1,3,5,4\n2,1,3,2\n3,5,3,4\n", "column Mittel: the mean of the other columns"),
        ("image,a,b,Summe\n1,1,2,3\n2,1,3,4\n3,2,3,5\n", "column Summe: the sum of the other columns"),
        ("image,a,b,Max\n1,1,2,2\n2,1,3,3\n3,4,3,4\n", "column Max: the maximum of the other columns"),
    ],
)
def test_broken_tables(tmp_path, text, words):
    assert words in refusal(tmp_path, text)


def test_votes_outside_a_stated_scale(tmp_path):
    assert "line 3, column bob: found 6, expected 1 to 5" in refusal(tmp_path, "image,bob\na,5\nb,6\n", low=1, high=5)


def test_empty_columns_of_a_spreadsheet(tmp_path):
    assert read(tmp_path, "image;mos;;\na;3,5;;\n;;;\nb;1;;\n")[0]["mos"].tolist() == [3.5, 1]


def test_votes_given_twice_in_a_session_count_once(tmp_path, caplog):
    text = "observer,image,vote,session\nP,a,3,1\nQ,a,2,1\nP,a,4,1\nP,a,5,2\nP,a,1,1\n"
    votes = read(tmp_path, text)[1]
    assert votes[["observer", "session", "vote"]].to_numpy().tolist() == [["P", 1, 3], ["Q", 1, 2], ["P", 2, 5]]
    assert "2 votes on images that the observer had rated before in the session (line 4: P, 'a')" in caplog.text
    text = "image,vote,timestamp\na,3,2023-01-24 10:51:17\nb,2,2023-01-24 10:51:18\na,4,2023-01-24 10:51:16\n"
    votes = read(tmp_path, text)[1]  # the times say which was first
    assert votes[["image", "vote", "position"]].to_numpy().tolist() == [["b", 2, 2], ["a", 4, 1]]


@pytest.mark.parametrize("name", ["NA", "None", "null", "nan", "N/A", "NaN", "-", "Max", "Min", "Mean Joe"])
def test_people_and_images_may_be_called_so(tmp_path, name):
    votes = read(tmp_path, f"image,bob,{name}\na,1,5\nnull,2,4\nNA,,3\n")[1]
    assert votes.loc[votes["observer"] == name, "image"].tolist() == ["a", "null", "NA"]
    votes = read(tmp_path, f"observer,image,vote\n{name},None,5\n{name},NA,3\n")[1]
    assert set(votes["observer"]) == {name} and votes["image"].tolist() == ["None", "NA"]


@pytest.mark.parametrize("nothing", ["NA", "N/A", "nan", "NaN", "null", "None", "-", " "])
def test_cells_that_say_not_rated(tmp_path, nothing):
    scores, votes, _ = read(tmp_path, f"image,anna,bob\na,{nothing},3\nb,2,{nothing}\nc,4,5\n")
    assert len(votes) == 4 and scores["n_votes"].to_dict() == {"a": 1, "b": 1, "c": 2}
    scores, _, _ = read(tmp_path, f"image,mos,std,n_votes\na,3,{nothing},{nothing}\nb,2,0.5,7\n")
    assert np.isnan(scores.loc["a", "mos_std"]) and scores["n_votes"].tolist() == [0, 7]


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ([1, 3, 5, 0, 4], 0),
        ([4, 0, 3, 2], 0),
        ([1, 2, 7, 0, 6], 0),
        ([10, 2, 7, 0, 6], 0),
        ([1, 3, 5, -1, 4], -1),
        ([1, 3, 0, -1, 2], -1),
        ([1, 3, 5, -99, 4], -99),
        ([1, 3, 5, 99, 4], 99),
        ([1, 3, 5, 99, 4, 99], 99),
        ([1, 3, 5, 9, 4], 9),
        ([1, 3, 5, 55, 4], 55),  # a slip of the hand
        ([1, 2, 3, 4, 5] * 6 + [6], 6),
    ],
)
def test_numbers_that_are_no_votes(tmp_path, values, code):
    rows = [f"P,{i}.png,{value}\n" for i, value in enumerate(values)]
    line = values.index(code) + 2
    message = refusal(tmp_path, "observer,image,vote\n" + "".join(rows))
    assert f"line {line}, column vote: found {code} ({values.count(code)} in all) among values" in message
    assert "dataset.yaml (scale: {low: " in message
    wide = "image,anna,bob\n" + "".join(f"{i}.png,{value},3\n" for i, value in enumerate(values))
    assert f"line {line}, column anna: found {code}" in refusal(tmp_path, wide)
    if code != 55 and len(values) < 30:
        assert f"column mos: found {code}" in refusal(tmp_path, scores_text([*values, *[2.5] * (code == 9)]))
    low, high = min(values), max(values)
    assert len(read(tmp_path, wide, low=low, high=high)[1]) == 2 * len(values)  # said to be votes


def test_numbers_that_are_votes(tmp_path):
    sliders = [0, 3.5, 20, 47, 68, 99, 100]
    assert read(tmp_path, scores_text(sliders))[2].high == 100
    assert read(tmp_path, scores_text([0, 1, 2, 3], "dmos"))[2].low == 0  # no difference to the reference
    assert read(tmp_path, scores_text([-3, -1, 0, 2]))[2].low == -3
    for high in (7, 9, 10):
        values = list(range(1, high + 1))
        assert read(tmp_path, "image,anna\n" + "".join(f"{v}.png,{v}\n" for v in values[::-1]))[2].high == high


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "index", "#", "Nr."])
@pytest.mark.parametrize("table", ["anna,bob\n{},a,3,4\n{},b,2,1\n", "mos\n{},a,3\n{},b,2\n", "vote\n{},a,3\n{},b,2\n"])
def test_columns_that_number_the_rows_are_left_out(tmp_path, name, table):
    for first in (0, 1):
        scores, votes, _ = read(tmp_path, f"{name},image," + table.format(first, first + 1))
        assert scores.index.tolist() == ["a", "b"] and set(votes["observer"]) <= {"anna", "bob", "ratings"}


def test_numbers_of_rows_of_a_table_that_was_shuffled_or_filtered(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        assert set(read(tmp_path, ",image,anna\n12,a,4\n0,b,4\n77,c,2\n")[1]["observer"]) == {"anna"}
    assert "column 1 (without a name) numbers the rows; left out" in caplog.text
    assert "column 2 has no name" in refusal(tmp_path, "image,,anna\na,4,4\nb,3,4\n")
    assert "column 1 has no name" in refusal(tmp_path, ",image,anna\n4,a,4\n4,b,4\n")
    assert "column 'index' looks like no observer's" in refusal(tmp_path, "image,index,anna\na,4,4\nb,3,4\n")


def test_one_person_whatever_way_accents_are_written(tmp_path):
    votes = read(tmp_path, "observer,image,vote\nJos\u00e9,a,3\nJose\u0301,b,4\n")[1]
    assert set(votes["observer"]) == {"Jos\u00e9"}
