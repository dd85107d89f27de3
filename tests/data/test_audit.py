import numpy as np
import pandas as pd
import pytest
from PIL import Image

from iqasuite.data import demo, lab
from iqasuite.data.audit import COLUMNS, difference_hash
from iqasuite.data.frames import IMAGES
from iqasuite.data.splits import audit, by_content
from iqasuite.errors import InputError


def frames(rows: list[tuple[str, str, str, str]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Images and a one-fold split of (image, content, reference, part)."""
    images = pd.DataFrame([(i, c, r, "blur", 1, 3.0, 0.5, 5) for i, c, r, _ in rows], columns=list(IMAGES))
    return images, pd.DataFrame([(i, c, 0, p) for i, c, _, p in rows], columns=["image", "content", "fold", "part"])


def paths(data):
    return {image: data.path(image) for image in data.images["image"]}


def test_demo_is_clean(demo_set):
    split = by_content(demo_set.images, 3, sources=demo_set.sources)
    leaks = audit(split, demo_set.images, demo_set.sources, paths(demo_set))
    assert leaks.empty and list(leaks.columns) == list(COLUMNS)


def test_lab_is_clean(lab_root):
    data = lab.load(lab_root, missing="drop")
    assert audit(by_content(data.images, 5, sources=data.sources), data.images, data.sources, paths(data)).empty


def test_ignored_sources_are_found(demo_set):
    split = by_content(demo_set.images, 5)  # by content alone: parts of one photograph fall apart
    leaks = audit(split, demo_set.images, demo_set.sources)
    assert set(leaks["kind"]) == {"source"} and leaks["distance"].isna().all()
    assert (leaks["part_a"] != leaks["part_b"]).all()


def test_shared_content_and_reference_are_found():
    rows = [("a1", "a", "r", "train"), ("a2", "a", "r", "test"), ("b1", "b", "r", "val"), ("c1", "c", "", "test")]
    images, split = frames(rows)
    leaks = audit(split, images)
    assert leaks["kind"].tolist() == ["content", "reference", "reference", "reference"]
    assert leaks.iloc[0][["image_a", "part_a", "image_b", "part_b"]].tolist() == ["a1", "train", "a2", "test"]
    images, split = frames([("a1", "a", "r", "train"), ("b1", "b", "q", "test")])
    assert audit(split, images).empty


@pytest.mark.parametrize("how", ["recompressed", "resized", "brighter"])
def test_planted_duplicate_is_found(tmp_path, how):
    files, rows = {}, []
    for i, (content, pristine) in enumerate(demo.contents().items()):
        Image.fromarray(pristine).save(tmp_path / f"{content}.png")
        files[content] = tmp_path / f"{content}.png"
        rows.append((content, content, "", "train" if i % 2 else "test"))
    original = Image.open(files["china-1"])
    if how == "recompressed":
        original.save(tmp_path / "copy.jpg", quality=15)
    if how == "resized":
        original.resize((300, 180)).save(tmp_path / "copy.jpg", quality=60)
    if how == "brighter":
        Image.fromarray((np.asarray(original) * 0.8 + 40).astype(np.uint8)).save(tmp_path / "copy.jpg")
    part = dict((r[0], r[3]) for r in rows)["china-1"]
    files["copy"] = tmp_path / "copy.jpg"
    images, split = frames([*rows, ("copy", "another-name", "", "val")])
    leaks = audit(split, images, paths=files)
    assert leaks[["kind", "image_a", "part_a", "image_b", "part_b"]].values.tolist() == [
        ["near-duplicate", "china-1", part, "copy", "val"]
    ]
    assert leaks["distance"][0] <= 6
    images, split = frames([*rows, ("copy", "another-name", "", part)])
    assert audit(split, images, paths=files).empty  # in the same part it does no harm


def test_hash_of_known_pictures(tmp_path):
    ramp = np.repeat(np.linspace(0, 255, 90).astype(np.uint8)[None], 80, axis=0)
    for name, image, bits in (("up", ramp, 64), ("down", ramp[:, ::-1], 0), ("flat", ramp * 0, 0)):
        Image.fromarray(np.ascontiguousarray(image)).save(tmp_path / f"{name}.png")
        assert np.bitwise_count(difference_hash(tmp_path / f"{name}.png")) == bits


def test_unknown_images():
    images, split = frames([("a", "a", "", "train"), ("b", "b", "", "test")])
    with pytest.raises(InputError, match="1 images unknown \\('b'"):
        audit(split, images[:1])
    with pytest.raises(InputError, match="paths: 2 images of the split have none"):
        audit(split, images, paths={})
