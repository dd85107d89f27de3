"""Checkpoints of a training: one file, whole or absent, read without running code from it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import torch

from iqasuite.errors import InputError


def save_checkpoint(path: Path | str, state: dict) -> Path:
    """Write tensors, numbers, texts, lists and dicts of them; `path` is replaced only by a complete file.

    Raises:
        OSError: the folder cannot be written or the disk is full; `path` is then as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, RuntimeError):  # how torch reports a full disk
            raise OSError(f"{path}: could not be written: {error}") from error
        raise
    return path


def load_checkpoint(path: Path | str) -> dict:
    """What `save_checkpoint` wrote, on the CPU.

    Raises:
        InputError: no such file, or not a checkpoint.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such checkpoint") from None
    except OSError:
        raise
    except Exception as error:  # torch raises many kinds for what is not its own
        raise InputError(f"{path}: not a checkpoint ({type(error).__name__}); remove it to start anew") from None
