"""A general start: photographs distorted in 45 ways, learnt before anybody has voted, and what is read in others.

The third objective of notebook 03, beside those of `experiments.pretraining`. Labels are the consensus of
full-reference metrics and these metrics themselves, the kind of distortion, and its level, which stands for JPEG's
quality, the rate factor of stills of video, or the factor of enlargement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from iqasuite.datasets.pseudo_labelled import PseudoLabelled, make
from iqasuite.evaluation import metrics, resampled
from iqasuite.evaluation.rank_baselines import image_statistics
from iqasuite.evaluation.uncertainty import bootstrap_by_content
from iqasuite.images.distortions.registry import ALL, N_LEVELS
from iqasuite.models.heads import expected_vote
from iqasuite.models.metrics.piq_metrics import qualities
from iqasuite.models.network import Network
from iqasuite.training.loop import Followed, Result
from iqasuite.training.pretrain import LabelsPlan, labels_of, pretrain_on_pseudo_labels
from iqasuite.training.schedule import Schedule

MEASURED = ("ms_ssim", "gmsd", "mdsi", "haarpsi")  # the quickest of the consensus: 54 ms a pair of 208² on one core
MARGIN = 16  # pixels by which stored crops are larger than what a network sees of them
_MADE = (
    100,
    20_000,
)  # distorted images at least and at most; all pairs of photograph and distortion where there are fewer
_CHECKED = 1200  # held-out images that are looked at, evenly spread


def distorted(
    learnt_from: Sequence[Path], held_out: Sequence[Path], side: int, seed: int, enough: int = _MADE[1]
) -> tuple[PseudoLabelled, list[str], list[str]]:
    """Pseudo-labelled pairs of both kinds of photographs, and the names of the images of each.

    Args:
        learnt_from, held_out: photographs, none in common.
        side: of what the network sees in pixels.
        seed: of places, distortions and what is drawn.
        enough: images; where all pairs of photograph and distortion would give more, a share of them is made.

    Returns:
        `PseudoLabelled`; image names to learn from; image names to look at, of held-out photographs.
    """
    share = min(1.0, round(enough / (len(learnt_from) + len(held_out)) / len(ALL) / N_LEVELS, 2) or 0.01)
    pairs = make([*learnt_from, *held_out], qualities(MEASURED), tuple(ALL), side + MARGIN, 1, seed, None, share)
    unseen = pairs.images["content"].isin([path.stem for path in held_out])
    names, others = pairs.images.loc[~unseen, "image"], pairs.images.loc[unseen, "image"]
    return pairs, list(names), list(others.iloc[:: max(1, len(others) // _CHECKED)])


def pretrain_on_distortions(
    model: Network,
    learnt_from: Sequence[Path],
    held_out: Sequence[Path],
    training: Mapping[str, Any],
    schedule: Schedule,
    seed: int,
    followed: Followed,
) -> tuple[Result, pd.DataFrame]:
    """Train a network on distorted photographs and look at what it reads in others.

    Args:
        model: with five outputs, square images and a head of its own. Changed in place.
        learnt_from, held_out: photographs.
        training: batch_size, steps, small of `LabelsPlan`.
        schedule, seed, followed: as of `loop.fit`.

    Returns:
        What the training did; `read` of the held-out photographs.
    """
    side = int(model.image_size)
    how = {name: training[name] for name in ("batch_size", "steps", "small")}
    shown = schedule.epochs * training["steps"] * how["batch_size"]
    pairs, names, others = distorted(learnt_from, held_out, side, seed, int(np.clip(shown, *_MADE)))
    plan = LabelsPlan(side, **how, beside=("distortion", "level", *MEASURED))
    result, logits = pretrain_on_pseudo_labels(model, pairs, names, others, schedule, plan, seed, followed)
    return result, read(pairs, others, logits, plan.beside)


def read(pairs: PseudoLabelled, images: Sequence[str], logits: Tensor, beside: Sequence[str]) -> pd.DataFrame:
    """What a network reads in distorted images.

    Returns:
        Columns image, content, distortion, level and mos (the pseudo-label) of the images; vote (predicted, 1 to 5),
        read_distortion and read_level; sharpness (deviation of the Laplacian), which knows nothing.
    """
    names = pd.Index(pairs.images["image"])
    rows = names.get_indexer(pd.Index(images))
    frame = pairs.images.iloc[rows][["image", "content", "distortion", "level", "mos"]].reset_index(drop=True)
    widths = {name: label.shape[1] for name, label in labels_of(pairs, beside).items()}
    parts = dict(zip(widths, logits.split(list(widths.values()), dim=1), strict=True))
    kinds = np.sort(pairs.images["distortion"].unique())
    return frame.assign(
        vote=expected_vote(parts["votes"]).numpy(),
        read_distortion=kinds[parts["distortion"].argmax(1).numpy()],
        read_level=parts["level"].argmax(1).numpy() + 1,
        sharpness=[image_statistics(np.asarray(pairs.distorted[[row]][0]))["sharpness"] for row in rows],
    )


def held_out_table(reading: pd.DataFrame) -> pd.DataFrame:
    """How well held-out photographs are read, with 95 % intervals over them, beside what knows nothing.

    Args:
        reading: of `read`.

    Returns:
        Columns what, metric, value, low, high, n, photographs.
    """
    contents, truth = reading["content"], reading["mos"].to_numpy()
    counts = {"n": len(reading), "photographs": contents.nunique()}
    rows: list[dict[str, Any]] = []

    def add(what: str, metric: str, value: float, weighted: Any) -> None:
        low, high = bootstrap_by_content(weighted, contents)
        rows.append({"what": what, "metric": metric, "value": value, "low": low, "high": high} | counts)

    for what, column in (("quality", "vote"), ("baseline: sharpness", "sharpness")):
        values = reading[column].to_numpy(float)
        add(what, "srocc", metrics.srocc(values, truth), partial(resampled.srocc, values, truth))
    for what in ("distortion", "level"):
        right = (reading[f"read_{what}"] == reading[what]).to_numpy(float)
        add(what, "accuracy", right.mean(), right)
    near = ((reading["read_level"] - reading["level"]).abs() <= 1).to_numpy(float)
    add("level, within 1", "accuracy", near.mean(), near)
    most = reading["distortion"].value_counts(normalize=True).iloc[0]
    fixed = {"baseline: most frequent distortion": most, "baseline: guessed level": 1 / N_LEVELS}
    rows += [{"what": name, "metric": "accuracy", "value": value} | counts for name, value in fixed.items()]
    return pd.DataFrame(rows)


def by_distortion(reading: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation within each distortion, as `figures.per_distortion_heatmap` draws it.

    Returns:
        Columns model, distortion, n, srocc.
    """
    rows = []
    for kind, own in reading.groupby("distortion"):
        for model, column in (("this network", "vote"), ("sharpness", "sharpness")):
            value = metrics.srocc(own[column], own["mos"])
            rows.append({"model": model, "distortion": kind, "n": len(own), "srocc": value})
    return pd.DataFrame(rows)


def card(table: pd.DataFrame, n_photographs: int) -> dict[str, Any]:
    """What the card of the weights says; `table` as of `held_out_table`."""
    values = table.set_index("what")["value"]
    names = {"quality": "srocc with the consensus of metrics", "distortion": "accuracy, which of 45 distortions"}
    return {
        "title": "A general start: 45 distortions of photographs, nine of them stills of video",
        "trained_on": f"{n_photographs} undistorted photographs, distorted by code; pseudo-labels, nobody's votes",
        "scale": {"name": "pseudo-label, as votes", "low": 1, "high": 5},
        "scores": {text: round(float(values[name]), 4) for name, text in names.items()},
        "limits": "No observer's votes were learnt: a place to start from. Photographs of bsds300 are for research and "
        "education that is not commercial.",
        "licence": "MIT",
    }
