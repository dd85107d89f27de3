import pandas as pd
import pytest

from iqasuite.datasets.adapters import csiq
from iqasuite.errors import InputError

KINDS = {"AWGN": "noise", "BLUR": "blur", "contrast": "contrast", "fnoise": "fnoise", "JPEG": "jpeg"}
KINDS |= {"jpeg2000": "jpeg 2000"}


def write_workbook(path, table):
    """As published: blank rows and columns around, image names that look like numbers are numbers, a row of padding."""
    rows = [[None] * 8, [None, None, "image", "dst_idx", "dst_type", "dst_lev", "dmos_std", "dmos"]]
    for name, score in table:
        image, kind, level, _ = name.rsplit(".", 3)
        image = int(image) if image.isdigit() else image
        rows.append([None, None, image, 1, KINDS[kind], int(level), 0.1, score])
    sheet = pd.DataFrame([*rows, [None] * 8])
    with pd.ExcelWriter(path) as book:
        pd.DataFrame({"x": [1]}).to_excel(book, sheet_name="all_by_distortion")
        sheet.to_excel(book, sheet_name="all_by_image", index=False, header=False)


@pytest.fixture
def tiny(tmp_path, draw):
    names = [f"{c}.{k}.{level}.png" for c in ("1600", "aerial_city") for k in KINDS for level in (1, 2)]
    draw(tmp_path, [f"dst_imgs/{name.split('.')[1]}/{name}" for name in names])
    draw(tmp_path, ["src_imgs/1600.png", "src_imgs/aerial_city.png"])
    table = [(name, 0.25 * int(name.split(".")[2])) for name in names]
    write_workbook(tmp_path / "csiq.DMOS.xlsx", table)
    (tmp_path / "csiq_label.txt").write_text("".join(f"{name} {score}\n" for name, score in table))
    return tmp_path


def test_tiny(tiny, check_absent):
    data = csiq.load(tiny)
    images = data.images
    assert images["content"].tolist() == ["1600"] * 12 + ["aerial_city"] * 12
    assert images["distortion"].nunique() == 6 and images["mos"].tolist() == [0.75, 0.5] * 12
    assert (images["mos_std"] == 0.1).all() and images["image"][4] == "dst_imgs/contrast/1600.contrast.1.png"
    assert not data.scale.higher_is_better and data.scale.name == "DMOS"
    (tiny / "csiq.DMOS.xlsx").unlink()
    label = csiq.load(tiny).images
    columns = [name for name in images if name != "mos_std"]
    pd.testing.assert_frame_equal(label[columns], images[columns])
    check_absent(csiq.load, tiny)


def test_the_mirrors_table(tiny):
    official = csiq.load(tiny).images.assign(mos_std=float("nan"))
    table = pd.read_csv(tiny / "csiq_label.txt", sep=" ", names=["dist_name", "dmos"])
    table.assign(ref_name="x.png").to_csv(tiny / "meta_info_CSIQDataset.csv", index=False)
    for name in ("csiq.DMOS.xlsx", "csiq_label.txt"):
        (tiny / name).unlink()
    pd.testing.assert_frame_equal(csiq.load(tiny).images, official)


def test_wrong_tables(tiny):
    (tiny / "csiq.DMOS.xlsx").write_bytes(b"no workbook")
    with pytest.raises(InputError, match="csiq.DMOS.xlsx: no sheet 'all_by_image' of an .xlsx workbook"):
        csiq.load(tiny)
    (tiny / "csiq.DMOS.xlsx").unlink()
    (tiny / "csiq_label.txt").write_text("1600.smear.1.png 0.5\n")
    with pytest.raises(InputError, match="1600.smear.1.png.*expected names like 1600.AWGN.1.png"):
        csiq.load(tiny)


def test_official_table(tmp_path, draw, collected, check_whole):
    table = collected("CSIQ")
    draw(tmp_path, [*table["dis_img_path"], *table["ref_img_path"].unique()])
    names = table["dis_img_path"].str.split("/").str[-1]
    write_workbook(tmp_path / "csiq.DMOS.xlsx", list(zip(names, table["score"], strict=True)))
    data = csiq.load(tmp_path)
    check_whole(data, csiq.CARD)
    assert data.images["mos"].tolist() == (1 - table["score"]).tolist()
    assert data.images["reference"].tolist() == table["ref_img_path"].tolist()
    by_level = data.images.groupby(["distortion", "level"])["mos"].mean().unstack()
    assert len(by_level) == 6 and (by_level.diff(axis=1).iloc[:, 1:].fillna(-1) < 0).all(axis=None)
