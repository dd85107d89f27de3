"""The marks beside every AIO: protocols, a rule on the file, and what a publication states of other images."""

import numpy as np
import pandas as pd
import pytest

from iqasuite.datasets.splits import by_content
from iqasuite.errors import InputError
from iqasuite.evaluation.scores import score_frame
from iqasuite.evaluation.subjects.ceilings import retest_ceiling
from iqasuite.evaluation.subjects.repetition import retest
from iqasuite.experiments import observers, study_marks, tested_observers
from iqasuite.experiments.study_marks import PUBLISHED
from iqasuite.training.aio import Fold


def test_marks(demo_set):
    split = by_content(demo_set.images, 3, 0, demo_set.sources)
    frames = []
    for fold in (Fold(demo_set, split, number) for number in (0, 1)):
        votes = observers.votes_of(fold, ["Obs2"]).set_index("image")["vote"][fold.part("test")]
        for protocol, p in (("corrected", np.full((len(votes), 5), 0.2)), ("faithful", np.eye(5)[votes - 1])):
            frames.append(observers.predictions_of({"test": p}, fold, "Obs2", "m", protocol, 0))
    found = tested_observers.tested(demo_set, pd.concat(frames, ignore_index=True), "", "corrected")
    scores = score_frame(found.aios, found.sources, 0)
    reached = study_marks.reached(found, scores, split, {"Obs2": 0.6, "Obs3": 0.7})
    rule = "monotone thresholds on jpeg quality"
    assert set(reached["model"]) == {"AIO, corrected", "AIO, faithful", rule, PUBLISHED}
    votes = demo_set.votes[demo_set.votes["observer"] == "Obs2"]
    table = study_marks.marks_table(reached, retest(votes, n_boot=0), retest_ceiling(votes, n_boot=5))
    assert table["observer"].tolist() == ["Obs2", "mean"] and (table[PUBLISHED] == 0.6).all()
    assert (table["AIO, faithful"] == 1).all() and table[rule].between(0.3, 0.9).all()
    assert table["ceiling, low"][0] <= table["ceiling, estimated"][0] <= table["ceiling, high"][0]
    with pytest.raises(InputError, match="observer 'Obs9' of demo: unknown"):
        study_marks.reached(found, scores, split, {"Obs9": 0.6})
