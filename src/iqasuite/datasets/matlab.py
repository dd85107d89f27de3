"""MATLAB's files: numbers and text from any .mat of version 5, 7 or 7.3.

A file's structure is checked before it is read: nothing larger than `LIMIT` is unpacked, nothing outside the file is
followed, and objects of MATLAB's own classes (table, string, datetime) are refused with how to save them instead.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from iqasuite.errors import InputError

if TYPE_CHECKING:
    import h5py

LIMIT = 128 * 2**20  # bytes, unpacked; rating tables have a thousandth of that
CELLS = 10**6  # of a cell array

Value = np.ndarray | list[str]
Parts = list[tuple[int, int, memoryview]]  # elements of version 5 within another: kind, place, content

_MATRIX, _COMPRESSED = 14, 15  # kinds of elements of version 5; those of numbers and text follow
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CODECS = {1: "latin-1", 2: "latin-1", 4: "utf-16-{}", 16: "utf-8", 17: "utf-16-{}", 18: "utf-32-{}"}
_INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
_CLASSES = dict(enumerate(("cell", "struct", "object", "char", "sparse", "double", "single", *_INTEGERS), start=1))
_CLASSES |= {16: "function handle", 17: "opaque"}
_TYPES = {"double": "float64", "single": "float32", "logical": "bool", **{name: name for name in _INTEGERS}}
_INSTEAD = {
    "struct": "its fields one by one, of x = dir(…) {x.name}",
    "table": "its columns one by one: x = x.Name",
    "string": "x = cellstr(x)",
    "categorical": "x = cellstr(x)",
    "datetime": "x = cellstr(datestr(x))",
    "duration": "x = seconds(x)",
    "sparse": "x = full(x)",
}
_BROKEN = (OSError, EOFError, ValueError, TypeError, LookupError, OverflowError, RuntimeError, MemoryError)


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
    if b"\x89HDF\r\n\x1a\n" in (start[:8], start[512:]):
        read = _read_hdf5
    elif start[124:128] in (b"\x00\x01IM", b"\x01\x00MI"):
        read = _read_version_5
    else:
        raise InputError(f"{path}: not a MATLAB file of version 5, 7 or 7.3; expected one saved with -v7 or -v7.3")
    try:
        return read(path, list(names), list(optional))
    except InputError:
        raise
    except (*_BROKEN, struct.error, zlib.error) as error:
        text = " ".join(str(error).split())
        raise InputError(f"{path}: damaged or truncated MATLAB file ({text or type(error).__name__})") from error


def _wanted(present: Collection[str], names: list[str], optional: list[str], path: Path) -> list[str]:
    for name in names:
        if name not in present:
            listed = ", ".join(sorted(present)[:20]) or "(none)"
            raise InputError(f"{path}, variable {name}: missing; the file has {listed}")
    return [*names, *(name for name in optional if name in present)]


def _refuse_class(name: str, where: str) -> None:
    instead = _INSTEAD.get(name, "numbers or a cell array of strings")
    raise InputError(f"{where}: of class {name}, which only MATLAB can read; expected it saved as {instead}")


def _cell(values: list[Value], shape: tuple[int, ...], where: str) -> Value:
    """Content of a cell array whose cells hold one string or one number each, or nothing."""
    for k, value in enumerate(values, 1):
        if (len(value) if isinstance(value, list) else value.size) > 1:
            raise InputError(f"{where}{{{k}}}: more than one value; expected one string or number in a cell")
    text = {isinstance(value, list) for value in values if len(value)}
    if len(text) > 1:
        raise InputError(f"{where}: strings and numbers in one cell array; expected either")
    if text != {False}:
        return [value[0] if len(value) else "" for value in values]
    cells = [np.ravel(value)[0] if np.size(value) else np.nan for value in values]
    return np.array(cells, dtype=np.float64).reshape(shape, order="F")


# Version 5 (-v6, -v7). Elements are (kind, number of bytes, content), nested; a kind of compressed holds one element.
# Layout: MathWorks, "MAT-File Format", R2019b. Read here and not by scipy.io.loadmat, because that can crash the whole
# interpreter on a damaged file (one wrong byte is enough; docs/design.md); the tests compare with what scipy writes.


def _read_version_5(path: Path, names: list[str], optional: list[str]) -> dict[str, Value]:
    if path.stat().st_size > LIMIT:
        raise InputError(f"{path}: {path.stat().st_size} bytes; expected at most {LIMIT}")
    content = path.read_bytes()
    order = "<" if content[126:128] == b"IM" else ">"
    elements, at, room = dict[str, bytes](), 128, LIMIT
    while at < len(content):
        kind, size = struct.unpack_from(order + "II", content, at)
        end = at + 8 + size
        if end > len(content):
            raise InputError(f"{path}: truncated MATLAB file, {len(content)} bytes; expected at least {end}")
        element = _unpacked(content[at + 8 : end], room, path) if kind == _COMPRESSED else content[at:end]
        room -= len(element)
        if struct.unpack_from(order + "I", element)[0] == _MATRIX:
            elements.setdefault(_head(memoryview(element), order)[1], element)
        at = end
    wanted = _wanted(elements, names, optional, path)
    return {name: _matrix(memoryview(elements[name]), order, f"{path}, variable {name}") for name in wanted}


def _unpacked(packed: bytes, room: int, path: Path) -> bytes:
    unpacking = zlib.decompressobj()
    element = unpacking.decompress(packed, room + 1)
    if len(element) > room:
        raise InputError(f"{path}: unpacks to more than {LIMIT} bytes; expected ratings")
    if not unpacking.eof:
        raise InputError(f"{path}: truncated MATLAB file; a variable ends early")
    return element


def _parts(element: memoryview, order: str) -> Parts:
    """Elements within a matrix; ValueError where one is longer than what holds it."""
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


def _head(element: memoryview, order: str) -> tuple[str, str, tuple[int, ...], Parts]:
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
    if kind != "char" and kind not in _TYPES:
        _refuse_class(kind, where)
    stored, content = (parts[0][0], bytes(parts[0][2])) if parts else (2, b"")
    if kind == "char":
        return _text(content.decode(_CODECS[stored].format("le" if order == "<" else "be")), shape, where)
    return np.frombuffer(content, order + _STORED[stored]).reshape(shape, order="F").astype(_TYPES[kind])


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
        wanted = _wanted([name for name in file if not name.startswith("#")], names, optional, path)
        for name in wanted:
            if not isinstance(file.get(name, getlink=True), h5py.HardLink):
                raise InputError(f"{path}, variable {name}: a link, maybe to another file; expected the data")
        return {name: _hdf5_value(file, file[name], f"{path}, variable {name}") for name in wanted}


def _hdf5_value(file: h5py.File, node: h5py.Dataset | h5py.Group, where: str, depth: int = 0) -> Value:
    kind = _checked_class(node, where)
    if node.attrs.get("MATLAB_empty", 0):
        shape = tuple(int(n) for n in np.ravel(node[()])[:8])
        return [] if kind in ("cell", "char") or 0 not in shape else np.zeros(shape)
    if kind == "cell":
        if depth > 4 or (depth and node.size > 1):
            raise InputError(f"{where}: cells in cells in cells; expected one string or number in a cell")
        if node.size > CELLS:
            raise InputError(f"{where}: {node.size} cells; expected at most {CELLS}")
        cells = [file[reference] for reference in node[()].ravel()]
        _check_room(cells, where)
        # HDF5 has the transpose, so that its order by rows is MATLAB's by columns.
        return _cell([_hdf5_value(file, cell, where, depth + 1) for cell in cells], node.shape[::-1], where)
    values = node[()].T
    if kind == "char":
        if values.ndim != 2:
            raise InputError(f"{where}: text of shape {values.shape}; expected a matrix of characters")
        return [row.astype("<u2").tobytes().decode("utf-16-le").rstrip(" ") for row in values]
    return values.astype(bool) if kind == "logical" else values


def _checked_class(node: h5py.Dataset | h5py.Group, where: str) -> str:
    """MATLAB's class of cells, text or numbers ("": none); refuses all others, and what is not in the file itself."""
    import h5py

    name = node.attrs.get("MATLAB_class", b"")
    kind = name.decode("latin-1") if isinstance(name, bytes) else str(name)
    if not isinstance(node, h5py.Dataset):
        _refuse_class("sparse" if "MATLAB_sparse" in node.attrs else kind or "struct", where)
    if node.external or node.is_virtual:
        raise InputError(f"{where}: kept in another file; expected the data themselves")
    _check_room([node], where)
    if kind == "cell":
        if not node.attrs.get("MATLAB_empty", 0) and h5py.check_ref_dtype(node.dtype) is not h5py.Reference:
            raise InputError(f"{where}: a cell array of {node.dtype}; expected references to its cells")
    elif kind not in {"", "char", *_TYPES}:
        _refuse_class(kind, where)
    elif node.dtype.kind not in ("iu" if kind == "char" else "biuf"):
        raise InputError(f"{where}: values of type {node.dtype}; expected numbers or text as MATLAB saves them")
    return kind


def _check_room(nodes: list[h5py.Dataset | h5py.Group], where: str) -> None:
    """Reading takes the values, or one chunk of them where that is more."""
    import h5py

    arrays = [node for node in nodes if isinstance(node, h5py.Dataset)]
    size = sum(max(node.size or 0, math.prod(node.chunks or (0,))) * node.dtype.itemsize for node in arrays)
    if size > LIMIT:
        raise InputError(f"{where}: {size} bytes; expected at most {LIMIT}")
