import numpy as np
import pytest
from PIL import Image

from iqasuite.datasets import demo
from iqasuite.images.fingerprints import near_pairs, thumbnails


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    paths = []
    for content, pristine in demo.contents().items():
        paths.append(folder / f"{content}.png")
        Image.fromarray(pristine).save(paths[-1])
    return thumbnails(paths, folder / "cache")


def test_thumbnails_are_small_gray_pictures(pictures):
    assert pictures.shape == (13, 64, 64) and pictures.dtype == np.uint8
    gray = next(iter(demo.contents().values())).astype(float) @ [0.299, 0.587, 0.114]
    assert np.corrcoef(gray.reshape(64, 4, 64, 4).mean((1, 3)).ravel(), pictures[0].ravel())[0, 1] > 0.99


def test_different_pictures_are_no_pairs(pictures):
    assert near_pairs(pictures).empty
    assert len(near_pairs(pictures, near=-1.0)) == 13 * 12 / 2  # each pair once


def test_a_copy_is_the_most_similar_and_groups_are_left_out(pictures):
    darker = (pictures[3] * 0.5).astype(np.uint8)
    pairs = near_pairs(np.concatenate([pictures, darker[None], pictures[:1]]))
    assert pairs[["first", "second"]].values.tolist() == [[0, 14], [3, 13]]
    assert pairs["similarity"][0] == pytest.approx(1, abs=1e-5) and 0.95 < pairs["similarity"][1] <= 1
    groups = [*range(13), 3, 0]
    assert near_pairs(np.concatenate([pictures, darker[None], pictures[:1]]), groups).empty


def test_flat_pictures_are_like_no_other(pictures):
    flat = np.zeros((2, 64, 64), np.uint8)
    assert near_pairs(np.concatenate([pictures, flat])).empty


def test_blocks_change_nothing(pictures, monkeypatch):
    whole = near_pairs(pictures, near=0.1)
    monkeypatch.setattr("iqasuite.images.fingerprints._BLOCK", 4)
    blocked = near_pairs(pictures, near=0.1)
    assert whole[["first", "second"]].equals(blocked[["first", "second"]])
    np.testing.assert_allclose(whole["similarity"], blocked["similarity"], atol=1e-5)
