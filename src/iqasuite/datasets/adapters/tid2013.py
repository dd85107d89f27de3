"""TID2013: 25 references × 24 distortions × 5 levels, `mos_with_names.txt`, 0–9, higher = better.

Ponomarenko et al., "Image database TID2013: Peculiarities, results and perspectives", Signal Processing: Image
Communication 30, 2015. distorted_images/i01_01_1.bmp, reference_images/I01.BMP; names in the table and of the files
differ in case. I25 is synthetic, the others are parts of the Kodak photographs. Level 5 is the worst but for contrast
(17), which alternates between less and more, and block-wise distortion (15), whose more blocks are seen as better.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from iqasuite.datasets.card import Card, Download, Scale
from iqasuite.datasets.dataset import Dataset
from iqasuite.datasets.layout import Files, scored
from iqasuite.datasets.tables import MIRROR, REISSUED, reissued, word_table
from iqasuite.errors import InputError

DISTORTIONS = (
    *("gaussian noise", "colour noise", "spatially correlated noise", "masked noise", "high frequency noise"),
    *("impulse noise", "quantisation noise", "gaussian blur", "denoising", "jpeg", "jpeg2000"),
    *("jpeg transmission errors", "jpeg2000 transmission errors", "non-eccentricity pattern noise"),
    *("block-wise distortion", "mean shift", "contrast change", "saturation change", "multiplicative noise"),
    *("comfort noise", "lossy compression of noisy images", "colour quantisation with dither"),
    *("chromatic aberrations", "sparse sampling and reconstruction"),
)
CARD = Card(
    name="tid2013",
    title="24 distortions of 25 references, rated by pairwise choices of 971 people",
    homepage="https://www.ponomarenko.info/tid2013.htm",
    licence="see homepage",
    citation="Ponomarenko et al., Signal Processing: Image Communication 30, 2015, doi:10.1016/j.image.2014.10.009",
    n_images=3000,
    n_references=25,
    scale=Scale(0, 9, name="wins in nine rounds of pairs"),
    structure="25 references × 24 distortions × 5 levels",
    folders=("tid2013", "TID2013"),
    downloads=(Download(f"{MIRROR}/tid2013.tgz", size=1_230_000_000), REISSUED),
)
EXPERIMENTS = 971


def load(root: Path, missing: str = "error") -> Dataset:
    """TID2013; `missing` as in `data.load`.

    Raises:
        InputError: no such folder or table, absent images, names that are not the official ones.
    """
    files = Files(root)
    return scored(CARD, files, scores(files, "TID2013", EXPERIMENTS), missing)


def scores(files: Files, name: str, experiments: int) -> pd.DataFrame:
    """The table of TID2008 or TID2013 for `layout.scored`: of the set itself, else of the mirror."""
    table = None if files.find("mos_with_names.txt") else reissued(files, name)
    if table is None:
        table = word_table(files.need("mos_with_names.txt"), ("score", "name"))
        if files.find("mos_std.txt"):
            table["std"] = word_table(files.need("mos_std.txt"), ("std",))["std"]
    parts = table["name"].str.extract(r"(?i)^(i\d\d)_(\d\d)_(\d)\.bmp$")
    wrong = parts.isna().any(axis=1) | ~pd.to_numeric(parts[1]).between(1, len(DISTORTIONS))
    if wrong.any():
        raise InputError(f"{files.root}: image {table['name'][wrong].iloc[0]!r}; expected names like i01_01_1.bmp")
    content = parts[0].str.upper()
    return pd.DataFrame(
        {
            "name": table["name"],
            "score": table["score"],
            "content": content,
            "reference": content + ".bmp",
            "distortion": parts[1].map(lambda number: DISTORTIONS[int(number) - 1]),
            "level": parts[2].astype(float),
            "std": spread(table["score"], table["std"], experiments / 25) if "std" in table else np.nan,
        }
    )


def spread(mos: pd.Series, published: pd.Series, votes: float) -> np.ndarray:
    """Standard deviation of the single votes, from the file `mos_std.txt`.

    That file holds the standard deviation of the mean (TID2013: 0.13 on average): votes are whole numbers, so those of
    mean 5.5 differ by 0.5 at least. It is multiplied by the root of the mean number of votes an image; that of each
    image is not published. A file whose values are large enough to be those of single votes is taken as it is.
    """
    mos, published = (pd.to_numeric(values, errors="coerce").to_numpy(float) for values in (mos, published))
    least = np.sqrt((mos % 1) * (1 - mos % 1))
    return published * np.sqrt(votes) if (published < least).mean() > 0.5 else published
