"""The few-shot experiment on simulated observers: votes help, sets cover, biases and tastes are found."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from iqasuite.datasets import simulated
from iqasuite.experiments import few_shot, few_shot_curve, panel

KINDS = np.array(simulated.DISTORTIONS)


def panel_of(n, seed=0):
    """A panel of simulated observers on images without pixels."""
    rng = np.random.default_rng(seed)
    names = pd.Index([f"i{k:03d}" for k in range(150)], name="image")
    quality = pd.Series(rng.uniform(1, 4.5, 150), names)
    kind = pd.Series(KINDS[rng.integers(0, 4, 150)], names)
    observers = simulated.other_observers(n, seed)
    votes = {o.name: simulated.vote(o, quality.to_numpy(), kind.to_numpy(), rng) for o in observers}
    features = panel.by_distortion(kind, quality)
    truth = simulated.table(observers).rename(columns={f"taste_{name}": name for name in features})
    contents = pd.Series([f"c{k // 10:02d}" for k in range(150)], names)
    table = pd.DataFrame(votes, names, dtype=float)
    return panel.Panel(SimpleNamespace(name="simulated"), table, contents, quality, features, truth)


@pytest.fixture(scope="module")
def people():
    return panel_of(12)


@pytest.fixture(scope="module")
def split(people):
    group = people.contents.str[1:].astype(int) % 3
    parts = [np.where(group == f, "test", np.where(group == (f + 1) % 3, "val", "train")) for f in range(3)]
    frames = [people.contents.rename("content").reset_index().assign(fold=f, part=p) for f, p in enumerate(parts)]
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="module")
def cases(people, split):
    vectors = pd.DataFrame({"a": people.quality, "b": people.quality**2})
    groups = few_shot.groups_of(list(people.votes), 2)
    return few_shot.cases(people.votes, split, groups, vectors, people.features, "ridge")


def test_a_case_never_sees_its_observers_nor_its_test_contents(people, split, cases):
    assert len(cases) == 6
    assert sorted(name for case in cases[:2] for name in case.unseen) == sorted(people.votes)
    other = people.votes.copy()
    other[list(cases[0].unseen)] = 1.0
    other.loc[cases[0].images("test")] = 5.0
    vectors = pd.DataFrame({"a": people.quality, "b": people.quality**2})
    again = few_shot.cases(other, split, few_shot.groups_of(list(people.votes), 2), vectors, people.features, "ridge")[
        0
    ]
    pd.testing.assert_series_equal(again.quality, cases[0].quality)
    assert again.population == cases[0].population


def test_the_others_mean_holds_nothing_of_the_observer(people, split):
    case = few_shot.cases(people.votes, split, few_shot.groups_of(list(people.votes), 2))[0]
    seen = case.seen
    pd.testing.assert_series_equal(case.quality, case.votes[seen].mean(axis=1))
    pd.testing.assert_series_equal(case.quality_for(seen[0]), case.votes[seen[1:]].mean(axis=1))


def test_votes_help_and_sets_cover(people, cases, tmp_path):
    methods = (
        few_shot.POPULATION,
        few_shot.FEW_SHOT,
        few_shot.FEATURES,
        few_shot.BIAS,
        few_shot.WIDE,
        few_shot.NEAREST,
    )
    curve = few_shot_curve.run_curve(cases, people.contents, methods, (0, 3, 20), draws=2)
    table = few_shot_curve.curve_table(curve, "simulated", n_boot=50)
    value = table.set_index(["method", "votes", "metric"])["value"]
    rps = value.xs("rps", level="metric")
    assert rps["few-shot", "0"] == rps["population", "0"] == rps["population", "20"]
    assert rps["few-shot", "20"] < rps["few-shot", "3"] < rps["few-shot", "0"]
    assert rps["few-shot, named features", "20"] < rps["few-shot", "20"]
    assert rps["few-shot", "3"] < rps["bias only (P.910)", "3"]
    assert rps["few-shot", "3"] < rps["thresholds without prior", "3"]
    assert 0.84 < value["few-shot", "20", "coverage"] < 0.96
    assert ("bias only (P.910)", "0") not in rps
    path = few_shot_curve.keep_curve(tmp_path / "few_shot.csv", table)
    few_shot_curve.keep_curve(path, table.assign(dataset="other"))
    few_shot_curve.keep_curve(path, table)
    assert pd.read_csv(path)["dataset"].value_counts().to_dict() == {"simulated": len(table), "other": len(table)}
    words = few_shot_curve.curve_words(table, ("accuracy",))
    assert list(words["votes"]) == ["0", "3", "20"]
    assert few_shot_curve.headline(table)["accuracy, 20 votes"] == value["few-shot", "20", "accuracy"]


def test_orders_are_compared_and_trunks_described(people, cases):
    compared = few_shot_curve.compare_orders(cases[:2], people.contents, ["random", "d_optimal"], 1, n_boot=20)
    assert set(compared["method"]) == {"random", "d_optimal"}
    assert few_shot_curve.compare_orders(cases, people.contents, [], 1).empty
    assert (few_shot_curve.trunk_table(cases)["srocc"] > 0.8).all()
    numbers = few_shot_curve.population_table(cases).set_index("parameter")
    assert (numbers["least"] <= numbers["mean"]).all() and "sensitivity_sd" in numbers.index


def test_biases_and_tastes_of_simulated_observers_are_recovered_from_twenty_votes(people):
    population, quality = panel.without(people, "Sim1")
    pd.testing.assert_series_equal(quality, people.quality)
    r = panel.agreement_with_truth(panel.recovered(people, population, (5, 20), "d_optimal"))
    assert r.loc[20, "bias"] > 0.85 and r.loc[20, "all"] > 0.65  # votes that end at 1 hide how far a taste goes
    assert (r.loc[20].mean() > r.loc[5].mean()) and list(r.columns) == ["bias", *KINDS, "all"]


def test_over_seeds_the_bias_is_recovered_with_r_above_nine_tenths_and_tastes_as_well_as_votes_allow():
    prior = few_shot.with_features(few_shot.PEOPLE, tuple(KINDS), 0.7)
    tables, promised = [], []
    for seed in range(3):
        people = panel_of(25, seed)
        tables.append(panel.recovered(people, prior, (20, 80), "random", seed))
        for name in people.votes:
            asked = people.votes[name].sample(20, random_state=seed)
            fitted = few_shot.fit_observer(prior, people.quality, asked, people.features)
            promised.append(np.diag(fitted.covariance)[6:])
    table = pd.concat([rows.assign(observer=f"{k}" + rows["observer"]) for k, rows in enumerate(tables)])
    r = panel.agreement_with_truth(table)
    assert r.loc[20, "bias"] > 0.9 and r.loc[80, "bias"] > 0.95
    # Whole votes that end at 1 hold no more than this about four tastes: the posterior says so itself.
    limit = np.sqrt(1 - np.mean(promised) / 0.7**2)
    assert r.loc[20, list(KINDS)].mean() == pytest.approx(limit, abs=0.06) and limit < 0.9
    assert r.loc[80, list(KINDS)].mean() > 0.86


def test_an_observer_step_by_step(people):
    population, quality = panel.without(people, "Sim2")
    steps = panel.steps(people, "Sim2", population, quality, people.votes.index, (0, 5, 40))
    width = (steps["high"] - steps["low"]).groupby(steps["votes"]).mean()
    assert width[0] > width[5] > width[40]
    fitted = few_shot.fit_observer(population, quality, people.votes["Sim2"].iloc[:20], people.features)
    calibrated, observer = panel.calibrated(people, "Sim2", fitted, 20)
    assert 0.5 < calibrated.mass < 1 and observer.population is calibrated


def test_real_observers_have_the_mean_of_the_others(people):
    votes, phi, contents = panel.own_votes(people)
    parts = panel.taste({"simulated": (votes, phi, contents)}, 49).set_index("part")
    assert parts.loc["sensitivities", "p"] < 0.05 and parts.loc["bias", "share"] > 0.02
    population, quality = panel.without(replace(people, truth=None), "Sim1")
    pd.testing.assert_series_equal(quality, people.votes.drop(columns="Sim1").mean(axis=1))
    assert population.features == tuple(people.features)
