"""Screening of observers by the standards: reported, never applied. First votes count.

An observer who differs from the others is what this project is about; the rules were made for estimates of a mean.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from iqasuite.datasets.frames import LEAST_IMAGES
from iqasuite.errors import InputError
from iqasuite.evaluation.subjects.agreement import vote_table

LEAST_R1 = 0.75  # of P.913; usual for quality tests like these


def screen_bt500(votes: pd.DataFrame, ddof: int = 1) -> pd.DataFrame:
    """ITU-R BT.500: who is far from the others too often, on both sides?

    On each image, a vote at or beyond the mean ± 2 standard deviations counts, or ± √20 where the votes' kurtosis is
    outside 2–4 (not near normal): P above, Q below. Flagged: (P + Q)/n > .05 and |P − Q|/(P + Q) < .3. So whoever is
    always too high or always too low passes: the rule looks for erratic observers. Images on which all votes are equal
    count for nobody. With fewer than `LEAST_IMAGES` images share and balance are nan, and nobody is flagged.

    Args:
        votes: votes frame.
        ddof: 1 = standard deviation of a sample, as in the Recommendation; 0 = as in `sureal`.

    Returns:
        observer, n (images), above (P), below (Q), share ((P + Q)/n), balance (|P − Q|/(P + Q); nan where both are 0),
        flagged.

    Reference: ITU-R BT.500-14 (2019), Annex 1, 2.3.1; BT.500-13 (2012), Annex 2, 2.3.1.
    """
    table = vote_table(votes)
    block = table.to_numpy()
    rated = np.isfinite(block)
    n = rated.sum(1, keepdims=True)
    away = np.where(rated, block - np.nansum(block, 1, keepdims=True) / n, 0)
    variance = np.square(away).sum(1, keepdims=True) / n
    defined = (variance > 1e-12) & (n > ddof)
    kurtosis = (away**4).sum(1, keepdims=True) / n / np.where(defined, variance, 1) ** 2
    reach = np.where((kurtosis >= 2) & (kurtosis <= 4), 2, np.sqrt(20))
    limit = reach * np.sqrt(variance * n / np.maximum(n - ddof, 1))
    above = (defined & rated & (away >= limit)).sum(0)
    below = (defined & rated & (away <= -limit)).sum(0)
    beyond, images = above + below, rated.sum(0)
    balance = np.where(beyond > 0, np.abs(above - below) / np.maximum(beyond, 1), np.nan)
    enough = images >= LEAST_IMAGES
    share, balance = np.where(enough, beyond / images, np.nan), np.where(enough, balance, np.nan)
    found = {"n": images, "above": above, "below": below, "share": share, "balance": balance}
    return pd.DataFrame({"observer": table.columns, **found, "flagged": (share > 0.05) & (balance < 0.3)})


def screen_p913(votes: pd.DataFrame) -> pd.DataFrame:
    """ITU-T P.913: who correlates too little with the mean of all?

    Pearson's correlation r1 over images with the mean vote of all observers (the observer's own among them). Flagged:
    r1 below `LEAST_R1`. Where observers are left out by it, that is done one at a time, the worst first; here every
    observer is looked at once.

    Args:
        votes: votes frame.

    Returns:
        observer, n (images), r1, flagged. The correlation is nan for somebody who always votes the same, which counts
        as below the threshold, and for somebody with fewer than `LEAST_IMAGES` images, who is not flagged.

    Raises:
        InputError: a single observer.

    Reference: ITU-T P.913 (2016), 11.4; the threshold is that of VQEG's multimedia test plan.
    """
    table = vote_table(votes)
    if table.shape[1] < 2:
        raise InputError(f"votes: {table.shape[1]} observers, expected at least two to compare")
    enough = (table.notna().sum() >= LEAST_IMAGES).to_numpy()
    r1 = np.where(enough, _correlations(table), np.nan)
    n = table.notna().sum().to_numpy()
    return pd.DataFrame({"observer": table.columns, "n": n, "r1": r1, "flagged": ~(r1 >= LEAST_R1) & enough})


def _correlations(table: pd.DataFrame) -> np.ndarray:
    """Pearson correlation of each column with the mean over columns; nan where constant."""
    block = table.to_numpy()
    rated = np.isfinite(block)
    mean = table.mean(axis=1).to_numpy()[:, None]
    n = rated.sum(0)
    x = np.where(rated, block - np.nansum(block, 0) / n, 0)
    y = np.where(rated, mean - np.where(rated, mean, 0).sum(0) / n, 0)
    product = np.square(x).sum(0) * np.square(y).sum(0)
    return np.where(product > 1e-12, (x * y).sum(0) / np.sqrt(np.maximum(product, 1e-12)), np.nan)
