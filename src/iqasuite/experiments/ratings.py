"""What a data set's votes tell of its observers: sentences, scores of simple rules, and one test beside another."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from iqasuite.datasets.dataset import Dataset, first_votes
from iqasuite.datasets.splits import by_content
from iqasuite.evaluation.baselines import CEILING, MAJORITY, baseline_predictions, nuisance_baselines
from iqasuite.evaluation.scores import score_frame
from iqasuite.evaluation.subjects.agreement import krippendorff_alpha, sos_parameter

_LEAST_SOURCES, _FOLDS = 3, 5  # a training, a validation and a test part; as many folds as there are sources, at most 5


def described(dataset: Dataset) -> str:
    """How much was rated by how many, in a sentence of Markdown."""
    text = (
        f"**{dataset.name}**: {len(dataset.images)} images of {dataset.images['content'].nunique()} contents, "
        f"{len(dataset.votes):,} votes of {len(dataset.observers())} {dataset.voters}; "
        f"{rated_by_all(dataset.votes).sum()} images were rated by all of them."
    )
    return text + (f" {len(dataset.absent)} images of the official set are absent." if dataset.absent else "")


def rated_by_all(votes: pd.DataFrame) -> pd.Series:
    """Whether every observer has rated an image, index image."""
    first = first_votes(votes)
    return first.groupby("image").size().eq(first["observer"].nunique())


def rule_scores(dataset: Dataset, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """What rules fitted to each observer reach on contents that they were not fitted to.

    Args:
        dataset: its votes and nuisances.
        seed: of the split and of the resampling.

    Returns:
        Scores frame of the baselines and the ceiling (`baseline_predictions`), all folds of a split by source pooled,
        and the split; no scores and no split of a set with fewer than three sources.
    """
    contents = dataset.images.set_index("image")["content"]
    n_sources = dataset.sources_of_images().nunique()
    if n_sources < _LEAST_SOURCES:
        return pd.DataFrame(columns=["model", "observer", "metric", "value"]), None
    split = by_content(dataset.images, min(_FOLDS, n_sources), seed, dataset.sources)
    folds = sorted(split["fold"].unique())
    predictions = pd.concat([baseline_predictions(dataset, split, fold) for fold in folds])
    return score_frame(predictions, contents, seed=seed), split


def headline(
    agreement: pd.DataFrame,
    reliability: pd.DataFrame,
    retest: pd.DataFrame,
    scores: pd.DataFrame,
    nuisances: pd.DataFrame,
) -> dict[str, float]:
    """The main numbers: how far observers agree, with themselves too, and what rules reach.

    Args:
        agreement: of `agreement_with_others`.
        reliability: of `reliability`.
        retest: of `retest`.
        scores: of `rule_scores`.
        nuisances: of the data set.

    Returns:
        Name -> mean over observers; nan where nothing could be measured.
    """
    means = scores[scores["observer"] == "mean"].set_index(["model", "metric"])["value"]
    alphas = reliability.set_index("measure")["value"]
    found = {
        "srocc with the others": agreement["srocc"].mean(),
        "alpha, ordinal": alphas.get("alpha, ordinal", np.nan),
        "accuracy, majority": means.get((MAJORITY, "accuracy"), np.nan),
        "accuracy, ceiling": means.get((CEILING, "accuracy"), np.nan),
        "qwk, ceiling": means.get((CEILING, "qwk"), np.nan),
    }
    if len(retest):
        found["accuracy, own vote repeated"] = retest.loc[retest["metric"] == "accuracy", "value"].mean()
    for model in nuisance_baselines(nuisances).values():
        found[f"accuracy, {model.removeprefix('baseline: ')}"] = means.get((model, "accuracy"), np.nan)
    return found


def quadrants_mean(crowd: Dataset) -> pd.Series:
    """Mean vote over all parts of each image, index image, of a set whose images are named `<image>#<part>`."""
    whole = crowd.votes["image"].str.partition("#")[0]
    return crowd.votes["vote"].groupby(whole.to_numpy()).mean()


def compared_tests(tests: Mapping[str, Dataset], n_boot: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Several tests of the same images beside each other.

    Args:
        tests: name of the test -> its data set.
        n_boot, seed: of the coefficients' intervals.

    Returns:
        Rows test, observers, votes, mean vote, SOS a (see `sos_parameter`), alpha, interval (`krippendorff_alpha`).
    """
    rows = []
    for name, data in tests.items():
        contents = data.images.set_index("image")["content"]
        spread = sos_parameter(data.votes, contents, n_boot, seed)
        alpha = krippendorff_alpha(data.votes, "interval", contents, n_boot, seed)["value"].item()
        votes = data.votes["vote"]
        rows.append((name, data.votes["observer"].nunique(), len(votes), votes.mean(), spread.a, alpha))
    return pd.DataFrame(rows, columns=["test", "observers", "votes", "mean vote", "SOS a", "alpha, interval"])
