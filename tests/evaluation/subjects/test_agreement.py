"""Agreement between people: published examples, peers, and simulated diversity."""

import krippendorff
import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score

from iqasuite.errors import InputError
from iqasuite.evaluation.subjects.agreement import (
    icc,
    krippendorff_alpha,
    pairwise_agreement,
    reliability,
    sos_parameter,
)

# Shrout & Fleiss 1979, table 2: six targets, four judges.
SHROUT_FLEISS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
# Krippendorff 2011, example C: four observers, twelve units; 0 = missing.
KRIPPENDORFF = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
    [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
]


def frame(table):
    """Votes frame of a table (images, observers); 0 = missing."""
    table = np.asarray(table)
    row, column = np.nonzero(table)
    people = [f"user{c + 1}" for c in column]
    images = [f"i{r:03d}" for r in row]
    return pd.DataFrame({"observer": people, "session": 1, "position": 1, "image": images, "vote": table[row, column]})


def test_intraclass_correlations_of_shrout_and_fleiss():
    found = icc(frame(SHROUT_FLEISS)).set_index("measure")
    assert found.loc["ICC(2,1)", "value"] == pytest.approx(0.29, abs=0.005)
    assert found.loc["ICC(2,k)", "value"] == pytest.approx(0.62, abs=0.005)
    # The interval that R's psych prints for the example.
    np.testing.assert_allclose(found.loc["ICC(2,1)", ["low", "high"]].to_numpy(float), [0.019, 0.761], atol=0.001)
    np.testing.assert_allclose(found.loc["ICC(2,k)", ["low", "high"]].to_numpy(float), [0.071, 0.927], atol=0.001)
    assert (found["n"] == 6).all() and (found["n_observers"] == 4).all()


def test_intraclass_correlation_takes_the_images_that_two_people_rated():
    votes = frame(SHROUT_FLEISS)
    more = pd.concat([votes, votes.iloc[[0]].assign(image="only user1")])
    pd.testing.assert_frame_equal(icc(more), icc(votes))
    with pytest.raises(InputError, match="1 image that two observers rated, expected at least two"):
        icc(votes[(votes["image"] == "i000") | (votes["observer"] == "user1")])
    unlinked = frame([[1, 2, 0, 0], [0, 0, 4, 5]])  # each person one image: nothing tells images from people
    assert np.isnan(icc(unlinked)["value"]).all()
    assert np.isnan(icc(frame([[3, 3, 3], [3, 3, 0], [0, 3, 3]]))["value"]).all()
    assert icc(frame([[1, 1], [3, 3], [5, 5]]))["value"].tolist() == [1, 1]


def test_intraclass_interval_covers_the_truth():
    rng, hits = np.random.default_rng(0), []
    truth = 1 / (1 + 0.25 + 0.5)
    for _ in range(200):
        table = rng.normal(size=(30, 1)) + rng.normal(0, 0.5, 8) + rng.normal(0, np.sqrt(0.5), (30, 8))
        found = icc(frame(table)).iloc[0]
        hits.append(found["low"] <= truth <= found["high"])
    assert np.mean(hits) == pytest.approx(0.95, abs=0.04)


def test_intraclass_correlation_of_a_complete_design_is_the_balanced_formula():
    rng = np.random.default_rng(2)
    table = rng.normal(size=(25, 1)) + rng.normal(0, 0.4, 7) + rng.normal(0, 0.8, (25, 7)) + 10
    rows, columns = table.mean(1, keepdims=True), table.mean(0)
    between, judges = 7 * rows.var(ddof=1), 25 * columns.var(ddof=1)
    error = np.square(table - rows - columns + table.mean()).sum() / (24 * 6)
    single = (between - error) / (between + 6 * error + 7 * (judges - error) / 25)
    mean = (between - error) / (between + (judges - error) / 25)
    assert icc(frame(table))["value"].tolist() == pytest.approx([single, mean], rel=1e-9)


def test_intraclass_correlation_with_most_cells_missing_is_that_of_the_people_and_covers_it():
    rng = np.random.default_rng(1)
    found = []
    for _ in range(200):
        table = rng.normal(size=(80, 1)) + rng.normal(0, 0.5, 15) + rng.normal(0, 0.7, (80, 15)) + 10
        found.append(icc(frame(np.where(rng.random(table.shape) < 0.6, 0, table))))
    single, mean = (pd.concat(found)[lambda rows, m=m: rows["measure"] == m] for m in ("ICC(2,1)", "ICC(2,k)"))
    truth = 1 / (1 + 0.5**2 + 0.7**2)
    assert single["value"].mean() == pytest.approx(truth, abs=0.012)  # 200 values of a spread of .05
    assert ((single["low"] <= truth) & (truth <= single["high"])).mean() == pytest.approx(0.95, abs=0.04)
    assert (mean["value"].to_numpy() > single["value"].to_numpy()).all() and (mean["value"] < 1).all()
    assert single["n"].between(75, 80).all() and (single["n_observers"] == 15).all()
    assert single["n_votes"].between(400, 560).all()


@pytest.mark.parametrize(("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_of_krippendorffs_example(level, published):
    found = krippendorff_alpha(frame(np.transpose(KRIPPENDORFF)), level).iloc[0]
    assert found["value"] == pytest.approx(published, abs=0.0006)
    assert (found["n"], found["n_images"], found["n_observers"]) == (40, 11, 4)
    assert found["low"] <= found["value"] <= found["high"]


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_alpha_is_the_peers_with_missing_cells_and_in_resamples(level, simulate):
    votes = simulate.people([-0.5, 0, 0.4, 0.1], [0.4, 0.8, 0.5, 1.0]).votes.sample(frac=0.6, random_state=0)
    table = votes.pivot(index="observer", columns="image", values="vote").to_numpy(float)
    found = krippendorff_alpha(votes, level, n_boot=200).iloc[0]
    assert found["value"] == pytest.approx(krippendorff.alpha(table, level_of_measurement=level), abs=1e-9)
    rng = np.random.default_rng(0)
    again = [
        krippendorff.alpha(table[:, rng.integers(0, table.shape[1], table.shape[1])], level_of_measurement=level)
        for _ in range(200)
    ]
    np.testing.assert_allclose([found["low"], found["high"]], np.percentile(again, [2.5, 97.5]), atol=0.025)


def test_alpha_refuses_what_cannot_be_compared():
    votes = frame(SHROUT_FLEISS)
    with pytest.raises(InputError, match="level 'ratio'"):
        krippendorff_alpha(votes, "ratio")
    with pytest.raises(InputError, match="no image with votes of two observers"):
        krippendorff_alpha(votes[votes["observer"] == "user1"])
    assert np.isnan(krippendorff_alpha(frame(np.full((5, 3), 4)))["value"].item())


def test_all_coefficients_are_one_table_with_as_many_rows_as_can_be_measured():
    votes = frame(np.array(KRIPPENDORFF).T)
    table = reliability(votes, n_boot=20).set_index("measure")
    assert table.index.tolist() == ["ICC(2,1)", "ICC(2,k)", "alpha, nominal", "alpha, ordinal", "alpha, interval"]
    assert table.loc["alpha, ordinal", "value"] == krippendorff_alpha(votes, n_boot=20)["value"].item()
    assert table.loc["ICC(2,k)", "value"] == icc(votes)["value"].iloc[1]
    assert len(reliability(frame([[1, 2], [0, 3]]), n_boot=20)) == 3  # one image in common: no ICC
    assert reliability(frame([[1, 0], [0, 3]]), n_boot=20).empty


def test_pairs_are_compared_on_common_images(simulate):
    votes = simulate.people([0, 0.3, -0.2], [0.4, 0.6, 0.9]).votes
    votes = votes[(votes["observer"] != "user2") | (votes["image"] < "i150")]
    found = pairwise_agreement(votes).set_index(["observer_a", "observer_b"])
    assert list(found.index) == [("user1", "user2"), ("user1", "user3"), ("user2", "user3")]
    table = votes.pivot(index="image", columns="observer", values="vote")[["user1", "user2"]].dropna()
    pair = found.loc[("user1", "user2")]
    assert pair["n"] == len(table) == 150
    assert pair["accuracy"] == pytest.approx((table["user1"] == table["user2"]).mean())
    kappa = cohen_kappa_score(table["user1"].astype(int), table["user2"].astype(int), weights="quadratic")
    assert pair["qwk"] == pytest.approx(kappa)
    assert pair["srocc"] == pytest.approx(spearmanr(table["user1"], table["user2"]).statistic)
    apart = votes.assign(image=votes["observer"] + votes["image"])
    assert pairwise_agreement(apart).empty


def test_sos_parameter_of_binomial_votes_is_that_of_theory():
    # Votes 1 + Binomial(4, p) have variance (MOS − 1)(5 − MOS)/4, hence a = 1/4.
    rng = np.random.default_rng(0)
    p = rng.uniform(0.05, 0.95, 400)
    fit = sos_parameter(frame(1 + rng.binomial(4, p[:, None], (400, 60))))
    assert fit.low < 0.25 < fit.high and fit.a == pytest.approx(0.25, abs=0.01)
    assert (fit.n, fit.n_votes) == (400, 24_000) and list(fit.images) == ["mos", "sos", "n"]
    extremes = sos_parameter(frame(np.where(rng.random((200, 50)) < p[:200, None], 5, 1)))
    assert extremes.a == pytest.approx(1, abs=0.03)
    assert sos_parameter(frame(np.tile([[1], [3], [4]], (1, 5)))).a == 0


def test_lab_people_agree_as_measured(lab_folder):
    table = pd.read_csv(lab_folder / "test_1" / "per_user.csv").filter(regex=r"^user\d+$").to_numpy(int)
    votes = frame(table)
    assert (icc(votes)["n"] == 371).all()
    np.testing.assert_allclose(icc(votes)["value"], [0.774, 0.986], atol=0.001)
    assert sos_parameter(votes).images["n"].eq(21).all()
    assert len(pairwise_agreement(votes)) == 210
