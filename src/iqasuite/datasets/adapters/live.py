"""LIVE Image Quality Assessment Database, release 2: 29 references × 5 distortions, about 0–100, lower = better there.

Sheikh, Sabir, Bovik, "A Statistical Evaluation of Recent Full Reference Image Quality Assessment Algorithms", IEEE
Trans. Image Processing 15(11), 2006. jp2k/img2.bmp, refimgs/womanhat.bmp; `refnames_all.mat` and `dmos_realigned.mat`
(else `dmos.mat`) have 982 entries, of which `orgs` marks 203 undistorted images. DMOS may lie outside 0–100.
"""

from __future__ import annotations

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
    name="live",
    title="5 distortions of 29 photographs, rated in a laboratory, scores realigned across sessions",
    homepage="https://live.ece.utexas.edu/research/quality/subjective.htm",
    licence="free use for any purpose with its copyright notice and citation (University of Texas at Austin)",
    citation="Sheikh, Sabir, Bovik, IEEE Trans. Image Processing 15(11):3440–3451, 2006, doi:10.1109/TIP.2006.881959",
    n_images=779,
    n_references=29,
    scale=Scale(0, 100, higher_is_better=False, name="DMOS"),
    structure="29 references × (jpeg2000, jpeg, noise, blur, fast fading), about 5 levels that have no number",
    folders=("live", "LIVE", "databaserelease2"),
    downloads=(Download(f"{MIRROR}/live.tgz", size=721_000_000), REISSUED),
    manual="The authors ask for a form: fill it in at the homepage, they mail a password; unpack databaserelease2.zip.",
)
FOLDERS = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}  # in the order of the .mat files
DISTORTIONS = {
    **{"jp2k": "jpeg2000", "jpeg": "jpeg", "wn": "gaussian noise"},
    **{"gblur": "gaussian blur", "fastfading": "fast fading"},
}


def load(root: Path, missing: str = "error") -> Dataset:
    """LIVE; `missing` as in `data.load`.

    Raises:
        InputError: no such folder or table, absent images, .mat files without the official 982 entries.
    """
    files = Files(root)
    there = files.find("dmos_realigned.mat") or files.find("dmos.mat")
    table = None if there else reissued(files, "LIVEIQA")
    table = _scores(files) if table is None else table
    table["reference"] = "refimgs/" + table["reference"].str.rsplit("/", n=1).str[-1]
    table["content"] = table["reference"].str.extract(r"/(.+)\.\w+$")[0]
    table["distortion"] = table["name"].str.split("/").str[-2].map(DISTORTIONS)
    return scored(CARD, files, table, missing)


def _scores(files: Files) -> pd.DataFrame:
    if files.find("dmos_realigned.mat"):
        path = files.need("dmos_realigned.mat")
        variables = read_mat(path, ["dmos_new", "dmos_std", "orgs"])
        score, std, undistorted = variables["dmos_new"], variables["dmos_std"], variables["orgs"]
    else:
        path = files.need("dmos.mat", "dmos_realigned.mat")
        variables = read_mat(path, ["dmos", "orgs"])
        score, std, undistorted = variables["dmos"], np.full(np.shape(variables["dmos"]), np.nan), variables["orgs"]
    references = read_mat(files.need("refnames_all.mat"), ["refnames_all"])["refnames_all"]
    names = [f"{folder}/img{i}.bmp" for folder, n in FOLDERS.items() for i in range(1, n + 1)]
    lengths = [np.size(score), np.size(std), np.size(undistorted), len(references)]
    if set(lengths) != {len(names)}:
        raise InputError(f"{path}: {lengths} scores, deviations, orgs and refnames_all; expected {len(names)} of each")
    table = pd.DataFrame({"name": names, "reference": references, "score": np.ravel(score), "std": np.ravel(std)})
    return table[np.ravel(undistorted) == 0].reset_index(drop=True)
