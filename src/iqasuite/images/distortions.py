"""Four ways to spoil a photograph. Images are uint8 RGB arrays, shape (H, W, 3), in and out."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from scipy import ndimage

from iqasuite.errors import InputError

# Qualities of the five classes of the objective observer, worst to best (ViT-IQA study, 2023).
JPEG_CLASSES = {1: (2, 10), 2: (11, 18), 3: (19, 25), 4: (26, 50), 5: (51, 100)}

# Five levels each, mild to strong: σ in pixels, σ in gray levels of 255, and by how much each side shrinks.
LEVELS = {
    "blur": (0.6, 1.0, 1.6, 2.6, 4.2),
    "noise": (5.0, 10.0, 18.0, 30.0, 50.0),
    "resolution": (1.4, 1.9, 2.6, 4.0, 6.5),
}


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """The image after JPEG compression (Pillow, 4:2:0 chroma) at a quality from 1 to 100."""
    return np.array(Image.open(io.BytesIO(jpeg_bytes(image, quality))))


def jpeg_bytes(image: np.ndarray, quality: int) -> bytes:
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


def gaussian_blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian low-pass of standard deviation `sigma` in pixels, borders mirrored."""
    return _to_uint8(ndimage.gaussian_filter(image.astype(np.float64), (sigma, sigma, 0), mode="reflect"))


def white_noise(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Additive white Gaussian noise, independent in each channel, `sigma` in gray levels of 255."""
    return _to_uint8(image + sigma * rng.standard_normal(image.shape))


def resolution_loss(image: np.ndarray, factor: float) -> np.ndarray:
    """The image shrunk by `factor` on each side (anti-aliased bicubic) and brought back to its size (bicubic)."""
    height, width = image.shape[:2]
    small = (max(1, round(width / factor)), max(1, round(height / factor)))
    picture = Image.fromarray(image).resize(small, Image.Resampling.BICUBIC)
    return np.array(picture.resize((width, height), Image.Resampling.BICUBIC))


def _to_uint8(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
