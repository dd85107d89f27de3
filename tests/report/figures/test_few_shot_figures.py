"""Figures of few-shot observers are drawn from small tables, with gaps, and say what they show."""

import numpy as np
import pandas as pd

from iqasuite.report import figures


def curve():
    rows = [
        (method, count, metric, 0.5, 0.4, 0.6)
        for method in ("few-shot", "population", "majority")
        for count in ("0", "5", "all")
        for metric in ("accuracy", "coverage")
        if (method, count) != ("majority", "0")
    ]
    return pd.DataFrame(rows, columns=["method", "votes", "metric", "value", "low", "high"])


def test_curves_name_methods_and_votes():
    fig = figures.few_shot_curves(curve(), ("accuracy", "coverage"), ["few-shot"], ceiling="population")
    labels = [text.get_text() for text in fig.legends[0].get_texts()]
    assert sorted(labels) == ["few-shot", "majority", "population"]
    assert [label.get_text() for label in fig.axes[0].get_xticklabels()] == ["0", "5", "all"]


def test_steps_show_each_parameter_and_the_truth_where_it_is_known():
    steps = pd.DataFrame(
        {"votes": [0, 5] * 2, "parameter": ["bias"] * 2 + ["slope"] * 2, "value": 0.1, "low": 0.0, "high": 0.2}
    )
    fig = figures.posterior_steps(steps, pd.Series({"bias": 0.3}))
    assert [ax.get_title() for ax in fig.axes] == ["bias", "slope"]
    assert len(fig.axes[0].lines) == 2 and len(fig.axes[1].lines) == 1


def test_parts_of_the_variance_are_drawn_with_gaps():
    parts = pd.DataFrame(
        {"part": ["image", "noise"], "share": [0.7, np.nan], "low": [0.6, np.nan], "high": [0.8, np.nan]}
    )
    fig = figures.variance_plot(pd.concat([parts.assign(dataset="a"), parts.iloc[:1].assign(dataset="b")]))
    assert [text.get_text() for text in fig.axes[0].get_legend().get_texts()] == ["a", "b"]
