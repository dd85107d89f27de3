"""TIFF files whose first image is not what it seems, and what is in those that Pillow does not open."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import BinaryIO

from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from iqasuite.errors import InputError

RAW = "a camera's raw file, whose first image is a thumbnail or a preview"
WIDTH, HEIGHT, BITS, PHOTOMETRIC, SAMPLES, SAMPLE_FORMAT = 256, 257, 258, 262, 277, 339
_KIND, _OLD_KIND, _COMPRESSION, _PLANES, _BELOW, _DNG = 254, 255, 259, 284, 330, 50706
_FAX_OR_JPEG = (2, 3, 4, 6, 7)  # compressions that say themselves what black is
_FORMATS = {1: "unsigned integers", 2: "signed integers", 3: "floating point", 5: "complex", 6: "complex"}
_COLOURS = {0: "gray, white is zero", 1: "gray", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr", 8: "Lab"}
_SENSORS = {32803: "a sensor's mosaic", 34892: "a sensor's linear values"}
_log = logging.getLogger(__name__)


def check(image: Image.Image, path: Path) -> None:
    """Refuse an opened TIFF whose pixels Pillow would return, but not as they are.

    Raises:
        InputError: a raw file of a camera, a first image that is a thumbnail, 16-bit samples in separate planes,
            signed 8-bit samples, gray levels of which neither end is said to be black.
    """
    tags = image.tag_v2
    if _DNG in tags:
        raise InputError(f"{path}: {RAW}; expected a developed image (develop it first)")
    if PHOTOMETRIC not in tags and tags.get(_COMPRESSION, 1) not in _FAX_OR_JPEG:
        raise InputError(f"{path}: TIFF that does not say whether black or white is zero; expected its photometric tag")
    size = tags[WIDTH], tags[HEIGHT]
    larger = [other for other in _sizes_below(image) if other > size]
    if larger or tags.get(_KIND, 0) & 1 or tags.get(_OLD_KIND) == 2:
        first = f"its first image ({size[0]}×{size[1]} pixels) is a thumbnail or a reduced one"
        if larger or tags.next or _BELOW in tags:
            raise InputError(f"{path}: {first}; expected the image itself first: develop or convert the file first")
        _log.warning("%s: %s by its tags, but there is no other", path, first)
    bits = max(several(tags.get(BITS, 1)))
    if tags.get(_PLANES) == 2 and bits > 8:
        # Pillow takes such samples for bytes and returns another image, without a word.
        raise InputError(f"{path}: 16-bit TIFF with separate planes; expected interleaved ones (or PNG)")
    if bits == 8 and 2 in several(tags.get(SAMPLE_FORMAT, 1)):  # Pillow takes them for unsigned ones
        raise InputError(f"{path}: signed 8-bit values, whose range is not known; expected unsigned ones")


def described(path: Path) -> str:
    """What the first image of a TIFF file consists of, in words; "" where its tags cannot be read."""
    try:
        with open(path, "rb") as file:
            tags = _directory(file)
            file.seek(tags.next)
            tags.load(file)
        bits, formats = several(tags.get(BITS, 1)), several(tags.get(SAMPLE_FORMAT, 1))
        colour = tags.get(PHOTOMETRIC)
        samples = f"{tags.get(SAMPLES, 1)} × {max(bits)} bits, {_FORMATS.get(formats[0], 'of no known format')}"
        return f"{(_COLOURS | _SENSORS).get(colour, f'photometric {colour}')}, {samples}" if WIDTH in tags else ""
    except Exception:  # broken tags: the caller says so
        return ""


def several(value: object) -> tuple:
    """The values of a tag, which Pillow unpacks where there is one."""
    return value if isinstance(value, tuple) and value else (value,)


def _directory(file: BinaryIO) -> ImageFileDirectory_v2:
    file.seek(0)
    head = file.read(8)
    return ImageFileDirectory_v2(head + file.read(8) if head[2] == 43 else head)


def _sizes_below(image: Image.Image) -> list[tuple[int, int]]:
    """(width, height) of the images below the first one, where raw files have theirs; those that can be read."""
    sizes, file = [], image.fp
    place = file.tell()
    try:
        for offset in several(image.tag_v2[_BELOW]) if _BELOW in image.tag_v2 else ():
            below = _directory(file)
            file.seek(offset)
            below.load(file)
            sizes.append((below[WIDTH], below[HEIGHT]))
    except Exception as error:  # broken metadata: the first image is all there is
        _log.debug("%s: images below the first cannot be read (%s)", image.filename, error)
    file.seek(place)
    return sizes
