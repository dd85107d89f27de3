"""Pseudo-labelled pairs: photographs distorted by our own code, scored by a consensus of metrics in place of observers.

Training data for full-reference networks where no ratings are available. A pseudo-label is what metrics agree on, not
what anybody saw: it may train and choose a network, never show that one is good. Crops and metrics are computed once
and kept as uint8 memory maps in a folder named after the files' contents and all settings. Pairs that observers rated
are in `datasets.pairs`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import ndtri
from scipy.stats import rankdata
from torch import Tensor

from iqasuite.csv_texts import read_csv
from iqasuite.datasets import splits
from iqasuite.datasets.frames import validate
from iqasuite.datasets.pairs import ImagePairs
from iqasuite.errors import InputError
from iqasuite.images.cache import ImageCache
from iqasuite.images.distortions.pixels import SMALLEST
from iqasuite.images.distortions.registry import ALL, DISTORTIONS, LEVELS, N_LEVELS, STILLS
from iqasuite.images.loading import read_image
from iqasuite.images.read_ahead import read_ahead
from iqasuite.paths import cache_root, file_hash, locked, replacing_folder

_log = logging.getLogger(__name__)
# How a table is read: "NA" and "007" are names like any other.
_AS_WRITTEN = {
    "dtype": dict.fromkeys(("image", "content", "reference"), str),
    "keep_default_na": False,
    "na_values": [""],
}
_NAMED = ["image", "content", "reference", "distortion", "level"]
_LAYOUT = 1  # raise it when the code below, or of a distortion, makes other pixels from the same settings
# Contrast, gradients, wavelets and saliency, four of the five with colour; 95 ms a pair of 288² on one core.
CONSENSUS = ("ms_ssim", "gmsd", "mdsi", "haarpsi", "vsi")


@dataclass(frozen=True)
class PseudoLabelled(ImagePairs):
    """Pairs of crops and their pseudo-labels.

    Attributes:
        images: images frame: `content` is the photograph's name (split by it), `distortion` and `level` 1–5 how the
            crop was distorted, `mos` the pseudo-label (mean 0, deviation 1, higher = better), `mos_std` nan and
            `n_votes` 0, as there are no votes. Names are of no files.
        metrics: what each metric gave, higher = better: one column a metric, rows as of `images`.
        references, distorted: uint8 crops (n, size, size, 3), read from disk as they are needed.
        reference_of: for each row of `images` the row of its crop in `references`.
    """

    metrics: pd.DataFrame


def make(
    photographs: Sequence[Path | str],
    metrics: Mapping[str, Callable[[Tensor, Tensor], Tensor]],
    distortions: Sequence[str] = tuple(DISTORTIONS),
    size: int = 288,
    places: int = 1,
    seed: int = 0,
    root: Path | str | None = None,
    share: float = 1.0,
) -> PseudoLabelled:
    """Every photograph with every distortion at five levels, with pseudo-labels; from disk where it was made before.

    A crop is drawn for each photograph, distortion and place, mirrored half of the time, and distorted itself, so that
    its five levels show the same part of the photograph and other distortions show others.

    Args:
        photographs: undistorted image files, `size` pixels or more a side, with different names.
        metrics: name -> function of reference and distorted, float32 (B, 3, H, W) in [0, 1], to (B,), higher = better:
            `models.metrics.piq_metrics.qualities(CONSENSUS)`. What is on disk is found again by their names.
        distortions: some of `registry.ALL`.
        size: side of the crops in pixels.
        places: crops of each photograph and distortion.
        seed: of places and distortions.
        root: folder of such sets; None = `pseudo_labelled` in the cache folder.
        share: of the pairs of photograph and distortion that are made, drawn one by one: many photographs and many
            distortions need not meet each other.

    Raises:
        InputError: no photographs, two of one name, one that cannot be read or is too small, an unknown distortion, no
            metrics, a metric that gives nan, too little disk space. Nothing half-written is left then.
    """
    paths = [Path(path) for path in photographs]
    _check(paths, metrics, distortions, size, places, share)
    packages = ("piq", "pillow", "av") if set(distortions) & set(STILLS) else ("piq", "pillow")
    settings: dict[str, Any] = {
        "layout": _LAYOUT,
        "photographs": [(path.stem, file_hash(path)) for path in paths],
        "size": size,
        "kinds": {name: LEVELS[name] for name in distortions},
        "places": places,
        "seed": seed,
        "metrics": list(metrics),
        "versions": {name: version(name) for name in packages},
    } | ({"share": share} if share < 1 else {})
    folder = Path(root) if root is not None else cache_root() / "pseudo_labelled"
    path = folder / hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:32]
    if not _is_whole(path, size):
        with locked(path):  # runs of a batch want the same set at the same time: one of them makes it
            if not _is_whole(path, size):
                _build(path, paths, metrics, _plan(paths, distortions, places, seed, share), size, seed)
    return _opened(path, size)


def kept_by_photograph(path: Path | str, images: pd.DataFrame, n_splits: int = 3, seed: int = 0) -> pd.DataFrame:
    """Random splits of pairs by photograph, `splits.repeated_by_content`, of which the photographs' parts are saved.

    So sets of other distortions and places of the same photographs share one split.

    Args:
        path: CSV file, a split of photographs; made and saved where there is none.
        images: images frame of pairs.
        n_splits, seed: of the splits that are made.

    Returns:
        Split frame of the pairs.

    Raises:
        InputError: as `splits.kept_split`: the file has other photographs or another number of splits.
    """
    photographs = images.groupby("content", as_index=False)["mos"].mean()
    photographs = images.drop_duplicates("content").drop(columns="mos").merge(photographs, on="content")
    photographs = photographs.assign(image=photographs["content"], reference="", distortion="", level=np.nan)
    split = splits.kept_split(path, photographs, n_splits, seed, make=splits.repeated_by_content)
    return images[["image", "content"]].merge(split[["content", "fold", "part"]], on="content")


def consensus(metrics: pd.DataFrame | np.ndarray) -> np.ndarray:
    """Pseudo-labels (n,): the mean of the metrics' normal scores, with mean 0 and standard deviation 1.

    Ranks put all metrics on one scale whatever their own; so a label depends on the pairs that it is ranked among.
    `make` ranks among all pairs of the set, the ones later held out included: labels of one set are the same in every
    split.

    Args:
        metrics: (n, k), higher = better in each column.

    Raises:
        InputError: no rows, or values that are not finite.
    """
    values = np.asarray(metrics, dtype=float)
    if values.ndim != 2 or not values.size:
        raise InputError(f"consensus: metrics {values.shape}; expected (n, k)")
    if not np.isfinite(values).all():
        raise InputError("consensus: metrics that are not finite; expected a number for every pair")
    scores = ndtri((rankdata(values, axis=0) - 0.5) / len(values)).mean(axis=1)
    return (scores - scores.mean()) / (scores.std() or 1.0)  # 1.0: all pairs alike


def _check(
    paths: list[Path], metrics: Mapping[str, Any], distortions: Sequence[str], size: int, places: int, share: float
) -> None:
    if not paths or not metrics or not distortions:
        request = f"{len(paths)} photographs, {len(metrics)} metrics, {len(distortions)} distortions"
        raise InputError(f"pseudo-labels of {request}: expected one or more of each")
    unknown = [name for name in distortions if name not in ALL]
    if unknown:
        raise InputError(f"distortion {unknown[0]!r}: expected some of {', '.join(ALL)}")
    if size < SMALLEST or places < 1 or not 0 < share <= 1:
        found = f"size={size}, places={places}, share={share:g}"
        raise InputError(f"{found}: expected {SMALLEST} or more, 1 or more, above 0 and up to 1")
    stems = [path.stem for path in paths]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise InputError(f"photographs: two are named {twice[0]!r}; expected different names, which splits go by")


def _plan(
    paths: list[Path], distortions: Sequence[str], places: int, seed: int, share: float
) -> dict[Path, list[tuple[str, int]]]:
    """For each photograph the distortions that it gets, each with its place."""

    def drawn(path: Path, kind: str, place: int) -> bool:
        return share >= 1 or np.random.default_rng([seed, _key(path.stem, kind, place), 2]).random() < share

    each = [(kind, place) for kind in distortions for place in range(places)]
    plan = {path: [(kind, place) for kind, place in each if drawn(path, kind, place)] for path in paths}
    return {path: chosen for path, chosen in plan.items() if chosen} or {paths[0]: each[:1]}


def _build(
    path: Path,
    paths: list[Path],
    metrics: Mapping[str, Callable[..., Any]],
    plan: dict[Path, list[tuple[str, int]]],
    size: int,
    seed: int,
) -> None:
    """Write crops and table, all of it or nothing."""
    n = sum(map(len, plan.values()))
    needed, free = n * (1 + N_LEVELS) * 3 * size**2, shutil.disk_usage(path.parent).free
    if needed > free:
        room = f"{needed / 2**20:.0f} MiB needed, {free / 2**20:.0f} MiB are free"
        raise InputError(f"{path.parent}: {room}; expected room (IQASUITE_CACHE names another folder)")
    _log.info("making %d pseudo-labelled pairs in %s", n * N_LEVELS, path)

    def made(photograph: Path) -> list[tuple[np.ndarray, np.ndarray, list[tuple[Any, ...]]]]:
        pixels, name = _large_enough(photograph, size), photograph.stem
        parts = []
        for distortion, place in plan.get(photograph, []):
            crop, levels = _distorted(pixels, name, distortion, place, size, seed)
            parts.append((crop, levels, _rows(name, distortion, place, _measured(metrics, crop, levels))))
        return parts

    rows = []
    with (
        replacing_folder(path) as folder,
        open(folder / "references.u8", "wb") as references,
        open(folder / "distorted.u8", "wb") as distorted,
    ):
        for parts in read_ahead(made, paths, ahead=4):
            for crop, levels, described in parts:
                references.write(crop.data)
                distorted.write(levels.data)
                rows += described
        table = pd.DataFrame(rows, columns=[*_NAMED, *metrics])
        table.to_csv(folder / "table.csv", index=False)


def _large_enough(path: Path, size: int) -> np.ndarray:
    pixels = read_image(path)
    if min(pixels.shape[:2]) < size:
        raise InputError(f"{path}: {pixels.shape[1]}×{pixels.shape[0]} pixels; expected {size} or more on each side")
    return pixels


def _distorted(
    pixels: np.ndarray, name: str, distortion: str, place: int, size: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """A crop (size, size, 3) and its five levels (5, size, size, 3); the same whatever else is made."""
    key = _key(name, distortion, place)
    rng = np.random.default_rng([seed, key])
    top, left = (int(rng.integers(side - size + 1)) for side in pixels.shape[:2])
    crop = pixels[top : top + size, left : left + size]
    crop = np.ascontiguousarray(crop[:, ::-1] if rng.random() < 0.5 else crop)
    of_levels = [np.random.default_rng([seed, key, 1]) for _ in range(N_LEVELS)]  # the same for all
    make_level = ALL[distortion]
    return crop, np.stack([make_level(crop, level, rng) for level, rng in enumerate(of_levels, start=1)])


def _key(name: str, distortion: str, place: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{name}|{distortion}|{place}".encode()).digest()[:8])


@torch.inference_mode()
def _measured(metrics: Mapping[str, Callable[..., Any]], crop: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Each metric of each level, (5, k)."""
    distorted = torch.from_numpy(levels).permute(0, 3, 1, 2).float() / 255
    reference = (torch.from_numpy(crop).permute(2, 0, 1).float() / 255).expand_as(distorted)
    values = np.stack([function(reference, distorted).numpy() for function in metrics.values()], axis=1)
    wrong = ~np.isfinite(values).all(axis=0)
    if wrong.any():
        name = list(metrics)[int(wrong.argmax())]
        raise InputError(f"metric {name!r} gives nan or an infinite value; expected numbers")
    return values


def _rows(name: str, distortion: str, place: int, values: np.ndarray) -> list[tuple[Any, ...]]:
    stem = f"{name}/{distortion}_{place + 1}"
    return [(f"{stem}_{level}", name, f"{stem}_0", distortion, level, *v) for level, v in enumerate(values, start=1)]


def _table(path: Path) -> pd.DataFrame:
    table = read_csv(path / "table.csv", "what was made", **_AS_WRITTEN)
    numbers = [name for name in table.columns if name not in _NAMED[:4]]
    table[numbers] = table[numbers].astype(float)
    if not set(_NAMED) <= set(table) or table.isna().any(axis=None):
        raise ValueError("a table with gaps")
    return table


def _is_whole(path: Path, size: int) -> bool:
    """Whether the folder is there and its maps have the lengths that its table says."""
    if not path.is_dir():
        return False
    try:
        table = _table(path)
        n_references = table["reference"].nunique()
        lengths = [(path / name).stat().st_size for name in ("references.u8", "distorted.u8")]
    except (OSError, ValueError, KeyError) as error:
        _log.warning("%s: damaged (%s), made again", path, error)
        return False
    if lengths != [n_references * 3 * size**2, len(table) * 3 * size**2]:
        _log.warning("%s: damaged (maps of another length), made again", path)
        return False
    return True


def _opened(path: Path, size: int) -> PseudoLabelled:
    table = _table(path)
    metrics = table.drop(columns=_NAMED)
    images = table[_NAMED].assign(mos=consensus(metrics), mos_std=np.nan, n_votes=0)
    reference_of = pd.factorize(table["reference"])[0]
    return PseudoLabelled(
        images=validate(images, "images", str(path)),
        metrics=metrics,
        references=ImageCache(path / "references.u8", (int(reference_of.max()) + 1, size, size, 3), path.name),
        distorted=ImageCache(path / "distorted.u8", (len(table), size, size, 3), path.name),
        reference_of=reference_of,
    )
