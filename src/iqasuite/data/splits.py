"""Splits by content, three-way: who is trained on, who chooses, who is tested; made once, saved, hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from iqasuite.data.audit import audit as audit  # part of what a split offers
from iqasuite.data.frames import PARTS, SPLIT, validate
from iqasuite.errors import InputError
from iqasuite.paths import write_atomic

_STARTS = 20  # random beginnings of the search; the best end is taken


def by_content(
    images: pd.DataFrame, n_folds: int = 5, seed: int = 0, sources: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """A split in which no content, and no source photograph, is in two parts of a fold.

    The sources are dealt into `n_folds` groups of about the same number of images and the same mean MOS. Fold k tests
    on group k, chooses on group k + 1 and trains on the rest, so that every image is tested exactly once.

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
    images = validate(images, "images").sort_values("image", ignore_index=True)
    source = images["content"].map(lambda content: (sources or {}).get(content, content))
    names, group_of_image = np.unique(source.to_numpy(str), return_inverse=True)
    if not 3 <= n_folds <= len(names):
        raise InputError(f"n_folds={n_folds}: expected 3 to {len(names)}, the number of sources")
    size = np.bincount(group_of_image).astype(float)
    mos = images["mos"].to_numpy()
    total = np.bincount(group_of_image, weights=mos - mos.mean()) / (mos.std() or 1.0)
    rng = np.random.default_rng(seed)
    ends = [_improve(rng.permutation(len(names)) % n_folds, size, total, n_folds) for _ in range(_STARTS)]
    fold_of_image = min(ends, key=lambda end: end[0])[1][group_of_image]
    frames = []
    for fold in range(n_folds):
        part = np.full(len(images), "train", dtype=object)
        part[fold_of_image == (fold + 1) % n_folds] = "val"
        part[fold_of_image == fold] = "test"
        frames.append(images[["image", "content"]].assign(fold=fold, part=part))
    return validate(pd.concat(frames), "split")


def kept_split(
    path: Path | str, images: pd.DataFrame, n_folds: int = 5, seed: int = 0, sources: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """The split saved at `path`; where there is none it is made by `by_content`, audited and saved first.

    So all runs of a suite share one split, whichever comes first.

    Raises:
        InputError: the saved split has other images, other folds, or shares contents or sources between parts.
    """
    if not Path(path).exists():
        save_split(by_content(images, n_folds, seed, sources), path)
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


def save_split(split: pd.DataFrame, path: Path | str) -> Path:
    """Write the split as CSV, whole or not at all."""
    return write_atomic(path, _canonical(split))


def read_split(path: Path | str) -> pd.DataFrame:
    """The split saved in `path`.

    Raises:
        InputError: the file is missing, not a CSV table, or not a split.
    """
    try:
        frame = pd.read_csv(path, dtype={"image": str, "content": str})
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected a split (CSV)") from error
    except ValueError as error:  # parser, encoding, empty
        raise InputError(f"{path}: not a CSV table ({error}); expected columns {', '.join(SPLIT)}") from error
    return validate(frame, "split", str(path))


def split_hash(split: pd.DataFrame) -> str:
    """SHA-256 of the split, the same whatever the order of its rows."""
    return hashlib.sha256(_canonical(split).encode()).hexdigest()


def _canonical(split: pd.DataFrame) -> str:
    ordered = validate(split, "split").sort_values(["fold", "image"])
    return ordered.to_csv(index=False, lineterminator="\n")


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
