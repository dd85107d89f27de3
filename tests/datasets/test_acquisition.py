"""Whole sets from a server on this machine: downloaded, unpacked, loaded; interrupted ones go on."""

import functools
import io
import tarfile
import threading
import types
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from iqasuite.datasets import acquisition, adapters, load
from iqasuite.datasets.acquisition import get
from iqasuite.datasets.card import Card, Download, Scale
from iqasuite.datasets.integrity import check, state
from iqasuite.datasets.layout import Files, scored
from iqasuite.errors import InputError


def picture(seed):
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


IMAGES = {f"tiny/Images/{number}.PNG": picture(number) for number in range(4)}
SCORES = "name,score\n" + "".join(f"{number}.png,{10.5 * number}\n" for number in range(4))


@pytest.fixture
def published(tmp_path):
    """A folder that a server publishes: images.tgz and scores.csv; `seen` are the paths that were asked for."""
    folder = tmp_path / "published"
    folder.mkdir()
    with tarfile.open(folder / "images.tgz", "w:gz") as archive:
        for name, content in IMAGES.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    (folder / "scores.csv").write_text(SCORES)
    seen = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            seen.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield types.SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}", folder=folder, seen=seen)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def card(published, tmp_path, monkeypatch):
    """A set `tiny` among the adapters, in a data folder of its own."""
    monkeypatch.setenv("IQASUITE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("IQASUITE_CACHE", str(tmp_path / "cache"))
    card = Card(
        **dict(name="tiny", title="Tiny", homepage="", licence="CC0", citation="", n_images=4, n_references=0),
        scale=Scale(0, 100),
        structure="",
        downloads=(Download(f"{published.url}/images.tgz"), Download(f"{published.url}/scores.csv", folder="tables")),
    )
    module = types.ModuleType("iqasuite.datasets.adapters.tiny")
    module.CARD = card

    def load_tiny(root, missing="error"):
        files = Files(root)
        return scored(card, files, pd.read_csv(files.need("scores.csv")), missing)

    module.load = load_tiny
    monkeypatch.setitem(__import__("sys").modules, module.__name__, module)
    monkeypatch.setattr(adapters, "NAMES", (*adapters.NAMES, "tiny"))
    return card


def everything(folder):
    hidden = (".download.lock", ".tiny.lock", ".downloads.json.lock")
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name not in hidden)
    return sorted(path.relative_to(folder).as_posix() for path in paths)


IN_PLACE = ["tiny/tables/scores.csv", *(f"tiny/{name}" for name in IMAGES)]


def test_download_unpack_load_check(card, tmp_path):
    assert state(card) == "not here"
    calls = []
    assert get(card, progress=lambda *call: calls.append(call)) == []
    assert everything(tmp_path / "data") == sorted(["downloads.json", *IN_PLACE])
    assert not (tmp_path / "data" / "downloads").exists()
    assert {call[0] for call in calls} == {"images.tgz", "scores.csv"}
    tiny = load("tiny")
    assert tiny.images["mos"].tolist() == [0, 10.5, 21, 31.5]
    assert np.array_equal(tiny.read(tiny.images["image"][2]), np.array(Image.open(io.BytesIO(picture(2)))))
    assert state(card) == "here" and check("tiny").whole


def test_into_another_folder_and_archives_kept(card, tmp_path):
    get(card, tmp_path / "disk", keep_archives=True)
    expected = sorted(["downloads.json", "downloads/tiny/images.tgz", *IN_PLACE])
    assert everything(tmp_path / "disk") == expected and state(card) == "not here"
    assert not load("tiny", tmp_path / "disk" / "tiny").images.empty


def test_what_broke_off_goes_on_and_what_is_done_is_not_done_again(card, published, tmp_path):
    (published.folder / "scores.csv").unlink()
    with pytest.raises(InputError, match="scores.csv: HTTP 404"):
        get(card)
    assert state(card) == "unfinished"
    (published.folder / "scores.csv").write_text(SCORES)
    published.seen.clear()
    get(card)
    assert published.seen == ["/scores.csv"] and state(card) == "here"
    assert everything(tmp_path / "data") == sorted(["downloads.json", *IN_PLACE])


def test_a_damaged_archive_leaves_no_images(card, published, tmp_path):
    archive = published.folder / "images.tgz"
    archive.write_bytes(archive.read_bytes()[:-20])
    with pytest.raises(InputError, match="images.tgz: damaged or truncated"):
        get(card)
    assert not any(name.endswith("PNG") for name in everything(tmp_path / "data"))


def test_own_files_in_the_folder_stay(card, tmp_path):
    (tmp_path / "data" / "tiny" / "tiny").mkdir(parents=True)
    (tmp_path / "data" / "tiny" / "tiny" / "notes.txt").write_text("mine")
    get(card)
    assert (tmp_path / "data" / "tiny" / "tiny" / "notes.txt").read_text() == "mine"


def test_what_cannot_be_unpacked_is_kept_for_the_hand(card, published, tmp_path, monkeypatch):
    (published.folder / "images.rar").write_bytes(b"Rar!")
    by_hand = Card(**{**vars(card), "downloads": (Download(f"{published.url}/images.rar", folder="Images"),)})
    (step,) = get(by_hand)
    archive, folder = tmp_path / "data" / "downloads" / "tiny" / "Images" / "images.rar", tmp_path / "data" / "tiny"
    assert str(archive) in step and str(folder / "Images") in step and "unrar" in step and archive.is_file()
    nothing = Card(**{**vars(card), "downloads": (), "manual": "Sign the form."})
    with pytest.raises(InputError, match="tiny: cannot be downloaded by a program.*Sign the form."):
        get(nothing)


def test_a_second_process_waits_and_finds_it_here(card, published):
    threads = [threading.Thread(target=get, args=(card,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert check("tiny").whole


def test_a_damaged_marker_begins_again(card, tmp_path):
    (tmp_path / "data" / "tiny").mkdir(parents=True)
    (tmp_path / "data" / "tiny" / acquisition.UNFINISHED).write_text("{")
    get(card)
    assert check("tiny").whole
