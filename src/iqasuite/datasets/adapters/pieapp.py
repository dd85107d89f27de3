"""PieAPP: 200 references, 20,280 distorted images, 81,480 pairs with the share of 40 people who preferred A.

Prashnani, Cai, Mostofi, Sen, "PieAPP: Perceptual Image-Error Assessment Through Pairwise Preference", CVPR 2018.
distorted_images/{train,val,test}/ref_N/…png, reference_images/, labels/{train,val,test}/ref_N_pairwise_labels.csv and,
for the test part only, ref_N_per_image_score.csv: an error, lower = better, 0 = as the reference. `mos` is its
negative, nan for the other 19,680 images; `Dataset.pairs` has all, in the test part with the reference as A or B too.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from iqasuite.datasets.card import Card, Download, Scale
from iqasuite.datasets.dataset import Dataset
from iqasuite.datasets.frames import PARTS, empty, validate
from iqasuite.datasets.layout import Files, located
from iqasuite.datasets.tables import MIRROR, csv_table
from iqasuite.errors import InputError

CARD = Card(
    name="pieapp",
    title="Pairs of distorted images, which of the two 40 people of the crowd find closer to the reference",
    homepage="https://github.com/prashnani/PerceptualImageError",
    licence="non-commercial and educational use only",
    citation="Prashnani, Cai, Mostofi, Sen, CVPR 2018, arXiv:1806.02067; references: Waterloo Exploration, 2017",
    n_images=20280,
    n_references=200,
    scale=Scale(0, 0, higher_is_better=False, name="error, without upper end"),
    structure="160 references × 123 distorted images (train, val) and 40 × 15 (test); 81,480 pairs; 75 distortions",
    folders=("pieapp", "PieAPP_dataset_CVPR_2018"),
    downloads=(Download(f"{MIRROR}/pieapp.tgz", size=2_270_000_000),),
    votes="none",
)
_LABELS = "_pairwise_labels.csv"
_SCORES = "_per_image_score.csv"
_NAME = re.compile(r"distort_\d+_(.+)_(?:inter|intra)_.+\.png")
_SCORE_TABLE = {"reference": str, "name": str, "score": float, "part": str}
PAIRS = ("reference", "image_a", "image_b", "preference_a", "part")


def load(root: Path, missing: str = "error") -> Dataset:
    """PieAPP; `missing` as in `data.load`. Pairs with an absent image are left out under "drop".

    Raises:
        InputError: no such folder, no labels, absent images, labels of another form, a preference outside 0–1.
    """
    files = Files(root)
    pairs, scores = _pairs(files), _scores(files)
    members = _members(pairs, scores)
    paths, absent = located(files, members["name"], missing)
    references, _ = located(files, pairs["reference"].unique(), missing, "references")
    members = members[members["name"].isin(list(paths))].reset_index(drop=True)
    images = validate(_images(members, paths, references), "images", CARD.name)
    files_of = paths | references
    pairs = pairs[pairs[list(PAIRS[:3])].isin(list(files_of)).all(axis=1)].reset_index(drop=True)
    pairs = pairs.assign(**{column: pairs[column].map(files_of) for column in PAIRS[:3]})
    split = images[["image", "content"]].assign(part=members["part"], fold=0)
    return Dataset(
        name=CARD.name,
        root=files.root,
        images=images,
        votes=empty("votes"),
        scale=CARD.scale,
        absent=absent,
        licence=CARD.licence,
        citation=CARD.citation,
        pairs=pairs[list(PAIRS)],
        official_split=validate(split, "split", "official split"),
    )


def _members(pairs: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Every distorted image that has a label, once: name, reference, part and score (nan: none published)."""
    seen = [pairs[[name, "reference", "part"]].set_axis(["name", "reference", "part"], axis=1) for name in PAIRS[1:3]]
    members = pd.concat([*seen, scores[["name", "reference", "part"]]]).drop_duplicates("name", ignore_index=True)
    members = members[~members["name"].isin(pairs["reference"])]
    return members.merge(scores[["name", "score"]], on="name", how="left", validate="one_to_one")


def _images(members: pd.DataFrame, paths: dict[str, str], references: dict[str, str]) -> pd.DataFrame:
    match = members["name"].map(_NAME.fullmatch)
    return pd.DataFrame(
        {
            "image": members["name"].map(paths),
            "content": members["reference"].str.removesuffix(".png"),
            "reference": members["reference"].map(lambda name: references.get(name, "")),
            "distortion": match.map(lambda name: name[1] if name else ""),
            "level": np.nan,
            "mos": CARD.scale.upward(members["score"]),
            "mos_std": np.nan,
            "n_votes": 0,
        }
    )


def _labels(files: Files, ending: str) -> list[tuple[str, Path]]:
    """Part and file of every table of labels whose name ends so."""
    paths = [files.root / path for path in files.below("labels", (".csv",)) if path.endswith(ending)]
    return [(part, path) for part in PARTS for path in paths if path.parent.name == part]


def _pairs(files: Files) -> pd.DataFrame:
    """All pairs by official names. Columns: 1 reference, 2 image A, 3 image B, 4 preference for A as counted.

    In train and val observers did not see some pairs; column 5 has the preference estimated from all that were.
    """
    tables = []
    for part, path in _labels(files, _LABELS):
        table = csv_table(path, ())
        estimated = [name for name in table.columns if name.startswith("processed")]
        counted = [name for name in table.columns if "preference" in name]
        if table.shape[1] < 4 or not counted:
            raise InputError(f"{path}: columns {list(table.columns)}; expected reference, image A, image B, preference")
        shares = pd.to_numeric(table[(estimated or counted)[0]], errors="coerce")
        named = table.iloc[:, :3].set_axis(PAIRS[:3], axis=1).apply(lambda column: column.astype(str).str.strip())
        tables.append(named.assign(preference_a=shares, part=part))
        if not shares.between(0, 1).all():
            row = int(np.flatnonzero(~shares.between(0, 1))[0])
            raise InputError(f"{path}, row {row}: preference {shares[row]}; expected 0 to 1")
    if not tables:
        raise InputError(
            f"{files.root}: no labels/train/ref_N{_LABELS}, … in it or below; expected the official layout"
        )
    return pd.concat(tables, ignore_index=True)


def _scores(files: Files) -> pd.DataFrame:
    """Errors of the test images: reference, name, score, part. The reference's own, 0 by definition, is left out."""
    tables = [pd.DataFrame({column: pd.Series(dtype=kind) for column, kind in _SCORE_TABLE.items()})]
    for part, path in _labels(files, _SCORES):
        table = csv_table(path, ())
        if table.shape[1] < 3:
            raise InputError(f"{path}: columns {list(table.columns)}; expected reference, image, score")
        named = table.iloc[:, :3].set_axis(list(_SCORE_TABLE)[:3], axis=1).assign(part=part)
        named = named.assign(**{column: named[column].astype(str).str.strip() for column in ("reference", "name")})
        tables.append(named[named["name"] != named["reference"]])
    return pd.concat(tables[1:] or tables, ignore_index=True)
