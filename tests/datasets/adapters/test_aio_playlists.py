import pytest

from iqasuite import datasets
from iqasuite.datasets import splits
from iqasuite.datasets.adapters import card
from iqasuite.errors import InputError


def test_names_ratings_and_no_pixels(tiny_playlists):
    data = datasets.load("aio_playlists", tiny_playlists)
    assert data.observers() == ["Obs1", "Obs2"] and set(data.set_aside["observer"]) == {"Obs4.0"}
    assert len(data.images) == 9 and sorted(data.votes["session"].unique()) == [1, 2, 4, 5]
    assert data.nuisances["jpeg_quality"].sort_index().tolist() == [5, 6, 7, 33, 34, 35, 76, 77, 78]
    first = data.images[data.images["content"] == "ILSVRC2013_train_00000"].iloc[0]
    assert first["mos"] == 1 and first["n_votes"] == 2  # session 4 repeats: the first vote counts
    assert len(splits.part(data.official_split, 0, "test")) == 3
    assert data.hash() == datasets.load("aio_playlists", tiny_playlists).hash()
    with pytest.raises(InputError, match="a name only; expected a set with images"):
        data.read(data.images["image"][0])


def test_other_names_are_refused(tiny_playlists):
    path = tiny_playlists / "Test" / "Obs1.csv"
    path.write_text("Image Name,Vote\nholiday.jpg,3\n")
    with pytest.raises(InputError, match="image 'holiday.jpg'; expected a name like 691ILSVRC"):
        datasets.load("aio_playlists", tiny_playlists)


def test_real_playlists(playlists_folder):
    data = datasets.load("aio_playlists", playlists_folder)
    assert len(data.images) == card("aio_playlists").n_images and len(data.observers()) == 5
    assert (data.votes.groupby("observer").size() == 1500).all() and len(data.set_aside) == 1200
    leaks = splits.audit(data.official_split, data.images)
    assert leaks["kind"].tolist() == ["content"]  # DSX shows one photograph that was trained on, at another quality
