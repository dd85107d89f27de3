"""What every network of the suite is, and what the rest of the suite may ask of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

LEVELS = (0.5, 0.8, 0.9)  # of intervals around a prediction: shares of images whose mean opinion lies in them


class Network(nn.Module):
    """A network of any architecture; its methods here are those of one without batch norms and maps.

    Attributes:
        architecture, arguments: what `models.create` made it of; "" where something else did.
        card: of the weights that it was loaded with (`weights.card.Card`); None where it begins anew.
        mean, std: buffers that normalise inputs in [0, 1], (3,); sorters and networks of patch features have none.
        steady: whether batch norm keeps its statistics in training; set it where training goes on from weights.
        image_size: side in pixels of the crops that it was made for; 0 = of any.
        patch_size: an image's sides are cut to multiples of so many pixels before it is seen whole.
        n_axes: main axes of what it sees in images that `with_reach` gives.
    """

    architecture: str = ""
    arguments: Mapping[str, Any] = {}
    card: Any = None
    mean: Tensor
    std: Tensor
    steady: bool = False
    image_size: Any = 0
    patch_size: int = 1
    n_axes: int = 0

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        features = getattr(self, "features", None)
        if self.steady and features is not None:
            features.eval()
        return self

    def embedded(self, x: Tensor) -> Tensor:
        """What the head is given of images (B, 3, H, W): (B, dim)."""
        raise NotImplementedError(f"{self.architecture or type(self).__name__} has no head of its own")

    def predicted(self, embedded: Tensor) -> Tensor:
        """The head's outputs (B, n_classes) of what it is given (B, dim)."""
        raise NotImplementedError(f"{self.architecture or type(self).__name__} has no head of its own")

    def fold(self) -> None:
        """Take batch norms into the convolutions before them, for a network that is trained no more; here none."""

    def with_reach(self, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """What it gives of images, how far the intervals of `LEVELS` reach in votes (B, 3), and where the images are
        on its main axes (B, n_axes); None = not known."""
        return self(x), None, None

    def local(self, x: Tensor) -> Tensor | None:
        """Logits (B, n_classes, h, w) of each neighbourhood of images (B, 3, H, W) alone; None = it has no such map."""
        return None

    def badness(self, x: Tensor) -> Tensor:
        """How bad images (B, 3, H, W) are found, (B,), with a gradient that does not vanish where votes are certain.

        The score times −1; of logits (B, k), which a softmax would saturate, the slope from the high vote to the low.
        """
        outputs = self(x).float()
        if outputs.ndim == 1:
            return -outputs
        steps = torch.arange(outputs.shape[1], 0, -1, dtype=outputs.dtype, device=outputs.device)
        steps = steps - steps.mean()
        return outputs @ steps / steps.square().sum()

    def attentions(self, x: Tensor) -> tuple[Tensor, tuple[int, int]] | None:
        """Attention weights of images (B, 3, H, W), float32 (B, depth, heads, N + 1, N + 1), class token first, and the
        grid of their places; k · rows · columns tokens where there are k scales. None = it attends to nothing.
        """
        return None

    def attention_map(self, x: Tensor) -> Tensor | None:
        """What the last layer attends to in an image (1, 3, H, W), heads' mean (h, w); None = it has no such map."""
        found = self.attentions(x)
        return None if found is None else found[0][0, -1, :, 0, 1:].mean(0).view(-1, *found[1]).sum(0)  # over scales

    def cam_layer(self) -> nn.Module | None:
        """The module that gives the last map of features (B, C, h, w), or tokens (B, N + 1, C); None = no such."""
        features = getattr(self, "features", None)
        return features if isinstance(features, nn.Module) else None
