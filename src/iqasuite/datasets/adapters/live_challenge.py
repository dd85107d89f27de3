"""LIVE In the Wild Image Quality Challenge (CLIVE): 1,162 photographs by mobile cameras, MOS 0–100, higher = better.

Ghadiyaram, Bovik, "Massive Online Crowdsourced Study of Subjective and Objective Picture Quality", IEEE Trans. Image
Processing 25(1), 2016. ChallengeDB_release/Images/100.bmp and Data/All{Images,MOS,StdDev}_release.mat: 1,169 entries,
of which t1 to t7 were shown to explain the task and do not count.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from iqasuite.datasets.card import Card, Download, Scale
from iqasuite.datasets.dataset import Dataset
from iqasuite.datasets.layout import Files, scored
from iqasuite.datasets.matlab import read_mat
from iqasuite.datasets.tables import MIRROR, REISSUED, reissued
from iqasuite.errors import InputError

CARD = Card(
    name="live_challenge",
    title="1,162 photographs with the faults of their cameras, 350,000 ratings by 8,100 people of the crowd",
    homepage="https://live.ece.utexas.edu/research/ChallengeDB/index.html",
    licence="free use for any purpose with its copyright notice and citation (University of Texas at Austin, 2015)",
    citation="Ghadiyaram, Bovik, IEEE Trans. Image Processing 25(1):372–387, 2016, doi:10.1109/TIP.2015.2500021",
    n_images=1162,
    n_references=0,
    scale=Scale(0, 100, name="continuous"),
    structure="1,162 contents, one image each; about 175 votes an image",
    folders=("live_challenge", "clive"),
    downloads=(Download(f"{MIRROR}/live_challenge.tgz", size=326_000_000), REISSUED),
    manual="The authors ask for a form: fill it in at the homepage, they mail a password; unpack the .zip.",
)


def load(root: Path, missing: str = "error") -> Dataset:
    """LIVE In the Wild; `missing` as in `data.load`.

    Raises:
        InputError: no such folder or table, absent images, .mat files of different lengths.
    """
    files = Files(root)
    table = None if files.find("AllMOS_release.mat") else reissued(files, "LIVEChallenge")
    table = _scores(files) if table is None else table
    table = table[~table["name"].str.fullmatch(r"t[1-7]\.\w+")].reset_index(drop=True)
    dataset = scored(CARD, files, table.assign(distortion="authentic"), missing)
    dataset.notice = _notice(root)
    return dataset


def _notice(root: Path) -> str:
    """The copyright notice that has to go along, from the set's own README; "" where that is not here."""
    for path in (root / "ChallengeDB_release" / "README.txt", root / "README.txt"):
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        if found := re.search(r"-+COPYRIGHT NOTICE STARTS[^\n]*\n(.*?)-+COPYRIGHT NOTICE ENDS", text, re.DOTALL):
            return " ".join(found[1].split())
    return ""


def _scores(files: Files) -> pd.DataFrame:
    columns = {}
    for column, name in (("name", "AllImages_release"), ("score", "AllMOS_release"), ("std", "AllStdDev_release")):
        columns[column] = np.ravel(read_mat(files.need(f"{name}.mat"), [name])[name])
    lengths = {column: len(values) for column, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(f"{files.root}: entries of the .mat files: {lengths}; expected as many of each")
    return pd.DataFrame(columns).astype({"name": str})
