"""The perturbation study with an attention whose answer is known: it looks at what differs from mid gray."""

import numpy as np
import pytest

from iqasuite.explain import perturbation


def attend(views):
    contrast = np.abs(views.astype(float) - 128).mean(-1)
    maps = contrast.reshape(len(views), 16, 16, 16, 16).mean((2, 4)) + 1e-6
    return maps / maps.sum((1, 2), keepdims=True)


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)


def test_perturbations_change_what_they_say(image):
    found = perturbation.perturbed(image)
    assert list(found) == ["none", "centre covered", "gray", "JPEG quality 10", "blur σ 6 px"]
    assert all(v.shape == image.shape and v.dtype == np.uint8 for v in found.values())
    covered = found["centre covered"]
    assert (covered[80:176, 80:176] == 128).all()
    np.testing.assert_array_equal(covered[:80], image[:80])
    assert (np.ptp(found["gray"], axis=2) == 0).all()
    assert found["blur σ 6 px"].std() < 0.2 * image.std()
    assert (perturbation.occlude_centre(image[:50, :50]) == 128).all()


def test_centre_share_of_an_even_map_is_its_area():
    assert perturbation.centre_share(np.ones((16, 16)), (256, 256)) == pytest.approx((96 / 256) ** 2)
    assert perturbation.centre_share(np.ones((5, 7)), (256, 256)) == pytest.approx((96 / 256) ** 2)


def test_attention_leaves_a_covered_centre(image):
    versions = perturbation.perturbed(image)
    maps = dict(zip(versions, attend(np.stack(list(versions.values()))), strict=True))
    table = perturbation.changes(maps, image.shape[:2]).set_index("perturbation")
    assert table.loc["none", "change"] == 0 and table.loc["none", "difference"] == 0
    assert table.loc["centre covered", "centre_share"] < 1e-3 < table.loc["none", "centre_share"]
    assert table.loc["centre covered", "difference"] > 5 * table.loc["gray", "difference"]
    assert list(maps) == list(table.index)


def test_lengths_grow_with_the_view():
    large = np.random.default_rng(0).integers(0, 256, (512, 640, 3), dtype=np.uint8)
    gray = (perturbation.perturbed(large)["centre covered"] == 128).all(-1)
    assert gray[160:352, 224:416].all() and gray[:150].mean() < 0.01
    even = {"none": np.ones((4, 5)), "centre covered": np.ones((4, 5))}
    share = perturbation.changes(even, large.shape[:2])["centre_share"]
    assert share.iloc[0] == pytest.approx(192**2 / (512 * 640))
