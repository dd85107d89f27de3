import numpy as np
import pytest

from iqasuite.errors import InputError
from iqasuite.explain.patches import patch_map
from iqasuite.images.patches import patch_boxes


def test_each_place_has_the_mean_of_the_patches_that_cover_it():
    height, width = 100, 76
    boxes = patch_boxes(height, width, 32, 0.5)
    values = np.random.default_rng(0).normal(size=len(boxes))
    found = patch_map(values, boxes, cell=1)
    expected = [
        [
            np.mean(
                [
                    v
                    for v, (top, left, bottom, right) in zip(values, boxes, strict=True)
                    if top <= y < bottom and left <= x < right
                ]
            )
            for x in range(width)
        ]
        for y in range(height)
    ]
    np.testing.assert_allclose(found, expected)
    np.testing.assert_allclose(patch_map(values, boxes, cell=4), found[2::4, 2::4])


def test_one_patch_is_everywhere_and_constants_stay():
    assert np.array_equal(patch_map(np.array([3.0]), np.array([[0, 0, 40, 24]])), np.full((5, 3), 3.0))
    boxes = patch_boxes(90, 70, 32, 0.25)
    np.testing.assert_allclose(patch_map(np.full(len(boxes), 0.7), boxes), 0.7)


def test_bad_input_is_named():
    with pytest.raises(InputError, match=r"values \(2,\) and boxes \(1, 4\)"):
        patch_map(np.zeros(2), np.zeros((1, 4), int))
