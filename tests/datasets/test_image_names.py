"""Which file a name in a table means, and which it must never mean."""

import unicodedata
from pathlib import Path, PurePosixPath

import pandas as pd
import pytest

from iqasuite.datasets.image_names import located
from iqasuite.errors import InputError


def find(images: dict | list, *files: str, folder: str = "study"):
    """Files of images (name -> reference, or names) and why others are absent."""
    images = images if isinstance(images, dict) else dict.fromkeys(images, "")
    lines = range(2, len(images) + 2)
    names, references = pd.Series(list(images), lines), pd.Series(list(images.values()), lines)
    return located(names, references, [*map(PurePosixPath, files)], Path(folder), Path("r.csv"))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("x/a.png", "x/a.png"),
        ("X\\A.PNG", "x/a.png"),
        ("./x/a.png", "x/a.png"),
        ("b.PNG", "x/b.png"),
        ("c", "x/c.jpg"),
        ("x/c", "x/c.jpg"),
        ("d.v1", "d.v1.png"),
        ("g.bmp", "y/g.png"),
        ("y/g.tiff", "y/g.png"),
    ],
)
def test_names_of_one_file(name, file):
    files = ("x/a.png", "y/a.png", "x/b.png", "x/c.jpg", "d.v1.png", "y/g.png")
    assert find([name], *files)[0].files == {name: file}


@pytest.mark.parametrize(
    ("name", "files", "why"),
    [
        ("b/x1.png", ["a/x1.png"], ", not a/x1.png"),
        ("q10/boat.jpg", ["sources/boat.png"], ", not sources/boat.png"),
        ("q10/boat", ["sources/boat.png"], ", not sources/boat.png"),
        ("a.png", ["x/a.png", "y/a.png"], ", may be x/a.png, y/a.png"),
        ("x/a", ["x/a.png", "x/a.jpg"], ", may be x/a.png, x/a.jpg"),
        ("x/boat.jpg", ["x/boat.png", "x/dock.jpg"], ", not x/boat.png"),  # others have the ending: it is none's
        ("boat.jpg", ["pristine/boat.png", "x/dock.png"], ", not pristine/boat.png"),
        ("boat.png", ["Ref/boat.png", "x/dock.png"], ", not Ref/boat.png"),
        ("boat.v2", ["boat.png"], ", not boat.png"),  # no ending, but a part of the name
        ("A.png", ["a.PNG", "a.png"], ", may be a.PNG, a.png"),
        ("lost.png", ["a.png"], ""),
    ],
)
def test_names_of_no_file_or_several(name, files, why):
    first, _ = find([name, files[-1]], *files)
    assert first.absent == {name: f"line 2: {name}{why}"} and first.files == {files[-1]: files[-1]}


def test_no_image_becomes_its_reference():
    for image, reference in (("boat.jpg", "boat.png"), ("q/boat.jpg", "q/boat.png"), ("boat", "q/boat.png")):
        first, second = find({image: reference, "x/dock.webp": ""}, "q/boat.png", "x/dock.webp")
        assert image in first.absent and second.files == {reference: "q/boat.png"}
    first, _ = find({"boat.png": "boat.png"}, "all/boat.png", "all/dock.png")  # one name for both, one file
    assert first.absent == {"boat.png": "line 2: boat.png, all/boat.png is 'the reference'"}
    first, _ = find({"boat.png": "boat.png", "q/boat.jpg": "boat.png"}, "src/boat.png", "q/boat.jpg")
    assert first.files["boat.png"] == "src/boat.png"  # rated as well, and other images have it as theirs
    first, _ = find({"sources/boat.png": "sources/boat.png"}, "sources/boat.png")
    assert first.files == {"sources/boat.png": "sources/boat.png"}


def test_no_reference_becomes_an_image():
    first, second = find({"q10/boat.png": "boat.png"}, "q10/boat.png")
    assert first.files and second.absent == {"boat.png": "line 2: boat.png, q10/boat.png is 'q10/boat.png'"}


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("written", ["NFC", "NFD"])
@pytest.mark.parametrize("name", ["été/façade.png", "Ångström.png", "ガ.png"])
def test_accents_are_written_in_two_ways(name, stored, written):
    file, name = unicodedata.normalize(stored, name), unicodedata.normalize(written, name)
    assert find([name], file, "other.png")[0].files == {name: file}


def test_paths_that_start_elsewhere():
    files = ("images/q10/a.jpg", "images/q20/a.jpg", "images/q10/b.jpg", "sources/a.png")
    found = {"q10/a.jpg": "sources/a.png", "q20/a.jpg": "sources/a.png", "q20/b.jpg": ""}
    first, second = find(found, *files)  # from one folder, each column for itself
    assert first.files == {"q10/a.jpg": "images/q10/a.jpg", "q20/a.jpg": "images/q20/a.jpg"}
    assert list(first.absent) == ["q20/b.jpg"] and second.files == {"sources/a.png": "sources/a.png"}
    first, _ = find(["q10/a.jpg", "q10/b.jpg"], "q10/a.jpg", "backup/q10/b.jpg")  # the others start from the set's
    assert list(first.absent) == ["q10/b.jpg"]
    first, _ = find(["q10/a.jpg"], "x/q10/a.jpg", "y/q10/a.jpg")
    assert list(first.absent) == ["q10/a.jpg"]
    first, _ = find(["Study/a.jpg", "study/x/b.jpg"], "a.jpg", "x/b.jpg")  # from the folder above
    assert list(first.files.values()) == ["a.jpg", "x/b.jpg"]


def test_two_names_of_one_file():
    with pytest.raises(InputError, match="r.csv, line 3: 'X/A.png' and 'x/a.png' are the same file x/a.png"):
        find(["x/a.png", "X/A.png"], "x/a.png")
