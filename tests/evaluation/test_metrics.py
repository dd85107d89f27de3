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
    with pytest.raises(ValueError, match="one length"):
        metrics.rmse(np.ones((2, 2)), np.ones((2, 2)))


SCORES = ("srocc", "plcc", "plcc_logistic", "krcc", "rmse", "mae", "accuracy", "qwk", "mse_hard", "mse_expected")


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_what_is_not_finite_makes_every_metric_nan_and_the_warning_counts_it(name, bad, side):
    pair = [np.arange(9.0) % 5 + 1, np.arange(9.0) % 4 + 1]
    pair[side][[2, 5]] = bad
    what = ("predictions", "targets")[side]
    with pytest.warns(UserWarning, match=f"^{name}: 2 of 9 {what} are not finite; the result is nan") as said:
        assert np.isnan(metrics.METRICS[name](*pair))
    assert len(said) == 1


@pytest.mark.parametrize("name", ["srocc", "plcc", "krcc", "plcc_logistic"])
@pytest.mark.parametrize("n", [0, 1, 2])
def test_two_images_are_no_correlation(name, n):
    with pytest.warns(UserWarning, match=f"{name}: {n} images, expected [34] or more"):
        assert np.isnan(metrics.METRICS[name](np.arange(n), np.arange(n)))


def test_errors_of_no_image_are_nan_and_of_one_are_known():
    with pytest.warns(UserWarning, match="rmse: 0 images, expected 1 or more"):
        assert np.isnan(metrics.rmse([], []))
    assert metrics.rmse([3], [1]) == 2 and metrics.accuracy([1], [1]) == 1


@pytest.mark.parametrize("scale", [1e300, 1e-300, 3e-310, 1e155])
def test_correlations_know_no_scale(rng, scale, recwarn):
    x, y = rng.normal(size=60), rng.normal(size=60)
    y += x
    for name in ("srocc", "plcc", "krcc", "plcc_logistic"):
        plain = metrics.METRICS[name](x, y)
        assert metrics.METRICS[name](x * scale, y) == pytest.approx(plain, abs=1e-6), name
        assert metrics.METRICS[name](x, y * scale) == pytest.approx(plain, abs=2e-3), name
        assert metrics.METRICS[name](x * scale, y / max(scale, 1e-300)) == pytest.approx(plain, abs=2e-3), name
    assert not recwarn.list


def test_errors_near_the_ends_of_what_a_float_holds(recwarn):
    assert metrics.rmse(np.full(4, 1e300), np.zeros(4)) == pytest.approx(1e300)
    assert metrics.rmse(np.full(4, 3e-200), np.zeros(4)) == pytest.approx(3e-200)
    assert not recwarn.list
    with pytest.warns(UserWarning, match="mse_expected: too large for a 64-bit float"):
        assert np.isnan(metrics.mse_expected(np.full(4, 1e300), np.zeros(4)))
    with pytest.warns(UserWarning, match="mae: too large"):
        assert np.isnan(metrics.mae(np.full(4, 1.5e308), np.full(4, -1.5e308)))


@pytest.mark.parametrize("kind", [np.float32, np.uint8, np.int8, np.int64, object])
def test_the_type_of_the_numbers_does_not_matter(rng, kind, recwarn):
    x, y = rng.integers(1, 6, 50), rng.integers(1, 6, 50)
    for name in SCORES:
        plain = metrics.METRICS[name](x.astype(float), y.astype(float))
        assert metrics.METRICS[name](x.astype(kind), y.astype(kind)) == pytest.approx(plain, abs=1e-12), name
    large = np.array([1e30, 3e30, 2e30, 5e30], np.float32)  # whose squares no float32 holds
    assert metrics.plcc(large, [1, 3, 2, 5]) == pytest.approx(1, abs=1e-6)
    assert metrics.rmse(large, np.zeros(4)) == pytest.approx(np.sqrt(39 / 4) * 1e30, rel=1e-6)
    assert not recwarn.list


def test_votes_that_are_not_known_leave_no_metric_of_the_whole_vote():
    p, expected = np.full((4, 5), np.nan), np.array([1.0, np.nan, 3, np.inf])
    with pytest.raises(ValueError, match="expected: 2 of 4 votes are not finite"):
        metrics.hard_votes(p, expected)
    with pytest.warns(UserWarning, match="not finite"):
        found = metrics.evaluate_votes(p, np.array([1, 2, 3, 4]), expected)
    assert np.isnan([value for name, value in found.items() if name != "entropy_votes"]).all()
    assert found["entropy_votes"] == pytest.approx(np.log(4))
    p = metrics.soft_votes(np.array([1, 2, 3]))
    p[0, 0] = np.inf
    assert np.isnan([metrics.entropy(p), metrics.cross_entropy(p, [1, 2, 3]), metrics.kl_divergence(p, p)]).all()


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


@pytest.mark.parametrize("target", [np.nan, np.inf])
def test_no_curve_is_fitted_to_what_is_not_finite(target):
    assert metrics.logistic_map(np.arange(9.0), np.append(np.arange(8.0), target)) is None


@pytest.mark.filterwarnings("ignore:plcc_logistic")
def test_a_curve_is_fitted_to_odd_targets_or_not_at_all_but_never_raises(rng):
    odd = [
        np.nextafter(1, 2) ** np.arange(20),  # one float apart
        np.where(np.arange(20) == 7, 1e300, 1.0),
        np.where(np.arange(20) == 7, 5e-324, 0.0),
        np.repeat([0.0, 1.0], 10),
    ]
    for x in [*odd, rng.normal(size=20)]:
        for y in odd:
            value = metrics.plcc_logistic(x, y)
            assert np.isnan(value) or -1 <= value <= 1
