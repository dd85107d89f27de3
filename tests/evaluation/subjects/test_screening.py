"""Screening: sureal's rejection on the same votes, and planted people whom each rule must or must not find."""

import contextlib
import io
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sureal import subjective_model
from sureal.dataset_reader import RawDatasetReader

from iqasuite.errors import InputError
from iqasuite.evaluation.subjects.screening import screen_bt500, screen_p913


def panel(seed=0, images=600, people=18):
    """Normal people, one who votes at random (user19), one upside down (user20), one always too high (user21)."""
    rng = np.random.default_rng(seed)
    quality = rng.uniform(1, 5, images)
    noise = rng.normal(0, 0.5, (images, people))
    normal = np.clip(np.round(quality[:, None] + rng.normal(0, 0.2, people) + noise), 1, 5)
    random, contrarian = rng.integers(1, 6, images), 6 - normal[:, 0]
    table = np.column_stack([normal, random, contrarian, np.minimum(normal[:, 1] + 2, 5)])
    row, column = np.nonzero(table)
    votes = {"observer": [f"user{c + 1}" for c in column], "session": 1, "position": 1}
    return pd.DataFrame(votes | {"image": [f"i{r:03d}" for r in row], "vote": table[row, column]}), table


def test_bt500_counts_and_flags_are_sureals():
    votes, table = panel()
    assert (table.std(1) > 0).all()  # sureal counts unanimous images for everybody, twice
    shown = [{"content_id": 0, "asset_id": k, "path": f"{k}", "os": list(row)} for k, row in enumerate(table)]
    dataset = SimpleNamespace(dataset_name="v", ref_videos=[{"content_id": 0, "path": "r"}], dis_videos=shown)
    with contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
        peer = subjective_model.SubjrejMosModel(RawDatasetReader(dataset)).run_modeling()
    found = screen_bt500(votes, ddof=0)
    np.testing.assert_allclose(found["share"], peer["observer_rejected_1st_stats"])
    np.testing.assert_allclose(found["balance"], peer["observer_rejected_2nd_stats"])
    np.testing.assert_array_equal(found["flagged"], peer["observer_rejected"])


def test_planted_people_are_flagged_and_the_others_are_not():
    votes, _ = panel()
    bt500, p913 = screen_bt500(votes).set_index("observer"), screen_p913(votes).set_index("observer")
    assert list(bt500.index[bt500["flagged"]]) == ["user19", "user20"]  # erratic, on both sides
    assert bt500.loc["user21", "share"] > 0.05 and not bt500.loc["user21", "flagged"]  # one side only
    assert list(p913.index[p913["flagged"]]) == ["user19", "user20"]
    assert abs(p913.loc["user19", "r1"]) < 0.25 and p913.loc["user20", "r1"] < -0.5 < 0.75 < p913.loc["user21", "r1"]
    assert (bt500["n"] == 600).all() and (p913["n"] == 600).all()


def test_missing_votes_and_unanimous_images_count_for_nobody():
    votes, _ = panel()
    few = votes[(votes["observer"] != "user1") | (votes["image"] < "i100")]
    assert screen_bt500(few).set_index("observer").loc["user1", "n"] == 100
    unanimous = votes.assign(vote=np.where(votes["image"] < "i050", 3, votes["vote"]))
    counted, fewer = screen_bt500(unanimous), screen_bt500(votes[votes["image"] >= "i050"])
    np.testing.assert_array_equal(counted[["above", "below"]], fewer[["above", "below"]])


def test_correlations_are_pearsons_over_images():
    votes, table = panel()
    found = screen_p913(votes)
    np.testing.assert_allclose(found["r1"], [np.corrcoef(column, table.mean(1))[0, 1] for column in table.T])
    np.testing.assert_array_equal(found["flagged"], found["r1"] < 0.75)


def test_a_constant_voter_is_flagged_and_a_single_observer_refused():
    votes, _ = panel()
    constant = votes.assign(vote=votes["vote"].where(votes["observer"] != "user3", 3))
    found = screen_p913(constant).set_index("observer")
    assert np.isnan(found.loc["user3", "r1"]) and found.loc["user3", "flagged"]
    with pytest.raises(InputError, match="1 observers"):
        screen_p913(votes[votes["observer"] == "user1"])


def test_nobody_of_the_lab_is_flagged_by_correlation(lab_folder):
    table = pd.read_csv(lab_folder / "test_1" / "per_user.csv")
    people = [name for name in table if name.startswith("user")]
    votes = table.melt("image_name", people, "observer", "vote").rename(columns={"image_name": "image"})
    found = screen_p913(votes.assign(session=1, position=1))
    assert len(found) == 21 and not found["flagged"].any() and found["r1"].min() > 0.8
