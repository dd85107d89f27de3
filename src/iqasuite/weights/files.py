"""Weights on disk: a safetensors file and, beside it, a JSON card that says what they are. Never pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from iqasuite.errors import InputError
from iqasuite.models.network import Network
from iqasuite.paths import replacing, weights_roots
from iqasuite.weights.card import Card, made_card, read_model_card


def save_weights(model: nn.Module, path: Path | str, card: Mapping[str, Any] | None = None) -> Path:
    """Write `path` (.safetensors) and its card `<path without suffix>.json`, each whole or not at all.

    Args:
        model: made by `iqasuite.models.create`, which notes its architecture and arguments.
        path: ends in .safetensors.
        card: facts for its card (`weights.card.Card`) besides those of the weights it was loaded with: training data,
            split hash, scale, preprocessing, scores.

    Raises:
        InputError: the suffix is another one, the model was not made by `create`, or the card says what none may.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: weights are written as .safetensors")
    if not isinstance(model, Network) or not model.architecture:
        raise InputError(
            f"{path}: {type(model).__name__} has no known architecture; expected a network of models.create"
        )
    made = {"architecture": model.architecture, "arguments": model.arguments}
    facts = (model.card.facts() if model.card else {}) | dict(card or {}) | made
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    beside = path.with_suffix(".json")
    described = f"{made_card(facts, beside)}\n"
    with replacing(beside) as of_card, replacing(path) as file:
        of_card.write(described.encode())
        of_card.flush()
        file.write(save(state, metadata={"format": "pt"}))
        file.flush()
        beside.unlink(missing_ok=True)  # both are on disk; of a kill from here on, no weights have another's card
    return path


def find_weights(name: Path | str) -> Path:
    """A weights file by its path, or by its name (with or without ending) in the weights folders.

    Raises:
        InputError: there is none.
    """
    places = [Path(name), *(root / file for root in weights_roots() for file in (name, f"{name}.safetensors"))]
    found = [path for path in places if path.is_file()]
    if not found:
        folders = ", ".join(str(root) for root in weights_roots())
        raise InputError(f"weights {str(name)!r}: no such file, here or in the weights folders ({folders})")
    return found[0]


def load_weights(path: Path | str) -> tuple[Network, Card]:
    """The model of a safetensors file, in evaluation mode, and its card.

    Raises:
        InputError: file or card missing, another format (a pickle, say), weights that do not fit the card, or a
            broken card.
    """
    path = Path(path)
    card, state = read_card(path), _tensors(path)
    with torch.device("meta"):  # what the card asks for takes no memory before it is known to fit the file
        outline = _created(card, path)
    _check(outline, state, path)
    model = _created(card, path)
    model.load_state_dict(state)
    model.arguments, model.card = card.arguments, card
    return model.eval(), card


def read_card(path: Path | str) -> Card:
    """The card of a weights file.

    Raises:
        InputError: file or card missing, or a broken card (`card.read_model_card`).
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such weights file")
    beside = path.with_suffix(".json")
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: expected .safetensors with its card {beside.name}; pickled weights are not read")
    return read_model_card(beside)


def load_into(model: nn.Module, path: Path | str) -> None:
    """Give `model` the weights of a safetensors file; all names and shapes must agree, all numbers be finite.

    Raises:
        InputError: not a safetensors file, weights of another architecture or size, or damaged ones; the model is then
            as it was.
    """
    state = _tensors(path)
    _check(model, state, path)
    model.load_state_dict(state)


def _created(card: Card, path: Path) -> Network:
    """The model that a card describes, without a download: the file holds a pre-trained part as well."""
    from iqasuite.models import accepts, create

    pretrained = {"pretrained": False} if accepts(card.architecture, "pretrained") else {}
    try:
        return create(card.architecture, **card.arguments | pretrained)
    except Exception as error:  # whatever an architecture says of arguments that it cannot be built with
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path.with_suffix('.json')}: {reason}") from None


def _tensors(path: Path | str) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such weights file") from None
    except (SafetensorError, OSError, ValueError, KeyError, MemoryError) as error:
        raise InputError(f"{path}: not a safetensors file ({error})") from None


def _check(model: nn.Module, state: dict[str, Tensor], path: Path | str) -> None:
    """Whether the tensors of a file are those of a model, each of finite numbers in the model's precision."""
    own = model.state_dict()
    for name in {**own, **state}:
        if name not in state or name not in own:
            where = "lacks" if name not in state else "has an unknown"
            raise InputError(f"{path}: weights of another architecture: the file {where} tensor {name}")
        if own[name].shape != state[name].shape:
            found, expected = tuple(state[name].shape), tuple(own[name].shape)
            raise InputError(f"{path}: weights of another size: tensor {name} is {found}, expected {expected}")
        kind = own[name].dtype if own[name].is_floating_point() else torch.float64
        if not torch.isfinite(state[name].to(kind)).all():
            raise InputError(
                f"{path}: damaged weights: tensor {name} has NaN or infinite numbers, expected finite ones"
            )
