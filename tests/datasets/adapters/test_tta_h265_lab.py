import logging
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from iqasuite.datasets.adapters import tta_h265_lab as lab
from iqasuite.errors import InputError
from iqasuite.images.loading import read_image


def test_tiny_set_in_the_official_layout(tiny_lab, caplog):
    with caplog.at_level(logging.WARNING):
        data = lab.load(tiny_lab)
    assert data.images["image"].str.endswith(".png").all() and data.path(data.images["image"][0]).is_file()
    assert sorted(data.images["content"].unique()) == ["a.mkv_1frame", "b.mkv_1frame"]
    assert data.images["level"].tolist() == [3, 20, 40] * 2 and set(data.images["distortion"]) == {"h265"}
    assert data.nuisances["height"].tolist() == [40, 30, 20] * 2
    assert data.display_size == (2160, 2160) and not data.absent and data.sources["a.mkv_1frame"] == "a.mkv_1frame"
    first = data.images.iloc[0]
    assert first["mos"] == pytest.approx(14 / 3) and first["mos_std"] == pytest.approx(np.std([5, 5, 4], ddof=1))
    assert first["n_votes"] == 3 and len(data.votes) == 18


def test_times_are_attached_only_where_the_log_agrees(tiny_lab, caplog):
    with caplog.at_level(logging.WARNING):
        votes = lab.load(tiny_lab).votes
    known = votes[votes["observer"] != "user3"]
    assert sorted(known["position"]) == sorted([1, 2, 3, 4, 5, 6] * 2) and known["timestamp"].notna().all()
    assert known.loc[known["position"] > 1, "duration"].eq(2.0).all()
    other = votes[votes["observer"] == "user3"]
    assert (other["position"] == 0).all() and other["timestamp"].isna().all() and other["duration"].isna().all()
    assert "user3" in caplog.text and "user1" not in caplog.text


def test_source_video_says_how_to_get_its_frame(tiny_lab):
    data = lab.load(tiny_lab)
    reference = data.images.set_index("content").loc["a.mkv_1frame", "reference"].iloc[0]
    assert reference == "images/src_cropped/a.mkv_1frame.mkv"
    with pytest.raises(InputError, match="a video; expected an image.*ffmpeg"):
        read_image(data.path(reference))
    Image.new("RGB", (4, 4)).save(tiny_lab / "images" / "src_cropped" / "a.mkv_1frame.png")
    assert "images/src_cropped/a.mkv_1frame.png" in set(lab.load(tiny_lab).images["reference"])


def test_absent_images(tiny_lab, caplog):
    gone = "b.mkv_1frame_crf_20_height_0030"
    (tiny_lab / "test_1" / "images" / f"{gone}.png").unlink()
    with pytest.raises(InputError, match=f"1 of 6 images absent .*{gone}.*missing='drop'"):
        lab.load(tiny_lab)
    with caplog.at_level(logging.WARNING):
        data = lab.load(tiny_lab, missing="drop")
    assert data.absent == [gone] and len(data.images) == 5 and len(data.votes) == 15 and "1 of 6" in caplog.text
    with pytest.raises(InputError, match="missing='ignore'"):
        lab.load(tiny_lab, missing="ignore")


def test_wrong_tables(tiny_lab):
    table = tiny_lab / "test_1" / "per_user.csv"
    good = pd.read_csv(table)
    good.assign(user2=[5, 4, 2, 6, 3, 1]).to_csv(table, index=False)
    with pytest.raises(InputError, match="per_user.csv.*column vote: found 6, expected 1 to 5"):
        lab.load(tiny_lab)
    good.drop(columns=["user1", "user2", "user3"]).to_csv(table, index=False)
    with pytest.raises(InputError, match="expected image_name, user1"):
        lab.load(tiny_lab)
    table.unlink()
    with pytest.raises(InputError, match="no such file; expected the official layout"):
        lab.load(tiny_lab)


def test_without_log_there_are_votes_without_times(tiny_lab):
    (tiny_lab / "test_1" / "ratings.csv").unlink()
    shutil.rmtree(tiny_lab / "images")
    data = lab.load(tiny_lab)
    assert data.votes["timestamp"].isna().all() and (data.images["reference"] == "").all()


def test_real_set(lab_folder):
    data = lab.load(lab_folder, missing="drop")
    assert len(data.images) + len(data.absent) == 371 and data.images["content"].nunique() == 38
    assert len(data.observers()) == 21 and data.observers()[:2] == ["user1", "user2"]
    assert (data.votes.groupby("observer").size() == len(data.images)).all()
    assert data.votes["timestamp"].notna().all() and (data.votes["position"] > 0).all()  # the log agrees with everybody
    published = pd.read_csv(lab_folder / "test_1" / "mos_ci.csv").set_index("image_name")["mos"]
    stems = data.images["image"].str.extract(r"([^/]+)\.(?:png|webp)$")[0]
    difference = np.abs(data.images["mos"].to_numpy() - published.reindex(stems).to_numpy())
    assert (difference > 1e-9).sum() <= 2 and difference.max() < 0.07  # published means count the two second ratings
    if len(data.absent) == 47:
        share = data.votes["vote"].value_counts(normalize=True).sort_index()
        assert share.round(2).tolist() == [0.24, 0.33, 0.25, 0.14, 0.04]
        assert (data.images["reference"] != "").sum() == 40
        assert data.nuisances["height"].corr(data.images.set_index("image")["mos"], "spearman") == pytest.approx(
            0.929, abs=5e-4
        )
        with pytest.raises(InputError, match="47 of 371 images absent"):
            lab.load(lab_folder)
