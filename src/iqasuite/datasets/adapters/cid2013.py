"""CID2013: 474 photographs of eight scenes by 79 cameras, realigned MOS about 0–100, higher = better.

Virtanen, Nuutinen, Vaahteranoksa, Oittinen, Häkkinen, "CID2013: A Database for Evaluating No-Reference Image Quality
Assessment Algorithms", IEEE Trans. Image Processing 24(1), 2015. IS1/co1/IS_I_C01_D01.jpg: image set, scene, camera;
`CID2013 data - version 12112014.xlsx`, sheet "CID2013 MOS". Six tests (image sets) with people and cameras of their
own; "Realigned MOS" puts them on one scale. The same eight scenes return, so a scene is one source in all of them.
"""

from __future__ import annotations

from pathlib import Path

from iqasuite.datasets.card import Card, Scale
from iqasuite.datasets.dataset import Dataset
from iqasuite.datasets.layout import Files, scored
from iqasuite.datasets.tables import sheet_table
from iqasuite.errors import InputError

CARD = Card(
    name="cid2013",
    title="Eight scenes photographed by 79 cameras, rated by 188 people in six laboratory tests",
    homepage="https://zenodo.org/records/2647033",
    licence="free use for any purpose with its copyright notice and citation; no single images outside that scope",
    citation="Virtanen et al., IEEE Trans. Image Processing 24(1):390–402, 2015, doi:10.1109/TIP.2014.2378061",
    n_images=474,
    n_references=0,
    scale=Scale(0, 100, name="DR-ACR, realigned"),
    structure="6 image sets × 6 of 8 scenes × 12 to 14 cameras; 8 sources",
    folders=("cid2013", "CID2013"),
    manual="Download CID2013.7z (0.6 GB) from the homepage and unpack it here with 7-Zip (IS1/ … IS6/ and the .xlsx).",
)
TABLE = "CID2013 data - version 12112014.xlsx"
_SETS = {"I": 1, "II": 2, "III": 3, "IV": 4, "V": 5, "VI": 6}


def load(root: Path, missing: str = "error") -> Dataset:
    """CID2013; `missing` as in `data.load`. A content is a scene of one image set, its source the scene.

    Raises:
        InputError: no such folder or workbook, absent images, names that are not the official ones.
    """
    files = Files(root)
    columns = {"Source_ID": "name", "Realigned MOS": "score"}
    table = sheet_table(files.need(TABLE), tuple(columns), "CID2013 MOS").rename(columns=columns)
    table = table.dropna(subset=["name"]).reset_index(drop=True)
    parts = table["name"].astype(str).str.extract(r"^IS_([IV]+)_C0(\d)_D\d\d$")
    if parts.isna().any(axis=None) or not parts[0].isin(_SETS).all():
        name = table["name"][~parts[0].isin(_SETS) | parts[1].isna()].iloc[0]
        raise InputError(f"{files.root}, {TABLE}, column Source_ID: {name!r}; expected names like IS_I_C01_D01")
    scene = "co" + parts[1]
    table["content"] = "IS" + parts[0].map(_SETS).astype(str) + "/" + scene
    table["name"] += ".jpg"
    sources = dict(zip(table["content"], scene, strict=True))
    return scored(CARD, files, table.assign(distortion="authentic"), missing, sources=sources)
