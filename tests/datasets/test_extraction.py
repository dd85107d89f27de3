"""Archives that are well are unpacked; those that are not leave the folder as it was."""

import bz2
import gzip
import io
import lzma
import os
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from iqasuite.datasets import extraction
from iqasuite.datasets.extraction import extract, is_archive
from iqasuite.errors import InputError

FILES = {"set/images/a.png": b"first" * 1000, "set/images/b.png": os.urandom(5000), "set/mos.csv": b"a,1\n"}


def make_zip(path, files=FILES):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo(name)
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return path


def make_tar(path, files=FILES, members=()):
    with tarfile.open(path, f"w:{path.suffix[1:].replace('tgz', 'gz').replace('tar', '')}") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o4777
            archive.addfile(member, io.BytesIO(content))
        for member in members:
            archive.addfile(member)
    return path


def header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


def extension(content: bytes, kind: bytes = tarfile.XHDTYPE, size: int | None = None) -> bytes:
    """A header that says more on the entry after it."""
    return header("more", len(content) if size is None else size, kind) + content + bytes(-len(content) % 512)


def pax(**fields: str) -> bytes:
    records = b""
    for name, value in fields.items():
        record = f" {name.replace('_', '.')}={value}\n".encode()
        records += next(b"%d" % n + record for n in range(3, 10**5) if n == len(b"%d" % n + record))
    return records


def packed(path: Path, *parts: bytes) -> Path:
    """An archive of these bytes and the mark of its end, packed as its name says."""
    pack = {".tgz": gzip.compress, ".tbz2": bz2.compress, ".txz": lzma.compress, ".tar": bytes}[path.suffix]
    path.write_bytes(pack(b"".join(parts) + bytes(1024)))
    return path


def content(folder: Path) -> dict:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def folder(tmp_path):
    """A folder that holds something already; `refused` says that an archive leaves it and its neighbours alone."""
    (tmp_path / "sets" / "a" / "set").mkdir(parents=True)
    (tmp_path / "sets" / "a" / "set" / "own.txt").write_bytes(b"mine")
    (tmp_path / "sets" / "a" / "set" / "mos.csv").write_bytes(b"old")
    return tmp_path / "sets" / "a"


@pytest.fixture
def refused(folder, tmp_path):
    def check(archive, match):
        before = content(tmp_path)
        with pytest.raises(InputError, match=match) as error:
            extract(archive, folder)
        assert str(archive) in str(error.value)
        assert content(tmp_path) == before
        assert [path.name for path in folder.parent.iterdir()] == ["a"]

    return check


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "A.TGZ", "a.tar.bz2", "a.tar.xz"])
def test_whole_archives(tmp_path, folder, name):
    archive = make_zip(tmp_path / name) if name.endswith("zip") else make_tar(tmp_path / name.lower())
    archive = archive.rename(tmp_path / name)
    assert extract(archive, folder) == 3
    assert content(folder) == FILES | {"set/own.txt": b"mine"}
    assert extract(archive, tmp_path / "new" / "b") == 3
    assert content(tmp_path / "new" / "b") == FILES
    for path in (tmp_path / "new" / "b").rglob("*.png"):
        assert not path.stat().st_mode & (stat.S_ISUID | stat.S_IXUSR)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["a"]


EVIL = ["{}/evil.txt", "../evil.txt", "set/../../evil.txt", "C:/evil.txt", "set/C:evil.txt", "..\\evil.txt", "a\nb"]


@pytest.mark.parametrize("name", EVIL)
def test_paths_that_lead_elsewhere(tmp_path, refused, name):
    name = name.format(tmp_path)
    refused(make_zip(tmp_path / "a.zip", FILES | {name: b"evil"}), "expected a plain path|outside|absolute")
    refused(make_tar(tmp_path / "a.tar", FILES | {name: b"evil"}), "expected a plain path|outside|absolute")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_tar_links_and_devices(tmp_path, refused, kind):
    member = tarfile.TarInfo("set/other.png")
    member.type, member.linkname = kind, "set/mos.csv"
    refused(make_tar(tmp_path / "a.tgz", FILES, [member]), "'set/other.png' is a link or a device")


def test_zip_links(tmp_path, refused):
    link = zipfile.ZipInfo("set/other.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    refused(make_zip(tmp_path / "a.zip", FILES | {link: b"/etc/passwd"}), "is a link or a device")


def test_the_same_path_twice(tmp_path, refused):
    with pytest.warns(UserWarning, match="Duplicate"):
        archive = make_zip(tmp_path / "a.zip", FILES | {zipfile.ZipInfo("set/mos.csv"): b"other"})
    refused(archive, "'set/mos.csv' twice")
    refused(make_zip(tmp_path / "b.zip", FILES | {"set/mos.csv/a.png": b"below a file"}), "twice, or both file and")


def test_names_that_differ_in_case_only(tmp_path, folder, refused, monkeypatch):
    archive = make_zip(tmp_path / "a.zip", {"A.png": b"1", "a.png": b"2"})
    (tmp_path / "Case").touch()
    if (tmp_path / "case").exists():
        refused(archive, "twice")
    else:
        assert extract(archive, folder) == 2


def test_bombs(tmp_path, refused, monkeypatch):
    monkeypatch.setattr(extraction, "_ALWAYS", 10**6)
    zeros = {"set/zeros.bin": bytes(3 * 10**6)}
    refused(make_zip(tmp_path / "a.zip", zeros), "more than 1,000,000 bytes unpacked")
    refused(make_tar(tmp_path / "a.tgz", zeros), "more than 1,000,000 bytes unpacked")
    many = {f"set/{number}.bin": bytes(10**6) for number in range(3)}
    refused(make_tar(tmp_path / "b.tgz", many), "more than 1,000,000 bytes unpacked")


def test_too_many_entries(tmp_path, refused, monkeypatch):
    monkeypatch.setattr(extraction, "_MOST_FILES", 2)
    refused(make_zip(tmp_path / "a.zip"), "more than 2 entries")
    refused(make_tar(tmp_path / "a.tar"), "more than 2 entries")


def test_larger_than_the_disk(tmp_path, refused, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 1000))
    refused(make_zip(tmp_path / "a.zip"), "more than the 1,000 bytes that are free")


def test_a_zip_that_lies_about_lengths(tmp_path, refused):
    archive = make_zip(tmp_path / "a.zip", {"zeros.bin": bytes(10**6)})
    data = archive.read_bytes().replace((10**6).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    archive.write_bytes(data)
    refused(archive, "damaged or truncated")


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tgz", "a.tar.bz2", "a.tar.xz"])
def test_truncated_anywhere(tmp_path, folder, refused, name):
    whole = (make_zip if name.endswith("zip") else make_tar)(tmp_path / name).read_bytes()
    end = len(whole.rstrip(b"\0")) if name == "a.tar" else len(whole)  # zeros fill a tar up
    for length in {0, 1, 511, 512, 1024, end // 3, end // 2, end * 9 // 10, end - 600, end - 100, end - 1} & {
        *range(end)
    }:
        (tmp_path / name).write_bytes(whole[:length])
        refused(tmp_path / name, "expected a whole archive")


def test_a_tar_cut_between_two_files(tmp_path, refused):
    with tarfile.open(make_tar(tmp_path / "a.tar")) as file:
        last = file.getmembers()[-1]
    whole = (tmp_path / "a.tar").read_bytes()
    for kind, compress in (("b.tar", bytes), ("b.tgz", gzip.compress)):
        (tmp_path / kind).write_bytes(compress(whole[: last.offset]))
        refused(tmp_path / kind, "expected a whole archive")


def test_damaged_content(tmp_path, refused):
    for path in (make_zip(tmp_path / "a.zip"), make_tar(tmp_path / "a.tgz"), make_tar(tmp_path / "a.tar")):
        data = bytearray(path.read_bytes())
        where = data.rindex(b"ustar") if path.suffix == ".tar" else len(data) // 2
        data[where] ^= 255
        path.write_bytes(data)
        refused(path, "expected a whole archive")


def test_not_archives(tmp_path, refused):
    for name in ("page.zip", "page.tar", "page.tgz"):
        (tmp_path / name).write_bytes(b"<html>please sign in</html>")
        refused(tmp_path / name, "damaged or truncated")
    (tmp_path / "a.png").touch()
    refused(tmp_path / "a.png", "expected an archive, one of .zip")
    refused(tmp_path / "none.zip", "no such file")
    refused(make_zip(tmp_path / "empty.zip", {}), "no files")


def test_by_hand(tmp_path, folder, refused):
    for name, tool in (("a.rar", "unrar x"), ("a.7z", "7z x")):
        (tmp_path / name).touch()
        refused(tmp_path / name, f"By hand: unpack .*{name} into {folder} .`{tool}`")
        assert is_archive(name)


def test_encrypted(tmp_path, refused):
    archive = make_zip(tmp_path / "a.zip")
    data = bytearray(archive.read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + flags] |= 1
    archive.write_bytes(data)
    refused(archive, "is encrypted")


def test_encodings_of_names(tmp_path, folder):
    path = make_zip(tmp_path / "a.zip", {"Bäume.png": b"1", "x\\y\\z.png": b"2"})
    data = bytearray(path.read_bytes())
    for mark, flags in ((b"PK\x03\x04", 7), (b"PK\x01\x02", 9)):
        data[data.index(mark) + flags] &= ~0x08  # the mark that says UTF-8
    path.write_bytes(data)
    extract(path, folder / "zip")
    assert content(folder / "zip") == {"Bäume.png": b"1", "x/y/z.png": b"2"}
    with tarfile.open(tmp_path / "a.tar", "w", encoding="latin-1", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("Bäume.png"))
    extract(tmp_path / "a.tar", folder / "tar")
    assert content(folder / "tar") == {"Bäume.png": b""}


def test_something_in_the_way(tmp_path, refused, folder):
    (folder / "set" / "images").write_bytes(b"a file where a folder should be")
    refused(make_zip(tmp_path / "a.zip"), "set/images: in the way of set/images/a.png")


def test_a_full_disk_is_not_called_damage(tmp_path, folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(extraction, "_copy", full)
    with pytest.raises(InputError, match=r"cannot be written \(No space left"):
        extract(make_zip(tmp_path / "a.zip"), folder)
    assert content(folder) == {"set/own.txt": b"mine", "set/mos.csv": b"old"}
    assert [path.name for path in folder.parent.iterdir()] == ["a"]


@pytest.mark.parametrize("ending", ["tar", "tgz", "tbz2", "txz"])
@pytest.mark.parametrize("kind", [b"L", b"K", b"x", b"g", b"X"])
def test_tar_headers_that_are_long_or_many(tmp_path, refused, ending, kind):
    path, entry = tmp_path / f"a.{ending}", header("a.png")
    refused(packed(path, extension(b"a" * 70_000, kind), entry), "a header of 70,000 bytes")
    refused(packed(path, extension(b"a", kind, 2**40), entry), "a header of 1,099,511,627,776 bytes")
    refused(packed(path, extension(b"a", kind, -(10**15)), entry), "a header of -1,000,000,000,000,000 bytes")
    refused(packed(path, extension(b"a", kind) * 2000, entry), "more than 8 headers of one entry")
    refused(packed(path, extension(b"a" * 600, kind)), "expected a whole archive")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"GNU_sparse_realsize": "-1000"}, "a sparse file"),
        ({"GNU_sparse_map": "x,y"}, "a sparse file"),
        ({"GNU_sparse_size": "10"}, "a sparse file"),
        ({"GNU_sparse_major": "1", "GNU_sparse_minor": "0", "GNU_sparse_name": "b.png"}, "a sparse file"),
        ({"size": "-5"}, "'size': '-5'"),
        ({"size": "1e3"}, "'size': '1e3'"),
        ({"size": "9" * 5000}, "'size': '999"),
        ({"size": "9" * 18}, "more than 1,000,000,000 bytes"),
        ({"path": "../a.png"}, "expected a plain path"),
        ({"path": "a/" * 60 + "x.png"}, "at most 50 folders"),
        ({"path": "a\0b"}, "expected a plain path"),
    ],
)
def test_what_pax_headers_say(tmp_path, refused, fields, words):
    refused(packed(tmp_path / "a.tgz", extension(pax(**fields)), header("a.png")), words)
    refused(packed(tmp_path / "a.tar", extension(pax(**fields), b"g"), header("a.png")), "sparse|expected a path and")


def test_pax_fields_of_a_wrong_length(tmp_path, refused):
    for content in (b"0 a=b\n", b"5 abc=d\n", b"99999 a=b\n"):
        refused(packed(tmp_path / "a.tbz2", extension(content), header("a.png")), "another length than it says")


def test_what_other_programs_write_into_tars(tmp_path, folder):
    """Global comments (git), times of parts of a second, long names of both kinds, an old folder, names in Latin-1."""
    parts = [
        *(extension(pax(comment="0" * 40), b"g"), header("set/", kind=tarfile.DIRTYPE), header("old/", kind=b"\0")),
        *(extension(pax(mtime="1.5", path="set/é.png", size="3")), header("other", 0), b"abc" + bytes(509)),
        *(
            extension(b"./././", b"K"),
            extension(b"x" * 90 + b"/" + b"y" * 90 + b"\0", b"L"),
            header("x"),
            header("z", 1),
        ),
        *(b"z" + bytes(511), extension("ü".encode("latin-1"), b"L"), header("u")),
    ]
    assert extract(packed(tmp_path / "a.txz", *parts), folder / "new") == 4
    expected = {"set/é.png": b"abc", f"{'x' * 90}/{'y' * 90}": b"", "z": b"z", "ü": b""}
    assert content(folder / "new") == expected and (folder / "new" / "old").is_dir()


def test_tar_sizes_below_0_and_sparse_entries(tmp_path, refused):
    for path in (tmp_path / "a.tar", tmp_path / "a.txz"):
        refused(packed(path, header("a.png", -1)), "'a.png' has -1 bytes")
        refused(packed(path, header("a.png", -(2**70))), "expected 0 or more")
        refused(packed(path, header("a.png", 2**80)), "more than 1,000,000,000 bytes unpacked")
        refused(packed(path, header("a.png", 0, b"S")), "sparse")
        refused(packed(path, header("a.png", 0, b"V")), "link or a device")


@pytest.mark.parametrize("ending", ["tgz", "tbz2", "txz"])
def test_bombs_behind_the_last_entry(tmp_path, refused, monkeypatch, ending):
    monkeypatch.setattr(extraction, "_ALWAYS", 10**6)
    refused(packed(tmp_path / f"a.{ending}", header("a.png"), bytes(3 * 10**6)), "more than 1,000,000 bytes unpacked")


def test_several_xz_streams_with_zeros_between(tmp_path, folder):
    halves = make_tar(tmp_path / "a.tar").read_bytes()
    pieces = [lzma.compress(halves[:3000]), bytes(70_000), lzma.compress(halves[3000:]), bytes(8)]
    (tmp_path / "a.tar.xz").write_bytes(b"".join(pieces))
    assert extract(tmp_path / "a.tar.xz", folder / "new") == 3 and content(folder / "new") == FILES
    (tmp_path / "a.tar.xz").write_bytes(b"".join(pieces) + b"no stream")
    with pytest.raises(InputError, match="expected a whole archive"):
        extract(tmp_path / "a.tar.xz", folder / "new")


def test_xz_with_a_dictionary_of_much_memory(tmp_path, refused, monkeypatch):
    monkeypatch.setattr(extraction, "_XZ_MEMORY", 2**20)
    refused(make_tar(tmp_path / "a.tar.xz"), "Memory usage limit")


LIMITED = """
import resource, sys
from iqasuite.datasets.extraction import extract
from iqasuite.errors import InputError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    extract(sys.argv[1], sys.argv[2])
except InputError as error:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no getrusage")
def test_memory_that_a_header_of_64_megabytes_takes(tmp_path):
    with gzip.open(tmp_path / "a.tgz", "wb", 1) as file:
        file.write(header("././@LongLink", 2**26, b"L"))
        for _ in range(64):
            file.write(b"a" * 2**20)
        file.write(header("a.png") + bytes(1024))
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "a.tgz"), str(tmp_path / "new")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    grown, message = done.stdout.split(" ", 1)
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(grown) * unit < 2**24 and "a header of 67,108,864 bytes" in message


def test_paths_that_are_deep_or_long(tmp_path, refused, folder):
    for name in ("a/" * 300 + "x", "x" * 256, "é" * 128, "/".join(["x" * 200] * 6)):
        refused(make_zip(tmp_path / "a.zip", FILES | {name: b"x"}), "expected a path of at most|a name of")
        refused(make_tar(tmp_path / "a.tgz", FILES | {name: b"x"}), "expected a path of at most")
    assert extract(make_tar(tmp_path / "a.tgz", {"a/" * 40 + "é" * 127: b"x"}), folder) == 1


def test_zip_names_with_nul(tmp_path, refused):
    archive = make_zip(tmp_path / "a.zip", {"set/a.png": b"1", "set/b.pngXexe": b"2", "Xmore": b"3"})
    archive.write_bytes(archive.read_bytes().replace(b"b.pngX", b"b.png\0"))
    refused(archive, "expected a plain path")
    archive.write_bytes(archive.read_bytes().replace(b"b.png\0", b"b.pngX").replace(b"Xmore", b"\0more"))
    refused(archive, "expected a plain path")


def test_zip_entries_that_share_their_bytes(tmp_path, refused):
    """Many names of one compressed content: small, and within each file's limits."""
    archive = make_zip(tmp_path / "a.zip", {"a.png": bytes(10**4), "b.png": bytes(10**4)})
    data = bytearray(archive.read_bytes())
    second = data.rindex(b"PK\1\2")
    data[second + 42 : second + 46] = bytes(4)  # where it begins
    archive.write_bytes(data)
    refused(archive, "overlap")


def test_zip_offsets_outside_of_the_file(tmp_path, refused):
    archive = make_zip(tmp_path / "a.zip")
    data = bytearray(archive.read_bytes())
    end = data.rindex(b"PK\5\6")
    data[end + 16 : end + 20] = struct.pack("<I", len(data) * 2)  # where the list of entries begins: they move below 0
    archive.write_bytes(data)
    refused(archive, "outside of the file")


def test_zip_lists_of_entries_that_are_large(tmp_path, refused, monkeypatch):
    extra, comment = zipfile.ZipInfo("a.png"), zipfile.ZipInfo("b.png")
    extra.extra, comment.comment = struct.pack("<HH", 99, 0) * 500, b"x" * 5000
    refused(make_zip(tmp_path / "a.zip", {extra: b"1"}), "notes of 2,000 bytes")
    refused(make_zip(tmp_path / "a.zip", {comment: b"1"}), "notes of 5,000 bytes")
    monkeypatch.setattr(extraction, "_MOST_DIRECTORY", 100)
    refused(make_zip(tmp_path / "a.zip"), "a list of entries of .* bytes; expected at most 100")


def test_zip_sizes_above_the_content(tmp_path, refused):
    archive = make_zip(tmp_path / "a.zip", {"a.png": bytes(1234)})
    for size in (1235, 4 * 10**8):
        data = archive.read_bytes().replace((1234).to_bytes(4, "little"), size.to_bytes(4, "little"))
        (tmp_path / "b.zip").write_bytes(data)
        refused(tmp_path / "b.zip", "a file ends before its length")


def test_zip_methods_whose_memory_is_not_bounded(tmp_path, refused):
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
            archive.writestr("a.png", bytes(10**6))
        refused(tmp_path / "a.zip", f"packed by method {method}; expected deflate")


@pytest.mark.parametrize(
    "error", [ValueError("a\nb"), RecursionError(), OverflowError("x"), struct.error("x"), KeyError("x"), MemoryError()]
)
def test_whatever_a_library_of_the_format_raises(tmp_path, refused, monkeypatch, error):
    def raising(*_):
        raise error

    archives = make_tar(tmp_path / "a.tgz"), make_zip(tmp_path / "a.zip")
    monkeypatch.setattr(tarfile.TarInfo, "frombuf", raising)
    monkeypatch.setattr(zipfile.ZipFile, "open", raising)
    for archive in archives:
        refused(archive, "damaged or truncated .[^\n]+.; expected a whole archive$")
