"""KADID-10k: 81 references × 25 distortions × 5 levels, `dmos.csv`, 1–5; its "DMOS" is higher = better.

Lin, Hosu, Saupe, "KADID-10k: A Large-scale Artificially Distorted IQA Database", QoMEX 2019. images/I01_01_01.png is
reference I01.png, distortion 01, level 01. People of the crowd compared each image with its reference (degradation
category rating, 30 votes). Level 5 is the worst, but for changes that may please (saturation, brightening, sharpening).
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from iqasuite.datasets.card import Card, Download, Scale
from iqasuite.datasets.dataset import Dataset
from iqasuite.datasets.layout import Files, scored
from iqasuite.datasets.tables import MIRROR, REISSUED, csv_table, reissued
from iqasuite.errors import InputError

DISTORTIONS = (
    *("gaussian blur", "lens blur", "motion blur"),
    *("colour diffusion", "colour shift", "colour quantisation", "saturation change (HSV)", "saturation change (Lab)"),
    *("jpeg2000", "jpeg"),
    *("gaussian noise", "colour noise", "impulse noise", "multiplicative noise", "denoising"),
    *("brightening", "darkening", "mean shift"),
    *("jitter", "non-eccentricity patch", "pixelation", "quantisation", "colour block"),
    *("sharpening", "contrast change"),
)
CARD = Card(
    name="kadid10k",
    title="25 distortions of 81 photographs, rated by people of the crowd beside their reference",
    homepage="http://database.mmsp-kn.de/kadid-10k-database.html",
    licence="see homepage",
    citation="Lin, Hosu, Saupe, QoMEX 2019, doi:10.1109/QoMEX.2019.8743252",
    n_images=10125,
    n_references=81,
    scale=Scale(1, 5, name="DCR"),
    structure="81 references × 25 distortions × 5 levels",
    folders=("kadid10k", "KADID-10k"),
    downloads=(Download(f"{MIRROR}/kadid10k.tgz", size=3_070_000_000), REISSUED),
)


def load(root: Path, missing: str = "error") -> Dataset:
    """KADID-10k; `missing` as in `data.load`.

    Raises:
        InputError: no such folder or table, absent images, names that are not the official ones.
    """
    files = Files(root)
    table = None if files.find("dmos.csv") else reissued(files, "KADID10k")
    if table is None:
        # "var" is no variance: a mean of 4.57 comes with 0.496, and votes of 4 and 5 alone have 0.245 and 0.495.
        names = {"dist_img": "name", "ref_img": "reference", "dmos": "score", "var": "std"}
        table = csv_table(files.need("dmos.csv"), tuple(names)[:3], tuple(names)[:2]).rename(columns=names)
    parts = table["name"].astype(str).str.extract(r"^(I\d\d)_(\d\d)_(\d\d)\.png$")
    wrong = parts.isna().any(axis=1) | ~pd.to_numeric(parts[1]).between(1, len(DISTORTIONS))
    if wrong.any():
        raise InputError(f"{files.root}: image {table['name'][wrong].iloc[0]!r}; expected names like I01_01_01.png")
    table["content"] = parts[0]
    table["distortion"] = parts[1].map(lambda number: DISTORTIONS[int(number) - 1])
    table["level"] = parts[2].astype(float)
    return scored(CARD, files, table, missing)
