"""Observers as raters: agreement with themselves and with each other, bias and inconsistency."""

from __future__ import annotations

import numpy as np
import pandas as pd

from iqasuite.datasets.dataset import first_votes
from iqasuite.datasets.frames import LEAST_IMAGES
from iqasuite.errors import InputError
from iqasuite.names import natural_order


def content_of(images: pd.Series | pd.Index, contents: pd.Series | None) -> np.ndarray:
    """Content of each image (n,), looked up in `contents` (index image); None = each image is a content by itself.

    Raises:
        InputError: an image without content.
    """
    if contents is None:
        return images.to_numpy()
    found = contents.reindex(images)
    if found.isna().any():
        raise InputError(f"contents: none for image {found.index[found.isna()][0]!r}, expected one for each image")
    return found.to_numpy()


def bias_and_inconsistency(votes: pd.DataFrame, mos: pd.Series | None = None) -> pd.DataFrame:
    """Each observer's bias and inconsistency, in votes: vote = quality + bias + inconsistency · noise.

    Args:
        votes: votes frame; first votes count.
        mos: quality of each image (index image). None = the mean vote of these observers; as an observer's own vote is
            part of that mean, it hides a part of their inconsistency, which is then put back (exactly so where every
            observer rated every image).

    Returns:
        observer, bias (mean of vote − quality), inconsistency (standard deviation of what remains), n; bias and
        inconsistency are nan where n is below `LEAST_IMAGES`.

    Reference: Z. Li & C. Bampis, "Recover subjective quality scores from noisy measurements", DCC 2017; the model of
    ITU-T P.910 (2022) and P.913.
    """
    votes = first_votes(votes)
    quality = votes.groupby("image")["vote"].transform("mean") if mos is None else votes["image"].map(mos)
    residual = votes.assign(residual=votes["vote"] - quality).dropna(subset="residual")
    table = residual.groupby("observer")["residual"].agg(bias="mean", variance="var", n="count")
    table.loc[table["n"] < LEAST_IMAGES, ["bias", "variance"]] = np.nan
    per_image = len(votes) / votes["image"].nunique()
    if mos is None and per_image > 2:
        # var_j = s_j²(1 − 2/m) + S/m² with S = Σ s², hence Σ var = S(1 − 1/m), for m observers an image.
        total = per_image * table["variance"].mean() / (1 - 1 / per_image)
        table["variance"] = ((table["variance"] - total / per_image**2) / (1 - 2 / per_image)).clip(lower=0)
    table["inconsistency"] = np.sqrt(table.pop("variance"))
    return table.loc[natural_order(votes["observer"]), ["bias", "inconsistency", "n"]].reset_index()
