"""How much better one method is than others on the same votes: paired, so that what is hard for both cancels out."""

from __future__ import annotations

import numpy as np
import pandas as pd

from iqasuite.errors import InputError
from iqasuite.evaluation.subjects.observers import content_of
from iqasuite.evaluation.uncertainty import content_weights, holm, least_p, resampled_means, tested
from iqasuite.inference.predictions import hard_predictions

METRICS = {"accuracy": 1, "mae": -1}  # and whether more of it is better


def gains(
    predictions: pd.DataFrame, model: str, contents: pd.Series, n_boot: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """One method against each of the others, on the votes that both predict.

    Args:
        predictions: predictions frame of observers (rows of observer "" are left out), one part and protocol; each
            image once per model, observer and seed. Rows without a target are left out.
        model: the method that is compared with the others.
        contents: image -> content (or source photograph, where contents share one).
        n_boot, seed: resamples of contents for the intervals.

    Returns:
        One row per other method and metric (accuracy, mae): against, metric, own, other, gain (positive = `model` is
        better), low, high (95 % over contents, and over trainings where there are several), p (`paired_test`), p_holm
        (adjusted over the other methods), p_least (the smallest p_holm that so many contents can give), n votes,
        n_contents, trainings (of `model`). Means are over votes.

    Raises:
        InputError: `model` is not there, an image is predicted twice.
    """
    observers = predictions[predictions["observer"] != ""].dropna(subset="target")
    if model not in set(observers["model"]):
        raise InputError(f"predictions: no model {model!r}, expected one of {sorted(observers['model'].unique())}")
    key = ["model", "observer", "image"]
    if observers.duplicated([*key, "seed"]).any():
        twice = observers[observers.duplicated([*key, "seed"])].iloc[0]
        raise InputError(
            f"predictions: model {twice['model']!r}, observer {twice['observer']!r} has image {twice['image']!r} "
            "twice, expected one part and protocol"
        )
    error = np.abs(hard_predictions(observers) - observers["target"])
    values = observers[[*key, "seed"]].assign(accuracy=(error == 0).astype(float), mae=error)
    values = {name: trainings_of(rows, ["observer", "image"], list(METRICS)) for name, rows in values.groupby("model")}
    own = values[model]
    rows = []
    for other in [name for name in pd.unique(observers["model"]) if name != model]:
        theirs = values[other]
        both = own["mae"].index.intersection(theirs["mae"].index)
        if both.empty:
            continue
        content = content_of(both.get_level_values("image"), contents)
        weights, n_contents = content_weights(content, n_boot, seed), len(np.unique(content))
        for metric, sign in METRICS.items():
            mine, yours = (frame[metric].loc[both].to_numpy() for frame in (own, theirs))
            drawn = sign * (resampled_means(mine, weights, seed) - resampled_means(yours, weights, seed))
            found = tested(drawn, n_contents)
            rows.append((other, metric, mine.mean(), yours.mean(), *found, len(both), n_contents, mine.shape[1]))
    columns = ["against", "metric", "own", "other", "gain", "low", "high", "p", "n", "n_contents", "trainings"]
    table = pd.DataFrame(rows, columns=columns)
    table.insert(8, "p_holm", table.groupby("metric")["p"].transform(lambda p: holm(p.to_numpy())))
    table.insert(9, "p_least", [least_p(n, table["against"].nunique()) for n in table["n_contents"]])
    return table


def trainings_of(rows: pd.DataFrame, key: list[str], columns: list[str]) -> dict[str, pd.DataFrame]:
    """Each column as a table (key × seeds); what not every seed has is averaged over those that have it."""
    tables = {name: rows.pivot_table(index=key, columns="seed", values=name) for name in columns}
    return {
        name: table if table.notna().all(axis=None) else table.mean(axis=1).to_frame() for name, table in tables.items()
    }
