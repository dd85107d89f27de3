"""The check finds each kind of damage, goes on behind it, and is silent where there is none."""

import json
import logging
import os

import numpy as np
import pytest
from PIL import Image

from iqasuite.datasets import adapters, integrity
from iqasuite.datasets.integrity import check, state
from iqasuite.errors import InputError


@pytest.fixture
def lab(tiny_lab, tmp_path, monkeypatch):
    """The tiny set in the lab set's layout, as this machine's tta_h265_lab; `images` are its six files."""
    monkeypatch.setenv("IQASUITE_DATA", str(tmp_path))
    monkeypatch.setenv("IQASUITE_CACHE", str(tmp_path / "cache"))
    folder = tiny_lab.rename(tmp_path / "tta_h265_lab")
    (folder / "images" / "src_cropped" / "a.mkv_1frame.mkv").unlink()
    for source in "ab":
        Image.new("RGB", (8, 8)).save(folder / "images" / "src_cropped" / f"{source}.mkv_1frame.png")
    return folder


def images(lab):
    return sorted((lab / "test_1" / "images").iterdir())


def test_a_whole_set(lab):
    calls = []
    report = check("tta_h265_lab", progress=lambda *call: calls.append(call))
    assert (report.n_images, report.n_references, report.n_votes) == (6, 2, 18)
    assert (report.expected_images, report.expected_references) == (371, 38)
    assert (report.absent, report.broken, report.changed, report.new) == ([], {}, [], 8)
    assert calls == [(number, 8) for number in range(1, 9)]
    assert not report.whole  # 6 of 371
    report.expected_images, report.expected_references = 6, 2
    assert report.whole
    assert check("tta_h265_lab").new == 0


def test_absent_broken_changed_and_on_behind_them(lab, caplog):
    check("tta_h265_lab")
    first, second, third, fourth, *_ = images(lab)
    first.unlink()
    second.write_bytes(second.read_bytes()[:-30])
    third.write_bytes(b"")
    Image.new("RGB", (8, 8), "red").save(fourth)
    report = check("tta_h265_lab")
    assert report.absent == [first.stem]
    relative = [path.relative_to(lab).as_posix() for path in (second, third, fourth)]
    assert list(report.broken) == sorted(relative[:2])
    assert "truncated" in report.broken[relative[0]] and "0 bytes" in report.broken[relative[1]]
    assert report.changed == relative[2:] and report.n_images == 5 and report.new == 0
    assert check("tta_h265_lab").changed == relative[2:], "a change is reported until it is undone or accepted"
    report.record.unlink()
    assert check("tta_h265_lab").changed == []


def test_a_file_that_is_as_it_was_again(lab):
    check("tta_h265_lab")
    path = images(lab)[0]
    content = path.read_bytes()
    path.write_bytes(content + b"more")  # decodes all the same
    assert len(check("tta_h265_lab").changed) == 1
    path.write_bytes(content)
    assert check("tta_h265_lab").changed == []


def test_broken_references_and_formats_that_are_no_images(lab):
    reference = lab / "images" / "src_cropped" / "a.mkv_1frame.png"
    reference.write_bytes(b"not an image")
    (lab / "images" / "src_cropped" / "b.mkv_1frame.png").rename(reference.with_name("b.mkv_1frame.mkv"))
    broken = check("tta_h265_lab").broken
    assert "not an image" in broken["images/src_cropped/a.mkv_1frame.png"]
    assert "a video" in broken["images/src_cropped/b.mkv_1frame.mkv"]


def test_references_that_are_gone(lab):
    check("tta_h265_lab")
    (lab / "images" / "src_cropped" / "a.mkv_1frame.png").unlink()
    report = check("tta_h265_lab")
    assert report.absent == ["images/src_cropped/a.mkv_1frame.png"] and report.n_references == 1


def test_quick_looks_at_lengths_only(lab):
    check("tta_h265_lab")
    first, second, third, *_ = images(lab)
    first.write_bytes(b"")
    data = second.read_bytes()
    second.write_bytes(data[:-1] + b"!")
    third.write_bytes(third.read_bytes()[:-1])
    report = check("tta_h265_lab", quick=True)
    assert list(report.broken) == [first.relative_to(lab).as_posix()]
    assert report.changed == [third.relative_to(lab).as_posix()] and report.record is None


def test_quick_records_nothing(lab, tmp_path):
    assert check("tta_h265_lab", quick=True).new == 0
    assert not (tmp_path / "cache").exists()


def test_nothing_at_all_is_an_error(lab):
    for path in images(lab):
        path.unlink()
    with pytest.raises(InputError):
        check("tta_h265_lab")
    with pytest.raises(InputError, match="unknown"):
        check("no_such_set")


def test_a_known_sets_folder_is_that_set(lab, monkeypatch):
    monkeypatch.chdir(lab.parent)
    assert check("tta_h265_lab/").name == check(str(lab)).name == "tta_h265_lab"


def test_another_folder_has_another_record(lab, tmp_path):
    here = check("tta_h265_lab").record
    (tmp_path / "copy").mkdir()
    lab.rename(tmp_path / "copy" / "lab")
    there = check("tta_h265_lab", root=tmp_path / "copy" / "lab").record
    assert here != there and here.parent == there.parent == tmp_path / "cache" / "checks"


def test_the_data_folder_may_be_read_only(lab):
    before = {path: path.stat().st_mtime_ns for path in [lab, *lab.rglob("*")]}
    check("tta_h265_lab")
    assert {path: path.stat().st_mtime_ns for path in [lab, *lab.rglob("*")]} == before


def test_a_damaged_record_is_said_and_made_again(lab, caplog):
    record = check("tta_h265_lab").record
    for content in ("{", "[1]", '{"a": 1}'):
        record.write_text(content)
        with caplog.at_level(logging.WARNING):
            assert check("tta_h265_lab").new == 8
    assert "not a record" in caplog.text and len(json.loads(record.read_text())) == 8


def test_the_same_whatever_the_number_of_threads(lab):
    images(lab)[2].write_bytes(b"damaged")
    one, many = check("tta_h265_lab", threads=1), check("tta_h265_lab", threads=7)
    assert one.broken == many.broken and one.absent == many.absent


def test_images_are_not_kept(lab, monkeypatch):
    """No more images at a time than threads."""
    import threading
    import weakref

    alive, most, lock = [], [0], threading.Lock()

    class Watched(np.ndarray):
        pass

    original = integrity.read_image

    def watched(path):
        pixels = original(path).view(Watched)
        with lock:
            alive.append(weakref.ref(pixels))
            most[0] = max(most[0], sum(ref() is not None for ref in alive))
        return pixels

    monkeypatch.setattr(integrity, "read_image", watched)
    check("tta_h265_lab", threads=2)
    assert len(alive) == 8 and most[0] <= 2


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission(lab):
    images(lab)[0].chmod(0)
    assert "cannot be read" in str(check("tta_h265_lab").broken)


def test_ratings_without_images(playlists_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("IQASUITE_CACHE", str(tmp_path))
    report = check("aio_playlists", root=playlists_folder)
    assert report.whole and report.n_images == 3090 and report.record is None


def test_references_alone(kodak_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("IQASUITE_CACHE", str(tmp_path))
    report = check("kodak24", root=kodak_folder)
    assert report.whole and (report.n_images, report.n_references, report.new) == (24, 24, 24)


def test_states(lab, tmp_path):
    known = {name: adapters.card(name) for name in ("demo", "tta_h265_lab", "kodak24")}
    assert [state(card) for card in known.values()] == ["made on first use", "here", "not here"]
    (tmp_path / "kodak24").mkdir()
    (tmp_path / "kodak24" / ".hidden").touch()
    assert state(known["kodak24"]) == "not here"
    (tmp_path / "kodak24" / integrity.UNFINISHED).touch()
    assert state(known["kodak24"]) == "unfinished"
    (tmp_path / "cache" / "demo").mkdir(parents=True)
    (tmp_path / "cache" / "demo" / "votes.csv").touch()
    assert state(known["demo"]) == "here"
