"""The crowd test beside the lab test: 1,484 quadrants of its 371 stills, rated by 238 people at their own screens.

Göring, Rao, Raake, Quality and User Experience 8, 2023, `test_2/ratings.db` of the same repository. A quadrant is a
part of a lab image (`test_1/images/NAME.png#tl`: top left), shown at half the lab's size. Some people rated some
quadrants again; the second time is session 2.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pandas as pd

from iqasuite.datasets.adapters import tta_h265_lab
from iqasuite.datasets.dataset import Dataset, first_votes, mean_votes
from iqasuite.datasets.frames import VOTES, validate
from iqasuite.errors import InputError

CARD = replace(
    tta_h265_lab.CARD,
    name="tta_h265_crowd",
    title="Quadrants of the lab set's stills, rated by 238 people of the crowd",
    n_images=1484,
    n_references=38,
    structure="371 stills of 38 sources × 4 quadrants of 1080²; 24,782 ratings",
    folders=("tta_h265_lab",),
)
DISPLAY_SIZE = (1080, 1080)
QUADRANTS = {
    "tl": (0.0, 0.0, 0.5, 0.5),
    "tr": (0.0, 0.5, 0.5, 1.0),
    "bl": (0.5, 0.0, 1.0, 0.5),
    "br": (0.5, 0.5, 1.0, 1.0),
}


def load(root: Path | str, missing: str = "error") -> Dataset:
    """The crowd's votes on quadrants, each a region of a lab image.

    Raises:
        InputError: no such database or tables, a vote outside 1–5, lab images absent while `missing="error"`.
    """
    lab = tta_h265_lab.load(root, missing)
    votes = _votes(lab.root / "test_2" / "ratings.db")
    images = lab.images.assign(stem=lab.images["image"].str.extract(r"([^/]+)\.[^./]+$")[0])
    whole = images.merge(votes[["stem", "quadrant"]].drop_duplicates(), on="stem")
    whole["part_of"], whole["image"] = whole["image"], whole["image"] + "#" + whole["quadrant"]
    names = whole.set_index(["stem", "quadrant"])["image"]
    votes = votes[votes["stem"].isin(images["stem"])]
    votes["image"] = names.reindex(pd.MultiIndex.from_frame(votes[["stem", "quadrant"]])).to_numpy()
    votes = validate(votes[list(VOTES)], "votes", "ratings.db")
    frame = whole.drop(columns=["mos", "mos_std", "n_votes"]).merge(mean_votes(first_votes(votes)), on="image")
    regions = {row.image: (row.part_of, QUADRANTS[row.quadrant]) for row in frame.itertuples()}
    for row in frame[frame["reference"] != ""].itertuples():  # the same part of the reference
        regions[f"{row.reference}#{row.quadrant}"] = (row.reference, QUADRANTS[row.quadrant])
    frame["reference"] = frame["reference"].where(
        frame["reference"] == "", frame["reference"] + "#" + frame["quadrant"]
    )
    nuisances = lab.nuisances.loc[frame["part_of"]].set_index(pd.Index(frame["image"]))
    return replace(
        lab,
        name=CARD.name,
        images=validate(frame.drop(columns=["stem", "quadrant", "part_of"]), "images", "ratings.db"),
        votes=votes,
        display_size=DISPLAY_SIZE,
        nuisances=nuisances,
        regions=regions,
        absent=[f"{stem}_{quadrant}" for stem in lab.absent for quadrant in QUADRANTS],
    )


def _votes(path: Path) -> pd.DataFrame:
    """Votes with the columns stem and quadrant in place of the image."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected the official layout of tta_h265_lab (test_2/ratings.db)")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
            raw = pd.read_sql("SELECT * FROM ratings WHERE rating_type = 'acr'", database)
    except (sqlite3.DatabaseError, pd.errors.DatabaseError) as error:
        raise InputError(f"{path}: not a database with a table `ratings` ({error})") from error
    absent = [name for name in ("stimuli_file", "rating", "user_ID", "timestamp") if name not in raw]
    if absent:
        raise InputError(f"{path}: table `ratings` without {', '.join(absent)}; expected the official columns")
    parts = raw["stimuli_file"].astype(str).str.extract(r"([^\\/]+)_(tl|tr|bl|br)\.png$")
    if parts[0].isna().any():
        name = raw.loc[parts[0].isna(), "stimuli_file"].iloc[0]
        raise InputError(f"{path}, column stimuli_file: {name!r}; expected <image>_tl.png, …_tr, …_bl or …_br")
    times = raw["timestamp"].astype(str).str.replace(r" (\d+)$", r".\1", regex=True)
    votes = pd.DataFrame(
        {
            "observer": "crowd" + raw["user_ID"].astype(str),
            "stem": parts[0],
            "quadrant": parts[1],
            "vote": pd.to_numeric(raw["rating"], errors="coerce"),
            "timestamp": pd.to_datetime(times, errors="coerce", format="%Y-%m-%d %H:%M:%S.%f"),
        }
    ).sort_values(["observer", "timestamp"], kind="stable", ignore_index=True)
    votes["session"] = votes.groupby(["observer", "stem", "quadrant"]).cumcount() + 1
    votes["duration"] = votes.groupby("observer")["timestamp"].diff().dt.total_seconds()
    votes["position"] = votes.groupby("observer").cumcount() + 1
    return votes
