"""Scores over observers and contents are those of the plain metrics, and intervals know of both."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from iqasuite.evaluation import metrics
from iqasuite.evaluation.crossed import METRICS, crossed_scores
from iqasuite.training.few_shot import vote_sets


@pytest.fixture(scope="module")
def predicted():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(5), (2, 6, 40))
    votes = rng.integers(1, 6, (6, 40)).astype(float)
    votes[2, :7] = np.nan
    p[:, 2, :7] = np.nan
    return p, votes, np.repeat([f"c{k}" for k in range(10)], 4)


def test_means_over_observers_and_draws_are_those_of_the_metrics(predicted):
    p, votes, contents = predicted
    members = vote_sets(p.reshape(-1, 5), 0.8).reshape(p.shape)
    found = crossed_scores(p, votes, contents, members, n_boot=200).set_index("metric")
    assert tuple(found.index) == METRICS

    def mean(metric):
        known = np.isfinite(votes)
        return np.mean([[metric(d[o][known[o]], votes[o][known[o]]) for o in range(6)] for d in p])

    def hard(x):
        return x.argmax(1) + 1

    assert found.loc["accuracy", "value"] == pytest.approx(mean(lambda x, v: metrics.accuracy(hard(x), v)))
    assert found.loc["mae", "value"] == pytest.approx(mean(lambda x, v: metrics.mae(hard(x), v)))
    assert found.loc["qwk", "value"] == pytest.approx(mean(lambda x, v: metrics.qwk(hard(x), v)), abs=0.03)
    expected = mean(lambda x, v: spearmanr(x @ np.arange(1, 6), v).statistic)
    assert found.loc["srocc", "value"] == pytest.approx(expected, abs=1e-6)
    covered = mean(lambda x, v: vote_sets(x, 0.8)[np.arange(len(x)), v.astype(int) - 1].mean())
    assert found.loc["coverage", "value"] == pytest.approx(covered)
    assert ((found["low"] <= found["value"]) & (found["value"] <= found["high"])).drop("ece").all()


def test_sure_and_right_is_perfect_and_chance_is_half():
    votes = np.tile([1.0, 2, 3, 4, 5], (4, 4))
    p = np.eye(5)[votes.astype(int) - 1][None]
    contents = np.repeat(["a", "b", "c", "d"], 5)
    found = crossed_scores(p, votes, contents, n_boot=50).set_index("metric")["value"]
    assert found[["accuracy", "qwk", "pairs", "srocc"]].to_numpy() == pytest.approx(np.ones(4))
    assert found[["mae", "rps", "ece"]].to_numpy() == pytest.approx(np.zeros(3))
    flat = crossed_scores(np.full(p.shape, 0.2), votes, contents, n_boot=50).set_index("metric")["value"]
    assert flat["pairs"] == pytest.approx(0.5) and flat["srocc"] == 0 and flat["ece"] == pytest.approx(0, abs=1e-9)
    assert flat["rps"] == pytest.approx(0.2)
