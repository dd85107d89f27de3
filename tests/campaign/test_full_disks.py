"""Every way of writing a file, on a disk that has no room, no room for another file, or is read-only.

One line names the file or folder and what happened; nothing half-written remains; with room the same call ends well.
The disks are small ones in memory (tmpfs), which takes root on Linux; what needs none of them runs everywhere. In a
campaign the room grows page by page and file by file, so that each moment of writing is the one that fails.
"""

import functools
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import threading
from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from typer.testing import CliRunner

from iqasuite import models
from iqasuite.cli import app
from iqasuite.datasets import acquisition, download, extraction, playlists, semi_real, study_folder
from iqasuite.datasets.card import Card, Download
from iqasuite.datasets.dataset import Scale
from iqasuite.datasets.pseudo_labelled import make
from iqasuite.datasets.rating_session import RatingSession
from iqasuite.errors import InputError
from iqasuite.images import jpeg_stream
from iqasuite.images.cache import open_cache
from iqasuite.paths import replacing_folder, scratch_folder, write_atomic
from iqasuite.report.outputs import save_table
from iqasuite.training import inputs
from iqasuite.training.checkpoints import save_checkpoint
from iqasuite.training.feature_store import opened, store
from iqasuite.weights.files import save_weights

PAGE, ROOM = 4096, 64 * 2**20
SAID = {
    "room": ("No space left on device", " are free", " free for "),
    "files": ("No space left on device",),
    "read-only": ("Read-only file system",),
    "length": ("File too large", "No space left on device"),  # the second is ours, of a vote that is torn
}
QUICK = {"room": (0, 1, 4), "files": (0, 1, 3), "read-only": (0,), "length": (100, 20_000)}
GONE_ON_WITH = {"rows.part", "plan.json", "a.bin.part", "a.tgz.part", ".unfinished.json"}  # what the next call reads
GONE_ON_WITH |= {"a.bin.part.json", "a.tgz.part.json", "a.tgz"}


@pytest.fixture
def disk(tmp_path, request):
    """A folder that `short` can make short of room; a disk of its own where the test's `kind` takes one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if request.node.callspec.params.get("kind") == "length":
        yield folder
        return
    if os.name != "posix" or mount(folder, f"size={ROOM},nr_inodes=4k"):
        pytest.skip("no tmpfs can be mounted here: it takes root on Linux")
    (folder / "full").write_bytes(bytes(PAGE))  # a disk of no size is one without end
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def mount(folder: Path, options: str) -> int:
    try:
        return subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True).returncode
    except FileNotFoundError:
        return 1


@contextmanager
def short(disk: Path, kind: str, left: int):
    """Of the disk: so many pages or files are left, or bytes of a file may be written; or nothing can be."""
    of, resource = os.statvfs(disk), pytest.importorskip("resource")
    used = (of.f_blocks - of.f_bfree) * of.f_frsize, of.f_files - of.f_ffree
    limits = {"room": f"size={used[0] + left * PAGE}", "files": f"nr_inodes={used[1] + left}", "read-only": "ro"}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    if kind == "length":
        resource.setrlimit(resource.RLIMIT_FSIZE, (left, before[1]))
    else:
        assert mount(disk, f"remount,{limits[kind]}") == 0
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert kind == "length" or mount(disk, f"remount,rw,size={ROOM},nr_inodes=4k") == 0


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What is written from: images, a MATLAB session, an archive on a server, a network."""
    folder = tmp_path_factory.mktemp("made")
    files = [folder / "images" / f"{i}.png" for i in range(6)]
    (folder / "images").mkdir()
    for i, file in enumerate(files):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (48, 48, 3), dtype=np.uint8)).save(file)
    (folder / "long").mkdir()
    for i in range(18):
        os.link(files[0], folder / "long" / f"{i:0240}.png")
    names = np.array([[file.name] for file in files], dtype=object)
    times = np.array([[f"24-Jan-2023 10:51:1{i}"] for i in range(len(files))], dtype=object)
    savemat(folder / "Obs1_1.mat", {"imgList": names, "voteTime": times, "voteList": np.ones((6, 1))})
    with tarfile.open(folder / "a.tgz", "w:gz") as archive:
        for name in ("a/one.bin", "a/deep/two.bin"):
            member = tarfile.TarInfo(name)
            member.size = 30_000
            archive.addfile(member, io.BytesIO(np.random.default_rng(0).bytes(member.size)))
    (folder / "a.bin").write_bytes(np.random.default_rng(1).bytes(50_000))
    quiet = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        network = models.create("vit_iqa", image_size=32, trunk={"size": "tiny", "depth": 1, "dim": 16, "mlp_dim": 16})
        url = f"http://127.0.0.1:{server.server_port}"
        yield SimpleNamespace(folder=folder, files=files, url=url, network=network)
        server.shutdown()


def of_folder(disk, made):
    def write():
        votes = pd.DataFrame({"observer": "o", "session": 1, "position": range(1, 900), "image": "a.png", "vote": 3})
        votes = votes.assign(image=votes["position"].map("{}.png".format), duration=np.nan, timestamp=pd.NaT)
        with replacing_folder(disk / "set") as folder:
            (folder / "images").mkdir()
            (folder / "images" / "a.bin").write_bytes(bytes(range(200)) * 100)
            playlists.write_playlist(votes, folder / "playlists" / "o_1.csv")

    return write


def of_votes(disk, made):
    """Some more where a page of the disk is nearly full."""
    session = RatingSession(study_folder.unrated(made.folder / "long"), "Anna", disk / "playlists")
    start = datetime(2024, 5, 1, 9)
    rows = {"image": list(session.images)[:13], "position": range(1, 14), "vote": 3, "duration": 1.0}
    votes = pd.DataFrame(rows).assign(observer="Anna", session=1, timestamp=pd.Timestamp(start))
    playlists.write_playlist(votes, disk / "playlists" / "long" / "Anna" / "Anna_1.csv")

    def write():
        while (given := len(votes := session.votes())) < 15:
            session.record(session.coming(votes), 1 + given % 5, 2.0, start + timedelta(minutes=given))

    return write


def of_semi_real(disk, made):
    table = {"image": [f"images/{i}.jpg" for i in range(6)], "content": "a", "top": 0, "left": 0, "quality": 90}
    return lambda: semi_real._build(disk / "set", pd.DataFrame(table), {"a": made.files[0]}, 48)


def of_pairs(disk, made):
    metrics = {"mse": lambda reference, distorted: -((reference - distorted) ** 2).mean((1, 2, 3))}
    return lambda: make(made.files[:1], metrics, ["blur"], 48, root=disk)


def of_tokens(disk, made):
    rows = {name: torch.full((1, 10_000), float(ord(name))) for name in "abc"}
    return lambda: inputs._stored("a", torch.nn.Linear(1, 1), list("abc"), rows.get, lambda network, x: x)


def of_features(disk, made):
    """A store of which another one has half of the rows."""

    def write(names):
        index = {"settings": {"made": "here"}, "dim": 64, "images": names, "contents": names}
        index |= {"grids": [(8, 8)] * len(names), "sizes": [(32, 32)] * len(names)}
        folder = store(disk, index, 16, lambda some, done: iter(rows(some)[done:].reshape(-1, 16, 64)))
        np.testing.assert_array_equal(opened(folder)[1], rows(names))

    def rows(names):
        return np.concatenate([np.arange(64 * 64).reshape(64, 64) % 1000 + ord(name) for name in names])

    write(["a", "b"])
    return lambda: write(["c", "a", "d", "b"])


def of_a_download(disk, made):
    wanted, content = Download(f"{made.url}/a.bin"), (made.folder / "a.bin").read_bytes()

    def write():
        path = download.fetch(wanted, disk / "a.bin", record=disk / "downloads.json", wait=0)
        assert path.read_bytes() == content

    return write


def of_a_set(disk, made):
    facts = {"name": "tiny", "title": "", "homepage": "", "licence": "", "citation": "", "structure": ""}
    files = Download(f"{made.url}/a.tgz"), Download(f"{made.url}/a.bin", folder="tables")
    card = Card(**facts, n_images=2, n_references=0, scale=Scale(0, 1), downloads=files)

    def write():
        acquisition.get(card, disk / "data")
        sizes = {path.name: path.stat().st_size for path in (disk / "data" / "tiny").rglob("*.bin")}
        assert sizes == {"one.bin": 30_000, "two.bin": 30_000, "a.bin": 50_000}

    return write


def of_scratch(disk, made):
    def write():
        with scratch_folder() as folder:
            (folder / "a.bin").write_bytes(bytes(30_000))

    return write


WRITERS = {
    "table": lambda disk, made: lambda: write_atomic(disk / "of" / "a.csv", bytes(range(200)) * 200),
    "relative": lambda disk, made: lambda: write_atomic("a.csv", bytes(range(200)) * 200),
    "folder": of_folder,
    "scratch": of_scratch,
    "checkpoint": lambda disk, made: lambda: save_checkpoint(disk / "a.pt", {"a": torch.arange(9_000)}),
    "weights": lambda disk, made: lambda: save_weights(made.network, disk / "a.safetensors", {"number": 1}),
    "archive": lambda disk, made: lambda: extraction.extract(made.folder / "a.tgz", disk / "unpacked"),
    "playlists": lambda disk, made: lambda: playlists.convert_playlists(made.folder, disk / "csv", overwrite=True),
    "votes": of_votes,
    "semi_real": of_semi_real,
    "pairs": of_pairs,
    "photographs": lambda disk, made: lambda: jpeg_stream.decode_once(made.files, 16) and None,
    "images": lambda disk, made: lambda: open_cache(made.files, (64, 64), disk / "of", "stretch"),
    "tokens": of_tokens,
    "features": of_features,
    "download": of_a_download,
    "set": of_a_set,
    "result": lambda disk, made: lambda: save_table(pd.DataFrame({"x": range(9_000)}), "small", "one", "x", "Numbers."),
}
READ_AGAIN = ("pairs", "images", "tokens", "features")  # of what is whole nothing is written
# what writes, makes folders or takes locks outside of `paths`: within its `writable` or a folder that it removes
PRIVATE = {
    "app/uploads.py": {"mkdtemp"},  # Gradio's, gone when the page ends
    "datasets/acquisition.py": {".mkdir"},
    "datasets/demo.py": {".mkdir", ".write_bytes", ".write_text", ".to_csv"},
    "datasets/download.py": {"open", ".write_bytes", "os.replace"},  # a part, which the next attempt goes on with
    "datasets/extraction.py": {".mkdir", "open", "os.replace"},
    "datasets/playlists.py": {".mkdir", "os.replace"},
    "datasets/pseudo_labelled.py": {"open", ".to_csv"},
    "datasets/rating_session.py": {"open"},  # a vote is appended
    "datasets/semi_real.py": {".mkdir", ".write_bytes", ".to_csv"},
    "experiments/batch.py": {".mkdir"},
    "experiments/kept_predictions.py": {"shutil.copytree", ".mkdir", ".symlink_to"},
    "experiments/sharing.py": {".mkdir", "FileLock"},
    "images/jpeg_stream.py": {"TemporaryFile"},
    "training/feature_store.py": {".mkdir", ".touch", "open"},  # parts, which the next call goes on with
    "training/processes.py": {"TemporaryFile"},  # what a process says of errors
}
WRITING = (
    r"\.(?:write_text|write_bytes|mkdir|touch|symlink_to|hardlink_to)(?=\()|\.to_csv(?=\((?!index=|lineterminator=|\)))",
    r"\bos\.(?:replace|rename|link|makedirs)(?=\()|shutil\.(?:copy\w*|move)(?=\()|imwrite(?=\()|FileLock(?=\()",
    r"(?:mkstemp|mkdtemp|\w*TemporaryFile|TemporaryDirectory)(?=\()|\bopen(?=\([^()]*[\"'](?:[wax]|r\+)b?[\"'])",
)


@pytest.fixture
def around(disk, monkeypatch):
    for name in ("CACHE", "DATA"):
        monkeypatch.setenv(f"IQASUITE_{name}", str(disk / name.lower()))
    monkeypatch.setattr("tempfile.tempdir", str(disk))
    monkeypatch.setattr(download, "_RESERVE", -(10**9))  # so that it begins, and the disk is full on the way
    monkeypatch.chdir(disk)


@pytest.mark.parametrize("kind", SAID)
@pytest.mark.parametrize("name", WRITERS)
def test_one_line_and_nothing_half_written(name, kind, disk, made, around, share, tools):
    write = WRITERS[name](disk, made)
    left = []
    for room in range(40) if share and kind in ("room", "files") else QUICK[kind]:
        with short(disk, kind, room):
            try:
                write()
                break
            except InputError as error:
                said = str(error)
        assert str(disk) in said or (name == "relative" and said.startswith("a.csv: ")), said
        assert any(words in said for words in SAID[kind]) and "\n" not in said and ".unfinished-" not in said, said
        left.append({file: content for file, content in tools.snapshot(disk).items() if not file.endswith(".lock")})
    assert left
    write()
    whole = tools.snapshot(disk)
    for file, content in ((file, content) for each in left for file, content in each.items()):
        appended = name == "votes" and content.endswith(b"\n") and whole[file].startswith(content)
        grown = file.endswith("downloads.json") and json.loads(content).items() <= json.loads(whole[file]).items()
        assert Path(file).name in GONE_ON_WITH or appended or grown or whole.get(file) == content, file
    assert not any(Path(file).name in GONE_ON_WITH or "unfinished" in file for file in whole), list(whole)
    if name in READ_AGAIN:
        for file in disk.rglob("hashes.json"):
            file.unlink()
        with short(disk, "read-only", 0) if kind == "read-only" else nullcontext():
            write()


@pytest.mark.parametrize("name", sorted(set(WRITERS) - {"relative", "result"}))
def test_a_file_in_the_way_of_the_folder_is_named(name, made, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    nowhere = tmp_path / "file" / "folder"
    monkeypatch.setenv("IQASUITE_CACHE", str(nowhere))
    monkeypatch.setattr("tempfile.tempdir", str(nowhere))
    with pytest.raises(InputError, match=f"^{nowhere}.*: cannot be written"):
        WRITERS[name](nowhere, made)()


COMMANDS = {
    "score --output": ("score", "{images}/0.png", "--model", "mobile_nr", "--output", "a.csv"),
    "score --map": ("score", "{images}/0.png", "--map", "maps"),
    "data make-demo": ("data", "make-demo", "--folder", "demo"),
    "data get": ("data", "get", "kodak24", "--into", "sets"),
    "playlist convert": ("playlist", "convert", "{images}/../Obs1_1.mat", "csv"),
    "train": ("train", "--data", "demo", "--output", "new/w.safetensors"),
    "gallery": ("gallery", "small"),
    "suite run": ("suite", "run", "small"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_says_one_line(command, project, disk, made, around, repository, monkeypatch):
    monkeypatch.setenv("IQASUITE_WEIGHTS", str(repository / "weights"))
    project.notebook("write")
    project.suite("runs:\n  - {name: one, notebook: write}")
    (disk / "results").mkdir()
    (project.root / "results").symlink_to(disk / "results")
    monkeypatch.chdir(disk)
    before = sorted(disk.rglob("*"))
    with short(disk, "read-only", 0):
        done = CliRunner().invoke(app, [word.format(images=made.folder / "images") for word in COMMANDS[command]])
    *_, last = done.output.splitlines()
    assert done.exit_code == 2 and isinstance(done.exception, SystemExit), done.output
    named = ("a.csv", "maps", "demo", "sets", "csv", "new", "results/small")
    assert last.startswith("error: ") and ": cannot be written (Read-only file system)" in last, last
    assert any(name in last for name in named), last
    assert sorted(disk.rglob("*")) == before


def test_a_full_disk_behind_standard_output_is_one_line():
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    command = [sys.executable, "-m", "iqasuite", "data", "--help"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "error: standard output: [Errno 28] No space left on device\n"


def test_files_are_written_through_paths(repository):
    """A new way of writing goes through `paths`, or comes into the list above and among the writers."""
    source = repository / "src" / "iqasuite"
    text_of = {file.relative_to(source).as_posix(): file.read_text("utf-8") for file in source.rglob("*.py")}
    found = {file: set(re.findall("|".join(WRITING), text)) for file, text in text_of.items()}
    assert found.pop("paths.py") >= {"mkstemp", "mkdtemp", "TemporaryFile", "FileLock", "os.replace"}
    assert {file: names for file, names in found.items() if names} == PRIVATE
