"""One split for all runs of a suite: made once, then read; a file that does not fit or leaks is refused."""

import pandas as pd
import pytest

from iqasuite.datasets.splits import by_content, kept_split, read_split, save_split, split_hash
from iqasuite.errors import InputError

SOURCES = {f"p{k}-{part}": f"p{k}" for k in range(4) for part in (1, 2)}


@pytest.fixture
def images():
    """Four photographs of two contents, three images each."""
    names = [(f"{content}_{level}.png", content, float(level)) for content in SOURCES for level in (1, 3, 5)]
    frame = pd.DataFrame(names, columns=["image", "content", "mos"])
    return frame.assign(reference="", distortion="blur", level=frame["mos"], mos_std=0.5, n_votes=5)


def test_made_once_then_reused(tmp_path, images):
    path = tmp_path / "tables" / "split.csv"
    made = kept_split(path, images, 3, seed=0, sources=SOURCES)
    written = path.stat().st_mtime_ns
    pd.testing.assert_frame_equal(made, by_content(images, 3, 0, SOURCES))
    again = kept_split(path, images.sample(frac=1, random_state=1), 3, seed=9, sources=SOURCES)
    assert split_hash(again) == split_hash(made) and path.stat().st_mtime_ns == written


def test_a_split_of_other_images_or_folds_is_refused(tmp_path, images):
    path = tmp_path / "split.csv"
    kept_split(path, images, 3, sources=SOURCES)
    with pytest.raises(InputError, match="split.csv: split of 24 images in 3 folds; expected these 21 in 3"):
        kept_split(path, images.iloc[3:], 3, sources=SOURCES)
    with pytest.raises(InputError, match="in 3 folds; expected these 24 in 4"):
        kept_split(path, images, 4, sources=SOURCES)


@pytest.mark.parametrize(("shared", "kind"), [("p0-1_1.png", "content"), ("p0-1", "source")])
def test_a_split_that_leaks_is_refused(tmp_path, images, shared, kind):
    """One image, or one content, of a photograph moved to another part of the fold than the rest."""
    path = tmp_path / "split.csv"
    split = by_content(images, 3, 0, SOURCES)
    moved = split["fold"].eq(0) & split["image"].str.startswith(shared)
    other = {"train": "test", "val": "train", "test": "train"}
    split.loc[moved, "part"] = split.loc[moved, "part"].map(other)
    save_split(split, path)
    with pytest.raises(InputError, match=rf"split.csv: \d+ leaks, the first a shared {kind}: p0-.*png \("):
        kept_split(path, images, 3, sources=SOURCES)


def test_a_file_that_is_no_split_is_named(tmp_path, images):
    path = tmp_path / "split.csv"
    path.write_text("image,fold\na.png,0\n")
    with pytest.raises(InputError, match="split.csv: columns of a split frame"):
        kept_split(path, images)
    with pytest.raises(InputError, match="cannot be read"):
        read_split(tmp_path / "none.csv")
