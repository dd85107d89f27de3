"""Files are whole or as before, and what killed processes left is removed; tests/campaign fills the disks."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from iqasuite import models
from iqasuite.errors import InputError
from iqasuite.experiments import batch
from iqasuite.paths import check_writable, locked, remove_unfinished, replacing, unfinished
from iqasuite.training import inputs
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


def test_damaged_tokens_are_made_again(tmp_path, monkeypatch, caplog):
    def tokens():
        shown = {name: torch.full((1, 100), float(ord(name))) for name in "abc"}
        return np.array(inputs._stored("a", torch.nn.Linear(1, 1), list("abc"), shown.get, lambda network, x: x))

    monkeypatch.setenv("IQASUITE_CACHE", str(tmp_path))
    before = tokens()
    for content in (b"", (tmp_path / "tokens" / "a.npy").read_bytes()[:-5], b"text"):
        (tmp_path / "tokens" / "a.npy").write_bytes(content)
        np.testing.assert_array_equal(tokens(), before)
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
