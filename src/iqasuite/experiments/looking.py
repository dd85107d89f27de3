"""What the artificial observers (AIOs) of one fold attend to: recorded, ranked, compared, tested by perturbation."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from iqasuite.datasets.dataset import Dataset
from iqasuite.datasets.splits import part
from iqasuite.explain.attention import deviation_from_mean, rank_by_disagreement
from iqasuite.explain.perturbation import changes, perturbed
from iqasuite.explain.recording import focus_layer, load_aios, record
from iqasuite.paths import write_atomic
from iqasuite.training.machine import default_device
from iqasuite.weights.card import Card

READABLE = 8  # AIOs that can be drawn beside each other
SIDE = 256  # pixels of the longer side of an image in a figure


@dataclass(frozen=True)
class Looking:
    """AIOs of one fold and what they attend to on its test images.

    Attributes:
        dataset: whose test images.
        models, cards: by observer.
        images: names.
        size: (height, width) in pixels at which the images are shown.
        maps: the class token's attention, float32 (aios, images, depth, heads, rows, columns).
        focus: of one layer, mean over its heads, (aios, images, rows, columns).
        layer: of `focus`.
    """

    dataset: Dataset
    models: dict[str, nn.Module]
    cards: dict[str, Card]
    images: list[str]
    size: tuple[int, int]
    maps: np.ndarray
    focus: np.ndarray
    layer: int

    @property
    def observers(self) -> list[str]:
        """Observers, in the order of the maps."""
        return list(self.models)

    @property
    def seeds(self) -> list[int]:
        """Of the AIOs' trainings, sorted."""
        return sorted({card.seed for card in self.cards.values()})

    @property
    def here(self) -> str:
        """Data set, AIOs, method and fold, in brackets behind a caption."""
        who = self.dataset.voters
        card = next(iter(self.cards.values()))
        return f"({self.dataset.name}, {len(self.models)} AIOs of {who}, {card.method}, fold {card.fold})"

    @property
    def drawn(self) -> list[int]:
        """Numbers of the AIOs that are drawn: all, or the `READABLE` ones farthest from the mean."""
        distance = np.abs(deviation_from_mean(self.focus)).mean((1, 2, 3))
        return sorted(distance.argsort()[::-1][:READABLE])

    @property
    def some(self) -> str:
        """For captions: which AIOs are drawn, where not all are."""
        n = len(self.models)
        return "" if n <= READABLE else f"; the {READABLE} AIOs farthest from the mean of {n}"

    def farthest_on(self, image: str) -> int:
        """Number of the AIO whose focus map of an image is farthest from the mean AIO's."""
        focus = self.focus[:, self.images.index(image)]
        return int(np.abs(focus - focus.mean(0)).sum((1, 2)).argmax())

    def columns(self, images: Sequence[str]) -> list[int]:
        """Numbers of images in the maps."""
        return [self.images.index(image) for image in images]

    def small(self, image: str) -> np.ndarray:
        """An image to be looked at, uint8 (H, W, 3), `SIDE` pixels at its longer side."""
        factor = min(1, SIDE / max(self.size))
        height, width = (max(1, round(side * factor)) for side in self.size)
        return self.dataset.read(image, (height, width))


def look(dataset: Dataset, split: pd.DataFrame, folder: Path, pattern: str, side: int, layer: int) -> Looking:
    """Let the AIOs of one fold look at its test images.

    Args:
        dataset, split: whose test images.
        folder, pattern: of the AIOs' weights, as of `load_aios`.
        side: in pixels at which images are shown; 0 = as in training.
        layer: of the focus maps: 0 is the first, -1 the last.

    Raises:
        InputError: as `load_aios`, `record` and `focus_layer`.
    """
    models, cards = load_aios(folder, pattern, default_device(None))
    card = next(iter(cards.values()))
    height, width = np.broadcast_to(side or card.preprocessing.display_size or 0, 2).tolist()
    images = part(split, card.fold or 0, "test")
    maps = record(models, (dataset.read(name, (height, width)) for name in images))
    return Looking(dataset, models, cards, images, (height, width), maps, focus_layer(maps, layer), layer)


def ranking_of(looking: Looking) -> pd.DataFrame:
    """Images by how much the focus maps of them differ, most first: rank, image, difference, facts of the image."""
    facts = looking.dataset.images[["image", "content", "distortion", "level", "mos"]]
    ranking = rank_by_disagreement(looking.focus, looking.images).merge(facts, on="image", validate="one_to_one")
    ranking.insert(0, "rank", range(1, len(ranking) + 1))
    return ranking


def between_images(looking: Looking) -> float:
    """How much the focus maps of one AIO differ between two images, mean over all: 0 to 2."""
    return rank_by_disagreement(looking.focus.swapaxes(0, 1))["difference"].mean()


def spread(maps: np.ndarray) -> np.ndarray:
    """How evenly each layer's attention is spread, mean over its heads: entropy as a share of its maximum, (depth,).

    Args:
        maps: (depth, heads, rows, columns), each map summing to about 1.
    """
    entropy = -(maps * np.log(np.maximum(maps, 1e-12))).sum((2, 3))
    return (entropy / np.log(maps.shape[2] * maps.shape[3])).mean(1)


def distances(looking: Looking) -> pd.DataFrame:
    """Mean distance of each AIO's focus maps from the mean AIO's, 0 to 2, largest first: observer, distance."""
    distance = np.abs(looking.focus - looking.focus.mean(0)).sum((2, 3)).mean(1)
    table = pd.DataFrame({"observer": looking.observers, "distance": distance})
    return table.sort_values("distance", ascending=False)


def perturbations(looking: Looking, images: Sequence[str]) -> pd.DataFrame:
    """How the focus maps of all AIOs change when images are perturbed.

    Returns:
        image, aio and the columns of `perturbation.changes`.
    """
    rows = []
    for name in images:
        image = looking.dataset.read(name, looking.size)
        distorted = perturbed(image)
        maps = focus_layer(record(looking.models, distorted.values()), looking.layer)
        for observer, own in zip(looking.observers, maps, strict=True):
            of_observer = changes(dict(zip(distorted, own, strict=True)), image.shape[:2])
            rows.append(of_observer.assign(aio=observer, image=name))
    columns = ["image", "aio", "perturbation", "summed", "change", "difference", "centre_share"]
    return pd.concat(rows, ignore_index=True)[columns]


def save_maps(path: Path, looking: Looking, image: str) -> Path:
    """Keep all focus maps, and all layers and heads of one image, as arrays of an .npz file."""
    arrays, of_image = io.BytesIO(), looking.maps[:, looking.images.index(image)]
    named: dict[str, Any] = {"aios": looking.observers, "images": looking.images, "image": image}
    np.savez_compressed(arrays, **named, focus=looking.focus, layers_heads=of_image)
    return write_atomic(path, arrays.getvalue())
