"""Where things are: data, cache, weights, results. Nothing here is created by looking it up."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path

from iqasuite.errors import InputError

TAKEN = r"((con|prn|aux|nul|com\d|lpt\d)?(\..*)?|_.*-[0-9a-f]{8})"  # by Windows, or by `safe_name` itself


def project_root() -> Path:
    """Nearest folder at or above the working directory that holds `notebooks/suites`; else the working directory."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "notebooks" / "suites").is_dir():
            return folder
    return here


def data_root() -> Path:
    """Folder of the data sets in their official layouts: `IQASUITE_DATA`, else `data/` of the project."""
    return Path(os.environ.get("IQASUITE_DATA") or project_root() / "data")


def cache_root() -> Path:
    """Folder of what can be made again (decoded images, features, the demo set): `IQASUITE_CACHE`, else `.cache/`."""
    return Path(os.environ.get("IQASUITE_CACHE") or project_root() / ".cache")


def weights_roots() -> list[Path]:
    """Folders searched for weights, in this order: `IQASUITE_WEIGHTS` (where set), then the project's `weights/`."""
    given = os.environ.get("IQASUITE_WEIGHTS")
    return [*([Path(given)] if given else []), project_root() / "weights"]


def results_root(suite: str) -> Path:
    """Folder of a suite's figures, tables and pages, made to be browsed and committed."""
    return project_root() / "results" / suite


def work_root(suite: str) -> Path:
    """Folder of a suite's weights, predictions and checkpoints, never committed."""
    return project_root() / "work" / suite


def safe_name(text: str, longest: int = 100) -> str:
    """A text, such as an observer's name, as a file's name without ending on any system, never of another folder.

    Args:
        text: any text; letters of all scripts, digits and ` .,'+@()=-_` stay.
        longest: bytes that a name may have.

    Returns:
        The text itself where it is such a name; else what is left of it, with the beginning of its SHA-256, so that
        different texts keep different names.
    """
    name = re.sub(r"[^\w .,'+@()=-]", "_", text)
    name = name.encode()[:longest].decode(errors="ignore").strip(" .")
    if name != text or re.fullmatch(TAKEN, name, re.IGNORECASE):
        digits = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        return f"_{name}-{digits}"
    return name


def write_atomic(path: Path | str, content: bytes | str) -> Path:
    """Write a whole file or nothing: into a temporary neighbour first, then renamed over `path`.

    Raises:
        OSError: the folder cannot be written or the disk is full; `path` is then as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def file_hash(path: Path | str) -> str:
    """SHA-256 of a file's content, hexadecimal.

    Raises:
        InputError: the file is missing or cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected a file") from error
