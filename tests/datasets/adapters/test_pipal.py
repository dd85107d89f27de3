import pytest

from iqasuite.datasets.adapters import pipal
from iqasuite.errors import InputError


def write_labels(root, names, scores):
    by_reference = {}
    for name, score in zip(names, scores, strict=True):
        by_reference.setdefault(name[:5], []).append(f"{name},{score}")
    (root / "Train_Label").mkdir(parents=True, exist_ok=True)
    for reference, lines in by_reference.items():
        (root / "Train_Label" / f"{reference}.txt").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("folder", ["Train_Dist", "Distortion_1"])
def test_tiny(tmp_path, draw, check_absent, folder):
    names = [f"A{c:04d}_{k:02d}_{v:02d}.bmp" for c in (1, 248) for k in range(7) for v in (0, 11)]
    draw(tmp_path, [f"{folder}/{name}" for name in names])
    draw(tmp_path, ["Train_Ref/A0001.bmp", "Train_Ref/A0248.bmp"])
    write_labels(tmp_path, names, [1400 + i for i in range(28)])
    data = pipal.load(tmp_path)
    assert data.images["image"].tolist() == [f"{folder}/{name}" for name in names]
    assert data.images["content"].tolist() == ["A0001"] * 14 + ["A0248"] * 14
    assert data.images["reference"][0] == "Train_Ref/A0001.bmp" and data.images["distortion"].nunique() == 7
    assert (
        data.images["mos"].tolist() == [1400 + i for i in range(28)] and data.images["level"].tolist() == [0, 11] * 14
    )
    check_absent(pipal.load, tmp_path)


def test_wrong_labels(tmp_path, draw):
    draw(tmp_path, ["Train_Dist/A0001_10_00.bmp"])
    with pytest.raises(InputError, match="no Train_Label/A0001.txt"):
        pipal.load(tmp_path)
    write_labels(tmp_path, ["A0001_10_00.bmp"], [1400])  # of the validation part, which has other references
    with pytest.raises(InputError, match="A0001_10_00.bmp.*expected names like A0001_00_00.bmp"):
        pipal.load(tmp_path)


def test_official_table(tmp_path, draw, collected, check_whole):
    table = collected("PIPAL")
    draw(tmp_path, [*table["dis_img_path"], *table["ref_img_path"].unique()])
    names = table["dis_img_path"].str.split("/").str[-1]
    write_labels(tmp_path, names, table["score"])
    data = pipal.load(tmp_path)
    check_whole(data, pipal.CARD)
    theirs = table.set_index("dis_img_path")[["score", "ref_img_path"]].loc[data.images["image"]]
    assert data.images["mos"].tolist() == theirs["score"].tolist()
    assert data.images["reference"].tolist() == theirs["ref_img_path"].tolist()
    variants = data.images.groupby("distortion")["level"].nunique()
    assert variants[list(pipal.CLASSES)].tolist() == [12, 16, 10, 24, 13, 14, 27]  # as in the journal version's table
    assert data.images["mos"].between(data.scale.low, data.scale.high).all()
