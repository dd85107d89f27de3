import pandas as pd
import pytest

from iqasuite import datasets
from iqasuite.datasets import dataset
from iqasuite.errors import InputError


def test_load_by_name(tiny_lab):
    assert datasets.load("tta_h265_lab", tiny_lab).name == "tta_h265_lab"
    with pytest.raises(InputError, match="data set 'lab': unknown, expected a folder or one of demo, tta_h265_lab"):
        datasets.load("lab")
    with pytest.raises(InputError, match="missing='some'"):
        datasets.load("demo", missing="some")


def test_mean_votes():
    votes = pd.DataFrame({"image": ["b", "a", "b", "b"], "vote": [1, 5, 3, 5]})
    table = dataset.mean_votes(votes)
    assert table["image"].tolist() == ["a", "b"] and table["mos"].tolist() == [5, 3]
    assert table["mos_std"][1] == 2 and pd.isna(table["mos_std"][0]) and table["n_votes"].tolist() == [1, 3]


def test_hash_follows_images_and_votes(tiny_lab):
    data = datasets.load("tta_h265_lab", tiny_lab)
    before = data.hash()
    assert before == datasets.load("tta_h265_lab", tiny_lab).hash()
    data.votes = data.votes.sample(frac=1, random_state=0)
    assert data.hash() == before  # order says nothing
    data.votes["vote"] = 1 + data.votes["vote"] % 5
    changed = data.hash()
    path = data.path(data.images["image"][0])
    path.write_bytes(path.read_bytes() + b" ")
    assert len({before, changed, data.hash()}) == 3
    path.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        data.hash()


def test_unknown_observer(tiny_lab):
    data = datasets.load("tta_h265_lab", tiny_lab)
    assert data.check_observer("user2") == "user2"
    with pytest.raises(
        InputError, match="observer 'user9' of tta_h265_lab: unknown, expected one of user1, user2, user3"
    ):
        data.check_observer("user9")
