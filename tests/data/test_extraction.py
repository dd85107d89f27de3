"""Archives that are well are unpacked; those that are not leave the folder as it was."""

import gzip
import io
import os
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from iqasuite.data import extraction
from iqasuite.data.extraction import extract, is_archive
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

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="No space left"):
        extract(make_zip(tmp_path / "a.zip"), folder)
    assert content(folder) == {"set/own.txt": b"mine", "set/mos.csv": b"old"}
    assert [path.name for path in folder.parent.iterdir()] == ["a"]
