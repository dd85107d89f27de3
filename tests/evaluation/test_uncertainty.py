"""Intervals and tests by content: against the resampling written out, and against what they promise."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from iqasuite.evaluation import metrics, resampled, uncertainty


def clustered(rng, contents=12, each=6):
    content = np.repeat([f"c{i:02d}" for i in range(contents)], each)
    votes = rng.integers(1, 6, contents * each)
    p = metrics.soft_votes(np.clip(votes + rng.integers(-1, 2, len(votes)), 1, 5), 1.0)
    p = p * rng.uniform(0.8, 1.2, p.shape)
    return content, votes, p / p.sum(1, keepdims=True)


def test_every_resampled_metric_is_the_plain_one_on_the_repeated_images():
    content, votes, p = clustered(np.random.default_rng(0))
    weights = uncertainty.content_weights(content, 20, seed=1)
    assert (weights.sum(1) == len(content)).all()
    found = resampled.vote_metrics(p, p @ metrics.VOTES, metrics.hard_votes(p), votes, weights)
    for row, repeat in enumerate(weights.astype(int)):
        plain = metrics.evaluate_votes(np.repeat(p, repeat, 0), np.repeat(votes, repeat))
        assert set(plain) == set(found)
        for metric, value in plain.items():
            assert found[metric][row] == pytest.approx(value, abs=1e-6), metric


def test_resampled_scores_of_mos():
    rng = np.random.default_rng(0)
    x = rng.normal(size=60)
    mos = x + rng.normal(size=60)
    weights = uncertainty.content_weights(np.repeat(np.arange(10), 6), 10)
    found = resampled.mos_metrics(x, mos, x, weights)
    for row, repeat in enumerate(weights.astype(int)):
        for metric in ("srocc", "plcc", "krcc", "rmse", "mae"):
            plain = metrics.METRICS[metric](np.repeat(x, repeat), np.repeat(mos, repeat))
            assert found[metric][row] == pytest.approx(plain, abs=1e-6)


def test_constants_are_nan_in_every_resample():
    weights = np.ones((3, 8))
    constant, votes = np.full(8, 2), np.arange(8) % 5 + 1
    assert np.isnan(resampled.srocc(constant, votes, weights)).all()
    assert np.isnan(resampled.krcc(constant, votes, weights)).all()
    assert np.isnan(resampled.plcc(np.full(8, 0.1), votes.astype(float), weights)).all()
    assert np.isnan(resampled.qwk(constant, constant, weights)).all()


def test_bootstrap_is_deterministic_and_by_content():
    content, _votes, _ = clustered(np.random.default_rng(1))
    by_content = np.repeat(np.random.default_rng(2).normal(size=12), 6)  # images of one content are all alike
    once = uncertainty.bootstrap_by_content(by_content, content, 500, seed=4)
    assert once == uncertainty.bootstrap_by_content(by_content, content, 500, seed=4)
    assert once == uncertainty.bootstrap_by_content(lambda w: resampled.mean(by_content, w), content, 500, seed=4)
    as_if_independent = uncertainty.bootstrap_by_content(by_content, np.arange(len(content)), 500, seed=4)
    assert once[1] - once[0] > 1.7 * (as_if_independent[1] - as_if_independent[0])  # about √6


def test_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(5)
    content = np.repeat(np.arange(30), 4)
    hits = 0
    for _ in range(200):
        values = rng.normal(size=30)[content] + rng.normal(size=120)
        low, high = uncertainty.bootstrap_by_content(values, content, 300)
        hits += low <= 0 <= high
    assert 0.89 <= hits / 200 <= 0.98


def test_the_paired_test_is_the_t_test_of_a_mean_and_holds_its_level():
    rng = np.random.default_rng(1)
    values = rng.normal(0.3, 1, 40)
    weights = uncertainty.content_weights(np.arange(40), 20_000)
    drawn = uncertainty.resampled_means(values[:, None], weights)
    assert uncertainty.paired_test(drawn, 40) == pytest.approx(ttest_1samp(values, 0).pvalue, abs=0.003)
    rejected = 0
    for seed in range(300):  # 12 contents, differences of a skewed distribution whose mean is zero
        values = rng.exponential(1, 12) - 1
        drawn = uncertainty.resampled_means(values[:, None], uncertainty.content_weights(np.arange(12), 400, seed))
        rejected += uncertainty.paired_test(drawn, 12) < 0.05
    assert 0.02 <= rejected / 300 <= 0.12


def test_few_contents_cannot_be_significant_and_it_is_said():
    alike = np.full(5, 0.23)
    drawn = uncertainty.resampled_means(alike[:, None], uncertainty.content_weights(np.arange(5)))
    assert uncertainty.paired_test(drawn, 5) == 2 / 2**5
    assert uncertainty.least_p(7, 5) == pytest.approx(0.078, abs=5e-4)
    assert uncertainty.least_p(2, 3) == 1
    assert uncertainty.paired_test(np.zeros(10), 40) == 1
    assert np.isnan(uncertainty.paired_test(np.full(10, 0.1), 1))


def test_trainings_are_drawn_with_the_contents():
    rng = np.random.default_rng(3)
    values = rng.normal(size=(4, 20_001)) * 0 + rng.normal(size=(4, 1))  # contents change nothing, trainings do
    drawn = uncertainty.over_trainings(values)
    assert drawn[0] == pytest.approx(values[:, 0].mean())
    assert drawn[1:].std() == pytest.approx(values[:, 0].std(ddof=1) / 2, rel=0.03)  # s / √k
    for few in (1, 2):
        np.testing.assert_array_equal(uncertainty.over_trainings(values[:few]), values[:few].mean(0))


def test_an_interval_covers_other_trainings_and_not_only_other_contents():
    rng = np.random.default_rng(4)
    hits = np.zeros(2)
    for seed in range(200):
        contents, trainings = rng.normal(0, 1, 30), rng.normal(0, 0.5, 4)  # as large in the mean as the contents'
        values = contents[:, None] + trainings + rng.normal(0, 0.3, (30, 4))
        weights = uncertainty.content_weights(np.arange(30), 400, seed)
        both = uncertainty.interval(uncertainty.resampled_means(values, weights, seed)[1:], 30)
        alone = uncertainty.interval(weights @ values.mean(1) / 30, 30)
        hits += [both[0] <= 0 <= both[1], alone[0] <= 0 <= alone[1]]
    assert hits[0] / 200 >= 0.87 and hits[1] / 200 < 0.85


def test_holm_worked_by_hand():
    np.testing.assert_allclose(uncertainty.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(uncertainty.holm([0.5, np.nan, 0.9]), [1, np.nan, 1])


def test_drawn_contents_have_the_moments_of_a_bootstrap():
    drawn = uncertainty.drawn_contents(50, 4000, seed=2)
    assert (drawn.sum(1) == 50).all()
    assert np.array_equal(drawn, uncertainty.drawn_contents(50, 4000, seed=2))
    assert drawn.var(0).mean() == pytest.approx(1 - 1 / 50, abs=0.02)  # multinomial: k · 1/k · (1 − 1/k)
    assert np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1] == pytest.approx(-1 / 49, abs=0.05)


def test_over_splits_without_overlap_is_students_interval():
    values = np.random.default_rng(2).normal(0.2, 1, 10)
    plain = ttest_1samp(values, 0)
    low, high, p = uncertainty.over_splits(values, 0.0)
    assert (low, high) == pytest.approx(tuple(plain.confidence_interval())) and p == pytest.approx(plain.pvalue)
    corrected = uncertainty.over_splits(values, 1 / 3)
    assert corrected[1] - corrected[0] == pytest.approx((high - low) * np.sqrt(1 + 10 / 3))  # 1/k + 1/3 over 1/k
    assert np.isnan(uncertainty.over_splits([0.1, np.nan], 1 / 3)).all()


def test_over_splits_holds_its_level_where_the_plain_test_does_not():
    # Each split's mean is of 15 of 60 values (test / train = 1/3) whose true mean is 0: splits share values.
    rng = np.random.default_rng(3)
    rejected = np.zeros(2)
    for _ in range(1000):
        values = rng.normal(size=60)
        splits = [rng.permutation(values)[:15].mean() for _ in range(10)]
        rejected += [uncertainty.over_splits(splits, r)[2] < 0.05 for r in (0, 1 / 3)]
    assert rejected[0] / 1000 > 0.15 and rejected[1] / 1000 < 0.075


def test_two_contents_give_no_interval_and_three_do():
    values = np.arange(12.0)
    for n in (1, 2):
        assert np.isnan(uncertainty.bootstrap_by_content(values, np.arange(12) % n, 200)).all()
        assert np.isnan(uncertainty.tested(np.ones(200), n)[1:3]).all()
    low, high = uncertainty.bootstrap_by_content(values, np.arange(12) % 3, 200)
    assert low < values.mean() < high


def test_resamples_of_which_most_are_undefined_give_no_interval():
    drawn = np.linspace(0, 1, 101)
    drawn[:51] = np.nan
    assert np.isnan(uncertainty.interval(drawn, 20)).all()
    drawn[50] = 0.5
    assert uncertainty.interval(drawn, 20) == pytest.approx((0.5125, 0.9875))


def test_two_images_have_neither_correlation_nor_interval():
    x, y = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    for statistic in (resampled.srocc, resampled.plcc, resampled.krcc):
        assert np.isnan(statistic(x, y, np.ones((1, 2)))).all()
        assert np.isnan(uncertainty.bootstrap_by_content(lambda w, s=statistic: s(x, y, w), ["a", "b"], 100)).all()
