"""The playlists of the ViT-IQA individual-observer study: ratings and names, no pixels.

Five people rated JPEG images of ImageNet, four sessions of 300 (the fourth repeats the first) and the held-out set DSX,
which is session 5 here. The JPEG quality stands in the name (`…_I3_Q22.jpeg`: class 3, quality 22). `Obs4.0` is a run
whose first session was not repeated; its authors replaced it by `Obs4`, so its votes are in `Dataset.set_aside`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from iqasuite.datasets.card import Card, Scale
from iqasuite.datasets.dataset import Dataset, first_votes, mean_votes
from iqasuite.datasets.frames import validate
from iqasuite.datasets.playlists import read_playlist, read_playlists
from iqasuite.errors import InputError

CARD = Card(
    name="aio_playlists",
    title="Ratings of five people, 1,500 JPEG images each, with repeated sessions; no images",
    homepage="the study's public repository (ViT-IQA, individual observers)",
    licence="none stated",
    citation="Vision Transformer for image quality prediction of individual observers: playlists and DSX",
    n_images=3090,
    n_references=0,
    scale=Scale(1, 5),
    structure="4 sessions × 300 images a person (session 4 repeats 1), then DSX: 300 images for everybody",
    manual="Lay the repository's folder of playlists here: Obs_iterative/<observer>/…csv and Test/<observer>.csv.",
    votes="per observer",
)
DSX = 5  # the held-out set's session
FAULTY = "Obs4.0"
_NAME = re.compile(r"\d+(?P<content>ILSVRC\d+_train_\d+)\.JPEG_I(?P<level>[1-5])_Q(?P<quality>\d+)\.jpeg")


def load(root: Path | str, missing: str = "error") -> Dataset:
    """The playlists; `missing` has nothing to do, because images are never here.

    `official_split` trains on the sessions and tests on DSX.

    Raises:
        InputError: no such folders, a playlist that cannot be read, an image name of another form.
    """
    root = Path(root)
    sessions = read_playlists(root / "Obs_iterative")
    observers = sorted(set(sessions["observer"]) - {FAULTY})
    held_out = [read_playlist(root / "Test" / f"{name}.csv", name, DSX) for name in observers]
    set_aside = sessions[sessions["observer"] == FAULTY].reset_index(drop=True)
    votes = pd.concat([sessions[sessions["observer"] != FAULTY], *held_out], ignore_index=True)
    images = mean_votes(first_votes(votes))
    parts = images["image"].str.extract(_NAME)
    if parts["content"].isna().any():
        name = images.loc[parts["content"].isna(), "image"].iloc[0]
        raise InputError(f"{root}: image {name!r}; expected a name like 691ILSVRC2013_train_00031900.JPEG_I4_Q41.jpeg")
    quality = parts["quality"].astype(float)
    images = images.assign(content=parts["content"], reference="", distortion="jpeg", level=quality)
    images = validate(images, "images", "aio_playlists")
    dsx = set(votes.loc[votes["session"] == DSX, "image"])
    split = images[["image", "content"]].assign(
        fold=0, part=images["image"].map(lambda image: "test" if image in dsx else "train")
    )
    return Dataset(
        name=CARD.name,
        root=root,
        images=images,
        votes=validate(votes, "votes", "aio_playlists"),
        scale=CARD.scale,
        nuisances=pd.DataFrame({"jpeg_quality": quality.to_numpy()}, index=pd.Index(images["image"])),
        licence=CARD.licence,
        citation=CARD.citation,
        set_aside=set_aside,
        official_split=validate(split, "split", "aio_playlists"),
        has_pixels=False,
    )
