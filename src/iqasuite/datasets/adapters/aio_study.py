"""The ViT-IQA individual-observer study with its own images, for whoever has them.

The images lie in `aio_images`, under the names in the playlists, which are read from `aio_playlists`. DSX shows one
photograph that two observers saw in a session, too: their votes on it are in `Dataset.set_aside`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from iqasuite.datasets.adapters import aio_playlists
from iqasuite.datasets.card import Card
from iqasuite.datasets.dataset import Dataset
from iqasuite.datasets.frames import validate
from iqasuite.datasets.layout import Files, located

CARD = Card(
    name="aio_study",
    title="Votes of five people on 1,500 JPEG images each, with repeated sessions and the study's own images",
    homepage=aio_playlists.CARD.homepage,
    licence=aio_playlists.CARD.licence,
    citation=aio_playlists.CARD.citation,
    n_images=3088,  # of the playlists' 3,090: two show a photograph of DSX
    n_references=0,
    scale=aio_playlists.CARD.scale,
    structure=aio_playlists.CARD.structure,
    folders=("aio_images",),
    manual="Lay the study's images (691ILSVRC2013_train_00031900.JPEG_I4_Q41.jpeg …) here, its playlists in "
    "aio_playlists.",
    votes="per observer",
)
_VALIDATION = 8  # one photograph in so many of those of the sessions
_SIDE = 256  # pixels: the study showed its networks images at this size


def load(root: Path | str, missing: str = "error") -> Dataset:
    """Images and votes; `missing` as in `data.load`.

    `official_split` has one fold: sessions for training, one photograph in eight of them for validation, DSX for tests.

    Raises:
        InputError: no such folder, absent images, playlists that cannot be read.
    """
    study, files = aio_playlists.load(aio_playlists.CARD.folder()), Files(root)
    paths, absent = located(files, study.images["image"], missing)
    split = study.official_split
    assert split is not None  # the adapter's
    tested = split["part"] == "test"
    shared = set(split.loc[~tested & split["content"].isin(split.loc[tested, "content"]), "image"])
    split = split[split["image"].isin(paths) & ~split["image"].isin(shared)].reset_index(drop=True)
    trained = sorted(set(split.loc[split["part"] == "train", "content"]))
    chosen = {trained[i] for i in np.random.default_rng(0).permutation(len(trained))[::_VALIDATION]}
    split.loc[split["content"].isin(chosen), "part"] = "val"
    kept = study.images[study.images["image"].isin(split["image"])]
    votes = study.votes.assign(image=study.votes["image"].replace(paths))
    used = study.votes["image"].isin(split["image"])
    quality = pd.DataFrame({"jpeg_quality": kept["level"].to_numpy()}, index=pd.Index(kept["image"].map(paths)))
    return Dataset(
        name=CARD.name,
        root=files.root,
        images=validate(kept.assign(image=kept["image"].map(paths)), "images", CARD.name),
        votes=validate(votes[used], "votes", CARD.name),
        scale=CARD.scale,
        display_size=(_SIDE, _SIDE),
        nuisances=quality.rename_axis("image"),
        absent=absent,
        licence=CARD.licence,
        citation=CARD.citation,
        set_aside=votes[study.votes["image"].isin(shared & set(paths))].reset_index(drop=True),
        official_split=validate(split.assign(image=split["image"].map(paths)), "split", CARD.name),
    )
