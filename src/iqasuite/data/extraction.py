"""Archives into folders, distrusting them: nothing outside the folder, no links, no bombs, all of it or nothing."""

from __future__ import annotations

import lzma
import os
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from iqasuite.errors import InputError

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
BY_HAND = (".rar", ".7z")  # no free library reads these safely
_MOST_FILES = 300_000
_EXPANSION = 20  # times the archive's size; more than that, and more than _ALWAYS, is not an archive of images
_ALWAYS = 10**9
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError)


def is_archive(name: str) -> bool:
    """Whether a file of this name is unpacked, by `extract` or by hand."""
    return name.lower().endswith(ARCHIVES + BY_HAND)


def extract(archive: Path | str, folder: Path | str) -> int:
    """Unpack an archive; files of the same names are replaced, others in the folder stay.

    It is unpacked beside the folder first and moved there when all of it is well. Files get the usual permissions,
    whatever the archive says.

    Args:
        archive: .zip, .tar, .tar.gz, .tgz, .tar.bz2, .tar.xz.
        folder: made where it is absent.

    Returns:
        Number of files.

    Raises:
        InputError: damaged, truncated, encrypted or of another kind; paths that lead elsewhere, links, devices, a path
            twice; more than 20 times (and 1 GB) as large unpacked, or larger than the disk has room for. The folder is
            then as it was.
    """
    archive, folder = Path(archive), Path(folder)
    name = archive.name.lower()
    if not archive.is_file():
        raise InputError(f"{archive}: no such file; expected an archive")
    if name.endswith(BY_HAND):
        raise InputError(
            f"{archive}: cannot be unpacked by this program; expected .zip or .tar. By hand: {by_hand(archive, folder)}"
        )
    if not name.endswith(ARCHIVES):
        raise InputError(f"{archive}: expected an archive, one of {', '.join(ARCHIVES)}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.resolve().name}.", dir=folder.resolve().parent))
    try:
        unpacked = temporary / "files"
        unpacked.mkdir()
        entries = _zip_entries(archive) if name.endswith(".zip") else _tar_entries(archive)
        try:
            files = _write(entries, archive, unpacked)
        except _DAMAGED as error:
            raise InputError(f"{archive}: damaged or truncated ({error}); expected a whole archive") from error
        except OSError as error:
            if error.errno is not None:  # the disk's own errors; those of bz2 and gzip have no number
                raise
            raise InputError(f"{archive}: damaged or truncated ({error}); expected a whole archive") from error
        _move(files, unpacked, folder, archive)
        return len(files)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def by_hand(archive: Path, folder: Path) -> str:
    """What to do with an archive that `extract` does not read, in one line."""
    tool = "unrar x" if archive.suffix.lower() == ".rar" else "7z x"
    return f"unpack {archive} into {folder} (`{tool}`, 7-Zip, The Unarchiver)"


def _write(entries: Iterator[tuple[str, int, IO[bytes] | None]], archive: Path, folder: Path) -> list[PurePosixPath]:
    """Every entry into an empty folder; the files' paths."""
    most = max(_ALWAYS, _EXPANSION * archive.stat().st_size)
    free = shutil.disk_usage(folder).free
    files, total = [], 0
    for number, (name, size, content) in enumerate(entries, start=1):
        if number > _MOST_FILES:
            raise InputError(f"{archive}: more than {_MOST_FILES:,} entries; expected a data set")
        total += size
        if total > most:
            raise InputError(
                f"{archive}: more than {most:,} bytes unpacked; expected at most {_EXPANSION} times its size"
            )
        if total > free:
            raise InputError(f"{archive}: more than the {free:,} bytes that are free in {folder.parent.parent}")
        path = _relative(name, archive)
        try:
            if content is None:
                (folder / path).mkdir(parents=True, exist_ok=True)
                continue
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            with open(folder / path, "xb") as file, content:  # x: on a disk that ignores case, a.png and A.png clash
                shutil.copyfileobj(content, file, 2**20)
        except (FileExistsError, NotADirectoryError) as error:
            raise InputError(f"{archive}: {name!r} twice, or both file and folder; expected each path once") from error
        files.append(path)
    if not files:
        raise InputError(f"{archive}: no files in it; expected a data set")
    return files


def _relative(name: str, archive: Path) -> PurePosixPath:
    """An entry's path below the folder."""
    plain = name.replace("\\", "/")  # archives from Windows
    path = PurePosixPath(plain)
    drive = any(re.match("[A-Za-z]:", part) for part in path.parts)
    if path.is_absolute() or drive or ".." in path.parts or re.search(r"[\x00-\x1f]", plain):
        raise InputError(f"{archive}: entry {name!r}; expected a plain path below the folder")
    return path


def _zip_entries(archive: Path) -> Iterator[tuple[str, int, IO[bytes] | None]]:
    """(name, bytes unpacked, content; None = folder) of each entry."""
    with zipfile.ZipFile(archive) as file:
        infos = file.infolist()
        for info in infos:
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise InputError(f"{archive}: {info.filename!r} is a link or a device; expected files and folders")
            if info.flag_bits & 1:
                raise InputError(f"{archive}: {info.filename!r} is encrypted; expected an archive without a password")
        for info in infos:
            name = _zip_name(info)
            if info.is_dir() or name.endswith("\\"):
                yield name, 0, None
            else:
                yield name, info.file_size, file.open(info)


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Name of an entry; many programs write UTF-8 without the mark that says so."""
    if info.flag_bits & 0x800:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _tar_entries(archive: Path) -> Iterator[tuple[str, int, IO[bytes] | None]]:
    """(name, bytes unpacked, content; None = folder) of each entry; then a check that the archive's end is there."""
    with tarfile.open(archive) as file:
        for member in file:
            name = member.name.encode("utf-8", "surrogateescape")
            try:
                name = name.decode("utf-8")
            except UnicodeError:
                name = name.decode("latin-1")
            if not (member.isreg() or member.isdir()):
                raise InputError(f"{archive}: {name!r} is a link or a device; expected files and folders")
            tarfile.data_filter(member, str(archive.parent))
            yield name, member.size if member.isreg() else 0, file.extractfile(member) if member.isreg() else None
        _check_end(file, archive)


def _check_end(file: tarfile.TarFile, archive: Path) -> None:
    """tarfile stops without a word where the next header is cut off or damaged, and before a gzip checksum."""
    whole = file.fileobj.tell() >= file.offset + tarfile.BLOCKSIZE
    if whole and archive.suffix.lower() == ".tar":
        file.fileobj.seek(file.offset)
        whole = not any(file.fileobj.read(tarfile.BLOCKSIZE))
    if not whole:
        raise InputError(f"{archive}: ends without the mark of its end (truncated?); expected a whole archive")
    while file.fileobj.read(2**20):
        pass


def _move(files: list[PurePosixPath], source: Path, folder: Path, archive: Path) -> None:
    """All files into the folder, each by a rename."""
    if not folder.exists():
        os.replace(source, folder)
        return
    for path in files:
        blocked = next((folder / p for p in path.parents if (folder / p).exists() and not (folder / p).is_dir()), None)
        if blocked or (folder / path).is_dir():
            raise InputError(f"{blocked or folder / path}: in the way of {path} of {archive}; expected to write there")
    for path in files:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        os.replace(source / path, folder / path)
