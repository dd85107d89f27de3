"""SPAQ: 11,125 photographs by 66 smartphones, MOS 0–100, higher = better.

Fang, Zhu, Zeng, Ma, Wang, "Perceptual Quality Assessment of Smartphone Photography", CVPR 2020. TestImage/00001.jpg and
Annotations/MOS and Image attribute scores.xlsx. Photographs are large (up to thousands of pixels a side) and were shown
smaller, so bring them to one viewing size.
"""

from __future__ import annotations

from pathlib import Path

from iqasuite.datasets.card import Card, Download, Scale
from iqasuite.datasets.dataset import Dataset
from iqasuite.datasets.layout import Files, scored
from iqasuite.datasets.tables import MIRROR, REISSUED, csv_table, sheet_table

CARD = Card(
    name="spaq",
    title="11,125 photographs by 66 smartphones, rated in a laboratory",
    homepage="https://github.com/h4nwei/SPAQ",
    licence="see homepage",
    citation="Fang, Zhu, Zeng, Ma, Wang, CVPR 2020, doi:10.1109/CVPR42600.2020.00373",
    n_images=11125,
    n_references=0,
    scale=Scale(0, 100, name="continuous"),
    structure="11,125 contents, one image each",
    folders=("spaq", "SPAQ"),
    downloads=(Download(f"{MIRROR}/spaq.tgz", size=34_841_101_349), REISSUED),
    manual="The authors' own links (Baidu, Google Drive) are at the homepage; put TestImage/ and Annotations/ here.",
)
TABLE = "MOS and Image attribute scores.xlsx"
_COLUMNS = {"Image name": "name", "MOS": "score"}


def load(root: Path, missing: str = "error") -> Dataset:
    """SPAQ; `missing` as in `data.load`.

    Raises:
        InputError: no such folder or table, absent images.
    """
    files = Files(root)
    mirrored = "meta_info_SPAQDataset.csv"  # under the authors' column names
    if files.find(TABLE) is None and files.find(mirrored):
        table = csv_table(files.need(mirrored), tuple(_COLUMNS), tuple(_COLUMNS)[:1])
    else:
        table = sheet_table(files.need(TABLE), tuple(_COLUMNS)).dropna(subset=["Image name"])
    table = table[list(_COLUMNS)].rename(columns=_COLUMNS).reset_index(drop=True)
    table["content"] = table["name"].astype(str).str.removesuffix(".jpg")
    if files.below("TestImage", (".jpg",)):
        table["name"] = "TestImage/" + table["name"].astype(str)  # some copies have smaller versions beside it
    return scored(CARD, files, table.assign(distortion="authentic"), missing)
