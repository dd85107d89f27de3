import numpy as np
import pandas as pd
import pytest

from iqasuite.datasets.adapters import koniq10k
from iqasuite.errors import InputError

SHARES = ["c1", "c2", "c3", "c4", "c5"]


def table(n=4):
    shares = [[0, 0, 0.25, 0.75, 0], [0, 0.5, 0.5, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0.5, 0.5]]
    frame = pd.DataFrame(shares, columns=SHARES)
    frame.insert(0, "image_name", [f"{i}.jpg" for i in range(n)])
    frame["c_total"], frame["MOS"], frame["SD"] = 100, [77.4, 40.0, 5.0, 90.0], 0.5
    frame["set"] = ["training", "validation", "test", "training"]
    return frame


@pytest.fixture
def tiny(tmp_path, draw):
    draw(tmp_path, [f"{folder}/{i}.jpg" for folder in ("512x384", "1024x768") for i in range(4)])
    table().to_csv(tmp_path / "koniq10k_distributions_sets.csv", index=False)
    return tmp_path


def test_tiny(tiny, check_absent):
    data = koniq10k.load(tiny)
    assert data.images["image"].tolist() == [f"1024x768/{i}.jpg" for i in range(4)]  # the larger, where there are both
    assert data.images["content"].tolist() == ["0", "1", "2", "3"] and data.images["mos"].tolist() == [77.4, 40, 5, 90]
    assert (data.images["n_votes"] == 100).all() and set(data.images["distortion"]) == {"authentic"}
    assert data.distributions.columns.tolist() == ["image", "p1", "p2", "p3", "p4", "p5"]
    assert data.distributions["image"].tolist() == data.images["image"].tolist()
    assert data.distributions["p4"].tolist() == [0.75, 0, 0, 0.5]
    assert data.official_split["part"].tolist() == ["train", "val", "test", "train"]
    assert data.official_split["image"].tolist() == data.images["image"].tolist()
    check_absent(koniq10k.load, tiny)
    dropped = koniq10k.load(tiny, missing="drop")
    assert len(dropped.distributions) == len(dropped.official_split) == 3


def test_only_small_images(tiny):
    for path in (tiny / "1024x768").iterdir():
        path.unlink()
    assert koniq10k.load(tiny).images["image"][0] == "512x384/0.jpg"


def test_older_table_has_counts_and_no_split(tiny):
    new = koniq10k.load(tiny)
    (tiny / "koniq10k_distributions_sets.csv").unlink()
    old = table().drop(columns="set").rename(columns={"MOS": "MOS_zscore"}).assign(MOS=3.5)
    old[SHARES] *= 100
    old.to_csv(tiny / "koniq10k_scores_and_distributions.csv", index=False)
    data = koniq10k.load(tiny)
    pd.testing.assert_frame_equal(data.images, new.images)
    pd.testing.assert_frame_equal(data.distributions, new.distributions)
    assert data.official_split is None


@pytest.mark.parametrize("column", ["split", "official_split"])
def test_the_mirrors_table(tiny, column):
    official = koniq10k.load(tiny)
    (tiny / "koniq10k_distributions_sets.csv").unlink()
    names = {"image_name": "img_name", "MOS": "mos", "SD": "std", "set": column}
    mirrored = table().rename(columns=names)
    mirrored[column] = mirrored[column].replace({"training": "train", "validation": "val"})
    mirrored.to_csv(tiny / "meta_info_KonIQ10kDataset.csv", index=False)
    data = koniq10k.load(tiny)
    pd.testing.assert_frame_equal(data.images, official.images)
    pd.testing.assert_frame_equal(data.official_split, official.official_split)


@pytest.mark.parametrize("column", [*SHARES, "c_total", "SD"])
def test_a_share_that_is_no_number_is_named(tiny, column):
    table().astype({column: object}).assign(**{column: [1, "many", 1, 1]}).to_csv(
        tiny / "koniq10k_distributions_sets.csv", index=False
    )
    with pytest.raises(InputError, match=f"'1.jpg' without .*{column}"):
        koniq10k.load(tiny)


def test_unknown_part(tiny):
    table().assign(set="holdout").to_csv(tiny / "koniq10k_distributions_sets.csv", index=False)
    with pytest.raises(InputError, match="column set: 'holdout'; expected training, validation or test"):
        koniq10k.load(tiny)


def test_official_table(tmp_path, draw, tables, check_whole):
    source = tables / "koniq10k_distributions_sets.csv"
    official = pd.read_csv(source)
    draw(tmp_path, "512x384/" + official["image_name"])
    (tmp_path / source.name).write_bytes(source.read_bytes())
    data = koniq10k.load(tmp_path)
    check_whole(data, koniq10k.CARD)
    assert data.images["mos"].tolist() == official["MOS"].tolist()
    assert data.official_split["part"].value_counts().to_dict() == {"train": 7058, "test": 2015, "val": 1000}
    shares = data.distributions[["p1", "p2", "p3", "p4", "p5"]].to_numpy()
    np.testing.assert_allclose(shares.sum(1), 1)
    mean = shares @ np.arange(1, 6)
    assert np.corrcoef(mean, data.images["mos"])[0, 1] > 0.99  # 5 = excellent: higher is better
    slope = np.polyfit(mean, data.images["mos"], 1)[0]
    assert slope == pytest.approx(koniq10k.ACR_STEP, abs=0.05)
    n = data.images["n_votes"].to_numpy()
    spread = np.sqrt((shares @ np.arange(1, 6) ** 2 - mean**2) * n / (n - 1))  # of the votes, n − 1
    np.testing.assert_allclose(data.images["mos_std"], spread * koniq10k.ACR_STEP, rtol=1e-6)
