"""Predictions of full-reference networks for pairs: the same pair always gets the same score, whatever beside it.

Scores are averaged over test-time views and over the networks of an ensemble; their spread tells how sure they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from iqasuite.errors import InputError
from iqasuite.images.crops import normalise
from iqasuite.images.lightness import scaled_lightness
from iqasuite.models.network import Network
from iqasuite.models.siamese_fr import SMALLEST
from iqasuite.training.machine import default_device
from iqasuite.training.outputs import outputs
from iqasuite.weights.card import Card
from iqasuite.weights.catalogue import PAIRS
from iqasuite.weights.files import load_weights, read_card, save_weights

Images = Sequence[np.ndarray] | np.ndarray
SCALES = ("ACR", "Elo", "MOS", "pseudo-label")
_AT_ONCE = 16  # tiles


@dataclass(frozen=True)
class View:
    """One way to look at a pair.

    Attributes:
        turns: quarter turns counter-clockwise.
        mirrored: left to right, before turning.
        lightness: factor of L of Lab.
    """

    turns: int = 0
    mirrored: bool = False
    lightness: float = 1.0


ONE = (View(),)
# Four rotations times {as is, left to right, upside down, both} are 16 combinations and only 8 different images, the
# symmetries of the square: upside down is mirrored and turned by 180°, both is turned by 180°.
EIGHT = tuple(View(turns, mirrored) for mirrored in (False, True) for turns in range(4))
# The study's 22 were 4 rotations, 3 mirrorings and 15 factors of lightness, one after another. Two of these repeat:
# lightness 1.0 is the image itself (rotation 0) again, and mirroring both ways is the rotation by 180°. 20 are left.
_DARKER_AND_LIGHTER = tuple(View(lightness=tenths / 10) for tenths in range(1, 16) if tenths != 10)
STUDY = (*(View(turns) for turns in range(4)), View(0, True), View(2, True), *_DARKER_AND_LIGHTER)
VIEWS: Mapping[str, tuple[View, ...]] = {"one": ONE, "eight": EIGHT, "study": STUDY}


class PairPredictor:
    """Full-reference networks of one scale, ready to compare distorted images with their references.

    Args:
        networks: one, or an ensemble of several.
        views: for each network all of them.
        tile: side of square tiles, from border to border and with as little overlap as that needs, whose scores are
            averaged: networks trained on crops then see what they saw in training, and memory does not grow with the
            image. Where a side is shorter than it, tiles have that side. None = whole images.
        reduce_to: larger pairs are seen from further away: first averaged over squares of n×n pixels, n their shorter
            side over this one, rounded, at least 1. It is the shorter side of the photographs that training crops were
            cut from, so that things have the size that they had in training. None = every pixel counts.

    Raises:
        InputError: no network, networks of different scales, no or repeated views, tile or reduce_to below 128.

    Reference: whole factors are SSIM's (Z. Wang et al., IEEE Trans. Image Processing 13, 2004), whose authors bring
        every image near to 256 pixels.
    """

    def __init__(
        self,
        networks: nn.Module | Sequence[nn.Module],
        views: Sequence[View] = ONE,
        tile: int | None = None,
        reduce_to: int | None = None,
    ):
        self.networks = [networks] if isinstance(networks, nn.Module) else list(networks)
        self.views, self.tile, self.reduce_to = views, tile, reduce_to
        if not self.networks:
            raise InputError("predict_pairs: no model, expected one or more")
        cards = [network.card if isinstance(network, Network) else None for network in self.networks]
        scales = sorted({card.scale.name if card and card.scale.name else "not noted" for card in cards})
        self.scale = scales[0]
        if len(scales) > 1:
            raise InputError(f"predict_pairs: models on scales {', '.join(scales)}; expected an ensemble on one scale")
        if not views or len(set(views)) < len(views):
            raise InputError(f"predict_pairs: {len(views)} views, {len(set(views))} different; expected each once")
        for name, side in (("tile", tile), ("reduce_to", reduce_to)):
            if side is not None and side < SMALLEST:
                raise InputError(f"predict_pairs: {name} is {side}, expected {SMALLEST} or more")

    def predict(self, reference: Images, distorted: Images) -> tuple[np.ndarray, np.ndarray]:
        """Scores (n,) of pairs, and their standard deviation (n,) over views and networks (n − 1).

        The deviation is nan where there is but one view and network. It is of the predictions of these networks, not of
        observers. Arguments and errors as of `view_scores`.
        """
        values = self.view_scores(reference, distorted)
        values = values.reshape(len(values), values.shape[1] * values.shape[2])
        spread = values.std(axis=1, ddof=1) if values.shape[1] > 1 else np.full(len(values), np.nan)
        return values.mean(axis=1), spread

    def view_scores(self, reference: Images, distorted: Images) -> np.ndarray:
        """Scores of each pair, network and view, float64 (n, networks, views).

        Each view of each pair is a batch of its own, so that no score depends on what it is computed together with.

        Args:
            reference, distorted: uint8 (n, H, W, 3), or n arrays (H, W, 3) whose sizes may differ from pair to pair;
                128 pixels a side or more.

        Raises:
            InputError: not as many references as distorted images, a pair of different or too small sizes, images that
                are not uint8 (H, W, 3).
        """
        _check(reference, distorted)
        values = np.empty((len(reference), len(self.networks), len(self.views)))
        for i, (r, d) in enumerate(zip(reference, distorted, strict=True)):
            pair = _reduced(torch.from_numpy(np.stack([r, d])).permute(0, 3, 1, 2), self.reduce_to)
            for j, view in enumerate(self.views):
                seen = _viewed(pair, view)
                for k, network in enumerate(self.networks):
                    values[i, k, j] = _score(network, seen, self.tile)
        return values


def predict_pairs(
    models: nn.Module | Sequence[nn.Module],
    reference: Images,
    distorted: Images,
    views: Sequence[View] = ONE,
    tile: int | None = None,
    reduce_to: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of pairs, averaged over views and models, and how much these differ.

    Args:
        models, views, tile, reduce_to: of `PairPredictor`.
        reference, distorted: of `PairPredictor.view_scores`.

    Returns:
        As `PairPredictor.predict`: scores (n,) and their standard deviations (n,).

    Raises:
        InputError: as there.
    """
    return PairPredictor(models, views, tile, reduce_to).predict(reference, distorted)


def load_pair_predictor(paths: Sequence[Path | str], views: Sequence[View] = ONE) -> PairPredictor:
    """Networks of `save_full_reference`, shown pairs as their cards say, on the GPU where there is one.

    Raises:
        InputError: as `load_full_reference` and `PairPredictor`; cards with different scales, tiles or sizes.
    """
    loaded = [load_full_reference(path) for path in paths]
    scales, shown = [card.scale.name for _, card in loaded], [card.preprocessing for _, card in loaded]
    tiles, reductions = [each.tile for each in shown], [each.reduce_to for each in shown]
    for key, values in (("scale", scales), ("tile", tiles), ("reduce_to", reductions)):
        if len(set(values)) > 1:
            several = ", ".join(sorted(map(str, set(values))))
            raise InputError(f"score: models with {key} {several}; expected an ensemble with one")
    networks = [network.to(default_device(None)) for network, _ in loaded]
    return PairPredictor(networks, views, *tiles[:1], *reductions[:1])


def error_maps(model: nn.Module, reference: np.ndarray, distorted: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Where a network's encoder sees that images differ from their reference.

    Args:
        model: of `training.pairs`.
        reference: uint8 (H, W, 3).
        distorted: n images of the same size.

    Returns:
        n maps float32 (H, W), 0 or more.
    """
    images = torch.from_numpy(np.stack([reference, *distorted])).permute(0, 3, 1, 2)

    def difference(network: Any, x: Tensor) -> Tensor:
        x = normalise(x, network.mean, network.std)
        return network.error_map(x[:1].expand(len(distorted), -1, -1, -1), x[1:])

    (maps,) = outputs(model, [images], difference)
    return list(maps.float().cpu().numpy())


def save_full_reference(
    model: nn.Module,
    path: Path | str,
    scale: str,
    trained_on: str,
    scores: Mapping[str, float] | None = None,
    tile: int | None = None,
    reduce_to: int | None = None,
    **more: object,
) -> Path:
    """Weights and card of a full-reference network, with what its scores mean.

    Args:
        model: of `training.pairs`.
        path: ends in .safetensors.
        scale: of the scores, one of `SCALES`: "pseudo-label" where nobody voted.
        trained_on: data set and part, in words.
        scores: what it reached, by name ("srocc, held-out contents").
        tile, reduce_to: how it is to be shown images, see `predict_pairs`.
        more: further facts for the card: split hash, seed, losses, which pre-training.

    Raises:
        InputError: unknown scale, or as `weights.files.save_weights`.
    """
    if scale not in SCALES:
        raise InputError(f"scale {scale!r}: expected one of {', '.join(SCALES)}")
    targets = {f"target_{name}": model.get_buffer(f"dense.{name}").item() for name in ("mean", "std")}
    meaning = {"scale": {"name": scale, "low": None, "high": None}, "higher_is_better": True, **targets}
    shown = {"tile": tile, "reduce_to": reduce_to}
    facts = {"trained_on": trained_on, "preprocessing": shown, "scores": dict(scores or {})}
    return save_weights(model, path, {**more, **meaning, **facts})


def load_full_reference(path: Path | str) -> tuple[Network, Card]:
    """A network of `save_full_reference`, in evaluation mode, and its card.

    Raises:
        InputError: as `weights.files.load_weights`: also where the weights are of another variant than the card says;
            weights of a network that compares no pairs; a card without a scale.
    """
    card = read_card(path)
    if card.architecture not in PAIRS:
        known = ", ".join(PAIRS)
        raise InputError(f"{path}: weights of {card.architecture}; expected a full-reference network ({known})")
    if card.scale.name not in SCALES:
        scale = f"scale {card.scale.name!r}"
        raise InputError(f"{Path(path).with_suffix('.json')}: {scale}; expected one of {', '.join(SCALES)}")
    return load_weights(path)


def _reduced(pair: Tensor, to: int | None) -> Tensor:
    """uint8 (2, 3, H, W), averaged over squares; what is left over at the right and at the bottom is cut off."""
    side = min(pair.shape[2:])
    factor = 1 if to is None else max(1, min(round(side / to), side // SMALLEST))
    return pair if factor == 1 else F.avg_pool2d(pair.float(), factor).round().to(torch.uint8)


def _viewed(pair: Tensor, view: View) -> Tensor:
    """Reference and distorted, uint8 (2, 3, H, W), as a view has them."""
    pair = pair if view.lightness == 1 else scaled_lightness(pair, [view.lightness] * 2)
    return (pair.flip(-1) if view.mirrored else pair).rot90(view.turns, (-2, -1))


def _score(network: nn.Module, pair: Tensor, tile: int | None) -> float:

    def compared(_: nn.Module, tiles: Tensor) -> Tensor:
        return network(*normalise(tiles, network.get_buffer("mean"), network.get_buffer("std")))

    total, count = 0.0, 0
    for scores in outputs(network, _batches(pair, tile), compared):
        total, count = total + scores.double().sum().item(), count + len(scores)
    return total / count


def _batches(pair: Tensor, tile: int | None) -> Iterator[Tensor]:
    """A pair's tiles (2, at most 16, 3, h, w); without a tile, the whole pair (2, 1, 3, H, W)."""
    if tile is None:
        yield pair[:, None].contiguous()
        return
    height, width = (min(tile, side) for side in pair.shape[2:])
    tops, lefts = _places(pair.shape[2], height), _places(pair.shape[3], width)
    places = [(top, left) for top in tops for left in lefts]
    for start in range(0, len(places), _AT_ONCE):
        cut = [pair[:, :, t : t + height, w : w + width] for t, w in places[start : start + _AT_ONCE]]
        yield torch.stack(cut, dim=1)


def _places(side: int, tile: int) -> list[int]:
    """Where tiles begin so that they reach from border to border."""
    return np.linspace(0, side - tile, math.ceil(side / tile)).round().astype(int).tolist()


def _check(reference: Images, distorted: Images) -> None:
    if len(reference) != len(distorted):
        raise InputError(f"predict_pairs: {len(reference)} references, {len(distorted)} distorted; expected as many")
    for i, (r, d) in enumerate(zip(reference, distorted, strict=True)):
        for what, image in (("reference", r), ("distorted", d)):
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                form = f"{image.dtype} {image.shape}"
                raise InputError(f"pair {i}: {what} is {form}; expected 8-bit RGB, uint8 (H, W, 3)")
        if r.shape != d.shape or min(r.shape[:2]) < SMALLEST:
            sizes = f"reference {r.shape[1]}×{r.shape[0]}, distorted {d.shape[1]}×{d.shape[0]} pixels"
            raise InputError(f"pair {i}: {sizes}; expected one size, {SMALLEST} or more on each side")
