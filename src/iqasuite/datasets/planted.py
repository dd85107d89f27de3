"""Does the leak audit find copies? Plant some and count."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from iqasuite.errors import InputError
from iqasuite.images.fingerprints import NEAR, near_pairs, thumbnails
from iqasuite.images.loading import read_image
from iqasuite.paths import scratch_folder

_LARGEST = 1024  # pixels of a copy's longer side: more would only take time


def copies(pixels: np.ndarray, rng: np.random.Generator) -> dict[str, Image.Image]:
    """Altered copies of an image uint8 (H, W, 3), as they turn up under other names: kind -> image."""
    original = Image.fromarray(pixels)
    width, height = original.size

    def cropped(share: float) -> Image.Image:
        w, h = max(1, round(width * (1 - share))), max(1, round(height * (1 - share)))
        left, top = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
        return original.crop((left, top, left + w, top + h))

    return {
        "recompressed (JPEG 10)": original,
        "resized to a half": original.resize((max(1, width // 2), max(1, height // 2))),
        "brightened": original.point(lambda value: int(0.8 * value + 40)),
        "cropped by 5 %": cropped(0.05),
        "cropped by 10 %": cropped(0.1),
        "mirrored": original.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    }


def planted_recall(paths: Sequence[Path], n: int = 30, seed: int = 0) -> pd.DataFrame:
    """How many altered copies of images are found beside all the images.

    Args:
        paths: files of images that show different scenes.
        n: of so many of them, evenly chosen, each kind of copy is planted.
        seed: of where copies are cropped.

    Returns:
        One row a kind of copy: kind, n (planted), found (share that is a near-duplicate of its original), similarity
        (median), false (pairs of a copy with another image, near-duplicates of the original itself left out).

    Raises:
        InputError: no images, a file that cannot be read.
    """
    if not len(paths) or n < 1:
        raise InputError(f"{len(paths)} images, n={n}: expected one or more of both")
    rng = np.random.default_rng(seed)
    chosen = np.unique(np.linspace(0, len(paths) - 1, min(n, len(paths))).round().astype(int))
    planted, files = [], list[Path]()
    with scratch_folder() as folder:
        for original in chosen:
            image = Image.fromarray(read_image(paths[original]))
            image.thumbnail((_LARGEST, _LARGEST))
            for kind, copy in copies(np.asarray(image), rng).items():
                files.append(folder / f"{len(files)}.jpg")
                copy.save(files[-1], quality=10 if kind.startswith("recompressed") else 90)
                planted.append((kind, int(original)))
        copied = thumbnails(files, folder / "cache").copy()
    originals = thumbnails(paths)
    pairs = near_pairs(np.concatenate([originals, copied]), near=0.0)
    pairs = pairs[(pairs["first"] < len(paths)) & (pairs["second"] >= len(paths))]
    pairs = pairs.assign(copy=pairs["second"] - len(paths))
    alike = near_pairs(originals)
    twins = {*zip(alike["first"], alike["second"], strict=True), *zip(alike["second"], alike["first"], strict=True)}
    rows = []
    for number, (kind, original) in enumerate(planted):
        similarities = pairs[pairs["copy"] == number].set_index("first")["similarity"]
        others = [i for i in similarities.index[similarities >= NEAR] if i != original and (original, i) not in twins]
        rows.append((kind, similarities.get(original, 0.0), len(others)))
    table = pd.DataFrame(rows, columns=["kind", "similarity", "false"])
    grouped = table.assign(found=table["similarity"] >= NEAR).groupby("kind", sort=False)
    result = grouped.agg(
        n=("kind", "size"), found=("found", "mean"), similarity=("similarity", "median"), false=("false", "sum")
    )
    return result.reset_index()
