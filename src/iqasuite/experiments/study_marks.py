"""The accuracy of every AIO beside its marks: a rule on the file, the observer's repeated votes, and a publication."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from iqasuite.evaluation.rules import MOST_OFTEN_RIGHT, rules_on_split
from iqasuite.experiments.tested_observers import Tested

PUBLISHED = "published, on other images"


def reached(found: Tested, scores: pd.DataFrame, split: pd.DataFrame, published: Mapping[str, float]) -> pd.DataFrame:
    """How many votes of each observer the AIOs, a rule and a publication get right.

    The rule is the monotone one on the first number that files give away which is most often right on training and
    validation part (`AccuracyThresholds`), tested on the test parts.

    Args:
        found: the AIOs.
        scores: scores frame, of all protocols.
        split: of all folds.
        published: observer -> accuracy that a publication states of its own images; such numbers are called so.

    Returns:
        Rows observer, model, value (share of votes that are right).

    Raises:
        InputError: `published` names somebody who has not voted.
    """
    own = scores[
        (scores["model"] == found.method) & (scores["metric"] == "accuracy") & scores["observer"].isin(found.observers)
    ]
    rows = [own.assign(model="AIO, " + own["protocol"])]
    numbers = found.dataset.nuisances.select_dtypes("number")
    for name in numbers.columns[:1]:
        folds = [rules_on_split(found.dataset, numbers[name], split, fold, 0) for fold in found.main["fold"].unique()]
        rules = pd.concat(folds)
        rules = rules[(rules["model"] == MOST_OFTEN_RIGHT) & rules["observer"].isin(found.observers)]
        pooled = rules.assign(right=rules["value"] * rules["n"]).groupby("observer")[["right", "n"]].sum()
        values = (pooled["right"] / pooled["n"]).rename("value").reset_index()
        rows.append(values.assign(model=f"monotone thresholds on {name.replace('_', ' ')}"))
    stated = {found.dataset.check_observer(observer): value for observer, value in published.items()}
    rows.append(pd.DataFrame({"observer": list(stated), "model": PUBLISHED, "value": list(stated.values())}))
    return pd.concat(rows, ignore_index=True)[["observer", "model", "value"]]


def marks_table(reached: pd.DataFrame, repeated: pd.DataFrame, ceilings: pd.DataFrame) -> pd.DataFrame:
    """One row an observer, and their mean: what is reached, how often the vote is repeated, and the ceiling.

    Args:
        reached: of `reached`.
        repeated: of `retest`.
        ceilings: of `retest_ceiling`; observers without one are left out.

    Returns:
        observer, a column for each model, own vote repeated, ceiling (estimate), ceiling low and high (95 %).
    """
    ceiling = ceilings[ceilings["metric"] == "accuracy"].set_index("observer")
    again = repeated[repeated["metric"] == "accuracy"].groupby("observer")["value"].mean()
    table = reached.pivot(index="observer", columns="model", values="value")[reached["model"].unique()]
    table = table.reindex(ceiling.index).assign(**{"own vote repeated": again, "ceiling, estimated": ceiling["value"]})
    table = table.assign(**{"ceiling, low": ceiling["low"], "ceiling, high": ceiling["high"]})
    mean = table.mean().to_frame("mean").T
    mean[["ceiling, low", "ceiling, high"]] = float("nan")  # a mean of intervals is none
    return pd.concat([table, mean]).rename_axis(index="observer", columns=None).reset_index()
