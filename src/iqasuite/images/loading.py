"""One way to read an image file, whatever is in it, and one clear error where nothing usable is."""

from __future__ import annotations

import io
import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from iqasuite.errors import InputError
from iqasuite.images import endings, tiff
from iqasuite.images.decoder_warnings import DecoderWarnings
from iqasuite.images.metadata import forget_second_reading, orientation, without_metadata

_log = logging.getLogger(__name__)
_warnings = DecoderWarnings()
T = TypeVar("T")
FITS = ("crop", "letterbox", "stretch")  # what is done with images of another aspect than that at which they are shown
_PADDING = 128  # gray of what a letterboxed image leaves free

_EXPECTED = "expected an image: PNG, JPEG, WebP, AVIF, TIFF, BMP"
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_VECTORS, _VALUES = "a vector drawing, which has no pixels", "values without a known range"
_REFUSED = {  # formats that Pillow opens besides; of some it starts other programs
    **dict.fromkeys(("EPS", "WMF", "EMF"), _VECTORS),
    **dict.fromkeys(("FITS", "GRIB", "BUFR", "HDF5", "SPIDER", "MCIDAS"), _VALUES),
    **dict.fromkeys(("PCD", "XVTHUMB", "IPTC"), "of which only a preview can be read"),
    "MPEG": "a video",
}
_CONTENTS = {  # (place, bytes there): what a file is that Pillow does not open
    (0, b"\x76\x2f\x31\x01"): f"OpenEXR, floating-point {_VALUES}",
    (0, b"#?RADIANCE"): f"Radiance HDR, floating-point {_VALUES}",
    (0, b"\xff\x0a"): "a JPEG XL image, which cannot be decoded here",
    (4, b"JXL "): "a JPEG XL image, which cannot be decoded here",
    (0, b"II\xbc\x01"): "a JPEG XR image, which cannot be decoded here",
    (0, b"%PDF"): "a PDF document",
    (0, b"%!PS"): _VECTORS,
    (0, b"<svg"): _VECTORS,
    **{(4, b"ftyp" + brand): "an HEIC image, which cannot be decoded here" for brand in (b"he", b"mif1", b"msf1")},
    **{(0, magic): tiff.RAW for magic in (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0")},
    (4, b"ftypcrx"): tiff.RAW,
    (4, b"ftypavi"): "a damaged or truncated AVIF image",
}
_NAMES = {b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG", b"RIFF": "WebP", b"GIF8": "GIF", b"BM": "BMP"}
_BLACK, _DARK = 16, 64  # of 256 levels: below them the upper 4 or 2 bits are not used
_LARGEST = 2**30  # bytes of a file that is looked at a second time, without its metadata


def read_image(path: Path | str, max_pixels: float = 200e6) -> np.ndarray:
    """An image file as 8-bit RGB, upright.

    EXIF rotation is applied wherever it can be read, and broken metadata beside whole pixels is ignored. Gray, palette,
    CMYK and Lab become RGB; transparency is laid on white; of an animation or of several pages the first is taken, with
    a warning in the log, where the decoders' own warnings go, too. Colour profiles are not applied.

    Of unsigned integers of 12, 16 or 32 bits the upper 8 are kept. An image that leaves the upper 4 unused is refused:
    every viewer shows it black, and it may hold 8 to 12 bits that were not scaled. Where the upper 2 are unused, as by
    14 bits, a warning is in the log. A TIFF in which white is zero is inverted, as it is shown. Signed integers have no
    range on which readers agree: those of 16 or 32 bits are taken as they are where all lie in 0…255, and refused
    otherwise, as are all signed 8-bit and all floating-point values. Raw files of cameras are refused, and every TIFF
    whose first image is the thumbnail of another.

    Args:
        path: any file that Pillow reads.
        max_pixels: larger images are refused before they are decoded (Pillow's own limit, about 179 million, holds
            besides).

    Returns:
        uint8 array, shape (H, W, 3).

    Raises:
        InputError: the file is missing, empty, truncated, not an image, a video, larger than `max_pixels`, or holds
            values whose range is not known.
    """
    path = Path(path)
    return _from_file(path, lambda image: _decoded(image, path, max_pixels))


def image_size(path: Path | str) -> tuple[int, int]:
    """(width, height) in pixels of the image that `read_image` returns, from the file's header.

    Raises:
        InputError: the file is missing, or no image that can be read.
    """
    return _from_file(Path(path), _upright_size)


def stored_as(path: Path | str) -> str:
    """How a file stores the image that `read_image` returns: "RGB", "gray", "CMYK" or a mode "with transparency".

    Raises:
        InputError: as `read_image`.
    """
    return _from_file(Path(path), _storage)


def fitted(shape: tuple[int, int], size: tuple[int, int], fit: str = "crop") -> str:
    """How an image of this shape is brought to `size`: `fit`, or "stretch" where it has the aspect of `size` anyway.

    Sides are whole pixels, so aspects are the same where a pixel more or less on a side of either makes them so.

    Args:
        shape, size: (height, width) in pixels.
        fit: one of `FITS`.

    Raises:
        InputError: another fit.
    """
    if fit not in FITS:
        raise InputError(f"fit={fit!r}: expected one of {', '.join(FITS)}")
    same_aspect = abs(shape[0] * size[1] - shape[1] * size[0]) <= max(*shape, *size)
    return "stretch" if same_aspect else fit


def resized(
    image: np.ndarray, size: tuple[int, int], fit: str = "crop", shape: tuple[int, int] | None = None
) -> np.ndarray:
    """An image brought to a size, in which what is round stays round: bicubic, anti-aliased; the same where it has it.

    Args:
        image: uint8 (H, W, 3).
        size: (height, width) in pixels.
        fit: "crop" scales the image to cover `size` and keeps its centre; "letterbox" scales it to lie within and fills
            the rest with mid-gray (128); "stretch" squeezes it. No matter where the aspects are the same (`fitted`).
        shape: (height, width) of the image's reference: cropped or letterboxed
            are the same shares of both. None = its own.

    Returns:
        uint8, shape (*size, 3).

    Raises:
        InputError: another fit.
    """
    shape = image.shape[:2] if shape is None else shape
    fit = fitted(shape, size, fit)
    if image.shape[:2] == tuple(size) and fit == "stretch":
        return image
    # of the image's height and width what a crop keeps; of `size`'s width and height what a letterboxed image takes
    shares = [min(1.0, shape[1 - i] * size[i] / (shape[i] * size[1 - i])) for i in (0, 1)]
    if fit == "letterbox":
        height, width = (max(1, round(size[i] * shares[1 - i])) for i in (0, 1))
        whole = np.full((*size, 3), _PADDING, np.uint8)
        top, left = (size[0] - height) // 2, (size[1] - width) // 2
        whole[top : top + height, left : left + width] = _scaled(image, (height, width))
        return whole
    if fit == "crop":  # before scaling: of a long strip nothing is enlarged but what is seen
        margins = [side * (1 - share) / 2 for side, share in zip(image.shape[:2], shares, strict=True)]
        return _scaled(image, size, (margins[1], margins[0], image.shape[1] - margins[1], image.shape[0] - margins[0]))
    return _scaled(image, size)


def _scaled(
    image: np.ndarray, size: tuple[int, int], box: tuple[float, float, float, float] | None = None
) -> np.ndarray:
    return np.array(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BICUBIC, box))


def _from_file(path: Path, use: Callable[[ImageFile], T]) -> T:
    """What `use` makes of the opened file; whatever a decoder raises becomes the InputError of this file."""
    try:
        _check_file(path)
        with _warnings.logged(path):
            return _with_or_without_metadata(path, use)
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{path}: too large for this machine's memory") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: too large to decode safely ({error})") from error
    except Exception as error:  # TypeError, struct.error, OverflowError … : all are the file's
        raise InputError(f"{path}: {_reason(path, error)}") from error


def _check_file(path: Path) -> None:
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a name with a null character
        status = None
    if status is None or not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: no such file; expected an image")
    if status.st_size == 0:
        raise InputError(f"{path}: 0 bytes; expected an image")
    ending = path.suffix.lower()
    if ending in endings.VIDEOS:
        raise InputError(
            f"{path}: a video; expected an image. Extract its frame: ffmpeg -i {path.name} -frames:v 1 {path.stem}.png"
        )
    if ending in endings.RAW:
        raise InputError(f"{path}: {tiff.RAW}; expected a developed image (develop it first)")


def _with_or_without_metadata(path: Path, use: Callable[[ImageFile], T]) -> T:
    final = (InputError, MemoryError, Image.DecompressionBombError)
    try:
        with Image.open(path) as image:
            return use(_checked(image, path))
    except final:
        raise
    except Exception as error:
        bare = without_metadata(path.read_bytes()) if os.path.getsize(path) <= _LARGEST else None
        if bare is None:
            raise
        try:
            with Image.open(io.BytesIO(bare)) as image:
                return use(_checked(image, path))
        except final:
            raise
        except Exception:  # the pixels are damaged: the file's own error says it best
            raise error from None


def _checked(image: ImageFile, path: Path) -> ImageFile:
    """The opened image, whose pixels mean what they seem to."""
    if image.format in _REFUSED:
        raise InputError(f"{path}: {image.format}, {_REFUSED[image.format]}; {_EXPECTED}")
    if isinstance(image, TiffImageFile) and image.format == "TIFF":
        tiff.check(image, path)
        tiff.mend_palette(image)
        forget_second_reading(image)
    if image.mode == "F":
        raise InputError(f"{path}: floating-point {_VALUES}; expected 8 or 16 bits")
    return image


def _upright_size(image: ImageFile) -> tuple[int, int]:
    tags = tiff.tags_of(image)  # Pillow may have turned the size of a TIFF already
    width, height = tags.get(tiff.WIDTH, image.width), tags.get(tiff.HEIGHT, image.height)
    return (height, width) if orientation(image) > 4 else (width, height)


def _storage(image: Image.Image) -> str:
    if image.has_transparency_data and np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
        return f"{image.mode} with transparency"
    if image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I"):
        return "gray"
    return "CMYK" if image.mode == "CMYK" else "RGB"


def _decoded(opened: ImageFile, path: Path, max_pixels: float) -> np.ndarray:
    width, height = opened.size
    if width * height > max_pixels:
        raise InputError(f"{path}: {width}×{height} pixels; expected at most {max_pixels:.0f} in all")
    bits, is_gray = _stored_bits(opened), opened.mode.startswith("I")
    opened.load()
    turn = _TURNS.get(orientation(opened))  # a TIFF is upright by now
    image: Image.Image = _upper_bits(opened, bits, path) if is_gray else opened
    if image.has_transparency_data:
        if bits > 8 and "transparency" in image.info:  # 16 bits, beside pixels that Pillow has brought to 8
            image.info["transparency"] = tuple(value >> 8 for value in image.info["transparency"])
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode != "RGB":
        image = image.convert("RGB")
    if turn is not None:
        image = image.transpose(turn)
    pixels = np.array(image, dtype=np.uint8)
    if bits > 8 and not is_gray:
        _check_largest((int(pixels.max()) + 1 << bits - 8) - 1, bits, path)
    _warn_of_more(opened, path)
    return pixels


def _stored_bits(image: ImageFile) -> int:
    """Bits of a sample in the file, before Pillow brings colours to 8."""
    if image.format == "TIFF":
        return max(tiff.several(tiff.tags_of(image).get(tiff.BITS, 1)))
    return 16 if image.mode.startswith("I") or any(";16" in str(tile[3]) for tile in image.tile) else 8


def _upper_bits(image: Image.Image, bits: int, path: Path) -> Image.Image:
    """Gray values of 12, 16 or 32 bits as 8, see `read_image`."""
    tags = tiff.tags_of(image)
    values = np.asarray(image)
    if 2 in tiff.several(tags.get(tiff.SAMPLE_FORMAT, 1)):
        if values.min() < 0 or values.max() > 255:
            kind = f"signed {bits}-bit values {values.min()}…{values.max()}"
            raise InputError(f"{path}: {kind}, whose range is not known; expected unsigned ones of 8 or 16 bits")
        gray = values.astype(np.uint8)
    else:
        values = values.view(np.uint32) if bits == 32 else values
        if values.min() < 0 or values.max() >= 2**bits:
            raise InputError(f"{path}: values {values.min()}…{values.max()}; expected 8 or 16 bits")
        if values.any():
            _check_largest(int(values.max()), bits, path)
        gray = (values >> bits - 8).astype(np.uint8)
        gray[values == image.info.get("transparency", -1)] = 255
    return Image.fromarray(255 - gray if tags.get(tiff.PHOTOMETRIC) == 0 else gray)


def _check_largest(largest: int, bits: int, path: Path) -> None:
    """Refuse what would be black, and say what is dark, as cameras' 8 to 14 bits are that were not scaled."""
    used = f"{bits}-bit values up to {largest}, as {largest.bit_length()} bits that were not scaled"
    if largest < _BLACK << bits - 8:
        raise InputError(f"{path}: {used}, or black; expected values up to {2**bits - 1}")
    if largest < _DARK << bits - 8:
        _log.warning("%s: %s, or a dark image; taken as it is", path, used)


def _warn_of_more(image: Image.Image, path: Path) -> None:
    """Say that an image is one of several: frames or pages, not the layers of one image."""
    if image.format == "PSD" or not getattr(image, "is_animated", False):
        return
    try:
        frames = image.n_frames  # type: ignore[attr-defined]  # of the formats that say whether they are animated
        _log.warning("%s: %d frames, only the first is taken", path, frames)
    except Exception as error:  # pages are counted by reading them
        _log.warning("%s: several pages, of which only the first can be read (%s)", path, error)


def _reason(path: Path, error: Exception) -> str:
    """Why nothing could be read: the system's reason, what the file is, or what the decoder says."""
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror}); {_EXPECTED}"
    with open(path, "rb") as file:
        head = file.read(32)
    for (place, magic), what in _CONTENTS.items():
        if head[place:].startswith(magic):
            return f"{what}; {_EXPECTED}"
    if not isinstance(error, UnidentifiedImageError):
        return f"damaged or truncated image ({' '.join(str(error).split()) or type(error).__name__})"
    if head.startswith((b"II", b"MM")) and (found := tiff.described(path)):
        return f"TIFF of a kind that Pillow does not read ({found}); expected gray or RGB of 8 or unsigned 16 bits"
    names = [name for magic, name in _NAMES.items() if head.startswith(magic)]
    if names:
        return f"damaged or truncated {names[0]}, or of a kind that Pillow does not read; expected a common one"
    return f"not an image that Pillow can read; {_EXPECTED}"
