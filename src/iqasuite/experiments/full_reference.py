"""Full-reference networks trained over splits and seeds: what they learn from, what they predict, what is kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from iqasuite.datasets import load
from iqasuite.datasets.dataset import Dataset
from iqasuite.datasets.pairs import ImagePairs, pairs_of, preferences_of
from iqasuite.datasets.pseudo_labelled import CONSENSUS, PseudoLabelled, kept_by_photograph, make
from iqasuite.datasets.splits import part, random_folds
from iqasuite.errors import InputError
from iqasuite.experiments.run import Run
from iqasuite.images.distortions.registry import DISTORTIONS, N_LEVELS
from iqasuite.images.photographs import PHOTOGRAPHS, photograph, photographs
from iqasuite.inference.pairs import SCALES, VIEWS
from iqasuite.models.metrics.piq_metrics import METRICS, qualities
from iqasuite.models.network import Network
from iqasuite.training import ranking_losses
from iqasuite.training.aio import PROTOCOLS
from iqasuite.training.loop import Followed
from iqasuite.training.pairs import (
    LIGHTNESS,
    FullReference,
    ScoredPairs,
    Shown,
    preference_accuracy,
    pretrain_on_preferences,
    train_full_reference,
)
from iqasuite.training.schedule import Schedule
from iqasuite.weights.card import Card
from iqasuite.weights.files import load_weights

Key = tuple[int, int]  # fold and seed of a training
EIGHT = ("jpeg", "blur", "noise", "resolution", "webp", "contrast_loss", "colour_noise", "ringing")


@dataclass(frozen=True)
class Material:
    """Pairs with labels, and the split by which networks are trained and tested on them.

    Attributes:
        name: of the data set, as tables have it.
        pairs: reference and distorted images by row.
        split: split frame.
        protocol: "corrected" (split by photograph, the validation part chooses the epoch) or "faithful" (pairs split at
            random, the test part chooses the epoch).
        dataset: whose votes the labels are; None where they are pseudo-labels.
        scale: of the labels, one of `inference.pairs.SCALES`.
        trained_on: labels and part in words, for cards.
        size: side in pixels, as it was asked for.
    """

    name: str
    pairs: PseudoLabelled | ImagePairs
    split: pd.DataFrame
    protocol: str
    dataset: Dataset | None
    scale: str
    trained_on: str
    size: int

    @property
    def images(self) -> pd.DataFrame:
        """Images frame, a row a pair."""
        return self.pairs.images

    @property
    def label_name(self) -> str:
        """What the labels are called on an axis."""
        return "pseudo-label" if self.dataset is None else "MOS"

    @cached_property
    def labels(self) -> np.ndarray:
        """Label of each row, float64 (n,)."""
        return self.images["mos"].to_numpy(float)

    @cached_property
    def contents(self) -> pd.Series:
        """Photograph of each image (index image)."""
        return self.images.set_index("image")["content"]

    def rows(self, images: Iterable[str]) -> np.ndarray:
        """Rows of pairs by the names of their images."""
        return pd.Index(self.images["image"]).get_indexer(list(images))

    def shared_contents(self) -> int:
        """How many photographs lie on both sides of a split of its first fold."""
        first = self.split[self.split["fold"] == self.split["fold"].min()]
        return int((first.groupby("content")["part"].nunique() > 1).sum())

    def learnt(self, fold: int, left_out: Sequence[str] = ()) -> ScoredPairs:
        """What a network of a fold learns from, without the distortions that are left out.

        Raises:
            InputError: a distortion that no pair has.
        """
        kind = self.images.set_index("image")["distortion"]
        for name in set(left_out) - set(kind):
            known = ", ".join(dict.fromkeys(kind))
            raise InputError(f"left_out: {name!r} is no distortion of these pairs; expected some of {known}")
        chooses = "test" if self.protocol == "faithful" else "val"
        train, val = (
            self.rows(image for image in part(self.split, fold, name) if kind[image] not in left_out)
            for name in ("train", chooses)
        )
        return ScoredPairs(self.pairs.pairs, self.labels, train, val, self.pairs.source)

    def photographs(self, fold: int) -> list[str]:
        """Names of the photographs that teach or choose a network of a fold."""
        known = {photograph(name).stem: name for name in PHOTOGRAPHS} | (self.dataset.sources if self.dataset else {})
        used = self.split[self.split["fold"] == fold]
        used = used if self.protocol == "faithful" else used[used["part"] != "test"]
        return sorted({known.get(content, content) for content in used["content"]})


def material(run: Run, dataset: str, pairs: Mapping, splits: Mapping, seed: int) -> Material:
    """Pairs to learn from, with their split.

    Args:
        run: whose suite keeps the split.
        dataset: photographs to distort ("demo", "kodak24", a folder), or a rated set with references.
        pairs: labels ("pseudo": what metrics agree on; "votes": mean opinion scores of a rated set), kinds (of
            distortion; "eight" and "all" stand for several), size (side in pixels to which pairs are cut, or to which
            their shorter side is brought), places (crops of each photograph and kind).
        splits: protocol, n_splits.
        seed: of distortions and splits.

    Raises:
        InputError: unknown labels, protocol, or kinds; or as `make`, `pairs_of`.
    """
    for name, value, known in (
        ("pairs: labels", pairs["labels"], ("pseudo", "votes")),
        ("splits: protocol", splits["protocol"], PROTOCOLS),
    ):
        if value not in known:
            raise InputError(f"{name} is {value!r}: expected one of {', '.join(known)}")
    if pairs["labels"] == "pseudo":
        return _pseudo_labelled(run, dataset, pairs, splits, seed)
    data = load(dataset, missing="drop")
    with_reference = data.images.loc[data.images["reference"] != "", "reference"]
    size = pairs["size"]
    sides = np.array(data.read(with_reference.iloc[0]).shape[:2]) if len(with_reference) else np.array([size, size])
    height, width = (int(side) for side in np.round(sides * size / sides.min()))
    rated = pairs_of(data, (height, width))
    if splits["protocol"] == "faithful":
        split = random_folds(rated.images, 5, seed)
    else:
        split, _ = run.mos_split(data, splits["n_splits"], 0, seed)
        split = split[split["image"].isin(rated.images["image"])]
    scale = data.scale.name if data.scale.name in SCALES else "MOS"
    trained_on = f"{data.name}, mean opinion scores, training part"
    return Material(data.name, rated, split, splits["protocol"], data, scale, trained_on, size)


def _pseudo_labelled(run: Run, dataset: str, pairs: Mapping, splits: Mapping, seed: int) -> Material:
    made = pseudo_labelled_pairs(dataset, pairs, seed)
    if splits["protocol"] == "faithful":
        split = random_folds(made.images, 5, seed)
    else:
        split = split_by_photograph(run, dataset, made, splits["n_splits"], seed)
    asked = ", ".join(METRICS[metric].title for metric in CONSENSUS)
    trained_on = f"pseudo-labels ({asked}) on photographs of {dataset}, training part"
    name = pseudo_name(dataset)
    return Material(name, made, split, splits["protocol"], None, "pseudo-label", trained_on, pairs["size"])


def pseudo_name(dataset: str) -> str:
    """What tables call the pseudo-labelled pairs of photographs."""
    return f"pseudo-labels, {Path(dataset).name}"


def pseudo_labelled_pairs(dataset: str, pairs: Mapping, seed: int) -> PseudoLabelled:
    """Distorted photographs with pseudo-labels; settings as of `material`."""
    groups = {"eight": EIGHT, "all": tuple(DISTORTIONS)}
    kinds = dict.fromkeys(kind for name in pairs["kinds"] for kind in groups.get(name, (name,)))
    return make(photographs(dataset), qualities(CONSENSUS), tuple(kinds), pairs["size"], pairs["places"], seed)


def split_by_photograph(run: Run, dataset: str, pairs: PseudoLabelled, n_splits: int, seed: int) -> pd.DataFrame:
    """The suite's split of pseudo-labelled pairs by photograph."""
    path = run.results / "tables" / "split" / f"pseudo_{Path(dataset).name}.csv"
    return kept_by_photograph(path, pairs.images, n_splits, seed)


def levels_of_first(material: Material) -> dict[str, list[np.ndarray]]:
    """Of the first photograph: six kinds of distortion -> the reference crop and the five levels, mild to strong."""
    images, shown = material.images, {}
    first = images[images["content"] == images["content"].iloc[0]]
    for kind in list(dict.fromkeys(images["distortion"]))[:6]:
        rows = first.index[first["distortion"] == kind][:N_LEVELS]
        reference, distorted = material.pairs.pairs(rows)
        shown[kind] = [reference[0], *distorted]
    return shown


def method_name(network: Mapping, losses: Mapping[str, float]) -> str:
    """What tables call a network and the losses that it was trained with: "simple, soft ranks, 6 epochs".

    Args:
        losses: weights of losses by name.
        network: variant, and a note (may be empty).
    """
    return ", ".join(filter(None, (network["variant"], ranking_losses.title(losses), network["note"])))


@dataclass(frozen=True)
class Networks:
    """Trained networks of one method.

    Attributes:
        method: their name in tables.
        fitted: by fold and seed.
        photographs: names of those that taught or chose each, also before this training.
    """

    method: str
    fitted: Mapping[Key, FullReference]
    photographs: Mapping[Key, list[str]]

    @property
    def first(self) -> nn.Module:
        """The network of the first fold and seed."""
        return next(iter(self.fitted.values())).model

    @property
    def seconds(self) -> float:
        """Mean of a training."""
        return float(np.mean([fitted.result.seconds for fitted in self.fitted.values()]))

    def histories(self) -> pd.DataFrame:
        """Every epoch of every training, with fold and seed."""
        rows = [fit.result.history.assign(fold=fold, seed=seed) for (fold, seed), fit in self.fitted.items()]
        return pd.concat(rows)


def architecture(run: Run, network: Mapping, splits: Mapping) -> dict[str, object]:
    """Variant, width and grid of the networks: those of the earlier run where training goes on from one."""
    before = _beginnings(run, network, splits)
    arguments = next(iter(before.values()))[1].arguments if before else network
    return {name: arguments[name] for name in ("variant", "width", "grid")}


def train_networks(run: Run, material: Material, settings: Mapping[str, Mapping]) -> Networks:
    """One network for each fold and seed.

    Args:
        run: keeps checkpoints while they are trained, and knows the networks of earlier runs.
        material: what they learn from.
        settings: groups of settings: splits (folds, seeds), pairs (left_out), network (variant, width, grid; start: run
            of this suite whose networks of the same fold and seed are trained further; pretrain: sets of preferences
            that are learnt from first, and for how many epochs), losses (name -> weight), training (epochs, batch_size,
            lr, relight: half of the pairs lighter or darker, sorter) and viewing (crop, views).

    Raises:
        InputError: unknown views, losses or settings of the network; a run to start from that has no such networks.
    """
    network, training, viewing = (settings[name] for name in ("network", "training", "viewing"))
    if viewing["views"] not in VIEWS:
        raise InputError(f"viewing: views is {viewing['views']!r}: expected one of {', '.join(VIEWS)}")
    before = _beginnings(run, network, settings["splits"])
    sorter = load_weights(run.find_weights(training["sorter"]))[0] if "sorter" in settings["losses"] else None
    loss, crop = ranking_losses.create(settings["losses"], sorter), viewing["crop"]
    shown = Shown(training["batch_size"], crop, crop, LIGHTNESS if training["relight"] else None)
    schedule = _schedule(training["epochs"], training["lr"])
    fitted, taught = {}, {}
    for fold, seed in _keys(settings["splits"]):
        pairs = material.learnt(fold, settings["pairs"]["left_out"])
        followed = Followed(run.checkpoints / f"{fold}_{seed}.pt", print)
        began: nn.Module | Mapping
        if network["start"]:
            began, card = before[fold, seed]
        else:
            began, card = _beginning(network, material.size, training["lr"], seed, shown, followed), None
        fitted[fold, seed] = train_full_reference(began, pairs, loss, schedule, seed, shown, followed=followed)
        taught[fold, seed] = sorted({*material.photographs(fold), *(card.photographs if card else [])})
    return Networks(method_name(network, settings["losses"]), fitted, taught)


def _keys(splits: Mapping) -> list[Key]:
    return [(fold, seed) for fold in splits["folds"] for seed in splits["seeds"]]


def _beginnings(run: Run, network: Mapping, splits: Mapping) -> dict[Key, tuple[Network, Card]]:
    """Networks of the run that training goes on from, with their cards; none where there is no such run."""
    start = network["start"]
    if not start:
        return {}
    folder = run.work / "weights"
    found = {key: load_weights(folder / f"{start}_{key[0]}_{key[1]}.safetensors") for key in _keys(splits)}
    variant = next(iter(found.values()))[1].arguments["variant"]
    if variant != network["variant"]:
        raise InputError(f"start={start!r} is {variant}, variant is {network['variant']!r}; expected the same")
    return found


def _beginning(
    network: Mapping, size: int, lr: float, seed: int, shown: Shown, followed: Followed
) -> nn.Module | Mapping:
    """Arguments of a new network; or a network that has learnt preferences, by their official parts."""
    began: nn.Module | Mapping = {name: network[name] for name in ("variant", "width", "grid")}
    checkpoint = Path(followed.checkpoint or "preferences.pt")
    for name, epochs in network["pretrain"].items():
        preferences = preferences_of(load(name, missing="drop"), (size, size))
        parts = preferences.pairs["part"].to_numpy()
        train, val = (np.flatnonzero(parts == part_) for part_ in ("train", "val"))
        schedule, alike = _schedule(epochs, lr), replace(shown, lightness=None)
        kept = replace(followed, checkpoint=checkpoint.with_name(f"{name}_{checkpoint.name}"))
        first = pretrain_on_preferences(
            began, preferences, train, val, schedule, seed, alike, preference_accuracy, kept
        )
        best = first.result.history["val_preference_accuracy"].max()
        followed.log(f"{name}: {len(preferences):,} comparisons, validation accuracy {best:.3f}")
        began = first.model
    return began


def _schedule(epochs: int, lr: float) -> Schedule:
    return Schedule(epochs=epochs, lr=lr, weight_decay=0.0, warmup=0.3)
