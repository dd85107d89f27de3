"""Leak audit of a split: what is shared between two parts of one fold."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from iqasuite.datasets.dataset import Dataset
from iqasuite.datasets.frames import validate
from iqasuite.errors import InputError
from iqasuite.images.fingerprints import NEAR, near_pairs, thumbnails

COLUMNS = ("fold", "kind", "image_a", "part_a", "image_b", "part_b", "similarity")


def audit(
    split: pd.DataFrame,
    images: pd.DataFrame,
    sources: Mapping[str, str] | None = None,
    pairs: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Everything that two parts of a fold share.

    Args:
        split: split frame.
        images: images frame, for contents and references.
        sources: content -> source photograph; None = not looked at.
        pairs: images that show one scene, as `near_duplicates` finds them; None = pixels are not looked at.

    Returns:
        One row a leak, with one pair of images as its witness: fold, kind ("content", "reference", "source",
        "near-duplicate"), image_a, part_a, image_b, part_b, similarity (of near-duplicates, see
        `iqasuite.images.fingerprints`; nan for other kinds). Every near-duplicate pair counts, the most similar first.
        Empty = clean.

    Raises:
        InputError: the split has an image that `images` has not.
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
    leaks = [_shared(merged, kind) for kind in ("content", "reference", "source")]
    if pairs is not None:
        leaks.append(_across_parts(merged, pairs))
    leaks = [frame for frame in leaks if len(frame)]
    empty = pd.DataFrame(columns=list(COLUMNS)).astype({"similarity": "float64"})
    return pd.concat(leaks, ignore_index=True)[list(COLUMNS)] if leaks else empty


def near_duplicates(images: pd.DataFrame, paths: Mapping[str, Path], near: float = NEAR) -> pd.DataFrame:
    """All pairs of images of different contents that show nearly the same pixels.

    Args:
        images: images frame, or its columns image and content.
        paths: image -> file.
        near: least similarity; lower than the usual, it shows what comes close.

    Returns:
        image_a, image_b, content_a, content_b, similarity; the most similar first.

    Raises:
        InputError: an image without a path, a file that cannot be read.
    """
    named = images[["image", "content"]].sort_values("image", ignore_index=True)
    lost = [name for name in named["image"] if name not in paths]
    if lost:
        raise InputError(f"paths: {len(lost)} images have none ({lost[0]!r} …); expected a file for each")
    pairs = near_pairs(thumbnails([paths[name] for name in named["image"]]), named["content"], near)
    a, b = named.iloc[pairs["first"]], named.iloc[pairs["second"]]
    sides = (("a", a), ("b", b))
    columns = {f"{name}_{side}": rows[name].to_numpy() for name in ("image", "content") for side, rows in sides}
    return pd.DataFrame(columns | {"similarity": pairs["similarity"].to_numpy()})


def in_common(first: Dataset, second: Dataset) -> pd.DataFrame:
    """Images that two sets share: a network that was trained on one must not be tested on them in the other.

    Returns:
        As `near_duplicates`; image_a and content_a are of the first set, image_b and content_b of the second.

    Raises:
        InputError: a set without images, a file that cannot be read.
    """
    both = {"a": first, "b": second}
    images = [dataset.images[["image"]].assign(set=name) for name, dataset in both.items()]
    named = pd.concat(images, ignore_index=True)
    named = named.assign(content=named["set"], image=named["set"] + "/" + named["image"])
    paths = {f"{name}/{image}": path for name, dataset in both.items() for image, path in dataset.paths().items()}
    pairs = near_duplicates(named, paths)
    for side, dataset in both.items():
        pairs[f"image_{side}"] = pairs[f"image_{side}"].str.split("/", n=1).str[-1]
        contents = dataset.images.set_index("image")["content"]
        pairs[f"content_{side}"] = pairs[f"image_{side}"].map(contents)
    return pairs


def joined_sources(sources: Mapping[str, str], pairs: pd.DataFrame) -> dict[str, str]:
    """Sources in which contents that show one scene are one source, so that a split keeps them together.

    Args:
        sources: content -> source photograph.
        pairs: columns content_a, content_b, as from `near_duplicates`.

    Returns:
        content -> source; a joined source has the name of its first.
    """
    names = sorted(set(sources.values()))
    number = {name: i for i, name in enumerate(names)}
    a = pairs["content_a"].map(lambda content: number[sources[content]]).to_numpy(int)
    b = pairs["content_b"].map(lambda content: number[sources[content]]).to_numpy(int)
    links = coo_array((np.ones(len(a)), (a, b)), shape=(len(names), len(names)))
    _, group = connected_components(links, directed=False)
    first: dict[int, str] = {}
    for i, name in enumerate(names):
        first.setdefault(int(group[i]), name)
    return {content: first[int(group[number[source]])] for content, source in sources.items()}


def _shared(merged: pd.DataFrame, kind: str) -> pd.DataFrame:
    """A witness for every value of the column `kind` and every two parts that hold it."""
    named = merged[merged[kind] != ""]
    firsts = named.drop_duplicates(["fold", kind, "part"]).sort_values(["fold", kind], kind="stable")
    counts = firsts.groupby(["fold", kind])["part"].transform("size")
    rows = []
    for (fold, _), group in firsts[counts > 1].groupby(["fold", kind], sort=True):
        pairs = combinations(group[["image", "part"]].itertuples(index=False), 2)
        rows += [(fold, kind, *a, *b, np.nan) for a, b in pairs]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _across_parts(merged: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """The pairs whose images are in two parts of a fold, once for each fold."""
    part = merged[["image", "fold", "part"]]
    both = pairs.merge(part.rename(columns={"image": "image_a", "part": "part_a"}), on="image_a")
    both = both.merge(part.rename(columns={"image": "image_b", "part": "part_b"}), on=["image_b", "fold"])
    both = both[both["part_a"] != both["part_b"]].assign(kind="near-duplicate")
    return both.sort_values(["fold", "similarity"], ascending=[True, False], kind="stable")[list(COLUMNS)]
