"""Models by name: each an `nn.Module` from images (B, 3, H, W), pairs of images, or sequences of patch features
(B, T, dim) and their mask, to vote logits (B, 5) or scores (B,); and the sorters, from vectors (B, n) to their ranks.
"""

from __future__ import annotations

import inspect
from importlib import import_module

from iqasuite.errors import InputError
from iqasuite.models.network import Network

# name -> module and class, imported when first asked for: what some of them need takes seconds to import
_ARCHITECTURES = {
    "vit_iqa": "vit_iqa.ViTIQA",
    "jpeg_resnet": "jpeg_resnet.JPEGResNet",
    "mobile_nr": "mobile_nr.MobileNR",
    "frozen_nr": "frozen_nr.FrozenNR",
    "trcnn": "trcnn.TRCNN",
    "trcnn_faithful": "trcnn.FaithfulTRCNN",
    "few_shot": "few_shot.FewShotObserver",
    "birnn": "sequence.BiRNN",
    "mean_pooling": "sequence.MeanPooling",
    "attention_pooling": "sequence.AttentionPooling",
    "patch_transformer": "sequence.PatchTransformer",
    "siamese_fr": "siamese_fr.SiameseFR",
    "conv_sorter": "sorter.ConvSorter",
    "pair_sorter": "sorter.PairSorter",
}

__all__ = ["accepts", "create", "names"]


def names() -> list[str]:
    """Names that `create` knows."""
    return sorted(_ARCHITECTURES)


def accepts(name: str, argument: str) -> bool:
    """Whether the architecture `name` has an argument of that name; False for an unknown architecture."""
    return name in _ARCHITECTURES and argument in inspect.signature(_architecture(name)).parameters


def create(name: str, **kwargs) -> Network:
    """A model of the architecture `name` with random weights (stems: ImageNet weights unless `pretrained=False`).

    The model's attributes `architecture` and `arguments` note both, for `weights.save_weights`.

    Raises:
        InputError: unknown name or argument, or an argument's value that the architecture refuses.
    """
    if name not in _ARCHITECTURES:
        raise InputError(f"model {name!r} is unknown, expected one of {', '.join(names())}")
    architecture = _architecture(name)
    known = list(inspect.signature(architecture).parameters)
    unknown = [argument for argument in kwargs if argument not in known]
    if unknown:
        raise InputError(f"{name}: unknown argument {', '.join(unknown)}, expected some of {', '.join(known)}")
    model = architecture(**kwargs)
    model.architecture, model.arguments = name, kwargs
    return model


def _architecture(name: str) -> type[Network]:
    module, _, attribute = _ARCHITECTURES[name].partition(".")
    return getattr(import_module(f"iqasuite.models.{module}"), attribute)
