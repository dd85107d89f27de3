"""KonIQ-10k: 10,073 photographs from Flickr, about 107 votes each with all five shares, MOS 0–100, higher = better.

Hosu, Lin, Sziranyi, Saupe, "KonIQ-10k: An Ecologically Valid Database for Deep Learning of Blind Image Quality
Assessment", IEEE Trans. Image Processing 29, 2020. 1024x768/NAME.jpg (used where it is) or 512x384/NAME.jpg;
`koniq10k_distributions_sets.csv` with the official split, or the older `koniq10k_scores_and_distributions.csv`.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from iqasuite.datasets.card import Card, Download, Scale
from iqasuite.datasets.dataset import Dataset
from iqasuite.datasets.layout import Files, scored
from iqasuite.datasets.tables import MIRROR, REISSUED, csv_table, reissued
from iqasuite.errors import InputError

CARD = Card(
    name="koniq10k",
    title="10,073 photographs from Flickr, 1.2 million ratings of the crowd",
    homepage="http://database.mmsp-kn.de/koniq-10k-database.html",
    licence="see homepage",
    citation="Hosu, Lin, Sziranyi, Saupe, IEEE Trans. Image Processing 29, 2020, doi:10.1109/TIP.2020.2967829",
    n_images=10073,
    n_references=0,
    scale=Scale(0, 100, name="ACR, z-scores of each person, rescaled"),
    structure="10,073 contents, one image each; official split 7058 / 1000 / 2015",
    folders=("koniq10k", "KonIQ-10k"),
    downloads=(Download(f"{MIRROR}/koniq10k.tgz", size=6_350_000_000), REISSUED),
    votes="distributions",
)
ACR_STEP = 27.8  # points of the MOS that an ACR step is worth: slope over the mean vote, all images (r = .995)
_PARTS = {"training": "train", "validation": "val", "train": "train", "val": "val", "test": "test"}
_SHARES = tuple(f"c{k}" for k in range(1, 6))


def load(root: Path, missing: str = "error") -> Dataset:
    """KonIQ-10k; `missing` as in `data.load`. The older table has no official split.

    Raises:
        InputError: no such folder or table, absent images, a part that is none.
    """
    files = Files(root)
    table = _scores(files)
    folders = [folder for folder in ("1024x768", "512x384") if files.below(folder, (".jpg",))]
    numbers = [*_SHARES, "c_total", "SD"]
    table[numbers] = table[numbers].apply(pd.to_numeric, errors="coerce")
    if table[numbers].isna().any(axis=None):
        name = table.loc[table[numbers].isna().any(axis=1), "name"].iloc[0]
        raise InputError(f"{files.root}, table of koniq10k: {name!r} without {', '.join(numbers)}; expected numbers")
    table["content"] = table["name"].str.removesuffix(".jpg")
    table["name"] = (f"{folders[0]}/" if folders else "") + table["name"]
    shares = table[list(_SHARES)].div(
        table[list(_SHARES)].sum(axis=1), axis=0
    )  # shares in one table, counts in the other
    distributions = shares.set_axis([f"p{k}" for k in range(1, 6)], axis=1).assign(name=table["name"])
    official = None
    if "set" in table:
        official = pd.DataFrame({"name": table["name"], "part": table["set"].map(_PARTS)})
        if official["part"].isna().any():
            part = table["set"][official["part"].isna()].iloc[0]
            raise InputError(f"{files.root}, column set: {part!r}; expected training, validation or test")
    columns = {"name": table["name"], "content": table["content"], "score": table["score"], "distortion": "authentic"}
    # SD is in ACR steps (of c_total − 1 degrees of freedom), the MOS is not.
    frame = pd.DataFrame(columns | {"std": table["SD"] * ACR_STEP, "n_votes": table["c_total"]})
    return scored(CARD, files, frame, missing, distributions=distributions, official=official)


def _scores(files: Files) -> pd.DataFrame:
    """Columns name, score, SD, c1…c5, c_total and, where there is a split, set."""
    common = ("image_name", *_SHARES, "c_total", "SD")
    if files.find("koniq10k_distributions_sets.csv"):
        table = csv_table(files.need("koniq10k_distributions_sets.csv"), (*common, "MOS", "set"), common[:1])
        return table.rename(columns={"image_name": "name", "MOS": "score"})
    mirrored = reissued(files, "KonIQ10k", common[1:-1])
    if files.find("koniq10k_scores_and_distributions.csv") is None and mirrored is not None:
        return mirrored.rename(columns={"std": "SD", "official_split": "set", "split": "set"})
    path = files.need("koniq10k_scores_and_distributions.csv", "koniq10k_distributions_sets.csv")
    table = csv_table(path, (*common, "MOS_zscore"), common[:1]).drop(
        columns="MOS", errors="ignore"
    )  # its MOS is the mean vote, 1–5
    return table.rename(columns={"image_name": "name", "MOS_zscore": "score"})
