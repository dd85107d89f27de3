"""The population's numbers are found again from the votes of simulated people."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from iqasuite.errors import InputError
from iqasuite.evaluation.subjects.population import STATISTICS, estimate_population, panels, people_statistics
from iqasuite.training.few_shot import PEOPLE, Observer, with_features

TRUTH = replace(
    with_features(PEOPLE, ("blur", "noise"), 0.35),
    bias=0.1,
    bias_sd=0.6,
    slope_sd=0.1,
    inconsistency=0.7,
    inconsistency_sd=0.3,
    gaps=(1.2, 0.9, 1.0),
    gap_sd=0.1,
)


def votes_of(population, people, images, seed=0):
    """Votes frame of people drawn from a population, with quality and features, all index image."""
    rng = np.random.default_rng(seed)
    names = [f"i{k}" for k in range(images)]
    quality = pd.Series(rng.uniform(1, 5, images), names)
    phi = pd.DataFrame(rng.standard_normal((images, len(population.features))), names, list(population.features))
    frames = []
    for k in range(people):
        person = population.mean() + population.sd() * rng.standard_normal(len(population.mean()))
        p = Observer(population, person, 1e-12 * np.eye(len(person))).distribution(quality.to_numpy(), phi)
        vote = 1 + (rng.random((images, 1)) > np.cumsum(p, axis=1)[:, :4]).sum(1)
        frames.append(pd.DataFrame({"observer": f"o{k}", "session": 1, "position": 0, "image": names, "vote": vote}))
    return pd.concat(frames, ignore_index=True), quality, phi


def test_a_known_population_is_found():
    votes, quality, phi = votes_of(TRUTH, 60, 80)
    start = with_features(PEOPLE, TRUTH.features, 0.1)
    found = estimate_population(votes, quality, phi, start, weight=0)
    assert found.bias == pytest.approx(0.1, abs=0.25)
    assert found.inconsistency == pytest.approx(0.7, rel=0.12)
    assert found.gaps == pytest.approx((1.2, 0.9, 1.0), rel=0.12)
    for name in ("bias_sd", "sensitivity_sd", "inconsistency_sd"):
        assert getattr(found, name) == pytest.approx(getattr(TRUTH, name), rel=0.3), name
    few = votes[votes["observer"].isin(["o1", "o2"])]
    shrunk = estimate_population(few, quality, phi, start, weight=50)
    assert abs(shrunk.sensitivity_sd - 0.1) < abs(found.sensitivity_sd - 0.1)
    assert estimate_population(few.iloc[:0], quality, phi, start) == start


def test_many_tests_have_numbers_with_intervals(tmp_path):
    population = replace(PEOPLE, bias_sd=0.5)
    for k in range(5):
        votes, _, _ = votes_of(population, 12, 40, seed=k)
        table = votes.pivot(index="image", columns="observer", values="vote")
        table.to_csv(tmp_path / f"test_{k}.csv")
    tests = panels(tmp_path)
    assert list(tests) == [f"test_{k}" for k in range(5)] and len(tests["test_0"]) == 12 * 40
    found = people_statistics(tests, n_boot=200).set_index("statistic")
    assert tuple(found.index) == STATISTICS and (found["n_observers"] == 60).all()
    assert found.loc["bias_sd", "value"] == pytest.approx(0.5, rel=0.25)
    assert (found["low"] <= found["value"]).all() and (found["value"] <= found["high"]).all()


def test_a_folder_without_tests_is_named(tmp_path):
    with pytest.raises(InputError, match="no CSV files"):
        panels(tmp_path)
