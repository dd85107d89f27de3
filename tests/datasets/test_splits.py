import numpy as np
import pandas as pd
import pytest

from iqasuite.datasets import splits
from iqasuite.datasets.adapters import tta_h265_lab as lab
from iqasuite.datasets.card import Scale
from iqasuite.datasets.dataset import Dataset
from iqasuite.datasets.frames import IMAGES
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
    assert path.read_text().splitlines()[0] == "image,content,fold 0,fold 1,fold 2"
    pd.testing.assert_frame_equal(splits.read_split(path), split)
    assert splits.split_hash(splits.read_split(path)) == splits.split_hash(split)
    some = split.drop(index=[0, 40]).reset_index(drop=True)  # not every fold has every image
    pd.testing.assert_frame_equal(splits.read_split(splits.save_split(some, path)), some)
    split.to_csv(path, index=False)  # a row an image and fold, as people write it
    pd.testing.assert_frame_equal(splits.read_split(path), split)


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


def test_lab(lab_folder):
    data = lab.load(lab_folder, missing="drop")
    split = splits.by_content(data.images, 5, sources=data.sources)
    check(split, data.images, data.sources, 5)
    tested = split[split["part"] == "test"].merge(data.images[["image", "mos"]], on="image").groupby("fold")["mos"]
    assert np.ptp(tested.size()) <= 2 and np.ptp(tested.mean()) < 0.05


def authentic(n: int) -> pd.DataFrame:
    """Images that are each their own content, MOS by number."""
    names = [f"{i:05d}.jpg" for i in range(n)]
    mos = np.random.default_rng(1).permutation(n) / n
    rows = [(name, name, "", "", np.nan, value, 1.0, 5) for name, value in zip(names, mos, strict=True)]
    return pd.DataFrame(rows, columns=list(IMAGES))


def test_many_contents_are_dealt_evenly():
    images = authentic(2003)
    split = splits.by_content(images, 5)
    tested = split[split["part"] == "test"].merge(images[["image", "mos"]], on="image")
    sizes, means = (tested.groupby("fold")["mos"].agg(how) for how in ("size", "mean"))
    assert sizes.sum() == 2003 and sizes.min() >= 400 and sizes.max() <= 401
    assert np.abs(means - images["mos"].mean()).max() < 0.002


def test_repeated_splits_have_their_shares_and_differ():
    images = authentic(500)
    split = splits.repeated_by_content(images, 10, seed=3)
    counts = split.groupby(["fold", "part"]).size().unstack()
    assert (counts[["train", "val", "test"]] == [300, 100, 100]).all(axis=None)
    merged = split.merge(images[["image", "mos"]], on="image")
    assert merged.groupby(["fold", "part"])["mos"].mean().sub(images["mos"].mean()).abs().max() < 0.01
    tests = [set(splits.part(split, fold, "test")) for fold in range(10)]
    assert all(5 < len(tests[0] & other) < 40 for other in tests[1:])  # by chance 20 of 100
    assert split.equals(splits.repeated_by_content(images.sample(frac=1, random_state=1), 10, seed=3))
    assert splits.audit(split, images).empty


def test_repeated_splits_keep_sources_together(demo_set):
    split = splits.repeated_by_content(demo_set.images, 4, sources=demo_set.sources)
    assert splits.audit(split, demo_set.images, demo_set.sources).empty and split["fold"].nunique() == 4
    with pytest.raises(InputError, match="at least 20 sources, found 7"):
        splits.repeated_by_content(demo_set.images, 1, sources=demo_set.sources, shares=(0.85, 0.1, 0.05))
    for shares in ((0.6, 0.4, 0.0), (0.6, 0.2, 0.1), (0.5, 0.5)):
        with pytest.raises(InputError, match="expected three of at least .05 that add to 1"):
            splits.repeated_by_content(demo_set.images, 1, shares=shares)


def test_kept_split_of_another_making(tmp_path):
    images = authentic(100)
    split = splits.kept_split(tmp_path / "split.csv", images, 3, make=splits.repeated_by_content)
    assert split.equals(splits.repeated_by_content(images, 3)) and (tmp_path / "split.csv").is_file()


def test_random_folds_look_at_no_content(images):
    split = splits.random_folds(images, 5, seed=3)
    tested = split[split["part"] == "test"]
    assert sorted(tested["image"]) == sorted(images["image"]) and set(split["part"]) == {"train", "test"}
    assert tested.groupby("fold").size().between(len(images) // 5, len(images) // 5 + 1).all()
    assert set(splits.audit(split, images)["kind"]) == {"content"}  # what the corrected splits are there for
    pd.testing.assert_frame_equal(split, splits.random_folds(images.sample(frac=1, random_state=1), 5, seed=3))
    assert not split.equals(splits.random_folds(images, 5, seed=4))
    with pytest.raises(InputError, match="n_folds=1: expected 2"):
        splits.random_folds(images, 1)
    with pytest.raises(InputError, match="^1 image: a split in train and test takes 2 or more images$"):
        splits.random_folds(images.iloc[:1], 2)


@pytest.mark.parametrize("n", [1, 2])
def test_messages_about_few_sources_ask_for_what_can_be(n):
    images = images_of({f"c{i}": [1.0, 2.0] for i in range(n)})
    for n_folds in (1, 2, 3, 5):
        with pytest.raises(InputError, match=f"^{n} sources?: a split in train, val and test takes 3 or more sources$"):
            splits.by_content(images, n_folds)
    with pytest.raises(InputError, match="^n_folds=5: expected 3, there are 3 sources$"):
        splits.by_content(images_of({f"c{i}": [1.0] for i in range(3)}), 5)


def test_contents_that_pandas_takes_for_missing(tmp_path):
    images = images_of({name: [1.0, 2.0] for name in ("NA", "None", "null", "nan", "N/A", "bridge")})
    split = splits.by_content(images, 3)
    saved = splits.read_split(splits.save_split(split, tmp_path / "s.csv"))
    assert set(saved["content"]) == set(images["content"]) and splits.split_hash(saved) == splits.split_hash(split)


def test_split_of_a_suite_is_made_once_and_its_folds_are_those_of_the_observers(images, tmp_path):
    rated = images.assign(mos=images["mos"].where(images["content"] != "c03"))  # nobody rated c03
    data = Dataset("small", tmp_path, rated, pd.DataFrame(), Scale(1, 5), has_pixels=False)
    split, sources = splits.suite_split(tmp_path / "split", data, n_splits=4)
    assert set(split["fold"]) == {0, 1, 2, 3} and "c03" not in set(split["content"]) and sources["c05"] == "c05"
    before = (tmp_path / "split" / "small.csv").read_bytes()
    again, _ = splits.suite_split(tmp_path / "split", data, n_splits=4, seed=9)  # another seed: the saved one stays
    pd.testing.assert_frame_equal(again, split)
    assert (tmp_path / "split" / "small.csv").read_bytes() == before
    folds, _ = splits.suite_split(tmp_path / "split", data, n_folds=5)
    assert folds[folds["part"] == "test"]["image"].is_unique
    pd.testing.assert_frame_equal(splits.read_split(tmp_path / "split" / "split.csv"), folds)
