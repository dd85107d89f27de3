"""Known parts of the variance of simulated votes are found again, and nothing is found where there is nothing."""

import numpy as np
import pandas as pd
import pytest

from iqasuite.errors import InputError
from iqasuite.evaluation.subjects.taste import PARTS, variance_parts


def simulated(sensitivity, rest, noise=0.4, observers=30, images=120, seed=0):
    """Two sessions of real-valued votes with known variances; features, contents."""
    rng = np.random.default_rng(seed)
    quality, phi = rng.normal(3, 1, images), rng.standard_normal((images, 2))
    y = quality + rng.normal(0, 0.5, (observers, 1)) + rng.normal(0, 0.2, (observers, 1)) * (quality - 3)
    y = y + rng.normal(0, 1, (observers, 2)) @ (sensitivity * phi.T) + rng.normal(0, rest, (observers, images))
    names = [f"i{k:03d}" for k in range(images)]
    frames = []
    for session in (1, 2):
        table = pd.DataFrame(y + rng.normal(0, noise, y.shape), [f"o{k}" for k in range(observers)], names)
        long = table.melt(ignore_index=False, var_name="image", value_name="vote").reset_index(names="observer")
        frames.append(long.assign(session=session, position=1))
    features = pd.DataFrame(phi, names, ["blur", "noise"])
    return pd.concat(frames), features, pd.Series([f"c{k // 6}" for k in range(images)], names)


def test_known_parts_are_found():
    found = variance_parts(*simulated(0.3, 0.5), n_permutations=199).set_index("part")
    assert list(found.index) == list(PARTS)
    truth = {"image": 1, "bias": 0.25, "slope": 0.04, "sensitivities": 0.18, "repeatable rest": 0.25, "noise": 0.16}
    for part, value in truth.items():
        assert found.loc[part, "variance"] == pytest.approx(value, rel=0.45, abs=0.01), part
    assert (found.loc[["bias", "slope", "sensitivities", "repeatable rest"], "p"] < 0.02).all()
    assert found["share"].sum() == pytest.approx(1)
    assert ((found["low"] < found["share"]) & (found["share"] < found["high"])).all()


def test_nothing_is_found_where_there_is_nothing():
    found = [variance_parts(*simulated(0, 0, seed=k), n_permutations=99).set_index("part") for k in range(6)]
    for part in ("sensitivities", "repeatable rest"):
        assert np.mean([each.loc[part, "p"] < 0.05 for each in found]) < 0.4
        assert abs(np.mean([each.loc[part, "share"] for each in found])) < 0.005


def test_without_repetition_rest_and_noise_are_one():
    votes, features, contents = simulated(0.3, 0.5)
    found = variance_parts(votes[votes["session"] == 1], features, contents, 99).set_index("part")
    assert np.isnan(found.loc["repeatable rest", "variance"])
    assert found.loc["noise", "variance"] == pytest.approx(0.25 + 0.16, rel=0.1)


def test_too_few_common_images():
    votes, features, _ = simulated(0, 0, observers=2)
    with pytest.raises(InputError, match="2 observers"):
        variance_parts(votes, features)
