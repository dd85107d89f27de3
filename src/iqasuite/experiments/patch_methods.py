"""Methods that describe an image by one vector and learn quality by regression, and rules that learn nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from sklearn.base import clone

from iqasuite.datasets import load
from iqasuite.datasets.dataset import Dataset
from iqasuite.errors import InputError
from iqasuite.experiments.mos_task import MosTask
from iqasuite.images.file_facts import file_facts, image_facts
from iqasuite.models.backbones import average, backbone, moments
from iqasuite.models.metrics.brisque import brisque_features
from iqasuite.models.metrics.niqe import NiqeModel
from iqasuite.training.patch_features import Patches, PatchFeatures, extract
from iqasuite.training.regressors import fit_pooled

OF_FILE = "baseline: file and plain statistics"
TITLES = {
    "efficientnet_lite2": "EfficientNet-Lite2",
    "mobilenet_v2": "MobileNetV2",
    "resnet50": "ResNet50",
    "vgg16": "VGG16",
    "vgg16_hed": "VGG16 (HED)",  # tuned to find edges: not the network of the tables that say VGG16
}


def title(base: str) -> str:
    """How a network is called in tables: by its authors' name where we know it, else by torchvision's or timm's."""
    return TITLES.get(base, base)


def shown_at(data: Dataset, display: Sequence[int]) -> tuple[int, int] | None:
    """(height, width) to which images are brought: `display` where given, else as observers saw them; None = as is."""
    return (display[0], display[1]) if display else data.display_size


def features_of(data: Dataset, patches: Mapping, size: tuple[int, int] | None) -> PatchFeatures:
    """Features of the patches of all rated images of a set.

    Args:
        data: the data set.
        patches: `base`, `size`, `overlap`, `taps` and `pooling` of `training.patch_features.extract`.
        size: (height, width) to which images are brought first; None = their own.
    """
    settings = Patches(patches["size"], patches["overlap"], tuple(patches["taps"]), patches["pooling"])
    rated = data.images.dropna(subset="mos")["image"].tolist()
    return extract(data, patches["base"], settings, images=rated, shown_at=size)


def describer(patches: Mapping) -> Callable[[np.ndarray], np.ndarray]:
    """A base model as a function: patches uint8 (n, height, width, 3) -> pooled feature maps (n, dim), float32.

    Args:
        patches: as of `features_of`; `base`, `taps` and `pooling` count here.
    """
    network, pool = backbone(patches["base"]).eval(), {"average": average, "moments": moments}[patches["pooling"]]
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (network.mean, network.std))

    @torch.inference_mode()
    def describe(pixels: np.ndarray) -> np.ndarray:
        x = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - mean) / std
        return pool(network.maps(x, tuple(patches["taps"]))).numpy()

    return describe


def main_axes(vectors: pd.DataFrame) -> np.ndarray:
    """Images (n, 2) on the two main axes of their standardised vectors, in standard deviations."""
    standard = (vectors - vectors.mean()) / (vectors.std() + 1e-9)
    left, spread, _ = np.linalg.svd(standard.to_numpy() / np.sqrt(len(standard)), full_matrices=False)
    return left[:, :2] * spread[:2] * np.sqrt(len(standard))


def regression(
    task: MosTask, vectors: pd.DataFrame, label: str, kind: str = "svr", refit: bool = False
) -> pd.DataFrame:
    """Predictions frame of a regressor on one vector an image, for the val and test parts of every split.

    The training part is fitted; the validation part chooses the settings.

    Args:
        task: set, splits and seed (`mos_task.MosTask`).
        vectors: index image.
        label: name of the method; ", refit" is added where it was.
        kind: "svr" or "ridge", see `training.regressors.fit_pooled`.
        refit: test a regressor with the chosen settings that is fitted to the training and validation parts together.
    """
    frames, name = [], f"{label}, refit" if refit else label
    for fold in task.folds:
        train, val, test = (task.part(fold, part) for part in ("train", "val", "test"))
        x = {part: vectors.loc[images].to_numpy() for part, images in (("train", train), ("val", val), ("test", test))}
        fitted = fit_pooled(kind, x["train"], task.mos[train], x["val"], task.mos[val])
        final = fitted
        if refit:
            final = clone(fitted).fit(np.concatenate([x["train"], x["val"]]), task.mos[train + val])
        for part, regressor in (("val", fitted), ("test", final)):
            scores = task.data.scale.clip(regressor.predict(x[part]))
            frames.append(task.predictions(name, fold, part, scores))
    return pd.concat(frames, ignore_index=True)


def rule(task: MosTask, quality: pd.Series, label: str) -> pd.DataFrame:
    """Predictions frame of what needs no training, for the val and test parts of every split.

    Args:
        task: set, splits and seed (`mos_task.MosTask`).
        quality: image -> score, higher = better, on any scale.
        label: name of the method.
    """
    places = [(fold, part) for fold in task.folds for part in ("val", "test")]
    frames = [task.predictions(label, *place, quality[task.part(*place)].to_numpy()) for place in places]
    return pd.concat(frames, ignore_index=True)


def brisque_vectors(task: MosTask, size: tuple[int, int] | None) -> pd.DataFrame:
    """The 36 statistics of BRISQUE (columns) of every image (index), shown at a size."""
    rows = {image: brisque_features(_pixels(task.data, image, size)[None])[0].numpy() for image in task.mos.index}
    return pd.DataFrame(rows).T


def niqe_quality(task: MosTask, size: tuple[int, int] | None, model: NiqeModel) -> pd.Series:
    """Image -> negative NIQE; flat images, which have none, get the lowest of all: nothing is less natural."""
    quality = pd.Series({image: -model.score(_pixels(task.data, image, size)) for image in task.mos.index})
    return quality.fillna(quality.min())


def niqe_models(pristine: str) -> dict[str, NiqeModel]:
    """Models of pristine photographs, by name of the method: the published one where it is available, and one's own.

    Args:
        pristine: set of photographs that one is fitted to; "" = none.
    """
    models = {}
    try:
        models["NIQE"] = NiqeModel.published()
    except InputError as error:
        print(f"without the published model of pristine photographs: {error}")
    if pristine:
        data = load(pristine)
        pixels = (_pixels(data, image, None) for image in data.images["image"])
        models[f"NIQE, fitted to {pristine}"] = NiqeModel.fit(pixels)
    return models


def file_vectors(task: MosTask) -> dict[str, pd.DataFrame]:
    """What is known without looking for quality: method -> vectors (index image).

    The first is of the file and plain statistics of its pixels; the others are of one nuisance of the set each, numbers
    with a column for where they are known, categories as one column each.
    """
    paths = {image: task.data.path(image) for image in task.mos.index}
    found = {OF_FILE: file_facts(paths)[["height", "bytes", "bits_per_pixel"]].join(image_facts(paths))}
    for name, column in task.data.nuisances.items():
        if column.dtype == float:
            known = column.notna()  # in some sets it is a property of some images only
            alone = pd.DataFrame({"value": column.fillna(column.mean()), "known": known.astype(float)})
        else:
            alone = pd.get_dummies(column).astype(float)
        found[f"baseline: {name.replace('_', ' ')} alone"] = alone
    return found


def _pixels(data: Dataset, image: str, size: tuple[int, int] | None) -> torch.Tensor:
    """An image at a size, uint8 (3, H, W)."""
    return torch.from_numpy(data.read(image, size)).permute(2, 0, 1)
