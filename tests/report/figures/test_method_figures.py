import numpy as np
import pytest
import torch

from iqasuite.models.shifted_patches import ShiftedPatchTokens
from iqasuite.report import figures
from iqasuite.report.figures.method import _shifted


@pytest.mark.parametrize("shift", ["axes", "diagonal"])
def test_the_copies_are_those_that_the_network_sees(shift):
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    stem = ShiftedPatchTokens(8, 16, shift)
    fig = figures.shifted_patches(image, 16, stem.shifts, (1, 2))
    patches = stem.patches(torch.from_numpy(image).permute(2, 0, 1)[None].float())[0].view(2, 3, 5, 3, 16, 16)
    for number, (down, right) in enumerate(stem.shifts):
        part = _shifted(image, down, right)[16:, 32:]
        np.testing.assert_array_equal(patches[1, 2, number].permute(1, 2, 0).numpy(), part)
        np.testing.assert_array_equal(fig.axes[5 + number].images[0].get_array(), part)


def test_attention_weights_have_their_numbers():
    fig = figures.attention_weights({"plain": np.full((4, 4), 0.25), "without itself": (1 - np.eye(4)) / 3})
    texts = [text.get_text() for text in fig.axes[1].texts]
    assert texts.count("0.00") == 4 and texts.count("0.33") == 12
    assert fig.axes[-1].get_ylabel() == "attention weight"
