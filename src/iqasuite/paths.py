"""Where things are: data, cache, weights, results. Nothing here is created by looking it up."""

from __future__ import annotations

import glob
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from iqasuite.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

_log = logging.getLogger(__name__)
_UNFINISHED = ".unfinished-"  # in the names of temporary files and folders
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


def safe_name(text: str) -> str:
    """A text, such as an observer's name, as a file's name without ending on any system, never of another folder.

    Args:
        text: any text; letters of all scripts, digits and ` .,'+@()=-_` stay.

    Returns:
        The text itself where it is such a name of 100 bytes at most; else what is left of it, with the beginning of its
        SHA-256, so that different texts keep different names.
    """
    name = re.sub(r"[^\w .,'+@()=-]", "_", text)
    name = name.encode()[:100].decode(errors="ignore").strip(" .")
    if name != text or re.fullmatch(TAKEN, name, re.IGNORECASE):
        digits = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        return f"_{name}-{digits}"
    return name


@contextmanager
def writable(path: Path | str) -> Iterator[None]:
    """What prevents the block from writing `path` becomes an InputError that names it.

    Raises:
        InputError: the folder cannot be written, or the disk is full.
    """
    path = Path(path)
    try:
        yield
    except OSError as error:
        of_another = error.filename is not None and not _prevents(os.fsdecode(error.filename), path)
        if isinstance(error, (BrokenPipeError, TimeoutError)) or of_another:  # of a reader, of a lock, of another file
            raise
        shown = re.sub(rf"\.([^/\\]+){_UNFINISHED}[^/\\]*", r"\1", str(path))  # the name that it would have got
        reason = error.strerror or error
        raise InputError(
            f"{shown}: cannot be written ({reason}); expected a folder with room that may be written to"
        ) from error


def _prevents(name: str, path: Path) -> bool:
    """Whether an error of a file `name` keeps `path` from being written: one above, below or beside it."""
    folder, about = Path(os.path.realpath(path.parent)), Path(os.path.realpath(name))
    if not about.is_relative_to(folder):
        return folder.is_relative_to(about)
    first, *deeper = about.relative_to(folder).parts or ("",)
    return not deeper or first == path.name or first.startswith(unfinished(path))


@contextmanager
def replacing(path: Path | str, mode: str = "wb", **options: Any) -> Iterator[IO[Any]]:
    """A file to write, which replaces `path` at the end of the block; `path` stays as it was where the block fails.

    Args:
        path: its folder is made where there is none.
        mode, options: of `open`.

    Raises:
        InputError: the folder cannot be written, or the disk is full.
    """
    path = Path(path)
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=unfinished(path))
        try:
            with os.fdopen(handle, mode, **options) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A temporary folder to fill, which replaces `path` at the end of the block; `path` stays where the block fails.

    Raises:
        InputError: the folder cannot be written, or the disk is full.
    """
    with scratch_folder(path) as temporary:
        yield temporary
        os.chmod(temporary, 0o755)
        if path.exists():
            os.replace(path, temporary / "replaced")
        os.replace(temporary, path)
        shutil.rmtree(path / "replaced", ignore_errors=True)


@contextmanager
def scratch_folder(path: Path | None = None) -> Iterator[Path]:
    """A temporary folder, gone after the block: beside `path`, which is made from it, or where the system has them.

    Raises:
        InputError: it cannot be written, or the disk is full.
    """
    if path is None:
        with writable("folder for temporary files (TMPDIR)"):
            path = Path(tempfile.gettempdir()) / "iqasuite"
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=unfinished(path)))
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def write_atomic(path: Path | str, content: bytes | str) -> Path:
    """Write a whole file or nothing.

    Raises:
        InputError: the folder cannot be written, or the disk is full; `path` is then as it was.
    """
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)
    return Path(path)


def check_writable(folder: Path | str) -> None:
    """Make a folder and see whether files can be written to it.

    Raises:
        InputError: they cannot, or the disk is full.
    """
    with writable(folder):
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b" ")


@contextmanager
def locked(path: Path | str) -> Iterator[None]:
    """Let one process at a time make `path`, a file or folder; what a killed one left unfinished of it is removed.

    The lock is the file `<path>.lock`. It stays, and is given back when its process ends, however it ends. Who waits
    for it longer than a moment logs so.

    Raises:
        InputError: the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    path, lock = Path(path), FileLock(f"{path}.lock")
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=1)
        except Timeout:
            _log.info("%s: another process is at it; waiting", path)
            lock.acquire()
    try:
        remove_unfinished(path)
        yield
    finally:
        lock.release()


def unfinished(path: Path) -> str:
    """How the temporary neighbours begin, under which `path` is written before it gets its name."""
    return f".{path.name}{_UNFINISHED}"


def remove_unfinished(path: Path, seconds: float = 0) -> None:
    """Remove temporary neighbours of `path` that nobody has written to for some seconds."""
    for left in path.parent.glob(f"{glob.escape(unfinished(path))}*"):
        try:
            old = time.time() - left.stat().st_mtime >= seconds
        except FileNotFoundError:  # it has got its name in the meantime
            continue
        if old:
            _remove(left)


def remove_unfinished_below(folder: Path) -> None:
    """Remove what killed processes left unfinished anywhere below a folder; nobody may be writing there."""
    for left in list(folder.rglob(f".*{_UNFINISHED}*")):
        _remove(left)


def _remove(left: Path) -> None:
    if left.is_dir():
        shutil.rmtree(left, ignore_errors=True)
    else:
        left.unlink(missing_ok=True)


def read_json(path: Path | str, kind: type = dict) -> Any:
    """What a JSON file holds that the suite wrote.

    Args:
        path: the file.
        kind: of its content, dict or list.

    Raises:
        InputError: not JSON in UTF-8, or of another kind.
        OSError: it cannot be opened.
    """
    try:
        content = json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error}); expected the file as it was written, or none") from None
    if not isinstance(content, kind):
        found = type(content).__name__
        raise InputError(f"{path}: {found} in JSON; expected {kind.__name__}, the file as it was written, or none")
    return content


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
