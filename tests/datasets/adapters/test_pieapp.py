import pandas as pd
import pytest

from iqasuite.datasets.adapters import pieapp
from iqasuite.errors import InputError

HEAD = "ref. image, distorted image A, distorted image B, raw preference for A, processed preference for A\n"
TEST_HEAD = "ref. image, distorted image A, distorted image B, preference for A\n"


def names(n):
    return [f"distort_{n}_{kind}_inter_{i}.png" for kind in ("jpegCompression", "gaussian_blur") for i in (0, 1)]


@pytest.fixture
def tiny(tmp_path, draw):
    for n, part in ((1, "train"), (2, "val"), (3, "test")):
        draw(tmp_path, [f"distorted_images/{part}/ref_{n}/{name}" for name in names(n)])
        draw(tmp_path, [f"reference_images/{part}/ref_{n}.png"])
        a, b, c, d = names(n)
        labels = tmp_path / "labels" / part
        labels.mkdir(parents=True)
        if part == "test":
            lines = f"ref_3.png,{a},{b},0.75\nref_3.png,{c},{d},0.5\nref_3.png,ref_3.png,{a},0.9\n"
            (labels / "ref_3_pairwise_labels.csv").write_text(TEST_HEAD + lines)
            scores = f"ref_3.png,{a},0.5\nref_3.png,{b},1.5\nref_3.png,{c},2\nref_3.png,{d},2\nref_3.png,ref_3.png,0\n"
            (labels / "ref_3_per_image_score.csv").write_text("ref. image, distorted image, score for image\n" + scores)
        else:
            lines = f"ref_{n}.png,{a},{b},,0.7\nref_{n}.png,{c},{d},0.25,0.3\n"  # the first was not shown to people
            (labels / f"ref_{n}_pairwise_labels.csv").write_text(HEAD + lines)
    return tmp_path


def test_tiny(tiny):
    data = pieapp.load(tiny)
    images = data.images.set_index("image")
    assert len(images) == 12 and not data.absent
    test = images[images["content"] == "ref_3"]
    assert sorted(test["mos"]) == [-2, -2, -1.5, -0.5]
    assert images.loc[f"distorted_images/test/ref_3/{names(3)[0]}", "mos"] == -0.5  # the smallest error is the best
    assert images.loc[images["content"] != "ref_3", "mos"].isna().all()
    assert set(images["distortion"]) == {"jpegCompression", "gaussian_blur"}
    assert set(test["reference"]) == {"reference_images/test/ref_3.png"}


def test_pairs_and_split(tiny):
    data = pieapp.load(tiny)
    pairs = data.pairs
    assert pairs.columns.tolist() == ["reference", "image_a", "image_b", "preference_a", "part"]
    assert pairs["part"].tolist() == ["train", "train", "val", "val", "test", "test", "test"]
    assert pairs["preference_a"].tolist() == [0.7, 0.3, 0.7, 0.3, 0.75, 0.5, 0.9]
    last = pairs.iloc[-1]
    assert last["image_a"] == last["reference"] == "reference_images/test/ref_3.png"
    for column in ("reference", "image_a", "image_b"):
        assert all(data.path(name).is_file() for name in pairs[column])
    split = data.official_split
    assert sorted(split["image"]) == sorted(data.images["image"])
    assert split.groupby("content")["part"].unique().map(list).to_dict() == {
        **{"ref_1": ["train"], "ref_2": ["val"]},
        **{"ref_3": ["test"]},
    }
    known = set(data.images["image"]) | set(data.images["reference"])
    assert set(pairs["image_a"]) | set(pairs["image_b"]) <= known


def test_absent_images_take_their_pairs_with_them(tiny):
    gone = names(1)[0]
    (tiny / "distorted_images" / "train" / "ref_1" / gone).unlink()
    with pytest.raises(InputError, match=f"1 of 12 images absent .{gone}"):
        pieapp.load(tiny)
    data = pieapp.load(tiny, missing="drop")
    assert data.absent == [gone] and len(data.images) == 11 and len(data.pairs) == 6
    (tiny / "reference_images" / "val" / "ref_2.png").unlink()
    data = pieapp.load(tiny, missing="drop")
    assert (data.images.loc[data.images["content"] == "ref_2", "reference"] == "").all()
    assert data.pairs["part"].tolist() == ["train", "test", "test", "test"]


def test_wrong_labels(tiny):
    path = tiny / "labels" / "train" / "ref_1_pairwise_labels.csv"
    path.write_text(HEAD + f"ref_1.png,{names(1)[0]},{names(1)[1]},,1.7\n")
    with pytest.raises(InputError, match="ref_1_pairwise_labels.csv, row 0: preference 1.7; expected 0 to 1"):
        pieapp.load(tiny)
    pd.DataFrame({"a": [1], "b": [2]}).to_csv(path, index=False)
    with pytest.raises(InputError, match="ref_1_pairwise_labels.csv: columns.*expected reference, image A"):
        pieapp.load(tiny)
    for part in ("train", "val", "test"):
        for label in (tiny / "labels" / part).iterdir():
            label.unlink()
    with pytest.raises(InputError, match="no labels/train/ref_N_pairwise_labels.csv"):
        pieapp.load(tiny)


def test_card_adds_up():
    assert pieapp.CARD.n_images == 160 * 123 + 40 * 15
