"""Metrics against scipy, scikit-learn and hand-worked values."""

import numpy as np
import pytest
from scipy.stats import entropy as scipy_entropy
from scipy.stats import kendalltau, pearsonr, spearmanr
from sklearn.metrics import accuracy_score, cohen_kappa_score, log_loss

from iqasuite.evaluation import metrics


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.mark.parametrize("ties", [False, True])
def test_correlations_are_scipys(rng, ties):
    x = rng.normal(size=80)
    y = x + rng.normal(size=80)
    if ties:
        x, y = np.round(x), np.round(y)
    assert metrics.srocc(x, y) == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)
    assert metrics.plcc(x, y) == pytest.approx(pearsonr(x, y).statistic, abs=1e-12)
    assert metrics.krcc(x, y) == pytest.approx(kendalltau(x, y).statistic, abs=1e-12)


@pytest.mark.parametrize("name", ["srocc", "plcc", "krcc"])
def test_a_constant_has_no_correlation(name):
    assert np.isnan(metrics.METRICS[name](np.ones(9), np.arange(9)))
    assert np.isnan(metrics.METRICS[name](np.arange(9), np.full(9, 0.1)))


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="one length"):
        metrics.srocc(np.arange(3), np.arange(4))
    with pytest.raises(ValueError, match="at least 2"):
        metrics.plcc(np.arange(1), np.arange(1))


def test_vote_metrics_are_scikit_learns(rng):
    votes = rng.integers(1, 6, 200)
    p = metrics.soft_votes(np.clip(votes + rng.integers(-1, 2, 200), 1, 5), 1.0) * rng.uniform(0.5, 1, (200, 5))
    p /= p.sum(1, keepdims=True)
    found = metrics.evaluate_votes(p, votes)
    hard = p.argmax(1) + 1
    assert found["accuracy"] == pytest.approx(accuracy_score(votes, hard))
    assert found["qwk"] == pytest.approx(cohen_kappa_score(votes, hard, weights="quadratic", labels=range(1, 6)))
    assert found["cross_entropy"] == pytest.approx(log_loss(votes, p, labels=range(1, 6)))
    assert found["entropy_predicted"] == pytest.approx(scipy_entropy(p, axis=1).mean())
    assert found["entropy_votes"] == pytest.approx(scipy_entropy(np.bincount(votes)[1:]))
    assert found["kl_divergence"] == pytest.approx(scipy_entropy(metrics.soft_votes(votes), p, axis=1).mean())
    assert found["rmse"] ** 2 == pytest.approx(found["mse_expected"])


def test_kappa_of_one_constant_is_nan_without_a_warning(recwarn):
    assert np.isnan(metrics.qwk(np.full(5, 3), np.full(5, 3)))
    assert metrics.qwk(np.full(5, 2), np.array([1, 2, 3, 4, 5])) == pytest.approx(0)
    assert not recwarn.list


def test_confusion_has_true_rows_and_refuses_half_votes():
    counts = metrics.confusion(np.array([2, 2, 5]), np.array([1, 2, 5]))
    assert counts[0, 1] == 1 and counts[1, 1] == 1 and counts[4, 4] == 1 and counts.sum() == 3
    with pytest.raises(ValueError, match="prediction: found 2.5"):
        metrics.confusion(np.array([2.5]), np.array([1]))


def test_softened_label_is_the_studys():
    np.testing.assert_allclose(metrics.soft_votes([3])[0], [0.0002, 0.0997, 0.8002, 0.0997, 0.0002], atol=5e-5)


def test_hard_votes_round_half_up_where_no_distribution_is_given():
    p = np.array([[np.nan] * 5, [np.nan] * 5, [0.1, 0.2, 0.5, 0.1, 0.1], [np.nan] * 5])
    np.testing.assert_array_equal(metrics.hard_votes(p, np.array([2.5, 0.2, 1.0, 6.0])), [3, 1, 3, 5])


@pytest.mark.parametrize("sign", [1, -1])
def test_logistic_recovers_a_known_curve(rng, sign):
    x = rng.uniform(20, 60, 300)
    mos = 1 + 4 / (1 + np.exp(-sign * (x - 38) / 3))
    assert metrics.plcc(x, mos) * sign < 0.97
    assert metrics.plcc_logistic(x, mos) == pytest.approx(1, abs=1e-4)
    noisy = mos + rng.normal(0, 0.3, 300)
    assert metrics.plcc_logistic(x, noisy) >= abs(metrics.plcc(x, noisy)) - 1e-6


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("end", [1, -1])
def test_a_curve_with_one_end_out_of_sight_is_fitted_too(sign, end):
    # An exponential: the best logistic has its end at infinity, where an unbounded fit runs off.
    x = np.linspace(-2, 2, 60)
    target = sign * np.exp(end * x)
    assert metrics.plcc_logistic(x, target) > 0.99 > 0.9 > abs(metrics.plcc(x, target))


def test_logistic_that_cannot_be_fitted_is_nan_with_a_warning():
    with pytest.warns(UserWarning, match="no 4-parameter logistic"):
        assert np.isnan(metrics.plcc_logistic(np.ones(20), np.arange(20)))
