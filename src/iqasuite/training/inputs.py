"""How a data set's images reach a network: as cached pixels, or as what its frozen part makes of them, stored.

Three ways, told apart by what is trained: all of the network (`PixelInputs`), the trunk behind a frozen stem, or the
head behind a frozen trunk (`StoredInputs`). Each gives batches for the training loop and tells which module they go to.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from iqasuite.datasets.dataset import Dataset
from iqasuite.errors import InputError
from iqasuite.images.cache import open_cache, shown_as
from iqasuite.images.crops import normalise
from iqasuite.models.spectrum import JoinedTokens
from iqasuite.paths import cache_root, file_hash, locked, replacing
from iqasuite.training.batches import ArrayBatches, ImageBatches, Viewing
from iqasuite.training.machine import progress
from iqasuite.training.outputs import Step, forward, outputs

if TYPE_CHECKING:
    from iqasuite.models.vit_iqa import ViTIQA

logger = logging.getLogger(__name__)


class PixelInputs:
    """Images from the decode-once cache: random crops to train on, a fixed grid of crops to validate on.

    Args:
        dataset: its images are brought to `size`, those of another aspect by its `fit`.
        size: (height, width) in pixels at which they are shown.
        crop: side of the crops in pixels; None = whole images.
        views: crops a side of the fixed grid; 0 = whole images where nothing is trained.

    Raises:
        InputError: images that are parts of files.
    """

    def __init__(self, dataset: Dataset, size: tuple[int, int], crop: int | None = None, views: int = 1):
        self.images = {image: i for i, image in enumerate(dataset.images["image"])}
        if dataset.regions:  # the cache would hold whole files in their place
            raise InputError(
                f"{dataset.name}: its images are parts of files, which are read for a frozen stem only; "
                "expected tune='trunk'"
            )
        self.cache = open_cache([dataset.path(image) for image in self.images], size, fit=dataset.fit)
        self.crop, self.views = crop, views

    def pixels(self, image: str) -> np.ndarray:
        """An image as it is shown, uint8 (height, width, 3)."""
        return self.cache[[self.images[image]]][0]

    def network(self, model: nn.Module) -> nn.Module:
        """What is trained: all of the model."""
        return model

    def given(self, model: nn.Module, images: Sequence[str]) -> Tensor:
        """What the model is given of these images (n, views, 3, h, w), always the same, on its device."""
        pixels = self.cache[[self.images[image] for image in images]]
        return self._viewing(model).fixed(pixels, model.get_buffer("mean").device)

    def batches(
        self, model: nn.Module, images: Sequence[str], targets: Tensor, batch_size: int, seed: int, train: bool
    ) -> ImageBatches:
        """Batches of these images with these targets (n, 5)."""
        indices = [self.images[image] for image in images]
        viewing = self._viewing(model)
        return ImageBatches(self.cache, indices, targets, viewing, batch_size, seed, train, self.cache.key)

    def _viewing(self, model: nn.Module) -> Viewing:
        return Viewing(self.crop, self.views, model.get_buffer("mean"), model.get_buffer("std"))


class StoredInputs:
    """What the frozen part of a model makes of every image, computed once and stored in half precision.

    Args:
        arrays: (n images, views, …), several where the channels of several stems lie side by side.
        images: names, in the order of the arrays.
        part: "trunk" (arrays are tokens (N, C)) or "head" (the array is the trunk's features (dim,)).
        drop: share of the tokens replaced by their mean in training, as patches that nobody looked at.
        key: tells the arrays from those of other images, sizes and weights; part of the batches' signature.
    """

    def __init__(
        self, arrays: Sequence[np.ndarray], images: Sequence[str], part: str, drop: float = 0.0, key: str = ""
    ):
        self.arrays, self.images = tuple(arrays), {image: i for i, image in enumerate(images)}
        self.part, self.drop, self.key = part, drop, key
        self.crop, self.views = None, self.arrays[0].shape[1]

    def network(self, model: nn.Module) -> nn.Module:
        """What is trained: the part of the model that follows what is stored."""
        trunk = cast("ViTIQA", model).trunk
        return trunk if self.part == "trunk" else trunk.mlp_head

    def stored(self, images: Sequence[str]) -> Tensor:
        """Stored arrays (n, views, …), float32."""
        rows = [self.images[image] for image in images]
        return torch.from_numpy(np.concatenate([array[rows] for array in self.arrays], axis=-1).astype(np.float32))

    @torch.inference_mode()
    def given(self, model: nn.Module, images: Sequence[str]) -> Tensor:
        """What the trained part of the model is given of these images (n, views, …), on the CPU."""
        stored, vit = self.stored(images), cast("ViTIQA", model)
        return vit.reduce(stored.to(vit.mean.device)).cpu() if self.part == "trunk" else stored

    def batches(
        self, model: nn.Module, images: Sequence[str], targets: Tensor, batch_size: int, seed: int, train: bool
    ) -> ArrayBatches:
        """Batches of all views of these images, each with its image's target (n, 5)."""
        given = self.given(model, images).clone()  # out of inference mode
        targets = torch.as_tensor(targets).repeat_interleave(given.shape[1], dim=0)
        augment = self._augment(model) if train and self.part == "trunk" else None
        source = f"{self.key} {self.drop} {list(images)}"
        return ArrayBatches(given.flatten(0, 1), targets, batch_size, train, seed, augment, source)

    def _augment(self, model: nn.Module) -> Callable[[Tensor, torch.Generator], Tensor]:
        trunk = cast("ViTIQA", model).trunk
        (rows, columns), n_scales = trunk.grid, trunk.n_scales

        def augment(tokens: Tensor, generator: torch.Generator) -> Tensor:
            flipped = tokens.unflatten(1, (n_scales, rows, columns)).flip(3).flatten(1, 3)
            mirror = torch.rand(len(tokens), 1, 1, generator=generator) < 0.5
            tokens = torch.where(mirror, flipped, tokens)
            unseen = torch.rand(*tokens.shape[:2], 1, generator=generator) < self.drop
            return tokens.masked_fill(unseen, 0)  # reduced tokens have mean 0

        return augment


def inputs_for(
    model: nn.Module,
    dataset: Dataset,
    tune: str,
    size: tuple[int, int],
    crop: int | None = None,
    views: int = 1,
    drop: float = 0.0,
) -> PixelInputs | StoredInputs:
    """How images reach a model of which `tune` is trained: "all" of it, its "trunk" or its "head".

    Args:
        model: a network; for "trunk" and "head" with the parts of `ViTIQA`.
        dataset: its images.
        tune: what is trained.
        size: (height, width) in pixels at which images are shown.
        crop, views: of `PixelInputs`; not for "trunk", whose stem sees whole images.
        drop: of `StoredInputs`, for "trunk".
    """
    if tune == "trunk":
        return stem_tokens(model, dataset, size, drop)
    if tune not in ("all", "head"):
        raise InputError(f"tune is {tune!r}, expected one of all, trunk, head")
    pixels = PixelInputs(dataset, size, crop, views)
    return pixels if tune == "all" else trunk_features(model, pixels)


def stem_tokens(model: nn.Module, dataset: Dataset, size: tuple[int, int], drop: float = 0.0) -> StoredInputs:
    """Tokens of the frozen stem for every image shown at `size`, from the cache folder where they are there already.

    Stems that are joined are stored one by one, so that networks with other combinations find them, too.

    Raises:
        InputError: the stem is trained, so its tokens change.
    """
    vit = cast("ViTIQA", model)
    if any(p.requires_grad for p in vit.stem.parameters()):
        raise InputError("stem_tokens: the stem is trained; freeze it (stem={'freeze': True}) or train on pixels")
    images = dataset.images["image"].tolist()

    def pixels(image: str) -> Tensor:
        return torch.from_numpy(dataset.read(image, size)).permute(2, 0, 1)[None]

    def tokens(stem: nn.Module, x: Tensor) -> Tensor:
        return step(stem, normalise(x, vit.mean, vit.std))

    def described(image: str) -> str:
        part = list(dataset.regions[image][1]) if image in dataset.regions else ""
        return f"{shown_as(file_hash(dataset.path(image)), dataset.shape(image), size, dataset.fit)}{part}"

    joined = isinstance(vit.stem, JoinedTokens)
    stems: list[Any] = list(cast("JoinedTokens", vit.stem).stems) if joined else [vit.stem]
    step = JoinedTokens.of_stem if joined else forward
    shown = [size, *map(described, images)]
    keys = [_key("stem", stem, shown) for stem in stems]
    arrays = [_stored(key, stem, images, pixels, tokens) for key, stem in zip(keys, stems, strict=True)]
    return StoredInputs(arrays, images, "trunk", drop, " ".join(keys))


def trunk_features(model: nn.Module, inputs: PixelInputs) -> StoredInputs:
    """The trunk's features before the head, of every image's fixed views, for training the head alone."""
    vit = cast("ViTIQA", model)
    network = nn.ModuleList([vit.stem, vit.reduce, vit.trunk])
    images = list(inputs.images)

    def views(image: str) -> Tensor:
        return inputs.given(model, [image])[0]

    def features(_: nn.Module, x: Tensor) -> Tensor:
        return vit.trunk.features(vit.reduce(vit.stem(x)), vit.grid(x))

    key = _key("trunk", network, [str(inputs.cache.path.name), inputs.crop, inputs.views])
    return StoredInputs([_stored(key, network, images, views, features)], images, "head", key=key)


def _key(kind: str, network: nn.Module, described: list) -> str:
    # Scales, cells or heads leave no trace in weights and names: the modules' own settings tell such networks apart.
    settings = [
        {key: value for key, value in sorted(vars(module).items()) if isinstance(value, (int, float, str, tuple))}
        | {"training": None, "name": name}
        for name, module in network.named_modules()
    ]
    digest = hashlib.sha256(json.dumps([kind, repr(network), settings, described]).encode())
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


def _stored(
    key: str, network: nn.Module, images: Sequence[str], shown: Callable[[str], Tensor], step: Step
) -> np.ndarray:
    """float16 array (n, views, …) of what `step` makes of each image as it is `shown`, from disk or made now."""
    path = cache_root() / "tokens" / f"{key}.npy"
    arrays = _opened(path, len(images))
    if arrays is None:
        with locked(path):  # a batch's jobs want the same tokens at the same time: one of them computes
            arrays = _opened(path, len(images))
            if arrays is None:
                logger.info("computing what the frozen network makes of %d images", len(images))
                batches = map(shown, progress(images, "tokens"))
                _compute(path, len(images), outputs(network, batches, step, half=True))
                arrays = _opened(path, len(images))
    assert arrays is not None  # it was just written, whole
    return arrays


def _opened(path: Path, n: int) -> np.ndarray | None:
    """What is stored, read from disk as it is needed; None where it is absent or damaged."""
    try:
        arrays = np.lib.format.open_memmap(path, mode="r")
        if arrays.dtype != np.float16 or len(arrays) != n:
            raise ValueError(f"{arrays.dtype}, {len(arrays)} images")
    except FileNotFoundError:
        return None
    except Exception as error:  # a header is Python that may say anything
        logger.warning("%s: damaged (%s), made again", path, error)
        return None
    return arrays


def _compute(path: Path, n: int, rows: Iterable[Tensor]) -> None:
    with replacing(path) as file:
        for i, values in enumerate(rows):
            row = np.clip(values.float().cpu().numpy(), -6e4, 6e4).astype(np.float16)
            if i == 0:
                header = {"descr": "<f2", "fortran_order": False, "shape": (n, *row.shape)}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(row.tobytes())  # written, not mapped: a full disk is then an error, not a crash
