"""How much better one method is than others on the same votes: paired, so that what is hard for both cancels out."""

from __future__ import annotations

import numpy as np
import pandas as pd

from iqasuite.errors import InputError
from iqasuite.evaluation.people import content_of
from iqasuite.evaluation.predictions import hard_predictions
from iqasuite.evaluation.uncertainty import bootstrap_by_content, holm, paired_test_by_content

METRICS = {"accuracy": 1, "mae": -1}  # and whether more of it is better


def gains(
    predictions: pd.DataFrame, model: str, contents: pd.Series, n_boot: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """One method against each of the others, on the votes that both predict.

    Args:
        predictions: predictions frame of people (rows of observer "" are left out), one part and protocol; each image
            once per model, observer and seed. Seeds are averaged.
        model: the method that is compared with the others.
        contents: image -> content (or source photograph, where contents share one).
        n_boot, seed: resamples of contents for the intervals.

    Returns:
        One row per other method and metric (accuracy, mae): against, metric, own, other, gain (positive = `model` is
        better), low, high (95 % by content), p (sign-flip test by content), p_holm (adjusted over the other methods),
        n votes, n_contents. Means are over votes.

    Raises:
        InputError: `model` is not there, an image is predicted twice.
    """
    people = predictions[predictions["observer"] != ""]
    if model not in set(people["model"]):
        raise InputError(f"predictions: no model {model!r}, expected one of {sorted(people['model'].unique())}")
    key = ["model", "observer", "image"]
    if people.duplicated([*key, "seed"]).any():
        twice = people[people.duplicated([*key, "seed"])].iloc[0]
        raise InputError(
            f"predictions: model {twice['model']!r}, observer {twice['observer']!r} has image {twice['image']!r} "
            "twice, expected one part and protocol"
        )
    error = np.abs(hard_predictions(people) - people["target"])
    values = people[key].assign(accuracy=(error == 0).astype(float), mae=error).groupby(key).mean()
    own = values.loc[model]
    rows = []
    for other in [name for name in pd.unique(people["model"]) if name != model]:
        theirs = values.loc[other]
        both = own.index.intersection(theirs.index)
        if both.empty:
            continue
        content = content_of(both.get_level_values("image"), contents)
        for metric, sign in METRICS.items():
            mine, yours = own.loc[both, metric].to_numpy(), theirs.loc[both, metric].to_numpy()
            gain = sign * (mine - yours)
            low, high = bootstrap_by_content(gain, content, n_boot, seed)
            p = paired_test_by_content(gain, content, seed)
            rows.append((other, metric, mine.mean(), yours.mean(), gain.mean(), low, high, p, len(both),
                         len(np.unique(content))))  # fmt: skip
    columns = ["against", "metric", "own", "other", "gain", "low", "high", "p", "n", "n_contents"]
    table = pd.DataFrame(rows, columns=columns)
    table.insert(8, "p_holm", table.groupby("metric")["p"].transform(lambda p: holm(p.to_numpy())))
    return table
