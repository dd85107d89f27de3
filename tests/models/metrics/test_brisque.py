"""BRISQUE's features against piq's, on photographs, and where they must not fail."""

import importlib

import numpy as np
import pytest
import torch
from piq.functional import imresize, rgb2yiq

from iqasuite.datasets import demo
from iqasuite.images.distortions.blur import gaussian_blur
from iqasuite.images.distortions.noise import white_noise
from iqasuite.models.metrics.brisque import brisque_features

# piq.brisque, as an attribute, is the function of that name.
peer = importlib.import_module("piq.brisque")


def piq_features(images: torch.Tensor) -> torch.Tensor:
    """What piq.brisque gives its support vector machine, before it scales it. Images in [0, 1]."""
    luma, features = torch.round(rgb2yiq(images * 255)[:, :1]), []
    for _ in range(2):
        features.append(peer._natural_scene_statistics(luma))
        luma = imresize(luma, sizes=(luma.shape[2] // 2, luma.shape[3] // 2))
    return torch.cat(features, dim=-1)


@pytest.fixture(scope="module")
def photographs() -> torch.Tensor:
    """uint8 (13, 3, 256, 256)."""
    return torch.from_numpy(np.stack(list(demo.contents().values()))).permute(0, 3, 1, 2)


def test_features_are_piqs(photographs):
    """Both in float64. Rounding decides the sign of coefficients in flat regions (here on one dark photograph) in piq,
    and its weights of the luma have three digits: hence the wider tolerance."""
    ours, theirs = (f(photographs.double() / 255) for f in (brisque_features, piq_features))
    shapes = [18 * scale + k for scale in (0, 1) for k in (0, 2, 6, 10, 14)]
    others = [k for k in range(36) if k not in shapes]
    difference = (ours - theirs).abs()
    assert difference[:, shapes].max() < 0.0035  # steps of .001
    assert difference[:, others].max() < 0.006
    elsewhere = np.delete(difference[:, others].numpy(), difference[:, others].amax(dim=1).argmax(), axis=0)
    assert elsewhere.max() < 5e-4
    assert (elsewhere.max(axis=0) < 0.02 * ours[:, others].std(dim=0).numpy()).all()  # images differ by much more


def test_single_precision_is_enough(photographs):
    difference = (brisque_features(photographs) - brisque_features(photographs.double() / 255)).abs()
    assert difference.max() < 0.0011  # a step of the shapes, less than that elsewhere
    assert difference.median() < 1e-6


def test_noise_and_blur_move_the_shape_in_opposite_directions(photographs):
    """Noise makes the coefficients' tails lighter, blur makes them heavier."""
    rng = np.random.default_rng(0)
    pristine = photographs.permute(0, 2, 3, 1).numpy()
    noisy = np.stack([white_noise(image, 30, rng) for image in pristine])
    blurred = np.stack([gaussian_blur(image, 2.6) for image in pristine])
    shape, noisy, blurred = (
        brisque_features(torch.from_numpy(x).permute(0, 3, 1, 2))[:, 0] for x in (pristine, noisy, blurred)
    )
    assert blurred.median() < shape.median() - 0.2 and noisy.median() > shape.median() + 0.2


def test_features_do_not_depend_on_the_batch(photographs):
    together = brisque_features(photographs[:4, :, :97, :131])
    alone = torch.cat([brisque_features(image[None, :, :97, :131]) for image in photographs[:4].flip(0)]).flip(0)
    assert together.shape == (4, 36) and torch.equal(together, alone)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 2), (7, 5), (64, 64)])
@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_flat_and_tiny_images_have_finite_features(size, level):
    assert brisque_features(torch.full((2, 3, *size), level, dtype=torch.uint8)).isfinite().all()


def test_one_level_in_a_flat_image_and_half_precision_are_finite():
    image = torch.zeros(1, 1, 40, 40, dtype=torch.uint8)
    image[..., 20, 20] = 1
    assert brisque_features(image).isfinite().all()
    assert brisque_features(torch.rand(1, 3, 40, 40).half()).isfinite().all()
