"""Photographs to make something of: those inside scikit-image and scikit-learn, and those of a folder."""

from __future__ import annotations

from collections.abc import Collection
from importlib.resources import files
from pathlib import Path

import numpy as np

from iqasuite.errors import InputError
from iqasuite.images import endings
from iqasuite.images.loading import read_image
from iqasuite.paths import data_root

SIZE = 256
# Photograph -> package, file inside it, and (left, top) of each region, picked by eye: every one shows something.
PHOTOGRAPHS = {
    "astronaut": ("skimage", "data/astronaut.png", ((100, 0), (0, 256), (256, 256))),
    "chelsea": ("skimage", "data/chelsea.png", ((110, 22),)),
    "coffee": ("skimage", "data/coffee.png", ((40, 100), (300, 130))),
    "rocket": ("skimage", "data/rocket.jpg", ((0, 171), (256, 171))),
    "motorcycle": ("skimage", "data/motorcycle_left.png", ((70, 190), (330, 60))),
    "china": ("sklearn", "datasets/images/china.jpg", ((80, 30), (340, 171))),
    "flower": ("sklearn", "datasets/images/flower.jpg", ((179, 85),)),
}


# Of a list of photographs, those that what learns from the others is tested on. The semi-real set shows them as DSX, so
# that an objective observer that learnt from the other photographs of the same folders is a fair start there.
HELD_OUT = slice(3, None, 6)


def photograph(name: str) -> Path:
    """File of one of PHOTOGRAPHS inside its installed package."""
    package, file, _ = PHOTOGRAPHS[name]
    return Path(str(files(package).joinpath(file)))


def contents() -> dict[str, np.ndarray]:
    """Content name ("china-1") -> its pristine region, uint8 (256, 256, 3)."""
    regions = {}
    for name, (_, _, corners) in PHOTOGRAPHS.items():
        whole = read_image(photograph(name))
        for number, (left, top) in enumerate(corners, start=1):
            regions[f"{name}-{number}"] = np.ascontiguousarray(whole[top : top + SIZE, left : left + SIZE])
    return regions


def photographs(name: str | Path, names: Collection[str] | None = None) -> list[Path]:
    """Files of photographs to compress.

    Args:
        name: "demo" (those that the demo set is cut from), the name of a folder of images in the data folder, such as
            "kodak24", or the path of one.
        names: only these: for the demo the names of its photographs, so that a split's test part can be left out;
            elsewhere the files' names without ending. None = all.

    Raises:
        InputError: no such folder, no images in it, unknown names.
    """
    if name == "demo":
        paths = {key: photograph(key) for key in PHOTOGRAPHS}
    else:
        folder = data_root() / name if (data_root() / name).is_dir() or name == "kodak24" else Path(name)
        if not folder.is_dir():
            raise InputError(f"photographs {str(name)!r}: {folder} is no folder; expected demo, kodak24 or a folder")
        paths = {p.stem: p for p in sorted(folder.iterdir()) if p.suffix.lower() in endings.IMAGES}
    unknown = sorted(set(names or ()) - set(paths))
    if unknown:
        raise InputError(f"photographs {str(name)!r}: {unknown[0]!r} unknown; expected some of {', '.join(paths)}")
    chosen = [path for key, path in paths.items() if names is None or key in names]
    if not chosen:
        raise InputError(f"photographs {str(name)!r}: none; expected images ({', '.join(endings.IMAGES)})")
    return chosen
