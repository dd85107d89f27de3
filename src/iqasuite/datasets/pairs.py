"""Full-reference pairs that observers rated, and comparisons of two distorted images of one reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from iqasuite.datasets.dataset import Dataset
from iqasuite.errors import InputError
from iqasuite.images.cache import ImageCache, open_cache
from iqasuite.images.loading import resized


@dataclass(frozen=True)
class ImagePairs:
    """Pairs of images at one size, as of a rated set.

    Attributes:
        images: images frame, one row a pair.
        references, distorted: uint8 (n, H, W, 3), read from disk as they are needed; or arrays.
        reference_of: for each row of `images` the row of its image in `references`.
    """

    images: pd.DataFrame
    references: ImageCache | np.ndarray
    distorted: ImageCache | np.ndarray
    reference_of: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    @property
    def source(self) -> str:
        """Which images these are and how they are shown, for the checkpoints of a training; "" for arrays."""
        return _keys(self.references, self.distorted)

    def pairs(self, indices: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Reference and distorted images of these rows, both uint8 (B, H, W, 3)."""
        rows = np.asarray(indices, dtype=np.int64)
        return self.references[self.reference_of[rows]], self.distorted[rows]


def pairs_of(dataset: Dataset, size: tuple[int, int], root: Path | str | None = None) -> ImagePairs:
    """The full-reference pairs of a rated set such as TID2013, KADID-10k or PIPAL, from the image cache.

    Args:
        dataset: with `reference` filled for some images; the others are left out.
        size: (height, width) that all are brought to, by the set's `fit`; the set's own leaves them as they are.
        root: folder of caches; None = the usual one.

    Raises:
        InputError: no image has a reference, images are parts of files, or as `open_cache`.
    """
    images = dataset.images[dataset.images["reference"] != ""].reset_index(drop=True)
    if images.empty:
        raise InputError(f"{dataset.name}: no image has a reference; expected a set with full-reference pairs")
    reference_of, references = pd.factorize(images["reference"])
    _check_whole_files(dataset)
    reference_paths = [dataset.path(name) for name in references]
    paths = [dataset.path(name) for name in images["image"]]
    return ImagePairs(
        images=images,
        references=open_cache(reference_paths, size, root, dataset.fit),
        distorted=open_cache(paths, size, root, dataset.fit, [reference_paths[i] for i in reference_of]),
        reference_of=reference_of,
    )


@dataclass(frozen=True)
class Preferences:
    """Comparisons of two distorted images of a reference, as of PieAPP.

    Attributes:
        pairs: as `Dataset.pairs`: reference, image_a, image_b, preference_a (0–1), part.
        pixels: uint8 (N, H, W, 3), every image once.
        rows: for each comparison the rows of reference, A and B in `pixels`, (n, 3).
    """

    pairs: pd.DataFrame
    pixels: ImageCache | np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def source(self) -> str:
        """As of `ImagePairs`."""
        return _keys(self.pixels)

    def triples(self, indices: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Reference, A and B of these comparisons, each uint8 (B, H, W, 3)."""
        rows = self.rows[np.asarray(indices, dtype=np.int64)]
        return self.pixels[rows[:, 0]], self.pixels[rows[:, 1]], self.pixels[rows[:, 2]]


def preferences_of(dataset: Dataset, size: tuple[int, int], root: Path | str | None = None) -> Preferences:
    """The comparisons of a set such as PieAPP (256×256), from the image cache; arguments as of `pairs_of`.

    Raises:
        InputError: the set has no comparisons, images are parts of files, or as `open_cache`.
    """
    if dataset.pairs is None or dataset.pairs.empty:
        raise InputError(f"{dataset.name}: no comparisons; expected a set with preferences, such as pieapp")
    _check_whole_files(dataset)
    named = dataset.pairs[["reference", "image_a", "image_b"]].to_numpy()
    rows, names = pd.factorize(named.ravel())
    pixels = open_cache([dataset.path(name) for name in names], size, root, dataset.fit)
    return Preferences(dataset.pairs.reset_index(drop=True), pixels, rows.reshape(named.shape))


def rated_pairs(dataset: Dataset, side: int | None = None) -> Iterator[tuple[str, np.ndarray, np.ndarray, float]]:
    """The full-reference pairs of a rated set, each brought to one size: image, reference, distorted, MOS.

    Images whose `reference` is empty are left out. Both images are resized straight from their files (bicubic,
    anti-aliased), so that an image stored small is seen as it was shown: upscaled.

    Args:
        dataset: with `reference` filled for some images.
        side: shorter side of both in pixels; None = that of the set's display size, or where it has none the
            reference's own.

    Yields:
        Name of the image, reference and distorted uint8 (H, W, 3) of the same shape, and `mos`.

    Raises:
        InputError: the set has no image with a reference, a file is missing, or a side below 1.
    """
    rows = dataset.images[dataset.images["reference"] != ""]
    if rows.empty:
        raise InputError(f"{dataset.name}: no image has a reference; expected a set with full-reference pairs")
    if side is not None and side < 1:
        raise InputError(f"side={side}: expected 1 pixel or more")
    if side is None and dataset.display_size is not None:
        side = min(dataset.display_size)
    held = ""
    for row in rows.sort_values("reference", kind="stable").itertuples():
        if row.reference != held:
            held, reference = row.reference, dataset.read(row.reference)
            height, width = reference.shape[:2]
            factor = 1 if side is None else side / min(height, width)
            reference = resized(reference, (round(height * factor), round(width * factor)), "stretch")
        yield row.image, reference, resized(dataset.read(row.image), reference.shape[:2], "stretch"), row.mos


def _keys(*images: ImageCache | np.ndarray) -> str:
    return " ".join(cache.key for cache in images if isinstance(cache, ImageCache))


def _check_whole_files(dataset: Dataset) -> None:
    if dataset.regions:
        raise InputError(f"{dataset.name}: images are parts of files; expected a file for each, which the cache reads")
