"""Predictions of many runs read together, and the panel of AIOs."""

import pandas as pd
import pytest

from iqasuite.errors import InputError
from iqasuite.inference.predictions import mean_of_aios, read_predictions


@pytest.fixture
def people(simulate):
    return simulate.people([0.0, 0.5, -0.5], [0.3, 0.3, 0.3])


@pytest.fixture
def frame(people, simulate):
    split = simulate.split(people)
    test = split[(split["fold"] == 0) & (split["part"] == "test")]["image"]
    aios = simulate.aios(people)
    return aios[aios["image"].isin(test)]


def written(frame, folder):
    for observer, own in frame.groupby("observer"):
        own.to_csv(folder / f"aio_{observer or 'everybody'}_0.csv", index=False)
    return folder


def test_runs_are_read_together(frame, people, simulate, tmp_path):
    everybody = frame[frame["observer"] == "user1"].assign(observer="")
    together = pd.concat([frame, everybody])
    found = read_predictions(written(together, tmp_path), "simulated", simulate.split(people))
    assert len(found) == len(together) and set(found["observer"]) == {"", "user1", "user2", "user3"}
    key = ["observer", "image"]
    pd.testing.assert_frame_equal(
        found.sort_values(key, ignore_index=True), together.sort_values(key, ignore_index=True), check_dtype=False
    )


def test_of_all_sets_at_once(frame, people, tmp_path):
    both = pd.concat([frame, frame.assign(dataset="other")])  # the same names in two sets are no repetition
    assert read_predictions(written(both, tmp_path))["dataset"].value_counts().to_dict() == dict.fromkeys(
        ("simulated", "other"), len(frame)
    )
    assert len(read_predictions(tmp_path, "other")) == len(frame)


@pytest.mark.parametrize("person", ["NA", "None", "null", "nan"])
def test_people_of_any_name(frame, tmp_path, person):
    (tmp_path / "._aio.csv").write_bytes(b"what a file system left")
    named = frame[frame["observer"] == "user1"].assign(observer=person)
    written(pd.concat([named, named.assign(observer="", model="mos")]), tmp_path)
    assert set(read_predictions(tmp_path)["observer"]) == {person, ""}


def test_wrong_files_are_named(frame, people, simulate, tmp_path):
    with pytest.raises(InputError, match="0 prediction files, none of data set 'simulated'"):
        read_predictions(tmp_path, "simulated")
    written(frame, tmp_path)
    with pytest.raises(InputError, match="none of data set 'demo'"):
        read_predictions(tmp_path, "demo")
    split = simulate.split(people)
    with pytest.raises(InputError, match=r"aio_user1_0.csv: model .* has image 'i000' as part test of fold 0, which"):
        read_predictions(tmp_path, "simulated", split[split["fold"] != 0])
    frame[frame["observer"] == "user2"].to_csv(tmp_path / "again_user2_0.csv", index=False)
    with pytest.raises(InputError, match=r"again_user2_0.csv: .*observer 'user2'.* is predicted a second time"):
        read_predictions(tmp_path, "simulated")
    (tmp_path / "again_user2_0.csv").write_text("image,vote\na,1\n")
    with pytest.raises(InputError, match="again_user2_0.csv: columns of a predictions frame"):
        read_predictions(tmp_path, "simulated")


def test_panel_is_the_mean_of_its_aios(frame, people):
    panel = mean_of_aios(frame, people.quality)
    assert (panel["model"] == "vit_iqa, mean of the AIOs").all() and (panel["observer"] == "").all()
    image = panel["image"].iloc[3]
    own = frame[frame["image"] == image]
    assert panel["prediction"].iloc[3] == pytest.approx(own["prediction"].mean())
    assert panel["p2"].iloc[3] == pytest.approx(own["p2"].mean())
    assert panel["target"].iloc[3] == pytest.approx(people.quality[image])
    assert len(panel) == frame["image"].nunique()
