"""The stream of encoded, upscaled photographs: the same for the same seed and step, targets true and in range."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from iqasuite.errors import InputError
from iqasuite.images.encoding_stream import EncodingStream


@pytest.fixture(scope="module")
def photograph(tmp_path_factory):
    """Noise as large as the smallest photograph that is taken: it has detail at every frequency."""
    path = tmp_path_factory.mktemp("photographs") / "noise.png"
    pixels = np.random.default_rng(0).integers(0, 256, (300, 320, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_batches_depend_on_seed_step_and_number_only(photograph):
    one, same, other = (EncodingStream([photograph], 48, seed=seed) for seed in (0, 0, 1))
    first, targets = one.batch(3, 5)
    assert first.shape == (3, 4, 3, 48, 48) and first.dtype == torch.uint8
    assert targets.shape == (3, 2) and targets.dtype == torch.float32
    again, again_targets = same.batch(3, 5)
    assert torch.equal(first, again) and torch.equal(targets, again_targets)
    assert not torch.equal(first, one.batch(3, 6)[0])
    assert not torch.equal(first, other.batch(3, 5)[0])
    assert len(one) == 1


def test_targets_lie_in_their_ranges(photograph):
    stream = EncodingStream([photograph], 48, factors=(2.0, 8.0))
    factor, psnr = stream.batch(80, 0)[1].T
    assert factor.min() >= math.log(2) and factor.max() <= math.log(8)
    assert abs(factor.mean() - math.log(4)) < 0.15  # log-uniform
    best = 10 * math.log10(255**2 / 0.6)
    assert psnr.min() > 5 and psnr.max() == pytest.approx(best)  # some are not encoded at all
    assert 0 < (psnr == psnr.max()).float().mean() < 0.3


def test_four_patches_are_neighbours_of_one_picture(photograph):
    """Across the seams the upscaled picture is as smooth as elsewhere, in the order left to right, top to bottom."""
    patches = EncodingStream([photograph], 48, factors=(6.0, 8.0)).batch(8, 0)[0].float()
    (a, b), (c, _) = patches.unflatten(1, (2, 2)).unbind(1)[0].unbind(1), patches.unflatten(1, (2, 2))[:, 1].unbind(1)
    seam_right = (a[..., -1] - b[..., 0]).abs().mean()
    seam_below = (a[..., -1, :] - c[..., 0, :]).abs().mean()
    inside = (a[..., 1:] - a[..., :-1]).abs().mean()
    elsewhere = (a[..., -1] - c[..., 0]).abs().mean()
    assert seam_right < 1.5 * inside and seam_below < 1.5 * inside < 0.5 * elsewhere


def test_photographs_that_cannot_be_used_are_named(tmp_path):
    small = tmp_path / "small.png"
    Image.new("RGB", (400, 287)).save(small)
    with pytest.raises(InputError, match="small.png: 400×287 pixels; expected 288"):
        EncodingStream([small])
    with pytest.raises(InputError, match="none given"):
        EncodingStream([])


def test_patches_that_no_photograph_could_fill_are_refused(photograph):
    with pytest.raises(InputError, match="patch 4000.*300"):
        EncodingStream([photograph], 4000)
