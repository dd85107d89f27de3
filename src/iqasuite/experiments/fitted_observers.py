"""Artificial observers without a network of their own: one network's quality, and what is personal with the population
as prior."""

from __future__ import annotations

import pandas as pd

from iqasuite.datasets.dataset import Dataset, first_votes
from iqasuite.evaluation.subjects.population import estimate_population
from iqasuite.inference.predictions import predictions_frame
from iqasuite.training.few_shot import fit_observer

SUFFIX = ", observers fitted"


def with_fitted_observers(predictions: pd.DataFrame, dataset: Dataset) -> pd.DataFrame:
    """Predictions with those of observers who are fitted to the quality that networks of all observers predict.

    Bias, slope, inconsistency and cut points of each observer are fitted to the votes on the training and validation
    parts, with the population of these same observers and votes as prior; the test part is predicted. Networks that
    have predicted their training part (out of fold, as `observers.cross_fitted` does) are taken, the others are not:
    what a network predicts of images that it has learnt from is too good to fit an observer to.

    Args:
        predictions: predictions frame of a suite.
        dataset: whose votes.

    Returns:
        The same frame and behind it, for each such network, rows of every observer with the model
        "<model>, observers fitted".
    """
    votes = first_votes(dataset.votes)
    frames = [predictions]
    networks = predictions[predictions["observer"] == ""]
    for (model, protocol, seed, fold), rows in networks.groupby(["model", "protocol", "seed", "fold"], sort=False):
        if not rows["part"].eq("train").any():
            continue
        quality, test = rows.set_index("image")["prediction"], rows.loc[rows["part"] == "test", "image"]
        learnt = votes[votes["image"].isin(rows.loc[rows["part"] != "test", "image"])]
        population = estimate_population(learnt, quality)
        for observer, own in learnt.groupby("observer", sort=False):
            fitted = fit_observer(population, quality, own.set_index("image")["vote"])
            target = votes[votes["observer"] == observer].set_index("image")["vote"].reindex(test)
            about = dataset.name, f"{model}{SUFFIX}", protocol, seed, fold, "test", observer
            frames.append(predictions_frame(*about, test, target, fitted.distribution(quality[test].to_numpy())))
    return pd.concat(frames, ignore_index=True)
