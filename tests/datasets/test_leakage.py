import numpy as np
import pandas as pd
import pytest
from PIL import Image

from iqasuite.datasets import demo, study_folder
from iqasuite.datasets.adapters import tta_h265_lab as lab
from iqasuite.datasets.frames import IMAGES
from iqasuite.datasets.leakage import COLUMNS, in_common, joined_sources, near_duplicates
from iqasuite.datasets.splits import audit, by_content
from iqasuite.errors import InputError


def frames(rows: list[tuple[str, str, str, str]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Images and a one-fold split of (image, content, reference, part)."""
    images = pd.DataFrame([(i, c, r, "blur", 1, 3.0, 0.5, 5) for i, c, r, _ in rows], columns=list(IMAGES))
    return images, pd.DataFrame([(i, c, 0, p) for i, c, _, p in rows], columns=["image", "content", "fold", "part"])


def test_demo_is_clean(demo_set):
    split = by_content(demo_set.images, 3, sources=demo_set.sources)
    leaks = audit(split, demo_set.images, demo_set.sources, near_duplicates(demo_set.images, demo_set.paths()))
    assert leaks.empty and list(leaks.columns) == list(COLUMNS)


def test_lab_is_clean(lab_folder):
    data = lab.load(lab_folder, missing="drop")
    assert near_duplicates(data.images, data.paths()).empty
    assert audit(by_content(data.images, 5, sources=data.sources), data.images, data.sources).empty


def test_ignored_sources_are_found(demo_set):
    split = by_content(demo_set.images, 5)  # by content alone: parts of one photograph fall apart
    leaks = audit(split, demo_set.images, demo_set.sources)
    assert set(leaks["kind"]) == {"source"} and leaks["similarity"].isna().all()
    assert (leaks["part_a"] != leaks["part_b"]).all()


def test_shared_content_and_reference_are_found():
    rows = [("a1", "a", "r", "train"), ("a2", "a", "r", "test"), ("b1", "b", "r", "val"), ("c1", "c", "", "test")]
    images, split = frames(rows)
    leaks = audit(split, images)
    assert leaks["kind"].tolist() == ["content", "reference", "reference", "reference"]
    assert leaks.iloc[0][["image_a", "part_a", "image_b", "part_b"]].tolist() == ["a1", "train", "a2", "test"]
    images, split = frames([("a1", "a", "r", "train"), ("b1", "b", "q", "test")])
    assert audit(split, images).empty


def altered(original: Image.Image, how: str) -> Image.Image:
    width, height = original.size
    if how == "resized":
        return original.resize((300, 180))
    if how == "brighter":
        return Image.fromarray((np.asarray(original) * 0.8 + 40).astype(np.uint8))
    if how == "cropped":
        return original.crop((round(0.02 * width), round(0.05 * height), round(0.96 * width), round(0.98 * height)))
    if how == "mirrored":
        return original.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return original


@pytest.mark.parametrize("how", ["recompressed", "resized", "brighter", "cropped", "mirrored"])
def test_planted_duplicate_is_found(tmp_path, how):
    files, rows = {}, []
    for i, (content, pristine) in enumerate(demo.contents().items()):
        Image.fromarray(pristine).save(tmp_path / f"{content}.png")
        files[content] = tmp_path / f"{content}.png"
        rows.append((content, content, "", "train" if i % 2 else "test"))
    altered(Image.open(files["china-1"]), how).save(tmp_path / "copy.jpg", quality=15 if how == "recompressed" else 70)
    part = dict((r[0], r[3]) for r in rows)["china-1"]
    files["copy"] = tmp_path / "copy.jpg"
    images, split = frames([*rows, ("copy", "another-name", "", "val")])
    leaks = audit(split, images, pairs=near_duplicates(images, files))
    assert leaks[["kind", "image_a", "part_a", "image_b", "part_b"]].values.tolist() == [
        ["near-duplicate", "china-1", part, "copy", "val"]
    ]
    assert leaks["similarity"][0] > 0.8
    images, split = frames([*rows, ("copy", "another-name", "", part)])
    assert audit(split, images, pairs=near_duplicates(images, files)).empty  # in the same part it does no harm


def test_random_split_of_a_synthetic_set_is_flagged(demo_set):
    rng = np.random.default_rng(0)
    split = demo_set.images[["image", "content"]].assign(fold=0, part=rng.choice(["train", "val", "test"], 338))
    leaks = audit(split, demo_set.images, demo_set.sources)
    assert set(leaks["kind"]) == {"content", "reference", "source"}
    assert leaks[leaks["kind"] == "content"].groupby("kind").size().tolist() == [13 * 3]  # every content, all 3 pairs


def test_contents_of_one_picture_are_joined(demo_set):
    renamed = demo_set.images.assign(content=demo_set.images["content"].str.replace("coffee-1", "tea"))
    half = renamed["content"].eq("tea") & (np.arange(len(renamed)) % 2 == 0)
    renamed.loc[half, "content"] = "coffee-1"  # one picture under two names
    pairs = near_duplicates(renamed, demo_set.paths())
    assert {frozenset(pair) for pair in pairs[["content_a", "content_b"]].itertuples(index=False)} == {
        frozenset(("coffee-1", "tea"))
    }
    joined = joined_sources({content: content for content in renamed["content"].unique()}, pairs)
    assert joined["tea"] == joined["coffee-1"] == "coffee-1" and len(set(joined.values())) == 13


def test_pictures_that_two_sets_share(demo_set, tmp_path):
    Image.open(demo_set.path("images/coffee-1_pristine.png")).resize((200, 200)).save(tmp_path / "cup.jpg", quality=50)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "noise.png")
    (tmp_path / "scores.csv").write_text("image,mos,content\ncup.jpg,3,breakfast\nnoise.png,1,noise\n")
    shared = in_common(demo_set, study_folder.load(tmp_path))
    assert set(shared["image_b"]) == {"cup.jpg"} and set(shared["content_b"]) == {"breakfast"}
    assert set(shared["content_a"]) == {"coffee-1"} and "images/coffee-1_pristine.png" in set(shared["image_a"])
    (tmp_path / "cup.jpg").unlink()
    assert in_common(demo_set, study_folder.load(tmp_path, missing="drop")).empty


def test_unknown_images():
    images, split = frames([("a", "a", "", "train"), ("b", "b", "", "test")])
    with pytest.raises(InputError, match="1 images unknown \\('b'"):
        audit(split, images[:1])
    with pytest.raises(InputError, match="paths: 2 images have none"):
        near_duplicates(images, {})
