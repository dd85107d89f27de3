"""Compression: JPEG and its classes of quality, newer codecs, streaming, and transforms that lose coefficients."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image
from scipy import fft

from iqasuite.errors import InputError
from iqasuite.images.distortions.pixels import SMALLEST, to_uint8

# Qualities of the five classes of the objective observer, worst to best (ViT-IQA study, 2023).
JPEG_CLASSES = {1: (2, 10), 2: (11, 18), 3: (19, 25), 4: (26, 50), 5: (51, 100)}
BORDERS = tuple(high + 0.5 for _, high in list(JPEG_CLASSES.values())[:-1])  # between the classes, in quality


def jpeg(image: np.ndarray, quality: float) -> np.ndarray:
    """The image after JPEG compression (Pillow, 4:2:0 chroma) at a quality from 1 to 100."""
    return np.array(Image.open(io.BytesIO(jpeg_bytes(image, quality))))


def jpeg_bytes(image: np.ndarray, quality: float) -> bytes:
    """The JPEG file itself of a uint8 RGB image."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=int(quality))
    return file.getvalue()


def png_bytes(image: np.ndarray) -> bytes:
    """The PNG file (lossless) of a uint8 RGB image."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def jpeg_class(quality: int) -> int:
    """Class 1 (worst) to 5 of a JPEG quality.

    Raises:
        InputError: quality outside 2–100.
    """
    for label, (low, high) in JPEG_CLASSES.items():
        if low <= quality <= high:
            return label
    raise InputError(f"JPEG quality {quality}: expected 2 to 100")


def jpeg2000(image: np.ndarray, ratio: float) -> np.ndarray:
    """JPEG 2000 (OpenJPEG, irreversible wavelets) at a compression ratio.

    Raises:
        InputError: Pillow was built without OpenJPEG.
    """
    resolutions = int(np.clip(np.log2(min(image.shape[:2])) - 2, 1, 6))
    return _recoded(
        image, "JPEG2000", irreversible=True, quality_mode="rates", quality_layers=[ratio], num_resolutions=resolutions
    )


def webp(image: np.ndarray, quality: float) -> np.ndarray:
    """WebP (lossy) at a quality from 0 to 100.

    Raises:
        InputError: Pillow was built without WebP.
    """
    return _recoded(image, "WEBP", quality=int(quality), method=2)


def avif(image: np.ndarray, quality: float) -> np.ndarray:
    """AVIF (stills of AV1, close to those of H.265) at a quality from 0 to 100.

    Raises:
        InputError: Pillow was built without AVIF.
    """
    return _recoded(image, "AVIF", quality=int(quality), speed=8, max_threads=1)


def streaming(image: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    """What adaptive streaming does: shrunk by `factor`, compressed there at a random AVIF quality of 15–75, enlarged.

    Raises:
        InputError: as `avif`.
    """
    height, width = image.shape[:2]
    small = (max(SMALLEST, round(width / factor)), max(SMALLEST, round(height / factor)))
    sent = avif(np.array(Image.fromarray(image).resize(small, Image.Resampling.BICUBIC)), int(rng.integers(15, 76)))
    return np.array(Image.fromarray(sent).resize((width, height), Image.Resampling.BICUBIC))


def sparse_sampling(image: np.ndarray, kept: float) -> np.ndarray:
    """Rebuilt from the `kept` largest of the 64 DCT coefficients of each 8×8 block and channel."""
    blocks, shape = _blocks(image, 8)
    spectrum = fft.dctn(blocks, axes=(1, 3), norm="ortho")
    size = np.abs(spectrum).transpose(0, 2, 4, 1, 3).reshape(*(blocks.shape[i] for i in (0, 2, 4)), 64)
    least = np.partition(size, 64 - int(kept), axis=-1)[..., 64 - int(kept)]
    spectrum[np.abs(spectrum) < least[:, None, :, None, :]] = 0
    return to_uint8(_from_blocks(fft.idctn(spectrum, axes=(1, 3), norm="ortho"), shape))


def ringing(image: np.ndarray, share: float) -> np.ndarray:
    """All frequencies above a `share` of the highest cut off, in each direction: edges ring."""
    height, width = image.shape[:2]
    spectrum = fft.dctn(image.astype(np.float32), axes=(0, 1), norm="ortho")
    high = np.hypot(np.arange(height)[:, None] / height, np.arange(width) / width) > share
    spectrum[high] = 0
    return to_uint8(fft.idctn(spectrum, axes=(0, 1), norm="ortho"))


def _recoded(image: np.ndarray, codec: str, **options: Any) -> np.ndarray:
    file = io.BytesIO()
    try:
        Image.fromarray(image).save(file, codec, **options)
        return np.array(Image.open(file).convert("RGB"))
    except (KeyError, OSError) as error:
        raise InputError(f"{codec}: this Pillow cannot write it ({error}); expected one built with it") from error


def _blocks(image: np.ndarray, side: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Float32 blocks (rows, side, columns, side, 3), the last ones padded by repetition, and the image's own size."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, -height % side), (0, -width % side), (0, 0)), mode="edge").astype(np.float32)
    return padded.reshape(padded.shape[0] // side, side, -1, side, 3), (height, width)


def _from_blocks(blocks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    rows, side, columns = blocks.shape[:3]
    return blocks.reshape(rows * side, columns * side, 3)[: size[0], : size[1]]
