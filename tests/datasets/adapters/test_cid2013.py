import pandas as pd
import pytest

from iqasuite.datasets.adapters import cid2013
from iqasuite.errors import InputError


def write_workbook(root, names, scores):
    table = pd.DataFrame(
        {"Source_ID": names, "Image set specific  MOS": 0.0, "Realigned MOS": scores, "Sharpness": 1.0}
    )
    with pd.ExcelWriter(root / cid2013.TABLE) as book:
        pd.DataFrame({"note": ["other sheets"]}).to_excel(book, sheet_name="Info")
        table.to_excel(book, sheet_name="CID2013 MOS", index=False)


@pytest.fixture
def tiny(tmp_path, draw):
    stems = [
        f"{number}/co{c}/IS_{roman}_C0{c}_D0{d}"
        for number, roman in (("IS1", "I"), ("IS6", "VI"))
        for c in (1, 8)
        for d in (1, 2)
    ]
    draw(tmp_path, [f"{stem}.jpg" for stem in stems])
    write_workbook(tmp_path, [stem.split("/")[-1] for stem in stems], [3.5, 71, 45, -9, 25, 20, 9, 49])
    return tmp_path


def test_tiny(tiny, check_absent):
    data = cid2013.load(tiny)
    assert data.images["image"][0] == "IS1/co1/IS_I_C01_D01.jpg"
    assert data.images["content"].unique().tolist() == ["IS1/co1", "IS1/co8", "IS6/co1", "IS6/co8"]
    assert data.sources == {"IS1/co1": "co1", "IS6/co1": "co1", "IS1/co8": "co8", "IS6/co8": "co8"}
    assert data.images["mos"].tolist() == [3.5, 71, 45, -9, 25, 20, 9, 49]
    check_absent(cid2013.load, tiny)


def test_wrong_workbooks(tiny):
    write_workbook(tiny, ["IS_X_C01_D01"], [1.0])
    with pytest.raises(InputError, match="column Source_ID: 'IS_X_C01_D01'; expected names like"):
        cid2013.load(tiny)
    pd.DataFrame({"Source_ID": ["a"]}).to_excel(tiny / cid2013.TABLE, sheet_name="CID2013 MOS")
    with pytest.raises(InputError, match="no row that names the columns Source_ID, Realigned MOS"):
        cid2013.load(tiny)
    (tiny / cid2013.TABLE).unlink()
    with pytest.raises(InputError, match="no CID2013 data - version 12112014.xlsx"):
        cid2013.load(tiny)


def test_official_table(tmp_path, draw, collected, check_whole):
    table = collected("CID2013")
    draw(tmp_path, table["dis_img_path"])
    stems = table["dis_img_path"].str.extract(r"/([^/]+)\.jpg$")[0]
    write_workbook(tmp_path, stems, table["score"])
    data = cid2013.load(tmp_path)
    check_whole(data, cid2013.CARD)
    assert data.images["mos"].tolist() == table["score"].tolist()
    assert data.images["image"].tolist() == table["dis_img_path"].tolist()
    assert (data.images["image"].str.rsplit("/", n=1).str[0] == data.images["content"]).all()  # name and folder agree
    assert len(set(data.sources.values())) == 8 and len(data.sources) == 36
    mean = data.images.groupby("content")["mos"].mean()
    scene = mean.groupby(data.sources)
    assert scene.agg(lambda m: m.max() - m.min()).max() < 15 < mean.max() - mean.min()  # scenes return in other sets
