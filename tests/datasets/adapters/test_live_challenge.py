import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from iqasuite.datasets.adapters import live_challenge
from iqasuite.datasets.card import Card
from iqasuite.errors import InputError


def write_mats(root, names, scores):
    root.mkdir(parents=True, exist_ok=True)
    cells = np.empty((len(names), 1), dtype=object)
    cells[:, 0] = names
    savemat(root / "AllImages_release.mat", {"AllImages_release": cells})
    savemat(root / "AllMOS_release.mat", {"AllMOS_release": np.array([scores])})
    savemat(root / "AllStdDev_release.mat", {"AllStdDev_release": np.array([scores]) / 5})


@pytest.fixture
def tiny(tmp_path, draw):
    release = tmp_path / "ChallengeDB_release"
    names = [*(f"t{i}.bmp" for i in range(1, 8)), "100.bmp", "101.JPG", "102.bmp"]
    draw(release / "Images", ["100.bmp", "101.jpg", "102.bmp"])
    draw(release / "Images" / "trainingImages", names[:7])
    write_mats(release / "Data", names, [50.0] * 7 + [32.5, 66.0, 44.5])
    return tmp_path


def test_tiny(tiny, check_absent):
    data = live_challenge.load(tiny)
    assert data.images["content"].tolist() == ["100", "101", "102"]  # without t1 … t7
    assert data.images["image"][1] == "ChallengeDB_release/Images/101.jpg"
    assert data.images["mos"].tolist() == [32.5, 66.0, 44.5] and data.images["mos_std"].tolist() == [6.5, 13.2, 8.9]
    assert (data.images["reference"] == "").all() and set(data.images["distortion"]) == {"authentic"}
    official = data.images
    table = official.assign(img_name=["100.bmp", "101.JPG", "102.bmp"], std=official["mos_std"])
    extra = pd.DataFrame({"img_name": ["t1.bmp"], "mos": [1.0], "std": [1.0]})
    table = pd.concat([extra, table[["img_name", "mos", "std"]]])
    table.to_csv(tiny / "meta_info_LIVEChallengeDataset.csv", index=False)
    (tiny / "ChallengeDB_release" / "Data" / "AllMOS_release.mat").rename(tiny / "moved")
    pd.testing.assert_frame_equal(live_challenge.load(tiny).images, official)
    check_absent(live_challenge.load, tiny)


def test_wrong_lengths(tiny):
    savemat(tiny / "ChallengeDB_release" / "Data" / "AllMOS_release.mat", {"AllMOS_release": np.ones((1, 4))})
    with pytest.raises(InputError, match="'name': 10, 'score': 4, 'std': 10"):
        live_challenge.load(tiny)


def test_either_folder_name(tmp_path, monkeypatch):
    card: Card = live_challenge.CARD
    monkeypatch.setenv("IQASUITE_DATA", str(tmp_path))
    assert card.folder() == tmp_path / "live_challenge"
    (tmp_path / "clive").mkdir()
    assert card.folder() == tmp_path / "clive"


def test_official_table(tmp_path, draw, collected, check_whole):
    table = collected("LIVE_Challenge")
    names = table["dis_img_path"].str.split("/").str[-1]
    assert "100.bmp" not in set(names)  # the collected table lacks it: 1,161 rows
    names, scores = ["100.bmp", *names], [32.5610532210109, *table["score"]]
    draw(tmp_path, [f"Images/{name}" for name in names])
    training = [f"t{i}.bmp" for i in range(1, 8)]
    write_mats(tmp_path / "Data", [*training, *names], [50.0] * 7 + scores)
    data = live_challenge.load(tmp_path)
    check_whole(data, live_challenge.CARD)
    np.testing.assert_allclose(data.images["mos"], scores)


def test_real_set(real_data, collected):
    root = real_data("clive")
    data = live_challenge.load(root, missing="drop")
    assert len(data.images) + len(data.absent) == 1162
    stems = data.images["content"]
    assert stems.is_unique and not stems.str.startswith("t").any()
    assert data.images["mos"].between(0, 100).all() and data.images["mos_std"].between(5, 30).all()
    theirs = collected("LIVE_Challenge")
    theirs = theirs.set_index(theirs["dis_img_path"].str.extract(r"/(.+)\.\w+$")[0])["score"]
    both = stems.isin(theirs.index)
    np.testing.assert_allclose(data.images["mos"][both], theirs[stems[both]], atol=1e-3)
    if len(data.absent) == 535:
        assert len(data.images) == 627
        with pytest.raises(InputError, match="535 of 1162 images absent"):
            live_challenge.load(root)


def test_the_notice_that_has_to_go_along_is_read_from_the_sets_readme(tiny):
    assert live_challenge.load(tiny).notice == ""
    notice = ("---COPYRIGHT NOTICE STARTS WITH THIS LINE---", "Copyright (c) X", " all rights", "reserved.")
    lines = ("A laboratory", *notice, "---COPYRIGHT NOTICE ENDS WITH THIS LINE---", "Contact: somebody")
    (tiny / "ChallengeDB_release" / "README.txt").write_text("\n".join(lines))
    assert live_challenge.load(tiny).notice == "Copyright (c) X all rights reserved."
