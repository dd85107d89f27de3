import errno
import hashlib
import json
import os
import pickle
import shutil
import threading

import numpy as np
import pytest
from PIL import Image

from iqasuite.errors import InputError
from iqasuite.images import cache
from iqasuite.images.cache import open_cache
from iqasuite.images.loading import FITS, read_image, resized
from iqasuite.paths import file_hash, unfinished


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(12):
        height, width = rng.integers(20, 60, 2)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / f"{i:02d}.png")
    return sorted(folder.iterdir())


@pytest.fixture
def root(tmp_path):
    return tmp_path / "cache"


def contents(root):
    return sorted(path.suffix for path in root.iterdir() if path.suffix != ".lock") if root.exists() else []


def test_stretched_pixels_are_those_of_a_plain_resize(files, root):
    images = open_cache(files, (24, 32), root, "stretch")
    assert len(images) == 12 and images.shape == (12, 24, 32, 3)
    batch = images[[7, 0, 7]]
    assert batch.shape == (3, 24, 32, 3) and batch.dtype == np.uint8 and type(batch) is np.ndarray
    for row, i in enumerate([7, 0, 7]):
        expected = np.asarray(Image.open(files[i]).resize((32, 24), Image.Resampling.BICUBIC))
        np.testing.assert_array_equal(batch[row], expected)


def test_each_fit_has_pixels_and_a_name_of_its_own(files, root):
    by_fit = {fit: open_cache(files, (24, 32), root, fit) for fit in FITS}
    assert len({images.path for images in by_fit.values()}) == len(FITS)
    for fit, images in by_fit.items():
        np.testing.assert_array_equal(images[[3]][0], resized(read_image(files[3]), (24, 32), fit))
    assert open_cache(files, (24, 32), root).path == by_fit["crop"].path  # the default


def test_sets_of_one_aspect_are_found_under_the_name_that_they_had_when_all_were_stretched(files, root):
    for path in files:
        Image.open(path).resize((64, 48)).save(path)
    described = [2, 24, 32, [file_hash(path) for path in files]]
    name = hashlib.sha256(json.dumps(described).encode()).hexdigest()[:32]
    assert {open_cache(files, (24, 32), root, fit).path.stem for fit in FITS} == {name}
    Image.open(files[0]).resize((64, 64)).save(files[0])
    described[-1][0] = file_hash(files[0])
    name = hashlib.sha256(json.dumps(described).encode()).hexdigest()[:32]
    assert name not in {open_cache(files, (24, 32), root, fit).path.stem for fit in ("crop", "letterbox")}


def test_an_upright_photograph_is_cropped_upright(tmp_path, root):
    """Its header has the sides as the camera lay."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=turned())
    seen = open_cache([tmp_path / "a.png"], (30, 20), root, "letterbox")
    assert (seen[[0]][0] != 128).any(axis=(1, 2)).all()  # nothing is padded: it stands


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def test_versions_are_fitted_as_their_references(tmp_path, root):
    pixels = np.random.default_rng(0).integers(0, 256, (51, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "small.png")
    Image.fromarray(pixels).resize((1000, 1020)).save(tmp_path / "whole.png")
    alone = open_cache([tmp_path / "small.png"], (100, 100), root)
    paired = open_cache([tmp_path / "small.png"], (100, 100), root, references=[tmp_path / "whole.png"])
    np.testing.assert_array_equal(paired[[0]][0], resized(pixels, (100, 100), "crop", (1020, 1000)))
    assert paired.path != alone.path and not np.array_equal(paired[[0]], alone[[0]])


def test_batches_are_copies(files, root):
    images = open_cache(files, (8, 8), root)
    batch = images[np.arange(3)]
    batch[:] = 0
    assert images[[0, 1, 2]].any()
    with pytest.raises(IndexError):
        images[[12]]


def test_opened_again_without_decoding(files, root, monkeypatch):
    before = open_cache(files, (8, 8), root)[range(12)]
    monkeypatch.setattr(cache, "read_image", lambda path: pytest.fail("decoded again"))
    monkeypatch.setattr(cache, "file_hash", lambda path: pytest.fail("hashed again"))
    np.testing.assert_array_equal(open_cache(files, (8, 8), root)[range(12)], before)


def test_found_again_by_content_wherever_the_files_lie(files, root, tmp_path, monkeypatch):
    open_cache(files, (8, 8), root)
    moved = [shutil.copy(path, tmp_path / f"moved-{path.name}") for path in files]
    monkeypatch.setattr(cache, "read_image", lambda path: pytest.fail("decoded again"))
    assert len(open_cache(moved, (8, 8), root)) == 12


def test_changed_file_makes_a_new_cache(files, root):
    before = open_cache(files, (8, 8), root)
    Image.new("RGB", (30, 30), "red").save(files[3])
    after = open_cache(files, (8, 8), root)
    assert after.path != before.path and (after[[3]] == [255, 0, 0]).all()
    assert open_cache(files, (8, 9), root).path != after.path
    assert open_cache(files[::-1], (8, 8), root).path != after.path


@pytest.mark.parametrize("damage", ["shorter", "other bytes", "no checksums"])
def test_damaged_cache_is_made_again(files, root, damage, caplog):
    images = open_cache(files, (8, 8), root)
    good = images[range(12)]
    path = images.path
    del images
    if damage == "shorter":
        os.truncate(path, 100)
    if damage == "other bytes":
        path.write_bytes(bytes(path.stat().st_size))
    if damage == "no checksums":
        path.with_suffix(".json").write_text("{")
    np.testing.assert_array_equal(open_cache(files, (8, 8), root)[range(12)], good)
    assert "damaged" in caplog.text


def test_bad_image_leaves_nothing(files, root):
    files[5].write_bytes(files[5].read_bytes()[:200])
    with pytest.raises(InputError, match="05.png"):
        open_cache(files, (8, 8), root)
    assert contents(root) == [".json"]  # the files' hashes only


def test_full_disk_and_interrupt_leave_nothing(files, root, monkeypatch):
    def stops(error):
        def decoded(read, items):
            yield read(items[0])
            raise error

        return decoded

    monkeypatch.setattr(cache, "read_ahead", stops(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(InputError, match="cannot be written .No space left"):
        open_cache(files, (8, 8), root)
    monkeypatch.setattr(cache, "read_ahead", stops(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        open_cache(files, (8, 8), root)
    assert contents(root) == [".json"]
    with pytest.raises(InputError, match="MiB are free; expected room"):
        open_cache(files, (10**6, 10**6), root)


def test_impossible_requests(files, root):
    for paths, size in (([], (8, 8)), (files, (0, 8))):
        with pytest.raises(InputError, match="expected one or more, at 1×1"):
            open_cache(paths, size, root)
    with pytest.raises(InputError, match="none.png"):
        open_cache([*files, files[0].with_name("none.png")], (8, 8), root)


def test_concurrent_buildersdecode_once_and_remove_what_a_killed_one_left(files, root, monkeypatch):
    decoded, left = [], unfinished(open_cache(files, (16, 16), root).path)
    for path in root.glob("*.u8"):
        path.unlink()
    (root / f"{left}x").write_bytes(b"half")
    monkeypatch.setattr(cache, "read_image", lambda path: decoded.append(path) or read_image(path))
    batches, threads = [], []
    for _ in range(6):
        threads.append(threading.Thread(target=lambda: batches.append(open_cache(files, (16, 16), root)[range(12)])))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert len(batches) == 6 and all((batch == batches[0]).all() for batch in batches)
    assert len(decoded) == len(files)
    assert contents(root) == [".json", ".json", ".u8"]


def test_another_process_gets_the_name_not_the_pixels(files, root):
    images = open_cache(files, (64, 64), root)
    sent = pickle.dumps(images)
    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent)[[1, 2]], images[[1, 2]])
