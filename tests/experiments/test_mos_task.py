"""MosTask: one split for all runs of a suite, and predictions, medians and captions of what is learnt on it."""

import numpy as np
import pandas as pd
import pytest

from iqasuite.errors import InputError
from iqasuite.experiments.mos_task import MosTask, headline
from iqasuite.experiments.run import Run


@pytest.fixture
def of(noise, project):
    """Makes tasks of the noise as a folder of one's own: six contents of two images."""
    rows = noise.images.assign(mos=1 + noise.images["mos"] / 25, content=[f"c{i // 2}" for i in range(12)])
    rows[["image", "content", "mos"]].to_csv(noise.root / "ratings.csv", index=False)
    return lambda *args, **given: MosTask.of(Run("s", "a"), str(noise.root), *args, n_folds=3, **given)


def test_runs_of_a_suite_share_splits_by_content(of):
    task = of(folds=[2])
    assert task.folds == [2] and not task.faithful and task.leaks() == 0
    assert of(seed=5).split.equals(task.split)
    assert set(task.part(2, "train")).isdisjoint(task.part(2, "test"))
    assert task.parts()["part"].tolist() == ["train", "val", "test"]
    assert "12 images of 6 contents" in task.heading() and "1 split, corrected protocol" in task.heading()
    assert task.unit == "MOS (1–5)"


def test_faithful_folds_are_random_and_leak(of):
    task = of("faithful")
    assert task.folds == [0, 1, 2, 3, 4] and set(task.split["part"]) == {"train", "test"} and task.leaks() > 0


def test_unknown_protocols_and_folds_are_refused(of):
    with pytest.raises(InputError, match="protocol='honest': expected corrected or faithful"):
        of("honest")
    with pytest.raises(InputError, match=r"folds=\[3\]: expected some of \[0, 1, 2\]"):
        of(folds=[3])


def test_predictions_become_medians_and_captions(task):
    frames = [task.predictions("m", fold, "test", task.mos[task.part(fold, "test")], seed=1) for fold in task.folds]
    found = pd.concat(frames, ignore_index=True)
    assert found["prediction"].equals(found["target"]) and set(found["seed"]) == {1} and found["p1"].isna().all()
    assert headline(task.medians(found, 0)) == {"SROCC, m": 1.0}
    assert task.about(found) == "noise: 8 test images of 8 contents, 2 splits, seed 1, corrected protocol"
    certain = np.tile([0.0, 0, 0, 0, 1], (4, 1))
    assert (task.predictions("m", 0, "val", np.full(4, 5.0), probabilities=certain)["p5"] == 1).all()


def test_examples_go_from_the_worst_to_the_best(task):
    assert task.examples(0) == ["8.png", "9.png", "10.png", "11.png"]
