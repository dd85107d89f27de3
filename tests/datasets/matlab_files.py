"""Writes the variables of a test as MATLAB would: version 7 with scipy, version 7.3 as HDF5 in MATLAB's layout."""

from pathlib import Path

import h5py
import numpy as np
from scipy.io import savemat


def save(path: Path, variables: dict, version: str) -> Path:
    """Save arrays, strings and lists (cell arrays) under their names; version "6", "7" or "7.3"."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if version == "7.3":
        return save_hdf5(path, variables)
    cells = {name: as_cell(value) if isinstance(value, list) else value for name, value in variables.items()}
    savemat(path, cells, do_compression=version == "7", oned_as="column")
    return path


def as_cell(values: list) -> np.ndarray:
    """A list as scipy's cell array, one column; lists in it are cells in cells."""
    cell = np.empty((len(values), 1), dtype=object)
    for i, value in enumerate(values):
        cell[i, 0] = as_cell(value) if isinstance(value, list) else value
    return cell


def save_hdf5(path: Path, variables: dict) -> Path:
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            put(file, file, name, value)
    head = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    with open(path, "r+b") as file:
        file.write(head)
    return path


def put(file: h5py.File, group: h5py.Group, name: str, value) -> h5py.Dataset:
    """One variable in MATLAB's layout: transposed, with its class as attribute; empty ones as their shape."""
    if isinstance(value, list):
        cells = file.require_group("#refs#")
        references = np.empty((1, len(value)), dtype=h5py.ref_dtype)
        for i, cell in enumerate(value):
            references[0, i] = put(file, cells, f"{name}.{i}", cell).ref
        return with_class(group.create_dataset(name, data=references, dtype=h5py.ref_dtype), "cell")
    if isinstance(value, str):
        units = np.frombuffer(value.encode("utf-16-le"), dtype="<u2")
        data = with_class(group.create_dataset(name, data=units[:, None] if value else [0, 0], dtype="u2"), "char")
        if not value:
            data.attrs["MATLAB_empty"] = np.uint8(1)
        return data
    value = np.atleast_2d(value)
    if value.dtype.kind == "U":  # a char matrix: one string a row
        rows = np.array([[ord(c) for c in row.ljust(value.itemsize // 4)] for row in value.ravel()], dtype="u2")
        return with_class(group.create_dataset(name, data=rows.T), "char")
    kind = {"float64": "double", "bool": "logical", "float32": "single"}.get(value.dtype.name, value.dtype.name)
    if value.size == 0:
        data = with_class(group.create_dataset(name, data=np.array(value.shape, dtype="u8")), kind)
        data.attrs["MATLAB_empty"] = np.uint8(1)
        return data
    stored = value.astype("u1") if kind == "logical" else value
    return with_class(group.create_dataset(name, data=stored.T), kind)


def with_class(data: h5py.Dataset, name: str) -> h5py.Dataset:
    data.attrs["MATLAB_class"] = np.bytes_(name)
    return data
