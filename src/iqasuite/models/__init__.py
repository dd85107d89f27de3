"""Models by name: each an `nn.Module` from images (B, 3, H, W), pairs of images, or sequences of patch features
(B, T, dim) and their mask, to vote logits (B, 5) or scores (B,); and the sorters, from vectors (B, n) to their ranks.
"""

from __future__ import annotations

import inspect

from torch import nn

from iqasuite.errors import InputError
from iqasuite.models import sequence, siamese_fr, sorter
from iqasuite.models.mobile_nr import MobileNR
from iqasuite.models.trcnn import TRCNN, FaithfulTRCNN
from iqasuite.models.vit_iqa import ViTIQA

_ARCHITECTURES: dict[str, type[nn.Module]] = {
    "vit_iqa": ViTIQA,
    "mobile_nr": MobileNR,
    "trcnn": TRCNN,
    "trcnn_faithful": FaithfulTRCNN,
    **sequence.NETWORKS,
    **siamese_fr.NETWORKS,
    **sorter.NETWORKS,
}

__all__ = ["accepts", "create", "names"]


def names() -> list[str]:
    """Names that `create` knows."""
    return sorted(_ARCHITECTURES)


def accepts(name: str, argument: str) -> bool:
    """Whether the architecture `name` has an argument of that name; False for an unknown architecture."""
    return name in _ARCHITECTURES and argument in inspect.signature(_ARCHITECTURES[name]).parameters


def create(name: str, **kwargs) -> nn.Module:
    """A model of the architecture `name` with random weights (stems: ImageNet weights unless `pretrained=False`).

    The model's attribute `card` notes name and arguments, for `weights.save_weights`.

    Raises:
        InputError: unknown name or argument, or an argument's value that the architecture refuses.
    """
    if name not in _ARCHITECTURES:
        raise InputError(f"model {name!r} is unknown, expected one of {', '.join(names())}")
    architecture = _ARCHITECTURES[name]
    known = [p for p in inspect.signature(architecture).parameters]
    unknown = [argument for argument in kwargs if argument not in known]
    if unknown:
        raise InputError(f"{name}: unknown argument {', '.join(unknown)}, expected some of {', '.join(known)}")
    model = architecture(**kwargs)
    model.card = {"architecture": name, "arguments": kwargs}
    return model
