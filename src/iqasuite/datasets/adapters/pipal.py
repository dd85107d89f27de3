"""PIPAL: 200 references × 116 outputs of restoration algorithms and distortions, Elo scores, higher = better.

Gu, Cai, Chen, Ye, Ren, Dong, "PIPAL: a Large-Scale Image Quality Assessment Dataset for Perceptual Image Restoration",
ECCV 2020; the public training part (NTIRE 2021). Train_Label/A0001.txt: `A0001_00_00.bmp,1520.06`; images in
Train_Dist/ or Distortion_1…4/, references in Train_Ref/. A0001_bb_cc: class of distortion bb, variant cc.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from iqasuite.datasets.card import Card, Download, Scale
from iqasuite.datasets.dataset import Dataset
from iqasuite.datasets.layout import Files, scored
from iqasuite.datasets.tables import MIRROR, word_table
from iqasuite.errors import InputError

CARD = Card(
    name="pipal",
    title="116 outputs of super-resolution, denoising and classical distortions of 200 patches, 1.1 million choices",
    homepage="https://github.com/HaomingCai/PIPAL-dataset",
    licence="see homepage",
    citation="Gu, Cai, Chen, Ye, Ren, Dong, ECCV 2020, arXiv:2007.12142",
    n_images=23200,
    n_references=200,
    scale=Scale(900, 1850, name="Elo"),  # no fixed ends: the training part's scores are 917 to 1836
    structure="200 references × 116 variants of 7 classes",
    folders=("pipal", "PIPAL"),
    downloads=(Download(f"{MIRROR}/pipal.tar"),),
    manual="The authors' own links (Google Drive) are at the homepage; put Train_Label/, Train_Ref/, Train_Dist/ here.",
)
# The release numbers its classes. Names: table of the journal version (arXiv:2011.15002) whose classes have as many
# variants as there are numbers cc: 12, 16, 10, 24, 13, 14, 27.
CLASSES = (
    *("super-resolution, traditional", "super-resolution, PSNR-oriented", "super-resolution, kernel mismatch"),
    *("super-resolution, GAN", "denoising", "super-resolution and denoising", "traditional distortion"),
)


def load(root: Path, missing: str = "error") -> Dataset:
    """PIPAL's training part; `missing` as in `data.load`. `level` is the variant's number, which has no order.

    Raises:
        InputError: no such folder, no labels, absent images, names that are not the official ones.
    """
    files = Files(root)
    labels = files.below("Train_Label", (".txt",))
    if not labels:
        raise InputError(f"{files.root}: no Train_Label/A0001.txt, … in it or below; expected the official layout")
    tables = [word_table(files.root / path, ("name", "score"), separator=",") for path in labels]
    table = pd.concat(tables, ignore_index=True)
    parts = table["name"].str.extract(r"^(A\d{4})_0([0-6])_(\d\d)\.bmp$")
    if parts.isna().any(axis=None):
        name = table["name"][parts.isna().any(axis=1)].iloc[0]
        raise InputError(f"{files.root}: image {name!r}; expected names like A0001_00_00.bmp")
    table["content"], table["reference"] = parts[0], parts[0] + ".bmp"
    table["distortion"] = parts[1].map(lambda number: CLASSES[int(number)])
    table["level"] = parts[2].astype(float)
    return scored(CARD, files, table, missing)
