"""Artificial observers without a network of their own: one network's quality, and what is personal with the population
as prior."""

from __future__ import annotations

import pandas as pd

from iqasuite.datasets.dataset import Dataset, first_votes
from iqasuite.evaluation.subjects.population import estimate_population
from iqasuite.inference.predictions import predictions_frame
from iqasuite.training.few_shot import fit_observer

SUFFIX, FEW_SUFFIX = ", observers fitted", ", few-shot, {} votes"


def with_fitted_observers(predictions: pd.DataFrame, dataset: Dataset, few_votes: int = 0) -> pd.DataFrame:
    """Predictions with those of observers who are fitted to the quality that networks of all observers predict.

    Bias, slope, inconsistency and cut points of each observer are fitted to the votes on the training and validation
    parts, with the population of these same observers and votes as prior; the test part is predicted. Networks that
    have predicted their training part (out of fold, as `observers.cross_fitted` does) are taken, the others are not:
    what a network predicts of images that it has learnt from is too good to fit an observer to.

    Observers of few votes are fitted to a draw from the validation part, with the others' votes on it as population.

    Args:
        predictions: predictions frame of a suite.
        dataset: whose votes.
        few_votes: how many votes; 0 = no observers of few votes.

    Returns:
        The same frame and behind it, for each such network, rows of every observer with the model
        "<model>, observers fitted", and "<model>, few-shot, <n> votes".
    """
    votes = first_votes(dataset.votes)
    frames = [predictions]
    networks = predictions[predictions["observer"] == ""]
    for (model, protocol, seed, fold), rows in networks.groupby(["model", "protocol", "seed", "fold"], sort=False):
        quality, part = rows.set_index("image")["prediction"], rows.set_index("image")["part"]
        test = part.index[part == "test"]
        ways = [(SUFFIX, votes[votes["image"].isin(part.index[part != "test"])], 0)] if (part == "train").any() else []
        if few_votes and (part == "val").any():
            learnt = votes[votes["image"].isin(part.index[part == "val"])]
            ways.append((FEW_SUFFIX.format(few_votes), learnt, few_votes))
        for suffix, learnt, n in ways:
            everybody = None if n else estimate_population(learnt, quality)
            for number, (observer, own) in enumerate(learnt.groupby("observer", sort=False)):
                mine = own.set_index("image")["vote"]
                population = everybody or estimate_population(learnt[learnt["observer"] != observer], quality)
                mine = mine.sample(min(n, len(mine)), random_state=number) if n else mine
                fitted = fit_observer(population, quality, mine)
                target = votes[votes["observer"] == observer].set_index("image")["vote"].reindex(test)
                named = dataset.name, f"{model}{suffix}", protocol, seed, fold, "test", observer
                frames.append(predictions_frame(*named, test, target, fitted.distribution(quality[test].to_numpy())))
    return pd.concat(frames, ignore_index=True)
