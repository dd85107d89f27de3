"""Which pictures are meant: files, folders, patterns, lists; in the order of the names."""

import io
import os

import pytest

from iqasuite.errors import InputError
from iqasuite.inference.image_files import named, streamed


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (
        "b/2.PNG",
        "b/c/1.jpg",
        "b/notes.txt",
        "b/.hidden.png",
        "b/.git/x.png",
        "__MACOSX/y.png",
        "a.png",
        "photo[1].jpg",
        "photo1.jpg",
        "list,of\nnames.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_order_of_the_names_and_within_folders(folder):
    assert named(["b", "a.png", "a.png"]) == ["b/2.PNG", "b/c/1.jpg", "a.png", "a.png"]
    assert named(["b/notes.txt"]) == ["b/notes.txt"]  # somebody means it


def test_patterns(folder):
    assert named(["b/**/*.jpg"]) == ["b/c/1.jpg"]
    assert named(["photo[1].jpg"]) == ["photo[1].jpg"]  # a file of this name is no pattern
    assert named(["b/*"]) == ["b/2.PNG"] and named(["b/*.txt"]) == ["b/notes.txt"]


def test_a_folder_leaves_no_image_out_without_a_word(tmp_path, caplog):
    images = ["a.JFIF", "b.mpo", "c.HEIC", "d.TIFF", "e.jxl", "f.apng", "g.tga"]
    for name in [*images, "IMG_1.CR2", "x.dng", "y.psd", "notes.txt", "._a.jfif"]:
        (tmp_path / name).touch()
    assert [os.path.basename(name) for name in named([str(tmp_path)])] == images
    assert "3 raw" in caplog.text and "IMG_1.CR2, x.dng, y.psd" in caplog.text and "notes" not in caplog.text


@pytest.mark.parametrize(
    ("name", "word"), [("none.png", "no such file"), ("*.gif", "no file matches"), ("empty", "no images in it")]
)
def test_names_of_nothing(folder, name, word):
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match=f"{name.replace('*', '.')}.*{word}"):
        named(["a.png", name])


def test_a_list_as_it_arrives(folder):
    assert list(streamed(io.BytesIO(b"a.png\r\n\nb\nnone.png"))) == ["a.png", "b/2.PNG", "b/c/1.jpg", "none.png"]
    assert list(streamed(io.BytesIO(b"list,of\nnames.png\0a.png\0"), b"\0")) == ["list,of\nnames.png", "a.png"]
    strange = os.fsdecode(b"\xff.png")
    assert list(streamed(io.BytesIO(b"\xff.png\n"))) == [strange]


def test_a_list_is_not_waited_for_to_its_end(folder):
    source, sink = os.pipe()
    with os.fdopen(source, "rb") as stream:
        os.write(sink, b"a.png\nb.png\n")
        names = streamed(stream)
        assert next(names) == "a.png"  # the list is still open
        os.close(sink)
        assert list(names) == ["b.png"]
