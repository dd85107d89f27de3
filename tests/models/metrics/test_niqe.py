"""NIQE against its published behaviour, a direct computation and the Kodak photographs."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from scipy.special import gamma
from scipy.stats import spearmanr

from iqasuite import datasets
from iqasuite.datasets import demo
from iqasuite.errors import InputError
from iqasuite.images.distortions.blur import gaussian_blur
from iqasuite.images.distortions.compression import jpeg
from iqasuite.images.distortions.noise import white_noise
from iqasuite.images.loading import read_image
from iqasuite.images.photographs import photograph
from iqasuite.models.metrics.niqe import PUBLISHED, NiqeModel, niqe_features


def tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)


@pytest.fixture(scope="module")
def published(real_weights) -> NiqeModel:
    return NiqeModel.from_file(real_weights(PUBLISHED))


@pytest.fixture(scope="module")
def kodak(kodak_folder) -> list[np.ndarray]:
    return [read_image(path) for path in sorted(kodak_folder.glob("*.png"))]


@pytest.fixture(scope="module")
def fitted() -> NiqeModel:
    """Of the demo's photographs, each taken twice, half a patch apart, as there are few of them."""
    photographs = [tensor(read_image(photograph(name))) for name in demo.PHOTOGRAPHS]
    return NiqeModel.fit([*photographs, *(image[:, 48:, 48:] for image in photographs)])


def test_patches_lie_side_by_side_and_are_described_alone():
    image = torch.randint(0, 256, (3, 200, 310), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    features = niqe_features(image)
    assert features.shape == (2 * 3, 36) and features.isfinite().all()
    # What lies below and to the right of whole patches is not looked at; a change in one patch stays in it.
    image[:, 192:], image[:, :, 288:] = 0, 255
    assert torch.equal(niqe_features(image), features)
    image[:, 130:150, 30:60] = 0
    changed = (niqe_features(image) != features).any(dim=1)
    assert changed.tolist() == [False, False, False, True, False, False]


def direct_features(gray: np.ndarray) -> list[float]:
    """The 36 features of one 96×96 patch, written as the paper goes, without speed."""
    window = np.exp(-(np.arange(-3, 4) ** 2) / (2 * (7 / 6) ** 2))
    window = np.outer(window, window) / window.sum() ** 2
    grid = np.arange(0.2, 10.0005, 0.001)
    ratios = gamma(2 / grid) ** 2 / (gamma(1 / grid) * gamma(3 / grid))

    def fit(x: np.ndarray) -> tuple[float, float, float]:
        left, right = np.sqrt(np.mean(x[x < 0] ** 2)), np.sqrt(np.mean(x[x > 0] ** 2))
        g = left / right
        ratio = np.mean(np.abs(x)) ** 2 / np.mean(x**2) * (g**3 + 1) * (g + 1) / (g**2 + 1) ** 2
        alpha = grid[np.argmin((ratios - ratio) ** 2)]
        return alpha, *(np.array([left, right]) * np.sqrt(gamma(1 / alpha) / gamma(3 / alpha)))

    features, x = [], gray.astype(np.float64)
    for _ in range(2):
        mean = ndimage.correlate(x, window, mode="nearest")
        std = np.sqrt(np.abs(ndimage.correlate(x**2, window, mode="nearest") - mean**2))
        coefficients = (x - mean) / (std + 1)
        alpha, left, right = fit(coefficients)
        features += [alpha, (left + right) / 2]
        for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
            alpha, left, right = fit(coefficients * np.roll(coefficients, shift, axis=(0, 1)))
            features += [alpha, (right - left) * gamma(2 / alpha) / gamma(1 / alpha), left, right]
        whole = Image.fromarray(np.pad(x, 8, mode="symmetric").astype(np.float32))
        x = np.asarray(whole.resize((56, 56), Image.Resampling.BICUBIC))[4:-4, 4:-4].astype(np.float64)
    return features


def test_features_are_those_of_the_paper():
    pixels = read_image(photograph("chelsea"))[100:196, 100:196, 1:2]
    assert niqe_features(tensor(pixels))[0].tolist() == pytest.approx(direct_features(pixels[..., 0]), abs=0.0015)


def test_score_is_the_distance_of_two_gaussians(fitted):
    image = tensor(demo.contents()["coffee-1"])
    features = niqe_features(image).double().numpy()
    difference = features.mean(axis=0) - fitted.mean.numpy()
    pooled = (np.cov(features, rowvar=False) + fitted.covariance.numpy()) / 2
    assert fitted.score(image) == pytest.approx(np.sqrt(difference @ np.linalg.solve(pooled, difference)), rel=1e-6)


def test_flat_patches_are_left_out_and_flat_images_have_no_score(fitted):
    image = torch.randint(0, 256, (3, 192, 192), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    image[:, :96, :96] = 255
    assert niqe_features(image).shape == (3, 36)
    assert np.isfinite(fitted.score(image)) and np.isfinite(fitted.score(image[:, 96:, 96:]))  # also of one patch
    assert np.isnan(fitted.score(torch.full((1, 100, 100), 77, dtype=torch.uint8)))


def test_strong_distortions_score_worse_with_a_model_of_seven_photographs(fitted):
    rng = np.random.default_rng(0)
    for name in ("astronaut", "chelsea", "coffee"):
        pixels = read_image(photograph(name))
        spoiled = (
            jpeg(pixels, 5),
            gaussian_blur(pixels, 4),
            white_noise(pixels, 50, rng),
        )
        assert min(fitted.score(tensor(image)) for image in spoiled) > fitted.score(tensor(pixels))


def test_fit_keeps_the_sharp_patches_only():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (96, 96 * 40, 3), dtype=np.uint8)
    soft = (noise // 8 + 100).astype(np.uint8)  # an eighth of the local deviation
    alone = NiqeModel.fit([tensor(noise)])
    both = NiqeModel.fit([tensor(np.concatenate([noise, soft]))])
    # The patches touch, so that the window of the border pixels sees the other half.
    torch.testing.assert_close(both.mean, alone.mean, atol=0.02, rtol=0.02)
    with pytest.raises(InputError, match="3 sharp patches; expected more than 36"):
        NiqeModel.fit([tensor(noise[:, : 96 * 3])])


def test_models_are_kept_and_other_files_refused(tmp_path, fitted):
    kept = NiqeModel.from_file(fitted.save(tmp_path / "pristine.safetensors"))
    assert torch.equal(kept.mean, fitted.mean) and torch.equal(kept.covariance, fitted.covariance)
    np.savez(tmp_path / "own.npz", mean=fitted.mean.numpy(), covariance=fitted.covariance.numpy())
    assert torch.equal(NiqeModel.from_file(tmp_path / "own.npz").covariance, fitted.covariance)
    np.savez(tmp_path / "short.npz", mean=np.zeros(5))
    np.savez(tmp_path / "nan.npz", mean=np.full(36, np.nan), covariance=np.eye(36))
    np.savez(tmp_path / "object.npz", mean=np.array([{}], dtype=object))
    (tmp_path / "text.npz").write_text("text")
    (tmp_path / "text.safetensors").write_text("text")
    np.save(tmp_path / "array.npy", np.zeros(3))
    for name in ("short.npz", "nan.npz", "object.npz", "text.npz", "text.safetensors", "array.npy", "absent.npz"):
        with pytest.raises(InputError, match=name):
            NiqeModel.from_file(tmp_path / name)


@pytest.mark.parametrize("shape", [(3, 95, 200), (200, 200), (2, 100, 100), (1, 3, 100, 100)])
def test_other_images_are_refused(shape, fitted):
    with pytest.raises(InputError, match="shape"):
        fitted.score(torch.zeros(shape))


def test_missing_published_model_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("IQASUITE_WEIGHTS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=PUBLISHED):
        NiqeModel.published()


def test_published_model_on_kodak(published, kodak):
    """Pristine photographs score about 2 to 5, and each strong distortion worsens each."""
    rng = np.random.default_rng(0)
    pristine = np.array([published.score(tensor(image)) for image in kodak])
    assert 2 < np.median(pristine) < 4 and pristine.max() < 6
    for spoil in (
        lambda image: jpeg(image, 10),
        lambda image: gaussian_blur(image, 2.6),
        lambda image: white_noise(image, 30, rng),
    ):
        assert all(published.score(tensor(spoil(kodak[k]))) > pristine[k] for k in range(0, len(kodak), 3))


def test_model_of_kodak_is_near_the_published_one(published, kodak):
    """Other photographs, the same statistics of natural scenes."""
    own = NiqeModel.fit(map(tensor, kodak))
    deviation = published.covariance.diagonal().sqrt()
    assert ((own.mean - published.mean).abs() / deviation).max() < 1


def test_published_model_on_live_challenge(published, real_data):
    """Published: SROCC of .39 to .45 over all 1,162 images."""
    data = datasets.load("live_challenge", real_data("clive"), missing="drop")
    images = data.images.iloc[::3]  # all 627 that can be had: .422
    scores = [published.score(tensor(read_image(data.path(image)))) for image in images["image"]]
    assert spearmanr(-np.array(scores), images["mos"])[0] == pytest.approx(0.42, abs=0.06)
