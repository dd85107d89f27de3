"""What every network of the suite is, and what the rest of the suite may ask of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

LEVELS = (0.5, 0.8, 0.9)  # of intervals around a prediction: shares of images whose mean opinion lies in them


class Network(nn.Module):
    """A network of any architecture; its methods here are those of one without batch norms and maps.

    Attributes:
        architecture, arguments: what `models.create` made it of; "" where something else did.
        card: of the weights that it was loaded with (`weights.card.Card`); None where it begins anew.
        mean, std: buffers that normalise inputs in [0, 1], (3,); sorters and networks of patch features have none.
        steady: whether batch norm keeps its statistics in training; set it where training goes on from weights.
        patch_size: an image's sides are cut to multiples of so many pixels before it is seen whole.
        n_axes: main axes of what it sees in images that `with_reach` gives.
    """

    architecture: str = ""
    arguments: Mapping[str, Any] = {}
    card: Any = None
    mean: Tensor
    std: Tensor
    steady: bool = False
    patch_size: int = 1
    n_axes: int = 0

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

    def attention_map(self, x: Tensor) -> Tensor | None:
        """What the last layer attends to in an image (1, 3, H, W), heads' mean (h, w); None = it has no such map."""
        return None
