"""Figures of scores: artificial observers (AIOs) beside baselines and ceiling, training. Data in, Figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from iqasuite.evaluation.metrics import LOWER_IS_BETTER
from iqasuite.names import natural_order
from iqasuite.report.figures import style
from iqasuite.report.tables import own_first, rounded

LABELS = {
    "accuracy": "accuracy (share of exact votes)",
    "qwk": "quadratic-weighted kappa",
    "mae": "mean absolute error (votes)",
    "mse_hard": "mean squared error of the most probable vote",
    "mse_expected": "mean squared error of the expected vote",
    "srocc": "SROCC with the observer's votes",
    "plcc": "PLCC with the observer's votes",
    "krcc": "KRCC with the observer's votes",
    "cross_entropy": "cross-entropy of the votes (nats)",
}
_BASELINE_MARKERS = ("s", "^", "D", "v", "P", "X")


def _looks(models: list[str]) -> dict[str, dict]:
    """Colour and marker of each method: baselines gray, ceiling green, the rest in the palette's order."""
    looks, plain, own = {}, 0, 0
    for model in models:
        if model.startswith("baseline:"):
            looks[model] = {"colour": style.GRAY, "marker": _BASELINE_MARKERS[plain % 6], "hollow": True}
            plain += 1
        elif model.startswith("ceiling:"):
            looks[model] = {"colour": style.CEILING_COLOUR, "marker": "d", "hollow": False}
        else:
            looks[model] = {"colour": style.PALETTE[own % len(style.PALETTE)], "marker": "o", "hollow": False}
            own += 1
    return looks


@style.styled
def observer_scores(scores: pd.DataFrame, metric: str = "accuracy") -> Figure:
    """Every observer's AIO beside baselines and ceiling, with 95 % intervals by content.

    More than 60 observers stand side by side, without their names.

    Args:
        scores: scores frame; the rows of observers (not "mean", not MOS) of one part are shown, every model in it.
        metric: which one.
    """
    rows = scores[(scores["metric"] == metric) & ~scores["observer"].isin(["", "mean"])]
    looks = _looks(sorted(pd.unique(rows["model"]), key=own_first))
    leading = next((m for m in looks if not m.startswith(("baseline:", "ceiling:"))), next(iter(looks)))
    first = rows[rows["model"] == leading].set_index("observer")["value"]
    observers = sorted(natural_order(rows["observer"]), key=lambda o: first.get(o, np.nan), reverse=True)
    if len(observers) > style.MANY:
        return _crowd_scores(rows, leading, looks, observers, LABELS.get(metric, metric))
    height = max(0.3, 0.1 * len(looks))
    fig, ax = style.one_panel(9, 1.2 + height * len(observers))
    style.rows_axis(ax, observers)
    style.bands(ax, len(observers))
    offsets = np.linspace(-0.3, 0.3, len(looks)) if len(looks) > 1 else [0.0]
    for offset, (model, look) in zip(offsets, looks.items(), strict=True):
        own = rows[rows["model"] == model].set_index("observer").reindex(observers)
        look["label"] = style.readable(model)
        style.dots(ax, own["value"], np.arange(len(observers)) + offset, own["low"], own["high"], **look)
    ax.set_xlabel(LABELS.get(metric, metric))
    fig.legend(loc="outside upper center", ncols=min(3, len(looks)))
    return fig


def _crowd_scores(rows: pd.DataFrame, leading: str, looks: dict, observers: list[str], label: str) -> Figure:
    """The same for a crowd: observers side by side without their names, the leading model with its intervals."""
    fig, ax = style.one_panel(10, 5)
    for model, look in looks.items():
        own = rows[rows["model"] == model].set_index("observer").reindex(observers)
        x, colour = np.arange(1, len(observers) + 1), look["colour"]
        if model == leading:
            ax.vlines(x, own["low"], own["high"], color=colour, linewidth=1.0, alpha=0.35)
        drawn = {"edgecolor": colour, "facecolor": "none" if look["hollow"] else colour, "marker": look["marker"]}
        order = 3 if model == leading else 2
        ax.scatter(x, own["value"], s=14, linewidth=0.8, label=style.readable(model), zorder=order, **drawn)
    ax.set_xlabel(f"{len(observers)} observers, in the order of the first model (lines: its 95 % intervals)")
    ax.set_ylabel(label)
    ax.grid(True, axis="y")
    ax.margins(x=0.01)
    fig.legend(loc="outside upper center", ncols=min(3, len(looks)))
    return fig


@style.styled
def method_scores(
    scores: pd.DataFrame, metrics: tuple[str, ...] = ("accuracy", "qwk"), observer: str = "mean"
) -> Figure:
    """All methods, best on top, with 95 % intervals by content; baselines gray, the ceiling marked by a line.

    Args:
        scores: scores frame of one part.
        metrics: one panel each; the first one sorts.
        observer: "mean" over observers, an observer, or "" for models of MOS.
    """
    rows = scores[(scores["observer"] == observer) & scores["metric"].isin(metrics)]
    first = rows[rows["metric"] == metrics[0]].set_index("model")["value"]
    models = list(first.sort_values(ascending=metrics[0] in LOWER_IS_BETTER).index)
    looks = _looks(models)
    fig = style.new_figure(10, 0.9 + 0.34 * len(models))
    axes = fig.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    for ax, metric in zip(axes, metrics, strict=True):
        style.rows_axis(ax, models)
        for y, model in enumerate(models):
            own = rows[(rows["model"] == model) & (rows["metric"] == metric)]
            if own.empty or own["value"].isna().all():
                continue
            value, low, high = own[["value", "low", "high"]].iloc[0]
            style.dots(ax, value, y, low, high, looks[model]["colour"], hollow=looks[model]["hollow"])
            style.above(ax, value, y, rounded(value))
            if model.startswith("ceiling:"):
                ax.axvline(value, color=style.CEILING_COLOUR, linestyle="--", linewidth=0.9)
        ax.set_xlabel(LABELS.get(metric, metric))
        ax.margins(x=0.08)
    return fig


@style.styled
def gains_plot(table: pd.DataFrame, model: str) -> Figure:
    """How much better one method is than each of the others on the same votes, with 95 % intervals by content.

    Args:
        table: frame of `gains`.
        model: the method that was compared; right of zero it is better.
    """
    rows = table[table["metric"] == "accuracy"].sort_values("gain", ascending=False)
    fig, ax = style.one_panel(8, 1.0 + 0.3 * len(rows))
    style.rows_axis(ax, [f"against {name}" for name in rows["against"]], longest=64)
    ax.axvline(0, color=style.GRAY, linewidth=0.8)
    _gains(ax, rows)
    ax.set_xlabel(f"gain in accuracy of {style.readable(model)}")
    fig.legend(loc="outside upper center", ncols=2)
    return fig


def _gains(ax: Axes, rows: pd.DataFrame, of: str = "") -> None:
    """Gains with their intervals, one a row, hollow where they are not significant."""
    sure = (rows["p_holm"] < 0.05).to_numpy()
    for chosen, hollow, label in ((sure, False, "p < .05 (Holm)"), (~sure, True, not_significant(rows))):
        if chosen.any():
            some, y = rows[chosen], np.flatnonzero(chosen)
            style.dots(ax, some["gain"], y, some["low"], some["high"], style.BLUE, label=f"{of}{label}", hollow=hollow)


def not_significant(table: pd.DataFrame) -> str:
    """What a difference without a star means: not significant, or that so few contents cannot make any significant.

    Args:
        table: tested differences with `p_least` and `n_contents`.
    """
    least, n = table["p_least"].min(), int(table["n_contents"].max())
    if least < 0.05:
        return "not significant"
    return f"cannot be tested: {n} contents give no p below {least:.2g}"


@style.styled
def specificity_plot(table: pd.DataFrame, rules: Mapping[str, pd.DataFrame] | None = None) -> Figure:
    """How much closer to an observer their own AIO is than the AIOs of the others, with 95 % intervals by content.

    More than 60 observers stand side by side, without their names and without the rules.

    Args:
        table: frame of `specificity`, of which the accuracy is drawn; right of zero the own AIO is better.
        rules: name -> frame of `specificity` of a rule that is fitted to each observer, drawn beside.
    """
    rows = table[table["metric"] == "accuracy"]
    mean = rows[rows["against"] == "mean of others"].sort_values("gain", ascending=False)
    best = rows[rows["against"] == "best other"].set_index("observer").reindex(mean["observer"])
    if len(mean) > style.MANY:
        return _crowd_gains(mean, best)
    fig, ax = style.one_panel(8, 1.0 + 0.3 * len(mean))
    style.rows_axis(ax, list(mean["observer"]))
    ax.axvline(0, color=style.GRAY, linewidth=0.8)
    y = np.arange(len(mean))
    _gains(ax, mean, "own − mean of the others, ")
    ax.scatter(best["gain"], y, s=22, marker="x", color=style.VERMILLION, label="own − best other (chosen afterwards)")
    for marker, (name, of_rule) in zip("|^", (rules or {}).items(), strict=False):
        own = of_rule[(of_rule["metric"] == "accuracy") & (of_rule["against"] == "mean of others")]
        gain = own.set_index("observer")["gain"].reindex(mean["observer"])
        label = f"the same for {style.readable(name.removeprefix('baseline: '), 48)}"
        ax.scatter(gain, y, s=30, marker=marker, color=style.GRAY, label=label)
    ax.set_xlabel("gain in accuracy")
    fig.legend(loc="outside upper center", ncols=2)
    return fig


def _crowd_gains(mean: pd.DataFrame, best: pd.DataFrame) -> Figure:
    fig, ax = style.one_panel(10, 5)
    x = np.arange(1, len(mean) + 1)
    ax.axhline(0, color=style.GRAY, linewidth=0.8)
    ax.vlines(x, mean["low"], mean["high"], color=style.BLUE, linewidth=1.0, alpha=0.35)
    ahead, ahead_of_best = (int((gain > 0).sum()) for gain in (mean["gain"], best["gain"]))
    ax.scatter(x, mean["gain"], s=14, color=style.BLUE, label=f"own − mean of the others: {ahead} above 0", zorder=3)
    label = f"own − best other (chosen afterwards): {ahead_of_best} above 0"
    ax.scatter(x, best["gain"], s=14, marker="x", color=style.VERMILLION, linewidth=0.8, label=label)
    ax.set_xlabel(f"{len(mean)} observers, in the order of their gain (lines: 95 % intervals by content)")
    ax.set_ylabel("gain in accuracy")
    ax.margins(x=0.01)
    fig.legend(loc="outside upper center", ncols=2)
    return fig


@style.styled
def bias_scatter(observers: pd.DataFrame, aios: pd.DataFrame, of: str = "bias of the observer") -> Figure:
    """Bias of each observer against the bias of their AIO, with the correlation over observers.

    Args:
        observers: observer, bias: of `bias_and_inconsistency`, or the truth of simulated observers.
        aios: observer, bias: of `aio_bias`.
        of: what the biases of `observers` are.
    """
    both = (
        observers[["observer", "bias"]].merge(aios[["observer", "bias"]], on="observer", suffixes=("", "_aio")).dropna()
    )
    fig, ax = style.one_panel(4.6, 4.2)
    reach = 1.15 * both[["bias", "bias_aio"]].abs().to_numpy().max(initial=0.1)
    ax.plot([-reach, reach], [-reach, reach], color=style.GRAY, linestyle="--", linewidth=0.8)
    ax.axhline(0, color=style.LIGHT, linewidth=0.8)
    ax.axvline(0, color=style.LIGHT, linewidth=0.8)
    ax.scatter(both["bias"], both["bias_aio"], s=28, color=style.BLUE, zorder=3)
    named = both if len(both) <= 8 else both.loc[[both["bias"].idxmin(), both["bias"].idxmax()]]
    for _, row in named.iterrows():
        left = row["bias"] > 0.6 * reach or (len(both) > 8 and row["bias"] < 0)
        ax.annotate(
            style.readable(row["observer"], 16),
            (row["bias"], row["bias_aio"]),
            xytext=(-6 if left else 6, -3),
            textcoords="offset points",
            fontsize=8,
            ha="right" if left else "left",
        )
    r = both[["bias", "bias_aio"]].corr().iloc[0, 1] if len(both) > 2 else np.nan
    ax.set(xlabel=f"{of} (votes)", ylabel="bias of the observer's AIO (votes)")
    title = (
        f"r = {style.signed(r).lstrip('+')} over {len(both)} observers" if np.isfinite(r) else f"{len(both)} observers"
    )
    ax.set(title=title, xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    return fig


@style.styled
def history_plot(history: pd.DataFrame) -> Figure:
    """Loss of training and validation and the learning rate over epochs; the best epoch is marked.

    Args:
        history: one row an epoch: epoch, train_loss, lr; val_loss and any further val_… where there is validation.
    """
    watched = [c for c in history if c.startswith("val_") and c != "val_loss" and history[c].notna().any()]
    fig = style.new_figure(9.5, 2.9)
    axes = fig.subplots(1, 2 + bool(watched))
    history = history.assign(epoch=history["epoch"] + 1)  # for readers: from 1, as in the log
    epoch, single = history["epoch"], {"marker": "o"} if len(history) < 3 else {}
    axes[0].plot(epoch, history["train_loss"], color=style.BLUE, label="train", **single)
    if "val_loss" in history and history["val_loss"].notna().any():
        axes[0].plot(epoch, history["val_loss"], color=style.VERMILLION, label="val", **single)
        best = history.loc[history["val_loss"].idxmin(), "epoch"]
        axes[0].axvline(best, color=style.GRAY, linestyle=":", linewidth=1)
        axes[0].set_title(f"lowest loss on val: epoch {best:g}")
    axes[0].set(xlabel="epoch", ylabel="loss")
    axes[0].legend()
    for colour, column in zip(style.PALETTE, watched, strict=False):
        axes[1].plot(epoch, history[column], color=colour, label=column.removeprefix("val_"), **single)
    if watched:
        axes[1].set(xlabel="epoch", ylabel="on val")
        axes[1].legend()
    axes[-1].plot(epoch, history["lr"], color=style.GRAY, **single)
    axes[-1].set(xlabel="epoch", ylabel="learning rate", yscale="log")
    for ax in axes:
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.grid(True)
    return fig


@style.styled
def estimates_plot(truth: np.ndarray, estimates: np.ndarray, names: Sequence[str]) -> Figure:
    """Estimated against true values, one panel for each quantity, with the rank correlation.

    Args:
        truth, estimates: (n, quantities).
        names: of the quantities, with their units.
    """
    fig = style.new_figure(4.4 * len(names), 4.0)
    axes = np.atleast_1d(fig.subplots(1, len(names)))
    for ax, name, true, estimated in zip(axes, names, truth.T, estimates.T, strict=True):
        ax.axline((true.mean(), true.mean()), slope=1, color=style.GRAY, linestyle="--", linewidth=0.8)
        ax.scatter(true, estimated, s=6, color=style.BLUE, alpha=0.35, linewidths=0, rasterized=True)
        srocc = pd.Series(true).corr(pd.Series(estimated), method="spearman")
        ax.set(
            title=f"{style.readable(name, 36)}: SROCC {srocc:.3f}, n = {len(true)}", xlabel="true", ylabel="estimated"
        )
    return fig


@style.styled
def spread_of_votes(predicted: np.ndarray, observed: np.ndarray, groups: int = 8) -> Figure:
    """Whether a network knows over which images observers differ: observed over predicted spread of the votes.

    Args:
        predicted, observed: standard deviations of the votes, (n,), in the same unit.
        groups: of about as many images, whose means are drawn.
    """
    fig, ax = style.one_panel(4.8, 3.8)
    ax.scatter(predicted, observed, s=7, color=style.BLUE, alpha=0.3, linewidths=0, label="an image")
    for number, group in enumerate(np.array_split(np.argsort(predicted, kind="stable"), groups)):
        label = f"mean of {len(group)} images" if number == 0 else None
        ax.scatter(predicted[group].mean(), observed[group].mean(), s=36, color=style.VERMILLION, zorder=3, label=label)
    ax.set(xlabel="predicted standard deviation of the votes", ylabel="observed standard deviation")
    ax.grid(True)
    fig.legend(loc="outside upper center", ncols=2)
    return fig
