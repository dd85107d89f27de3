"""Checkpoints of a training: one file, whole or absent, read without running code from it."""

from __future__ import annotations

from pathlib import Path

import torch

from iqasuite.errors import InputError
from iqasuite.paths import remove_unfinished, replacing

_AN_HOUR = 3600.0  # seconds; nobody writes a checkpoint that long


def save_checkpoint(path: Path | str, state: dict) -> Path:
    """Write tensors, numbers, texts, lists and dicts of them; `path` is replaced only by a complete file.

    Raises:
        InputError: the folder cannot be written, or the disk is full; `path` is then as it was.
    """
    path = Path(path)
    with replacing(path) as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:  # how torch reports a full disk, the system's own words behind it
            raise error.__context__ if isinstance(error.__context__, OSError) else OSError(str(error)) from error
    remove_unfinished(path, _AN_HOUR)  # by a process that was killed while it wrote
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
