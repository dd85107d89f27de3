"""Kodak: 24 photographs scanned from film, 768×512, undistorted and without scores.

Kodak Lossless True Color Image Suite, kodim01.png … kodim24.png (or 01.png … 24.png). References to distort; TID2008's
and TID2013's references are parts of them. `mos` is nan, `n_votes` 0.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from iqasuite.datasets.card import Card, Download, Scale
from iqasuite.datasets.dataset import Dataset
from iqasuite.datasets.frames import empty, validate
from iqasuite.datasets.layout import Files, located

_NUMBERS = tuple(f"{i:02d}" for i in range(1, 25))
CARD = Card(
    name="kodak24",
    title="24 undistorted photographs, 768×512, without scores",
    homepage="https://r0k.us/graphics/kodak/",
    licence="released by Eastman Kodak for unrestricted use",
    citation="Kodak Lossless True Color Image Suite, https://r0k.us/graphics/kodak/",
    n_images=24,
    n_references=24,
    scale=Scale(1, 5, name="none: without scores"),
    structure="24 references",
    folders=("kodak24", "kodak"),
    downloads=tuple(Download(f"https://r0k.us/graphics/kodak/kodak/kodim{number}.png", 640_000) for number in _NUMBERS),
)


def load(root: Path, missing: str = "error") -> Dataset:
    """The 24 photographs; `missing` as in `data.load`.

    Raises:
        InputError: no such folder, absent photographs.
    """
    files = Files(root)
    official = not any(files.find(f"{number}.png") for number in _NUMBERS)
    names = [f"kodim{number}.png" if official else f"{number}.png" for number in _NUMBERS]
    paths, absent = located(files, names, missing)
    contents = [f"kodim{number}" for number, name in zip(_NUMBERS, names, strict=True) if name in paths]
    images = pd.DataFrame({"image": list(paths.values()), "content": contents, "reference": "", "distortion": ""})
    images = images.assign(level=np.nan, mos=np.nan, mos_std=np.nan, n_votes=0)
    return Dataset(
        name=CARD.name,
        root=files.root,
        images=validate(images, "images", CARD.name),
        votes=empty("votes"),
        scale=CARD.scale,
        sources={content: content for content in contents},
        absent=absent,
        licence=CARD.licence,
        citation=CARD.citation,
    )
