"""What picking the epoch, or the model, by the test part would have claimed."""

from __future__ import annotations

import pandas as pd

from iqasuite.errors import InputError
from iqasuite.evaluation.uncertainty import over_splits

ANY_MODEL = "any of them"  # whichever model and epoch was best


def selection_gap(histories: pd.DataFrame, test_to_train: float = 1 / 3) -> pd.DataFrame:
    """What picking the epoch by the test part would have claimed, against the epoch that validation picks.

    Args:
        histories: one row an epoch: model, seed, fold, epoch, val, test — scores of both parts, higher = better.
        test_to_train: size of the test part over that of the training part, for the interval over splits.

    Returns:
        One row a model: claimed (test score of the best epoch on test), honest (of the best on val; the first of
        several), gap = claimed − honest with low and high (95 % of the mean over splits, seeds averaged, corrected for
        the splits' overlap; never below 0, as no gap is), n_folds, n_runs. With several models a last row
        "any of them": model and epoch both picked, by test or by val.

    Raises:
        InputError: columns missing, a run without a score.

    Reference: the interval is that of `uncertainty.over_splits`; on the gap, G. Cawley & N. Talbot, "On over-fitting in
    model selection and subsequent selection bias in performance evaluation", JMLR 11, 2010.
    """
    needed = ["model", "seed", "fold", "epoch", "val", "test"]
    missing = [column for column in needed if column not in histories]
    if missing:
        raise InputError(f"histories: columns {missing} missing, expected {', '.join(needed)}")
    if histories["model"].nunique() > 1:
        histories = pd.concat([histories, histories.assign(model=ANY_MODEL)], ignore_index=True)
    rows = []
    for model, own in histories.groupby("model", sort=False):
        runs = pd.DataFrame(
            [(fold, *_picked(run, model)) for (fold, _), run in own.groupby(["fold", "seed"])],
            columns=["fold", "claimed", "honest"],
        )
        folds = runs.groupby("fold").mean()
        gap = folds["claimed"] - folds["honest"]
        low, high, _ = over_splits(gap, test_to_train)
        # max(nan, 0) is nan: an interval that is not known does not become 0
        means = folds["claimed"].mean(), folds["honest"].mean(), gap.mean()
        rows.append((model, *means, max(low, 0.0), high, len(folds), len(runs)))
    columns = ["model", "claimed", "honest", "gap", "low", "high", "n_folds", "n_runs"]
    return pd.DataFrame(rows, columns=columns)


def _picked(run: pd.DataFrame, model: str) -> tuple[float, float]:
    """Test score of the epoch that is best on test, and of the one that is best on val."""
    known = run.dropna(subset=["val", "test"])
    if known.empty:
        first = run.iloc[0]
        raise InputError(
            f"histories: {model!r}, seed {first['seed']}, fold {first['fold']}: no epoch with val and test"
        )
    return float(known["test"].max()), float(known.loc[known["val"].idxmax(), "test"])
