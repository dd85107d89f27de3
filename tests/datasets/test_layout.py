import logging

import numpy as np
import pandas as pd
import pytest

from iqasuite.datasets.card import Card, Scale
from iqasuite.datasets.layout import Files, located, scored
from iqasuite.errors import InputError

CARD = Card(
    **{"name": "some", "title": "t", "homepage": "h", "licence": "free", "citation": "us", "structure": "s"},
    **{"n_images": 3, "n_references": 2, "scale": Scale(0, 100, higher_is_better=False)},
)


@pytest.fixture
def root(tmp_path):
    for name in ("Set/A/img1.bmp", "Set/B/IMG1.BMP", "Set/B/img2.bmp", "refs/r1.png", "refs/r2.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    for name in (".hidden/r1.png", "__MACOSX/r1.png", "refs/.r1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def table():
    return pd.DataFrame(
        {
            "name": ["A/img1.bmp", "B/img1.bmp", "B/img2.bmp"],
            "score": [10, "20.5", 130],
            "reference": ["r1.png", "r2.png", ""],
        }
    )


def test_files_are_found_by_the_end_of_their_path(root):
    files = Files(root)
    assert files.find("r1.png") == files.find("R1.PNG") == "refs/r1.png"  # not those of archivers
    assert files.find("b/img1.bmp") == "Set/B/IMG1.BMP" and files.find("et/A/img1.bmp") is None
    with pytest.raises(InputError, match="2 files 'img1.bmp'"):
        files.find("img1.bmp")
    assert files.need("none.txt", "r2.png") == root / "refs" / "r2.png"
    with pytest.raises(InputError, match="no a.txt or b.txt in it or below"):
        files.need("a.txt", "b.txt")
    assert files.below("b", (".bmp",)) == ["Set/B/IMG1.BMP", "Set/B/img2.bmp"]
    with pytest.raises(InputError, match="no such folder"):
        Files(root / "nowhere")


def test_accents_and_what_systems_leave_behind(tmp_path):
    for name in ("A/e\u0301te\u0301.png", "A/Thumbs.db", "A/._b.png", "__macosx/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    files = Files(tmp_path)
    assert files.find("a/\u00c9t\u00e9.PNG") == "A/e\u0301te\u0301.png"
    assert [files.find(name) for name in ("Thumbs.db", "._b.png", "c.png")] == [None] * 3


def test_located_says_what_is_absent(root, caplog):
    files = Files(root)
    paths, absent = located(files, ["r1.png", "r2.png"], "error")
    assert paths == {"r1.png": "refs/r1.png", "r2.png": "refs/r2.png"} and absent == []
    with pytest.raises(InputError, match="1 of 2 images absent .r3.png"):
        located(files, ["r1.png", "r3.png"], "error")
    with caplog.at_level(logging.WARNING):
        assert located(files, ["r1.png", "r3.png"], "drop")[1] == ["r3.png"]
    assert "1 of 2 images absent" in caplog.text
    with pytest.raises(InputError, match="2 of 2"):
        located(files, ["r3.png", "r4.png"], "drop")
    with pytest.raises(InputError, match="missing='ignore'"):
        located(files, ["r1.png"], "ignore")


def test_scored(root):
    official = pd.DataFrame({"name": ["A/img1.bmp", "B/img1.bmp", "B/img2.bmp"], "part": ["train", "val", "test"]})
    shares = pd.DataFrame({"name": official["name"], **{f"p{k}": 0.2 for k in range(1, 6)}})
    data = scored(CARD, Files(root), table(), distributions=shares, official=official)
    assert data.images["image"].tolist() == ["Set/A/img1.bmp", "Set/B/IMG1.BMP", "Set/B/img2.bmp"]
    np.testing.assert_allclose(data.images["mos"], [90, 79.5, -30])  # lower is better: turned
    assert data.images["reference"].tolist() == ["refs/r1.png", "refs/r2.png", ""]
    assert data.distributions.columns.tolist() == ["image", "p1", "p2", "p3", "p4", "p5"]
    assert (
        data.distributions["image"].tolist() == data.official_split["image"].tolist() == data.images["image"].tolist()
    )
    assert data.official_split["content"].tolist() == data.images["content"].tolist()
    assert data.licence == "free" and data.citation == "us" and data.votes.empty


def test_scored_without_an_image_or_a_reference(root):
    (root / "Set" / "B" / "img2.bmp").unlink()
    (root / "refs" / "r2.png").unlink()
    with pytest.raises(InputError, match="1 of 3 images absent .B/img2.bmp"):
        scored(CARD, Files(root), table())
    data = scored(CARD, Files(root), table(), "drop")
    assert data.absent == ["B/img2.bmp"] and data.images["reference"].tolist() == ["refs/r1.png", ""]
    with pytest.raises(InputError, match="1 of 2 references absent .r2.png"):
        scored(CARD, Files(root), table().iloc[:2])


def test_scored_refuses_bad_tables(root):
    with pytest.raises(InputError, match="score of B/img1.bmp: 'good', expected a number"):
        scored(CARD, Files(root), table().assign(score=[1, "good", 2]))
    with pytest.raises(InputError, match="lists 'A/img1.bmp' twice"):
        scored(CARD, Files(root), pd.concat([table(), table().iloc[:1]]))
    with pytest.raises(InputError, match="lists no images"):
        scored(CARD, Files(root), table().iloc[:0])
