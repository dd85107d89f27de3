"""Tables of scores: order, intervals, Markdown."""

import numpy as np
import pandas as pd
import pytest

from iqasuite.errors import InputError
from iqasuite.report import tables


@pytest.fixture
def scores():
    values = {"baseline: majority": (0.348, np.nan), "aio b": (0.61, 0.77), "ceiling: others": (0.711, 0.851)}
    values |= {"baseline: thresholds on height": (0.608, 0.777), "aio a": (0.64, 0.79)}
    rows = []
    for model, numbers in values.items():
        for observer in ("user10", "user2", "mean"):
            for metric, value in zip(("accuracy", "qwk"), numbers, strict=True):
                rows.append((model, observer, metric, value, value - 0.02, value + 0.02))
    frame = pd.DataFrame(rows, columns=["model", "observer", "metric", "value", "low", "high"])
    seeds = frame["model"].map({"aio a": "0,1,2"}).fillna("0")
    return frame.assign(n=1234, seeds=seeds, folds="0,1,2,3,4")


def test_number_with_interval():
    assert tables.with_interval(0.634, 0.6, 0.658) == "0.63 [0.60, 0.66]"
    assert tables.with_interval(-0.0123, -0.021, -0.003, 3) == "−0.012 [−0.021, −0.003]"
    assert tables.with_interval(0.5) == "0.50" and tables.with_interval(np.nan, 0, 1) == "–"


def test_methods_by_metrics(scores):
    table = tables.method_table(scores, ("accuracy", "qwk", "mae"))
    assert list(table.columns) == ["model", "accuracy", "qwk", "n", "splits", "trainings"]
    assert table["n"].eq("1,234").all() and table["splits"].eq("5").all()
    assert list(table["trainings"]) == ["3", "1: contents only", "–", "–", "–"]
    assert "splits" not in tables.method_table(scores.assign(folds=""))  # written before the column was
    assert list(table["model"]) == [
        *("aio a", "aio b", "baseline: thresholds on height", "baseline: majority", "ceiling: others"),
    ]
    assert table.loc[0, "accuracy"] == "0.640 [0.620, 0.660]" and table.loc[3, "qwk"] == "–"
    assert tables.method_table(scores, intervals=False).loc[0, "accuracy"] == "0.640"


def test_observers_by_methods(scores):
    table = tables.observer_table(scores)
    assert list(table["observer"]) == ["user2", "user10", "mean"]
    assert list(table.columns)[1:3] == ["aio a", "aio b"] and table.columns[-1] == "ceiling: others"


def test_ambiguous_or_absent_scores_are_refused(scores):
    with pytest.raises(InputError, match="several times"):
        tables.method_table(pd.concat([scores, scores]))
    with pytest.raises(InputError, match="several times"):
        tables.observer_table(pd.concat([scores, scores]))
    with pytest.raises(InputError, match="no rows of observer 'user3'"):
        tables.method_table(scores, observer="user3")


def test_markdown():
    frame = pd.DataFrame({"model": ["a|b", "c"], "value": [0.12345, np.nan], "n": [3, 4]})
    assert tables.to_markdown(frame).splitlines() == [
        "| model | value | n |",
        "| --- | ---: | ---: |",
        "| a\\|b | 0.123 | 3 |",
        "| c | – | 4 |",
    ]


def test_who_has_too_few_images_to_count_is_marked(scores):
    few = scores.assign(n=scores["n"].mask(scores["observer"] == "user2", 3))
    table = tables.observer_table(few.assign(value=few["value"].mask(few["observer"] == "user2")))
    assert list(table["observer"]) == ["user2 (n = 3, not in the mean)", "user10", "mean"]
    assert (table.iloc[0, 1:] == "–").all() and (table.iloc[1:, 1:] != "–").all(axis=None)
