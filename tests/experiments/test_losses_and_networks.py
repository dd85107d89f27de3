"""Methods of a suite beside each other, from predictions that are made up."""

import numpy as np
import pandas as pd
import pytest

from iqasuite.experiments.losses_and_networks import (
    Compared,
    batch_sizes,
    both_protocols,
    chosen_by_validation,
    over_the_others,
    with_several_seeds,
    within_networks,
)
from iqasuite.inference.predictions import predictions_frame

NOISE = {  # standard deviation of each method's error
    "simple, good": 0.1,
    "simple, poor": 3.0,
    "bn, good": 0.1,
    "bn, poor": 3.0,
    "bn, rare": 1.0,
    "simple, good, batch 4": 2.0,
}


@pytest.fixture
def compared() -> Compared:
    rng = np.random.default_rng(0)
    images = [f"p{i}/{j}" for i in range(10) for j in range(5)]
    split = pd.DataFrame({"image": images, "content": [image.split("/")[0] for image in images], "fold": 0})
    split["part"] = np.where(split["content"].isin(["p0", "p1"]), "val", "test")
    labels, frames = pd.Series(rng.normal(size=50), index=images), []
    for model, noise in NOISE.items():
        for seed in (0, 1) if model.startswith("simple") and not model.endswith("4") else (0,):
            for part, own in split.groupby("part"):
                scores = labels[own["image"]] + rng.normal(0, noise, len(own))
                about = ("pairs", model, "corrected", seed, 0, part, "", list(own["image"]), labels[own["image"]])
                frames.append(predictions_frame(*about, predicted=scores))
    predictions = pd.concat(frames, ignore_index=True)
    names = pd.DataFrame([(*model.split(", "), "")[:3] for model in NOISE], columns=["variant", "loss", "more"])
    return Compared("pairs", None, split, predictions, predictions, names.assign(model=list(NOISE)))


def test_losses_and_networks_are_compared_over_each_other(compared):
    of_losses = over_the_others(compared, "loss", 100, 0)
    assert of_losses[["model", "other"]].to_numpy().tolist() == [["good", "poor"]]  # "rare" was tried with one network
    assert of_losses["difference"].item() > 0.3 and of_losses["p_holm"].item() < 0.05
    of_networks = over_the_others(compared, "variant", 100, 0)
    assert set(of_networks.loc[0, ["model", "other"]]) == {"simple", "bn"} and of_networks["p_holm"].item() > 0.05
    within = within_networks(compared, 100, 0)
    assert within["network"].value_counts().to_dict() == {"bn": 3, "simple": 1}
    assert chosen_by_validation(compared, 0) in ("simple, good", "bn, good")


def test_batch_sizes_stand_beside_the_usual_one(compared):
    sizes = batch_sizes(compared, 50, 0)
    assert sizes["batch_size"].tolist() == [4, 16] and sizes["value"].is_monotonic_increasing
    assert sizes["folds"].tolist() == [1, 1]


def test_methods_with_several_seeds(compared):
    table, spread = with_several_seeds(compared, 50, 0)
    assert table[["model", "other"]].to_numpy().tolist() == [["simple, good", "simple, poor"]] and spread > 0


def test_protocols_side_by_side(compared):
    assert both_protocols(compared.everything).empty
    faithful = compared.predictions.query("model == 'bn, good'").assign(protocol="faithful")
    table = both_protocols(pd.concat([compared.everything, faithful]))
    assert table["protocol"].tolist() == ["corrected", "faithful"] and table["mean"].nunique() == 1
