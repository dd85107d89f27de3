import shutil

import numpy as np
import pytest
from PIL import Image

from iqasuite import datasets
from iqasuite.datasets import splits
from iqasuite.errors import InputError

SHARED = "9ILSVRC2013_train_00006.JPEG_I1_Q3.jpeg"  # the photograph of a DSX image


@pytest.fixture
def study(tiny_playlists, tmp_path, monkeypatch):
    """Playlists and images as they lie in the data folder; one session shows a photograph of DSX."""
    monkeypatch.setenv("IQASUITE_DATA", str(tmp_path / "data"))
    with open(tiny_playlists / "Obs_iterative" / "Obs2" / "Obs2_2.csv", "a", encoding="utf-8") as file:
        file.write(f"{SHARED},2,0.5,24-Jan-2023 10:51:19\n")
    for name in ("Obs_iterative", "Test"):
        shutil.copytree(tiny_playlists / name, tmp_path / "data" / "aio_playlists" / name)
    (tmp_path / "data" / "aio_images").mkdir()
    for name in datasets.load("aio_playlists").images["image"]:
        Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(tmp_path / "data" / "aio_images" / name)
    return tmp_path / "data" / "aio_images"


def test_votes_images_and_parts(study):
    data = datasets.load("aio_study")
    assert data.root == study and len(data.images) == 9 and not data.absent
    assert data.read(data.images["image"][0], data.display_size).shape == (256, 256, 3)
    assert data.set_aside["image"].tolist() == [SHARED] and SHARED not in set(data.votes["image"])
    split = data.official_split
    assert splits.audit(split, data.images, data.sources).empty
    assert set(splits.part(split, 0, "test")) == set(data.votes.loc[data.votes["session"] == 5, "image"])
    assert len(splits.part(split, 0, "train")) == 5 and len(splits.part(split, 0, "val")) == 1
    assert data.nuisances["jpeg_quality"].sort_index().tolist() == [5, 6, 7, 33, 34, 35, 76, 77, 78]


def test_absent_images(study):
    lost = sorted(study.iterdir())[0]
    lost.unlink()
    with pytest.raises(InputError, match="1 of 10 images absent"):
        datasets.load("aio_study")
    data = datasets.load("aio_study", missing="drop")
    assert data.absent == [lost.name] and len(data.images) == 8 and lost.name not in set(data.votes["image"])
    with pytest.raises(InputError, match="no such folder"):
        datasets.load("aio_study", study / "nowhere")
