import numpy as np
import pytest
from PIL import Image

from iqasuite.datasets import demo
from iqasuite.datasets.planted import planted_recall
from iqasuite.errors import InputError


def test_copies_of_photographs_are_found_and_those_of_noise_that_changes_are_not(tmp_path):
    paths = []
    for content, pristine in demo.contents().items():
        paths.append(tmp_path / f"{content}.png")
        Image.fromarray(pristine).save(paths[-1])
    found = planted_recall(paths).set_index("kind")
    assert (found["n"] == 13).all() and (found["false"] == 0).all()
    assert (found.drop(index="cropped by 10 %")["found"] == 1).all() and found.loc["cropped by 10 %", "found"] > 0.8
    noise = tmp_path / "noise.png"  # a crop of noise lies between other cells: the audit has its limits
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(noise)
    lost = planted_recall([noise]).set_index("kind")
    assert lost.loc["brightened", "found"] == 1 and lost.loc["cropped by 10 %", "found"] == 0
    with pytest.raises(InputError, match="0 images"):
        planted_recall([])
