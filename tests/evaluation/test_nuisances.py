import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from iqasuite.evaluation.nuisances import OF_CATEGORIES, OF_NUMBERS, explained


def shares(columns: dict, mos: np.ndarray, contents=None, n_boot: int = 200) -> pd.DataFrame:
    names = [f"i{k:03d}" for k in range(len(mos))]
    nuisances = pd.DataFrame(columns, index=pd.Index(names, name="image"))
    contents = names if contents is None else contents
    found = explained(nuisances, pd.Series(mos, index=names), pd.Series(contents, index=names), n_boot)
    return found.set_index("nuisance")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_the_share_that_was_simulated_is_found(rng):
    group = rng.integers(0, 4, 2000)
    mos = np.array([1.0, 2.0, 3.0, 4.0])[group] + rng.normal(0, 1, 2000)
    of_groups = 1.25 / 2.25  # variance of 1, 2, 3, 4 over that and 1
    found = shares({"codec": np.array(list("wxyz"))[group], "rate": mos + rng.normal(0, 1, 2000)}, mos)
    assert found.loc["codec", "value"] == pytest.approx(of_groups, abs=0.04)
    assert found.loc["codec", "low"] < of_groups < found.loc["codec", "high"]
    assert found.loc["rate", "value"] == pytest.approx(0.67, abs=0.05)
    assert found["measure"].tolist() == [OF_CATEGORIES.format(4), OF_NUMBERS]


def test_many_categories_explain_nothing_by_their_number(rng):
    mos = rng.normal(3, 1, 145)
    label = [f"c{min(k, 139)}" for k in range(145)]
    found = shares({"camera": label, "file": [f"f{k}" for k in range(145)], "rate": rng.normal(size=145)}, mos)
    assert (found["value"] < 0.05).all() and (found["high"] < 0.2).all()


def test_leaving_one_out_is_that(rng):
    group, mos = np.array(list("aaabbc")), np.array([1.0, 2.0, 4.0, 3.0, 5.0, 2.0])

    def others(k, which):
        return mos[[j for j in range(6) if j != k and which(j)]]

    of_all = np.array([others(k, lambda j: True).mean() for k in range(6)])
    guess = of_all.copy()
    guess[:5] = [others(k, lambda j, k=k: group[j] == group[k]).mean() for k in range(5)]
    expected = max(0, 1 - ((mos - guess) ** 2).sum() / ((mos - of_all) ** 2).sum())
    assert shares({"x": group}, mos).loc["x", "value"] == pytest.approx(expected)
    clear = np.array([1.0, 1.1, 1.2, 4.0, 4.1, 2.0])
    assert shares({"x": group}, clear).loc["x", "value"] > 0.7


def test_adjusted_rank_correlation(rng):
    x, mos = rng.normal(size=30), rng.normal(size=30)
    mos += x
    rho = spearmanr(x, mos).statistic
    expected = 1 - (1 - rho**2) * 29 / 28
    assert shares({"x": x}, mos).loc["x", "value"] == pytest.approx(expected)
    assert shares({"x": x**3, "y": -x}, mos)["value"].tolist() == pytest.approx([expected] * 2)  # monotone, either way


def test_what_cannot_be_known(rng):
    mos = np.array([1.0, 2.0, 3.0, 4.0])
    found = shares({"x": [1.0, np.nan, np.nan, 2.0], "y": [1.0, 1.0, 1.0, 1.0], "z": list("aaaa")}, mos)
    assert found["n"].tolist() == [2, 4, 4] and np.isnan(found["value"].iloc[:2]).all() and found.loc["z", "value"] == 0
    assert shares({"z": list("aabb")}, np.full(4, 3.0))["value"].isna().all()
    assert shares({}, mos).empty
    assert shares({"x": [1.0, 2.0, 3.0, 4.0]}, mos, contents=list("aabb"))["low"].isna().all()  # of two contents
