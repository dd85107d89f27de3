"""Weights on disk: a safetensors file and, beside it, a JSON card that says what they are. Never pickle."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from iqasuite.errors import InputError
from iqasuite.paths import weights_roots, write_atomic


def save_weights(model: nn.Module, path: Path | str, card: dict | None = None) -> Path:
    """Write `path` (.safetensors) and its card `<path without suffix>.json`, each whole or not at all.

    Args:
        model: made by `iqasuite.models.create`, which notes its architecture and arguments.
        path: ends in .safetensors.
        card: what else the card says: training data, split hash, scale, preprocessing, scores. It names `architecture`
            and `arguments` where the model was not made by `create`.

    Raises:
        InputError: the suffix is another one, or the architecture is unknown.
    """
    path, card = Path(path), {**getattr(model, "card", {}), **(card or {})}
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: weights are written as .safetensors")
    if not {"architecture", "arguments"} <= card.keys():
        raise InputError(f"{path}: the card lacks architecture or arguments (noted by models.create): {sorted(card)}")
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    write_atomic(path, save(state, metadata={"format": "pt"}))
    write_atomic(path.with_suffix(".json"), json.dumps(card, indent=2, ensure_ascii=False) + "\n")
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


def load_weights(path: Path | str) -> tuple[nn.Module, dict]:
    """The model of a safetensors file, in evaluation mode, and its card.

    Raises:
        InputError: file or card missing, another format (a pickle, say), or weights that do not fit the card.
    """
    from iqasuite.models import accepts, create

    path = Path(path)
    card = read_card(path)
    arguments = dict(card["arguments"])
    if accepts(card["architecture"], "pretrained"):
        arguments["pretrained"] = False  # the file holds a pre-trained part as well
    model = create(card["architecture"], **arguments)
    load_into(model, path)
    model.card.update(card)
    return model.eval(), card


def read_card(path: Path | str) -> dict:
    """The card of a weights file: at least `architecture` and `arguments`."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such weights file")
    beside = path.with_suffix(".json")
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: expected .safetensors with its card {beside.name}; pickled weights are not read")
    try:
        card = json.loads(beside.read_text(encoding="utf-8"))
        if not (isinstance(card["architecture"], str) and isinstance(card["arguments"], dict)):
            raise KeyError("architecture")
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{beside}: expected a JSON card with architecture and arguments ({error})") from None
    return card


def load_into(model: nn.Module, path: Path | str) -> None:
    """Give `model` the weights of a safetensors file; all names and shapes must agree.

    Raises:
        InputError: not a safetensors file, or the weights of another architecture or size.
    """
    try:
        state = load_file(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such weights file") from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a safetensors file ({error})") from None
    own = model.state_dict()
    for name in [*own, *state]:
        if name not in state or name not in own:
            where = "lacks" if name not in state else "has an unknown"
            raise InputError(f"{path}: weights of another architecture: the file {where} tensor {name}")
        if own[name].shape != state[name].shape:
            found, expected = tuple(state[name].shape), tuple(own[name].shape)
            raise InputError(f"{path}: weights of another size: tensor {name} is {found}, expected {expected}")
    with torch.no_grad():
        model.load_state_dict(state)
