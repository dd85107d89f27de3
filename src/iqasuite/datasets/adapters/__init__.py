"""The data sets by name: one file each, with a `CARD` and `load(root, missing)`."""

from __future__ import annotations

import importlib
from types import ModuleType

from iqasuite.datasets.card import Card
from iqasuite.errors import InputError

NAMES = (
    "demo",
    *("tta_h265_lab", "tta_h265_crowd", "aio_playlists", "aio_semi_real", "aio_study"),  # single observers' votes
    *("live_challenge", "koniq10k", "spaq", "cid2013"),  # authentic distortions
    *("live", "csiq", "tid2008", "tid2013", "kadid10k", "pipal", "pieapp"),  # references and their distorted images
    "kodak24",  # references alone
)


def adapter(name: str) -> ModuleType:
    """The module of a data set.

    Raises:
        InputError: unknown name.
    """
    if name not in NAMES:
        raise InputError(f"data set {name!r}: unknown, expected a folder or one of {', '.join(NAMES)}")
    return importlib.import_module(f"iqasuite.datasets.adapters.{name}")


def card(name: str) -> Card:
    """The facts of a data set.

    Raises:
        InputError: unknown name.
    """
    return adapter(name).CARD
