"""What a trained model says about the test part: the same file always gets the same distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from iqasuite.images.crops import grid_crops, normalise
from iqasuite.inference.predictions import hard_predictions, predictions_frame
from iqasuite.models.heads import distribution
from iqasuite.training.inputs import PixelInputs, StoredInputs
from iqasuite.training.machine import computes_in_bf16

__all__ = ["hard_predictions", "predict", "predict_images", "predict_quality", "predictions_frame"]


def _device(model: torch.nn.Module) -> torch.device:
    return next(model.parameters()).device


def predict(model: torch.nn.Module, inputs: PixelInputs | StoredInputs, images: Sequence[str]) -> np.ndarray:
    """Vote distributions of images that reach the model as they did in training, averaged over their fixed views.

    Args:
        model: as trained by `iqasuite.training.aio`.
        inputs: pixels, or what the frozen part of the model made of them.
        images: names, in the order of the result.

    Returns:
        Distributions (n, 5), float64, rows summing to 1.
    """
    if isinstance(inputs, PixelInputs):
        indices = [inputs.images[image] for image in images]
        return predict_images(model, inputs.cache, indices, inputs.crop, inputs.views)
    return _predict_stored(model, inputs, images)


@torch.inference_mode()
def predict_quality(
    model: torch.nn.Module, inputs: PixelInputs, images: Sequence[str], batch_size: int = 16
) -> tuple[np.ndarray, np.ndarray | None]:
    """Votes of a no-reference network of MOS, in bfloat16 where the machine computes in it.

    Args:
        model: images -> logits (B, 5) or votes (B,), as trained by `iqasuite.training.quality`.
        inputs: pixels; whole images, or a fixed grid of crops whose outputs are averaged.
        images: names, in the order of the result.
        batch_size: images at a time.

    Returns:
        Votes from 1 to 5 (n,), and distributions (n, 5), or None where the network gives one number.
    """
    training, device = model.training, _device(model)
    model.eval()
    rows = []
    for start in range(0, len(images), batch_size):
        chosen = [inputs.images[image] for image in images[start : start + batch_size]]
        x = torch.as_tensor(inputs.cache[chosen]).permute(0, 3, 1, 2)
        views = grid_crops(x, inputs.crop, inputs.views) if inputs.crop and inputs.views else x[:, None]
        with torch.autocast(device.type, torch.bfloat16, enabled=computes_in_bf16(device)):
            out = model(normalise(views.flatten(0, 1).to(device), model.get_buffer("mean"), model.get_buffer("std")))
        p = out.float().clamp(1, 5) if out.ndim == 1 else distribution(out)
        rows.append(p.double().cpu().unflatten(0, (len(chosen), -1)).mean(1).numpy())
    model.train(training)
    said = np.concatenate(rows)
    return (said, None) if said.ndim == 1 else (said @ np.arange(1.0, 6.0), said)


@torch.inference_mode()
def _predict_stored(model: torch.nn.Module, inputs: StoredInputs, images: Sequence[str], batch: int = 64):
    network = inputs.network(model)
    training = network.training
    network.eval()
    rows = []
    for start in range(0, len(images), batch):
        stored = inputs.given(model, images[start : start + batch]).to(_device(network))
        p = distribution(network(stored.flatten(0, 1))).double().cpu()
        rows.append(p.view(*stored.shape[:2], -1).mean(1).numpy())
    network.train(training)
    return np.concatenate(rows) if rows else np.empty((0, 5))


@torch.inference_mode()
def predict_images(
    model: torch.nn.Module,
    cache: Any,
    indices: Sequence[int],
    crop: int | None = None,
    n_per_side: int = 1,
    batch_size: int = 16,
) -> np.ndarray:
    """Vote distributions of images, averaged in probability over a fixed grid of crops.

    Args:
        model: images (B, 3, H, W) -> logits (B, 5), with `mean` and `std` of its inputs.
        cache: `cache[list of indices]` gives uint8 (B, H, W, 3), as `iqasuite.images.cache.ImageCache` does.
        indices: which images, in the order of the result.
        crop: side of the crops in pixels; None = the whole image is the only view.
        n_per_side: crops per side, n² in all.
        batch_size: images at a time; the result does not depend on it beyond 1e-5.

    Returns:
        Distributions (n, 5), float64, rows summing to 1.
    """
    training = model.training
    model.eval()
    rows = []
    for start in range(0, len(indices), batch_size):
        chosen = list(indices[start : start + batch_size])
        x = torch.as_tensor(np.ascontiguousarray(cache[chosen])).permute(0, 3, 1, 2)
        views = grid_crops(x, crop, n_per_side) if crop is not None else x[:, None]
        inputs = normalise(views.flatten(0, 1).to(_device(model)), model.get_buffer("mean"), model.get_buffer("std"))
        p = distribution(model(inputs)).double().cpu()
        rows.append(p.view(len(chosen), -1, p.shape[-1]).mean(1).numpy())
    model.train(training)
    return np.concatenate(rows) if rows else np.empty((0, 5))
