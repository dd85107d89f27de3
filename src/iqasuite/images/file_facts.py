"""What an image file tells without a model: its size in pixels and in bytes, and plain statistics of its pixels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from iqasuite.images.loading import image_size, read_image
from iqasuite.images.read_ahead import read_ahead
from iqasuite.pixel_values import RGB_TO_YCC


def file_facts(paths: Mapping[str, Path]) -> pd.DataFrame:
    """Size of every file, from its header; nothing is decoded.

    Args:
        paths: image -> file.

    Returns:
        Index image: width, height (pixels, upright), bytes, bits_per_pixel (8 · bytes / pixels).

    Raises:
        InputError: a file that is missing or no image.
    """
    rows = [(image, *image_size(path), path.stat().st_size) for image, path in paths.items()]
    facts = pd.DataFrame(rows, columns=["image", "width", "height", "bytes"]).set_index("image")
    facts["bits_per_pixel"] = 8 * facts["bytes"] / np.maximum(facts["width"] * facts["height"], 1)
    return facts


def image_facts(paths: Mapping[str, Path]) -> pd.DataFrame:
    """Plain statistics of every image, in gray levels of 255, at the file's own size.

    Files are decoded in threads, a few at a time: memory does not grow with their number.

    Args:
        paths: image -> file.

    Returns:
        Index image: brightness (mean luma, ITU-R BT.601), contrast (its standard deviation), sharpness (mean length of
        its gradient, in gray levels per pixel, from neighbouring pixels), colourfulness (0 = gray).

    Raises:
        InputError: a file that is missing or no image.

    Reference: D. Hasler & S. Süsstrunk, "Measuring colourfulness in natural images", Human Vision and Electronic
    Imaging VIII, 2003.
    """
    rows = list(read_ahead(lambda path: _statistics(read_image(path)), paths.values()))
    columns = ["brightness", "contrast", "sharpness", "colourfulness"]
    return pd.DataFrame(rows, columns=columns, index=pd.Index(paths, name="image"), dtype=float)


def _statistics(pixels: np.ndarray) -> tuple[float, float, float, float]:
    """Brightness, contrast, sharpness and colourfulness of uint8 pixels (H, W, 3)."""
    red, green, blue = pixels.transpose(2, 0, 1).astype(np.float32)
    of_red, of_green, of_blue = RGB_TO_YCC[0]
    luma = of_red * red + of_green * green + of_blue * blue
    down, right = (np.diff(luma, axis=axis, append=luma.take([-1], axis=axis)) for axis in (0, 1))
    colours = (red - green, (red + green) / 2 - blue)
    spread = np.hypot(*(colour.std(dtype=float) for colour in colours))
    offset = np.hypot(*(colour.mean(dtype=float) for colour in colours))
    contrast, sharpness = luma.std(dtype=float), np.hypot(down, right).mean(dtype=float)
    return luma.mean(dtype=float), contrast, sharpness, spread + 0.3 * offset
