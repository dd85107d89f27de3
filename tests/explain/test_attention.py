"""Attention maps: sums, places and scales that must hold whatever the network has learned."""

import numpy as np
import pytest
import torch

from iqasuite.errors import InputError
from iqasuite.explain import attention
from iqasuite.inference.predictor import enlarged
from iqasuite.models import vit_iqa

GRID = (3, 4)


@pytest.fixture
def attn():
    torch.manual_seed(0)
    return torch.randn(2, 5, 6, 13, 13).softmax(-1)


def focus(attn, grid, layer=-1):
    return attention.focus_layer(attention.layer_head_maps(attn, grid), layer)


def test_focus_map_is_the_class_tokens_row(attn):
    maps = focus(attn, GRID)
    assert maps.shape == (2, 3, 4) and maps.dtype == np.float32
    np.testing.assert_allclose(maps.sum((1, 2)), 1 - attn[:, -1, :, 0, 0].mean(1), atol=1e-6)
    assert maps[1, 2, 3] == pytest.approx(float(attn[1, -1, :, 0, 12].mean()))  # last token: bottom right
    assert maps[0, 0, 1] == pytest.approx(float(attn[0, -1, :, 0, 2].mean()))
    np.testing.assert_array_equal(focus(attn, GRID, layer=4), maps)
    assert not np.allclose(focus(attn, GRID, layer=0), maps)
    assert attention.layer_head_maps(attn[0], GRID).shape == (5, 6, 3, 4)


def test_tokens_of_several_scales_are_added():
    row = torch.full((1, 1, 1, 13, 13), 0.0)
    row[..., 0, 1:7] = 0.1  # scale 1: six places
    row[..., 0, 7:13] = 0.05  # scale 2
    np.testing.assert_allclose(focus(row, (2, 3)), np.full((1, 2, 3), 0.15), atol=1e-7)


def test_wrong_grid_or_layer_is_said(attn):
    with pytest.raises(ValueError, match="over a grid of 5×5"):
        focus(attn, (5, 5))
    with pytest.raises(InputError, match="layer=5: expected -5 to 4"):
        focus(attn, GRID, layer=5)


def test_upsampling_keeps_range_mean_and_orientation():
    maps = np.random.default_rng(0).random((2, 3, 4, 4)).astype(np.float32)
    large = enlarged(maps, (64, 64))
    assert large.shape == (2, 3, 64, 64)
    assert large.max() <= maps.max() + 1e-6 and large.min() >= maps.min() - 1e-6
    corner = np.zeros((2, 2), np.float32)
    corner[0, 1] = 1
    assert enlarged(corner, (8, 6))[0, -1] == 1 and enlarged(corner, (8, 6))[-1, 0] == 0


def test_minmax_of_a_constant_is_zero():
    maps = np.stack([np.arange(6.0).reshape(2, 3), np.full((2, 3), 0.4)])
    stretched = attention.minmax(maps)
    assert stretched[0].min() == 0 and stretched[0].max() == 1 and not stretched[1].any()


def test_people_are_told_from_noise():
    """Maps of observers that differ by a known share, and trainings that add noise of a known size."""
    rng = np.random.default_rng(0)
    even, of_people = np.full((1, 1, 1, 4, 4), 1 / 16), rng.normal(0, 0.02, (1, 3, 1, 4, 4))
    alike = even + rng.normal(0, 0.01, (2, 3, 40, 4, 4))
    between, within = attention.people_and_noise(alike)
    assert between.shape == within.shape == (40,)
    assert between.mean() == pytest.approx(within.mean(), rel=0.03)  # nothing but noise
    assert within.mean() == pytest.approx(16 * 0.01 * 2 / np.sqrt(np.pi), rel=0.05)  # of two normal numbers
    between, within = attention.people_and_noise(alike + of_people)
    assert between.mean() > 1.5 * within.mean()
    with pytest.raises(ValueError, match="maps of 1 trainings and 3 AIOs"):
        attention.people_and_noise(alike[:1])


def test_images_are_ranked_by_mean_pairwise_difference():
    maps = np.random.default_rng(0).random((3, 5, 2, 2))
    maps[:, 3] = 0.25  # all agree on image 3
    maps[0, 1], maps[1:, 1] = [[1, 0], [0, 0]], [[0, 0], [0, 1]]
    found = attention.rank_by_disagreement(maps, list("abcde"))
    assert found["image"].iloc[-1] == "d" and found["difference"].iloc[-1] == 0
    pairs = [np.abs(maps[i, 1] - maps[j, 1]).sum() for i in range(3) for j in range(i)]
    assert found.set_index("image").loc["b", "difference"] == pytest.approx(np.mean(pairs))
    with pytest.raises(ValueError, match="expected ≥ 2 AIOs"):
        attention.rank_by_disagreement(maps[:1])


def test_maps_of_a_real_network():
    torch.manual_seed(0)
    model = vit_iqa.ViTIQA(image_size=64, trunk={"size": "tiny"}).eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        _, attn = model.attention(x)
    maps = focus(attn, model.grid(x))
    assert maps.shape[1:] == model.grid(x) and (maps.sum((1, 2)) <= 1 + 1e-5).all() and (maps >= 0).all()
