"""The few-shot observer recovers simulated people, agrees with independent fits, and its vote sets cover."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import DotProduct

from iqasuite.errors import InputError
from iqasuite.evaluation.baselines import MonotoneThresholds
from iqasuite.training.few_shot import (
    PEOPLE,
    fit_gaussian,
    fit_observer,
    set_in_words,
    set_mass,
    vote_sets,
    with_features,
)

TASTE = with_features(PEOPLE, ("blur", "noise"), 0.3)


def cuts(gaps):
    """Independent of the library: cut points whose middle is 3."""
    ends = np.concatenate([[0], np.cumsum(gaps)])
    return 3 + ends - (ends[1] + ends[2]) / 2


def probabilities(person, quality, phi):
    """Distributions (n, 5) of a person (bias, slope, log σ, three log gaps, sensitivities), with 1 % slips."""
    z = 3 + person[0] + person[1] * (quality - 3) + phi @ person[6:]
    below = ndtr((cuts(np.exp(person[3:6])) - z[:, None]) / np.exp(person[2]))
    return 0.99 * np.diff(np.column_stack([0 * z, below, 0 * z + 1])) + 0.01 / 5


def people(population, n, rng):
    return population.mean() + population.sd() * rng.standard_normal((n, len(population.mean())))


def images(n, rng, features=2):
    return rng.uniform(1, 5, n), rng.standard_normal((n, features))


def votes_of(person, quality, phi, rng):
    p = probabilities(person, quality, phi)
    return 1 + (rng.random((len(p), 1)) > np.cumsum(p, axis=1)[:, :4]).sum(1)


def test_recovers_simulated_people_within_their_standard_errors():
    rng = np.random.default_rng(0)
    persons, errors, found = people(TASTE, 60, rng), [], []
    for person in persons:
        quality, phi = images(100, rng)
        observer = fit_observer(TASTE, quality, votes_of(person, quality, phi, rng), phi)
        errors.append((observer.estimate - person) / np.sqrt(np.diag(observer.covariance)))
        found.append(observer.estimate)
    spread = np.sqrt(np.mean(np.square(errors), axis=0))
    assert (spread > 0.7).all() and (spread < 1.35).all()
    correlation = [np.corrcoef(a, b)[0, 1] for a, b in zip(persons.T, np.transpose(found), strict=True)]
    assert min(correlation[0], *correlation[6:]) > 0.9 and min(correlation) > 0.6


def test_the_gaussian_version_is_a_gaussian_process_with_a_linear_kernel():
    rng = np.random.default_rng(1)
    quality, phi = images(12, rng)
    votes = votes_of(people(TASTE, 1, rng)[0], quality, phi, rng)
    observer = fit_gaussian(TASTE, quality, votes, phi)
    sd = np.array([TASTE.bias_sd, TASTE.slope_sd, TASTE.sensitivity_sd, TASTE.sensitivity_sd])
    design = sd * np.column_stack([np.ones(12), quality - 3, phi])
    process = GaussianProcessRegressor(DotProduct(0, "fixed"), alpha=TASTE.inconsistency**2, optimizer=None)
    process.fit(design, votes - quality)
    mean, error = process.predict(design, return_std=True)
    expected, standard_error = observer.expected(quality, phi)
    np.testing.assert_allclose(expected, quality + mean, atol=1e-8)
    np.testing.assert_allclose(standard_error, error, atol=1e-6)
    assert observer.log_evidence == pytest.approx(process.log_marginal_likelihood_value_)


def test_the_ordinal_version_is_the_posterior_by_brute_force():
    rng = np.random.default_rng(2)
    quality, phi = images(8, rng)
    votes = votes_of(people(TASTE, 1, rng)[0], quality, phi, rng)
    drawn = people(TASTE, 100_000, rng)
    likelihood = np.ones(len(drawn))
    for q, f, vote in zip(quality, phi, votes, strict=True):
        ends = np.cumsum(np.exp(drawn[:, 3:6]), axis=1)
        edges = 3 + np.column_stack([0 * ends[:, 0], ends]) - ends[:, [0]] / 2 - ends[:, [1]] / 2
        z = 3 + drawn[:, 0] + drawn[:, 1] * (q - 3) + drawn[:, 6:] @ f
        below = np.pad(ndtr((edges - z[:, None]) / np.exp(drawn[:, [2]])), ((0, 0), (1, 1)), constant_values=(0, 1))
        below[:, 0] = 0
        likelihood *= 0.99 * (below[:, vote] - below[:, vote - 1]) + 0.002
    observer = fit_observer(TASTE, quality, votes, phi)
    weights = likelihood / likelihood.sum()
    mean = weights @ drawn
    sd = np.sqrt(weights @ (drawn - mean) ** 2)
    assert np.abs(observer.estimate - mean).max() < 0.3 * sd.min() + 0.05
    np.testing.assert_allclose(np.sqrt(np.diag(observer.covariance)), sd, rtol=0.15)
    assert observer.log_evidence == pytest.approx(np.log(likelihood.mean()), abs=0.2)
    new = images(5, rng)
    likely = drawn[rng.choice(len(drawn), 2000, p=weights)]
    exact = np.mean([probabilities(person, *new) for person in likely], axis=0)
    np.testing.assert_allclose(observer.distribution(*new), exact, atol=0.04)


def test_both_versions_agree():
    rng = np.random.default_rng(3)
    for person in people(TASTE, 5, rng):
        person[2:6] = TASTE.mean()[2:6]
        quality, phi = images(60, rng)
        quality = 2 + (quality - 1) / 2  # away from the ends of the scale, which real numbers know nothing of
        votes = votes_of(person, quality, phi, rng)
        ordinal, gaussian = (fit(TASTE, quality, votes, phi) for fit in (fit_observer, fit_gaussian))
        assert abs(ordinal.bias - gaussian.bias) < 0.1
        assert (ordinal.sensitivities - gaussian.sensitivities).abs().max() < 0.15


def test_with_thousands_of_votes_the_population_no_longer_counts():
    rng = np.random.default_rng(4)
    person = np.array([-1.2, 0.6, np.log(0.4), 0.5, -0.4, 0.2])
    quality, none = images(4000, rng, 0)
    votes = votes_of(person, quality, none, rng)
    plain = MonotoneThresholds().fit(quality, votes)
    at = np.linspace(1, 5, 30)
    few_shot = fit_observer(PEOPLE, quality, votes).distribution(at)
    np.testing.assert_allclose(few_shot, plain.predict_proba(at), atol=0.05)


def test_without_votes_it_is_the_population():
    rng = np.random.default_rng(5)
    observer = fit_observer(TASTE, [], [], np.zeros((0, 2)))
    np.testing.assert_allclose(observer.estimate, TASTE.mean())
    np.testing.assert_allclose(np.diag(observer.covariance), TASTE.sd() ** 2)
    quality, phi = images(6, rng)
    mean = np.mean([probabilities(person, quality, phi) for person in people(TASTE, 3000, rng)], axis=0)
    np.testing.assert_allclose(observer.distribution(quality, phi), mean, atol=0.03)
    assert observer.log_evidence == pytest.approx(0, abs=1e-9) and "people in general" in observer.remark


def test_uncertain_qualities_widen_the_distribution_and_teach_less():
    sure, unsure = (fit_observer(PEOPLE, [2.0, 3.0, 4.0], [1, 2, 3], quality_sd=sd) for sd in (0, 1))
    assert sure.bias < unsure.bias < 0
    assert unsure.distribution([3.0], quality_sd=1).max() < unsure.distribution([3.0]).max()


def test_vote_sets_of_new_people_hold_their_votes_as_often_as_asked_for():
    rng = np.random.default_rng(6)
    calibration, test, wrong = [], [], replace(PEOPLE, inconsistency=0.3)  # a prior that is too sure of itself
    for i, person in enumerate(people(PEOPLE, 300, rng)):
        quality, none = images(45, rng, 0)
        votes = votes_of(person, quality, none, rng)
        p = fit_observer(wrong, quality[:5], votes[:5]).distribution(quality[5:])
        (calibration if i < 150 else test).append((p, votes[5:]))
    (p, votes), (new, their) = ([np.concatenate(x) for x in zip(*part, strict=True)] for part in (calibration, test))
    members = vote_sets(new, set_mass(p, votes, 0.9))
    assert 0.88 < members[np.arange(len(new)), their - 1].mean() < 0.92
    assert members.sum(1).mean() < 4
    assert (members <= vote_sets(new, 0.999)).all()
    assert (np.abs(np.diff(np.pad(members, ((0, 0), (1, 1))).astype(int))).sum(1) == 2).all()  # neighbours only
    assert set_in_words(np.array([False, False, True, True, False])) == "3 or 4"
    assert set_mass(p[:3], votes[:3], 0.9) == 1  # three votes cannot promise nine in ten


def test_images_are_found_by_name():
    quality = pd.Series([1.5, 2.5, 3.5], index=["a", "b", "c"])
    votes = pd.Series([4, 2], index=["c", "a"])
    features = pd.DataFrame({"noise": [0.0, 1, 2], "blur": [1.0, 1, 0]}, index=quality.index)
    named = fit_observer(TASTE, quality, votes, features)
    plain = fit_observer(TASTE, [3.5, 1.5], [4, 2], [[0, 2], [1, 0]])
    np.testing.assert_allclose(named.estimate, plain.estimate)
    assert list(named.table().index[-2:]) == ["blur", "noise"]
    with pytest.raises(InputError, match="image 'd' is unknown"):
        fit_observer(PEOPLE, quality, pd.Series([4], index=["d"]))
    with pytest.raises(InputError, match="no column 'blur'"):
        fit_observer(TASTE, quality, votes, features[["noise"]])


@pytest.mark.parametrize(
    ("quality", "votes", "words"),
    [
        ([3.0, 2.0], [3, 6], "found 6"),
        ([3.0, 2.0], [3, 2.5], "found 2.5"),
        ([3.0, 2.0], [3, np.nan], "found nan"),
        ([3.0, 2.0], [3], "shape"),
        ([3.0, np.nan], [3, 2], "image 1 of 2 has none"),
    ],
)
def test_bad_votes_are_named(quality, votes, words):
    with pytest.raises(InputError, match=words):
        fit_observer(PEOPLE, quality, votes)


@pytest.mark.parametrize(
    ("votes", "words"), [([4], "1 vote:"), ([4, 3], "2 votes:"), ([2] * 7, "All 7 votes are 2"), ([2, 3, 3, 4], "^$")]
)
def test_few_votes_get_a_sentence(votes, words):
    observer = fit_observer(PEOPLE, np.linspace(2, 4, len(votes)), votes)
    assert pd.Series([observer.remark]).str.contains(words).all()
    assert np.isfinite(observer.distribution([1.0, 3.0, 5.0])).all()
