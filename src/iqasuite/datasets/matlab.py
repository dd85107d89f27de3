"""MATLAB's files: numbers and text from any .mat of version 5, 7 or 7.3, and the rating sessions that MATLAB saved.

A file's structure is checked before it is read: nothing larger than `LIMIT` is unpacked, nothing outside the file is
followed, and objects of MATLAB's own classes (table, string, datetime) are refused with how to save them instead.
"""

from __future__ import annotations

import logging
import math
import re
import struct
import zlib
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from iqasuite.datasets.frames import VOTE_SCALE, VOTES, validate
from iqasuite.errors import InputError

if TYPE_CHECKING:
    import h5py

_log = logging.getLogger(__name__)

LIMIT = 128 * 2**20  # bytes, unpacked; rating tables have a thousandth of that
CELLS = 10**6  # of a cell array

Value = np.ndarray | list[str]

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")  # in any locale
_TIME = re.compile(r"(\d{1,2})-([A-Z][a-z]{2})-(\d{4}) (\d{2}):(\d{2}):(\d{2})")
_DAYS_BEFORE_PYTHON = 366  # datenum 1 is 1 January of year 0, Python's day 1 that of year 1
_DATENUM = (datetime(1990, 1, 1).toordinal() + 366, datetime(2100, 1, 1).toordinal() + 366)

_UINT8, _MATRIX, _COMPRESSED = 2, 14, 15  # kinds of elements of version 5
_STORED = {1: "i1", _UINT8: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TYPE = {"double": "float64", "single": "float32", "logical": "bool"}
_CLASSES = {1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse", 16: "function handle", 17: "opaque"}
_CLASSES |= {6: "double", 7: "single", 8: "int8", 9: "uint8", 10: "int16", 11: "uint16"}
_CLASSES |= {12: "int32", 13: "uint32", 14: "int64", 15: "uint64"}
_NUMERIC = {name for number, name in _CLASSES.items() if 6 <= number <= 15} | {"logical"}
_INSTEAD = {
    "struct": "its fields one by one, of x = dir(…) {x.name}",
    "table": "its columns one by one: x = x.Name",
    "string": "x = cellstr(x)",
    "categorical": "x = cellstr(x)",
    "datetime": "x = cellstr(datestr(x))",
    "duration": "x = seconds(x)",
    "sparse": "x = full(x)",
}
_BROKEN = (
    *(OSError, EOFError, ValueError, TypeError, KeyError, IndexError, OverflowError, RuntimeError, NotImplementedError),
    *(MemoryError, struct.error, zlib.error),
)


def read_mat(path: Path | str, names: Sequence[str], optional: Sequence[str] = ()) -> dict[str, Value]:
    """Variables of a .mat file, the same whichever version it was saved in (-v6, -v7, -v7.3).

    Args:
        path: the file.
        names: variables that it must have.
        optional: variables that it may have; absent ones are left out of the result.

    Returns:
        Name -> array of MATLAB's type and shape (at least two dimensions), or the list of strings of a char array or of
        a cell array of strings, column by column. A cell array of numbers is an array, [] in it nan.

    Raises:
        InputError: the file is missing, damaged, truncated or no .mat of these versions; a variable is missing, unpacks
            to more than `LIMIT` bytes, lies in another file, is complex or of a class other than numbers, char, cell.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            start = file.read(520)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected a MATLAB file (.mat)") from error
    read = None
    if b"\x89HDF\r\n\x1a\n" in (start[:8], start[512:]):
        read = _read_hdf5
    elif start[124:128] in (b"\x00\x01IM", b"\x01\x00MI"):
        read = _read_version_5
    if read is None:
        raise InputError(f"{path}: not a MATLAB file of version 5, 7 or 7.3; expected one saved with -v7 or -v7.3")
    try:
        return read(path, list(names), list(optional))
    except InputError:
        raise
    except _BROKEN as error:
        text = " ".join(str(error).split())
        raise InputError(f"{path}: damaged or truncated MATLAB file ({text or type(error).__name__})") from error


def read_mat_session(
    path: Path | str, observer: str = "", session: int = 1, known_images: Collection[str] | None = None
) -> pd.DataFrame:
    """One rating session that MATLAB saved: `imgList`, `voteList`; maybe `sortTable`, `drtList`, `voteTime`.

    Votes, durations and times are taken to be in the order shown. That order is `sortTable`: image k shown is
    `imgList{sortTable(k)}` where it holds numbers (1-based, each once), `sortTable{k}` where it holds names. Without
    `sortTable` the images were shown in the order of `imgList`. A vote of nan or 0 means "not voted": that row is left
    out. Times are text (24-Jan-2023 10:51:16) or datenum, rounded to whole seconds.

    Args:
        path: .mat file.
        observer: who voted; "" = the file's name without its ending.
        session: which session this is.
        known_images: names that may occur; None = any.

    Returns:
        Votes frame in the order shown, `position` counting the votes from 1.

    Raises:
        InputError: all of `read_mat`'s; lengths that differ, an order that is none, a vote outside 1–5, an image twice
            or unknown, a negative duration, a time that is none. The message names the file and the variable.
    """
    path = Path(path)
    found = read_mat(path, ["imgList", "voteList"], ["sortTable", "drtList", "voteTime"])
    images = _images_shown(found, path)
    n = len(images)
    votes = _numbers(found["voteList"], n, f"{path}, variable voteList", "a vote per image")
    low, high = VOTE_SCALE
    voted = ~(np.isnan(votes) | (votes == 0))
    wrong = voted & ~(np.isin(votes, np.arange(low, high + 1)))
    if wrong.any():
        k = int(np.flatnonzero(wrong)[0])
        raise InputError(
            f"{path}, variable voteList({k + 1}): found {votes[k]:g}, expected a whole number {low} to {high}"
        )
    if not voted.any():
        raise InputError(f"{path}, variable voteList: no votes; expected at least one")
    if not voted.all():
        _log.info("%s: %d of %d images were not voted on; left out", path, int((~voted).sum()), n)
    durations = np.full(n, np.nan)
    if "drtList" in found:
        durations = _numbers(found["drtList"], n, f"{path}, variable drtList", "a duration per image")
        wrong = voted & ((durations < 0) | np.isinf(durations))
        if wrong.any():
            k = int(np.flatnonzero(wrong)[0])
            raise InputError(f"{path}, variable drtList({k + 1}): found {durations[k]:g}, expected seconds, 0 or more")
    times = _times(found.get("voteTime"), voted, f"{path}, variable voteTime")
    if known_images is not None:
        unknown = sorted(set(images) - set(known_images))
        if unknown:
            raise InputError(
                f"{path}: {len(unknown)} images unknown, {unknown[0]!r} first; expected the set's {len(known_images)}"
            )
    frame = pd.DataFrame({"image": images, "vote": votes, "duration": durations, "timestamp": times})[voted]
    frame["observer"], frame["session"], frame["position"] = (
        observer or path.stem,
        session,
        np.arange(1, len(frame) + 1),
    )
    return validate(frame[list(VOTES)], "votes", str(path))


def time_of_text(text: str) -> datetime:
    """The time that MATLAB writes as `24-Jan-2023 10:51:16`.

    Raises:
        ValueError: the text is none.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None or match[2] not in _MONTHS:
        raise ValueError(f"{text!r}: expected a time like 24-Jan-2023 10:51:16")
    day, month, year, hours, minutes, seconds = match.groups()
    return datetime(int(year), _MONTHS.index(month) + 1, int(day), int(hours), int(minutes), int(seconds))


def text_of_time(time: datetime | pd.Timestamp) -> str:
    """The same the other way round."""
    return f"{time.day:02d}-{_MONTHS[time.month - 1]}-{time.year:04d} {time:%H:%M:%S}"


def time_of_datenum(days: float) -> datetime:
    """The time of a serial date number: days since 0 January of year 0, rounded to whole seconds.

    Raises:
        ValueError: not in 1990 to 2100, hence no date number.
    """
    if not _DATENUM[0] <= days < _DATENUM[1]:
        raise ValueError(f"{days:g}: expected a date number of the years 1990 to 2100")
    whole = math.floor(days)
    start = datetime.fromordinal(whole - _DAYS_BEFORE_PYTHON)
    return start + timedelta(seconds=round((days - whole) * 86400))


def _images_shown(found: dict[str, Value], path: Path) -> list[str]:
    """Names of the images in the order shown."""
    images = [name.strip() for name in _names(found["imgList"], f"{path}, variable imgList")]
    _check_unique(images, f"{path}, variable imgList")
    if "sortTable" not in found:
        return images
    order, where = found["sortTable"], f"{path}, variable sortTable"
    if isinstance(order, list):
        shown = [name.strip() for name in order]
        if len(shown) != len(images):
            raise InputError(f"{where}: {len(shown)} names; expected {len(images)}, one per image of imgList")
        _check_unique(shown, where)
        strange = [name for name in shown if name not in set(images)]
        if strange:
            raise InputError(f"{where}: {strange[0]!r} is not in imgList; expected the same {len(images)} names")
        return shown
    numbers = _numbers(order, len(images), where, "a number per image of imgList")
    if not np.array_equal(np.sort(numbers), np.arange(1, len(images) + 1)):
        outside = numbers[~np.isin(numbers, np.arange(1, len(images) + 1))]
        found_text = f"{outside[0]:g}" if len(outside) else "a number twice"
        raise InputError(f"{where}: found {found_text}; expected each of 1 to {len(images)} once")
    return [images[int(number) - 1] for number in numbers]


def _names(value: Value, where: str) -> list[str]:
    if not isinstance(value, list):
        raise InputError(f"{where}: numbers of shape {value.shape}; expected a cell array of image names")
    empty = [k for k, name in enumerate(value, 1) if not name.strip()]
    if empty or not value:
        raise InputError(f"{where}: no name at {empty[0] if empty else 1}; expected a cell array of image names")
    return value


def _check_unique(names: list[str], where: str) -> None:
    twice = pd.Series(names)[pd.Series(names).duplicated()]
    if len(twice):
        raise InputError(f"{where}({twice.index[0] + 1}): {twice.iloc[0]!r} a second time; expected each image once")


def _numbers(value: Value, n: int, where: str, what: str) -> np.ndarray:
    """A vector of either orientation as float64, shape (n,)."""
    if isinstance(value, list):
        raise InputError(f"{where}: text; expected {n} numbers, {what}")
    if value.size != n or max(value.shape, default=0) != n:
        raise InputError(f"{where}: shape {value.shape}; expected a vector of {n}, {what}")
    return value.ravel().astype(np.float64)


def _times(value: Value | None, voted: np.ndarray, where: str) -> list[datetime]:
    if value is None:
        return [pd.NaT] * len(voted)
    convert: Callable[[Any], datetime]
    if isinstance(value, list):
        if len(value) != len(voted):
            raise InputError(f"{where}: {len(value)} times; expected {len(voted)}, one per image")
        missing, convert = [not text.strip() for text in value], time_of_text
    else:
        value = _numbers(value, len(voted), where, "a time per image")
        missing, convert = np.isnan(value) | (value == 0), time_of_datenum
    times = []
    for k, given in enumerate(value):
        try:
            times.append(pd.NaT if missing[k] or not voted[k] else convert(given))
        except ValueError as error:
            raise InputError(f"{where}({k + 1}): {error}") from error
    return times


def _check_present(present: Sequence[str], names: list[str], path: Path) -> None:
    for name in names:
        if name not in present:
            shown = ", ".join(sorted(present)[:20]) or "(none)"
            raise InputError(f"{path}, variable {name}: missing; the file has {shown}")


def _refuse_class(name: str, where: str) -> None:
    instead = _INSTEAD.get(name, "numbers or a cell array of strings")
    raise InputError(f"{where}: of class {name}, which only MATLAB can read; expected it saved as {instead}")


def _cell(values: list[Value], shape: tuple[int, ...], where: str) -> Value:
    """Content of a cell array whose cells hold one string or one number each, or nothing."""
    for k, value in enumerate(values, 1):
        if (len(value) if isinstance(value, list) else value.size) > 1:
            raise InputError(f"{where}{{{k}}}: more than one value; expected one string or number in a cell")
    text = [isinstance(value, list) for value in values if len(value)]
    if all(text):
        return [value[0] if len(value) else "" for value in values]
    if any(text):
        raise InputError(f"{where}: strings and numbers in one cell array; expected either")
    cells = [np.nan if isinstance(value, list) or not value.size else value.item() for value in values]
    flat = np.array(cells, dtype=np.float64)
    return flat.reshape(shape, order="F")


# Version 5 (-v6, -v7). Elements are (kind, number of bytes, content), nested; a kind of compressed holds one element.
# Layout: MathWorks, "MAT-File Format", R2019b. Read here and not by scipy.io.loadmat, because that can crash the whole
# interpreter on a damaged file (1.17; one wrong byte is enough); the tests compare with what scipy writes.


def _read_version_5(path: Path, names: list[str], optional: list[str]) -> dict[str, Value]:
    if path.stat().st_size > LIMIT:
        raise InputError(f"{path}: {path.stat().st_size} bytes; expected at most {LIMIT}")
    content = path.read_bytes()
    order = "<" if content[126:128] == b"IM" else ">"
    elements = _elements_of_file(content, order, path)
    _check_present(list(elements), names, path)
    wanted = [*names, *(name for name in optional if name in elements)]
    return {name: _matrix(memoryview(elements[name]), order, f"{path}, variable {name}") for name in wanted}


def _elements_of_file(content: bytes, order: str, path: Path) -> dict[str, bytes]:
    """Name -> element of kind matrix, unpacked, of all variables of the file."""
    elements, at, room = dict[str, bytes](), 128, LIMIT
    while at < len(content):
        kind, size = struct.unpack_from(order + "II", content, at)
        end = at + 8 + size
        if end > len(content):
            raise InputError(f"{path}: truncated MATLAB file, {len(content)} bytes; expected at least {end}")
        element = _unpacked(content[at + 8 : end], room, path) if kind == _COMPRESSED else content[at:end]
        room -= len(element)
        if struct.unpack_from(order + "I", element)[0] == _MATRIX:
            name = _head(memoryview(element), order)[1]
            elements.setdefault(name, element)
        at = end
    return elements


def _unpacked(packed: bytes, room: int, path: Path) -> bytes:
    unpacking = zlib.decompressobj()
    element = unpacking.decompress(packed, room + 1)
    if len(element) > room:
        raise InputError(f"{path}: unpacks to more than {LIMIT} bytes; expected ratings")
    if not unpacking.eof:
        raise InputError(f"{path}: truncated MATLAB file; a variable ends early")
    return element


def _parts(element: memoryview, order: str) -> list[tuple[int, int, memoryview]]:
    """Elements within a matrix: kind, place, content; ValueError where one is longer than what holds it."""
    size = struct.unpack_from(order + "I", element, 4)[0]
    if 8 + size > len(element):
        raise ValueError("an element is longer than what holds it")
    parts, at, stop = [], 8, 8 + size
    while at < stop:
        kind = struct.unpack_from(order + "I", element, at)[0]
        if kind >> 16:  # up to four bytes are kept in the head itself
            start, length, following = at + 4, kind >> 16, at + 8
        else:
            length = struct.unpack_from(order + "I", element, at + 4)[0]
            start, following = at + 8, at + 8 + (length if kind == _MATRIX else -(-length // 8) * 8)
        if start + length > stop or (kind >> 16 and length > 4):
            raise ValueError("an element is longer than what holds it")
        parts.append((kind & 0xFFFF, at, element[start : start + length]))
        at = following
    return parts


def _head(element: memoryview, order: str) -> tuple[str, str, tuple[int, ...], list[tuple[int, int, memoryview]]]:
    """Class, name, shape and what follows of a matrix."""
    parts = _parts(element, order)
    flags = struct.unpack_from(order + "I", parts[0][2])[0]
    kind = _CLASSES.get(flags & 0xFF, "unknown")
    if kind == "opaque":  # name, "MCOS", class; no shape
        name, _, kind = (bytes(part[2]).decode("latin-1") for part in parts[1:4])
        return kind, name, (), []
    if flags & 0x0800:
        kind = "complex numbers"
    elif flags & 0x0200:
        kind = "logical"
    shape = struct.unpack(f"{order}{len(parts[1][2]) // 4}i", parts[1][2])
    if len(shape) < 2 or min(shape) < 0:
        raise ValueError(f"shape {shape}")
    return kind, bytes(parts[2][2]).decode("latin-1"), shape, parts[3:]


def _matrix(element: memoryview, order: str, where: str, depth: int = 0) -> Value:
    """Value of an element of kind matrix."""
    if depth and struct.unpack_from(order + "I", element, 4)[0] == 0:  # [] in a cell
        return np.zeros((0, 0))
    kind, _, shape, parts = _head(element, order)
    if kind == "cell":
        if depth > 4:
            raise InputError(f"{where}: cells in cells in cells; expected one string or number in a cell")
        if math.prod(shape) != len(parts) or any(part[0] != _MATRIX for part in parts):
            raise ValueError(f"{len(parts)} cells for shape {shape}")
        cells = [element[at : at + 8 + len(content)] for _, at, content in parts]
        return _cell([_matrix(cell, order, where, depth + 1) for cell in cells], shape, where)
    if kind not in {"char", *_NUMERIC}:
        _refuse_class(kind, where)
    stored, content = (parts[0][0], bytes(parts[0][2])) if parts else (_UINT8, b"")
    if kind == "char":
        return _text(content.decode(_codec(stored, order)), shape, where)
    values = np.frombuffer(content, np.dtype(order + _STORED[stored])).reshape(shape, order="F")
    return values.astype(_TYPE.get(kind, kind))


def _codec(stored: int, order: str) -> str:
    end = "le" if order == "<" else "be"
    codecs = {
        1: "latin-1",
        _UINT8: "latin-1",
        4: f"utf-16-{end}",
        16: "utf-8",
        17: f"utf-16-{end}",
        18: f"utf-32-{end}",
    }
    return codecs[stored]


def _text(text: str, shape: tuple[int, ...], where: str) -> list[str]:
    """Rows of a char matrix, kept column by column. Its shape counts UTF-16 units; in scipy's files, characters."""
    if len(shape) != 2:
        raise InputError(f"{where}: text of shape {shape}; expected a matrix of characters")
    codec, unit = ("utf-32-le", "<u4") if len(text) == math.prod(shape) else ("utf-16-le", "<u2")
    units = np.frombuffer(text.encode(codec), unit).reshape(shape, order="F")
    return [row.tobytes().decode(codec).rstrip(" ") for row in units] if units.size else []


# Version 7.3: HDF5, arrays transposed, text as UTF-16 units, a cell array as references to its cells.


def _read_hdf5(path: Path, names: list[str], optional: list[str]) -> dict[str, Value]:
    import h5py  # here, because few need it

    with h5py.File(path, "r") as file:
        present = [name for name in file if not name.startswith("#")]
        _check_present(present, names, path)
        wanted = [*names, *(name for name in optional if name in present)]
        for name in wanted:
            if not isinstance(file.get(name, getlink=True), h5py.HardLink):
                raise InputError(
                    f"{path}, variable {name}: a link, maybe to another file; expected the data themselves"
                )
        return {name: _hdf5_value(file, file[name], f"{path}, variable {name}") for name in wanted}


def _hdf5_value(file: h5py.File, node: h5py.Dataset | h5py.Group, where: str, depth: int = 0) -> Value:
    kind = _check_node(node, where)
    if node.attrs.get("MATLAB_empty", 0):
        shape = tuple(int(n) for n in np.ravel(node[()])[:8])
        return [] if kind != "numbers" or 0 not in shape else np.zeros(shape)
    if kind == "cell":
        if depth > 4 or (depth and node.size > 1):
            raise InputError(f"{where}: cells in cells in cells; expected one string or number in a cell")
        if node.size > CELLS:
            raise InputError(f"{where}: {node.size} cells; expected at most {CELLS}")
        cells = [file[reference] for reference in node[()].ravel()]
        _check_room(sum(_bytes(cell) for cell in cells), where)
        # HDF5 has the transpose, so that its order by rows is MATLAB's by columns.
        return _cell([_hdf5_value(file, cell, where, depth + 1) for cell in cells], node.shape[::-1], where)
    values = node[()].T
    if kind == "char":
        if values.ndim != 2:
            raise InputError(f"{where}: text of shape {values.shape}; expected a matrix of characters")
        return [row.astype("<u2").tobytes().decode("utf-16-le").rstrip(" ") for row in values]
    return values.astype(bool) if _matlab_class(node) == "logical" else values


def _check_node(node: h5py.Dataset | h5py.Group, where: str) -> str:
    """Which of cell, char and numbers this is; refuses everything else, and what is not in the file itself."""
    import h5py

    kind = _matlab_class(node)
    if not isinstance(node, h5py.Dataset):
        _refuse_class(
            "struct" if kind in ("", "struct") else "sparse" if "MATLAB_sparse" in node.attrs else kind, where
        )
    if node.external or node.is_virtual:
        raise InputError(f"{where}: kept in another file; expected the data themselves")
    _check_room(_bytes(node), where)
    if kind == "cell":
        empty = node.attrs.get("MATLAB_empty", 0)
        if not empty and h5py.check_ref_dtype(node.dtype) is not h5py.Reference:
            raise InputError(f"{where}: a cell array of {node.dtype}; expected references to its cells")
        return "cell"
    if kind not in {"", "char", *_NUMERIC}:
        _refuse_class(kind, where)
    if node.dtype.kind not in ("iu" if kind == "char" else "biuf"):
        raise InputError(f"{where}: values of type {node.dtype}; expected numbers or text as MATLAB saves them")
    return "char" if kind == "char" else "numbers"


def _matlab_class(node: h5py.Dataset | h5py.Group) -> str:
    name = node.attrs.get("MATLAB_class", b"")
    return name.decode("latin-1") if isinstance(name, bytes) else str(name)


def _bytes(node: h5py.Dataset | h5py.Group) -> int:
    """What reading takes: the values, or one chunk of them where that is more."""
    if not hasattr(node, "chunks"):
        return 0
    return max(node.size or 0, math.prod(node.chunks or (0,))) * node.dtype.itemsize


def _check_room(size: int, where: str) -> None:
    if size > LIMIT:
        raise InputError(f"{where}: {size} bytes; expected at most {LIMIT}")
