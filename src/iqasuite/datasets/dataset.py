"""What a data set is to the rest of the suite: two frames, a folder and a few facts about how it was made."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from iqasuite.datasets.card import Scale as Scale  # noqa: PLC0414 (part of what a data set is)
from iqasuite.datasets.spreadsheets import composed
from iqasuite.errors import InputError
from iqasuite.images.loading import image_size, read_image, resized
from iqasuite.names import natural_order
from iqasuite.paths import file_hash


@dataclass
class Dataset:
    """A rated image set.

    Attributes:
        name: the adapter's name, as in every frame's `dataset` column.
        root: folder that `image` and `reference` are relative to.
        images: images frame; `reference` is "" for the reference itself and where there is none.
        votes: votes frame; without rows where only scores are published.
        scale: the set's own scale and direction.
        display_size: (height, width) in pixels at which observers saw the images; None = as they are.
        fit: how images of another aspect are brought to a size, "crop" or "letterbox" (`loading.resized`).
        nuisances: what the file itself gives away (index `image`), for the baselines that use nothing else: one column
            each, such as "jpeg_quality", "height" or "codec"; numbers (nan where unknown) or text. No columns where
            nothing is known.
        sources: content -> source photograph, where it is not a source of its own; contents of one source must share a
            part of a split.
        absent: names that belong to the official set and are missing.
        simulated: the observers are made by code.
        semi_real: real votes, given to images that are not those which the observers saw.
        licence, citation: of the set.
        notice: text that has to go along with what is made of the set; "" where its authors ask for none.
        truth: simulated sets only: observer, image, expected_vote (before noise, clipping, rounding), quality.
        distributions: image, p1…p5: shares of the votes 1–5, where they are published without the single votes.
        pairs: comparisons: reference, image_a, image_b, preference_a (share of observers, or probability, that A
            is closer to the reference), part.
        official_split: split frame that the set's authors published.
        regions: image -> (file, (top, left, bottom, right) as shares of its sides) for images that are parts of files.
        set_aside: votes that the set's authors replaced or took out: for reports, never for training or tests.
        has_pixels: False where only names and ratings are available.
    """

    name: str
    root: Path
    images: pd.DataFrame
    votes: pd.DataFrame
    scale: Scale
    display_size: tuple[int, int] | None = None
    fit: str = "crop"
    nuisances: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(index=pd.Index([], name="image")))
    sources: dict[str, str] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    simulated: bool = False
    semi_real: bool = False
    licence: str = ""
    citation: str = ""
    notice: str = ""
    truth: pd.DataFrame | None = None
    distributions: pd.DataFrame | None = None
    pairs: pd.DataFrame | None = None
    official_split: pd.DataFrame | None = None
    regions: dict[str, tuple[str, tuple[float, float, float, float]]] = field(default_factory=dict)
    set_aside: pd.DataFrame | None = None
    has_pixels: bool = True

    def __post_init__(self) -> None:
        self.sources = {content: content for content in self.images["content"].unique()} | self.sources

    def path(self, image: str) -> Path:
        """File of an image or reference of this set.

        Raises:
            InputError: the set has ratings only, no images.
        """
        if not self.has_pixels:
            raise InputError(f"{self.name}: {image!r} is a name only; expected a set with images (this has ratings)")
        return self.root / (self.regions[image][0] if image in self.regions else image)

    def read(self, image: str, size: tuple[int, int] | None = None, reference: str | None = None) -> np.ndarray:
        """An image or reference as 8-bit RGB, shape (H, W, 3); the part of the file that it is, where it is one.

        Args:
            image: name.
            size: (height, width) to which it is brought (`resized`, by the set's `fit`); None = its own.
            reference: that of the image, where both are compared: they then show the same part of the scene.

        Raises:
            InputError: as `read_image`; the set has no images.
        """
        pixels = read_image(self.path(image))
        if image in self.regions:
            height, width = pixels.shape[:2]
            top, left, bottom, right = self.regions[image][1]
            pixels = pixels[round(top * height) : round(bottom * height), round(left * width) : round(right * width)]
        if size is None:
            return pixels
        return resized(pixels, size, self.fit, None if reference is None else self.shape(reference))

    def shape(self, image: str) -> tuple[int, int]:
        """(height, width) of the image that `read` gives at its own size, from the file's header.

        Raises:
            InputError: as `image_size`; the set has no images.
        """
        width, height = image_size(self.path(image))
        if image in self.regions:
            top, left, bottom, right = self.regions[image][1]
            return round(bottom * height) - round(top * height), round(right * width) - round(left * width)
        return height, width

    def paths(self) -> dict[str, Path]:
        """Image -> file, for all images; of images that are parts of one file, the same file."""
        return {image: self.path(image) for image in self.images["image"]}

    def observers(self) -> list[str]:
        """All observers who voted, in natural order (user2 before user10)."""
        return natural_order(self.votes["observer"])

    @property
    def voters(self) -> str:
        """Whose votes these are, in words; simulated and semi-real ones are called so."""
        return "simulated observers" if self.simulated else "observers (semi-real)" if self.semi_real else "observers"

    def sources_of_images(self) -> pd.Series:
        """Source photograph of every image (index image): its content, where that has no source."""
        contents = self.images.set_index("image")["content"]
        return contents.map(lambda content: self.sources.get(content, content))

    def check_observer(self, observer: str) -> str:
        """The same name as it is in the votes, or InputError with those there are where no observer of that name voted.

        Letters and accents may be apart, as macOS types them.
        """
        names = {composed(name): name for name in self.observers()}
        if composed(observer) not in names:
            raise InputError(
                f"observer {observer!r} of {self.name}: unknown, expected one of {', '.join(names.values())}"
            )
        return names[composed(observer)]

    def hash(self) -> str:
        """SHA-256 over the images' names and files and over the votes, or the scores where there are none.

        One text for one state of the set.
        """
        whole = hashlib.sha256()
        for image in sorted(self.images["image"]):
            whole.update(f"{image} {file_hash(self.path(image)) if self.has_pixels else ''}\n".encode())
        columns = ["observer", "session", "image", "vote"]
        votes = self.votes[columns].sort_values(columns[:3])
        whole.update(votes.to_csv(index=False, lineterminator="\n").encode())
        if votes.empty:
            scores = self.images[["image", "mos"]].sort_values("image")
            whole.update(scores.to_csv(index=False, lineterminator="\n").encode())
        return whole.hexdigest()


def first_votes(votes: pd.DataFrame) -> pd.DataFrame:
    """Each observer's first vote on each image (lowest session, then position): repetitions are another matter."""
    ordered = votes.sort_values(["observer", "session", "position"], kind="stable")
    return ordered.drop_duplicates(["observer", "image"]).reset_index(drop=True)


def mean_votes(votes: pd.DataFrame) -> pd.DataFrame:
    """Mean opinion scores: one row an image with `mos`, `mos_std` (n − 1; nan for one vote) and `n_votes`."""
    grouped = votes.groupby("image", sort=True)["vote"]
    table = grouped.agg(mos="mean", mos_std="std", n_votes="count").reset_index()
    return table.astype({"mos": "float64", "mos_std": "float64", "n_votes": "int64"})
