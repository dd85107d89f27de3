"""The lab test of H.265-compressed stills `tta_h265_lab`: 371 images from 38 sources, each rated by all of 21 people.

Göring, Rao, Raake, "Quality Assessment of Higher Resolution Images and Videos with Remote Testing", Quality and User
Experience 8, 2023; repository Telecommunication-Telemedia-Assessment/image_quality_test, official layout. Images are
found by their stems, so PNG (as published) and WebP will do. The images differ in size and were shown upscaled to one:
bring them to `display_size` first, because the encoded height alone tells most of the quality.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

import numpy as np
import pandas as pd

from iqasuite.datasets.card import Card, Download, Scale
from iqasuite.datasets.dataset import Dataset, mean_votes
from iqasuite.datasets.frames import VOTES, validate
from iqasuite.datasets.layout import check_absent
from iqasuite.datasets.tables import csv_table
from iqasuite.errors import InputError

_log = logging.getLogger(__name__)

CARD = Card(
    name="tta_h265_lab",
    title="Stills of H.265 video at 2160², rated by 21 people in a laboratory",
    homepage="https://github.com/Telecommunication-Telemedia-Assessment/image_quality_test",
    licence="GPL-3.0",
    citation="Göring, Rao, Raake, Quality and User Experience 8, 2023, doi:10.1007/s41233-023-00055-6",
    n_images=371,
    n_references=38,
    scale=Scale(1, 5),
    structure="38 sources × about 10 of CRF × encoded height; 40 pairs with their source",
    downloads=(
        Download(
            "https://github.com/Telecommunication-Telemedia-Assessment/image_quality_test/archive/refs/heads/master.zip"
        ),
    ),
    votes="per observer",
)
DISPLAY_SIZE = (2160, 2160)
_ENDINGS = (".png", ".webp", ".mkv")  # in this order; a video raises an error that says how to extract its frame
_NAME = re.compile(r"(?P<content>.+)_crf_(?P<crf>\d+)_height_(?P<height>\d+)")


def load(root: Path | str, missing: str = "error") -> Dataset:
    """The lab set.

    Where images are absent, those and their votes are left out of both frames (`missing="drop"`) and listed in
    `Dataset.absent`.

    Args:
        root: the repository's folder.
        missing: "error" or "drop".

    Raises:
        InputError: no such folder or table, columns or names that are not the official ones, absent images.
    """
    root = _unpacked(Path(root))
    table = _read(root / "test_1" / "per_user.csv")
    votes = _votes(table, root / "test_1" / "ratings.csv")
    files = _by_stem(root / "test_1" / "images")
    absent = [stem for stem in table["image_name"] if stem not in files]
    check_absent(absent, f"{root / 'test_1' / 'images'}: {len(absent)} of {len(table)} images", missing)
    images = _images(table[~table["image_name"].isin(absent)], files, _by_stem(root / "images" / "src_cropped"), root)
    names = dict(zip(images["stem"], images["image"], strict=True))
    votes = votes[votes["image"].isin(names)]
    votes = validate(votes.assign(image=votes["image"].map(names)), "votes", "per_user.csv")
    frame = images.drop(columns=["stem", "height"]).merge(mean_votes(votes), on="image", validate="one_to_one")
    return Dataset(
        name=CARD.name,
        root=root,
        images=validate(frame, "images", "per_user.csv"),
        votes=votes,
        scale=CARD.scale,
        display_size=DISPLAY_SIZE,
        nuisances=images.set_index("image")[["height"]].astype(float),
        absent=absent,
        licence=CARD.licence,
        citation=CARD.citation,
    )


def _unpacked(root: Path) -> Path:
    """The repository's folder itself, or the one folder (`image_quality_test-master`) that its archive unpacks to."""
    inside = sorted(root.glob("*/test_1"))
    return inside[0].parent if len(inside) == 1 and not (root / "test_1").is_dir() else root


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected the official layout of tta_h265_lab (test_1/per_user.csv, …)")
    return csv_table(path, (), texts=("image_name", "video_name"))


def _by_stem(folder: Path) -> dict[str, Path]:
    """Stem -> file; names contain dots, so only the known endings are taken off. Earlier endings win."""
    files: dict[str, Path] = {}
    for ending in reversed(_ENDINGS):
        files |= {path.name.removesuffix(ending): path for path in sorted(folder.glob(f"*{ending}"))}
    return files


def _images(table: pd.DataFrame, files: dict[str, Path], references: dict[str, Path], root: Path) -> pd.DataFrame:
    rows = []
    for stem in table["image_name"]:
        match = _NAME.fullmatch(stem)
        if match is None:
            raise InputError(f"per_user.csv, column image_name: {stem!r}; expected <source>_crf_<crf>_height_<height>")
        reference = references.get(match["content"])
        rows.append(
            {
                "stem": stem,
                "image": files[stem].relative_to(root).as_posix(),
                "content": match["content"],
                "reference": reference.relative_to(root).as_posix() if reference else "",
                "distortion": "h265",
                "level": float(match["crf"]),
                "height": float(match["height"]),
            }
        )
    columns = ["stem", "image", "content", "reference", "distortion", "level", "height"]
    return pd.DataFrame(rows, columns=columns)


def _votes(table: pd.DataFrame, log_path: Path) -> pd.DataFrame:
    """Votes by stem; position, timestamp and duration from the raw log where it agrees with every vote.

    It does for all 21 observers (user_ID n is column `user<n>`; of the two images that one rated twice, the first
    rating counts, while the published means count both). The log has only the time of each vote: `duration` is the
    time since the vote before, viewing included, nan for the first.
    """
    users = [name for name in table.columns if re.fullmatch(r"user\d+", name)]
    if "image_name" not in table.columns or not users:
        raise InputError(f"per_user.csv: columns {list(table.columns)}; expected image_name, user1, user2, …")
    log = _log_of_votes(log_path) if log_path.is_file() else None
    frames = []
    for user in users:
        frame = pd.DataFrame({"image": table["image_name"], "vote": table[user]})
        frame["observer"], frame["session"] = user, 1
        frame["position"], frame["duration"], frame["timestamp"] = 0, np.nan, pd.NaT
        logged = None if log is None else log[log["observer"] == user].set_index("image").reindex(frame["image"])
        if logged is not None and logged["vote"].eq(frame["vote"].to_numpy()).all():
            for column in ("position", "duration", "timestamp"):
                frame[column] = logged[column].to_numpy()
        else:
            _log.warning("%s: does not agree with the votes of %s; no times for them", log_path, user)
        frames.append(frame)
    votes = pd.concat(frames, ignore_index=True)[list(VOTES)]
    return validate(votes, "votes", "per_user.csv").sort_values(["observer", "position"], kind="stable")


def _log_of_votes(path: Path) -> pd.DataFrame:
    """The first rating of every observer and image: observer, image (stem), vote, position, duration, timestamp."""
    raw = _read(path)
    missing = {"rating", "user_ID", "timestamp", "video_name"} - set(raw.columns)
    if missing:
        raise InputError(f"{path}: columns missing: {sorted(missing)}")
    times = raw["timestamp"].astype(str).str.replace(r" (\d+)$", r".\1", regex=True)  # "09:17:30 263829": microseconds
    log = pd.DataFrame(
        {
            "observer": "user" + raw["user_ID"].astype(str),
            "image": raw["video_name"].astype(str).str.extract(r"([^\\/]+)\.png'\]$")[0],
            "vote": pd.to_numeric(raw["rating"], errors="coerce"),
            "timestamp": pd.to_datetime(times, errors="coerce", format="%Y-%m-%d %H:%M:%S.%f"),
        }
    ).sort_values(["observer", "timestamp"], kind="stable")
    log["duration"] = log.groupby("observer")["timestamp"].diff().dt.total_seconds()
    log = log.drop_duplicates(["observer", "image"])
    return log.assign(position=log.groupby("observer").cumcount() + 1)
