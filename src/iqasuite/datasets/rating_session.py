"""One observer's rating of the images of a set, one at a time: what is shown next, and every vote kept as it is given.

The two playlists are all that is kept. What is shown next follows from them, from the observer's name and from the
images of today, so a session goes on after a kill, and after images came or went.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd

from iqasuite.datasets.dataset import Dataset
from iqasuite.datasets.frames import VOTE_SCALE, empty
from iqasuite.datasets.matlab_sessions import text_of_time
from iqasuite.datasets.playlists import LONG, read_playlist, write_playlist
from iqasuite.datasets.spreadsheets import composed
from iqasuite.errors import InputError
from iqasuite.paths import locked, project_root, remove_unfinished, safe_name, writable, write_atomic

CATEGORIES = ("bad", "insufficient", "fair", "good", "excellent")  # of the votes 1…5
EVERY, LAG, LEAST = 9, 5, 6  # one image in nine is shown again, five votes later at least, of six images or more
TRAINING = 3  # images that are shown before any vote counts
_LONGEST = 60  # letters of a name
_HEADER = ",".join(LONG) + "\n"
_TIME = re.compile(rb"\d\d-[A-Z][a-z]{2}-\d{4} \d\d:\d\d:\d\d$")  # which a whole row ends with


@dataclass(frozen=True)
class Shown:
    """An image that the observer is to vote on.

    Attributes:
        image: name.
        repeat: whether it is shown a second time, for the observer's agreement with themselves.
    """

    image: str
    repeat: bool = False


def checked_observer(name: str) -> str:
    """An observer's name without spaces around it, its letters composed.

    Raises:
        InputError: an empty one, one that is too long, or one with characters that nobody sees.
    """
    name = composed(name).strip()
    if not name or len(name) > _LONGEST or not name.isprintable():
        raise InputError(f"observer {name[:_LONGEST]!r}: expected a name of 1 to {_LONGEST} printable characters")
    return name


def rated_set(dataset: Dataset) -> str:
    """Name of the folder for the votes that people give here on a set, in `playlists/`, and for their AIOs."""
    return safe_name(f"{dataset.name}_people" if dataset.simulated else dataset.name)


class RatingSession:
    """What one observer has rated of a set, and what comes next.

    Votes are appended to `playlists/<set>/<observer>/<observer>_1.csv`, those on images shown again to
    `<observer>_2_repeats.csv`. Every observer of a set is asked in an order of their own.

    Args:
        dataset: whose images are rated; its votes are not looked at.
        observer: any name.
        root: folder of playlists; None = the project's.

    Raises:
        InputError: a name that is none (`checked_observer`) or differs from another observer's by capitals only; the
            folder has playlists that were not made here.
    """

    def __init__(self, dataset: Dataset, observer: str, root: Path | None = None):
        self.dataset, self.observer = dataset, checked_observer(observer)
        group = (project_root() / "playlists" if root is None else root) / rated_set(dataset)
        self.folder = group / safe_name(self.observer)
        own = self.folder.name
        self._files = (self.folder / f"{own}_1.csv", self.folder / f"{own}_2_repeats.csv")
        for other in sorted(group.iterdir()) if group.is_dir() else ():
            if other.name != own and other.name.casefold() == own.casefold():
                raise InputError(
                    f"observer {self.observer!r}: there are votes of {other.name!r}; expected this spelling"
                )
        others = {path.name for path in self.folder.glob("*.csv")} - {path.name for path in self._files}
        if others:
            raise InputError(f"{self.folder / min(others)}: not of a rating session; expected another observer's name")
        names = {composed(name).strip(): name for name in dataset.images["image"] if _is_writable(name)}
        self.images: Mapping[str, str] = names  # as playlists have them -> as the set has them
        self.unreadable: dict[str, str] = {}  # name -> why, as whoever shows the images finds

    def others(self) -> pd.DataFrame:
        """Votes frame of all other observers, for numbers about all of them; images as the set names them."""
        frames = [empty("votes")]
        for path in sorted(self.folder.parent.glob("*/*_1.csv")):
            if path.parent.name != self.folder.name and path.stem == f"{path.parent.name}_1":
                with suppress(InputError):  # who broke it is told
                    frames.append(read_playlist(path, path.parent.name, 1))
        votes = pd.concat(frames[1:] or frames, ignore_index=True)
        return votes.assign(image=votes["image"].map(lambda name: self.images.get(name, name)))

    def votes(self) -> pd.DataFrame:
        """Votes frame: session 1 and, of images shown again, session 2; images as the playlists name them.

        Raises:
            InputError: a playlist that cannot be read, as `read_playlist` says.
        """
        if not self.folder.is_dir():
            return empty("votes")
        with locked(self.folder / ".rating"):
            return self._mended()

    def training(self, quality: Mapping[str, float] | None = None) -> list[str]:
        """Images that show the observer the range of the set before votes count: none where there are few.

        Args:
            quality: image -> predicted quality; where it is known, the images span it.
        """
        images = self._in_order("training")
        n = min(TRAINING, len(images) // 4)
        known = sorted((image for image in images if quality and image in quality), key=(quality or {}).__getitem__)
        if n < 2 or len(known) < 4 * n:
            return images[:n]
        return sorted((known[round(k * (len(known) - 1) / (n - 1))] for k in range(n)), key=self._key("training"))

    def coming(self, votes: pd.DataFrame) -> Shown | None:
        """The image that is shown after these votes; None = all are rated."""
        return self._coming(*_by_session(votes))

    def following(self, votes: pd.DataFrame, shown: Shown) -> Shown | None:
        """The image after that one, which can be loaded while it is looked at."""
        first, again = _by_session(votes)
        (again if shown.repeat else first).append(shown.image)
        return self._coming(first, again)

    def _coming(self, first: list[str], again: list[str]) -> Shown | None:
        rated, repeated = set(first), set(again)
        open_ = [image for image in self._in_order("first") if image not in rated]
        asked = len(first) // EVERY if open_ else _repeats(len(first))
        ready = set(first[: max(1, len(first) - LAG)]) - repeated
        for image in self._in_order("again") if len(again) < asked else ():
            if image in ready:
                return Shown(image, repeat=True)
        return Shown(open_[0]) if open_ else None

    def left(self, votes: pd.DataFrame) -> int:
        """How many more votes there are to give."""
        first, again = _by_session(votes)
        open_ = len(set(self._in_order("first")) - set(first))
        return open_ + max(0, _repeats(len(first) + open_) - len(again)) if self.coming(votes) else 0

    def record(self, shown: Shown, vote: object, duration: object, time: datetime | None = None) -> None:
        """Append a vote and have it on the disk before this returns; the same vote sent again is kept once.

        Args:
            shown: the image that was voted on.
            vote: 1 to 5.
            duration: seconds from its appearance to the vote.
            time: of the vote; None = now.

        Raises:
            InputError: no such vote, duration or image; another vote on it is there, from another window; the disk is
                full. The playlists are then as they were.
        """
        low, high = VOTE_SCALE
        if type(vote) is not int or not low <= vote <= high:
            raise InputError(f"vote {vote!r}: expected a whole number {low} to {high}")
        if type(duration) not in (int, float) or not 0 <= duration < 1e6:  # type: ignore[operator]
            raise InputError(f"duration {duration!r}: expected seconds, 0 or more")
        if shown.image not in self.images:
            raise InputError(f"image {shown.image!r}: no longer in {self.dataset.root}; expected one of its images")
        with locked(self.folder / ".rating"):
            votes = self._mended()
            before = votes[(votes["image"] == shown.image) & (votes["session"] == 1 + shown.repeat)]
            if len(before):
                if before["vote"].item() == vote and f"{before['duration'].item():.5g}" == f"{duration:.5g}":
                    return  # sent again, because the answer did not arrive
                raise InputError(
                    f"this image has a vote of {before['vote'].item()} already, given in another window; it was kept"
                )
            if shown.repeat and shown.image not in set(votes["image"]):
                raise InputError(f"image {shown.image!r}: not voted on yet; expected its first vote")
            row = (shown.image, vote, f"{duration:.5g}", text_of_time(time or datetime.now()))
            _append(self._files[shown.repeat], row)

    def last(self, votes: pd.DataFrame) -> Shown | None:
        """The image that was voted on last."""
        first, again = _by_session(votes)
        if not again:
            return Shown(first[-1]) if first else None
        times = votes.groupby("session")["timestamp"].last()
        ended = len(again) > len(first) // EVERY or len(first) % EVERY == 0  # of two votes in one second
        repeat = times[2] > times[1] or (times[2] == times[1] and ended)
        return Shown(again[-1], True) if repeat else Shown(first[-1])

    def undo(self, shown: Shown) -> None:
        """Take the last vote back.

        Args:
            shown: the image that it was given to.

        Raises:
            InputError: another vote is the last, from another window; or there is none.
        """
        with locked(self.folder / ".rating"):
            votes = self._mended()
            if shown != self.last(votes):
                raise InputError("another vote was given since, in another window; nothing was taken back")
            path, own = self._files[shown.repeat], votes[votes["session"] == 1 + shown.repeat].iloc[:-1]
            if len(own):
                write_playlist(own, path)
            else:
                path.unlink()

    def changes(self, votes: pd.DataFrame) -> list[str]:
        """What is to be said of a folder that is not as it was when the votes were given, a sentence each."""
        gone = sorted(set(votes["image"]) - set(self.images))
        times = votes.groupby("image")["timestamp"].max()
        newer = [image for image, time in times.items() if image in self.images and self._is_newer(str(image), time)]
        new = len(set(self.images) - set(votes["image"]))
        sentences = []
        if gone:
            sentences.append(
                f"{len(gone)} rated images are no longer in the folder ({gone[0]}); their votes are kept, and not used."
            )
        if newer:
            sentences.append(
                f"{len(newer)} images were written after their votes ({newer[0]}); if they show something else now, "
                "rate them again under another name."
            )
        if gone and new:
            sentences.append(f"{new} images are not rated yet.")
        left_out = len(self.dataset.images) - len(self.images)
        if left_out:
            sentences.append(f"{left_out} images have names that a playlist cannot hold; they are left out.")
        return sentences

    def _is_newer(self, image: str, time: pd.Timestamp) -> bool:
        path = self.dataset.path(self.images[image])
        return path.is_file() and datetime.fromtimestamp(int(path.stat().st_mtime)) > time

    def _in_order(self, purpose: str) -> list[str]:
        return sorted(set(self.images) - set(self.unreadable), key=self._key(purpose))

    def _key(self, purpose: str) -> Callable[[str], bytes]:
        """An order of the images that is this observer's own, in which images that come or go move no other."""
        seed = "\0".join((self.dataset.name, self.observer, purpose))
        return lambda image: hashlib.sha256(f"{seed}\0{image}".encode()).digest()

    def _mended(self) -> pd.DataFrame:
        """All votes; the playlists lose what a crash left of a row, and the form that a spreadsheet gave them."""
        frames = [empty("votes")]
        for session, path in enumerate(self._files, 1):
            remove_unfinished(path)
            if not path.is_file():
                continue
            content = path.read_bytes()
            whole, _, rest = content.rpartition(b"\n")
            own = content.startswith(_HEADER.encode())
            if own and rest and not _TIME.search(rest):
                content, rest = whole + b"\n", b""
                write_atomic(path, content)
            frames.append(read_playlist(path, self.observer, session))
            if rest or not own:
                write_playlist(frames[-1], path)
        return pd.concat(frames[1:] or frames, ignore_index=True)


def _by_session(votes: pd.DataFrame) -> tuple[list[str], list[str]]:
    return (votes.loc[votes["session"] == 1, "image"].tolist(), votes.loc[votes["session"] == 2, "image"].tolist())


def _repeats(n: int) -> int:
    """How many of n images are shown again by the end."""
    return math.ceil(n / EVERY) if n >= LEAST else 0


def _is_writable(name: str) -> bool:
    """Whether a row of a playlist holds the name as it is."""
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes that are no UTF-8
        return False
    return name.isprintable()


def _append(path: Path, row: Sequence[object]) -> None:
    """Add a row to a playlist, whole or not at all; it is on the disk afterwards."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(row)
    if not path.is_file():
        write_atomic(path, _HEADER + line.getvalue())
        return
    with writable(path), open(path, "ab", buffering=0) as file:
        size, content = os.fstat(file.fileno()).st_size, line.getvalue().encode()
        try:
            if file.write(content) < len(content):
                raise OSError(28, "No space left on device", str(path))
            os.fsync(file.fileno())
        except OSError:
            os.ftruncate(file.fileno(), size)
            raise
