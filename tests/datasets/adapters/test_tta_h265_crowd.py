import sqlite3
from contextlib import closing

import pandas as pd
import pytest

from iqasuite import datasets
from iqasuite.datasets.adapters import card
from iqasuite.errors import InputError


@pytest.fixture
def tiny_crowd(tiny_lab):
    """The tiny lab set with a database of votes on quadrants."""
    (tiny_lab / "test_2").mkdir()
    stem = "./images/a.mkv_1frame_crf_03_height_0040"
    rows = [
        (1, "0", f"{stem}_tl.png", "acr", "4", "2020-03-27 13:51:10 959845"),
        (1, "1", f"{stem}_br.png", "acr", "2", "2020-03-27 13:51:14 468659"),
        (1, "0", f"{stem}_tl.png", "acr", "3", "2020-03-27 13:51:20 000000"),  # again
        (2, "0", f"{stem}_tl.png", "acr", "5", "2020-03-28 10:00:00 000000"),
        (2, "-1", "", "user_done", "-1", "2020-03-28 10:00:05 000000"),
    ]
    with closing(sqlite3.connect(tiny_lab / "test_2" / "ratings.db")) as database:
        database.execute(
            "CREATE TABLE ratings (user_ID INTEGER, stimuli_ID TEXT, stimuli_file TEXT, rating_type TEXT, "
            "rating TEXT, timestamp TEXT)"
        )
        database.executemany("INSERT INTO ratings VALUES (?, ?, ?, ?, ?, ?)", rows)
        database.commit()
    return tiny_lab


def test_quadrants_are_regions_of_the_lab_images(tiny_crowd):
    data = datasets.load("tta_h265_crowd", tiny_crowd)
    assert data.images["image"].str.extract(r"#(..)$")[0].tolist() == ["tl", "br"] and data.name == "tta_h265_crowd"
    corner, whole = (
        data.read(data.images["image"][1]),
        datasets.load("tta_h265_lab", tiny_crowd).read(data.images["image"][1].split("#")[0]),
    )
    assert corner.shape == (4, 4, 3) and (corner == whole[4:, 4:]).all()
    assert data.votes.sort_values(["observer", "position"])["session"].tolist() == [1, 1, 2, 1]
    assert data.images["mos"].tolist() == [4.5, 2.0]  # first votes
    assert data.votes["duration"].dropna().tolist() == pytest.approx([3.508814, 5.531341])


def test_a_broken_database_is_named(tiny_crowd):
    (tiny_crowd / "test_2" / "ratings.db").write_bytes(b"not a database" * 100)
    with pytest.raises(InputError, match="ratings.db: not a database with a table `ratings`"):
        datasets.load("tta_h265_crowd", tiny_crowd)
    with closing(sqlite3.connect(tiny_crowd / "test_3.db")) as database:
        database.execute("CREATE TABLE ratings (user_ID INTEGER, rating_type TEXT)")
    (tiny_crowd / "test_3.db").replace(tiny_crowd / "test_2" / "ratings.db")
    with pytest.raises(InputError, match="ratings.db: table `ratings` without stimuli_file, rating, timestamp"):
        datasets.load("tta_h265_crowd", tiny_crowd)


def test_real_crowd_agrees_with_its_published_means(lab_folder):
    data = datasets.load("tta_h265_crowd", lab_folder, missing="drop")
    assert len(data.images) + len(data.absent) == card("tta_h265_crowd").n_images
    published = pd.read_csv(lab_folder / "test_2" / "mean_crowd_mos.csv").set_index("image_name")["mean_crowd"]
    stem = data.votes["image"].str.extract(r"([^/]+)\.[^./]+#")[0]
    mean = data.votes["vote"].groupby(stem.to_numpy()).mean()  # of all four quadrants, repetitions included
    assert (mean - published.reindex(mean.index)).abs().max() < 1e-9
