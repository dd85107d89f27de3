"""Figures of the benchmark: they say what the frames say."""

import matplotlib.text
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from iqasuite.errors import InputError
from iqasuite.inference.predictions import predictions_frame
from iqasuite.report import figures
from iqasuite.report.figures.style import VERMILLION


def texts(fig):
    fig.canvas.draw()
    return [t.get_text() for t in fig.findobj(matplotlib.text.Text) if t.get_text()]


def pairs(p=(0.0004, 0.02, 0.6)):
    rows = [("best", "middle", 0.05), ("best", "worst", 0.12), ("middle", "worst", 0.07)]
    table = pd.DataFrame(rows, columns=["model", "other", "difference"])
    return table.assign(metric="srocc", low=-0.1, high=0.2, p=0.001, p_holm=p, p_least=1e-6, n=800, n_contents=25)


def test_significance_matrix_has_both_signs_and_stars_only_after_holm():
    fig = figures.significance_matrix(pairs())
    found = texts(fig)
    for text in ("+.050", "−.050", "+.120", "−.120", "+.070", "−.070"):
        assert found.count(text) == 1
    assert found.count("***") == 2 and found.count("*") == 2 and "**" not in found
    assert [t.get_text() for t in fig.axes[0].get_yticklabels()] == ["best", "middle", "worst"]
    shown = fig.axes[0].images[0].get_array()
    np.testing.assert_allclose(shown.filled(0), -shown.filled(0).T)
    assert shown[0, 2] == 0.12 and any("800 images of 25 contents" in t for t in found)
    weights = {t.get_text(): t.get_fontweight() for t in fig.axes[0].texts}
    assert weights["+.050"] == "bold" and weights["+.070"] == "normal"


def test_significance_matrix_of_methods_that_do_not_differ():
    found = texts(figures.significance_matrix(pairs((1, 1, 1)).assign(difference=0.0)))
    assert found.count("+.000") + found.count("−.000") == 6 and not {"*", "**", "***"} & set(found)


def scores():
    rows = [(m, metric, v) for m, v in (("low", 0.6), ("high", 0.9)) for metric in ("srocc", "krcc", "rmse")]
    frame = pd.DataFrame(rows, columns=["model", "metric", "value"])
    return frame.assign(low=frame["value"] - 0.05, high=frame["value"] + 0.05, observer="", dataset="d", part="test")


def test_median_plot_sorts_by_the_first_metric():
    frame = scores()
    frame.loc[(frame["model"] == "low") & (frame["metric"] == "krcc"), "value"] = np.nan
    fig = figures.median_plot(frame, ("srocc", "krcc"))
    found = texts(fig)
    assert [t.get_text() for t in fig.axes[0].get_yticklabels()] == ["high", "low"]
    assert found.count("0.900") == 2 and found.count("0.600") == 1 and {"SROCC", "KRCC"} <= set(found)
    lowest = figures.median_plot(frame, ("rmse",))
    assert [t.get_text() for t in lowest.axes[0].get_yticklabels()] == ["low", "high"]
    with pytest.raises(InputError, match="several times"):
        figures.median_plot(pd.concat([frame, frame]))


def run(parts=("val", "test"), n=80):
    rng = np.random.default_rng(0)
    frames = []
    for part in parts:
        mos = rng.uniform(1, 5, n)
        names = [f"{part}{k}" for k in range(n)]
        # the validation part follows another curve than the test part: the drawn curve must be its own
        score = np.log(mos) + rng.normal(0, 0.02, n) if part == "val" else mos
        frames.append(predictions_frame("d", "vit", "c", 0, 0, part, "", names, mos, predicted=score))
    return pd.concat(frames, ignore_index=True)


def test_the_drawn_curve_is_that_of_validation():
    fig = figures.scatter_with_logistic(run())
    found = " ".join(texts(fig))
    assert "80 test images" in found and "fitted to 80 of val" in found and "prediction of vit" in found
    assert "SROCC 1.000, PLCC 1.000, after the logistic" in found
    curve = next(line for line in fig.axes[0].lines if to_hex(line.get_color()) == VERMILLION.lower())
    x, y = curve.get_data()
    assert np.interp(1.2, x, y) == pytest.approx(np.exp(1.2), abs=0.3)  # and not 1.2, as on test
    assert "logistic" not in " ".join(texts(figures.scatter_with_logistic(run(("test",)))))
    with pytest.raises(InputError, match="one run"):
        figures.scatter_with_logistic(pd.concat([run(), run().assign(seed=1)]))


def test_split_spread_shows_every_split_and_the_median():
    rows = [
        (m, fold, seed, "srocc", base + 0.01 * fold + 0.001 * seed)
        for m, base in (("a", 0.5), ("b", 0.7))
        for fold in range(5)
        for seed in range(2)
    ]
    fig = figures.split_spread(pd.DataFrame(rows, columns=["model", "fold", "seed", "metric", "value"]))
    found = " ".join(texts(fig))
    assert "0.720" in found and "0.520" in found and "5 splits, mean over 2 seeds" in found
    dots = fig.axes[0].collections[0].get_offsets()
    np.testing.assert_allclose(dots[:, 0], 0.7005 + 0.01 * np.arange(5))  # b is best, its seeds averaged


def test_selection_gap_plot():
    table = pd.DataFrame({"model": ["a", "any of them"], "claimed": [0.9, 0.92], "honest": [0.88, 0.87]})
    table = table.assign(gap=table["claimed"] - table["honest"], low=[0, np.nan], high=[0.04, np.nan])
    found = texts(figures.selection_gap_plot(table))
    assert {"+0.020", "+0.050", "picked by test", "picked by validation", "any of them"} <= set(found)


def test_per_distortion_heatmap_has_the_hardest_kind_on_top():
    table = pd.DataFrame(
        [("a", "jpeg", 40, 0.9), ("a", "blur", 30, 0.5), ("b", "jpeg", 40, 0.8), ("b", "blur", 30, np.nan)],
        columns=["model", "distortion", "n", "srocc"],
    )
    fig = figures.per_distortion_heatmap(table)
    assert [t.get_text() for t in fig.axes[0].get_yticklabels()] == ["blur (n = 30)", "jpeg (n = 40)"]
    assert {"0.90", "0.50", "0.80", "–"} <= set(texts(fig))
    with pytest.raises(InputError, match="several times"):
        figures.per_distortion_heatmap(pd.concat([table, table]))
