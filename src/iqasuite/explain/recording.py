"""Artificial observers (AIOs) from their files, and what each of them attends to, recorded one image at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import nn

from iqasuite.errors import InputError
from iqasuite.explain.attention import layer_head_maps
from iqasuite.images.crops import normalise
from iqasuite.names import natural_order
from iqasuite.paths import weights_roots
from iqasuite.weights.card import Card
from iqasuite.weights.files import load_weights, read_card

if TYPE_CHECKING:
    from iqasuite.models.vit_iqa import ViTIQA

LARGEST = 4 * 2**30  # bytes of one view's recorded attention, of which the class token's row is then kept


def load_aios(
    folder: Path | str, pattern: str, device: torch.device | str = "cpu"
) -> tuple[dict[str, nn.Module], dict[str, Card]]:
    """The AIOs of several observers, made by one method on one fold.

    Args:
        folder: holds `<run>.safetensors` with cards that name `observer`, `fold` and `display_size`; where none
            matches, the weights folders are looked into.
        pattern: of run names, such as "aio_*_0" or "demo_aios/Obs*"; weights of nobody in particular (observer ""), and
            of networks from before their refit ("…_chosen"), are left out.
        device: where the models go.

    Returns:
        Models and cards by observer, in natural order. Frozen stems that are equal are one and the same object, so that
        `record` computes them once.

    Raises:
        InputError: fewer than two observers, two files of one, or cards of several folds, methods or display sizes.
    """
    files: dict[str, Path] = {}
    folders = (Path(folder), *weights_roots())
    for path in next((match for at in folders if (match := sorted(at.glob(f"{pattern}.safetensors")))), []):
        card = read_card(path)
        if path.stem.endswith("_chosen") and "observer" not in card.model_fields_set:
            continue  # a network from before its refit (`training.aio.chosen_file`)
        missing = [key for key in ("observer", "fold") if key not in card.model_fields_set]
        missing += [] if card.preprocessing.display_size else ["display_size"]
        if missing:
            raise InputError(f"{path.with_suffix('.json')}: card lacks {', '.join(missing)}; expected those of an AIO")
        observer = card.observer
        if observer in files:
            raise InputError(f"{path}: a second AIO of {observer!r} beside {files[observer].name}, expected one each")
        if observer not in ("", "everybody"):
            files[observer] = path
    if len(files) < 2:
        raise InputError(
            f"{folder}: {pattern!r} matches AIOs of {len(files)} observers, expected two or more to compare"
        )
    models: dict[str, nn.Module] = {}
    cards: dict[str, Card] = {}
    for observer in natural_order(list(files)):
        model, card = load_weights(files[observer])
        first = next(iter(cards.values()), card)
        for key, value in _method(card).items():
            expected = _method(first)[key]
            if value != expected:
                raise InputError(f"{files[observer]}: {key} is {value}, expected {expected} as in the others")
        models[observer], cards[observer] = model, card
    _share_frozen_stems(list(models.values()))
    return {observer: model.to(device) for observer, model in models.items()}, cards


def _method(card: Card) -> dict[str, object]:
    shown, arguments = card.preprocessing.display_size, card.arguments
    return {"fold": card.fold, "display_size": shown, "architecture": card.architecture, "arguments": arguments}


def _share_frozen_stems(models: list[nn.Module]) -> None:
    known: list[nn.Module] = []
    for model in models:
        stem = model.get_submodule("stem")
        if any(p.requires_grad for p in stem.parameters()):
            continue
        state = stem.state_dict()
        same = next((s for s in known if all(torch.equal(state[k], v) for k, v in s.state_dict().items())), None)
        if same is None:
            known.append(stem)
        else:
            model.stem = same


@torch.inference_mode()
def record(models: Mapping[str, nn.Module], views: Iterable[np.ndarray]) -> np.ndarray:
    """What the class token of every AIO attends to, in every layer and head, for every view.

    One view is in memory at a time; of its attention (depth × heads × (N + 1)² numbers) the class token's row is kept.

    Args:
        models: ViT-IQAs by observer, of one shape.
        views: uint8 (H, W, 3); a generator will do.

    Returns:
        float32 (aios, views, depth, heads, rows, columns).

    Raises:
        InputError: the views have so many places that the attention of one of them would not fit into `LARGEST` bytes.
    """
    recorded: list[list[np.ndarray]] = []
    for view in views:
        tokens: dict[int, torch.Tensor] = {}
        of_view = []
        for model in (cast("ViTIQA", model) for model in models.values()):
            x = torch.from_numpy(np.ascontiguousarray(view)).permute(2, 0, 1)[None].to(model.mean.device)
            if id(model.stem) not in tokens:
                tokens[id(model.stem)] = model.stem(normalise(x, model.mean, model.std))
            _check_size(model, tokens[id(model.stem)].shape[1], x.shape[-2:])
            _, attention = model.trunk.attention(model.reduce(tokens[id(model.stem)]), model.grid(x))
            of_view.append(layer_head_maps(attention, model.grid(x))[0])
        recorded.append(of_view)
    return np.stack([np.stack(of_view) for of_view in recorded], axis=1)


def _check_size(model: ViTIQA, n_tokens: int, size: Sequence[int]) -> None:
    layers = model.trunk.transformer.layers
    needed = 4 * len(layers) * layers[0][0].heads * (n_tokens + 1) ** 2
    if needed > LARGEST:
        raise InputError(
            f"views of {size[1]}×{size[0]} px: attention between {n_tokens} places takes {needed / 2**30:.1f} GiB, "
            f"expected at most {LARGEST / 2**30:.0f}; make the views smaller"
        )
