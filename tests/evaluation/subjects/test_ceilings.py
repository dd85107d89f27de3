"""Ceilings: known ceilings of simulated people, a peer fit, and people who never or always contradict themselves."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import approx_fprime, minimize
from scipy.stats import multivariate_normal, norm

from iqasuite.datasets.playlists import read_playlists
from iqasuite.evaluation.metrics import qwk
from iqasuite.evaluation.subjects import ceilings
from iqasuite.evaluation.subjects.ceilings import fit_repeated, retest_ceiling, session_ceiling
from iqasuite.evaluation.subjects.repetition import retest
from iqasuite.inference.predictions import VOTES


def rater(p, seed, once=300, twice=300, observer="user1"):
    """Votes drawn from a distribution p (images, 5), two of each on the first `twice` images."""
    rng = np.random.default_rng(seed)
    drawn = [1 + (rng.random((len(p), 1)) > np.cumsum(p, axis=1)[:, :4]).sum(1) for _ in range(2)]
    images = np.array([f"i{k:04d}" for k in range(len(p))])
    frame = {"observer": observer, "position": 1}
    early = pd.DataFrame({**frame, "session": np.where(np.arange(len(p)) < twice, 1, 2), "image": images})
    late = pd.DataFrame({**frame, "session": 4, "image": images[:twice]})
    return pd.concat([early.assign(vote=drawn[0]), late.assign(vote=drawn[1][:twice])]).iloc[: once + 2 * twice]


def probit(values, thresholds=(-3.0, -1.0, 0.8, 2.6)):
    """Distributions (n, 5) of an ordinal probit at latent values (n,)."""
    below = norm.cdf(np.array(thresholds) - values[:, None])
    return np.diff(np.column_stack([np.zeros(len(values)), below, np.ones(len(values))]), axis=1)


def best(p):
    """Accuracy and mae of the best votes on images of distributions p, by trying all."""
    apart = np.abs(VOTES[:, None] - VOTES)
    return p.max(1).mean(), (p @ apart).min(1).mean()


@pytest.mark.parametrize("spread", [1.2, 2.5, 5.0])
def test_true_ceilings_lie_in_interval_and_bracket(spread):
    everywhere = probit(spread * np.random.default_rng(99).normal(size=200_000))
    accuracy, mae = best(everywhere)
    inside, within = [], []
    for seed in range(8):
        p = probit(spread * np.random.default_rng(seed).normal(size=600))
        found = retest_ceiling(rater(p, seed), n_boot=60).set_index("metric")
        assert (found["n"] == 300).all()
        for metric, truth in (("accuracy", accuracy), ("mae", mae)):
            row = found.loc[metric]
            assert row["value"] == pytest.approx(truth, abs=0.06)
            inside.append(row["low"] <= truth <= row["high"])
            within.append(row["bracket_low"] <= truth <= row["bracket_high"])
    assert np.mean(inside) >= 0.8 and np.mean(within) == 1


def test_no_prediction_beats_the_ceiling_and_the_best_one_reaches_it():
    rng = np.random.default_rng(0)
    values = 2.5 * rng.normal(size=100_000)
    p = probit(values)
    everywhere = ceilings._distributions(np.array([[-3, -1, 0.8, 2.6]]), np.array([2.5]))
    found = {metric: value[0] for metric, value in ceilings._best(everywhere).items()}
    vote = 1 + (rng.random((len(p), 1)) > np.cumsum(p, axis=1)[:, :4]).sum(1)
    assert np.mean(p.argmax(1) + 1 == vote) == pytest.approx(found["accuracy"], abs=0.005)
    kappas = [
        qwk(np.clip(np.floor(3 + scale * (p @ VOTES - 3) + 0.5), 1, 5), vote) for scale in (0.8, 1, 1.1, 1.2, 1.5)
    ]
    assert max(kappas) == pytest.approx(found["qwk"], abs=0.005) and kappas[1] < max(kappas)
    assert found["qwk"] == pytest.approx(_best_kappa_of_all_cuts(values, p), abs=0.005)


def _best_kappa_of_all_cuts(values, p):
    """Largest expected kappa of any four cut points on the latent value."""

    def loss(cuts):
        votes = 1 + (values[:, None] > cuts).sum(1)
        error = (p * (VOTES - votes[:, None]) ** 2).sum()
        chance = (p.mean(0) * (VOTES - votes[:, None]) ** 2).sum()
        return error / chance

    return 1 - minimize(loss, np.array([-3, -1, 0.8, 2.6]), method="Nelder-Mead").fun


def test_fit_is_the_polychoric_correlation_with_equal_margins():
    tables = np.array([[40, 12, 2, 0, 0], [9, 50, 20, 3, 0], [1, 22, 60, 15, 2], [0, 2, 18, 40, 6], [0, 0, 1, 5, 20.0]])
    thresholds, _, spread = fit_repeated(tables[None])
    rho = spread[0] ** 2 / (1 + spread[0] ** 2)
    symmetric = (tables + tables.T) / 2 + 0.01 * np.eye(5)

    def loss(parameters):
        cuts = parameters[0] + np.concatenate([[0], np.cumsum(np.exp(parameters[1:4]))])
        ends = np.concatenate([[-8], cuts, [8]])
        normal = multivariate_normal(cov=[[1, np.tanh(parameters[4])], [np.tanh(parameters[4]), 1]])
        below = normal.cdf(np.stack(np.meshgrid(ends, ends), axis=-1))
        return -(symmetric * np.log(np.maximum(np.diff(np.diff(below, axis=0), axis=1), 1e-12))).sum()

    peer = minimize(loss, [-1, -0.3, -0.3, -0.3, 1.2], method="Nelder-Mead", options={"xatol": 1e-4, "maxiter": 800}).x
    assert rho == pytest.approx(np.tanh(peer[4]), abs=2e-3)
    cuts = peer[0] + np.concatenate([[0], np.cumsum(np.exp(peer[1:4]))])
    np.testing.assert_allclose(thresholds[0] / np.sqrt(1 + spread[0] ** 2), cuts, atol=5e-3)


@pytest.mark.parametrize("same", [True, False])
def test_gradient_is_the_numerical_one(same):
    rng = np.random.default_rng(0)
    counts, once = rng.integers(1, 20, (1, 5, 5)).astype(float), rng.integers(1, 20, (1, 5)).astype(float)
    ties = np.vstack([np.hstack([np.eye(4), np.eye(4), np.zeros((4, 1))]), np.eye(9)[8]]) if same else np.eye(9)
    at = np.array([-1.5, 0.1, -0.3, 0.2, -1.1, 0.2, 0.1, -0.1, 0.4])[-len(ties) :]
    numerical = approx_fprime(at, lambda x: ceilings._derivatives(x[None] @ ties, counts, once, ties)[0][0], 1e-7)
    found = ceilings._derivatives(at[None] @ ties, counts, once, ties)[1][0]
    np.testing.assert_allclose(found, numerical, rtol=1e-4, atol=1e-3)


def test_drift_between_sessions_is_noise_only_to_one_who_does_not_know_the_session():
    values = 2.5 * np.random.default_rng(0).normal(size=400)
    early, late = probit(values), probit(values - 1.5)
    votes = rater(early, 0, once=0, twice=400)
    harsher = rater(late, 1, once=0, twice=400)
    votes = pd.concat([votes[votes["session"] == 1], harsher[harsher["session"] == 4]])
    found = session_ceiling(votes, n_boot=60).set_index(["session", "metric"])
    for session, p in ((1, early), (4, late)):
        for metric, truth in zip(("accuracy", "mae"), best(p), strict=True):
            row = found.loc[(session, metric)]
            assert row["low"] <= truth <= row["high"] and row["value"] == pytest.approx(truth, abs=0.06)
    unknown = retest_ceiling(votes, n_boot=10).set_index("metric")
    assert unknown.loc["accuracy", "value"] < found.loc[[(1, "accuracy"), (4, "accuracy")], "value"].min() - 0.03


def test_whoever_never_contradicts_themselves_can_be_predicted():
    p = np.eye(5)[np.arange(400) % 5]
    found = retest_ceiling(rater(p, 0, once=100), n_boot=20).set_index("metric")
    for metric, value in (("accuracy", 1), ("qwk", 1), ("mae", 0)):
        assert (found.loc[metric, ["value", "low", "high", "bracket_low", "bracket_high"]] == value).all()
    constant = retest_ceiling(rater(np.eye(5)[np.full(300, 2)], 0, once=0), n_boot=5).set_index("metric")
    assert constant.loc["accuracy", "value"] == 1 and np.isnan(constant.loc["qwk", "value"])


def test_whoever_votes_by_chance_has_the_ceiling_of_the_most_frequent_vote():
    p = np.tile([0.1, 0.2, 0.4, 0.2, 0.1], (600, 1))
    found = retest_ceiling(rater(p, 3), n_boot=40).set_index("metric")
    assert found.loc["accuracy", "value"] == pytest.approx(0.4, abs=0.05)
    assert found.loc["qwk", "value"] < 0.3
    assert found.loc["accuracy", "bracket_low"] < 0.4 < found.loc["accuracy", "bracket_high"]


def test_votes_that_are_never_used_and_contents(simulate):
    p = probit(1.5 * np.random.default_rng(0).normal(size=400))
    p = np.column_stack([p[:, 0], np.zeros(400), p[:, 1:3], np.zeros(400)])
    votes = rater(p / p.sum(1, keepdims=True), 0, once=100)
    contents = pd.Series([f"c{k // 20}" for k in range(400)], index=[f"i{k:04d}" for k in range(400)])
    found = retest_ceiling(votes, contents, n_boot=30).set_index("metric")
    assert np.isfinite(found[["value", "low", "high"]]).all(axis=None)
    accuracy = best(p / p.sum(1, keepdims=True))[0]
    assert found.loc["accuracy", "value"] == pytest.approx(accuracy, abs=0.06)
    assert retest_ceiling(simulate.people([0, 0.2], [0.4, 0.5]).votes).empty


def test_ceilings_of_the_individual_observer_study(playlists_folder):
    votes = read_playlists(playlists_folder / "Obs_iterative", [f"Obs{k}" for k in range(1, 6)])
    found = retest_ceiling(votes, n_boot=30).query("metric == 'accuracy'")
    repeated = retest(votes, n_boot=10).query("metric == 'accuracy'")["value"]
    np.testing.assert_allclose(found["bracket_low"], repeated)
    np.testing.assert_allclose(repeated, [0.580, 0.623, 0.727, 0.567, 0.470], atol=0.002)
    assert (found["value"] > found["bracket_low"]).all() and (found["value"] < found["bracket_high"]).all()
    # What thresholds on the JPEG quality reach on other images is above self-agreement, but not above the ceiling.
    reached = np.array([0.687, 0.640, 0.637, 0.650, 0.600])
    assert (reached > repeated.to_numpy()).sum() == 4 and (found["high"] > reached).all()
