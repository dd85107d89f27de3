"""Cards of trained networks: the JSON beside a weights file, read and written in this one place, whatever somebody made
of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json, to_json

from iqasuite.errors import InputError

SCHEMA = 1
MAX_BYTES = 5_000_000  # those that the library writes have some thousand
_LARGEST = {"depth": 256, "layers": 64, "patch_size": 1024}  # arguments that cost time or memory by themselves
_WANTED = "expected a JSON card with architecture, arguments and scale"

Text = Annotated[str, Field(max_length=10_000)]
Number = Annotated[int, Field(ge=-(10**9), le=10**9)] | Annotated[float, Field(ge=-1e9, le=1e9)]
_Key = Annotated[str, Field(pattern=r"^\w{1,50}$")]
_Whole = Annotated[int, Field(ge=-(10**6), le=10**6)]
_Plain = _Whole | Annotated[float, Field(ge=-1e6, le=1e6)] | bool | Annotated[str, Field(max_length=200)] | None
_Value = _Plain | Annotated[list[_Plain], Field(max_length=32)]
Side = Annotated[int, Field(ge=1, le=4096)]  # pixels


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class Scale(_Part):
    """What scores mean: the scale's name, its low (worst) and its high end, both None where it has none."""

    name: Text
    low: Number | None
    high: Number | None


class Preprocessing(_Part):
    """How images are shown to a network; what a card leaves out does not hold for it.

    Attributes:
        shorter_side: pixels to which an image's shorter side is brought.
        display_size: height and width in pixels at which the training images were shown.
        crop: side in pixels of the crops that it is then given; None = whole images.
        views: crops a side of the grid whose outputs are averaged.
        tile, reduce_to: of pairs, see `inference.pairs.predict_pairs`.
    """

    shorter_side: Side | None = None
    display_size: Annotated[list[Side], Field(min_length=2, max_length=2)] | None = None
    crop: Side | None = None
    views: Annotated[int, Field(ge=0, le=16)] = 1
    tile: Side | None = None
    reduce_to: Side | None = None

    @property
    def shown_at(self) -> int:
        """Pixels of an image's shorter side as the network sees it."""
        return self.shorter_side or min(self.display_size or (256,))


class Seen(_Part):
    """Images that training saw, as `weights.seen.record` notes them."""

    files: str = ""
    unlisted: dict[str, int | None] = {}


_TEXT, _WHOLE = "a text of at most 10,000 characters", "a whole number"
_text = Field(default="", description=_TEXT)


class Card(_Part):
    """What a card says. Further keys are allowed; a field's description is what its error calls expected.

    Attributes:
        version: of the card's form, `SCHEMA`; "schema" in the file.
        architecture, arguments: of `iqasuite.models.create`.
        scale: of the scores; without a name where the card says nothing of it.
        preprocessing: how images are shown.
        observer: whose votes are predicted; "" = the mean opinion.
        dataset, split_hash, fold, seed, method, run, photographs, left_out, seen: what was trained on
            what, and how.
        title, trained_on, caution, limits, licence: sentences for whoever uses it.
        scores, rank_baselines: what it reached, and what statistics of the image reach there.
    """

    model_config = ConfigDict(extra="allow")

    version: int = Field(default=SCHEMA, alias="schema", description=f"{SCHEMA}")
    architecture: Annotated[str, Field(min_length=1, max_length=200)] = Field(description="an architecture's name")
    arguments: dict[_Key, _Value | dict[_Key, _Value | dict[_Key, _Value]]] = Field(
        description="a mapping of arguments: numbers up to a million, texts, short lists, or mappings of these"
    )
    scale: Scale = Field(
        default=Scale(name="", low=None, high=None),
        description="a mapping of name, low and high (null where it has no ends)",
    )
    preprocessing: Preprocessing = Field(
        default=Preprocessing(),
        description="a mapping of shorter_side, crop, tile, reduce_to (1 to 4096 pixels), display_size (height and "
        "width) and views (0 to 16)",
    )
    observer: Text = _text
    dataset: Text | None = _text
    split_hash: Text = _text
    fold: int | None = Field(default=None, description=_WHOLE)
    seed: int = Field(default=0, description=_WHOLE)
    method: Text = Field(default="ViT-IQA", description=_TEXT)
    run: Text = _text
    photographs: list[Text] = Field(default=[], description="a list of names")
    left_out: list[Text] = Field(default=[], description="a list of names")
    seen: Seen = Field(default=Seen(), description="a mapping of files (a text) and unlisted (set: number of images)")
    title: Text = _text
    trained_on: Text = _text
    caution: Text = _text
    limits: Text = _text
    licence: Text = _text
    scores: Any = None
    rank_baselines: Any = None

    def facts(self) -> dict[str, Any]:
        """What the card says, as JSON has it."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    def __str__(self) -> str:
        return json.dumps(self.facts(), indent=2, ensure_ascii=False)


def read_model_card(file: Path) -> Card:
    """The card that a JSON file holds, checked: what the library uses of it has its type and bearable values.

    A card without a schema is of before there was one, and brought to today's form.

    Raises:
        InputError: in one line the file, the key, what was found and what was expected.
    """
    try:
        if not file.is_file():  # a folder, a pipe, a link to itself
            raise FileNotFoundError("no such file")
        with open(file, "rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{file}: {error.strerror or error}; {_WANTED}") from None
    return _card(content, file)


def made_card(facts: Mapping[str, Any], file: Path) -> Card:
    """The card of these facts, checked as that of a file is; numbers that are not finite are null."""
    return _card(to_json({"schema": SCHEMA} | dict(facts), inf_nan_mode="null"), file)


def _card(content: bytes, file: Path) -> Card:
    try:
        if len(content) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES:,} bytes")
        card = from_json(content, allow_inf_nan=False)  # which has a limit to how deep a card is nested
    except (ValueError, MemoryError, RecursionError) as error:
        raise InputError(f"{file}: {error or 'too large'}; {_WANTED}") from None
    if not isinstance(card, dict):
        raise InputError(f"{file}: is {_short(card)}; {_WANTED}")
    for key, value in card.items():
        if not _finite(value):
            raise InputError(f"{file}: {_short(key)} is {_short(value)}; expected finite numbers")
    if "schema" not in card:
        card = _migrated(card)
    elif type(card["schema"]) is not int or card["schema"] != SCHEMA:
        newer = "; a newer version of iqasuite reads it" if type(card["schema"]) is int else ""
        raise InputError(f"{file}: schema is {_short(card['schema'])}; expected {SCHEMA}{newer}")
    try:
        made = Card.model_validate(card)
    except ValidationError as error:
        key = str(error.errors(include_url=False)[0]["loc"][0])
        found = f"is {_short(card[key])}" if key in card else "is missing"
        raise InputError(f"{file}: {key} {found}; expected {Card.model_fields[key].description}") from None
    parts: list[Any] = [made.arguments, *made.arguments.values()]
    for part in (part for part in parts if isinstance(part, dict)):
        for name, largest in _LARGEST.items():
            value = part.get(name)
            if isinstance(value, int | float) and value > largest:
                raise InputError(f"{file}: arguments: {name} is {value}; expected at most {largest}")
    return made


# Where the arguments of vit_iqa were before schema 1, and where they are: part and name.
_SAME = {
    "stem": ("patch_size", "shift", "scales", "taps", "cells", "components"),
    "trunk": ("size", "dim", "depth", "heads", "dim_head", "mlp_dim", "dropout", "emb_dropout", "pool"),
    "head": ("n_classes",),
}
_PARTS = {name: (part, name) for part, names in _SAME.items() for name in names}
_PARTS |= {"stem": ("stem", "name"), "freeze_stem": ("stem", "freeze"), "spectrum_patch": ("stem", "patch_size")}
_PARTS |= {"head": ("head", "name")}


def _migrated(card: dict[str, Any]) -> dict[str, Any]:
    """A card of before there was a schema, in the form of schema 1; what is odd in it stays for the checks to find."""
    card = {"schema": SCHEMA} | card
    scale, shown, arguments = card.pop("scale", None), card.get("preprocessing", {}), card.get("arguments")
    if isinstance(scale, str):
        scale = {"name": scale, "low": None, "high": None}
    elif isinstance(scale, list) and len(scale) == 2:
        scale = {"name": "ACR", "low": scale[0], "high": scale[1]}
    if scale is not None:
        card["scale"] = scale
    older: dict[str, Any] = {key: card.pop(key) for key in ("crop", "views") if key in card}
    size = card.pop("view_size", None)
    if size is not None:
        older["display_size"] = [size, size] if isinstance(size, int) else size
    if isinstance(shown, dict):  # mean, std and the like are in the weights
        shown = older | {key: value for key, value in shown.items() if key in Preprocessing.model_fields}
    if shown:
        card["preprocessing"] = shown
    if card.get("architecture") == "vit_iqa" and isinstance(arguments, dict):
        card["arguments"] = _in_parts(arguments)
    return card


def _in_parts(flat: dict[str, Any]) -> dict[str, Any]:
    """Arguments of vit_iqa by part; a size of patches that the stem did not look at is left out."""
    if any(isinstance(value, dict) for value in flat.values()):
        return flat
    unused = "patch_size" if "spectrum" in str(flat.get("stem")) else "spectrum_patch"
    parts: dict[str, Any] = {}
    for name, value in flat.items():
        if name != unused:
            part, new = _PARTS.get(name, ("", name))
            (parts.setdefault(part, {}) if part else parts)[new] = value
    return parts


def _finite(value: object) -> bool:
    if isinstance(value, dict | list):
        return all(map(_finite, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, int | float) or abs(value) < 1e300


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
