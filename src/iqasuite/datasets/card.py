"""The facts of a data set before it is downloaded: who made it, under which licence, how big, and how to get it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np

from iqasuite.paths import cache_root, data_root


@dataclass(frozen=True)
class Scale:
    """The set's own rating scale; `mos` in the frames is always higher = better, whatever its direction here."""

    low: float
    high: float
    higher_is_better: bool = True
    name: str = "ACR"

    def upward(self, values: np.ndarray) -> np.ndarray:
        """Values of this scale, turned so that higher = better: low + high − value where lower is better here."""
        return values if self.higher_is_better else self.low + self.high - values

    def clip(self, values: np.ndarray) -> np.ndarray:
        """Predictions kept on the scale: no vote lies beyond its ends."""
        return np.clip(values, self.low, self.high)


@dataclass(frozen=True)
class Download:
    """One file that a set comes as.

    Attributes:
        url: https address, or `hf:<owner>/<repository>/<file>` for a data-set repository of Hugging Face.
        size: bytes, about; 0 = not known.
        sha256: of the file; "" = its source publishes none. The first download's is then recorded, later ones compared.
        folder: where it goes below the set's folder; archives are unpacked there, other files laid there.
    """

    url: str
    size: int = 0
    sha256: str = ""
    folder: str = "."

    @property
    def file(self) -> str:
        """Name of the file, without what an address may have behind it (`?download=1`)."""
        return unquote(urlsplit(self.url).path).rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Card:
    """A data set's facts.

    Attributes:
        name: as in `load(name)` and in every frame's `dataset` column.
        title: what it is, in one line.
        homepage: where it is published.
        licence, citation: as its authors state them; licence "none stated" where there is none.
        n_images: rated images of the official set.
        n_references: undistorted references among or beside them; 0 = none (authentic distortions).
        scale: own scale and direction.
        structure: contents × distortions × levels, in words.
        folders: names its folder may have in the data folder; the first is where it is downloaded to.
        downloads: the files it comes as; empty where it cannot be downloaded by a program.
        manual: what to do by hand, step by step, where that is so.
        votes: what is known of single observers: "none", "distributions", "per observer".
        made: made by our own code on first use, in the cache folder.
    """

    name: str
    title: str
    homepage: str
    licence: str
    citation: str
    n_images: int
    n_references: int
    scale: Scale
    structure: str
    folders: tuple[str, ...] = ()
    downloads: tuple[Download, ...] = ()
    manual: str = ""
    votes: str = "none"
    made: bool = False

    @property
    def size(self) -> int:
        """Bytes to download, about; 0 = not known."""
        return sum(download.size for download in self.downloads)

    def folder(self) -> Path:
        """The set's folder in the data folder: the first of `folders` that exists, else where it would be."""
        if self.made:
            return cache_root() / self.name
        names = self.folders or (self.name,)
        there = [data_root() / name for name in names if (data_root() / name).is_dir()]
        return there[0] if there else data_root() / names[0]
