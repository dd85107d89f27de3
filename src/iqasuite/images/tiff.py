"""TIFF files whose first image is not what it seems, and the tags of those that Pillow does not open."""

from __future__ import annotations

import logging
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from PIL import Image, ImagePalette
from PIL.TiffImagePlugin import TiffImageFile

from iqasuite.errors import InputError

RAW = "a camera's raw file, whose first image is a thumbnail or a preview"
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, SAMPLE_FORMAT = 256, 257, 258, 259, 262, 277, 339
_KIND, _OLD_KIND, _PLANES, _COLOURMAP, _BELOW, _DNG = 254, 255, 284, 320, 330, 50706
_FAX_OR_JPEG = (2, 3, 4, 6, 7)  # compressions that say themselves what black is
_INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}  # TIFF's types of tags that are read here
_FORMATS = {1: "unsigned integers", 2: "signed integers", 3: "floating point", 5: "complex", 6: "complex"}
_COLOURS = {0: "gray, white is zero", 1: "gray", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr", 8: "Lab"}
_SENSORS = {32803: "a sensor's mosaic", 34892: "a sensor's linear values"}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Directory:
    """The tags of one image of a TIFF file, as they are stored.

    Attributes:
        order: "<" or ">".
        big: whether this is a BigTIFF.
        entries: tag -> its 12 or 20 bytes.
    """

    order: str
    big: bool
    entries: dict[int, bytes]

    @classmethod
    def read(cls, file: IO[bytes], place: int | None = None) -> Directory:
        """The directory at a place of the file; None = the first one.

        Raises:
            struct.error: the file ends before.
        """
        file.seek(0)
        head = file.read(16)
        order, big = "<" if head[:2] == b"II" else ">", 43 in head[2:4]
        if place is None:
            (place,) = struct.unpack_from(order + "Q" if big else order + "I", head, 8 if big else 4)
        file.seek(place)
        count, size = (order + "Q", 20) if big else (order + "H", 12)
        (number,) = struct.unpack(count, file.read(struct.calcsize(count)))
        entries = [file.read(size) for _ in range(min(number, 1000))]
        return cls(order, big, {struct.unpack_from(order + "H", e)[0]: e for e in entries if len(e) == size})

    def integers(self, tag: int, file: IO[bytes]) -> tuple[int, ...]:
        """The values of a tag; () where it is not there or no integer."""
        entry = self.entries.get(tag, bytes(20))
        kind, number = struct.unpack_from(self.order + ("HQ" if self.big else "HI"), entry, 2)
        if kind not in _INTEGERS or not 0 < number < 1000:
            return ()
        format = f"{self.order}{number}{_INTEGERS[kind]}"
        held = entry[12 if self.big else 8 :]
        if struct.calcsize(format) > len(held):
            file.seek(*struct.unpack(self.order + ("Q" if self.big else "I"), held))
            held = file.read(struct.calcsize(format))
        return struct.unpack_from(format, held)


def tags_of(image: Image.Image) -> Mapping[int, Any]:
    """The tags of an opened image, none of any other format than TIFF."""
    return image.tag_v2 if isinstance(image, TiffImageFile) and image.format == "TIFF" else {}


def check(image: TiffImageFile, path: Path) -> None:
    """Refuse an opened TIFF whose pixels Pillow would return, but not as they are.

    Raises:
        InputError: a raw file of a camera, a first image that is a thumbnail, 16-bit samples in separate planes,
            signed 8-bit samples, uncompressed YCbCr, gray levels of which neither end is said to be black.
    """
    tags = image.tag_v2
    if _DNG in tags:
        raise InputError(f"{path}: {RAW}; expected a developed image (develop it first)")
    if PHOTOMETRIC not in tags and tags.get(COMPRESSION, 1) not in _FAX_OR_JPEG:
        raise InputError(f"{path}: TIFF that does not say whether black or white is zero; expected its photometric tag")
    width, height, below = tags[WIDTH], tags[HEIGHT], _sizes_below(image)
    larger = any(other > width * height for other in below)
    if larger or any(kind in (1, 3, 5, 7) for kind in several(tags.get(_KIND, 0))) or tags.get(_OLD_KIND) == 2:
        first = f"its first image ({width}×{height} pixels) is a thumbnail or a reduced one"
        if below or tags.next:
            raise InputError(f"{path}: {first}; expected the image itself first: develop or convert the file first")
        _log.warning("%s: %s by its tags, but there is no other", path, first)
    bits = max(several(tags.get(BITS, 1)))
    if tags.get(_PLANES) == 2 and bits > 8:
        # Pillow takes such samples for bytes and returns another image, without a word.
        raise InputError(f"{path}: 16-bit TIFF with separate planes; expected interleaved ones (or PNG)")
    if tags.get(PHOTOMETRIC) == 6 and tags.get(COMPRESSION, 1) == 1:  # Pillow looks for a fourth byte of each pixel
        raise InputError(f"{path}: uncompressed YCbCr TIFF, which Pillow does not read; expected RGB or gray")
    if bits == 8 and 2 in several(tags.get(SAMPLE_FORMAT, 1)):  # Pillow takes them for unsigned ones
        raise InputError(f"{path}: signed 8-bit values, whose range is not known; expected unsigned ones")


def mend_palette(image: TiffImageFile) -> None:
    """Colours of an opened TIFF that were stored with 8 bits in place of 16, as libtiff and viewers take them."""
    colours = image.tag_v2.get(_COLOURMAP, ())
    if image.mode in ("P", "PA") and colours and max(colours) < 256:
        image.palette = ImagePalette.raw("RGB;L", bytes(colours))


def described(path: Path) -> str:
    """What the first image of a TIFF file consists of, in words; "" where its tags cannot be read."""
    try:
        with open(path, "rb") as file:
            tags = Directory.read(file)
            colour, samples = tags.integers(PHOTOMETRIC, file), tags.integers(SAMPLES, file) or (1,)
            bits, formats = tags.integers(BITS, file) or (1,), tags.integers(SAMPLE_FORMAT, file) or (1,)
            size = tags.integers(WIDTH, file) + tags.integers(HEIGHT, file)
    except (struct.error, ValueError, OverflowError):
        return ""
    named = (_COLOURS | _SENSORS).get(colour[0], f"photometric {colour[0]}") if colour else "no photometric tag"
    order = ", big-endian BigTIFF" if tags.big and tags.order == ">" else ""
    kind = _FORMATS.get(formats[0], "of no known format")
    return f"{named}, {samples[0]} × {max(bits)} bits, {kind}{order}" if len(size) == 2 else ""


def several(value: object) -> tuple[Any, ...]:
    """The values of a tag, which Pillow unpacks where there is one."""
    return value if isinstance(value, tuple) and value else (value,)


def _sizes_below(image: TiffImageFile) -> list[int]:
    """Pixels of the images below the first one, where raw files have theirs; of those that can be read."""
    file, sizes = image.fp, list[int]()
    assert file is not None  # it is open
    place = file.tell()
    try:
        for offset in Directory.read(file).integers(_BELOW, file):
            below = Directory.read(file, offset)
            sizes += [w * h for w in below.integers(WIDTH, file) for h in below.integers(HEIGHT, file)]
    except (struct.error, ValueError, OverflowError) as error:  # broken metadata: the first image is all there is
        _log.debug("%s: images below the first cannot be read (%s)", image.filename, error)
    file.seek(place)
    return sizes
