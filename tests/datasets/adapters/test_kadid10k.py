import pandas as pd
import pytest

from iqasuite.datasets.adapters import kadid10k
from iqasuite.errors import InputError


def write_tiny(root, draw):
    names = [f"I{c:02d}_{d:02d}_{level:02d}.png" for c in (1, 2) for d in (1, 10) for level in (1, 5)]
    draw(root, [f"images/{name}" for name in [*names, "I01.png", "I02.png"]])
    table = pd.DataFrame({"dist_img": names, "ref_img": [n[:3] + ".png" for n in names]})
    table["dmos"], table["var"] = [4.57, 1.1] * 4, [0.496, 0.3] * 4
    table.to_csv(root / "dmos.csv", index=False)
    return table


def test_tiny(tmp_path, draw, check_absent):
    write_tiny(tmp_path, draw)
    data = kadid10k.load(tmp_path)
    assert data.images["content"].tolist() == ["I01"] * 4 + ["I02"] * 4 and data.images["level"].tolist() == [1, 5] * 4
    assert data.images["distortion"].tolist() == ["gaussian blur", "gaussian blur", "jpeg", "jpeg"] * 2
    assert data.images["mos"].tolist() == [4.57, 1.1] * 4 and data.images["mos_std"].tolist() == [0.496, 0.3] * 4
    assert data.images["reference"][0] == "images/I01.png"
    check_absent(kadid10k.load, tmp_path)


def test_the_mirrors_table(tmp_path, draw):
    table = write_tiny(tmp_path, draw)
    official = kadid10k.load(tmp_path).images
    (tmp_path / "dmos.csv").unlink()
    table.set_axis(["dist_name", "ref_name", "dmos", "std"], axis=1).to_csv(
        tmp_path / "meta_info_KADID10kDataset.csv", index=False
    )
    pd.testing.assert_frame_equal(kadid10k.load(tmp_path).images, official)


def test_wrong_tables(tmp_path, draw):
    table = write_tiny(tmp_path, draw)
    table.rename(columns={"dmos": "score"}).to_csv(tmp_path / "dmos.csv", index=False)
    with pytest.raises(InputError, match=r"dmos.csv: columns .*expected dist_img, ref_img, dmos"):
        kadid10k.load(tmp_path)
    table.assign(dist_img=["other.png", *table["dist_img"][1:]]).to_csv(tmp_path / "dmos.csv", index=False)
    with pytest.raises(InputError, match="'other.png'; expected names like I01_01_01.png"):
        kadid10k.load(tmp_path)


def test_official_table(tmp_path, draw, collected, check_whole):
    table = collected("KADID-10k")
    draw(tmp_path, [*table["dis_img_path"], *table["ref_img_path"].unique()])
    names = table[["dis_img_path", "ref_img_path"]].map(lambda path: path.split("/")[-1])
    official = names.set_axis(["dist_img", "ref_img"], axis=1).assign(dmos=table["score"], var=0.5)
    official.to_csv(tmp_path / "dmos.csv", index=False)
    data = kadid10k.load(tmp_path)
    check_whole(data, kadid10k.CARD)
    images = data.images
    assert images["mos"].tolist() == table["score"].tolist() and images["distortion"].nunique() == 25
    by_level = images.groupby("level")["mos"].mean()
    assert by_level.index.tolist() == [1, 2, 3, 4, 5] and by_level.is_monotonic_decreasing
    ours = {"AWGN": "gaussian noise", "JPEG": "jpeg", "JP2K": "jpeg2000", "Brighten": "brightening", "Jitter": "jitter"}
    ours |= {"Color_Block": "colour block", "Lens_Blur": "lens blur", "Denoising": "denoising", "Darken": "darkening"}
    for theirs, kind in ours.items():
        assert set(images["distortion"][table["dis_type"] == theirs]) == {kind}
