"""The semi-real set: real votes on other photographs, compressed at the qualities of the study's images."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iqasuite import datasets
from iqasuite.datasets import semi_real, splits
from iqasuite.datasets.adapters import aio_playlists
from iqasuite.errors import InputError
from iqasuite.evaluation.rules import MOST_OFTEN_RIGHT, rules_on_split
from iqasuite.evaluation.subjects.repetition import retest


@pytest.fixture
def photographs(tmp_path) -> Path:
    """Twelve photographs of noise, 72×48."""
    rng, folder = np.random.default_rng(0), tmp_path / "noise"
    folder.mkdir()
    for i in range(12):
        Image.fromarray(rng.integers(0, 256, (48, 72, 3), dtype=np.uint8)).save(folder / f"{i:02d}.png")
    return folder


@pytest.fixture
def load(tmp_path, tiny_playlists, photographs):
    """A function that loads the tiny set."""
    given = {"photographs": photographs, "size": 32, "playlists": tiny_playlists}
    return lambda **other: datasets.load("aio_semi_real", tmp_path / "made", **given | other)


def test_every_image_carries_the_votes_on_a_real_one_of_its_quality(load, tiny_playlists):
    data, real = load(), datasets.load("aio_playlists", tiny_playlists)
    assert data.semi_real and data.voters == "observers (semi-real)" and data.display_size == (32, 32)
    keys = ["observer", "session", "position", "vote", "duration", "timestamp"]
    assert data.votes[keys].equals(real.votes[keys]) and data.set_aside is None
    quality = data.nuisances["jpeg_quality"]
    assert data.votes["image"].map(quality).tolist() == real.votes["image"].map(real.nuisances["jpeg_quality"]).tolist()
    for image in data.images["image"]:
        file, expected = Image.open(data.path(image)), io.BytesIO()
        Image.new("RGB", (32, 32)).save(expected, "JPEG", quality=int(quality[image]))
        assert file.size == (32, 32) and file.quantization == Image.open(expected).quantization


def test_who_sees_one_image_of_the_study_sees_one_image_here(load):
    shown = load().votes.groupby(["observer", "session"])["image"].apply(frozenset)
    assert shown["Obs1", 1] == shown["Obs1", 4] == shown["Obs2", 1] and shown["Obs1", 5] == shown["Obs2", 5]
    assert not shown["Obs1", 1] & shown["Obs1", 2]


def test_photographs_are_split_and_the_parts_are_the_studys(load):
    data = load()
    split = data.official_split
    assert splits.audit(split, data.images, data.sources).empty
    assert set(data.votes.loc[data.votes["session"] == 5, "image"]) == set(splits.part(split, 0, "test"))
    assert all(name.startswith("noise/") for name in data.images["content"])


def test_plan(tiny_playlists):
    study = aio_playlists.load(tiny_playlists)
    study.images["content"] = [f"c{i // 2}" for i in range(9)]  # several qualities of one photograph
    shapes = {f"f/{i}": (40 + i, 99) for i in range(20)}
    plan = semi_real.planned(study, shapes, 32, 0)
    assert plan.equals(semi_real.planned(study, shapes, 32, 0))
    assert not plan.equals(semi_real.planned(study, shapes, 32, 1))
    assert (plan[["top", "left"]] % 8 == 0).all().all() and (
        plan["top"] + 32 <= plan["content"].map(shapes).str[0]
    ).all()
    real = study.images.set_index("image")["content"][plan["playlist_image"]].to_numpy()
    places = plan.groupby([real, plan["part"] == "test"])[["content", "top", "left"]].nunique()
    assert (places == 1).all().all() and plan["image"].is_unique


def test_made_once_and_again_where_an_image_is_lost(load):
    data = load()
    file = data.path(data.images["image"][0])
    before = file.stat().st_mtime_ns
    assert load().root == data.root and file.stat().st_mtime_ns == before
    assert load(seed=1).root != data.root != load(size=40).root
    file.unlink()
    assert load().hash() == data.hash() and file.is_file()
    assert not list(data.root.parent.glob(".*unfinished*"))


def test_bad_input_is_one_line(load, photographs, tmp_path, tiny_playlists):
    for wrong, message in (
        ({"size": 64}, r"noise/00.png: 72×48 pixels; expected 64 or more on each side"),
        ({"photographs": [photographs, photographs]}, "a second photograph 'noise/00'; expected different names"),
        ({"photographs": tmp_path / "nowhere"}, "nowhere is no folder; expected"),
        ({"playlists": tmp_path / "nowhere"}, "Obs_iterative: no such folder"),
    ):
        with pytest.raises(InputError, match=message):
            load(**wrong)
    for file in sorted(photographs.iterdir())[9:]:
        file.unlink()
    with pytest.raises(InputError, match="9 photographs; expected 10 or more"):
        load()
    (tiny_playlists / "Test" / "Obs2.csv").write_text("Image Name,Vote\n7ILSVRC2013_train_7.JPEG_I4.jpeg,3\n")
    with pytest.raises(InputError, match="expected a name like 691ILSVRC2013_train_00031900.JPEG_I4_Q41.jpeg"):
        load()


def test_baselines_of_the_study(load, playlists_folder, monkeypatch):
    monkeypatch.setattr(semi_real, "_is_whole", lambda *_: True)  # nobody looks at the images here
    data = load(playlists=playlists_folder)
    assert len(data.images) == 3090 and (data.votes.groupby(["observer", "session"]).size() == 300).all()
    again = retest(data.votes, n_boot=10)
    again = again[again["metric"] == "accuracy"]
    assert again["value"].round(3).tolist() == [0.580, 0.623, 0.727, 0.567, 0.470]
    assert (again[["session", "repeats"]] == [4, 1]).all().all()
    rules = rules_on_split(data, data.nuisances["jpeg_quality"], data.official_split, n_boot=10)
    rules = rules[rules["model"] == MOST_OFTEN_RIGHT]
    np.testing.assert_allclose(rules["value"], [0.687, 0.640, 0.637, 0.650, 0.600], atol=0.005)
