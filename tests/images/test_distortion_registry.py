import sys

import numpy as np
import piq
import pytest
import torch

from iqasuite.datasets import demo
from iqasuite.errors import InputError
from iqasuite.images.distortions.blur import gaussian_blur
from iqasuite.images.distortions.noise import white_noise
from iqasuite.images.distortions.registry import ALL, DISTORTIONS, LEVELS, N_LEVELS, STILLS, distorted
from iqasuite.images.distortions.stills import still

TID_AND_KADID = {
    *("motion_blur", "lens_blur", "jpeg2000", "sparse_sampling", "jitter", "impulse_noise", "multiplicative_noise"),
    *("colour_noise", "correlated_noise", "high_frequency_noise", "denoising", "brightening", "darkening"),
    *("mean_shift", "contrast_loss", "quantisation", "colour_quantisation", "dithering", "colour_diffusion"),
    *("colour_cast", "desaturation", "chromatic_aberration", "sharpening", "patch_shift", "colour_blocks"),
    "pixelation",
}


@pytest.fixture(scope="module")
def photograph():
    return np.ascontiguousarray(demo.contents()["coffee-1"][100:244, 60:180])


def levels(kind, image, seed=0):
    return [ALL[kind](image, level, np.random.default_rng(seed)) for level in range(1, N_LEVELS + 1)]


def mean_squared_error(a, b):
    return np.mean((a.astype(float) - b) ** 2)


def vif(image, reference):
    x, y = (torch.from_numpy(i).permute(2, 0, 1)[None] / 255 for i in (image, reference))
    return piq.vif_p(x, y).item()


def test_the_kinds_of_the_databases_are_there_beside_the_first_four():
    assert set(DISTORTIONS) >= TID_AND_KADID | {"jpeg", "blur", "noise", "resolution"}
    assert list(LEVELS) == [*DISTORTIONS, *STILLS] and all(len(strengths) == N_LEVELS for strengths in LEVELS.values())


@pytest.mark.parametrize("kind", ALL)
def test_each_level_is_further_from_the_photograph_and_repeats(kind, photograph):
    before = photograph.copy()
    images = levels(kind, photograph)
    assert all(image.shape == photograph.shape and image.dtype == np.uint8 for image in images)
    errors = [mean_squared_error(image, photograph) for image in images]
    assert errors[0] > 0 and (np.diff(errors) > 0).all()
    assert all(np.array_equal(a, b) for a, b in zip(images, levels(kind, photograph), strict=True))
    np.testing.assert_array_equal(photograph, before)


@pytest.mark.parametrize("kind", sorted(set(DISTORTIONS) - {"contrast_gain", "oversaturation", "sharpening"}))
def test_the_strong_level_carries_less_of_the_photograph(kind, photograph):
    # By a metric that is no error: visual information fidelity, which rises where contrast does.
    mild, *_, strong = levels(kind, photograph)
    assert vif(strong, photograph) < vif(mild, photograph)


@pytest.mark.parametrize("kind", DISTORTIONS)
def test_odd_sizes_and_plain_images_come_through(kind):
    noise = np.random.default_rng(0).integers(0, 256, (33, 47, 3), dtype=np.uint8)
    one_channel = noise.copy()
    one_channel[..., 1] = 128
    plain = [np.full((16, 23, 3), value, np.uint8) for value in (0, 77, 255)]
    for image in (noise, one_channel, *plain, noise[:, :16]):
        for level in (1, N_LEVELS):
            made = DISTORTIONS[kind](image, level, np.random.default_rng(1))
            assert made.shape == image.shape and made.dtype == np.uint8


@pytest.mark.parametrize(
    "kind",
    [
        "blur",
        "motion_blur",
        "lens_blur",
        "ringing",
        "pixelation",
        "resolution",
        "jitter",
        "sharpening",
        "contrast_loss",
        "sparse_sampling",
        "patch_shift",
    ],
)
def test_what_moves_detail_only_leaves_a_plain_image_alone(kind):
    plain = np.full((32, 40, 3), (10, 128, 240), np.uint8)
    for image in levels(kind, plain):
        np.testing.assert_array_equal(image, plain)


def test_noises_have_their_strength():
    gray = np.full((128, 128, 3), 128, np.uint8)
    for kind in ("correlated_noise", "high_frequency_noise"):
        for level in (1, 2, 3):
            noise = DISTORTIONS[kind](gray, level, np.random.default_rng(0)).astype(float) - 128
            assert noise.std() == pytest.approx(LEVELS[kind][level - 1], rel=0.03)
    alike = [
        np.corrcoef(n[:, 1:].ravel(), n[:, :-1].ravel())[0, 1]
        for n in (
            DISTORTIONS[kind](gray, 3, np.random.default_rng(0)).astype(float) - 128
            for kind in ("correlated_noise", "noise", "high_frequency_noise")
        )
    ]
    assert alike[0] > 0.8 and abs(alike[1]) < 0.02 and alike[2] < -0.1
    salted = DISTORTIONS["impulse_noise"](gray, 5, np.random.default_rng(0))
    assert (salted != 128).mean() == pytest.approx(LEVELS["impulse_noise"][4], rel=0.05)
    assert set(np.unique(salted)) == {0, 128, 255}
    speckle = DISTORTIONS["multiplicative_noise"](gray, 3, np.random.default_rng(0)) / 128 - 1
    assert speckle.std() == pytest.approx(LEVELS["multiplicative_noise"][2], rel=0.03)


def test_colour_is_changed_without_luma_and_luma_without_colour(photograph):
    calm = (80 + photograph / 4).astype(np.uint8)  # nothing clips

    def luma(image):
        return image @ np.array([0.299, 0.587, 0.114])

    for kind in ("desaturation", "colour_diffusion", "colour_cast"):
        image = DISTORTIONS[kind](calm, 2, np.random.default_rng(0))
        assert np.abs(luma(image) - luma(calm)).max() < 1.5 and mean_squared_error(image, calm) > 1
    gray = DISTORTIONS["desaturation"](calm, 5, np.random.default_rng(0)).astype(int)
    assert np.ptp(gray, axis=2).max() <= 1
    shift = DISTORTIONS["mean_shift"](calm, 1, np.random.default_rng(0)).astype(int) - calm
    assert abs(shift[0, 0, 0]) == LEVELS["mean_shift"][0] and np.ptp(shift) == 0


def test_blurs_have_their_extent():
    point = np.zeros((65, 65, 3), np.uint8)
    point[28:37, 28:37] = 255  # a square, so that eight bits do
    for kind, extent in (("motion_blur", LEVELS["motion_blur"][4]), ("lens_blur", 2 * LEVELS["lens_blur"][4])):
        image = DISTORTIONS[kind](point, 5, np.random.default_rng(3))[..., 0].astype(float)
        assert image.sum() == pytest.approx(81 * 255, rel=0.02)
        place = np.argwhere(image > 3) - 32
        assert 2 * np.hypot(*place.T).max() == pytest.approx(extent + 9, abs=4.5)
    covariance = np.cov(np.argwhere(DISTORTIONS["motion_blur"](point, 5, np.random.default_rng(3))[..., 0] > 20).T)
    small, large = np.linalg.eigvalsh(covariance)
    assert large > 3 * small  # in one direction


def test_palettes_have_their_colours_and_levels_their_number(photograph):
    for kind in ("colour_quantisation", "dithering"):
        for image, colours in zip(levels(kind, photograph), LEVELS[kind], strict=True):
            assert len(np.unique(image.reshape(-1, 3), axis=0)) <= colours
    for image, number in zip(levels("quantisation", photograph), LEVELS["quantisation"], strict=True):
        assert len(np.unique(image)) <= number


def test_contrast_gain_is_as_steep_as_it_says():
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 16, 0).repeat(3, 2)
    for image, steepness in zip(levels("contrast_gain", ramp), LEVELS["contrast_gain"], strict=True):
        curve = image[0, :, 0].astype(float)
        assert (curve[137] - curve[118]) / 19 == pytest.approx(steepness, rel=0.05)
        assert curve[0] == 0 and curve[255] == 255


def test_the_first_four_are_those_of_the_demo(photograph):
    for level, sigma in enumerate(LEVELS["blur"], start=1):
        made = DISTORTIONS["blur"](photograph, level, np.random.default_rng(0))
        np.testing.assert_array_equal(made, gaussian_blur(photograph, sigma))
    noisy = white_noise(photograph, LEVELS["noise"][0], np.random.default_rng(5))
    np.testing.assert_array_equal(DISTORTIONS["noise"](photograph, 1, np.random.default_rng(5)), noisy)


def test_bad_input_is_named(photograph):
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="distortion 'fog': expected one of"):
        distorted("fog", photograph, 1, rng)
    with pytest.raises(InputError, match="blur: level 6, expected 1 to 5"):
        DISTORTIONS["blur"](photograph, 6, rng)
    for image in (photograph / 255, photograph[..., 0], photograph[:15]):
        with pytest.raises(InputError, match=r"blur: image .* expected uint8 \(H, W, 3\) of 16 pixels"):
            DISTORTIONS["blur"](image, 1, rng)


def test_a_codec_that_is_not_there_is_named(photograph, monkeypatch):
    from PIL import Image

    monkeypatch.delitem(Image.SAVE, "JPEG2000", raising=False)
    Image.init()
    Image.SAVE.pop("JPEG2000", None)
    try:
        with pytest.raises(InputError, match="JPEG2000: this Pillow cannot write it"):
            DISTORTIONS["jpeg2000"](photograph, 1, np.random.default_rng(0))
    finally:
        from PIL import Jpeg2KImagePlugin

        Image.register_save("JPEG2000", Jpeg2KImagePlugin._save)


@pytest.mark.parametrize("codec", ["h264", "h265", "av1"])
def test_stills_of_video_lose_more_the_smaller_they_are_coded_and_keep_odd_sizes(codec, photograph):
    odd = photograph[:131, :97]
    whole, half = (still(odd, 30, codec, factor) for factor in (1, 2))
    assert whole.shape == half.shape == odd.shape
    assert (
        mean_squared_error(whole, odd) < mean_squared_error(half, odd) < mean_squared_error(odd.mean((0, 1)), odd) / 2
    )


def test_a_still_of_a_small_image_and_of_an_unknown_codec(photograph):
    assert still(photograph[:20, :16], 30, "av1", 4).shape == (20, 16, 3)
    with pytest.raises(InputError, match=r"codec 'vp9': expected one of h264, h265, av1"):
        still(photograph, 30, "vp9")


def test_a_single_frame_of_x265_has_a_time_that_can_be_written(photograph):
    # Its decoding time was left unset, and whatever stood there was refused for some images.
    for top in range(0, 60, 6):
        for crf in (23, 47):
            still(photograph[top : top + 64, :64], crf, "h265", 1)


def test_without_the_package_of_the_codecs_the_error_says_what_to_install(photograph, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match="no package av; expected `pip install av`"):
        still(photograph, 30)
