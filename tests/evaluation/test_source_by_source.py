"""Photograph by photograph: known correlations, and the smallest p that few photographs allow."""

import numpy as np
import pandas as pd
import pytest

from iqasuite.errors import InputError
from iqasuite.evaluation.source_by_source import source_scores, source_test
from iqasuite.inference.predictions import predictions_frame

SOURCES = ("a", "b", "c", "d")
IMAGES = [f"{source}{i}" for source in SOURCES for i in range(5)]
SOURCE = pd.Series({image: image[0] for image in IMAGES})
MOS = np.tile(np.arange(5.0), 4)


def frame(model, scores, seed=0):
    return predictions_frame("set", model, "corrected", seed, 0, "test", "", IMAGES, MOS, predicted=scores)


@pytest.fixture
def three():
    swapped = MOS.copy()
    swapped[:5] = MOS[:5][::-1]  # photograph a the wrong way round
    worse = np.concatenate([np.roll(MOS[:5], 1 + i % 2) for i in range(4)])
    return pd.concat([frame("right", MOS), frame("right", swapped, 1), frame("worse", worse)])


def test_each_photograph_has_its_own_correlation_averaged_over_seeds(three):
    table = source_scores(three, SOURCE).set_index(["model", "source"])["srocc"]
    assert table["right", "a"] == 0 and table["right", "b"] == 1  # 1 and −1 averaged
    shifted = pd.Series(np.roll(np.arange(5), 1)).corr(pd.Series(range(5)), method="spearman")
    assert table["worse", "a"] == pytest.approx(shifted)
    assert set(source_scores(three, SOURCE).query("source == 'all'")["n"]) == {20}


def test_a_constant_photograph_has_no_correlation():
    scores = MOS.copy()
    scores[:5] = 1.0
    table = source_scores(frame("flat", scores), SOURCE).set_index("source")["srocc"]
    assert np.isnan(table["a"]) and table["b"] == 1
    collapsed = pd.concat([frame("one thing", np.ones(20)), frame("right", MOS)])
    found = source_test(collapsed, SOURCE, "one thing", "right")
    assert found["n_sources"] == 0 and np.isnan(found["p"])  # and not 0, which would be as sure as can be


def test_four_photographs_cannot_say_more_than_an_eighth(three):
    found = source_test(three[three["seed"] == 0], SOURCE, "right", "worse")
    assert found["better_on"] == 4 and found["n_sources"] == 4 and found["within"] > 0
    assert found["p"] == pytest.approx(2 / 2**4)
    assert source_test(three, SOURCE, "worse", "right")["difference"] < 0
    same = source_test(pd.concat([frame("x", MOS), frame("y", MOS * 2)]), SOURCE, "x", "y")
    assert same["p"] == 1 and same["better_on"] == 2 and same["difference"] == 0


def test_what_is_missing_is_named(three):
    with pytest.raises(InputError, match="'nobody': no predictions"):
        source_test(three, SOURCE, "right", "nobody")
    with pytest.raises(InputError, match="'a0' has no source"):
        source_scores(three, SOURCE.drop("a0"))
    with pytest.raises(InputError, match="0 test rows"):
        source_scores(three.assign(part="val"), SOURCE)
