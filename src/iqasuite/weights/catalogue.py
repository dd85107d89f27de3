"""Which trained models there are, read from the cards in the weights folders: quick, no network is loaded for it."""

from __future__ import annotations

import logging
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from iqasuite.errors import InputError
from iqasuite.names import natural_key
from iqasuite.paths import weights_roots
from iqasuite.weights.card import Card, read_model_card

if TYPE_CHECKING:
    import numpy as np

Votes = TypeVar("Votes", float, "np.ndarray")
_log = logging.getLogger(__name__)
CATEGORIES = ("very poor", "poor", "average", "good", "excellent")
PAIRS = ("siamese_fr",)  # architectures that compare an image with its reference
IMAGES = ("frozen_nr", "jpeg_resnet", "mobile_nr", "trcnn", "trcnn_faithful", "vit_iqa", "few_shot")  # no reference


@dataclass(frozen=True)
class Entry:
    """A trained model as its card describes it.

    Attributes:
        name: as `--model` takes it: the file's path within its weights folder without ending, "mobile_nr",
            "demo_aios/Obs1"; or the path that was given.
        path: the .safetensors file.
        card: everything that the card says.
    """

    name: str
    path: Path
    card: Card = field(repr=False, compare=False)

    @property
    def architecture(self) -> str:
        """As `iqasuite.models.create` knows it."""
        return self.card.architecture

    @property
    def observer(self) -> str:
        """Whose votes it predicts; "" = the mean opinion."""
        return "" if self.card.observer == "everybody" else self.card.observer

    @property
    def scale(self) -> str:
        """Name of the scale of its scores."""
        return self.card.scale.name

    @property
    def low(self) -> float:
        """Low end of that scale, the worst; nan where it has none (pseudo-labels)."""
        return math.nan if self.card.scale.low is None else float(self.card.scale.low)

    @property
    def high(self) -> float:
        """High end of that scale; nan where it has none."""
        return math.nan if self.card.scale.high is None else float(self.card.scale.high)

    @property
    def needs_reference(self) -> bool:
        """Whether it compares an image with its reference."""
        return self.architecture in PAIRS

    @property
    def title(self) -> str:
        """What it is, in one line."""
        return self.card.title or self.card.trained_on or self.architecture

    @property
    def set_name(self) -> str:
        """Name of the set of AIOs that it belongs to, its folder; "" for a model that stands alone."""
        return str(Path(self.name).parent) if self.observer and "/" in self.name else ""

    @property
    def reached(self) -> dict[str, str]:
        """What its card says that it reached: measure -> number, with its 95 % interval where that is known."""
        return _shown(self.card.scores)

    @property
    def rank_baselines(self) -> dict[str, dict[str, str]]:
        """What its card says of statistics of the image that took no training, on which images: statistic -> SROCC."""
        tables = self.card.rank_baselines
        return {where: _shown(table) for where, table in tables.items()} if isinstance(tables, dict) else {}

    def category(self, score: float) -> str:
        """The fifth of the scale that a score lies in: very poor, poor, average, good or excellent.

        Raises:
            InputError: the scale has no ends, or the score is no number.
        """
        if not abs(self.high - self.low) > 0 or math.isnan(score):
            raise InputError(f"model {self.name!r}: score {score} on {self.scale} from {self.low} to {self.high}")
        share = (score - self.low) / (self.high - self.low)
        return CATEGORIES[min(max(int(5 * share), 0), 4)]

    def score_of(self, vote: Votes) -> Votes:
        """A vote from 1 (low end) to 5 (high end) on this model's own scale."""
        return self.low + (vote - 1) / 4 * (self.high - self.low)


def available() -> list[Entry]:
    """All models with a readable card in the weights folders, AIOs by their observers; a broken card is logged."""
    found: dict[str, Entry] = {}
    for root in weights_roots():
        for path in sorted(root.rglob("*.safetensors")):
            name = path.relative_to(root).with_suffix("").as_posix()
            if name in found or not _is_file(path) or not _within(path, root):
                continue
            if not os.path.lexists(path.with_suffix(".json")):  # ImageNet's weights have no card
                continue
            try:
                entry = entry_of(path, name)
            except InputError as error:
                _log.warning("%s", error)
                continue
            if entry.architecture in (*PAIRS, *IMAGES):
                found[name] = entry
    return sorted(found.values(), key=lambda entry: (bool(entry.observer), entry.needs_reference, entry.name))


def find(name: Path | str) -> Entry:
    """A model by its name in the weights folders or by its file.

    Raises:
        InputError: there is none; the known names are listed.
    """
    given = Path(name)
    if given.suffix == ".safetensors" and _is_file(given):
        return entry_of(given, str(name))
    for root in weights_roots():
        path = root / f"{str(name).removesuffix('.safetensors')}.safetensors"
        if _is_file(path) and _within(path, root):
            return entry_of(path, path.relative_to(root).with_suffix("").as_posix())
    known = ", ".join(entry.name for entry in available()) or _nothing_in()
    raise InputError(f"model {str(name)!r}: no such file or weights; expected a .safetensors file or one of {known}")


def _nothing_in() -> str:
    """Where weights were looked for, and how to have them found from another folder."""
    folders = ", ".join(str(root.resolve()) for root in weights_roots())
    return f"none is here: {folders} has no weights; the variable IQASUITE_WEIGHTS names another folder"


def observers_of(name: str) -> list[Entry]:
    """The AIOs of the set `name` (a folder in the weights folders, such as "demo_aios"), by observer.

    Raises:
        InputError: there is no such set.
    """
    entries = [entry for entry in available() if entry.set_name == name]
    if not entries:
        known = ", ".join(sets()) or _nothing_in()
        raise InputError(f"artificial observers {name!r}: no such set, expected one of {known}")
    return sorted(entries, key=lambda entry: natural_key(entry.observer))


def sets() -> list[str]:
    """Names of the sets of AIOs that are here."""
    return sorted({entry.set_name for entry in available()} - {""})


def entry_of(path: Path, name: str) -> Entry:
    """The entry of one weights file.

    Raises:
        InputError: its card is missing or broken (`card.read_model_card`), or names no scale.
    """
    beside = path.with_suffix(".json")
    card = read_model_card(beside)
    if not card.scale.name:
        raise InputError(f"{beside}: scale is missing; expected {Card.model_fields['scale'].description}")
    return Entry(name, path, card)


def _shown(scores: object) -> dict[str, str]:
    """Numbers of a card, [value, low, high] among them, as text; what is neither is left out."""
    found = {}
    for name, value in scores.items() if isinstance(scores, dict) else ():
        numbers = value if isinstance(value, list) else [value]
        if len(numbers) in (1, 3) and all(type(number) in (int, float) for number in numbers):
            shown, *ends = (f"{number:.4g}" for number in numbers)
            found[name.removesuffix(" [95 %]")] = f"{shown} [{', '.join(ends)}]" if ends else shown
    return found


def _within(path: Path, root: Path) -> bool:
    return root.resolve() in path.resolve().parents


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False
