"""What is in an image file besides its pixels: how it is turned, and the same file without all the rest.

Cameras, editors and chat programs write metadata that decoders stumble over while the pixels are whole.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import IO

from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from iqasuite.images.tiff import Directory

ORIENTATION = 0x0112
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_PNG_TURNS = (b"Raw profile type exif", b"XML:com.adobe.xmp")  # text chunks that may say how an image is turned
_JPEG_ALONE = (0x01, *range(0xD0, 0xD9))  # markers without a length
_JPEG_METADATA = (*range(0xE1, 0xEE), 0xEF, 0xFE)  # APP0 and APP14 say which colours there are
_TIFF_PIXELS = (  # tags that say what a pixel is and where it lies, or what kind of image it belongs to
    *(*range(254, 260), 262, 266, 273, ORIENTATION, 277, 278, 279, 284, 292, 293, 317, 320, *range(322, 326)),
    *(330, 332, 338, 339, 347, *range(512, 522), 529, 530, 531, 532, 50706),
)


def orientation(image: ImageFile) -> int:
    """EXIF orientation of an opened image, 1 (upright) to 8; 1 where none can be read.

    Of a PNG whose pixels are not loaded, these are loaded only where something behind them may say it.
    """
    try:
        unread = image.fp if image.format == "PNG" and "exif" not in image.info and image.tile else None
        if unread is not None and _turned_behind(unread):
            image.load()
        value = Image.Image.getexif(image).get(ORIENTATION)
    except Exception:  # whatever a decoder makes of broken metadata: the pixels are there all the same
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def forget_second_reading(image: TiffImageFile) -> None:
    """Drop the metadata of an opened TIFF that Pillow would read, and may stumble over, when its pixels are loaded."""
    image.filename = ""  # with a name Pillow maps the file into memory, by a wrong width where it lies on its side
    image.info.pop("xmp", None)
    exif = image.getexif()
    for pointer in (0x8769, 0x8825, 0xA005):  # of EXIF, GPS, interoperability
        exif.pop(pointer, None)


def without_metadata(data: bytes) -> bytes | None:
    """An image file with its pixels, their colours and its orientation, and nothing else.

    Returns:
        A PNG, JPEG, TIFF (its first page) or AVIF file; None of other formats and where its structure is broken.
    """
    try:
        if data.startswith(_PNG):
            return _bare_png(data)
        if data.startswith(_JPEG):
            return _bare_jpeg(data)
        if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return _bare_tiff(data)
        if data[4:12] in (b"ftypavif", b"ftypavis"):
            head, box, pixels = data.partition(b"mdat")  # EXIF becomes an item of a type that nobody knows
            return head.replace(b"Exif", b"none") + box + pixels
    except (struct.error, IndexError, ValueError, OverflowError):
        return None
    return None


def _png_chunks(file: IO[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """Type, start and length of the content of every chunk; the file stands at this start."""
    place = 8
    while len(head := (file.seek(place), file.read(8))[1]) == 8:
        length, kind = struct.unpack(">I4s", head)
        yield kind, place + 8, length
        place += length + 12


def _turned_behind(file: IO[bytes]) -> bool:
    place, behind = file.tell(), False
    try:
        for kind, _, _ in _png_chunks(file):
            behind = behind or kind == b"IDAT"
            if behind and (kind == b"eXIf" or (kind.endswith(b"Xt") and file.read(32).startswith(_PNG_TURNS))):
                return True
        return False
    finally:
        file.seek(place)


def _turn_of(exif: bytes) -> bytes:
    """EXIF with the orientation of another and nothing else, beginning with "Exif"."""
    bare, broken = Image.Exif(), Image.Exif()
    try:
        broken.load(exif)
        value = broken.get(ORIENTATION)
    except Exception:  # as in `orientation`
        value = None
    bare[ORIENTATION] = value if isinstance(value, int) and 1 <= value <= 8 else 1
    return bare.tobytes()


def _bare_png(data: bytes) -> bytes:
    parts = [_PNG]
    for kind, start, length in _png_chunks(io.BytesIO(data)):
        if kind == b"eXIf":
            exif = kind + _turn_of(data[start : start + length]).removeprefix(b"Exif\0\0")
            parts.insert(2, struct.pack(">I", len(exif) - 4) + exif + struct.pack(">I", zlib.crc32(exif)))
        elif kind in _PNG_PIXELS:
            parts.append(data[start - 8 : start + length + 4])
    return b"".join(parts)


def _bare_jpeg(data: bytes) -> bytes:
    parts, place = [data[:2]], 2
    while True:
        while data[place + 1] == 0xFF:
            place += 1
        kind = data[place + 1]
        if data[place] != 0xFF or kind == 0xDA:  # the pixels begin
            return b"".join([*parts, data[place:]])
        end = place + 2 if kind in _JPEG_ALONE else place + 2 + struct.unpack_from(">H", data, place + 2)[0]
        if kind == 0xE1 and data[place + 4 : place + 8] == b"Exif":
            exif = _turn_of(data[place + 4 : end])
            parts.insert(1, b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif)
        elif kind not in _JPEG_METADATA:
            parts.append(data[place:end])
        place = end


def _bare_tiff(data: bytes) -> bytes:
    """A new first directory behind the file, with those tags of the old one that pixels need."""
    tags = Directory.read(io.BytesIO(data))
    kept = [entry for tag, entry in sorted(tags.entries.items()) if tag in _TIFF_PIXELS]
    offset, count = (tags.order + code for code in ("QQ" if tags.big else "IH"))
    data += b"\0" * (len(data) % 2)
    head = data[: 8 if tags.big else 4] + struct.pack(offset, len(data))
    return b"".join([head, data[len(head) :], struct.pack(count, len(kept)), *kept, struct.pack(offset, 0)])
