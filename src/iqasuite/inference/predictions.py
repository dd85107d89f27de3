"""The predictions frame: made from what a model predicts, and read as whole votes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from iqasuite.datasets.frames import PREDICTIONS, read_frame, validate
from iqasuite.datasets.spreadsheets import is_left_behind
from iqasuite.errors import InputError
from iqasuite.names import natural_key

P = ["p1", "p2", "p3", "p4", "p5"]
VOTES = np.arange(1, 6)
UNTRAINED = "no training"  # protocol of metrics, which have nothing to learn


def predictions_frame(
    dataset: str,
    model: str,
    protocol: str,
    seed: int,
    fold: int,
    part: str,
    observer: str,
    images: Sequence[str],
    targets: Sequence[float] | np.ndarray,
    predicted: Sequence[float] | np.ndarray,
) -> pd.DataFrame:
    """A predictions frame of one model and part, one row an image.

    Args:
        dataset, model, protocol, seed, fold, part: as in the columns; `model` names the method, not the observer.
        observer: whose artificial observer this is; "" for a model of MOS.
        images, targets: names and that observer's votes (or MOS), length n.
        predicted: distributions of votes (n, 5), whose expected vote is the `prediction`; or scores (n,), and p1–p5 are
            nan.

    Raises:
        ValueError: lengths that differ.
    """
    given = np.asarray(predicted, float)
    p = np.full((len(given), 5), np.nan) if given.ndim == 1 else given
    expected = given if given.ndim == 1 else p @ VOTES
    if not len(images) == len(targets) == len(given):
        raise ValueError(f"{len(images)} images, {len(targets)} targets, {len(p)} predictions: expected as many")
    of_images = (list(images), np.asarray(targets, float), expected, *p.T)
    values = (dataset, model, protocol, seed, fold, part, observer, *of_images)
    return pd.DataFrame(dict(zip(PREDICTIONS, values, strict=True)), index=range(len(images)))


def hard_votes(p: np.ndarray, expected: np.ndarray | None = None) -> np.ndarray:
    """Whole votes (n,): the most probable vote of `p` (n, 5); where a row has nan, `expected` (n,) rounded to 1–5.

    Raises:
        ValueError: an expected vote that is needed and not finite.
    """
    p = np.asarray(p, float)
    most_probable = np.argmax(np.nan_to_num(p), axis=1) + 1
    if expected is None:
        return most_probable
    without, expected = np.isnan(p).any(1), np.asarray(expected, float)
    bad = int((without & ~np.isfinite(expected)).sum())
    if bad:
        raise ValueError(f"expected: {bad} of {len(expected)} votes are not finite, expected numbers")
    # Half a vote goes up: numpy's rounding to even would make 2.5 a 2 and 3.5 a 4.
    rounded = np.clip(np.floor(np.where(without, expected, 1) + 0.5), 1, 5).astype(int)
    return np.where(without, rounded, most_probable)


def hard_predictions(predictions: pd.DataFrame) -> np.ndarray:
    """Whole votes (n,) of a predictions frame: most probable vote, or the rounded prediction without a distribution."""
    return hard_votes(predictions[P].to_numpy(float), predictions["prediction"])


def read_predictions(folder: Path | str, dataset: str = "", split: pd.DataFrame | None = None) -> pd.DataFrame:
    """All predictions that runs have left in a folder.

    Args:
        folder: holds a CSV file per run, each a predictions frame.
        dataset: rows of other data sets are left out; "" = none are.
        split: where given, every row must agree with it (`check_split`).

    Returns:
        Predictions frame, files in the order of their names.

    Raises:
        InputError: no files or no rows of the data set, a file that is no predictions frame, an image predicted twice
            by one model, protocol, seed and observer within a fold, a row that does not agree with the split.
    """
    found = [path for path in Path(folder).glob("*.csv") if not is_left_behind(path.name)]
    files = sorted(found, key=lambda path: natural_key(path.stem))
    frames = {file.name: read_table(file) for file in files}
    frames = {name: frame[frame["dataset"] == dataset] if dataset else frame for name, frame in frames.items()}
    frames = {name: frame for name, frame in frames.items() if len(frame)}
    if not frames:
        of = f"none of data set {dataset!r}" if dataset else "without a row"
        raise InputError(f"{folder}: {len(files)} prediction files, {of}; expected one or more")
    together = pd.concat(frames, names=["file", None]).reset_index("file").reset_index(drop=True)
    twice = together.duplicated(["dataset", "model", "protocol", "seed", "fold", "observer", "image"])
    if twice.any():
        row = together[twice].iloc[0]
        raise InputError(
            f"{Path(folder) / row['file']}: model {row['model']!r}, observer {row['observer']!r}, fold {row['fold']}: "
            f"image {row['image']!r} is predicted a second time, expected once a seed"
        )
    if split is not None:
        for file, frame in together.groupby("file", sort=False):
            check_split(frame, split, str(Path(folder) / file))
    return together.drop(columns="file")


def check_split(predictions: pd.DataFrame, split: pd.DataFrame, source: str = "predictions") -> pd.DataFrame:
    """The predictions, each of an image in that part of that fold.

    Raises:
        InputError: an image that the split has in another part or not at all: predictions made with another split.
    """
    known = pd.MultiIndex.from_frame(split[["image", "fold", "part"]])
    strange = ~pd.MultiIndex.from_frame(predictions[["image", "fold", "part"]]).isin(known)
    if strange.any():
        row = predictions[strange].iloc[0]
        raise InputError(
            f"{source}: model {row['model']!r} has image {row['image']!r} as part {row['part']} of fold {row['fold']}, "
            "which the split has not; expected predictions made with this split (run them again)"
        )
    return predictions


def read_table(file: Path | str) -> pd.DataFrame:
    """Predictions frame of one CSV file.

    Raises:
        InputError: it is none.
    """
    return read_frame(file, "predictions")


def mean_of_aios(predictions: pd.DataFrame, mos: pd.Series) -> pd.DataFrame:
    """The AIOs of one model as a panel: the mean of their expected votes predicts MOS.

    Args:
        predictions: predictions frame of one model's AIOs on one part.
        mos: index image.

    Returns:
        Predictions frame with observer "" and model "<model>, mean of the AIOs"; distributions averaged.

    Reference: L. Fotio Tiotsop et al., "Mimicking individual media quality perception with neural network based
    artificial observers", ACM TOMM 18, 2022.
    """
    keys = ["dataset", "model", "protocol", "seed", "fold", "part", "image"]
    aios = predictions[predictions["observer"] != ""]
    panel = aios.groupby(keys, sort=False)[["prediction", *P]].mean().reset_index()
    panel = panel.assign(observer="", target=panel["image"].map(mos), model=panel["model"] + ", mean of the AIOs")
    return validate(panel, "predictions", "mean_of_aios")
