"""One way to read an image file, whatever is in it, and one clear error where nothing usable is."""

from __future__ import annotations

import logging
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from iqasuite.errors import InputError

_log = logging.getLogger(__name__)
_VIDEO = {".mkv", ".mp4", ".mov", ".avi", ".y4m", ".webm"}
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)


def read_image(path: Path | str, max_pixels: float = 200e6) -> np.ndarray:
    """An image file as 8-bit RGB, upright.

    EXIF rotation is applied; 16-bit values keep their upper 8 bits; gray, palette and CMYK become RGB; transparency is
    laid on white; of an animation the first frame is taken, with a warning in the log. Colour profiles are not applied.

    Args:
        path: any file that Pillow reads.
        max_pixels: larger images are refused before they are decoded (Pillow's own limit, about 179 million, holds
            besides).

    Returns:
        uint8 array, shape (H, W, 3).

    Raises:
        InputError: the file is missing, empty, truncated, not an image, a video, or larger than `max_pixels`.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected an image")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: 0 bytes; expected an image")
    if path.suffix.lower() in _VIDEO:
        raise InputError(
            f"{path}: a video; expected an image. Extract its frame: ffmpeg -i {path.name} -frames:v 1 {path.stem}.png"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return _decode(image, path, max_pixels)
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: too large to decode safely ({error})") from error
    except Image.UnidentifiedImageError as error:
        raise InputError(f"{path}: not an image that Pillow can read; expected PNG, JPEG, WebP, TIFF, BMP") from error
    except _BROKEN as error:
        raise InputError(f"{path}: damaged or truncated image ({error})") from error


def _decode(image: Image.Image, path: Path, max_pixels: float) -> np.ndarray:
    width, height = image.size
    if width * height > max_pixels:
        raise InputError(f"{path}: {width}×{height} pixels; expected at most {max_pixels:.0f} in all")
    if image.format == "TIFF" and image.tag_v2.get(284) == 2 and max(image.tag_v2.get(258, (8,))) > 8:
        # Pillow 13 takes such samples for bytes and returns another picture, without a word.
        raise InputError(f"{path}: 16-bit TIFF with separate planes; expected interleaved ones (or PNG)")
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        _log.warning("%s: %d frames, only the first is taken", path, frames)
        image.seek(0)
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode == "F" or image.mode.startswith("I"):
        image = _eight_bits(image, path)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"), dtype=np.uint8)


def _eight_bits(image: Image.Image, path: Path) -> Image.Image:
    values = np.asarray(image)
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > 65535:
        raise InputError(f"{path}: values {values.min()}…{values.max()} in mode {image.mode}; expected 8 or 16 bits")
    return Image.fromarray((values.astype(np.uint32) >> 8).astype(np.uint8))


def resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image uint8 (H, W, 3) brought to `size` (height, width): bicubic, anti-aliased; the same where it has it."""
    if image.shape[:2] == tuple(size):
        return image
    return np.array(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BICUBIC))
