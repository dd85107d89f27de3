"""Figure of one observer's numbers beside people in general, and of their votes beside those that are predicted."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from iqasuite.evaluation.subjects.own_observer import OwnObserver
from iqasuite.inference.predictions import VOTES
from iqasuite.report.figures.style import BLUE, GRAY, LIGHT, SKY, new_figure, styled

_LABELS = {"bias": "bias (votes)", "slope": "use of the scale", "inconsistency": "inconsistency (votes)"}


@styled
def own_observer_figure(own: OwnObserver) -> Figure:
    """The observer's numbers with 95 % intervals over the range of 95 % of people; given and predicted votes.

    Args:
        own: whose.
    """
    table, rest = own.parameters(), own.predictions()
    fig = new_figure(7.2, 2.6)
    left, right = fig.subplots(1, 2, width_ratios=(3, 2))
    rows = np.arange(len(table))[::-1]
    left.barh(
        rows, table["people_high"] - table["people_low"], 0.6, table["people_low"], color=LIGHT, label="95 % of people"
    )
    left.plot(table["people"], rows, "|", color=GRAY, markersize=12)
    error = np.abs(table[["low", "high"]].to_numpy().T - table["value"].to_numpy())
    left.errorbar(
        table["value"], rows, xerr=error, fmt="o", color=BLUE, markersize=5, capsize=2, label="you, 95 % interval"
    )
    left.set_yticks(rows, [_LABELS.get(str(name), f"sensitivity: {name}") for name in table.index])
    left.legend(loc="upper right", bbox_to_anchor=(1, -0.12), ncols=2)
    given = own.votes.value_counts().reindex(VOTES, fill_value=0) / len(own.votes)
    right.bar(VOTES - 0.2, 100 * given, 0.4, color=BLUE, label=f"given (n = {len(own.votes)})")
    if len(rest):
        shares = 100 * rest[[f"p{vote}" for vote in VOTES]].mean()
        right.bar(VOTES + 0.2, shares, 0.4, color=SKY, label=f"predicted, others (n = {len(rest)})")
    right.set_xlabel("vote (1 = bad, 5 = excellent)")
    right.set_ylabel("share of votes, %")
    right.legend(loc="upper right", bbox_to_anchor=(1, -0.2))
    return fig
