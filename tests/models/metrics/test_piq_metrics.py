import numpy as np
import piq
import pytest
import torch

from iqasuite.datasets import demo
from iqasuite.errors import InputError
from iqasuite.images.distortions.blur import gaussian_blur
from iqasuite.images.distortions.noise import white_noise
from iqasuite.models.metrics import piq_metrics
from iqasuite.models.metrics.piq_metrics import METRICS, qualities, quality, score


def as_batch(*images):
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def pairs_of():
    """Seven pairs of a photograph's part as small as a metric can take, at least 64 pixels a side."""
    sides = {name: max(64, METRICS[name].smallest) for name in METRICS}
    made = {side: versions(side) for side in set(sides.values())}
    return {name: made[side] for name, side in sides.items()}


@pytest.fixture
def pairs(pairs_of):
    return pairs_of["psnr"]


def versions(side):
    photograph = demo.contents()["china-1"][60 : 60 + side, 60 : 60 + side]
    blurred = [gaussian_blur(photograph, sigma) for sigma in (0.7, 1.5, 4)]
    noisy = [white_noise(photograph, sigma, np.random.default_rng(0)) for sigma in (5, 20, 60)]
    return as_batch(*[photograph] * 7), as_batch(photograph, *blurred, *noisy)


@pytest.mark.parametrize("name", METRICS)
def test_higher_is_better_after_the_sign_and_identical_is_best(name, pairs_of):
    pairs = pairs_of[name]
    values = quality(name, *pairs)
    assert values.shape == (7,) and values.dtype == torch.float32
    blur, noise = values[[0, 1, 2, 3]], values[[0, 4, 5, 6]]
    assert (blur.diff() < 0).all() and (noise.diff() < 0).all()
    assert values[0] == METRICS[name].sign * METRICS[name].identical
    torch.testing.assert_close(score(name, *pairs), METRICS[name].sign * values)


@pytest.mark.parametrize("name", METRICS)
def test_the_identical_value_is_what_the_formula_gives_and_batches_do_not_mix(name, pairs_of):
    pairs = pairs_of[name]
    reference, distorted = (x.float() / 255 for x in pairs)
    formula = METRICS[name].function(reference[:1], reference[:1], data_range=1.0, reduction="none")
    assert formula.item() == pytest.approx(METRICS[name].identical, abs=2e-3)
    together = score(name, *pairs)
    for i in (1, 6):
        alone = METRICS[name].function(distorted[i : i + 1], reference[i : i + 1], data_range=1.0, reduction="none")
        assert together[i].item() == pytest.approx(alone.item(), abs=1e-4)


def test_psnr_and_ssim_have_known_values():
    gray = torch.full((1, 3, 32, 32), 100, dtype=torch.uint8)
    assert score("psnr", gray, gray + 10).item() == pytest.approx(20 * np.log10(25.5), abs=1e-3)
    a, b = 100 / 255, 110 / 255  # without structure only the luminance term is left
    expected = (2 * a * b + 0.01**2) / (a * a + b * b + 0.01**2)
    assert score("ssim", gray, gray + 10).item() == pytest.approx(expected, abs=5e-4)  # float32


@pytest.mark.parametrize("name", METRICS)
def test_constant_images_give_numbers(name):
    side = max(32, METRICS[name].smallest)
    plain = torch.stack([torch.full((3, side, side), v, dtype=torch.uint8) for v in (0, 77, 128, 255)])
    for shift in range(4):
        found = score(name, plain, plain.roll(shift, dims=0))
        assert torch.isfinite(found).all()
        if shift == 0:
            assert (found == METRICS[name].identical).all()
    noise = torch.randint(0, 256, plain.shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    assert torch.isfinite(score(name, plain, noise)).all() and torch.isfinite(score(name, noise, plain)).all()


def test_iw_ssim_without_information_is_ms_ssim_and_spoils_no_neighbour(pairs_of):
    reference, distorted = (x.clone() for x in pairs_of["iw_ssim"])
    expected = score("iw_ssim", reference[1:3], distorted[1:3])
    reference[0], distorted[0] = 60, 90
    found = score("iw_ssim", reference[:3], distorted[:3])
    torch.testing.assert_close(found[1:], expected, atol=1e-5, rtol=0)
    assert found[0] == score("ms_ssim", reference[:1], distorted[:1])[0]


@pytest.mark.parametrize("name", METRICS)
def test_the_smallest_side_works_and_one_less_is_refused(name):
    side = METRICS[name].smallest
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(1, 3, side, side + 3, generator=generator) for _ in range(2))
    assert torch.isfinite(score(name, a, b)).all()
    if side > 1:
        found = f"{name}: images of {side + 3}×{side - 1} pixels; expected {side} or more"
        with pytest.raises(InputError, match=found):
            score(name, a[:, :, 1:], b[:, :, 1:])


def test_bad_input_is_named(pairs):
    reference, distorted = pairs
    with pytest.raises(InputError, match="metric 'lpips': expected one of psnr"):
        score("lpips", reference, distorted)
    with pytest.raises(InputError, match="metric 'lpips': expected"):
        quality("lpips", reference, distorted)
    with pytest.raises(InputError, match="metric 'dists': expected some of"):
        qualities(["psnr", "dists"])
    for wrong in (distorted[:3], distorted[..., 1:], distorted[:, :1]):
        with pytest.raises(InputError, match=r"psnr: reference .* distorted .*; expected the same \(B, 3, H, W\)"):
            score("psnr", reference, wrong)
    with pytest.raises(InputError, match=r"psnr: reference has values 0…25\d; expected \[0, 1\] or uint8"):
        score("psnr", reference.float(), distorted)
    with pytest.raises(InputError, match="psnr: distorted has values nan"):
        score("psnr", reference, torch.full_like(reference, torch.nan, dtype=torch.float32))


def test_every_metric_of_piq_that_needs_no_download_is_here():
    assert {m.function for m in METRICS.values()} == {
        *(piq.psnr, piq.ssim, piq.multi_scale_ssim, piq.information_weighted_ssim, piq.vif_p, piq.fsim, piq.srsim),
        *(piq.gmsd, piq.multi_scale_gmsd, piq.mdsi, piq.haarpsi, piq.vsi, piq.dss),
    }
    assert set(piq_metrics.qualities()) == set(METRICS)
