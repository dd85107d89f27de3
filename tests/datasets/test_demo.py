"""The demo set is the same wherever it is made, and its observers are who they are said to be."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from iqasuite.datasets import demo, simulated
from iqasuite.datasets.playlists import read_playlists
from iqasuite.errors import InputError
from iqasuite.images.loading import read_image
from iqasuite.paths import file_hash, unfinished

PLAYLISTS = Path(__file__).parents[2] / "playlists" / "demo"


@pytest.fixture
def small(monkeypatch):
    """A demo set of one content, made in a second."""
    one = {"flower-1": demo.contents()["flower-1"]}
    monkeypatch.setattr(demo, "contents", lambda: one)


def test_frames(demo_set):
    images = demo_set.images
    assert demo_set.simulated and len(images) == 13 * 26 and images["content"].nunique() == 13
    kinds = images.groupby("content")["distortion"].value_counts().unstack()
    assert (kinds == {"blur": 5, "jpeg": 10, "noise": 5, "pristine": 1, "resolution": 5}).all().all()
    assert len(set(demo_set.sources.values())) == 7 and demo_set.sources["china-2"] == "china"
    assert images["mos"].between(1, 5).all() and (images["n_votes"] == 5).all()
    assert (images.loc[images["distortion"] == "pristine", "reference"] == "").all()
    pairs = images[images["reference"] != ""]
    assert len(pairs) == 13 * 25 and set(pairs["reference"]) <= set(images["image"])
    jpeg = images[images["distortion"] == "jpeg"].set_index("image")
    assert (demo_set.nuisances["jpeg_quality"][jpeg.index] == jpeg["level"]).all()
    assert read_image(demo_set.path(images["image"][0])).shape == (256, 256, 3)


def test_images_of_a_content_by_strength(demo_set):
    table = demo.by_strength(demo_set.images, "chelsea-1")
    assert table.index.tolist() == ["jpeg", "blur", "noise", "resolution"] and table.columns.tolist() == [1, 2, 3, 4, 5]
    assert table.loc["noise", 4] == "images/chelsea-1_noise_4.png"
    quality = demo_set.images.set_index("image")["level"].reindex(table.loc["jpeg"])
    assert quality.is_monotonic_decreasing and quality.iloc[0] > 50 and quality.iloc[-1] <= 10
    with pytest.raises(InputError, match="content='dog': unknown, expected one of astronaut-1"):
        demo.by_strength(demo_set.images, "dog")


def test_regions_lie_apart_and_show_something():
    for _, _, corners in demo.PHOTOGRAPHS.values():
        for i, (x, y) in enumerate(corners):
            assert all(abs(x - u) >= demo.SIZE or abs(y - v) >= demo.SIZE for u, v in corners[:i])
    for name, region in demo.contents().items():
        assert region.shape == (256, 256, 3), name
        assert region.astype(float).mean(axis=2).std() > 20 and np.ptp(region.astype(int), axis=2).mean() > 10, name


def test_sessions(demo_set):
    votes = demo_set.votes
    for _, own in votes.groupby("observer"):
        by_session = own.groupby("session")["image"].apply(set)
        assert (
            by_session[4] == by_session[1] and not by_session[1] & by_session[2] and not by_session[2] & by_session[3]
        )
        assert by_session[1] | by_session[2] | by_session[3] == set(demo_set.images["image"])
    counts = votes[votes["session"] < 4].merge(demo_set.images[["image", "content", "distortion"]])
    counts = counts[counts["observer"] == "Obs1"]
    assert counts.groupby(["session", "content"]).size().between(8, 9).all()
    assert np.ptp(counts.groupby(["session", "distortion"]).size().unstack().to_numpy(), axis=0).max() <= 3


def test_quality_falls_with_strength(demo_set):
    truth = demo_set.truth[demo_set.truth["observer"] == "Obs1"].merge(demo_set.images, on="image")
    assert (truth.loc[truth["distortion"] == "pristine", "quality"] == 5).all()
    for (_, kind), group in truth.groupby(["content", "distortion"]):
        steps = np.diff(group.sort_values("level")["quality"])
        assert (steps > 0).all() if kind == "jpeg" and (np.diff(sorted(group["level"])) > 9).all() else True
        assert (steps < 0).all() if kind in ("blur", "noise", "resolution") else True


def test_votes_use_the_whole_scale(demo_set):
    share = demo_set.votes["vote"].value_counts(normalize=True)
    assert share.min() > 0.08 and len(share) == 5


def test_observers_are_who_they_are_said_to_be(demo_set):
    votes = demo_set.votes.merge(demo_set.images[["image", "mos", "distortion"]], on="image")
    measured = (votes["vote"] - votes["mos"]).groupby(votes["observer"]).mean()
    assert np.corrcoef(measured, [o.bias for o in simulated.OBSERVERS])[0, 1] > 0.99
    of_kind = (votes["vote"] - votes["mos"]).groupby([votes["observer"], votes["distortion"]]).mean().unstack()
    of_kind = of_kind.sub(measured, axis=0)
    assert of_kind["blur"].idxmax() == "Obs3" and of_kind["jpeg"].idxmin() == "Obs2"
    assert of_kind["noise"].idxmax() == "Obs4" and of_kind["resolution"].idxmin() == "Obs5"
    both = votes[votes["session"] == 1].merge(votes[votes["session"] == 4], on=["observer", "image"])
    agreement = (both["vote_x"] == both["vote_y"]).groupby(both["observer"]).mean()
    assert agreement.between(0.45, 0.8).all()


def test_votes_follow_the_stated_expectation(demo_set):
    merged = demo_set.votes.merge(demo_set.truth, on=["observer", "image"])
    spread = (merged["vote"] - merged["expected_vote"].clip(1, 5)).groupby(merged["observer"]).std()
    for observer in simulated.OBSERVERS:  # rounding adds 1/12, clipping takes a little
        assert spread[observer.name] == pytest.approx(np.hypot(observer.inconsistency, 0.29), rel=0.15)


def test_files_are_made_byte_for_byte_again(demo_set):
    manifest = json.loads((demo_set.root / "manifest.json").read_text())["files"]
    present = {p.relative_to(demo_set.root).as_posix() for p in demo_set.root.rglob("*") if p.is_file()}
    assert present == {*manifest, "manifest.json"}
    truth = demo_set.truth[demo_set.truth["observer"] == "Obs1"].set_index("image")["quality"]
    for content in ("china-1", "coffee-2"):
        pristine = demo.contents()[content]
        made = demo.images_of(content, pristine)
        assert len(made) == 26
        quality = demo.true_quality(np.stack([pixels for _, _, pixels, _ in made.values()]), pristine)
        for (name, (_, _, pixels, content_of_file)), value in zip(made.items(), quality, strict=True):
            path = demo_set.root / "images" / name
            assert path.read_bytes() == content_of_file and file_hash(path) == manifest[f"images/{name}"]
            np.testing.assert_array_equal(read_image(path), pixels)
            assert truth[f"images/{name}"] == value


def test_committed_playlists_are_those_that_are_made(demo_set):
    committed = {p.relative_to(PLAYLISTS).as_posix(): p.read_text() for p in PLAYLISTS.rglob("*.csv")}
    made = demo_set.root / "playlists"
    assert committed == {p.relative_to(made).as_posix(): p.read_text() for p in made.rglob("*.csv")}
    assert len(committed) == 20
    first = demo_set.truth[demo_set.truth["observer"] == "Obs1"].merge(demo_set.images, on="image")
    session = demo_set.votes[demo_set.votes["session"] < 4].drop_duplicates("image").set_index("image")["session"]
    again = demo.ratings(first.assign(session=session.reindex(first["image"]).to_numpy()))
    columns = ["observer", "session", "position", "image", "vote"]
    pd.testing.assert_frame_equal(again[columns], read_playlists(PLAYLISTS)[columns])


def test_made_once_and_whole(tmp_path, small, monkeypatch):
    root = tmp_path / "deep" / "demo"
    demo.make(root)
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    demo.make(root)
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*")} == before and len(before) > 26
    demo.make(root, seed=1)  # another recipe replaces it
    assert json.loads((root / "manifest.json").read_text())["seed"] == 1
    assert {p.name for p in root.parent.iterdir()} == {"demo", "demo.lock"}


def test_interrupt_and_full_disk_leave_nothing(tmp_path, small, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    def full():
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(demo, "ratings", interrupted)
    with pytest.raises(KeyboardInterrupt):
        demo.make(tmp_path / "demo")
    monkeypatch.setattr(demo, "contents", full)
    with pytest.raises(InputError, match=r"demo: cannot be written \(No space left"):
        demo.make(tmp_path / "demo")
    assert [p.name for p in tmp_path.iterdir()] == ["demo.lock"]


def test_two_at_once_make_it_once_and_what_a_killed_one_left_is_removed(tmp_path, small, monkeypatch):
    root, made, ratings = tmp_path / "demo", [], demo.ratings
    left = tmp_path / f"{unfinished(root)}x"
    left.mkdir()
    monkeypatch.setattr(demo, "ratings", lambda *given: made.append(1) or ratings(*given))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(demo.make, [root, root]))
    assert made == [1] and not left.exists() and len(demo.load(root).images) == 26


def test_somebody_elses_folder_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="not a demo set"):
        demo.load(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_lost_image_is_named(tmp_path, small):
    demo.make(tmp_path / "demo")
    (tmp_path / "demo" / "images" / "flower-1_blur_3.png").unlink()
    with pytest.raises(InputError, match="1 images missing .*flower-1_blur_3.png.*remove the folder"):
        demo.load(tmp_path / "demo")
