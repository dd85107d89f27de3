"""Looks for leaks in a split: contents, references, sources or near-identical pictures in two parts of one fold."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from iqasuite.data.frames import validate
from iqasuite.data.loading import read_image
from iqasuite.errors import InputError

COLUMNS = ("fold", "kind", "image_a", "part_a", "image_b", "part_b", "distance")
NEAR = 6  # bits of 64; pictures of different photographs are 15 or more apart in the demo and the lab set


def audit(
    split: pd.DataFrame,
    images: pd.DataFrame,
    sources: Mapping[str, str] | None = None,
    paths: Mapping[str, Path] | None = None,
) -> pd.DataFrame:
    """Everything that two parts of a fold share.

    Args:
        split: split frame.
        images: images frame, for contents and references.
        sources: content -> source photograph; None = not looked at.
        paths: image -> file; None = pictures are not compared.

    Returns:
        One row a leak, with one pair of images as its witness: fold, kind ("content", "reference", "source",
        "near-duplicate"), image_a, part_a, image_b, part_b, distance (bits that differ of the 64-bit difference hash;
        nan for other kinds). Near-duplicates are every pair of different contents within 6 bits. Empty = clean.

    Raises:
        InputError: the split has an image that `images` or `paths` has not, or a file cannot be read.
    """
    split = validate(split, "split")
    images = validate(images, "images").set_index("image")
    unknown = sorted(set(split["image"]) - set(images.index))
    if unknown:
        raise InputError(f"split: {len(unknown)} images unknown ({unknown[0]!r} …); expected those of the images frame")
    merged = split[["image", "fold", "part"]].assign(
        content=images["content"].reindex(split["image"]).to_numpy(),
        reference=images["reference"].reindex(split["image"]).to_numpy(),
    )
    merged["source"] = merged["content"].map(lambda content: (sources or {}).get(content, ""))
    rows = [row for kind in ("content", "reference", "source") for row in _shared(merged, kind)]
    rows += _near_duplicates(merged, paths) if paths is not None else []
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"distance": "float64"})


def difference_hash(path: Path) -> np.uint64:
    """64-bit dHash: whether each of 8×8 gray cells is darker than its right neighbour, after shrinking to 9×8.

    Reference: N. Krawetz, "Kind of like that", 2013.
    """
    small = Image.fromarray(read_image(path)).convert("L").resize((9, 8), Image.Resampling.LANCZOS)
    cells = np.asarray(small, dtype=np.int16)
    return np.packbits(cells[:, :-1] < cells[:, 1:]).view(">u8")[0].astype(np.uint64)


def _shared(merged: pd.DataFrame, kind: str) -> list[tuple]:
    """A witness for every value of the column `kind` and every two parts that hold it."""
    rows = []
    named = merged[merged[kind] != ""]
    for (fold, _), group in named.groupby(["fold", kind], sort=True):
        firsts = group.drop_duplicates("part")[["image", "part"]].itertuples(index=False)
        rows += [(fold, kind, *a, *b, np.nan) for a, b in combinations(firsts, 2)]
    return rows


def _near_duplicates(merged: pd.DataFrame, paths: Mapping[str, Path]) -> list[tuple]:
    names = sorted(set(merged["image"]))
    lost = [name for name in names if name not in paths]
    if lost:
        raise InputError(f"paths: {len(lost)} images of the split have none ({lost[0]!r} …)")
    hashes = np.array([difference_hash(paths[name]) for name in names], dtype=np.uint64)
    content = merged.drop_duplicates("image").set_index("image")["content"].reindex(names).to_numpy()
    pairs = []
    for i in range(len(names) - 1):
        distance = np.bitwise_count(hashes[i] ^ hashes[i + 1 :])
        near = np.flatnonzero((distance <= NEAR) & (content[i + 1 :] != content[i]))
        pairs += [(names[i], names[i + 1 + j], float(distance[j])) for j in near]
    rows = []
    for fold, group in merged.groupby("fold"):
        part = dict(zip(group["image"], group["part"], strict=True))
        for a, b, distance in pairs:
            if a in part and b in part and part[a] != part[b]:
                rows.append((fold, "near-duplicate", a, part[a], b, part[b], distance))
    return rows
