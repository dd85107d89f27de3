"""Full disks, folders that cannot be written: one line names them, nothing is half-written, with room it goes on."""

import tarfile
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from PIL import Image

from iqasuite import models
from iqasuite.datasets import extraction
from iqasuite.datasets.pseudo_labelled import make
from iqasuite.errors import InputError
from iqasuite.experiments import batch
from iqasuite.images import jpeg_stream
from iqasuite.images.cache import open_cache
from iqasuite.paths import check_writable, locked, remove_unfinished, replacing, unfinished, write_atomic
from iqasuite.training import inputs
from iqasuite.training.checkpoints import load_checkpoint, save_checkpoint
from iqasuite.training.patch_features import Patches, extract
from iqasuite.weights.files import load_weights, read_card, save_weights

ROOM = 20_000  # bytes of a file that find room on the disk


@contextmanager
def full_disk():
    """Files end with an error of the system at ROOM bytes, as on a full disk."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def writers(tmp_path_factory):
    """Name -> function of a folder that writes more than ROOM bytes to it, and returns what can be read then."""
    made = tmp_path_factory.mktemp("images")
    files = [made / f"{i}.png" for i in range(12)]
    for i, file in enumerate(files):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(file)
    linear = torch.nn.Linear(1, 1)

    def checkpoint(folder):
        return load_checkpoint(save_checkpoint(folder / "a.pt", {"a": torch.arange(30_000)}))["a"].numpy()

    def tokens(folder):
        def number(image):
            return torch.full((1, 10_000), float(ord(image)))

        return inputs._stored("a", linear, list("abc"), number, lambda network, x: x)

    def photographs(folder):
        return np.stack(jpeg_stream.decode_once(files, 16))

    def pairs(folder):
        metrics = {"mse": lambda reference, distorted: -((reference - distorted) ** 2).mean((1, 2, 3))}
        return make(files[:1], metrics, ["blur"], 48, root=folder).pairs(range(5))[1]

    (made / "large").write_bytes(bytes(2 * ROOM))
    with tarfile.open(made / "a.tar", "w") as archive:
        archive.add(made / "large", "large")

    def unpacked(folder):
        assert extraction.extract(made / "a.tar", folder / "unpacked") == 1
        return np.frombuffer((folder / "unpacked" / "large").read_bytes(), "u1")

    return {
        "table": lambda folder: np.frombuffer(
            write_atomic(folder / "a.csv", bytes(range(200)) * 200).read_bytes(), "u1"
        ),
        "checkpoint": checkpoint,
        "tokens": tokens,
        "photographs": photographs,
        "images": lambda folder: open_cache(files, (64, 64), folder, "stretch")[range(12)],
        "pairs": pairs,
        "archive": unpacked,
        "features": lambda folder: extract(files, "spectrum", Patches(16), root=folder).pooled([str(f) for f in files]),
    }


WRITERS = ("table", "checkpoint", "tokens", "photographs", "images", "pairs", "features", "archive")


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_one_line_and_with_room_it_goes_on(writers, name, tmp_path, monkeypatch):
    monkeypatch.setenv("IQASUITE_CACHE", str(tmp_path / "whole"))
    expected = np.array(writers[name](tmp_path / "whole"))
    monkeypatch.setenv("IQASUITE_CACHE", str(tmp_path / "full"))
    with full_disk(), pytest.raises(InputError, match=rf"^{tmp_path / 'full'}.*: cannot be written \(File too large\)"):
        writers[name](tmp_path / "full")
    left = [path.name for path in (tmp_path / "full").rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert set(left) <= {"hashes.json", "plan.json", "rows.part"}  # whole, or gone on with
    np.testing.assert_array_equal(np.array(writers[name](tmp_path / "full")), expected)


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_that_cannot_be_written_is_named(writers, name, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    nowhere = tmp_path / "file" / "folder"
    monkeypatch.setenv("IQASUITE_CACHE", str(nowhere))
    with pytest.raises(InputError, match=rf"^{nowhere}.*: cannot be written"):
        writers[name](nowhere)


@pytest.mark.parametrize("name", ["tokens", "images", "pairs", "features"])
def test_what_is_whole_is_read_where_nothing_can_be_written(writers, name, tmp_path, monkeypatch):
    monkeypatch.setenv("IQASUITE_CACHE", str(tmp_path))
    before = np.array(writers[name](tmp_path))

    def read_only(*_, **__):
        raise OSError(30, "Read-only file system")

    for function in ("os.mkdir", "tempfile.mkstemp", "tempfile.mkdtemp", "filelock.FileLock.acquire"):
        monkeypatch.setattr(function, read_only)
    next(tmp_path.rglob("hashes.json"), tmp_path / "none").unlink(missing_ok=True)
    np.testing.assert_array_equal(np.array(writers[name](tmp_path)), before)


def test_damaged_tokens_are_made_again(writers, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("IQASUITE_CACHE", str(tmp_path))
    before = np.array(writers["tokens"](tmp_path))
    for content in (b"", (tmp_path / "tokens" / "a.npy").read_bytes()[:-5], b"text"):
        (tmp_path / "tokens" / "a.npy").write_bytes(content)
        np.testing.assert_array_equal(np.array(writers["tokens"](tmp_path)), before)
    assert caplog.text.count("damaged") >= 3


def test_weights_have_their_own_card_or_none(tmp_path, monkeypatch):
    trunks = ({"size": "tiny", "depth": depth} for depth in (1, 2))
    first, second = (models.create("vit_iqa", image_size=32, trunk=trunk) for trunk in trunks)
    path = save_weights(first, tmp_path / "a.safetensors", {"number": 1})
    with full_disk(), pytest.raises(InputError, match="a.safetensors: cannot be written"):
        save_weights(second, path, {"number": 2})
    assert load_weights(path)[1].number == 1
    replace = batch.os.replace

    def killed(source, target):
        if str(target).endswith(".json"):
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save_weights(second, path, {"number": 2})
    with pytest.raises(InputError, match="a.json"):
        read_card(path)
    monkeypatch.undo()
    assert load_weights(save_weights(second, path, {"number": 2}))[1].number == 2


def test_errors_of_other_files_and_of_readers_keep_their_names(tmp_path):
    for error in (BrokenPipeError(32, "Broken pipe"), FileNotFoundError(2, "No such file", "/elsewhere/x.png")):
        with pytest.raises(type(error)), replacing(tmp_path / "a.csv"):
            raise error
    assert not list(tmp_path.iterdir())


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path):
    path = tmp_path / "[a]"
    ours, others = (
        tmp_path / f"{unfinished(path)}1",
        [tmp_path / ".[a].json", tmp_path / f"{unfinished(tmp_path / 'a')}1"],
    )
    for file in (ours, *others):
        file.write_bytes(b"")
    remove_unfinished(path, 1000)
    assert ours.exists()
    with locked(path):
        assert not ours.exists() and all(file.exists() for file in others)


def test_a_suite_whose_results_cannot_be_written_runs_nothing(project, monkeypatch):
    project.notebook("write", "")
    project.suite("runs:\n  - {name: one, notebook: write}")
    monkeypatch.setattr(batch, "_execute", lambda *_: pytest.fail("executed"))
    monkeypatch.setattr(batch, "_interruptible", lambda *_: pytest.fail("executed"))
    for folder in ("results", "work"):
        (project.root / folder).write_bytes(b"")
        for run in (lambda: batch.run_suite("small"), lambda: batch.run_notebook("small", "one")):
            with pytest.raises(InputError, match=f"{folder}/small.*: cannot be written"):
                run()
        (project.root / folder).unlink()
    check_writable(project.root / "results")
