"""Each nameable feature rises, or falls, with the distortion it is named for."""

import numpy as np
import pytest
from skimage import data

from iqasuite.images.distortions.blur import gaussian_blur, resolution_loss
from iqasuite.images.distortions.compression import jpeg
from iqasuite.images.distortions.noise import white_noise
from iqasuite.images.nameable import NAMES, nameable_features


@pytest.fixture(scope="module")
def photograph():
    return np.ascontiguousarray(data.astronaut()[:256, :256])


@pytest.mark.parametrize(
    ("name", "sign", "distort"),
    [
        ("blur", 1, gaussian_blur),
        ("blockiness", 1, lambda image, strength: jpeg(image, int(30 / strength))),
        ("noise", 1, lambda image, strength: white_noise(image, 10 * strength, np.random.default_rng(0))),
        ("resolution", -1, resolution_loss),
        ("contrast", -1, lambda image, strength: (128 + (image - 128.0) / (1 + strength)).astype(np.uint8)),
    ],
)
def test_rises_with_its_distortion(photograph, name, sign, distort):
    ladder = [photograph, *(distort(photograph, strength) for strength in (2.0, 4.0))]
    values = [nameable_features(image)[NAMES.index(name)] for image in ladder]
    assert (np.diff(values) * sign > 0).all()


def test_a_constant_image_has_finite_features():
    assert np.isfinite(nameable_features(np.full((32, 24, 3), 90, np.uint8))).all()
