"""Cards of trained networks: the JSON beside a weights file, read in this one place, whatever somebody made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from iqasuite.errors import InputError

MAX_BYTES = 5_000_000  # those that the library writes have some thousand
_LARGEST = {"depth": 256, "layers": 64, "spectrum_patch": 1024}  # arguments that cost time or memory by themselves
_WANTED = "expected a JSON card with architecture, arguments and scale"

Text = Annotated[str, Field(max_length=10_000)]
Number = Annotated[float, Field(ge=-1e9, le=1e9)]
Argument = Annotated[float, Field(ge=-1e6, le=1e6)] | bool | Annotated[str, Field(max_length=200)] | None
_Key = Annotated[str, Field(pattern=r"^\w{1,50}$")]
Side = Annotated[int, Field(ge=1, le=4096)]  # pixels
Views = Annotated[int, Field(ge=0, le=16)]  # crops a side of the grid


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


class _Scale(_Part):
    name: Text
    low: Number
    high: Number


class _Preprocessing(_Part):
    shorter_side: Side | None = None
    crop: Side | None = None
    tile: Side | None = None
    reduce_to: Side | None = None
    views: Views = 1


class _Seen(_Part):
    files: str = ""
    unlisted: dict[str, int | None] = {}


_text = Field("", description="a text of at most 10,000 characters")
_side = Field(None, description="a whole number of pixels from 1 to 4096")


class _Card(_Part):
    """What a card may say; a field's description is what its error calls expected. Further keys are allowed."""

    architecture: Annotated[str, Field(min_length=1, max_length=200)] = Field(description="an architecture's name")
    arguments: dict[_Key, Argument | Annotated[list[Argument], Field(max_length=32)]] = Field(
        description="a mapping of arguments: numbers up to a million, texts, or short lists of them"
    )
    scale: _Scale | Annotated[list[Number], Field(min_length=2, max_length=2)] | Text | None = Field(
        None, description="[low, high], a mapping of name, low and high, or a text"
    )
    preprocessing: _Preprocessing = Field(
        _Preprocessing(),
        description="a mapping; in it shorter_side, crop, tile, reduce_to from 1 to 4096 pixels, views from 0 to 16",
    )
    view_size: Side | Annotated[list[Side], Field(min_length=2, max_length=2)] | None = _side  # or height, width
    crop: Side | None = _side
    views: Views = Field(1, description="a whole number from 0 to 16")
    fold: int | None = Field(None, description="a whole number")
    seen: _Seen = Field(_Seen(), description="a mapping of files (a text) and unlisted (data set: number of images)")
    observer: Text = _text
    dataset: Text | None = _text
    title: Text = _text
    trained_on: Text = _text
    caution: Text = _text
    limits: Text = _text
    licence: Text = _text
    run: Text = _text


def read_model_card(file: Path) -> dict[str, Any]:
    """The card that a JSON file holds, checked: what the library uses of it has its type and bearable values.

    Raises:
        InputError: in one line the file, the key, what was found and what was expected.
    """
    card = _parsed(file)
    for key, value in card.items():
        if not _finite(value):
            raise InputError(f"{file}: {_short(key)} is {_short(value)}; expected finite numbers")
    try:
        _Card.model_validate(card)
    except ValidationError as error:
        key = str(error.errors(include_url=False)[0]["loc"][0])
        found = f"is {_short(card[key])}" if key in card else "is missing"
        raise InputError(f"{file}: {key} {found}; expected {_Card.model_fields[key].description}") from None
    for name, largest in _LARGEST.items():
        value = card["arguments"].get(name)
        if isinstance(value, int | float) and value > largest:
            raise InputError(f"{file}: arguments: {name} is {value}; expected at most {largest}")
    return card


def scale_of(card: dict[str, Any], file: Path) -> tuple[str, float, float]:
    """Name and ends of the scale that a card names; the ends are nan where it has none (pseudo-labels, Elo).

    Raises:
        InputError: it names none.
    """
    scale = card.get("scale")
    if scale is None:
        raise InputError(f"{file}: scale is missing; expected {_Card.model_fields['scale'].description}")
    if isinstance(scale, str):
        return scale, float("nan"), float("nan")
    if isinstance(scale, list):
        return "ACR", float(scale[0]), float(scale[1])
    return scale["name"], float(scale["low"]), float(scale["high"])


def _parsed(file: Path) -> dict[str, Any]:
    try:
        content = _bytes(file)
        card = from_json(content, allow_inf_nan=False)  # which has a limit to how deep a card is nested
    except OSError as error:
        raise InputError(f"{file}: {error.strerror or error}; {_WANTED}") from None
    except (ValueError, MemoryError, RecursionError) as error:
        raise InputError(f"{file}: {error or 'too large'}; {_WANTED}") from None
    if not isinstance(card, dict):
        raise InputError(f"{file}: is {_short(card)}; {_WANTED}")
    return card


def _bytes(file: Path) -> bytes:
    if not file.is_file():  # a folder, a pipe, a link to itself
        raise FileNotFoundError("no such file")
    with open(file, "rb") as opened:
        content = opened.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES:,} bytes")
    return content


def _finite(value: object) -> bool:
    if isinstance(value, dict | list):
        return all(map(_finite, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, int | float) or abs(value) < 1e300


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
