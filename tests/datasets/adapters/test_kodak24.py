import pytest

from iqasuite.datasets.adapters import kodak24
from iqasuite.errors import InputError
from iqasuite.images.loading import read_image


@pytest.mark.parametrize("prefix", ["kodim", ""])
def test_tiny(tmp_path, draw, check_whole, check_absent, prefix):
    draw(tmp_path, [f"{prefix}{i:02d}.png" for i in range(1, 25)])
    data = kodak24.load(tmp_path)
    check_whole(data, kodak24.CARD)
    assert data.images["image"][0] == f"{prefix}01.png" and data.images["content"][0] == "kodim01"
    assert data.images["mos"].isna().all() and (data.images["n_votes"] == 0).all() and data.votes.empty
    check_absent(kodak24.load, tmp_path)


def test_nothing_there(tmp_path):
    with pytest.raises(InputError, match="24 of 24 images absent .kodim01.png"):
        kodak24.load(tmp_path, missing="drop")


def test_downloads_are_the_24_files():
    files = [download.file for download in kodak24.CARD.downloads]
    assert files == [f"kodim{i:02d}.png" for i in range(1, 25)]


def test_real_set(kodak_folder, check_whole):
    data = kodak24.load(kodak_folder)
    check_whole(data, kodak24.CARD)
    assert {read_image(data.path(name)).shape for name in data.images["image"][:4]} <= {(512, 768, 3), (768, 512, 3)}
