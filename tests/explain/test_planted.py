"""Distortions with a known place, and how well maps find it: a map that is the truth, its opposite, and none."""

import numpy as np
import pytest

from iqasuite.errors import InputError
from iqasuite.explain.planted import GRID, PLACES, baselines, localisation, mixed, place_mask, plant
from iqasuite.images.photographs import contents


@pytest.fixture(scope="module")
def planted():
    return plant(dict(list(contents().items())[:3]))


def test_images_are_distorted_in_their_place_and_nowhere_else(planted):
    pristine = np.repeat(np.stack(list(contents().values())[:3]), len(PLACES), axis=0)
    changed = np.abs(planted.images.astype(int) - pristine).mean(3)
    assert planted.images.shape == (9, 256, 256, 3) and planted.masks.shape == (9, 256, 256)
    for difference, mask in zip(changed, planted.masks, strict=True):
        assert difference[mask].mean() > 20 * difference[~mask].mean()
    assert planted.facts["place"].tolist() == [*PLACES] * 3
    assert planted.facts.groupby("place")["distortion"].nunique().eq(3).all()  # all meet as often
    assert planted.facts["share"].between(0.05, 0.3).all()
    assert (plant({"a": pristine[0]}).images == plant({"a": pristine[0]}).images).all()


def test_places_are_what_they_are_called():
    rng, image = np.random.default_rng(0), np.full((64, 96, 3), 100, np.uint8)
    quarter = place_mask("quarter", image, rng)
    assert quarter.mean() == 0.25 and place_mask("whole", image, rng).all()
    image[:, 48:] = 200
    edges = place_mask("edges", image, rng)
    assert edges[:, 44:52].mean() == 1 and not edges[:, :24].any()
    with pytest.raises(InputError, match="place is 'corner', expected one of quarter, blob, edges"):
        place_mask("corner", image, rng)
    with pytest.raises(InputError, match="plant: 0 contents"):
        plant({})


def test_a_map_that_is_the_truth_finds_it_and_a_constant_one_is_at_chance(planted):
    truth = planted.masks.astype(np.float32)
    exact = truth.reshape(9, GRID, 256 // GRID, GRID, 256 // GRID).mean((2, 4))
    found = localisation(exact, planted.masks)
    assert found["auc"].min() > 0.999 and found["pointing"].min() == 1
    assert localisation(-exact, planted.masks)["auc"].max() < 0.001
    constant = localisation(baselines(planted.images)["baseline: constant"], planted.masks)
    assert constant["auc"].eq(0.5).all()
    np.testing.assert_allclose(constant["pointing"], planted.facts["share"], atol=0.03)
    random = localisation(np.random.default_rng(0).random((9, 16, 16)), planted.masks)
    assert random["auc"].mean() == pytest.approx(0.5, abs=0.1)


def test_local_contrast_finds_edges_without_a_network(planted):
    scores = localisation(baselines(planted.images)["baseline: local contrast"], planted.masks)
    sharp = (planted.facts["place"] == "edges") & (planted.facts["distortion"] != "blur")
    assert scores["auc"][sharp].min() > 0.8


def test_mixed_is_a_mean_where_the_weight_is_one_half():
    one, other = np.full((2, 2, 3), 10, np.uint8), np.full((2, 2, 3), 30, np.uint8)
    assert (mixed(one, other, np.array([[0.0, 1.0], [0.5, 0.25]]))[..., 0] == [[10, 30], [20, 15]]).all()
