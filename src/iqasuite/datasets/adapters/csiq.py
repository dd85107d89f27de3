"""CSIQ: 30 references × 6 distortions × 4–5 levels, `csiq.DMOS.xlsx`, 0–1, lower = better there.

Larson, Chandler, "Most apparent distortion: full-reference image quality assessment and the role of strategy", Journal
of Electronic Imaging 19(1), 2010. dst_imgs/AWGN/1600.AWGN.1.png, src_imgs/1600.png. Mirrors carry `csiq_label.txt`
(file and DMOS) in place of the workbook. Level 5 is the worst; contrast has 4 levels, 3 for four references.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pandas as pd

from iqasuite.datasets.card import Card, Download, Scale
from iqasuite.datasets.dataset import Dataset
from iqasuite.datasets.layout import Files, scored
from iqasuite.datasets.tables import MIRROR, REISSUED, reissued, sheet_table, word_table
from iqasuite.errors import InputError

CARD = Card(
    name="csiq",
    title="6 distortions of 30 photographs, placed side by side on four displays by 35 people",
    homepage="https://s2.smu.edu/~eclarson/csiq.html",
    licence="see homepage",
    citation="Larson, Chandler, Journal of Electronic Imaging 19(1):011006, 2010, doi:10.1117/1.3267105",
    n_images=866,
    n_references=30,
    scale=Scale(0, 1, higher_is_better=False, name="DMOS"),
    structure="30 references × 6 distortions × 4 to 5 levels",
    folders=("csiq", "CSIQ"),
    downloads=(Download(f"{MIRROR}/csiq.tgz", size=379_000_000), REISSUED),
)
_IN_FILE_NAMES = {
    **{"noise": "AWGN", "blur": "BLUR", "contrast": "contrast"},
    **{"fnoise": "fnoise", "jpeg": "JPEG", "jpeg 2000": "jpeg2000"},
}
DISTORTIONS = {
    **{"awgn": "gaussian noise", "blur": "gaussian blur", "contrast": "contrast change"},
    **{"fnoise": "pink noise", "jpeg": "jpeg", "jpeg2000": "jpeg2000"},
}


def load(root: Path, missing: str = "error") -> Dataset:
    """CSIQ; `missing` as in `data.load`.

    Raises:
        InputError: no such folder or table, absent images, names that are not the official ones.
    """
    files = Files(root)
    table = _scores(files)
    table["name"] = table["name"].map(lambda name: PurePosixPath(name).name)
    parts = table["name"].str.extract(r"^(.+)\.(\w+)\.(\d)\.png$")
    kinds = parts[1].str.lower().map(DISTORTIONS)
    if kinds.isna().any():
        name = table["name"][kinds.isna()].iloc[0]
        raise InputError(f"{files.root}: image {name!r}; expected names like 1600.AWGN.1.png")
    table["content"], table["reference"] = parts[0], parts[0] + ".png"
    table["distortion"], table["level"] = kinds, parts[2].astype(float)
    return scored(CARD, files, table, missing)


def _scores(files: Files) -> pd.DataFrame:
    """Columns name, score and, where it is known, std."""
    if files.find("csiq.DMOS.xlsx"):
        path = files.need("csiq.DMOS.xlsx")
        sheet = sheet_table(path, ("image", "dst_type", "dst_lev", "dmos_std", "dmos"), "all_by_image")
        sheet = sheet.dropna(subset=["image", "dmos"])
        kinds = sheet["dst_type"].astype(str).str.strip().map(_IN_FILE_NAMES)
        levels = pd.to_numeric(sheet["dst_lev"], errors="coerce")
        if not levels.between(0, 9).all():
            level = sheet["dst_lev"][~levels.between(0, 9)].iloc[0]
            raise InputError(f"{path}, column dst_lev: {level!r}; expected 1 to 5")
        if kinds.isna().any():
            kind = sheet["dst_type"][kinds.isna()].iloc[0]
            raise InputError(f"{path}, column dst_type: {kind!r}; expected one of {', '.join(_IN_FILE_NAMES)}")
        name = sheet["image"].astype(str) + "." + kinds + "." + levels.astype(int).astype(str) + ".png"
        return pd.DataFrame({"name": name, "score": sheet["dmos"], "std": sheet["dmos_std"]}).reset_index(drop=True)
    table = None if files.find("csiq_label.txt") else reissued(files, "CSIQ")
    if table is None:
        return word_table(files.need("csiq_label.txt", "csiq.DMOS.xlsx"), ("name", "score"))
    return table[["name", "score"]].copy()
