"""What a trained model predicts for a set's images: the same image always gets the same distribution."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from iqasuite.inference.predictor import votes_or_distributions
from iqasuite.training.inputs import PixelInputs, StoredInputs
from iqasuite.training.outputs import outputs


def predict(
    model: nn.Module, inputs: PixelInputs | StoredInputs, images: Sequence[str], batch_size: int | None = None
) -> np.ndarray:
    """Vote distributions of images that reach the model as they did in training, averaged over their fixed views.

    Args:
        model: as trained by `iqasuite.training.aio`.
        inputs: pixels, or what the frozen part of the model made of them.
        images: names, in the order of the result.
        batch_size: images at a time; the result does not depend on it beyond 1e-5. None = 16, or 64 of what is stored.

    Returns:
        Distributions (n, 5), float64, rows summing to 1.
    """
    n = batch_size or (16 if isinstance(inputs, PixelInputs) else 64)
    return _predicted(model, inputs, images, n) if len(images) else np.empty((0, 5))


def predict_quality(
    model: nn.Module, inputs: PixelInputs, images: Sequence[str]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Votes of a no-reference network of MOS, in bfloat16 where the machine computes in it.

    Args:
        model: images -> logits (B, 5) or votes (B,), as trained by `iqasuite.training.quality`.
        inputs: pixels; whole images, or a fixed grid of crops whose outputs are averaged.
        images: names, in the order of the result.

    Returns:
        Votes from 1 to 5 (n,), and distributions (n, 5), or None where the network gives one number.
    """
    predicted = _predicted(model, inputs, images, 16, half=True)
    return (predicted, None) if predicted.ndim == 1 else (predicted @ np.arange(1.0, 6.0), predicted)


def _predicted(
    model: nn.Module, inputs: PixelInputs | StoredInputs, images: Sequence[str], batch_size: int, half: bool = False
) -> np.ndarray:
    starts = range(0, len(images), batch_size)
    batches = (inputs.given(model, images[start : start + batch_size]) for start in starts)
    predicted = outputs(inputs.network(model), batches, votes_or_distributions, half)
    return torch.cat([values.cpu() for values in predicted]).numpy()
