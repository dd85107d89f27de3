"""Votes and predictions of simulated people, for tests (fixture `simulate`)."""

from types import SimpleNamespace

import numpy as np
import pandas as pd

from iqasuite.evaluation.metrics import soft_votes
from iqasuite.inference.predictions import predictions_frame


def people(biases, inconsistencies, contents=20, each=10, seed=0, low=1.0, high=5.0):
    """A data set with `image`, `content`, a quality and votes = rounded quality + bias + noise, clipped to 1–5."""
    rng = np.random.default_rng(seed)
    quality = rng.uniform(low, high, contents * each)
    images = [f"i{k:03d}" for k in range(contents * each)]
    content = [f"c{k // each:02d}" for k in range(contents * each)]
    frames = []
    for number, (bias, noise) in enumerate(zip(biases, inconsistencies, strict=True), 1):
        vote = np.clip(np.round(quality + bias + rng.normal(0, noise, len(quality))), 1, 5).astype(int)
        frames.append(
            pd.DataFrame({"observer": f"user{number}", "session": 1, "position": range(1, len(images) + 1)}).assign(
                image=images, vote=vote, duration=np.nan, timestamp=pd.NaT
            )
        )
    votes = pd.concat(frames, ignore_index=True)
    names = [f"user{n}" for n in range(1, len(biases) + 1)]
    return SimpleNamespace(
        name="simulated",
        images=pd.DataFrame({"image": images, "content": content}),
        votes=votes,
        quality=pd.Series(quality, index=images),
        contents=pd.Series(content, index=images),
        nuisances=pd.DataFrame({"height": quality + rng.normal(0, 0.4, len(quality))}, index=images),
        observers=lambda: names,
    )


def split(dataset, n_folds=5):
    names = sorted(dataset.images["content"].unique())
    group = {name: k % n_folds for k, name in enumerate(names)}
    frames = []
    for fold in range(n_folds):
        own = dataset.images["content"].map(group)
        part = np.where(own == fold, "test", np.where(own == (fold + 1) % n_folds, "val", "train"))
        frames.append(dataset.images[["image", "content"]].assign(fold=fold, part=part))
    return pd.concat(frames, ignore_index=True)


def aios(dataset, error=0.5, seed=1, model="vit_iqa", run_seed=0):
    """Predictions of one AIO per person: the person's vote, missed by a normal error."""
    rng = np.random.default_rng(seed)
    frames = []
    for observer, own in dataset.votes.groupby("observer"):
        guess = np.clip(own["vote"] + rng.normal(0, error, len(own)), 1, 5)
        frames.append(
            predictions_frame(
                dataset.name,
                model,
                "corrected",
                run_seed,
                0,
                "test",
                observer,
                own["image"],
                own["vote"],
                soft_votes(guess, 0.6),
            )
        )
    return pd.concat(frames, ignore_index=True)
