import zipfile

import pandas as pd
import pytest

from iqasuite.datasets.layout import Files
from iqasuite.datasets.tables import csv_table, reissued, sheet_table, word_table
from iqasuite.errors import InputError


def test_csv_table(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("name, score\nx.png,1.5\n")
    assert csv_table(path, ("name", "score"))["score"].tolist() == [1.5]
    path.write_text("name,score,kind,std\nNA,1,None,0.5\nnull,2,,\n")  # names are names, an empty number is none
    table = csv_table(path, ("name", "score"))
    assert table["name"].tolist() == ["NA", "null"] and table["kind"].tolist() == ["None", ""]
    assert table["score"].tolist() == [1, 2] and table["std"].isna().tolist() == [False, True]
    path.write_text("name, score\nx.png,1.5\n")
    with pytest.raises(InputError, match="a.csv: columns .*expected name, mos, each once"):
        csv_table(path, ("name", "mos"))
    path.write_bytes(b"\xff\xfe\x00\x01" * 9)
    with pytest.raises(InputError, match="a.csv: not a CSV table"):
        csv_table(path, ("name",))


def test_word_table(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("5.5  x.bmp\n4.5\ty.bmp\n")
    assert word_table(path, ("score", "name")).values.tolist() == [["5.5", "x.bmp"], ["4.5", "y.bmp"]]
    for content in ("5.5 x.bmp\n4.5\n", "5.5 x.bmp 3\n", ""):
        path.write_text(content)
        with pytest.raises(InputError, match="a.txt"):
            word_table(path, ("score", "name"))


def test_sheet_table_finds_the_head(tmp_path):
    path = tmp_path / "a.xlsx"
    cells = [[None, "about this"], [None, None], ["image", " Mean  score "], ["a", 1.0], [None, None], ["b", 2.0]]
    pd.DataFrame(cells).to_excel(path, index=False, header=False)
    table = sheet_table(path, ("image", "Mean score"))
    assert table["image"].tolist() == ["a", "b"] and table["Mean score"].tolist() == [1.0, 2.0]
    with pytest.raises(InputError, match="no row that names the columns image, dmos"):
        sheet_table(path, ("image", "dmos"))
    with pytest.raises(InputError, match="no sheet 'other'"):
        sheet_table(path, ("image",), "other")


def test_reissued(tmp_path):
    assert reissued(Files(tmp_path), "Some") is None
    path = tmp_path / "meta_info" / "meta_info_SomeDataset.csv"
    path.parent.mkdir()
    path.write_text("ref_name,dist_name,dmos,std,fold\nr.bmp,a.bmp,12.5,0.5,train\n")
    table = reissued(Files(tmp_path), "Some")
    assert table.iloc[0].to_dict() == {
        "reference": "r.bmp",
        "name": "a.bmp",
        "score": 12.5,
        "std": 0.5,
        "fold": "train",
    }
    path.write_text("ref_name,dist_name\nr.bmp,a.bmp\n")
    with pytest.raises(InputError, match="meta_info_SomeDataset.csv: columns .*expected name, score"):
        reissued(Files(tmp_path), "Some")
    path.write_text("img_name,mos,dmos\na.bmp,1,2\n")  # which of the two would it be?
    with pytest.raises(InputError, match="expected name, score, each once"):
        reissued(Files(tmp_path), "Some")


def test_names_that_look_like_numbers_are_texts(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("name , score\n007,1.5\n1e3,2\n")
    assert csv_table(path, ("name", "score"), ("name",))["name"].tolist() == ["007", "1e3"]
    (tmp_path / "meta_info_SomeDataset.csv").write_text("dist_name,mos\n1.5,2\n")
    assert reissued(Files(tmp_path), "Some")["name"].tolist() == ["1.5"]
    with pytest.raises(InputError, match="expected name, score, reference, each once"):
        reissued(Files(tmp_path), "Some", ("reference",))
    assert Files(tmp_path).find("") is None and Files(tmp_path).find(".") is None


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"<sheetData>", b"<sheetData", "no sheet 0 of an .xlsx workbook"),
        (b'r="B3"', b'r="XFD1048576"', "a cell in row 1,048,576 or beyond column ZZ"),
        (b'r="B3"', b'r="B9999999"', "a cell in row 9,999,999"),
    ],
)
def test_workbooks_that_are_broken_or_huge(tmp_path, old, new, words):
    made, path = tmp_path / "made.xlsx", tmp_path / "a.xlsx"
    pd.DataFrame({"image": ["a", "b"], "dmos": [1, 2]}).to_excel(made, index=False)
    with zipfile.ZipFile(made) as book, zipfile.ZipFile(path, "w") as changed:
        for name in book.namelist():
            content = book.read(name)
            changed.writestr(name, content.replace(old, new) if "sheet1" in name else content)
    with pytest.raises(InputError, match=f"a.xlsx: {words}"):
        sheet_table(path, ("image", "dmos"))
