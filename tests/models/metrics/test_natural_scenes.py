"""Distributions recovered from simulated samples, and pixel operations against slow, obvious ones."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage, stats
from scipy.special import gamma

from iqasuite.errors import InputError
from iqasuite.models.metrics.natural_scenes import (
    aggd_mean,
    aggd_scale,
    fit_aggd,
    fit_ggd,
    half_size,
    luminance,
    mscn,
    neighbour_products,
)

N = 400_000


@pytest.mark.parametrize("alpha", [0.5, 0.8, 1.0, 1.7, 2.0, 3.0, 5.0])
def test_shape_and_deviation_of_a_generalised_gaussian_are_recovered(alpha):
    distribution = stats.gennorm(alpha, scale=3.0)
    samples = torch.from_numpy(distribution.rvs(N, random_state=0))
    found, std = fit_ggd(samples)
    assert found.item() == pytest.approx(alpha, rel=0.02)
    assert std.item() == pytest.approx(distribution.std(), rel=0.01)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize(("left", "right"), [(1.0, 1.0), (0.3, 1.2), (2.0, 0.5)])
def test_an_asymmetric_one_is_recovered_with_its_mean(alpha, left, right):
    rng = np.random.default_rng(1)
    size = (rng.gamma(1 / alpha, size=N)) ** (1 / alpha)  # |x| / β of a generalised Gaussian
    below = rng.random(N) < left / (left + right)
    samples = torch.from_numpy(np.where(below, -left * size, right * size))
    found, std_left, std_right = fit_aggd(samples)
    per_scale = np.sqrt(gamma(3 / alpha) / gamma(1 / alpha))
    assert found.item() == pytest.approx(alpha, rel=0.04)
    assert (std_left.item(), std_right.item()) == pytest.approx((left * per_scale, right * per_scale), rel=0.02)
    assert aggd_scale(found).item() == pytest.approx(1 / per_scale, rel=0.04)
    assert aggd_mean(found, std_left, std_right).item() == pytest.approx(samples.mean().item(), rel=0.02, abs=0.02)


def test_fits_are_the_search_over_the_grid_of_the_authors():
    rng = np.random.default_rng(2)
    samples = rng.normal(size=(40, 500)) * rng.uniform(0, 2, (40, 500)) ** rng.uniform(0, 3, (40, 1))
    samples[:, :200] = np.abs(samples[:, :200])
    grid = np.arange(0.2, 10.0005, 0.001)
    ratios = gamma(2 / grid) ** 2 / (gamma(1 / grid) * gamma(3 / grid))
    found, left, right = fit_aggd(torch.from_numpy(samples))
    for row, a, l_, r_ in zip(samples, found, left, right, strict=True):
        ls, rs = np.sqrt(np.mean(row[row < 0] ** 2)), np.sqrt(np.mean(row[row > 0] ** 2))
        g = ls / rs
        target = np.mean(np.abs(row)) ** 2 / np.mean(row**2) * (g**3 + 1) * (g + 1) / (g**2 + 1) ** 2
        assert a.item() == pytest.approx(grid[np.abs(ratios - target).argmin()], abs=1e-9)
        assert (l_.item(), r_.item()) == pytest.approx((ls, rs))


def test_samples_without_variation_or_on_one_side_give_finite_parameters():
    x = torch.stack([torch.zeros(50), torch.linspace(0, 1, 50), -torch.linspace(0, 1, 50)])
    alpha, left, right = fit_aggd(x)
    assert all(values.isfinite().all() for values in (alpha, left, right, aggd_mean(alpha, left, right), *fit_ggd(x)))
    assert (left[:2] == 0).all() and (right[[0, 2]] == 0).all()
    assert left[2] == right[1] > 0 and alpha[1] == alpha[2]


@pytest.mark.parametrize(("border", "mode"), [("constant", "constant"), ("replicate", "nearest")])
def test_coefficients_are_those_of_a_gaussian_window(border, mode):
    x = np.random.default_rng(3).integers(0, 256, (23, 31)).astype(float)
    window = np.exp(-(np.arange(-3, 4) ** 2) / (2 * (7 / 6) ** 2))
    window = np.outer(window, window) / window.sum() ** 2
    mean = ndimage.correlate(x, window, mode=mode)
    std = np.sqrt(np.abs(ndimage.correlate(x * x, window, mode=mode) - mean**2))
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 1e-4)):
        found, found_std = mscn(torch.from_numpy(x).to(dtype)[None, None], border)
        np.testing.assert_allclose(found[0, 0], (x - mean) / (std + 1), atol=tolerance)
        np.testing.assert_allclose(found_std[0, 0], std, atol=tolerance * 100)


def test_flat_regions_have_coefficients_of_exactly_zero():
    for level in range(256):
        x = torch.full((1, 1, 12, 12), float(level))
        assert (mscn(x, "replicate")[0] == 0).all()
        assert (mscn(half_size(x), "replicate")[0] == 0).all()
    x[..., 6, 6] -= 1  # one gray level is seen in the whole window
    assert torch.count_nonzero(mscn(x, "replicate")[0]) == 49


@pytest.mark.parametrize("size", [(20, 30), (21, 33), (1, 1), (2, 3)])
def test_half_size_is_an_antialiased_bicubic_with_mirrored_borders(size):
    """Pillow has the same filter and leaves out what lies beyond the border: the images are mirrored by hand."""
    x = np.random.default_rng(4).uniform(0, 255, size).astype(np.float32)
    whole = np.pad(x, ((8, 8 + size[0] % 2), (8, 8 + size[1] % 2)), mode="symmetric")
    picture = Image.fromarray(whole).resize((whole.shape[1] // 2, whole.shape[0] // 2), Image.Resampling.BICUBIC)
    expected = np.asarray(picture)[4 : 4 + -(-size[0] // 2), 4 : 4 + -(-size[1] // 2)]
    np.testing.assert_allclose(half_size(torch.from_numpy(x)[None, None])[0, 0], expected, atol=1e-3)


def test_neighbours_are_those_of_circshift():
    x = np.random.default_rng(5).normal(size=(2, 5, 6))
    found = torch.stack(list(neighbour_products(torch.from_numpy(x)))).numpy()
    shifts = ((0, 1), (1, 0), (1, 1), (-1, 1))
    np.testing.assert_array_equal(found, [x * np.roll(x, shift, axis=(1, 2)) for shift in shifts])


def test_luminance_is_the_same_of_all_types_and_of_gray():
    pixels = torch.randint(0, 256, (2, 3, 9, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = luminance(pixels)
    assert (expected == expected.round()).all() and expected.dtype == torch.float32
    assert (luminance(pixels.float() / 255) == expected).all() and (luminance(pixels.double() / 255) == expected).all()
    gray = pixels[:, :1]
    assert (luminance(gray) == gray).all() and (luminance(gray.expand(-1, 3, -1, -1)) == gray).all()
    by_hand = (pixels * torch.tensor([0.298936, 0.587043, 0.114021], dtype=torch.double).view(3, 1, 1)).sum(1)
    assert (expected[:, 0] - by_hand).abs().max() <= 0.5 + 1e-4


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(3, 8, 8), "shape"),
        (torch.zeros(1, 2, 8, 8), "shape"),
        (torch.zeros(1, 3, 0, 8), "not empty"),
        (torch.full((1, 3, 8, 8), 255.0), "255…255"),
        (torch.full((1, 3, 8, 8), torch.nan), "nan"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.int64), "int64"),
    ],
)
def test_other_input_is_refused(images, message):
    with pytest.raises(InputError, match=message):
        luminance(images)
