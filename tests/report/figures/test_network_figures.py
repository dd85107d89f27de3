"""Figures of no-reference networks: they say what the data say."""

import matplotlib.text
import numpy as np
import pandas as pd

from iqasuite.report.figures.network import category_confusion, latency_accuracy_plot
from iqasuite.report.figures.style import png_of
from iqasuite.weights.catalogue import CATEGORIES

COLUMNS = ["model", "engine", "median_ms", "low_ms", "high_ms", "value", "low", "high"]


def texts(fig):
    fig.draw_without_rendering()
    return [t.get_text() for t in fig.findobj(matplotlib.text.Text) if t.get_text() and t.get_visible()]


def costs():
    rows = [
        (model, engine, ms * factor, ms * factor * 0.9, ms * factor * 1.2, value, value - 0.02, value + 0.01)
        for model, ms, value in (("small", 8, 0.7), ("large", 40, 0.8))
        for engine, factor in (("torch", 1), ("ONNX", 0.5))
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def test_every_model_is_named_once_at_one_of_its_points_and_engines_in_the_legend():
    table = costs()
    fig = latency_accuracy_plot(table)
    found = texts(fig)
    assert [found.count(name) for name in ("small", "large", "torch", "ONNX")] == [1, 1, 1, 1]
    ax = fig.axes[0]
    assert ax.get_xscale() == "log" and "SROCC, 95 % interval" in found
    named = {t.get_text(): t.xy for t in ax.texts}
    for model, own in table.groupby("model"):
        assert named[model] in set(zip(own["median_ms"], own["value"], strict=True))


def test_points_and_both_intervals_are_the_table_s():
    table = costs()
    ax = latency_accuracy_plot(table).axes[0]
    drawn = {tuple(point) for container in ax.containers for point in container.lines[0].get_xydata()}
    assert drawn == set(zip(table["median_ms"], table["value"], strict=True))
    ends = np.concatenate([c.get_segments() for container in ax.containers for c in container.lines[2]])
    across = {(a[0], b[0]) for a, b in ends.round(6) if a[1] == b[1]}
    along = {(a[1], b[1]) for a, b in ends.round(6) if a[0] == b[0]}
    assert across == set(zip(table["low_ms"].round(6), table["high_ms"].round(6), strict=True))
    assert along == set(zip(table["low"].round(6), table["high"].round(6), strict=True))


def test_names_do_not_cover_each_other_where_there_is_room():
    table = costs().query("engine == 'torch'").drop(columns="engine")
    near = pd.concat([table, table.assign(model=["small 2", "large 2"], value=table["value"] + 0.001)])
    fig = latency_accuracy_plot(near)
    fig.draw_without_rendering()
    boxes = [t.get_window_extent() for t in fig.axes[0].texts]
    assert len(boxes) == 4 and not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert not fig.legends


def test_unknown_intervals_leave_the_points():
    table = costs().assign(low=np.nan, high=np.nan, low_ms=np.nan, high_ms=np.nan)
    assert png_of(latency_accuracy_plot(table))[:4] == b"\x89PNG"


def test_category_confusion_has_every_count_and_says_how_many_are_right_or_near():
    counts = np.diag([10, 20, 30, 40, 1000]) + np.diag([5] * 4, 1) + np.diag([0, 0, 7], -2)
    fig = category_confusion(counts)
    found = texts(fig)
    assert {"1,000", "40", "5", "7", *CATEGORIES} <= set(found)
    assert "1,127 images: 98 % right, 99 % right or next to it" in found
    np.testing.assert_allclose(fig.axes[0].images[0].get_array()[0], [2 / 3, 1 / 3, 0, 0, 0])


def test_category_confusion_without_any_picture_of_a_category():
    assert "0 images: 0 % right, 0 % right or next to it" in texts(category_confusion(np.zeros((5, 5), int)))
