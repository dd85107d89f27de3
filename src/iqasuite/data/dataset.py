"""What a data set is to the rest of the suite: two frames, a folder and a few facts about how it was made."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from iqasuite.errors import InputError


@dataclass(frozen=True)
class Scale:
    """The set's own rating scale; `mos` in the frames is always higher = better, whatever its direction here."""

    low: float
    high: float
    higher_is_better: bool = True
    name: str = "ACR"


@dataclass
class Dataset:
    """A rated image set.

    Attributes:
        name: the adapter's name, as in every frame's `dataset` column.
        root: folder that `image` and `reference` are relative to.
        images: images frame; `reference` is "" for the reference itself and where there is none.
        votes: votes frame.
        scale: the set's own scale and direction.
        display_size: (height, width) in pixels at which people saw the images; None = as they are.
        nuisance: what the file itself gives away (float, index `image`), for the baseline that uses nothing else.
        nuisance_name: what that is: "jpeg_quality", "height".
        sources: content -> source photograph; contents of one source must share a part of a split.
        absent: names that belong to the official set and are not here.
        simulated: the observers are made by code.
        licence, citation: of the set.
        truth: simulated sets only: observer, image, expected_vote (before noise, clipping, rounding), quality.
    """

    name: str
    root: Path
    images: pd.DataFrame
    votes: pd.DataFrame
    scale: Scale
    display_size: tuple[int, int] | None
    nuisance: pd.Series
    nuisance_name: str
    sources: dict[str, str] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    simulated: bool = False
    licence: str = ""
    citation: str = ""
    truth: pd.DataFrame | None = None

    def path(self, image: str) -> Path:
        """File of an image or reference of this set."""
        return self.root / image

    def observers(self) -> list[str]:
        """Everybody who voted, in natural order (user2 before user10)."""
        return sorted(self.votes["observer"].unique(), key=lambda name: (len(name), name))

    def check_observer(self, observer: str) -> str:
        """The same name, or InputError with the known ones where nobody of that name voted."""
        known = self.observers()
        if observer not in known:
            raise InputError(f"observer {observer!r} of {self.name}: unknown, expected one of {', '.join(known)}")
        return observer

    def hash(self) -> str:
        """SHA-256 over the images' file names and contents and over the votes: one text for one state of the set."""
        whole = hashlib.sha256()
        for image in sorted(self.images["image"]):
            whole.update(f"{image} {file_hash(self.path(image))}\n".encode())
        columns = ["observer", "session", "image", "vote"]
        votes = self.votes[columns].sort_values(columns[:3])
        whole.update(votes.to_csv(index=False, lineterminator="\n").encode())
        return whole.hexdigest()


def file_hash(path: Path | str) -> str:
    """SHA-256 of a file's content, hexadecimal.

    Raises:
        InputError: the file is missing or cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected a file") from error


def mean_votes(votes: pd.DataFrame) -> pd.DataFrame:
    """Mean opinion scores: one row an image with `mos`, `mos_std` (n − 1; nan for one vote) and `n_votes`."""
    grouped = votes.groupby("image", sort=True)["vote"]
    table = grouped.agg(mos="mean", mos_std="std", n_votes="count").reset_index()
    return table.astype({"mos": "float64", "mos_std": "float64", "n_votes": "int64"})


def load(name: str, root: Path | str | None = None, missing: str = "error") -> Dataset:
    """A data set by name.

    Args:
        name: "demo" (simulated observers, made on the spot) or "tta_h265_lab" (21 people, H.265 stills).
        root: the set's folder; None = where `paths` looks for it.
        missing: "error" stops where files of the set are absent, "drop" goes on without them.

    Raises:
        InputError: unknown name or `missing`, files absent.
    """
    from iqasuite.data import demo, lab  # here, because both build a Dataset

    if missing not in ("error", "drop"):
        raise InputError(f"missing={missing!r}: expected 'error' or 'drop'")
    if name == "demo":
        return demo.load(root)
    if name == "tta_h265_lab":
        return lab.load(root, missing)
    raise InputError(f"data set {name!r}: unknown, expected one of demo, tta_h265_lab")
