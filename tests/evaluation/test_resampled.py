"""Many predictions in many resamples at once: against scipy on the repeated images, ties or none."""

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from iqasuite.evaluation import metrics, resampled
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
        if n < 3 or min(np.ptp(values) for values in pair) == 0:
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


def odd_pairs(rng):
    """Predictions and targets of twelve images that are hard on a metric, by what is odd about them."""
    x, mos = rng.normal(size=12), rng.uniform(1, 5, 12)
    one = np.arange(12) == 4
    return {
        "plain": (x, mos),
        "nan": (np.where(one, np.nan, x), mos),
        "inf": (np.where(one, np.inf, x), mos),
        "minus inf in the target": (x, np.where(one, -np.inf, mos)),
        "huge": (x * 1e300, mos),
        "huge target": (x, mos * 1e300),
        "denormal": (x * 1e-310, mos),
        "one huge": (np.where(one, 1e300, x), mos),
        "float32": (x.astype(np.float32) * np.float32(1e30), mos.astype(np.float32)),
        "small integers": (rng.integers(0, 256, 12).astype(np.uint8), rng.integers(0, 256, 12).astype(np.uint8)),
        "large integers": (rng.integers(-(2**62), 2**62, 12), rng.integers(0, 2**62, 12)),
        "constant": (np.full(12, 0.1), mos),
        "two images": (x[:2], mos[:2]),
    }


@pytest.mark.parametrize("name", list(odd_pairs(np.random.default_rng(0))))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_resampled_and_plain_metrics_agree_on_odd_input(name):
    prediction, mos = odd_pairs(np.random.default_rng(0))[name]
    weights = np.ones((2, len(mos)))
    weights[1, 0] = 3
    mapped = np.full(len(mos), np.nan)
    with np.errstate(all="raise", under="ignore"):
        found = resampled.mos_metrics(prediction, mos, mapped, weights)
    for row, repeat in enumerate(weights.astype(int)):
        pair = np.repeat(prediction, repeat), np.repeat(mos, repeat)
        for metric in ("srocc", "plcc", "krcc", "rmse", "mae"):
            plain = metrics.METRICS[metric](*(values[:2] for values in pair) if len(mos) == 2 else pair)
            expected = np.nan if name == "two images" and metric in ("srocc", "plcc", "krcc") else plain
            if name != "two images" or row == 0 or np.isnan(expected):
                assert found[metric][row] == pytest.approx(expected, rel=1e-6, abs=1e-6, nan_ok=True), metric


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", [np.uint8, np.int8, float])
@pytest.mark.parametrize("expected", [2.5, np.nan, np.inf, 1e300])
def test_resampled_and_plain_votes_agree_on_odd_input(kind, expected):
    rng = np.random.default_rng(1)
    votes, p = rng.integers(1, 6, 10), np.full((10, 5), np.nan)
    predicted = np.append(rng.uniform(1, 5, 9), expected)
    hard = metrics.hard_votes(p, predicted).astype(kind) if np.isfinite(expected) else np.full(10, np.nan)
    found = resampled.vote_metrics(p, predicted, hard, votes, np.ones((1, 10)))
    for metric, value in metrics.evaluate_votes(p, votes, predicted).items():
        assert found[metric][0] == pytest.approx(value, abs=1e-6, nan_ok=True), metric


def test_kendall_of_many_images_is_known_of_the_sample_itself(monkeypatch):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 30))
    weights = np.vstack([np.ones((1, 30)), content_weights(np.arange(30), 4)])
    few = resampled.krcc(x, y, weights)
    monkeypatch.setattr(resampled, "KENDALL_LIMIT", 29)
    many = resampled.krcc(x, y, weights)
    assert many[0] == pytest.approx(few[0], abs=1e-6) and np.isnan(many[1:]).all() and np.isfinite(few).all()
