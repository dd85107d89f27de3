"""Figures of full-reference networks: they say what the frames say."""

import matplotlib.text
import numpy as np
import pandas as pd

from iqasuite.report import figures


def texts(fig):
    fig.canvas.draw()
    return [t.get_text() for t in fig.findobj(matplotlib.text.Text) if t.get_text()]


def test_loss_grid_has_every_number_and_the_best_loss_on_top():
    rows = [("simple", "MSE", 0.9), ("simple", "PLCC", 0.95), ("bn", "MSE", -0.012), ("bn", "PLCC", 0.93)]
    table = pd.DataFrame(rows, columns=["variant", "loss", "value"])
    table["low"], table["high"] = table["value"] - 0.01, table["value"] + 0.01
    fig = figures.loss_grid(table[:3])
    found = texts(fig)
    assert {".900", ".950", "−.012", "–", ".940–.960", "−.022–−.002"} <= set(found)
    assert [t.get_text() for t in fig.axes[0].get_yticklabels()] == ["PLCC", "MSE"]


def test_a_loss_that_was_tried_with_the_best_network_only_is_not_the_best_for_that():
    rows = [("simple", "soft", 0.96), ("bn", "soft", 0.95), ("tiled", "soft", 0.85), ("simple", "MSE", 0.94)]
    table = pd.DataFrame(rows, columns=["variant", "loss", "value"]).assign(low=np.nan, high=np.nan)
    fig = figures.loss_grid(table)
    assert [t.get_text() for t in fig.axes[0].get_yticklabels()] == ["soft", "MSE"]


def test_error_maps_share_one_scale_and_leave_the_picture_where_there_is_no_error():
    image = np.full((20, 30, 3), 90, np.uint8)
    maps = [np.zeros((20, 30)), np.linspace(0, 4, 600).reshape(20, 30)]
    fig = figures.error_maps([image, image], maps, ["none", "some"])
    found = texts(fig)
    assert "none" in found and "4" in found
    below = [ax for ax in fig.axes if len(ax.images) == 2]
    assert [ax.images[1].get_clim() for ax in below] == [(0, 1), (0, 1)]
    alphas = [ax.images[1].get_alpha() for ax in below]
    assert np.all(alphas[0] == alphas[1].min()) and alphas[1].max() == 1


def test_error_maps_of_copies_without_any_error():
    image = np.full((20, 30, 3), 90, np.uint8)
    fig = figures.error_maps([image], [np.zeros((20, 30))], ["same"])
    assert "same" in texts(fig)
    map_ = next(ax for ax in fig.axes if len(ax.images) == 2).images[1]
    assert (map_.get_array() == 0).all() and np.allclose(map_.get_alpha(), 0.35)


def test_spread_plot_shows_the_rank_correlation_of_spread_and_error():
    spread, photograph = np.linspace(0.1, 1, 40), ["a", "b"] * 20
    rising, falling = (
        figures.spread_plot(spread, spread * 2, photograph),
        figures.spread_plot(spread, 3 - spread, photograph),
    )
    assert any("40 pairs, rank correlation 1.000" in t for t in texts(rising))
    assert any("rank correlation −1.000" in t for t in texts(falling))


def test_batch_size_plot_has_a_place_for_each_size():
    rows = [(loss, size, 0.9 + size / 1000) for loss in ("PLCC", "soft ranks") for size in (4, 16, 64)]
    table = pd.DataFrame(rows, columns=["loss", "batch_size", "value"])
    fig = figures.batch_size_plot(table.assign(low=table["value"] - 0.01, high=table["value"] + 0.02))
    found = texts(fig)
    assert {"4", "16", "64", "PLCC", "soft ranks"} <= set(found)
    for line, value in zip(fig.axes[0].lines[::3], (0.904, 0.904), strict=False):
        assert line.get_ydata()[0] == value
    outside = table.assign(low=table["value"] + 0.001, high=table["value"] + 0.02)  # an interval that misses its value
    texts(figures.batch_size_plot(outside))


def test_sources_plot_sorts_by_everything_together():
    rows = [("low", "all", 0.5), ("low", "a", 0.9), ("high", "all", 0.8), ("high", "a", 0.7), ("high", "b", 0.6)]
    fig = figures.sources_plot(pd.DataFrame(rows, columns=["model", "source", "srocc"]).assign(n=4))
    assert [t.get_text() for t in fig.axes[0].get_yticklabels()] == ["high", "low"]
    assert {"a", "b", "all sources"} <= set(texts(fig))
