import numpy as np
import pandas as pd
import pytest

from iqasuite.data import lab, splits
from iqasuite.errors import InputError


def images_of(contents: dict[str, list[float]]) -> pd.DataFrame:
    rows = [
        (f"{content}-{i}.png", content, "", "blur", i, mos, 0.5, 5)
        for content, values in contents.items()
        for i, mos in enumerate(values)
    ]
    return pd.DataFrame(
        rows, columns=["image", "content", "reference", "distortion", "level", "mos", "mos_std", "n_votes"]
    )


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return images_of({f"c{i:02d}": (rng.uniform(1, 4) + rng.random(rng.integers(6, 12))).tolist() for i in range(20)})


def check(split, images, sources, n_folds):
    merged = split.assign(source=split["content"].map(lambda c: sources.get(c, c)))
    assert (merged.groupby(["fold", "source"])["part"].nunique() == 1).all()
    assert (split.groupby("fold")["image"].nunique() == len(images)).all() and len(split) == n_folds * len(images)
    for part in ("test", "val"):
        assert sorted(split.loc[split["part"] == part, "image"]) == sorted(images["image"])
    for fold in range(n_folds):
        following = (fold + 1) % n_folds
        assert splits.part(split, fold, "val") == splits.part(split, following, "test")


@pytest.mark.parametrize("n_folds", [3, 5, 8])
def test_three_ways_by_source_balanced(images, n_folds):
    sources = {"c00": "x", "c01": "x", "c02": "x"}
    split = splits.by_content(images, n_folds, sources=sources)
    check(split, images, sources, n_folds)
    tested = split[split["part"] == "test"].merge(images[["image", "mos"]], on="image").groupby("fold")["mos"]
    assert tested.size().max() - tested.size().min() <= 0.35 * tested.size().mean()
    assert np.ptp(tested.mean()) < 0.3


def test_same_seed_same_split_whatever_the_order(images):
    split = splits.by_content(images, 4, seed=3)
    pd.testing.assert_frame_equal(splits.by_content(images.sample(frac=1, random_state=1), 4, seed=3), split)
    assert splits.split_hash(split) == splits.split_hash(split.sample(frac=1, random_state=2))
    assert splits.split_hash(splits.by_content(images, 4, seed=4)) != splits.split_hash(split)


@pytest.mark.parametrize("n_folds", [0, 1, 2, 21])
def test_impossible_numbers_of_folds(images, n_folds):
    with pytest.raises(InputError, match=f"n_folds={n_folds}: expected 3 to 20"):
        splits.by_content(images, n_folds)


def test_saved_and_read_again(images, tmp_path):
    split = splits.by_content(images, 3)
    path = splits.save_split(split, tmp_path / "splits" / "s.csv")
    pd.testing.assert_frame_equal(splits.read_split(path), split)
    assert splits.split_hash(splits.read_split(path)) == splits.split_hash(split)


def test_unreadable_splits(tmp_path):
    for content, words in {"": "not a CSV table", "image,content,fold\na,b,0\n": r"missing \['part'\]"}.items():
        (tmp_path / "s.csv").write_text(content)
        with pytest.raises(InputError, match=f"s.csv: .*{words}"):
            splits.read_split(tmp_path / "s.csv")
    (tmp_path / "s.csv").write_bytes("image,content,fold,part\nä,b,0,test\n".encode("latin-1"))
    with pytest.raises(InputError, match="s.csv"):
        splits.read_split(tmp_path / "s.csv")
    with pytest.raises(InputError, match="cannot be read"):
        splits.read_split(tmp_path / "none.csv")


def test_parts_by_name(images):
    split = splits.by_content(images, 3)
    assert set(splits.part(split, 0, "train")) == set(split[(split["fold"] == 0) & (split["part"] == "train")]["image"])
    with pytest.raises(InputError, match="part 'dev'"):
        splits.part(split, 0, "dev")
    with pytest.raises(InputError, match="fold 7"):
        splits.part(split, 7, "test")


@pytest.mark.parametrize("n_folds", [3, 5])
def test_demo(demo_set, n_folds):
    split = splits.by_content(demo_set.images, n_folds, sources=demo_set.sources)
    check(split, demo_set.images, demo_set.sources, n_folds)
    tested = split[split["part"] == "test"].merge(demo_set.images[["image", "mos"]], on="image").groupby("fold")["mos"]
    assert np.ptp(tested.mean()) < 0.25 and (n_folds > 3 or np.ptp(tested.size()) <= 26)


def test_lab(lab_root):
    data = lab.load(lab_root, missing="drop")
    split = splits.by_content(data.images, 5, sources=data.sources)
    check(split, data.images, data.sources, 5)
    tested = split[split["part"] == "test"].merge(data.images[["image", "mos"]], on="image").groupby("fold")["mos"]
    assert np.ptp(tested.size()) <= 2 and np.ptp(tested.mean()) < 0.05
