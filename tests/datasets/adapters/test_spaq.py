import pandas as pd
import pytest

from iqasuite.datasets.adapters import spaq
from iqasuite.errors import InputError


def table(n):
    frame = pd.DataFrame({"Image name": [f"{i:05d}.jpg" for i in range(1, n + 1)]})
    frame["MOS"] = [i % 100 for i in range(n)]
    return frame.assign(Brightness=50.0)


@pytest.fixture
def tiny(tmp_path, draw):
    draw(tmp_path, [f"{folder}/{name}" for folder in ("TestImage", "resized") for name in table(4)["Image name"]])
    (tmp_path / "Annotations").mkdir()
    table(4).to_excel(tmp_path / "Annotations" / spaq.TABLE, index=False)
    return tmp_path


def test_tiny(tiny, check_absent):
    data = spaq.load(tiny)
    assert data.images["image"].tolist() == [f"TestImage/{i:05d}.jpg" for i in range(1, 5)]
    assert data.images["content"].tolist() == ["00001", "00002", "00003", "00004"]
    assert data.images["mos"].tolist() == [0, 1, 2, 3] and set(data.images["distortion"]) == {"authentic"}
    official = data.images
    (tiny / "Annotations" / spaq.TABLE).rename(tiny / "moved")
    with pytest.raises(InputError, match="no MOS and Image attribute scores.xlsx"):
        spaq.load(tiny)
    table(4).assign(Animal=0).to_csv(tiny / "meta_info_SPAQDataset.csv", index=False)
    pd.testing.assert_frame_equal(spaq.load(tiny).images, official)
    check_absent(spaq.load, tiny)
