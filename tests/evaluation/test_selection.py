"""What picking the epoch by the test part would have claimed."""

import numpy as np
import pandas as pd
import pytest

from iqasuite.errors import InputError
from iqasuite.evaluation import selection


def history(model, val, test, seed=0, fold=0):
    return pd.DataFrame(
        {"model": model, "seed": seed, "fold": fold, "epoch": range(len(val)), "val": val, "test": test}
    )


def test_selection_gap_worked_by_hand():
    table = pd.concat(
        [
            history("a", [0.5, 0.8, 0.7], [0.5, 0.6, 0.9], fold=0),  # honest .6, claimed .9
            history("a", [0.5, 0.6, 0.7], [0.5, 0.6, 0.7], fold=1),  # .7 and .7
            history("b", [0.9, 0.2, 0.1], [0.8, 0.1, 0.1], fold=0),
            history("b", [0.1, 0.2, 0.1], [0.9, 0.5, 0.1], fold=1),
        ]
    )
    found = selection.selection_gap(table).set_index("model")
    assert found.loc["a", ["claimed", "honest", "gap"]].tolist() == pytest.approx([0.8, 0.65, 0.15])
    assert found.loc["b", ["claimed", "honest", "gap"]].tolist() == pytest.approx([0.85, 0.65, 0.2])
    both = found.loc[selection.ANY_MODEL]  # fold 0: val takes b (.8), test a (.9); fold 1: val a (.7), test b (.9)
    assert both[["claimed", "honest", "gap"]].tolist() == pytest.approx([0.9, 0.75, 0.15])
    assert (found["low"] == 0).all() and (found["high"] > found["gap"]).all()
    assert np.isnan(selection.selection_gap(history("a", [1, 2], [1, 2])).loc[0, "low"])
    with pytest.raises(InputError, match="val"):
        selection.selection_gap(table.drop(columns="val"))
    with pytest.raises(InputError, match="no epoch"):
        selection.selection_gap(history("a", [np.nan], [0.5]))
