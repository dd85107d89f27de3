"""What an image file tells without being looked at: its size in pixels and in bytes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from iqasuite.errors import InputError


def file_facts(paths: Mapping[str, Path]) -> pd.DataFrame:
    """Size of every file, from its header; nothing is decoded.

    Args:
        paths: image -> file.

    Returns:
        Index image: width, height (pixels as stored), bytes, bits_per_pixel (8 · bytes / pixels).

    Raises:
        InputError: a file that is missing or no image.
    """
    rows = [(image, *image_size(path), path.stat().st_size) for image, path in paths.items()]
    facts = pd.DataFrame(rows, columns=["image", "width", "height", "bytes"]).set_index("image")
    facts["bits_per_pixel"] = 8 * facts["bytes"] / np.maximum(facts["width"] * facts["height"], 1)
    return facts


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) in pixels as stored, from the file's header.

    Raises:
        InputError: the file is missing or no image.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                return opened.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not an image whose header can be read ({error})") from error
