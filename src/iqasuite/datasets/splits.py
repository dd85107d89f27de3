"""Splits by content, three-way: who is trained on, who chooses, who is tested; made once, saved, hashed.

`by_content` makes folds, `repeated_by_content` random splits; `leak_free_sources` first brings contents together that
show one image. `random_folds` is what they replace.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from iqasuite.csv_texts import frame_csv
from iqasuite.datasets.dataset import Dataset
from iqasuite.datasets.frames import PARTS, read_frame, validate
from iqasuite.datasets.leakage import audit as audit  # noqa: PLC0414 (part of what a split offers)
from iqasuite.datasets.leakage import joined_sources, near_duplicates
from iqasuite.errors import InputError
from iqasuite.paths import write_atomic

_STARTS = 20  # random beginnings of the search; the best end is taken
_SEARCHED = 60  # sources up to which folds are searched for; with more, dealing in order of quality is as balanced
_SHARES = (0.6, 0.2, 0.2)  # of sources in train, val, test


def by_content(
    images: pd.DataFrame, n_folds: int = 5, seed: int = 0, sources: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """A split in which no content, and no source photograph, is in two parts of a fold.

    The sources are dealt into `n_folds` groups of about the same number of images and the same mean MOS: up to 60
    sources by search, beyond by dealing them out in order of their mean MOS. Fold k tests on group k, chooses on group
    k + 1 and trains on the rest, so that every image is tested exactly once.

    Args:
        images: images frame; the order of its rows does not matter.
        n_folds: 3 or more, at most the number of sources.
        seed: of the search for balanced groups.
        sources: content -> source photograph; None = every content is a source of its own.

    Returns:
        Split frame, n_folds rows an image, ordered by fold and image.

    Raises:
        InputError: too few or too many folds.
    """
    images, names, group_of_image, size, total = _by_source(images, sources)
    _check_folds(n_folds, 3, len(names), "sources", "a split in train, val and test")
    rng = np.random.default_rng(seed)
    if len(names) <= _SEARCHED:
        ends = [_improve(rng.permutation(len(names)) % n_folds, size, total, n_folds) for _ in range(_STARTS)]
        fold_of_source = min(ends, key=lambda end: end[0])[1]
    else:
        fold_of_source = _dealt(total / size, np.arange(n_folds), rng)
    fold_of_image = fold_of_source[group_of_image]
    frames = []
    for fold in range(n_folds):
        part = np.full(len(images), "train", dtype=object)
        part[fold_of_image == (fold + 1) % n_folds] = "val"
        part[fold_of_image == fold] = "test"
        frames.append(images[["image", "content"]].assign(fold=fold, part=part))
    return validate(pd.concat(frames), "split")


def repeated_by_content(
    images: pd.DataFrame,
    n_repeats: int = 10,
    seed: int = 0,
    sources: Mapping[str, str] | None = None,
    shares: Sequence[float] = _SHARES,
) -> pd.DataFrame:
    """Random splits, each by content and stratified by quality; `fold` counts the repeats.

    Sources in order of their mean MOS are dealt out in blocks, each of which has every part in its share.

    Args:
        images: images frame.
        n_repeats: how many splits.
        seed: of all of them.
        sources: content -> source photograph; None = every content is a source of its own.
        shares: of the sources in train, val and test, in tenths or twentieths; they add to 1.

    Returns:
        Split frame, n_repeats rows an image.

    Raises:
        InputError: no repeats, shares that are no twentieths of 1, too few sources for every part.
    """
    counts = np.round(np.asarray(shares, float) * 20).astype(int)
    if len(counts) != 3 or (counts < 1).any() or not np.allclose(counts / 20, shares) or counts.sum() != 20:
        raise InputError(f"shares={tuple(shares)}: expected three of at least .05 that add to 1, such as (.6, .2, .2)")
    if n_repeats < 1:
        raise InputError(f"n_repeats={n_repeats}: expected 1 or more")
    pattern = np.repeat(np.arange(3), counts // np.gcd.reduce(counts))
    images, names, group_of_image, size, total = _by_source(images, sources)
    if len(names) < len(pattern):
        raise InputError(f"shares={tuple(shares)}: expected at least {len(pattern)} sources, found {len(names)}")
    frames = []
    for repeat in range(n_repeats):
        dealt = _dealt(total / size, pattern, np.random.default_rng([seed, repeat]))
        part = np.asarray(PARTS, dtype=object)[dealt[group_of_image]]
        frames.append(images[["image", "content"]].assign(fold=repeat, part=part))
    return validate(pd.concat(frames), "split")


def random_folds(images: pd.DataFrame, n_folds: int = 5, seed: int = 0) -> pd.DataFrame:
    """The split of many published experiments: every image for itself, whatever it shows; train and test, no val.

    Each image is tested once. Images of one content come to lie on both sides, so that a test part asks for what was
    learnt by heart as well: for the faithful protocol, and never to be audited away.

    Args:
        images: images frame; the order of its rows does not matter.
        n_folds: 2 or more, at most the number of images.
        seed: of the order.

    Returns:
        Split frame, n_folds rows an image.

    Raises:
        InputError: too few or too many folds.
    """
    images = validate(images, "images").sort_values("image", ignore_index=True)
    _check_folds(n_folds, 2, len(images), "images", "a split in train and test")
    fold_of_image = np.random.default_rng(seed).permutation(len(images)) % n_folds
    frames = []
    for fold in range(n_folds):
        part = np.where(fold_of_image == fold, "test", "train")
        frames.append(images[["image", "content"]].assign(fold=fold, part=part))
    return validate(pd.concat(frames), "split")


def has_official(dataset: Dataset) -> bool:
    """Whether a split of one fold in train, val and test comes with the set."""
    split = dataset.official_split
    return split is not None and set(split["part"]) == set(PARTS) and split["fold"].nunique() == 1


def official(dataset: Dataset, *_: object) -> pd.DataFrame:
    """The split that comes with a set, in the form of `by_content`: what the set's own design says stays.

    Raises:
        InputError: the set has none, or not one fold in train, val and test.
    """
    if dataset.official_split is None or not has_official(dataset):
        raise InputError(f"n_folds=1: no split in train, val and test comes with {dataset.name}; expected 3 or more")
    return dataset.official_split


def leak_free_sources(dataset: Dataset) -> dict[str, str]:
    """The set's sources, contents that show (nearly) the same scene joined: what its splits should be made by."""
    if not dataset.has_pixels:
        return dataset.sources
    return joined_sources(dataset.sources, near_duplicates(dataset.images, dataset.paths()))


def kept_split(
    path: Path | str,
    images: pd.DataFrame,
    n_folds: int = 5,
    seed: int = 0,
    sources: Mapping[str, str] | None = None,
    make: Callable[..., pd.DataFrame] = by_content,
) -> pd.DataFrame:
    """The split saved at `path`; where there is none it is made, audited and saved first.

    So all runs of a suite share one split, whichever comes first.

    Args:
        path: CSV file.
        images, n_folds, seed, sources: as in `by_content`.
        make: `by_content`, `repeated_by_content` (n_folds is then the number of repeats), or another of their form.

    Raises:
        InputError: the saved split has other images, other folds, or shares contents or sources between parts.
    """
    if not Path(path).exists():
        save_split(make(images, n_folds, seed, sources), path)
    split = read_split(path)
    folds = split["fold"].nunique()
    if set(split["image"]) != set(images["image"]) or folds != n_folds:
        raise InputError(
            f"{path}: split of {split['image'].nunique()} images in {folds} folds; expected these {len(images)} in "
            f"{n_folds} (remove the file to make it anew)"
        )
    leaks = audit(split, images, sources)
    if len(leaks):
        worst = leaks.iloc[0]
        pair = f"{worst['image_a']} ({worst['part_a']}) and {worst['image_b']} ({worst['part_b']})"
        raise InputError(f"{path}: {len(leaks)} leaks, the first a shared {worst['kind']}: {pair}")
    return split


def suite_split(
    folder: Path | str, dataset: Dataset, n_splits: int = 10, n_folds: int = 0, seed: int = 0
) -> tuple[pd.DataFrame, dict[str, str]]:
    """The split of a suite's models of MOS, made and saved by whichever run comes first.

    Args:
        folder: of the suite's splits. Random splits are `<set>.csv` in it, folds `split.csv`, which artificial
            observers have too, so that both can be compared.
        dataset: images without MOS are left out.
        n_splits: random splits by content, where there are no folds.
        n_folds: folds by content, each image tested once; 0 = random splits.
        seed: of the split.

    Returns:
        Split frame, and the sources it was made by (`leak_free_sources`).

    Raises:
        InputError: as `kept_split`.
    """
    images, sources = dataset.images.dropna(subset="mos"), leak_free_sources(dataset)
    if n_folds:
        return kept_split(Path(folder) / "split.csv", images, n_folds, seed, sources), sources
    path = Path(folder) / f"{dataset.name}.csv"
    return kept_split(path, images, n_splits, seed, sources, make=repeated_by_content), sources


def part(split: pd.DataFrame, fold: int, name: str) -> list[str]:
    """Images of a part ("train", "val", "test") of a fold, in the split's order.

    Raises:
        InputError: no such fold or part.
    """
    if name not in PARTS:
        raise InputError(f"part {name!r}: expected one of {', '.join(PARTS)}")
    chosen = split[(split["fold"] == fold) & (split["part"] == name)]
    if chosen.empty:
        raise InputError(f"fold {fold}, part {name}: no images; the split has folds {sorted(set(split['fold']))}")
    return chosen["image"].tolist()


def part_table(split: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """What is in every part of every fold: fold, part, images, contents, mos (mean)."""
    merged = split.merge(images[["image", "mos"]], on="image", validate="many_to_one")
    merged["part"] = pd.Categorical(merged["part"], PARTS)
    grouped = merged.groupby(["fold", "part"], observed=True)
    table = grouped.agg(images=("image", "size"), contents=("content", "nunique"), mos=("mos", "mean"))
    return table.reset_index().astype({"part": str})


def save_split(split: pd.DataFrame, path: Path | str) -> Path:
    """Write the split as CSV, a row an image and a column a fold; names that look like formulas are guarded."""
    parts = _ordered(split).set_index(["image", "content", "fold"])["part"].unstack("fold", fill_value="")
    return write_atomic(path, frame_csv(parts.add_prefix("fold ").reset_index()))


def read_split(path: Path | str) -> pd.DataFrame:
    """The split saved in `path`.

    Raises:
        InputError: the file is missing, not a CSV table, or not a split.
    """
    return read_frame(path, "split")


def split_hash(split: pd.DataFrame) -> str:
    """SHA-256 of the split, the same whatever the order of its rows."""
    return hashlib.sha256(_ordered(split).to_csv(index=False, lineterminator="\n").encode()).hexdigest()


def _check_folds(n_folds: int, least: int, most: int, what: str, aim: str) -> None:
    if most < least:
        raise InputError(f"{most} {what if most != 1 else what[:-1]}: {aim} takes {least} or more {what}")
    if not least <= n_folds <= most:
        expected = f"{least} to {most}" if most > least else f"{least}"
        raise InputError(f"n_folds={n_folds}: expected {expected}, there are {most} {what}")


def _ordered(split: pd.DataFrame) -> pd.DataFrame:
    return validate(split, "split").sort_values(["fold", "image"])


def _by_source(
    images: pd.DataFrame, sources: Mapping[str, str] | None
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images in order, the sources' names, each image's source (index), each source's number of images and its summed
    MOS (standardised over the images; 0 where there is none)."""
    images = validate(images, "images").sort_values("image", ignore_index=True)
    source = images["content"].map(lambda content: (sources or {}).get(content, content))
    names, group_of_image = np.unique(source.to_numpy(str), return_inverse=True)
    mos = images["mos"].to_numpy()
    finite = mos[np.isfinite(mos)]
    standard = np.nan_to_num((mos - finite.mean()) / (finite.std() or 1.0)) if len(finite) else np.zeros(len(mos))
    size = np.bincount(group_of_image).astype(float)
    return images, names, group_of_image, size, np.bincount(group_of_image, weights=standard)


def _dealt(quality: np.ndarray, pattern: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Which hand (value of `pattern`) each source gets: in order of quality, one shuffled pattern after another."""
    order = np.lexsort((rng.random(len(quality)), quality))  # ties in any order
    hands = np.concatenate([rng.permutation(pattern) for _ in range(-(-len(quality) // len(pattern)))])
    dealt = np.empty(len(quality), int)
    dealt[order] = hands[: len(quality)]
    return dealt


def _improve(fold: np.ndarray, size: np.ndarray, total: np.ndarray, n_folds: int) -> tuple[float, np.ndarray]:
    """Move and swap groups between folds until nothing helps; the cost and the folds at the end."""
    fold, best = fold.copy(), _cost(fold, size, total, n_folds)
    improved = True
    while improved:
        improved = False
        for a in range(len(fold)):
            trials = [_moved(fold, a, f) for f in range(n_folds) if f != fold[a]]
            trials += [_swapped(fold, a, b) for b in range(a + 1, len(fold)) if fold[a] != fold[b]]
            costs = [_cost(trial, size, total, n_folds) for trial in trials]
            if min(costs) < best - 1e-12:
                fold, best, improved = trials[int(np.argmin(costs))], min(costs), True
    return best, fold


def _cost(fold: np.ndarray, size: np.ndarray, total: np.ndarray, n_folds: int) -> float:
    """Spread of the folds' sizes (relative) and of their mean MOS (in standard deviations of the MOS)."""
    count = np.bincount(fold, weights=size, minlength=n_folds)
    if (count == 0).any():
        return np.inf
    mean = np.bincount(fold, weights=total, minlength=n_folds) / count
    return float(np.mean((count / count.mean() - 1) ** 2) + np.mean(mean**2))


def _moved(fold: np.ndarray, group: int, to: int) -> np.ndarray:
    moved = fold.copy()
    moved[group] = to
    return moved


def _swapped(fold: np.ndarray, a: int, b: int) -> np.ndarray:
    swapped = fold.copy()
    swapped[[a, b]] = fold[[b, a]]
    return swapped
