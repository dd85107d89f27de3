"""Regressors on sequences of patch features, trained on every split: scores, other sets, parts of images, places."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from torch import nn

from iqasuite.datasets.dataset import Dataset
from iqasuite.errors import InputError
from iqasuite.evaluation.benchmark import split_scores
from iqasuite.evaluation.metrics import srocc
from iqasuite.experiments.mos_task import MosTask
from iqasuite.experiments.patch_methods import describer, features_of, shown_at
from iqasuite.explain.patches import patch_map
from iqasuite.explain.planted import Planted
from iqasuite.images.patches import cut, patch_boxes, scan_order
from iqasuite.inference.predictions import predictions_frame
from iqasuite.models import create
from iqasuite.models.sequence import matched_width, n_parameters
from iqasuite.training.loop import QUIET
from iqasuite.training.patch_features import PatchFeatures
from iqasuite.training.schedule import Schedule
from iqasuite.training.sequences import Regressor, ScoredSequences, predict_patches, predict_scores, train_regressor

LABELS = {
    "birnn": "Bi-RCNN",
    "mean_pooling": "mean pooling",
    "attention_pooling": "attention pooling",
    "patch_transformer": "patch transformer",
}
Sequences = Mapping[str, np.ndarray]  # image -> features (patches, dim)


@dataclass(frozen=True)
class Trained:
    """Networks of all kinds, splits and seeds.

    Attributes:
        networks: (kind, fold, seed) -> network.
        labels: kind -> name of the method.
        predictions: predictions frame of the val and test parts.
        histories: one row an epoch: model, seed, fold, epoch, train_loss, val_loss, lr, val and test (higher = better).
    """

    networks: dict[tuple[str, int, int], Regressor]
    labels: dict[str, str]
    predictions: pd.DataFrame
    histories: pd.DataFrame


def network_arguments(network: Mapping, sequences: Sequences, faithful: bool = False) -> dict[str, dict]:
    """Kind -> arguments of its network, whose widths give all kinds as many parameters as the Bi-RNN.

    Args:
        network: `kinds`, some of `LABELS`, none = all; `cell` of the Bi-RNN, "gru" or "lstm"; `dropout`.
        sequences: what the networks will read.
        faithful: the study's Bi-RNN alone.

    Raises:
        InputError: an unknown kind; in the faithful protocol, sequences of several lengths, or no Bi-RNN.
    """
    kinds, lengths = network["kinds"] or list(LABELS), sorted({len(sequence) for sequence in sequences.values()})
    unknown = [kind for kind in kinds if kind not in LABELS]
    if unknown:
        raise InputError(f"kinds: found {unknown[0]!r}; expected some of {', '.join(LABELS)}")
    if faithful:
        if len(lengths) > 1 or "birnn" not in kinds:
            found = f"kinds {', '.join(kinds)} and {lengths[0]} to {lengths[-1]} patches an image"
            raise InputError(f"faithful protocol: {found}; expected birnn, and one number of patches (viewing: size)")
        study = {"relu": True, "n_patches": lengths[0], "sharpness": 1.0, "dropout": 0.25}
        return {"birnn": {"cell": network["cell"]} | study}
    dim = next(iter(sequences.values())).shape[1]
    own = {kind: {"width": matched_width(kind, dim)} for kind in kinds if kind != "birnn"}
    own["birnn"] = {"cell": network["cell"]}
    return {kind: {"dropout": network["dropout"]} | own[kind] for kind in kinds}


def size_table(arguments: Mapping[str, dict], dim: int) -> pd.DataFrame:
    """Rows network and parameters of networks that read features of `dim`."""
    sizes = {LABELS[kind]: n_parameters(create(kind, dim=dim, **given)) for kind, given in arguments.items()}
    return pd.DataFrame([(name, f"{size:,}") for name, size in sizes.items()], columns=["network", "parameters"])


def schedule_of(training: Mapping, faithful: bool = False) -> Schedule:
    """Schedule of `epochs`, `lr` and `patience`: AdamW along a cosine; the study's is Adam, halved on a plateau."""
    how = {name: training[name] for name in ("epochs", "lr", "patience")}
    if faithful:
        return Schedule(**how, scheduler="plateau", optimizer="adam", weight_decay=0.0, grad_clip=None)
    return Schedule(**how, scheduler="cosine", warmup=1.0, weight_decay=0.01, optimizer="adamw")


def train_sequences(
    task: MosTask,
    sequences: Sequences,
    arguments: Mapping[str, dict],
    network: Mapping,
    training: Mapping,
    base: str,
    log: Callable[[str], None] = print,
) -> Trained:
    """Train every kind on every fold with every seed.

    Args:
        task: in the faithful protocol networks learn raw scores by the squared error, and the training loss stops them.
        sequences: what they read.
        arguments: of `network_arguments`.
        network: `loss`, see `training.sequences`, and `drop`, the share of patches that a step leaves out.
        training: `epochs`, `lr`, `patience`, `batch_size`, `n_seeds` (from the task's seed on), and `refit`: test
            networks that are trained anew on train and val together, for as many epochs as val has chosen.
        base: what gave the features, for the names of the methods.
        log: takes a line for every kind.

    Raises:
        InputError: a refit in the faithful protocol.
    """
    refit, suffix = training["refit"], ", refit" if training["refit"] else ""
    if task.faithful and refit:
        raise InputError("refit=True: expected False in the faithful protocol, which has no validation part")
    networks, labels, predictions, histories = {}, {}, [], []
    for kind, given in arguments.items():
        labels[kind], began = f"{LABELS[kind]} ({base}){suffix}", time.time()
        learner = _Learner(task, sequences, kind, given, network, training)
        runs = [(fold, task.seed + number) for fold in task.folds for number in range(training["n_seeds"])]
        for fold, seed in runs:
            fitted = learner.train(fold, seed)
            tested = learner.train_again(fold, seed, fitted.result.best_epoch + 1) if refit else fitted
            networks[kind, fold, seed] = tested
            history = fitted.result.history.assign(model=labels[kind], seed=seed, fold=fold)
            histories.append(history.assign(val=-history["val_loss"]))
            for name in sorted({"val", "test"} & set(task.split["part"])):
                chosen, which = tested if name == "test" else fitted, task.part(fold, name)
                scores = task.data.scale.clip(predict_scores(chosen, which))
                predictions.append(task.predictions(labels[kind], fold, name, scores, seed))
        log(f"{labels[kind]}: {len(runs)} trainings, {time.time() - began:.0f} s")
    both = (pd.concat(frames, ignore_index=True) for frames in (predictions, histories))
    return Trained(networks, labels, *both)


@dataclass(frozen=True)
class _Learner:
    """One kind of network, as it is trained on any fold."""

    task: MosTask
    sequences: Sequences
    kind: str
    arguments: Mapping
    network: Mapping
    training: Mapping

    def train(self, fold: int, seed: int) -> Regressor:
        """Val chooses the epoch; the history has the SROCC on the test part, which decides nothing."""
        task, faithful = self.task, self.task.faithful
        training, tested = task.part(fold, "train"), task.part(fold, "test")

        def on_test(network: nn.Module) -> dict[str, float]:
            scores = predict_scores(Regressor(network, self.sequences), tested)
            return {"test": srocc(scores, task.mos[tested].to_numpy())}

        chooses = training if faithful else task.part(fold, "val")
        return self._fit(training, chooses, schedule_of(self.training, faithful), seed, on_test)

    def train_again(self, fold: int, seed: int, epochs: int) -> Regressor:
        """Train and val together, for a number of epochs that is given."""
        training = self.task.part(fold, "train") + self.task.part(fold, "val")
        return self._fit(training, [], replace(schedule_of(self.training), epochs=epochs), seed)

    def _fit(self, training: list[str], chooses: list[str], schedule: Schedule, seed: int, observe=None) -> Regressor:
        faithful = self.task.faithful
        return train_regressor(
            {"kind": self.kind, **self.arguments},
            ScoredSequences(self.sequences, self.task.mos, training, chooses),
            schedule,
            seed,
            "mse" if faithful else self.network["loss"],
            self.training["batch_size"],
            standardise=not faithful,
            drop=0.0 if faithful else self.network["drop"],
            followed=replace(QUIET, observe=observe),
        )


def local_maps(fitted: Regressor, features: PatchFeatures, image: str, order: str) -> tuple[np.ndarray, np.ndarray]:
    """What a network finds of the places of an image (rows, columns), where patches overlap their mean.

    Returns:
        The score that each patch has alone; and its share of the attention, in multiples of an equal share.
    """
    undo = np.argsort(scan_order(*features.grid(image), order))  # back to rows and columns
    alone, attention = (values[undo] for values in predict_patches(fitted, image))
    boxes = features.boxes(image)
    return patch_map(alone, boxes), patch_map(attention * len(attention), boxes)


def planted_maps(
    data: Dataset, split: pd.DataFrame, planted: Planted, patches: Mapping, kinds: Sequence[str], training: Mapping
) -> dict[tuple[str, str], np.ndarray]:
    """Maps of images with planted distortions by networks over patches that have not learnt from their contents.

    Args:
        data, split: set to learn from, of whose contents the images were made, each tested once.
        planted: the images.
        patches: settings of the features, see `patch_methods`.
        kinds: some of `LABELS`.
        training: `epochs`, `lr` and `patience`; all epochs are trained, on train and val together.

    Returns:
        (method, "quality" or "attention") -> (images, rows, columns): 5 less the vote of each patch alone, and how much
        it counts.
    """
    features, describe = features_of(data, patches, data.display_size), describer(patches)
    sequences, mos = {image: features[image] for image in features}, data.images.set_index("image")["mos"]
    height, width = planted.images.shape[1:3]
    boxes = patch_boxes(height, width, patches["size"], patches["overlap"])
    own = {str(number): describe(cut(each, boxes, patches["size"])) for number, each in enumerate(planted.images)}
    maps: dict[tuple[str, str], list] = {
        (LABELS[k], of): [None] * len(own) for k in kinds for of in ("quality", "attention")
    }
    for fold, rows in split.groupby("fold"):
        learnt = rows.loc[rows["part"] != "test", "image"].tolist()
        tested = set(rows.loc[rows["part"] == "test", "content"])
        for kind in kinds:
            scored = ScoredSequences(sequences, mos, learnt, [])
            fitted = train_regressor({"kind": kind}, scored, schedule_of(training), int(fold), followed=QUIET)
            for number in np.flatnonzero(planted.facts["content"].isin(tested)):
                alone, attention = predict_patches(Regressor(fitted.model, own), str(number))
                maps[LABELS[kind], "quality"][number] = patch_map(5 - alone, boxes)
                maps[LABELS[kind], "attention"][number] = patch_map(attention, boxes)
    return {key: np.stack(values) for key, values in maps.items()}


def sequences_of(
    other: Dataset, features: PatchFeatures, patches: Mapping, size: Sequence[int], order: str
) -> dict[str, np.ndarray]:
    """What networks read of the rated images of another set.

    Args:
        features: of `features_of`.
        other: of parts of images of the set that `features` are of, or of other images.
        patches, size: settings of the features, see `patch_methods`; a set that was shown at several sizes stays so.
        order: in which patches are read.
    """
    if is_of_parts(other, features):
        rated = other.images.dropna(subset="mos")["image"]
        return {part: features.within(*other.regions[part], order) for part in rated}
    theirs = features_of(other, patches, shown_at(other, size) if other.display_size else None)
    return {image: theirs.sequence(image, order) for image in theirs}


def is_of_parts(other: Dataset, features: PatchFeatures) -> bool:
    """Whether the images of a set are parts of images that these features are of."""
    names = other.images["image"]
    return all(name in other.regions and other.regions[name][0] in features for name in names)


def predictions_elsewhere(trained: Trained, task: MosTask, other: Dataset, sequences: Sequences) -> pd.DataFrame:
    """Predictions frame of all networks for images of another set that share no content with their training."""
    known, frames = other.images.dropna(subset="mos").set_index("image"), []
    for (kind, fold, seed), fitted in trained.networks.items():
        learnt = task.split[(task.split["fold"] == fold) & (task.split["part"] != "test")]
        which = list(known.index[~known["content"].isin(set(learnt["content"]))])
        scores = predict_scores(Regressor(fitted.model, sequences), which)
        about = (other.name, trained.labels[kind], f"trained on {task.data.name}", seed, fold, "test", "")
        frames.append(predictions_frame(*about, which, known.loc[which, "mos"].to_numpy(), predicted=scores))
    return pd.concat(frames, ignore_index=True)


def elsewhere_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Rows dataset and model: median PLCC and SROCC over splits and seeds, and the number of images."""
    scores = split_scores(predictions).query("metric in ('srocc', 'plcc')")
    table = scores.pivot_table(index=["dataset", "model"], columns="metric", values="value", aggfunc="median")
    counted = predictions.groupby(["dataset", "model"])["image"].nunique().rename("images")
    return table.join(counted).reset_index()


def within_images(predictions: pd.DataFrame, parts: Dataset) -> pd.DataFrame:
    """Rank correlation of the differences of parts of an image from its mean, predicted and voted.

    Args:
        predictions: for the images of `parts`.
        parts: set whose images are parts of files.

    Returns:
        One row a model: median, min and max over the splits, seeds averaged. 0 is what a network has that does not know
        where it looks.
    """
    rows = []
    for (model, fold, _), own in predictions.groupby(["model", "fold", "seed"]):
        whole = own["image"].map({image: region[0] for image, region in parts.regions.items()})
        apart = [own[name] - own.groupby(whole)[name].transform("mean") for name in ("prediction", "target")]
        rows.append((model, fold, srocc(*(values.to_numpy() for values in apart))))
    values = pd.DataFrame(rows, columns=["model", "fold", "value"]).groupby(["model", "fold"])["value"].mean()
    return values.groupby("model").agg(["median", "min", "max"]).reset_index()
