"""The level of an observer: never worse than the population, sensitivities and axes where votes ask for them."""

import numpy as np
import pandas as pd
import pytest

from iqasuite.images.nameable import NAMES
from iqasuite.training.few_shot import PEOPLE, Observer, fit_observer, with_features
from iqasuite.training.levels import (
    FEW_SHOT,
    HEAD,
    HEAD_VOTES,
    LEVELS,
    POPULATION,
    apart,
    fit_level,
)

AXES = tuple(f"axis_{k}" for k in range(1, 9))
ERROR = 0.4  # of the simulated trunk, in votes


def simulated(people: int, images: int, seed: int, sensitivity: float = 0.0, names: tuple[str, ...] = NAMES):
    """Scores of a trunk that is off, true quality, and votes (people, images) of people drawn from a population."""
    rng = np.random.default_rng(seed)
    index = pd.Index([f"i{k:03d}" for k in range(images)], name="image")
    quality = pd.Series(rng.uniform(1, 5, images), index)
    scores = pd.DataFrame(rng.standard_normal((images, 13)), index, [*NAMES, *AXES])
    scores.insert(0, "quality", np.clip(quality + rng.normal(0, ERROR, images), 1, 5))
    population = with_features(PEOPLE, names, sensitivity or 1e-9)
    votes = np.empty((people, images), int)
    for k in range(people):
        person = population.mean() + population.sd() * rng.standard_normal(len(population.mean()))
        p = Observer(population, person, 1e-12 * np.eye(len(person))).distribution(quality.to_numpy(), scores)
        votes[k] = 1 + (rng.random((images, 1)) > np.cumsum(p, axis=1)[:, :4]).sum(1)
    return scores, pd.DataFrame(votes, columns=index)


def log_loss(p: np.ndarray, votes: pd.Series) -> float:
    return -float(np.log(p[np.arange(len(votes)), votes.to_numpy() - 1]).mean())


@pytest.mark.parametrize("sensitivity", [0.0, 0.3])
def test_votes_help_at_every_number_and_never_cost_in_the_mean(sensitivity):
    counts, losses = (0, 1, 5, 20, 80), []
    for seed in range(3):
        scores, votes = simulated(4, 160, seed, sensitivity)
        population = fit_level(PEOPLE, scores, votes.iloc[0, :0])
        assert population.level == POPULATION and "no votes" in population.why
        for _, own in votes.iterrows():
            fits = [fit_level(PEOPLE, scores, own.iloc[:n]) for n in counts]
            losses.append([log_loss(fit.distribution(scores.iloc[80:]), own.iloc[80:]) for fit in fits])
    mean, gain = np.mean(losses, axis=0), np.array(losses)[:, :1] - np.array(losses)
    error = gain.std(0, ddof=1) / np.sqrt(len(gain))
    assert (gain.mean(0)[1:] > -error[1:]).all()  # one vote tells next to nothing
    assert (np.diff(mean[[0, 2, 3, 4]]) < 0).all()


def test_sensitivities_count_where_the_votes_ask_for_them_and_improve_predictions():
    used, gains = {0.0: [], 0.4: []}, []
    for sensitivity, levels in used.items():
        scores, votes = simulated(5, 160, 5, sensitivity)
        for _, own in votes.iterrows():
            fitted = fit_level(PEOPLE, scores, own.iloc[:40])
            levels.append(fitted.apart is not None)
            assert ("and sensitivities to blur" in fitted.why) == levels[-1] and fitted.level in LEVELS[1:3]
            if sensitivity:
                plain = fit_observer(PEOPLE, scores["quality"].iloc[:40].to_numpy(), own.iloc[:40], None, ERROR)
                alone = plain.distribution(scores["quality"].iloc[80:].to_numpy(), None, ERROR)
                rest = own.iloc[80:]
                gains.append(log_loss(alone, rest) - log_loss(fitted.distribution(scores.iloc[80:]), rest))
    assert sum(used[0.0]) <= 1 and sum(used[0.4]) >= 4
    assert np.mean(gains) > 0.05


def test_axes_of_the_trunk_count_from_many_votes_on():
    scores, votes = simulated(3, 120, 2, 0.5, AXES)
    few = [fit_level(PEOPLE, scores, own.iloc[: HEAD_VOTES - 1]).level for _, own in votes.iterrows()]
    many = [fit_level(PEOPLE, scores, own.iloc[:100]) for _, own in votes.iterrows()]
    assert set(few) == {FEW_SHOT} and [fit.level for fit in many].count(HEAD) >= 2
    without = scores[["quality", *NAMES]]
    assert {fit_level(PEOPLE, without, own.iloc[:100]).level for _, own in votes.iterrows()} == {FEW_SHOT}


def test_each_vote_is_predicted_by_others_and_contents_stay_whole():
    scores, votes = simulated(1, 60, 3)
    own, groups = votes.iloc[0], [f"c{k // 10}" for k in range(60)]
    fitted = fit_level(PEOPLE, scores, own)
    p = fitted.out_of_fold(scores, own, groups)
    changed = own.copy()
    changed.iloc[:10] = 6 - changed.iloc[:10]  # one content: nothing that predicts it may move
    np.testing.assert_allclose(fitted.out_of_fold(scores, changed, groups)[:10], p[:10], atol=1e-3)
    assert log_loss(p, own) > log_loss(fitted.distribution(scores), own)


def test_features_are_what_quality_does_not_explain():
    rng = np.random.default_rng(1)
    quality, own = pd.Series(rng.uniform(1, 5, 200)), rng.standard_normal(200)
    features = pd.DataFrame({"blur": 40 - 3 * quality + 0.5 * quality**2 + own, "noise": 7 + 2 * own, "flat": 3.0})
    found = apart(features, quality)
    phi = found.of(features, quality)
    assert np.corrcoef(phi["blur"], own)[0, 1] > 0.95 and (phi["flat"] == 0).all()
    assert phi[["blur", "noise"]].std().to_numpy() == pytest.approx(1, abs=0.02) and abs(phi.mean()).max() < 1e-9
    assert found.of(features * 1000, quality).abs().max().max() == 5  # no image is beyond what was rated
