import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from iqasuite.datasets.adapters import live
from iqasuite.errors import InputError

NAMES = [f"{folder}/img{i}.bmp" for folder, n in live.FOLDERS.items() for i in range(1, n + 1)]


def write_mats(root, table, realigned=True):
    """982 entries: those of the table (columns name, reference, score) are distorted, the others undistorted copies."""
    table = table.set_index("name").reindex(NAMES)
    score = table["score"].fillna(0).to_numpy()[None]
    orgs = table["score"].isna().to_numpy()[None].astype(np.uint8)
    references = np.empty((1, len(NAMES)), dtype=object)
    references[0] = table["reference"].fillna("bikes.bmp").tolist()
    savemat(root / "refnames_all.mat", {"refnames_all": references})
    savemat(root / "dmos.mat", {"dmos": score + 1000 * realigned, "orgs": orgs})
    if realigned:
        savemat(root / "dmos_realigned.mat", {"dmos_new": score, "dmos_std": score / 10, "orgs": orgs})


@pytest.fixture
def tiny(tmp_path, draw):
    table = pd.DataFrame({"name": [f"{folder}/img{i}.bmp" for folder in live.FOLDERS for i in (1, 2)]})
    table["reference"] = ["bikes.bmp", "womanhat.bmp"] * 5
    table["score"] = np.linspace(20, 110, 10)
    draw(tmp_path / "databaserelease2", [*table["name"], "refimgs/bikes.bmp", "refimgs/womanhat.bmp"])
    write_mats(tmp_path, table)
    return tmp_path, table


def test_tiny(tiny, check_absent):
    root, table = tiny
    data = live.load(root)
    images = data.images
    assert images["image"].tolist() == [
        f"databaserelease2/{name}" for name in table["name"]
    ]  # same stems, five folders
    np.testing.assert_allclose(images["mos"], 100 - table["score"])  # may be below 0
    np.testing.assert_allclose(images["mos_std"], table["score"] / 10)
    assert images["content"].tolist() == ["bikes", "womanhat"] * 5 and images["distortion"][4] == "gaussian noise"
    assert set(images["reference"]) == {f"databaserelease2/refimgs/{n}.bmp" for n in ("bikes", "womanhat")}
    write_mats(root, table, realigned=False)
    (root / "dmos_realigned.mat").unlink()
    older = live.load(root).images
    np.testing.assert_allclose(older["mos"], images["mos"])
    assert older["mos_std"].isna().all()
    check_absent(live.load, root)


def test_the_mirrors_table(tiny):
    root, table = tiny
    official = live.load(root).images.assign(mos_std=np.nan)
    for path in root.glob("*.mat"):
        path.unlink()
    mirrored = pd.DataFrame({"ref_name": "refimgs/" + table["reference"], "dist_name": table["name"]})
    mirrored.assign(mos=table["score"]).to_csv(root / "meta_info_LIVEIQADataset.csv", index=False)
    pd.testing.assert_frame_equal(live.load(root).images, official)


def test_wrong_length(tiny):
    root, _ = tiny
    savemat(root / "dmos_realigned.mat", {"dmos_new": np.ones(5), "dmos_std": np.ones(5), "orgs": np.zeros(5)})
    with pytest.raises(InputError, match=r"\[5, 5, 5, 982\].*expected 982 of each"):
        live.load(root)


def test_official_table(tmp_path, draw, collected, check_whole):
    table = collected("LIVE")
    draw(tmp_path, [*table["dis_img_path"], *table["ref_img_path"].unique()])
    listed = pd.DataFrame({"name": table["dis_img_path"], "reference": table["ref_img_path"].str.split("/").str[-1]})
    write_mats(tmp_path, listed.assign(score=table["score"]))
    data = live.load(tmp_path)
    check_whole(data, live.CARD)
    images = data.images.set_index("image")
    assert images["distortion"].value_counts().to_dict() == {
        **{"jpeg": 175, "jpeg2000": 169},
        **{"gaussian noise": 145, "gaussian blur": 145, "fast fading": 145},
    }
    np.testing.assert_allclose(images["mos"][table["dis_img_path"]], 100 - table["score"])
    assert images["reference"][table["dis_img_path"]].tolist() == table["ref_img_path"].tolist()
