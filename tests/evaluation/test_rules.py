from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from iqasuite.datasets import load
from iqasuite.datasets.dataset import Dataset, Scale
from iqasuite.errors import InputError
from iqasuite.evaluation.rules import MOST_OFTEN_RIGHT, MOST_PROBABLE, expected_votes, rules_on_split


def steps(people: dict[str, list[float]], n: int = 400) -> tuple[pd.DataFrame, pd.Series]:
    """People whose vote is how many of their cuts an image's score is above; every other person sees half of them."""
    score = pd.Series(np.linspace(0, 100, n), index=[f"i{k:03d}" for k in range(n)])
    frames = []
    for number, (name, cuts) in enumerate(people.items()):
        own = score.iloc[number % 2 :: 2]
        vote = 1 + (own.to_numpy()[:, None] > np.asarray(cuts)).sum(1)
        frame = pd.DataFrame({"observer": name, "session": 1, "position": 0, "image": own.index, "vote": vote})
        frames.append(frame.assign(duration=np.nan, timestamp=pd.NaT))
    return pd.concat(frames, ignore_index=True), score


def test_expected_votes_are_each_persons_own():
    votes, score = steps({"strict": [40, 60, 80, 95], "mild": [5, 20, 40, 60]})
    expected = expected_votes(votes, score)
    assert len(expected) == 400 and expected.between(1, 5).all()
    seen = votes.set_index(["observer", "image"])["vote"]
    assert (expected - seen.reindex(expected.index)).abs().mean() < 0.15
    with pytest.raises(InputError, match="no value for any image"):
        expected_votes(votes, score.rename(index=lambda name: name + "x"))


def test_rules_find_steps_and_miss_what_majority_misses():
    votes, score = steps({"strict": [40, 60, 80, 95], "mild": [5, 20, 40, 60]})
    images = pd.DataFrame(
        {"image": score.index, "content": score.index, "reference": "", "distortion": "", "level": 0.0}
    )
    images = images.assign(mos=3.0, mos_std=np.nan, n_votes=1)
    data = Dataset("steps", Path("."), images, votes, Scale(1, 5))
    part = np.where(np.arange(400) % 10 < 4, "test", "train")
    split = images[["image", "content"]].assign(fold=0, part=part)
    found = rules_on_split(data, score, split, n_boot=200).pivot(index="observer", columns="model", values="value")
    assert (found[MOST_OFTEN_RIGHT] > 0.93).all() and (found[MOST_PROBABLE] > 0.9).all()
    assert (found["baseline: majority"] < 0.5).all() and list(found.index) == ["mild", "strict"]
    with pytest.raises(InputError, match="fold 3"):
        rules_on_split(data, score, split, fold=3)


def test_published_figures_of_the_playlists(playlists_folder):
    data = load("aio_playlists", playlists_folder)
    found = rules_on_split(data, data.nuisances["jpeg_quality"], data.official_split, n_boot=100)
    right = found[found["model"] == MOST_OFTEN_RIGHT]["value"].to_numpy()
    np.testing.assert_allclose(right, [0.687, 0.640, 0.637, 0.650, 0.600], atol=0.005)
    assert (found["n"] == 300).all()
