"""What the `dataset.yaml` of a study's folder says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from iqasuite.datasets import adapters
from iqasuite.errors import InputError
from iqasuite.yaml_files import is_file_name, read_yaml, shown

FACTS = "dataset.yaml"
_MOST_NUISANCES = 5  # each is a row of every table of methods


def _checked_name(name: str) -> str:
    if not is_file_name(name) or name in adapters.NAMES:
        raise ValueError
    return name


def _checked_columns(names: list[str]) -> list[str]:
    if not all(name.strip() for name in names) or len(set(names)) < len(names):
        raise ValueError
    return names


class _Part(BaseModel):
    """A mapping; the description of a field is what its error calls expected."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class StatedScale(_Part):
    """The scale of the ratings, as far as it is stated."""

    low: float | None = Field(default=None, description="a number")
    high: float | None = Field(default=None, description="a number")
    higher_is_better: bool | None = Field(default=None, description="true or false")
    name: str | None = Field(default=None, description="text")

    @model_validator(mode="after")
    def _ends(self) -> Self:
        one_alone = (self.low is None) != (self.high is None)
        if one_alone or (self.low is not None and self.high is not None and self.low >= self.high):
            raise ValueError
        return self


class Facts(_Part):
    """A study's facts, all of which may be missing; docs/your_own_study.md describes them."""

    name: Annotated[str, AfterValidator(_checked_name)] = Field(
        default="", description="text: letters, digits, and _ . - within, not the name of another data set"
    )
    scale: StatedScale = Field(
        default=StatedScale(),
        description="keys with values: two numbers low and high, low below high, higher_is_better, name",
    )
    licence: str = Field(default="", description="text")
    citation: str = Field(default="", description="text")
    display_size: Annotated[list[Annotated[int, Field(ge=1, le=2**15)]], Field(min_length=2, max_length=2)] | None = (
        Field(default=None, description="[height, width] in pixels")
    )
    fit: Literal["crop", "letterbox"] = Field(default="crop", description="crop or letterbox")
    ratings: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        default=None, description="the name of a file in the folder"
    )
    nuisance: Annotated[
        list[str],
        BeforeValidator(lambda names: [names] if isinstance(names, str) else names),
        AfterValidator(_checked_columns),
        Field(max_length=_MOST_NUISANCES),
    ] = Field(
        default=[],
        description=f"the name of a column, or a list of them, names of different columns, {_MOST_NUISANCES} at most",
    )


def read_facts(folder: Path) -> Facts:
    """The facts of a study's folder; the usual ones where it has no `dataset.yaml`.

    Raises:
        InputError: in one line the file, the key, what was found and what was expected.
    """
    path = folder / FACTS
    if not path.is_file():
        if (folder / "dataset.yml").is_file():
            raise InputError(f"{folder / 'dataset.yml'}: expected the name {FACTS}")
        return Facts()
    content = read_yaml(path)
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise InputError(f"{path}: {type(content).__name__}; expected keys {', '.join(Facts.model_fields)}")
    try:
        return Facts.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{path}: {_problem(error, content)}") from None


def _problem(error: ValidationError, content: dict[str, Any]) -> str:
    """The first key that is wrong, what it is, and what was expected."""
    first = error.errors(include_url=False)[0]
    key, *below = first["loc"]
    where, fields, value = "", Facts.model_fields, content.get(str(key))
    if key == "scale" and below:
        where, fields, key = "scale: ", StatedScale.model_fields, below[0]
        value = content["scale"].get(key)
    if first["type"] == "extra_forbidden":
        return f"{where}key {key!r} unknown; expected one of {', '.join(fields)}"
    return f"{where}{key} is {shown(value)}; expected {fields[str(key)].description}"
