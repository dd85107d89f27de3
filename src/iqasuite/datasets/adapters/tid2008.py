"""TID2008: 25 references × 17 distortions × 4 levels, `mos_with_names.txt`, 0–9, higher = better.

Ponomarenko et al., "TID2008 – A Database for Evaluation of Full-Reference Visual Quality Assessment Metrics", Advances
of Modern Radioelectronics 10, 2009. Same references, names and first 17 distortions as TID2013: train on one, test on
the other, and you test on what was trained on. Level 4 is the worst but for distortions 15 and 17, as there.
"""

from __future__ import annotations

from pathlib import Path

from iqasuite.datasets.adapters import tid2013
from iqasuite.datasets.card import Card, Download, Scale
from iqasuite.datasets.dataset import Dataset
from iqasuite.datasets.layout import Files, scored
from iqasuite.datasets.tables import MIRROR, REISSUED

CARD = Card(
    name="tid2008",
    title="17 distortions of 25 references, rated by pairwise choices of 838 people",
    homepage="https://www.ponomarenko.info/tid2008.htm",
    licence="education and research only, free of charge, with its copyright notice; no changes without permission",
    citation="Ponomarenko et al., Advances of Modern Radioelectronics 10:30–45, 2009",
    n_images=1700,
    n_references=25,
    scale=Scale(0, 9, name="wins in nine rounds of pairs"),
    structure="25 references × 17 distortions × 4 levels",
    folders=("tid2008", "TID2008"),
    downloads=(Download(f"{MIRROR}/tid2008.tgz", size=713_000_000), REISSUED),
)
EXPERIMENTS = 838


def load(root: Path, missing: str = "error") -> Dataset:
    """TID2008; `missing` as in `data.load`.

    Raises:
        InputError: no such folder or table, absent images, names that are not the official ones.
    """
    files = Files(root)
    return scored(CARD, files, tid2013.scores(files, "TID2008", EXPERIMENTS), missing)
