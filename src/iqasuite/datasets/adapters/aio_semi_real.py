"""Semi-real: the votes of the ViT-IQA individual-observer study, given to photographs that we compressed ourselves.

The study's images are not published with its playlists. These show other photographs at the same JPEG qualities.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from iqasuite.datasets.card import Card, Scale
from iqasuite.datasets.dataset import Dataset

CARD = Card(
    name="aio_semi_real",
    title="Semi-real: votes of five people on JPEG images, given to other images of the same qualities",
    homepage="made by iqasuite.datasets.semi_real",
    licence="votes: none stated; photographs: as in their folders",
    citation="Vision Transformer for image quality prediction of individual observers: playlists and DSX",
    n_images=3090,
    n_references=0,
    scale=Scale(1, 5),
    structure="4 sessions × 300 images a person (session 4 repeats 1), then DSX; 356 photographs, none in both",
    manual="Lay aio_playlists (see there), photographs, kodak24 and bsds300 in the data folder.",
    votes="per observer",
    made=True,
)


def load(root: Path, missing: str = "error", **settings: Any) -> Dataset:
    """The semi-real set, made first where it is absent; `missing` has nothing to do, `settings` as `semi_real.load`."""
    from iqasuite.datasets import semi_real  # here, so that cards are read without what makes images

    return semi_real.load(root, **settings)
