"""Many predictions in many resamples at once: against scipy on the repeated images, ties or none."""

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from iqasuite.evaluation import resampled
from iqasuite.evaluation.uncertainty import content_weights, drawn_contents


@pytest.mark.parametrize("n", [2, 31, 32, 33, 700])
@pytest.mark.parametrize("tied", [False, True])
def test_every_prediction_is_scipy_on_the_repeated_images(n, tied):
    rng = np.random.default_rng(n)
    target = rng.normal(size=n)
    predictions = target + rng.normal(size=(4, n))
    if tied:
        target, predictions[1:3] = np.round(target), np.round(predictions[1:3] * 2)
    weights = content_weights(np.arange(n) // 2, 25, seed=3)
    weights[0] = 1
    spearman, pearson = resampled.sroccs(predictions, target, weights), resampled.plccs(predictions, target, weights)
    for method, row in np.ndindex(4, 25):
        pair = [np.repeat(values, weights[row].astype(int)) for values in (predictions[method], target)]
        if min(np.ptp(values) for values in pair) == 0:
            assert np.isnan(spearman[method, row]) and np.isnan(pearson[method, row])
        else:
            assert spearman[method, row] == pytest.approx(spearmanr(*pair).statistic, abs=1e-6)
            assert pearson[method, row] == pytest.approx(pearsonr(*pair).statistic, abs=1e-6)


def test_blocks_and_threads_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    predictions, target = rng.normal(size=(3, 90)), rng.normal(size=90)
    weights = drawn_contents(90, 50)
    whole = resampled.sroccs(predictions, target, weights)
    monkeypatch.setattr(resampled, "_BLOCK", 300)  # three resamples a thread
    np.testing.assert_allclose(resampled.sroccs(predictions, target, weights), whole, rtol=0, atol=1e-12)


def test_what_is_not_defined_is_nan():
    target, weights = np.arange(6.0), np.ones((2, 6))
    weights[1] = 0  # none of these images in the resample
    predictions = np.array([np.full(6, 2.0), [0, 1, 2, 3, 4, np.nan], target])
    with np.errstate(invalid="ignore"):
        found = resampled.sroccs(predictions, target, weights)
    assert np.isnan(found[:2]).all() and np.isnan(found[2, 1])
    assert found[2, 0] == pytest.approx(1)
