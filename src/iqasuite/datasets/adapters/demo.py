"""The demo set: photographs that need no download, distorted by our own code, rated by simulated observers."""

from __future__ import annotations

from pathlib import Path

from iqasuite.datasets.card import Card, Scale
from iqasuite.datasets.dataset import Dataset

CARD = Card(
    name="demo",
    title="Simulated: 13 scenes, 4 distortions, 5 observers whose bias, inconsistency and taste are known",
    homepage="made by iqasuite.datasets.demo",
    licence="photographs as in scikit-image and scikit-learn (CC0, public domain, CC BY); ratings simulated",
    citation="",
    n_images=338,
    n_references=13,
    scale=Scale(1, 5),
    structure="13 contents × (pristine, 10 JPEG qualities, blur, noise, resolution loss at 5 levels)",
    votes="per observer",
    made=True,
)


def load(root: Path, missing: str = "error") -> Dataset:
    """The demo set, made first where it is absent; `missing` has nothing to do."""
    from iqasuite.datasets import demo  # here, because it imports torch, which takes seconds

    return demo.load(root)
