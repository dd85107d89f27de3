"""Methods of a suite beside what a publication says of its own."""

import numpy as np
import pandas as pd
import pytest

from iqasuite.errors import InputError
from iqasuite.experiments.benchmarking import beside_published


def test_published_rows_stand_beside_the_methods_here_and_need_no_method():
    values = {"srocc": 0.8, "plcc": 0.81, "krcc": 0.6, "rmse": 12.0}
    scores = pd.DataFrame([("net", metric, value, value - 0.05, value + 0.05) for metric, value in values.items()])
    scores.columns = ["model", "metric", "value", "low", "high"]
    rows = {"net": ["Net-50", 0.819, 0.836, 0.634], "not run": ["Other", 0.5, 0.5, 0.4]}
    found = beside_published(scores, rows)
    assert found.loc[0, ["model", "srocc", "published"]].tolist() == ["net", "0.800 [0.750, 0.850]", "Net-50"]
    assert found.loc[1, ["srocc", "plcc", "krcc"]].tolist() == ["–"] * 3
    np.testing.assert_array_equal(found["published_krcc"], [0.634, 0.4])
    with pytest.raises(InputError, match="published: net: found .* expected a name and srocc, plcc, krcc"):
        beside_published(scores, {"net": ["Net-50", 0.8]})
