"""No-reference quality by a small head on a frozen classifier, with an interval that says how far it may be off.

In the order the data meets it: the classifier's maps, their means and standard deviations, what they say
one by one, and a Gaussian kernel with the images that were learnt from, on main axes; of both together three numbers:
the vote, how far it is usually off, how observers differ.
The weights are the head's alone; the classifier's come as `backbones.backbone` finds them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from iqasuite.errors import InputError
from iqasuite.models.backbones import Backbone, backbone, cell_statistics, folded, moments
from iqasuite.models.heads import votes_around
from iqasuite.models.network import LEVELS, Network

CELLS = 8  # a side of the quality map
N_AXES = 8  # main axes that observers may be sensitive to


class FrozenNR(Network):
    """Quality without a reference: normalised RGB images (B, 3, H, W), any size from 32 pixels -> logits (B, 5).

    Everything is in float32, on machines with bfloat16 too: the kernel compares small differences.

    Args:
        base: a classifier of `backbones.backbone`; loaded where it is first needed.
        taps: its layers whose maps are described.
        dim: features, twice the channels of these layers.
        components: main axes of the features that the kernel sees.
        n_seen: images that were learnt from.

    Raises:
        InputError: a number below 1; at the first use, see `backbones.backbone`, or a `dim` that is not that of `taps`.

    Reference: C. Saunders et al., "Ridge regression learning algorithm in dual variables", ICML 1998; interval: J. Lei
    et al., "Distribution-free predictive inference for regression", JASA 113, 2018 (section 5.2).
    """

    shift: Tensor
    axes: Tensor
    seen: Tensor
    gamma: Tensor
    weights: Tensor
    linear: Tensor
    offset: Tensor
    reach: Tensor

    def __init__(
        self,
        *,
        base: str = "efficientnet_lite2",
        taps: Sequence[int] = (-1,),
        dim: int = 2560,
        components: int = 64,
        n_seen: int = 1,
    ):
        super().__init__()
        if min(dim, components, n_seen) < 1:
            found = f"dim {dim}, components {components}, n_seen {n_seen}"
            raise InputError(f"frozen_nr: {found}; expected 1 or more of each")
        self.base, self.taps, self.dim, self.n_axes = base, tuple(taps), dim, min(N_AXES, components)
        self._held: list[Backbone] = []  # a list hides it from `state_dict`
        shapes = {"mean": (3,), "std": (3,), "shift": (dim,), "axes": (dim, components), "gamma": ()}
        shapes |= {
            "seen": (n_seen, components),
            "weights": (n_seen, 3),
            "linear": (dim, 3),
            "offset": (3,),
            "reach": (len(LEVELS),),
        }
        for name, shape in shapes.items():
            self.register_buffer(name, torch.ones(shape) if name in ("std", "gamma") else torch.zeros(shape))

    @property
    def frozen(self) -> Backbone:
        """The classifier, for inference alone."""
        if not self._held:
            found = folded(backbone(self.base))
            widths = found.widths(self.taps)
            if 2 * sum(widths) != self.dim:
                raise InputError(f"frozen_nr: dim {self.dim}; expected {2 * sum(widths)} of taps {self.taps}")
            self._held.append(found.to(self.mean.device))
        return self._held[0]

    def _apply(self, fn, recurse: bool = True):
        for held in self._held:
            held._apply(fn)
        return super()._apply(fn, recurse)

    def fold(self) -> None:
        self.frozen  # noqa: B018 (loaded now, so that what is missing is said before any image is read)

    def forward(self, x: Tensor) -> Tensor:
        return self.with_reach(x)[0]

    def with_reach(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.described(x)
        return *self.answers(features), (features.double() - self.shift) @ self.axes[:, : self.n_axes].double()

    def described(self, x: Tensor) -> Tensor:
        """Features (B, dim) of normalised images (B, 3, H, W): mean and standard deviation of each channel."""
        with torch.autocast(x.device.type, enabled=False):
            return moments(self.frozen.maps(x.float(), self.taps))

    def head(self, features: Tensor) -> Tensor:
        """Vote, logarithm of its usual error in votes, and of the standard deviation of observers' votes: (B, 3)."""
        x = features.double() - self.shift
        kernel = (-self.gamma * torch.cdist(x @ self.axes.double(), self.seen.double()).square()).exp()
        return kernel @ self.weights.double() + x @ self.linear.double() + self.offset

    def answers(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Of features (B, dim): logits (B, 5) whose expected vote is the head's, and how far intervals reach (B, 3)."""
        vote, off, spread = self.head(features).unbind(1)
        return votes_around(vote, spread.exp()).float(), (off.exp()[:, None] * self.reach).float()

    def badness(self, x: Tensor) -> Tensor:
        return -self.head(self.described(x))[:, 0]  # the logits are found by bisection, which has no gradient

    def cam_layer(self) -> nn.Module:
        return self.frozen.layers[self.taps[-1]]

    def local(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            maps = self.frozen.maps(x.float(), self.taps)
            features = torch.cat([part for each in maps for part in cell_statistics(each, CELLS)], dim=1)
        logits, _ = self.answers(features.permute(0, 2, 3, 1).flatten(0, 2))
        return logits.view(len(x), CELLS, CELLS, -1).permute(0, 3, 1, 2)
