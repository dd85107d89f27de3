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
from iqasuite.errors import InputError
from iqasuite.evaluation.uncertainty import bootstrap_by_content
from iqasuite.explain.attention import focus_layer, people_and_noise, rank_by_disagreement
from iqasuite.explain.maps import shares
from iqasuite.explain.perturbation import changes, perturbed
from iqasuite.explain.recording import load_aios, record
from iqasuite.paths import write_atomic
from iqasuite.report.figures.style import EVEN, reach
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
        again: focus maps of further trainings of the same observers, (trainings, aios, images, rows, columns).
    """

    dataset: Dataset
    models: dict[str, nn.Module]
    cards: dict[str, Card]
    images: list[str]
    size: tuple[int, int]
    maps: np.ndarray
    focus: np.ndarray
    layer: int
    again: np.ndarray

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
        distance = np.abs(self.focus - self.focus.mean(0)).mean((1, 2, 3))
        return sorted(distance.argsort()[::-1][:READABLE])

    @property
    def floor(self) -> float:
        """Even shares by which two trainings of one observer differ, but for one place in a hundred; without a second
        training `EVEN`.
        """
        apart = [shares(self.focus) - shares(other) for other in self.again]
        return max([EVEN, *map(reach, apart)])

    @property
    def focus_name(self) -> str:
        """Of figures of the focus layer: "focus_layer_4" of the fourth."""
        return f"focus_layer_{self.layer % self.maps.shape[2] + 1}"

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


def look(
    dataset: Dataset, split: pd.DataFrame, folder: Path, pattern: str, side: int, layer: int, again: Sequence[str] = ()
) -> Looking:
    """Let the AIOs of one fold look at its test images.

    Args:
        dataset, split: whose test images.
        folder, pattern: of the AIOs' weights, as of `load_aios`.
        side: in pixels at which images are shown; 0 = as in training.
        layer: of the focus maps: 0 is the first, -1 the last.
        again: patterns of further trainings of the same observers.

    Raises:
        InputError: as `load_aios`, `record` and `focus_layer`; a further training of other observers.
    """
    models, cards = load_aios(folder, pattern, default_device(None))
    card = next(iter(cards.values()))
    height, width = np.broadcast_to(side or card.preprocessing.display_size or 0, 2).tolist()
    images = part(split, card.fold or 0, "test")
    size = height, width

    def seen_by(networks: dict[str, nn.Module]) -> np.ndarray:
        return record(networks, (dataset.read(name, size) for name in images))

    maps, others = seen_by(models), []
    for other in again:
        trained, _ = load_aios(folder, other, default_device(None))
        if list(trained) != list(models):
            raise InputError(f"{other!r}: AIOs of {', '.join(trained)}; expected those of {', '.join(models)}")
        others.append(focus_layer(seen_by(trained), layer))
    focus = focus_layer(maps, layer)
    further = np.array(others).reshape(-1, *focus.shape)
    return Looking(dataset, models, cards, images, size, maps, focus, layer, further)


def ranking_of(looking: Looking) -> pd.DataFrame:
    """Images by how much the focus maps of them differ, most first: rank, image, difference, facts of the image."""
    facts = looking.dataset.images[["image", "content", "distortion", "level", "mos"]]
    ranking = rank_by_disagreement(looking.focus, looking.images).merge(facts, on="image", validate="one_to_one")
    ranking.insert(0, "rank", range(1, len(ranking) + 1))
    return ranking


def between_images(looking: Looking) -> float:
    """How much the focus maps of one AIO differ between two images, mean over all: 0 to 2."""
    return rank_by_disagreement(looking.focus.swapaxes(0, 1))["difference"].mean()


def people_table(looking: Looking) -> pd.DataFrame:
    """Do AIOs of two observers look at other places than two trainings of one observer do?

    Returns:
        what, value, low, high (95 % intervals over contents), n (images), contents, trainings: the mean difference of
        maps (0 to 2) of two observers, of one in two trainings, and the first less the second. Empty where each was
        trained once.
    """
    if not len(looking.again):
        return pd.DataFrame()
    between, within = people_and_noise(np.stack([looking.focus, *looking.again]))
    contents = looking.dataset.images.set_index("image")["content"][looking.images].to_numpy()
    named = {"two observers": between, "one observer, two trainings": within, "people above noise": between - within}
    rows = []
    for what, values in named.items():
        low, high = bootstrap_by_content(values, contents)
        rows.append({"what": what, "value": values.mean(), "low": low, "high": high})
    counts = {"n": len(contents), "contents": len(set(contents)), "trainings": 1 + len(looking.again)}
    return pd.DataFrame(rows).assign(**counts)


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
