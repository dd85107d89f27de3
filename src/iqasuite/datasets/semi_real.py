"""The individual-observer study on other images: semi-real, that is made-up images with real votes.

The study's playlists hold the votes of five observers and the JPEG quality of every image they saw, but not the images.
Here photographs that are at hand are compressed by our own code at these qualities, and every image carries the votes
that the observers gave to a real image of its quality. What quality explains of the votes is as in the study; what the
contents explain of them is lost, so an artificial observer can learn less here than in the study.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from iqasuite.datasets.adapters import aio_playlists
from iqasuite.datasets.dataset import Dataset
from iqasuite.datasets.frames import validate
from iqasuite.errors import InputError
from iqasuite.images.distortions.compression import jpeg_bytes
from iqasuite.images.loading import image_size, read_image
from iqasuite.images.photographs import HELD_OUT
from iqasuite.images.photographs import photographs as files_of
from iqasuite.paths import cache_root, data_root, file_hash, locked, replacing_folder, safe_name

_log = logging.getLogger(__name__)
NAME = "aio_semi_real"
PHOTOGRAPHS = ("photographs", "kodak24", "bsds300")
# Multiple of 8 and of the network's patches of 16; the largest that the smallest photographs (481×321) hold. A network
# for 256 pixels has room for crops in it.
SIZE = 320
_BLOCK = 8  # pixels: what is cut from a JPEG photograph lies on the blocks of its file, as the study's images did
_VALIDATION = 8  # one in so many of the photographs that are not DSX's
_LEAST = 10  # photographs
_RECIPE = 1  # raise it when the code below makes other files from the same plan


def load(
    root: Path | str | None = None,
    photographs: Sequence[str | Path] = PHOTOGRAPHS,
    size: int = SIZE,
    seed: int = 0,
    playlists: Path | str | None = None,
) -> Dataset:
    """The semi-real set, made first where it is absent: about 3,000 JPEG files, half a minute.

    `official_split` has one fold: it trains on photographs of sessions 1–3, chooses on others of these, and tests on
    DSX, which is session 5. Session 4 repeats the images of session 1: it measures self-agreement.

    Args:
        root: folder of such sets, each in a folder named after all that it is made from; None = in the cache folder.
        photographs: folders of undistorted photographs: names in the data folder, or paths.
        size: side of the images in pixels.
        seed: of the validation part, and of what is cut where from which photograph.
        playlists: the study's playlists; None = where they lie in the data folder.

    Raises:
        InputError: no such folders, fewer than ten photographs, two of one name, one smaller than `size` or that cannot
            be read; playlists as in `aio_playlists.load`; the cache cannot be written. Nothing half-written is left.
    """
    study = aio_playlists.load(playlists or aio_playlists.CARD.folder())
    files = _photographs([photographs] if isinstance(photographs, str | Path) else photographs, size)
    plan = planned(study, {name: image_size(path)[::-1] for name, path in files.items()}, size, seed)
    folder = Path(root) if root is not None else cache_root() / NAME
    path = folder / _address(plan, files, size)
    if not _is_whole(path, plan):
        with locked(path):  # runs of a batch want it at the same time: one of them makes it
            if not _is_whole(path, plan):
                _build(path, plan, files, size)
    return _dataset(path, plan, study, size)


def planned(study: Dataset, shapes: Mapping[str, tuple[int, int]], size: int, seed: int) -> pd.DataFrame:
    """What stands for each image of the study: which part of which photograph, at which quality.

    Images of one real photograph, at several qualities, are the same part of one photograph here. DSX shows one
    photograph in six, which no session shows: the ones that an objective observer is tested on (`HELD_OUT`).

    Args:
        study: of `aio_playlists.load`.
        shapes: photograph ("<folder>/<name>") -> (height, width) in pixels, folder by folder.
        size: side of the images in pixels.
        seed: of all that is drawn.

    Returns:
        Rows playlist_image, image (path of the file), content (photograph), part, quality, top, left; ordered by
        playlist_image.
    """
    rng = np.random.default_rng(seed)
    part_of = dict.fromkeys(list(shapes)[HELD_OUT], "test")
    others = [name for name in shapes if name not in part_of]
    order = [others[i] for i in rng.permutation(len(others))]
    part_of |= {name: "train" if number % _VALIDATION else "val" for number, name in enumerate(order)}
    parts = study.official_split
    assert parts is not None  # the adapter's
    tested = study.images["image"].map(parts.set_index("image")["part"]).eq("test")
    plan = study.images[["image", "level"]].assign(real=study.images["content"], tested=tested)
    plan = plan.sort_values("image", ignore_index=True)
    place: dict[tuple[str, bool], tuple[str, int, int]] = {}
    for dsx in (False, True):
        names = [name for name, part in part_of.items() if (part == "test") == dsx]
        real = sorted(set(plan.loc[plan["tested"] == dsx, "real"]))
        for number, index in enumerate(rng.permutation(len(real))):
            name = names[number % len(names)]
            y, x = (_BLOCK * int(rng.integers((side - size) // _BLOCK + 1)) for side in shapes[name])
            place[real[index], dsx] = name, y, x
    places = [place[key] for key in zip(plan["real"], plan["tested"], strict=True)]
    content, tops, lefts = zip(*places, strict=True)
    quality = plan["level"].astype(int)
    files = [
        f"images/{number:04d}_{safe_name(name.replace('/', '_'))}_q{level:03d}.jpg"
        for number, (name, level) in enumerate(zip(content, quality, strict=True))
    ]
    table = {"playlist_image": plan["image"], "image": files, "content": content}
    table |= {"part": [part_of[name] for name in content], "quality": quality, "top": tops, "left": lefts}
    return pd.DataFrame(table)


def _photographs(folders: Sequence[str | Path], size: int) -> dict[str, Path]:
    """Photograph ("<folder>/<name>") -> file."""
    files: dict[str, Path] = {}
    for path in (path for folder in folders for path in files_of(data_root() / folder)):
        name, (width, height) = f"{path.parent.name}/{path.stem}", image_size(path)
        if name in files:
            raise InputError(f"{path}: a second photograph {name!r}; expected different names, which splits go by")
        if min(width, height) < size:
            raise InputError(f"{path}: {width}×{height} pixels; expected {size} or more on each side")
        files[name] = path
    if len(files) < _LEAST:
        raise InputError(f"{NAME}: {len(files)} photographs; expected {_LEAST} or more, for three parts")
    return files


def _address(plan: pd.DataFrame, files: Mapping[str, Path], size: int) -> str:
    """Name of the folder: what it is made from and how, as 32 hexadecimal digits."""
    hashes = {name: file_hash(files[name]) for name in sorted(set(plan["content"]))}
    made_from = [_RECIPE, version("pillow"), size, hashes, plan.to_csv(index=False, lineterminator="\n")]
    return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:32]


def _is_whole(path: Path, plan: pd.DataFrame) -> bool:
    if not path.is_dir():
        return False
    lost = [name for name in plan["image"] if not (path / name).is_file()]
    if lost:
        _log.warning("%s: %d images missing (%s …), made again", path, len(lost), lost[0])
    return not lost


def _build(path: Path, plan: pd.DataFrame, files: Mapping[str, Path], size: int) -> None:
    """Write the images, all of them or nothing."""
    _log.info("making %d semi-real images in %s", len(plan), path)
    with replacing_folder(path) as folder:
        (folder / "images").mkdir()
        for name, rows in plan.groupby("content"):
            pixels = read_image(files[str(name)])
            for row in rows.itertuples():
                region = np.ascontiguousarray(pixels[row.top : row.top + size, row.left : row.left + size])
                (folder / row.image).write_bytes(jpeg_bytes(region, row.quality))
        plan.to_csv(folder / "semi_real.csv", index=False)


def _dataset(path: Path, plan: pd.DataFrame, study: Dataset, size: int) -> Dataset:
    names = dict(zip(plan["playlist_image"], plan["image"], strict=True))
    rated = study.images[["image", "mos", "mos_std", "n_votes"]].rename(columns={"image": "playlist_image"})
    images = plan.merge(rated, on="playlist_image", validate="one_to_one")
    images = images.assign(reference="", distortion="jpeg", level=images["quality"].astype(float))
    columns = ["image", "content", "reference", "distortion", "level", "mos", "mos_std", "n_votes"]
    return Dataset(
        name=NAME,
        root=path,
        images=validate(images[columns], "images", NAME),
        votes=validate(study.votes.assign(image=study.votes["image"].map(names)), "votes", NAME),
        scale=study.scale,
        display_size=(size, size),
        nuisances=pd.DataFrame({"jpeg_quality": images["level"].to_numpy()}, index=pd.Index(images["image"])),
        semi_real=True,
        licence="votes: none stated; photographs: as in their folders",
        citation=study.citation,
        official_split=validate(plan[["image", "content", "part"]].assign(fold=0), "split", NAME),
    )
