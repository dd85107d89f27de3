import numpy as np
import pytest
import torch
from skimage import color

from iqasuite.errors import InputError
from iqasuite.images.lightness import scaled_lightness

FACTORS = [0.1, 0.3, 0.7, 1.0, 1.2, 1.5]


@pytest.fixture(scope="module")
def images():
    """Random colours of full range, grays of all levels among them, uint8 (6, 3, 40, 44)."""
    pixels = np.random.default_rng(0).integers(0, 256, (len(FACTORS), 40, 44, 3), dtype=np.uint8)
    pixels[:, :6] = (np.arange(6 * 44) % 256).reshape(6, 44, 1)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


@pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB")
def test_it_is_what_scikit_image_makes_of_l_times_the_factor(images):
    found = scaled_lightness(images, FACTORS).permute(0, 2, 3, 1).numpy()
    for i, factor in enumerate(FACTORS):
        lab = color.rgb2lab(images[i].permute(1, 2, 0).numpy())
        lab[..., 0] *= factor
        expected = 255 * color.lab2rgb(lab)
        assert np.abs(found[i] - expected).max() <= 0.55  # rounded, and float32 against float64


def test_factor_1_changes_no_colour(images):
    assert torch.equal(scaled_lightness(images, [1.0] * len(images)), images)


def test_both_images_of_a_pair_get_the_pair_s_factor(images):
    pairs = torch.stack([images, images.flip(-1)], dim=1)
    together = scaled_lightness(pairs, FACTORS)
    assert torch.equal(together[:, 0], scaled_lightness(images, FACTORS))
    assert torch.equal(together[:, 1], together[:, 0].flip(-1))


def test_black_stays_black_and_0_is_gray_of_no_light(images):
    black = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    assert torch.equal(scaled_lightness(black, [1.5]), black)
    assert torch.equal(scaled_lightness(torch.full_like(black, 128), [0.0]), black)


@pytest.mark.parametrize(
    ("given", "factors", "word"),
    [
        (torch.zeros(2, 3, 4, 4), [1, 1], "uint8"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), [1], "one each"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), [-1], "one each"),
        (torch.zeros(1, 4, 4, 3, dtype=torch.uint8), [1], "expected uint8"),
    ],
)
def test_bad_input(given, factors, word):
    with pytest.raises(InputError, match=word):
        scaled_lightness(given, factors)
