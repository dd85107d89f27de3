"""Uploads as the page takes them: hostile until checked to be a single still image of bearable size."""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from iqasuite.errors import InputError
from iqasuite.images.loading import read_image

MAX_BYTES = 20_000_000
MAX_PIXELS = 40_000_000
KEPT = 15 * 60  # seconds that an upload lies on the disk
# Pillow tries no other: some of its formats start programs (EPS) or were never meant for strangers' files.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF")
_WANTED = "expected one still image: JPEG, PNG, WebP, AVIF, TIFF or BMP"


def private_folder() -> Path:
    """A new temporary folder that only this user can look into, told to Gradio as the place of all uploads.

    It has to be called before a page is built. Whoever calls it deletes the folder.
    """
    folder = Path(tempfile.mkdtemp(prefix="iqasuite-app-")).resolve()
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    return folder


def shown_name(path: Path | str) -> str:
    """The name of an upload without its folder, printable and of 60 characters at most; not yet escaped for HTML."""
    name = "".join(c for c in os.path.basename(str(path)) if c.isprintable())
    return name if len(name) <= 60 else f"{name[:51]}…{name[-8:]}"


def read_upload(path: Path | str, folder: Path, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The pixels of an uploaded file, decoded from the bytes that were sent.

    Place, bytes, kind, number of images and pixels are looked at before anything is decoded.

    Args:
        path: of an upload, as the page has it.
        folder: where uploads lie; nothing outside of it is opened.
        max_bytes, max_pixels: larger files are refused.

    Returns:
        uint8 RGB array, shape (H, W, 3), upright.

    Raises:
        InputError: one sentence that names the file without its folder.
    """
    name, real = shown_name(path), Path(os.path.realpath(path))
    if not real.is_relative_to(os.path.realpath(folder)):
        raise InputError(f"{name}: not a file that was uploaded here")
    if not real.is_file():
        raise InputError(f"{name}: no longer here, uploads are deleted after {KEPT // 60} minutes; upload it again")
    size = real.stat().st_size
    if size > max_bytes:
        raise InputError(f"{name}: {size / 1e6:.1f} MB; expected at most {max_bytes / 1e6:g} MB")
    _check_head(real, name, max_pixels)
    try:
        return read_image(real, max_pixels)
    except InputError as error:
        sentence = str(error).replace(str(real), name)
    except Exception:  # a decoder's surprise is the file's fault, too
        sentence = f"{name}: damaged"
    raise InputError(sentence if str(folder) not in sentence else f"{name}: damaged; {_WANTED}")


def _check_head(path: Path, name: str, max_pixels: int) -> None:
    """Kind, size and number of images from the head of a file, whose pixels stay where they are."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as image:
                width, height = image.size
                # a camera's MPO is a photograph with its preview, not a film
                several = image.format != "MPO" and getattr(image, "is_animated", False)
    except Image.DecompressionBombError:
        raise InputError(f"{name}: far too many pixels; expected at most {_millions(max_pixels)}") from None
    except Exception:
        raise InputError(f"{name}: no image, or damaged; {_WANTED}") from None
    if width * height > max_pixels:
        found = f"{width:,}×{height:,} pixels"
        raise InputError(f"{name}: {found}; expected at most {_millions(max_pixels)} in all")
    if several:
        raise InputError(f"{name}: an animation or several pages; {_WANTED}")


def _millions(pixels: int) -> str:
    return f"{pixels / 1e6:g} million"
