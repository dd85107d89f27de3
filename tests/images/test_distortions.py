import numpy as np
import pytest

from iqasuite.datasets import demo
from iqasuite.errors import InputError
from iqasuite.images.distortions.blur import gaussian_blur, resolution_loss
from iqasuite.images.distortions.compression import JPEG_CLASSES, jpeg, jpeg_class
from iqasuite.images.distortions.noise import white_noise
from iqasuite.images.distortions.registry import LEVELS


@pytest.fixture(scope="module")
def photograph():
    return demo.contents()["china-1"]


def error(a, b):
    return np.mean((a.astype(float) - b) ** 2)


def at(kind, image, strength):
    if kind == "noise":
        return white_noise(image, strength, np.random.default_rng(0))
    return {"blur": gaussian_blur, "resolution": resolution_loss}[kind](image, strength)


@pytest.mark.parametrize("kind", ["blur", "noise", "resolution"])
def test_each_level_is_worse(photograph, kind):
    images = [at(kind, photograph, strength) for strength in LEVELS[kind]]
    assert all(image.shape == photograph.shape and image.dtype == np.uint8 for image in images)
    assert (np.diff([error(image, photograph) for image in images]) > 0).all() and len(images) == 5


def test_jpeg_is_worse_with_each_class(photograph):
    errors = [error(jpeg(photograph, low), photograph) for low, _ in JPEG_CLASSES.values()]
    assert (np.diff(errors) < 0).all()


def test_blur_has_its_sigma():
    point = np.zeros((41, 41, 3), np.uint8)
    point[20, 20] = 255
    spread = gaussian_blur(np.repeat(point[20:21] * 0, 41, 0) + 0, 2.0)
    assert not spread.any()
    edge = np.zeros((9, 101, 3), np.uint8)
    edge[:, 51:] = 200
    slope = np.diff(gaussian_blur(edge, 4.0)[4, :, 0].astype(float))
    place = np.arange(len(slope))
    mean = (slope * place).sum() / slope.sum()
    assert np.sqrt((slope * (place - mean) ** 2).sum() / slope.sum()) == pytest.approx(4.0, rel=0.03)


def test_noise_has_its_sigma_and_repeats():
    gray = np.full((128, 128, 3), 128, np.uint8)
    noisy = white_noise(gray, 18.0, np.random.default_rng(1))
    assert (noisy.astype(float) - 128).std() == pytest.approx(18.0, rel=0.02)
    np.testing.assert_array_equal(noisy, white_noise(gray, 18.0, np.random.default_rng(1)))


def test_jpeg_classes_cover_2_to_100_once():
    labels = [jpeg_class(quality) for quality in range(2, 101)]
    assert np.bincount(labels).tolist() == [0, 9, 8, 7, 25, 50] and (np.diff(labels) >= 0).all()
    for quality in (0, 1, 101):
        with pytest.raises(InputError, match=f"JPEG quality {quality}: expected 2 to 100"):
            jpeg_class(quality)
