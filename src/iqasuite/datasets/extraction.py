"""Archives into folders, distrusting them: nothing outside the folder, no links, no bombs, all of it or nothing."""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol

from iqasuite.errors import InputError
from iqasuite.paths import scratch_folder

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
BY_HAND = (".rar", ".7z")  # no free library reads these safely
_MOST_FILES = 300_000
_EXPANSION = 20  # times the archive's size; more than that, and more than _ALWAYS, is not an archive of images
_ALWAYS = 10**9
_DEEPEST = 50  # folders within each other
_LONGEST_PART = 255  # bytes of a file's or folder's name
_LONGEST_PATH = 1000  # bytes
_LONGEST_HEADER = 2**16  # bytes of a tar's header that says more on the entry after it, as its long name
_EXTENSIONS = (  # tar's headers of that kind
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE),
)
_MOST_HEADERS = 8  # of those in a row
_MOST_DIRECTORY = 2**26  # bytes of a ZIP's list of entries, which is read at once
_LONGEST_NOTE = 2**10  # bytes of what a ZIP adds to each entry there
_XZ_MEMORY = 2**28  # bytes; `xz -9` needs 65 MiB
_DAMAGED = (  # what the libraries of the formats raise, also on purpose-made nonsense
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError),
    *(ValueError, LookupError, ArithmeticError, RuntimeError, MemoryError),
)


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


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
        InputError: damaged, truncated, encrypted or of another kind; paths that lead elsewhere or are very long, links,
            devices, sparse files, a path twice; more than 20 times (and 1 GB) as large unpacked, or larger than the
            disk has room for, or the folder cannot be written. It is then as it was.
    """
    archive, folder, name = Path(archive), Path(folder), Path(archive).name.lower()
    if not archive.is_file():
        raise InputError(f"{archive}: no such file; expected an archive")
    if name.endswith(BY_HAND):
        raise InputError(
            f"{archive}: cannot be unpacked by this program; expected .zip or .tar. By hand: {by_hand(archive, folder)}"
        )
    if not name.endswith(ARCHIVES):
        raise InputError(f"{archive}: expected an archive, one of {', '.join(ARCHIVES)}")
    return _unpacked(archive, folder)


def by_hand(archive: Path, folder: Path) -> str:
    """What to do with an archive that `extract` does not read, in one line."""
    tool = "unrar x" if archive.suffix.lower() == ".rar" else "7z x"
    return f"unpack {archive} into {folder} (`{tool}`, 7-Zip, The Unarchiver)"


def _unpacked(archive: Path, folder: Path) -> int:
    """Number of files of an archive that are in the folder now."""
    with scratch_folder(folder.resolve()) as temporary:
        unpacked = temporary / "files"
        unpacked.mkdir()
        entries = _zip_entries(archive) if archive.suffix.lower() == ".zip" else _tar_entries(archive)
        try:
            files = _write(entries, archive, unpacked)
        except InputError:
            raise
        except _DAMAGED as error:
            if isinstance(error, OSError) and error.errno is not None:  # the disk's own; those of the formats have none
                raise
            reason = str(error) or type(error).__name__
            raise InputError(f"{archive}: damaged or truncated ({reason}); expected a whole archive") from error
        _move(files, unpacked, folder, archive)
        return len(files)


def _write(entries: Iterator[tuple[str, int, _Readable | None]], archive: Path, folder: Path) -> list[PurePosixPath]:
    """Every entry into an empty folder; the files' paths."""
    free = shutil.disk_usage(folder).free
    files, total = [], 0
    for number, (name, size, content) in enumerate(entries, start=1):
        if number > _MOST_FILES:
            raise _too_many(archive)
        total += size
        _check_total(total, archive)
        if total > free:
            raise InputError(f"{archive}: more than the {free:,} bytes that are free in {folder.parent.parent}")
        path = _relative(name, archive)
        try:
            if content is None:
                (folder / path).mkdir(parents=True, exist_ok=True)
                continue
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            with open(folder / path, "xb") as file:  # x: on a disk that ignores case, a.png and A.png clash
                _copy(content, size, file)
        except (FileExistsError, NotADirectoryError) as error:
            raise InputError(f"{archive}: {name!r} twice, or both file and folder; expected each path once") from error
        files.append(path)
    if not files:
        raise InputError(f"{archive}: no files in it; expected a data set")
    return files


def _copy(content: _Readable, size: int, file: IO[bytes]) -> None:
    """Exactly so many bytes; no more are read."""
    while size:
        read = content.read(min(size, 2**20))
        if not read:
            raise EOFError("a file ends before its length")
        file.write(read)
        size -= len(read)


def _check_total(total: int, archive: Path) -> None:
    most = max(_ALWAYS, _EXPANSION * archive.stat().st_size)
    if total > most:
        raise InputError(f"{archive}: more than {most:,} bytes unpacked; expected at most {_EXPANSION} times its size")


def _too_many(archive: Path) -> InputError:
    return InputError(f"{archive}: more than {_MOST_FILES:,} entries; expected a data set")


def _relative(name: str, archive: Path) -> PurePosixPath:
    """An entry's path below the folder."""
    plain = name.replace("\\", "/")  # archives from Windows
    path = PurePosixPath(plain)
    drive = any(re.match("[A-Za-z]:", part) for part in path.parts)
    if path.is_absolute() or drive or ".." in path.parts or re.search(r"[\x00-\x1f]", plain):
        raise InputError(f"{archive}: entry {name[:200]!r}; expected a plain path below the folder")
    longest = max((len(part.encode()) for part in path.parts), default=0)
    if len(path.parts) > _DEEPEST or longest > _LONGEST_PART or len(plain.encode()) > _LONGEST_PATH:
        raise InputError(
            f"{archive}: entry {name[:200]!r}; expected a path of at most {_DEEPEST} folders, {_LONGEST_PART} bytes in "
            f"each name and {_LONGEST_PATH} bytes in all"
        )
    return path


def _zip_entries(archive: Path) -> Iterator[tuple[str, int, _Readable | None]]:
    """(name, bytes unpacked, content; None = folder) of each entry."""
    with _ZipBytes(archive) as source, zipfile.ZipFile(source) as file:
        source.opened = True
        infos = file.infolist()
        for info in infos:
            _check_kind(info, archive)
        _check_ranges(infos, archive)
        for info in infos:
            name = _zip_name(info)
            if name.endswith(("/", "\\")):
                yield name, 0, None
            else:
                with file.open(info) as content:
                    yield name, info.file_size, content


def _check_ranges(infos: list[zipfile.ZipInfo], archive: Path) -> None:
    size = archive.stat().st_size
    ranges = sorted((info.header_offset, info.header_offset + 30 + info.compress_size) for info in infos)
    if any(end > start for (_, end), (start, _) in itertools.pairwise([(0, 0), *ranges, (size, size)])):
        raise InputError(f"{archive}: entries overlap or lie outside of the file; expected a whole archive")


def _check_kind(info: zipfile.ZipInfo, archive: Path) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise InputError(f"{archive}: {info.filename!r} is a link or a device; expected files and folders")
    if info.flag_bits & 1:
        raise InputError(f"{archive}: {info.filename!r} is encrypted; expected an archive without a password")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # of others zipfile does not bound memory
        raise InputError(f"{archive}: {info.filename!r} is packed by method {info.compress_type}; expected deflate")


class _ZipBytes(io.FileIO):
    """A ZIP's bytes; its list of entries is checked on its way to `zipfile`, which reads all of it at once."""

    opened = False

    def read(self, size: int | None = -1) -> bytes:
        """As of any file; `zipfile` never asks for more than is there."""
        if size is not None and size > _MOST_DIRECTORY:
            raise InputError(f"{self.name}: a list of entries of {size:,} bytes; expected at most {_MOST_DIRECTORY:,}")
        read = super().read(size)
        if not self.opened and read.startswith(b"PK\1\2"):
            _check_directory(read, self.name)
        return read


def _check_directory(directory: bytes, archive: Path) -> None:
    at = number = 0
    while at + 46 <= len(directory):
        name, *notes = struct.unpack_from("<3H", directory, at + 28)
        at, number = at + 46 + name + sum(notes), number + 1
        if number > _MOST_FILES:
            raise _too_many(archive)
        if name > _LONGEST_PATH or max(notes) > _LONGEST_NOTE:
            raise InputError(
                f"{archive}: entry {number}: a name of {name:,} or notes of {max(notes):,} bytes; expected at most "
                f"{_LONGEST_PATH:,} and {_LONGEST_NOTE:,}"
            )


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Name of an entry; many programs write UTF-8 without the mark that says so."""
    name = info.orig_filename  # `filename` ends before a NUL
    if info.flag_bits & 0x800:
        return name
    try:
        return name.encode("cp437").decode("utf-8")
    except UnicodeError:
        return name


def _tar_entries(archive: Path) -> Iterator[tuple[str, int, _Readable | None]]:
    """(name, bytes unpacked, content; None = folder) of each entry; whoever is given them reads so many bytes.

    The headers are read here and in order: `tarfile` reads as much as they say before anybody is asked.
    """
    with open(archive, "rb") as file:
        stream = _Counted(_decompressed(file), archive)
        more, headers = dict[str, str](), 0  # what extension headers say on the entry that follows
        while True:
            block = stream.read(tarfile.BLOCKSIZE)
            if len(block) == block.count(0) == tarfile.BLOCKSIZE and not headers:
                break
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            if info.type in _EXTENSIONS:
                more |= _extension(info, stream, archive)
                headers += 1
                if headers > _MOST_HEADERS:
                    raise InputError(f"{archive}: more than {_MOST_HEADERS} headers of one entry; expected fewer")
                continue
            name = more.get("path", _text(info.name.encode("utf-8", "surrogateescape")))
            size = int(more.get("size", info.size))
            _check_entry(info, name, size, archive)
            yield name, size if info.isreg() else 0, stream if info.isreg() else None
            if info.isreg():
                stream.read(-size % tarfile.BLOCKSIZE)
            more, headers = {}, 0
        while stream.read(2**20):  # up to the checksum
            pass


def _extension(info: tarfile.TarInfo, stream: _Readable, archive: Path) -> dict[str, str]:
    """Path and size of the next entry, where an extension header says them."""
    if not 0 <= info.size <= _LONGEST_HEADER:
        raise InputError(f"{archive}: a header of {info.size:,} bytes; expected at most {_LONGEST_HEADER:,}")
    content = stream.read(info.size + -info.size % tarfile.BLOCKSIZE)[: info.size]
    if len(content) < info.size:
        raise EOFError("a header ends before its length")
    if info.type == tarfile.GNUTYPE_LONGNAME:
        return {"path": _text(content.partition(b"\0")[0])}
    if info.type == tarfile.GNUTYPE_LONGLINK:
        return {}
    fields = _pax_fields(content)
    if any(name.startswith("GNU.sparse.") for name in fields):
        raise InputError(f"{archive}: a sparse file; expected plain files")
    stated: dict[str, str] = {name: fields[name] for name in ("path", "size") if name in fields}
    if (stated and info.type == tarfile.XGLTYPE) or not re.fullmatch(r"\d{1,18}", stated.get("size", "0"), re.ASCII):
        raise InputError(f"{archive}: a header that says {str(stated)[:200]}; expected a path and a size of one entry")
    return stated


def _pax_fields(content: bytes) -> dict[str, str]:
    """Fields of a PAX header, each written as `length name=value` and a line's end."""
    fields, at = {}, 0
    while match := re.compile(rb"(\d{1,5}) ([^=]+)=").match(content, at):
        end = at + int(match[1])
        if not match.end() < end <= len(content):
            raise ValueError("a field of a header has another length than it says")
        fields[_text(match[2])] = _text(content[match.end() : end - 1])
        at = end
    return fields


def _text(name: bytes) -> str:
    try:
        return name.decode("utf-8")
    except UnicodeError:
        return name.decode("latin-1")


def _check_entry(info: tarfile.TarInfo, name: str, size: int, archive: Path) -> None:
    if info.type == tarfile.GNUTYPE_SPARSE:
        raise InputError(f"{archive}: {name[:200]!r} is a sparse file; expected plain files")
    if not (info.isreg() or info.isdir()):
        raise InputError(f"{archive}: {name[:200]!r} is a link or a device; expected files and folders")
    if size < 0:
        raise InputError(f"{archive}: {name[:200]!r} has {size:,} bytes; expected 0 or more")


def _decompressed(file: IO[bytes]) -> _Readable:
    """A tar's own bytes; how they are packed is told from the first of them, not from the name."""
    start = file.read(6)
    file.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)
    if start.startswith(b"BZh"):
        return bz2.BZ2File(file)
    return io.BufferedReader(_Xz(file)) if start == b"\xfd7zXZ\0" else file


class _Counted:
    """What a file has, up to the limit on what an archive may unpack to."""

    def __init__(self, file: _Readable, archive: Path) -> None:
        self.file, self.archive, self.total = file, archive, 0

    def read(self, size: int) -> bytes:
        read = self.file.read(size)
        self.total += len(read)
        _check_total(self.total, self.archive)
        return read


class _Xz(io.RawIOBase):
    """An .xz file's content; `lzma.open` would take as much memory as the file says, up to 4 GB."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.decompressor = file, self._new()

    @staticmethod
    def _new() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        read = b""
        while not read:
            packed = b""
            if self.decompressor.eof:  # another stream may follow, zeros between them
                packed = self.decompressor.unused_data.lstrip(b"\0")
                while not packed:
                    following = self.file.read(2**16)
                    if not following:
                        return 0
                    packed = following.lstrip(b"\0")
                self.decompressor = self._new()
            elif self.decompressor.needs_input and not (packed := self.file.read(2**16)):
                raise EOFError("an .xz stream without its end")
            read = self.decompressor.decompress(packed, len(buffer))
        buffer[: len(read)] = read
        return len(read)


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
