"""Which images a trained network has seen, as its card records it, and how many images of a test are among them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pandas as pd

from iqasuite.datasets import splits
from iqasuite.datasets.dataset import Dataset
from iqasuite.errors import InputError
from iqasuite.paths import file_hash
from iqasuite.weights.card import Card, Seen
from iqasuite.weights.catalogue import Entry

LISTED = 1000  # images of one training that a card lists, 9 bytes each; of larger ones it says how many
# Files are known by their content and not by their names, which say nothing across data sets ("1.png") and change with
# the layout of one. 8 of 64 digits confuse one pair of files in four thousand million.
_DIGITS = 8


def record(dataset: Dataset, images: Sequence[str], before: Card | None = None) -> dict[str, Any]:
    """What a card says of the images that a training saw, those that chose its epoch among them.

    Args:
        dataset: where the images are.
        images: names.
        before: card of the weights that training started from, whose images count as well.

    Returns:
        Where there are any: "files" (beginnings of the SHA-256 of files, sorted) and "unlisted" (data set -> number of
        images that are not listed; None = unknown).

    Raises:
        InputError: an image that cannot be read.
    """
    earlier = _of_card(before) if before else Seen()
    files, unlisted = set(earlier.files.split()), dict(earlier.unlisted)
    if len(images) > LISTED:
        unlisted[dataset.name] = len(images)
    else:
        files |= {_short_hash(dataset, image) for image in images}
    found = {"files": " ".join(sorted(files)), "unlisted": unlisted}
    return {name: value for name, value in found.items() if value}


def warning(
    entry: Entry, dataset: Dataset, images: Sequence[str], part: str = "all", split: pd.DataFrame | None = None
) -> str:
    """Why images are no test of a model: how many of them its training has seen, or may have seen.

    Args:
        entry: the model.
        dataset: where the images are.
        images: names.
        part: of a split that they are ("all" = no part), for the sentence.
        split: that they are a part of; None = no split. Where it is the one that the card names, the names of its
            images decide; else the split beside the weights, where there is one, and the list of files in the card.

    Returns:
        A sentence; "" where nothing speaks against the images.
    """
    seen, card, which = _of_card(entry.card), entry.card, "" if part == "all" else f"{part} "
    files = set(seen.files.split())
    matches = {image for image in images if files and _short_hash(dataset, image) in files}
    own, unsure = _own_split(entry, split), dataset.name in seen.unlisted
    if card.dataset == dataset.name:
        if own is not None:
            rows = own[(own["fold"] == (card.fold or 0)) & (own["part"] != "test")]
            matches |= set(images) & set(rows["image"])
        unsure = own is None and (unsure or not matches)  # files that were written anew are not recognised
    if matches:
        counts = f"{len(matches):,} of the {len(images):,} {which}images of {dataset.name}"
        return f"{entry.name} has seen {counts} in training; these scores are no test"
    if unsure:
        return (
            f"{entry.name} was trained on {dataset.name} and may have seen these {which}images; its card does not tell "
            "which it has seen"
        )
    return ""


def _of_card(card: Card) -> Seen:
    """The record of a card; cards without one name at most their data set."""
    seen = card.seen
    return seen if seen.files or seen.unlisted or not card.dataset else Seen(unlisted={card.dataset: None})


def _short_hash(dataset: Dataset, image: str) -> str:
    return file_hash(dataset.path(image))[:_DIGITS]


def _own_split(entry: Entry, given: pd.DataFrame | None) -> pd.DataFrame | None:
    """The split that a model was trained with: the given one or that beside its weights, if it is the card's."""
    beside, found = entry.path.with_name(f"{entry.path.stem}_split.csv"), [given]
    with suppress(InputError):  # none, or a file of that name that is no split
        found.append(splits.read_split(beside))
    own = [split for split in found if split is not None and splits.split_hash(split) == entry.card.split_hash]
    return own[0] if own else None
