"""A trained no-reference network in use: scores of images on its own scale, and maps of why.

A predictor takes 8-bit RGB arrays of any size, shows them to its network as the card of the weights says, and gives
scores, categories, distributions of votes and maps. On a processor the same image always gets the same score, alone or
among others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from iqasuite.errors import InputError
from iqasuite.images.crops import grid_crops, normalise
from iqasuite.images.nameable import nameable_features
from iqasuite.models.few_shot import FewShotObserver
from iqasuite.models.heads import distribution, expected_vote
from iqasuite.models.network import LEVELS, Network
from iqasuite.paths import file_hash
from iqasuite.training.few_shot import Observer, Population
from iqasuite.training.levels import Apart, Fitted, score_frame
from iqasuite.training.machine import computes_in_bf16, default_device
from iqasuite.training.outputs import outputs
from iqasuite.weights.catalogue import Entry, find
from iqasuite.weights.files import load_weights

SMALLEST = 32  # pixels of the shorter side
LONGEST = 4.0  # longest side in shorter ones: beyond, an image shown at the network's size would fill the memory


@dataclass(frozen=True)
class Prediction:
    """What a model predicts for one image.

    Attributes:
        score: on the model's own scale, higher = better.
        vote: the same from 1 (low end of the scale) to 5 (high end).
        category: the fifth of the scale that the score lies in (`catalogue.CATEGORIES`).
        distribution: probabilities of the votes 1…5, shape (5,); None for a model that gives one number only.
        intervals: share of images (`LEVELS`) -> low and high end on the model's own scale, between which the mean
            opinion of so many of them lies; empty for a model that does not know.
        features: `images.nameable.NAMES` and the network's main axes, where the predictor measures them.
    """

    score: float
    vote: float
    category: str
    distribution: np.ndarray | None
    intervals: Mapping[float, tuple[float, float]] = field(default_factory=dict)
    features: np.ndarray | None = None


@dataclass(frozen=True)
class Map:
    """What a model predicts for the places of one image.

    Attributes:
        kind: "quality" (votes from 1 to 5, of each neighbourhood alone) or "attention" (shares that sum to 1).
        values: float32 (rows, columns), over the whole image.
    """

    kind: str
    values: np.ndarray


class Predictor:
    """A no-reference network, ready to predict the quality of images.

    Args:
        entry: which one (`catalogue.find`).
        precision: "auto" (bfloat16 where the machine computes in it) or "float32".
        device: None = the GPU where there is one.

    Raises:
        InputError: unknown precision; weights that do not fit their card, of a network that needs a reference, or on a
            scale without ends.
    """

    def __init__(self, entry: Entry, precision: str = "auto", device: str | None = None):
        if entry.needs_reference:
            raise InputError(f"model {entry.name!r} compares an image with its reference; expected a --reference")
        if precision not in ("auto", "float32"):
            raise InputError(f"precision {precision!r}: expected auto or float32")
        if not abs(entry.high - entry.low) > 0:
            raise InputError(f"model {entry.name!r}: scale {entry.scale!r} has no ends; expected low and high")
        self.entry = entry
        self.device = default_device(device)
        network, card = load_weights(entry.path)
        self.observer: Fitted | None = None
        if isinstance(network, FewShotObserver):
            self.observer = _observer(network)
            network, card = load_weights(_trunk(network, entry))
        self.measures = self.observer is not None and self.observer.apart is not None  # features of images, too
        network.fold()  # nothing is trained here
        self.network = network.to(self.device)
        self.half = precision == "auto" and computes_in_bf16(self.device)
        shown = card.preprocessing
        self.shorter_side, self.crop, self.views = shown.shown_at, shown.crop, shown.views

    def shown(self, image: np.ndarray) -> np.ndarray:
        """An image uint8 (H, W, 3) at the size at which this network sees it (bicubic, anti-aliased).

        Raises:
            InputError: an image that is too small or too elongated.
        """
        height, width = image.shape[:2]
        if min(height, width) < SMALLEST or max(height, width) > LONGEST * min(height, width):
            wanted = f"{SMALLEST} or more a side, at most {LONGEST:g} times as long as wide"
            raise InputError(f"an image of {width}×{height} pixels; expected {wanted}")
        if min(height, width) == self.shorter_side:
            return image
        factor = self.shorter_side / min(height, width)
        size = (max(self.shorter_side, round(width * factor)), max(self.shorter_side, round(height * factor)))
        return np.array(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))

    def features(self, shown: np.ndarray, own: np.ndarray) -> np.ndarray | None:
        """`images.nameable.NAMES` (5,) of an image as shown and at its own size, where they are measured."""
        return nameable_features(shown, own) if self.measures else None

    def predict(
        self, images: Sequence[np.ndarray], batch_size: int = 16, features: Sequence[np.ndarray | None] = ()
    ) -> list[Prediction]:
        """Predictions for images uint8 (H, W, 3), in their order.

        On a GPU, those of one size go through the network together, `batch_size` at most, and a score's last digits
        depend on which others go along (1e-4 of a scale to 100). On a CPU each goes alone, so that its score is the
        same bit for bit; a batch would be no quicker for the networks that are slow (500 × 500 pixels: 20 ms an image
        together, 17 alone).
        `features`: of the images at their own size, as the method gives them; () = of these images, measured here.
        """
        shown = [self.shown(image) for image in images]
        features = features or [self.features(*pair) for pair in zip(shown, images, strict=True)]
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for i, image in enumerate(shown):
            by_shape.setdefault(image.shape, []).append(i)
        predictions: dict[int, Prediction] = {}
        n = 1 if self.device.type == "cpu" else batch_size
        for rows in by_shape.values():
            for start in range(0, len(rows), n):
                chosen = rows[start : start + n]
                predicted = self._predicted(np.stack([shown[i] for i in chosen]), [features[i] for i in chosen])
                predictions |= dict(zip(chosen, predicted, strict=True))
        return [predictions[i] for i in range(len(images))]

    def _predicted(self, images: np.ndarray, features: Sequence[np.ndarray | None]) -> list[Prediction]:
        x = torch.from_numpy(images).permute(0, 3, 1, 2)
        views = grid_crops(x, self.crop, self.views) if self.crop else self._whole_patches(x)[:, None]
        (found,) = outputs(self.network, [self._normalised(views)], _with_reach, self.half)
        after = 1 + len(LEVELS)
        votes, reaches, axes, shares = found.cpu().tensor_split([1, after, after + self.network.n_axes], dim=1)
        described = np.column_stack([np.array(features), axes.numpy()]) if self.measures else None
        steps = torch.arange(1, 6, dtype=found.dtype)[:, None]
        if self.observer is not None:
            quality = (shares @ steps if shares.shape[1] else votes)[:, 0]
            shares = torch.from_numpy(self.observer.distribution(score_frame(quality.numpy(), described)))
            reaches = torch.full_like(reaches, math.nan)  # of the trunk's quality, not of this observer's votes
        if shares.shape[1]:
            votes = shares @ steps.to(shares.dtype)
        rows = zip(votes[:, 0].tolist(), reaches.tolist(), shares.numpy(), strict=True)
        made = [self._prediction(vote, reach, share if share.size else None) for vote, reach, share in rows]
        return made if described is None else [replace(p, features=f) for p, f in zip(made, described, strict=True)]

    def _prediction(self, vote: float, reaches: Sequence[float], shares: np.ndarray | None) -> Prediction:
        score = self.entry.score_of(vote)
        intervals = {
            level: (self.entry.score_of(max(vote - reach, 1.0)), self.entry.score_of(min(vote + reach, 5.0)))
            for level, reach in zip(LEVELS, reaches, strict=True)
            if not math.isnan(reach)
        }
        return Prediction(score, vote, self.entry.category(score), shares, intervals)

    def _whole_patches(self, x: Tensor) -> Tensor:
        patch = self.network.patch_size  # nothing is shown of what is left over at the right and at the bottom
        height, width = (side // patch * patch for side in x.shape[-2:])
        return x[..., :height, :width]

    def _normalised(self, x: Tensor) -> Tensor:
        return normalise(x.to(self.device), self.network.mean, self.network.std)

    @torch.inference_mode()
    def map(self, image: np.ndarray) -> Map:
        """Where in an image uint8 (H, W, 3) the network finds its quality, or what it attends to.

        A mobile network gives a quality map, the others an attention map (last layer, mean over heads).
        """
        whole = torch.from_numpy(self.shown(image)).permute(2, 0, 1)[None]
        x = self._normalised(self._whole_patches(whole))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            local = self.network.local(x)
        if local is not None:
            logits = local[0]  # (classes, rows, columns)
            votes = expected_vote(logits.flatten(1).T) if len(logits) > 1 else logits[0].clamp(1, 5)
            return Map("quality", votes.view(logits.shape[-2:]).float().cpu().numpy())
        attention = self.network.attention_map(x)
        if attention is None:
            raise InputError(f"model {self.entry.name!r} ({self.entry.architecture}) has no map")
        return Map("attention", (attention / attention.sum()).float().cpu().numpy())


def _observer(network: FewShotObserver) -> Fitted:
    population = Population(**network.population)  # type: ignore[arg-type]  # as a card has it
    names, of = population.features, None
    if names:
        of = Apart(names, *(network.get_buffer(name).numpy() for name in ("curves", "spread")))
    observer = Observer(population, network.estimate.numpy(), network.covariance.numpy())
    return Fitted(network.level, observer, network.quality_sd, of, "")


def _trunk(network: FewShotObserver, entry: Entry) -> Path:
    """The weights of an observer's trunk, which must be those that the observer was fitted behind."""
    trunk = find(network.trunk)
    if file_hash(trunk.path) != network.trunk_hash:
        raise InputError(
            f"{entry.path}: was fitted behind another {network.trunk} than {trunk.path}; fit it again: iqasuite train "
            "--data FOLDER --observer NAME"
        )
    return trunk.path


def votes_or_distributions(network: nn.Module, views: Tensor) -> Tensor:
    """Votes (B,), or distributions of them (B, 5), that a network predicts, float64, averaged over views (B, n, …)."""
    return _averaged(network(views.flatten(0, 1)), views)


def _averaged(out: Tensor, views: Tensor) -> Tensor:
    out = out.float()
    predicted = (out if out.ndim == 1 else distribution(out)).double().unflatten(0, views.shape[:2]).mean(1)
    return predicted.clamp(1, 5) if out.ndim == 1 else predicted


def _with_reach(network: Network, views: Tensor) -> Tensor:
    """Vote, how far each of `LEVELS` reaches, main axes, and distribution, float64 (B, 1 + 3 + n_axes + 5, or + 0).

    The vote is nan where there is a distribution, a reach where the network does not know it.
    """
    out, reach, axes = network.with_reach(views.flatten(0, 1))
    predicted = _averaged(out, views)
    one_number = predicted.ndim == 1
    votes = predicted[:, None] if one_number else torch.full_like(predicted[:, :1], math.nan)
    if reach is None:
        reaches = votes.new_full((len(votes), len(LEVELS)), math.nan)
    else:
        reaches = reach.double().unflatten(0, views.shape[:2]).mean(1)
    place = votes[:, :0] if axes is None else axes.double().unflatten(0, views.shape[:2]).mean(1)
    return torch.cat([votes, reaches, place, votes[:, :0] if one_number else predicted], dim=1)


def load_predictor(name: Path | str, precision: str = "auto") -> Predictor:
    """The predictor of a model by name or file, see `catalogue.find` and `Predictor`."""
    return Predictor(find(name), precision)


def enlarged(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Maps (…, rows, columns) brought to `size` (height, width) by bilinear interpolation, float32."""
    x = torch.from_numpy(np.ascontiguousarray(maps, dtype=np.float32)).reshape(-1, 1, *np.shape(maps)[-2:])
    large = F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)
    return large.reshape(*np.shape(maps)[:-2], *size).numpy()
