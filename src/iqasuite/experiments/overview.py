"""A data set overview: its facts, what files and contents tell of quality, and what several splits of it share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from iqasuite.datasets import adapters, load
from iqasuite.datasets.dataset import Dataset
from iqasuite.datasets.integrity import state
from iqasuite.datasets.leakage import in_common
from iqasuite.datasets.splits import by_content
from iqasuite.evaluation.metrics import srocc


def facts(dataset: Dataset) -> pd.DataFrame:
    """What is known of a set before anything is computed: rows fact, and a column named like the set."""
    images, scale = dataset.images, dataset.scale
    direction = "higher = better" if scale.higher_is_better else "lower = better, turned round here"
    absent = f", {len(dataset.absent):,} of the official set absent" if dataset.absent else ""
    votes = f"{len(dataset.votes):,} of {dataset.votes['observer'].nunique()} observers"
    rows = {
        "images available": f"{len(images):,}{absent}",
        "contents": f"{images['content'].nunique():,}, of {len(set(dataset.sources.values())):,} sources",
        "with a reference": f"{(images['reference'] != '').sum():,}",
        "own scale": f"{scale.name} {scale.low:g} to {scale.high:g}, {direction}",
        "single votes": votes if len(dataset.votes) else "none",
        "licence": dataset.licence or "not stated",
        "citation": dataset.citation or "–",
    }
    if dataset.name in adapters.NAMES:
        rows["structure"] = adapters.card(dataset.name).structure
    return pd.DataFrame({"fact": list(rows), dataset.name: list(rows.values())})


def between_contents(images: pd.DataFrame) -> float:
    """Variance of the contents' mean MOS as a share of the variance of all images' MOS; may exceed 1 by chance."""
    return images.groupby("content")["mos"].mean().var() / images["mos"].var()


def told_by_files(file_facts: pd.DataFrame, mos: pd.Series) -> dict[str, float]:
    """SROCC of MOS (index image) with height, bytes and bits per pixel of the files, where these differ."""
    varied = [name for name in ("height", "bytes", "bits_per_pixel") if file_facts[name].nunique() > 1]
    quality = mos[file_facts.index].to_numpy(float)
    return {name: srocc(file_facts[name].to_numpy(float), quality) for name in varied}


def splits_to_compare(dataset: Dataset, ours: pd.DataFrame, seed: int = 0) -> dict[str, pd.DataFrame]:
    """Ways to split a set, by name: ours, by content alone, by image at random, and its authors' where there is one.

    Args:
        dataset: whose images.
        ours: split frame, by source.
        seed: of the other splits.
    """
    images = dataset.images
    parts = np.random.default_rng(seed).choice(["train", "val", "test"], len(images), p=[0.6, 0.2, 0.2])
    candidates = {
        "by source (ours)": ours,
        "by content": by_content(images, ours["fold"].nunique(), seed),
        "by image, at random": images[["image", "content"]].assign(fold=0, part=parts),
    }
    if dataset.official_split is not None:
        candidates["official"] = dataset.official_split
    return candidates


def shared_with(dataset: Dataset, others: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Pairs of images that show one scene in this set and in another, by name of the other set.

    Args:
        dataset: with images; of a set without, nothing is compared.
        others: names of sets; this one and those that are missing are skipped.

    Returns:
        Name -> pairs, as of `in_common`.
    """
    available = [name for name in others if state(adapters.card(name)) in ("here", "made on first use")]
    found = {name: load(name, missing="drop") for name in available if name != dataset.name and dataset.has_pixels}
    return {name: in_common(dataset, other) for name, other in found.items()}


def headline(
    images: pd.DataFrame, near: int, shared: dict[str, pd.DataFrame], files: dict[str, float], recall: pd.DataFrame
) -> dict[str, float]:
    """The main numbers of an overview.

    Args:
        images: images frame.
        near: pairs of different contents that show one scene.
        shared: of `shared_with`.
        files: of `told_by_files`.
        recall: of `planted_recall`; without rows where nothing was planted.
    """
    found = {
        "images": float(len(images)),
        "contents": float(images["content"].nunique()),
        "near-duplicate pairs": float(near),
    }
    found |= {f"pairs shared with {name}": float(len(pairs)) for name, pairs in shared.items()}
    found |= {f"srocc of {fact.replace('_', ' ')}": value for fact, value in files.items()}
    if len(recall):
        found["planted copies found"] = float((recall["found"] * recall["n"]).sum() / recall["n"].sum())
    return found
