"""The demo set: photographs of scikit-image and scikit-learn, distorted by our code, rated by simulated observers.

It needs no download and is made deterministically in seconds. 13 contents (256×256 regions of seven colour photographs,
none overlapping) × 26 images: the pristine one, ten JPEG files (two qualities from each of the five classes) and blur,
noise and resolution loss at five levels each. True quality is 1 + 4·HaarPSI⁴ (HaarPSI: Reisenhofer et al., Signal
Processing: Image Communication 61, 2018), which spreads the images evenly over the five classes; the votes follow
`iqasuite.datasets.simulated`. Sessions 1–3 share out the images, session 4 repeats session 1.
"""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from iqasuite.csv_texts import read_csv
from iqasuite.datasets import simulated
from iqasuite.datasets.dataset import Dataset, Scale, mean_votes
from iqasuite.datasets.frames import read_frame, validate
from iqasuite.datasets.playlists import read_playlists, write_playlist
from iqasuite.errors import InputError
from iqasuite.images.distortions.blur import gaussian_blur, resolution_loss
from iqasuite.images.distortions.compression import JPEG_CLASSES, jpeg, jpeg_bytes, jpeg_class, png_bytes
from iqasuite.images.distortions.noise import white_noise
from iqasuite.images.distortions.registry import LEVELS
from iqasuite.images.photographs import PHOTOGRAPHS, SIZE, contents
from iqasuite.paths import cache_root, file_hash, locked, read_json, replacing_folder

_log = logging.getLogger(__name__)

SESSIONS = 3  # a fourth repeats the first
_LEVELS = {name: LEVELS[name] for name in ("blur", "noise", "resolution")}
_RECIPE = 1  # raise it when the code below makes other files from the same tables
_START = pd.Timestamp("2024-01-08 09:00:00")


def images_of(content: str, pristine: np.ndarray, seed: int = 0) -> dict[str, tuple[str, float, np.ndarray, bytes]]:
    """The 26 images of a content: file name -> (distortion, level, uint8 pixels, content of the file)."""
    rng = np.random.default_rng([seed, int.from_bytes(hashlib.sha256(content.encode()).digest()[:4])])
    made = {f"{content}_pristine.png": ("pristine", 0.0, pristine)}
    for low, high in JPEG_CLASSES.values():
        for quality in sorted(rng.choice(np.arange(low, high + 1), size=2, replace=False).tolist()):
            made[f"{content}_jpeg_q{quality:03d}.jpg"] = ("jpeg", quality, jpeg(pristine, quality))
    for kind, strengths in _LEVELS.items():
        for level, strength in enumerate(strengths, start=1):
            pixels = {
                "blur": lambda s: gaussian_blur(pristine, s),
                "noise": lambda s: white_noise(pristine, s, rng),
                "resolution": lambda s: resolution_loss(pristine, s),
            }[kind](strength)
            made[f"{content}_{kind}_{level}.png"] = (kind, float(level), pixels)
    return {
        name: (kind, float(level), pixels, jpeg_bytes(pristine, int(level)) if kind == "jpeg" else png_bytes(pixels))
        for name, (kind, level, pixels) in made.items()
    }


def true_quality(images: np.ndarray, pristine: np.ndarray) -> np.ndarray:
    """1 + 4·HaarPSI⁴ in [1, 5], in float64 and rounded to 3 digits so that every machine finds the same.

    Args:
        images: of one content, uint8 (n, H, W, 3).
        pristine: the content, uint8 (H, W, 3).

    Returns:
        Quality, shape (n,).
    """
    distorted, reference = (torch.from_numpy(x).permute(0, 3, 1, 2).double() / 255 for x in (images, pristine[None]))
    import piq  # takes seconds, which those who only read the set need not wait for

    similarity = piq.haarpsi(distorted, reference.expand_as(distorted), data_range=1.0, reduction="none")
    return np.round(1 + 4 * similarity.numpy() ** 4, 3)


def make(root: Path | str, seed: int = 0) -> None:
    """Make the demo set in `root`, whole or not at all; nothing happens where it is already there.

    A demo set made by an older recipe is replaced.

    Raises:
        InputError: `root` holds something that is not a demo set, or cannot be written; nothing of the set is left
            behind then.
    """
    root = Path(root)
    if _is_current(root, seed):
        return
    with locked(root):  # runs of a batch want it at the same time: one of them makes it
        if not _is_current(root, seed):
            _log.info("making the demo set in %s", root)
            with replacing_folder(root) as folder:
                _fill(folder, seed)


def load(root: Path | str | None = None) -> Dataset:
    """The demo set, made first where it is absent.

    Args:
        root: its folder; None = `demo` in the cache folder.

    Raises:
        InputError: `root` holds something else, or files of the set are missing from it.
    """
    root = Path(root) if root is not None else cache_root() / "demo"
    make(root)
    images = read_frame(root / "images.csv", "images")
    lost = [name for name in images["image"] if not (root / name).is_file()]
    if lost:
        raise InputError(f"{root}: {len(lost)} images missing ({lost[0]} …); remove the folder, it is made again")
    quality = images["level"].where(images["distortion"] == "jpeg")  # a PNG file gives nothing away
    return Dataset(
        name="demo",
        root=root,
        images=images,
        votes=read_playlists(root / "playlists", known_images=images["image"]),
        scale=Scale(1, 5),
        display_size=(SIZE, SIZE),
        nuisances=pd.DataFrame({"jpeg_quality": quality.to_numpy()}, index=pd.Index(images["image"])),
        sources={name: name.rsplit("-", 1)[0] for name in images["content"].unique()},
        simulated=True,
        licence="photographs as in scikit-image and scikit-learn (CC0, public domain, CC BY); ratings simulated",
        citation="",
        truth=read_csv(root / "truth.csv", "what each observer expects; remove the folder, it is made again"),
    )


def by_strength(images: pd.DataFrame, content: str) -> pd.DataFrame:
    """One content's distorted images as a table, to be looked at.

    Args:
        images: images frame of the demo set.
        content: whose images.

    Returns:
        Names of images: rows the distortion (jpeg, blur, noise, resolution), columns the strength, 1 (mildest) to 5. Of
        JPEG, the first file of each class of quality.

    Raises:
        InputError: unknown content.
    """
    rows = images[images["content"] == content]
    if rows.empty:
        raise InputError(f"content={content!r}: unknown, expected one of {', '.join(sorted(set(images['content'])))}")
    jpeg = rows["distortion"] == "jpeg"
    classes = rows["level"].where(jpeg, 100).map(lambda quality: jpeg_class(int(quality)))
    rows = rows.assign(strength=(6 - classes).where(jpeg, rows["level"]).astype(int))
    first = rows[rows["distortion"] != "pristine"].drop_duplicates(["distortion", "strength"])
    table = first.pivot(index="distortion", columns="strength", values="image")
    return table.loc[["jpeg", *_LEVELS]]


def _fill(root: Path, seed: int) -> None:
    rows = []
    (root / "images").mkdir()
    for number, (content, pristine) in enumerate(contents().items()):
        reference = f"images/{content}_pristine.png"
        of_content = images_of(content, pristine, seed)
        quality = true_quality(np.stack([pixels for _, _, pixels, _ in of_content.values()]), pristine)
        for index, (name, (kind, level, _, bytes_of_file)) in enumerate(of_content.items()):
            (root / "images" / name).write_bytes(bytes_of_file)
            # Neighbours in strength go to different sessions, and each strength to all sessions over the contents.
            session = (index + number) % SESSIONS + 1
            own_reference = "" if kind == "pristine" else reference
            rows.append((f"images/{name}", content, own_reference, kind, level, quality[index], session))
    made = pd.DataFrame(rows, columns=["image", "content", "reference", "distortion", "level", "quality", "session"])
    votes = ratings(made, seed)
    for (observer, session), playlist in votes.groupby(["observer", "session"]):
        write_playlist(playlist, root / "playlists" / observer / f"{observer}_{session}.csv")
    images = made.merge(mean_votes(votes[votes["session"] <= SESSIONS]), on="image", validate="one_to_one")
    validate(images.drop(columns=["quality", "session"]), "images").to_csv(root / "images.csv", index=False)
    truth(made).to_csv(root / "truth.csv", index=False)
    simulated.table().to_csv(root / "observers.csv", index=False)
    listed = sorted(path for path in root.rglob("*") if path.is_file())
    hashes = {path.relative_to(root).as_posix(): file_hash(path) for path in listed}
    manifest = {"set": "demo", "recipe": _fingerprint(seed), "seed": seed, "files": hashes}
    (root / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def ratings(made: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Votes of the simulated observers in sessions 1–4, each session in an order of its own.

    Args:
        made: image, distortion, quality and session (1–3) of every image.
        seed: of order, inconsistency, durations.

    Returns:
        Votes frame.
    """
    sessions = []
    for number, observer in enumerate(simulated.OBSERVERS):
        for session in range(1, SESSIONS + 2):
            rng = np.random.default_rng([seed, number, session])
            rated = made[made["session"] == (1 if session > SESSIONS else session)]
            rated = rated.iloc[rng.permutation(len(rated))]
            vote = simulated.vote(observer, rated["quality"], rated["distortion"], rng)
            duration = np.round(np.exp(rng.normal(-0.2, 0.6, len(rated))), 3)
            start = _START + pd.Timedelta(days=7 * (session - 1), hours=number)
            frame = {"observer": observer.name, "session": session, "position": np.arange(1, len(rated) + 1)}
            frame |= {"image": rated["image"].to_numpy(), "vote": vote, "duration": duration}
            times = start + pd.to_timedelta(np.floor(np.cumsum(8 + duration)), unit="s")
            sessions.append(pd.DataFrame(frame | {"timestamp": times}))
    return validate(pd.concat(sessions), "votes")


def truth(made: pd.DataFrame) -> pd.DataFrame:
    """What every observer expects of every image: observer, image, expected_vote, quality."""
    frames = []
    for observer in simulated.OBSERVERS:
        expected = simulated.expected_vote(observer, made["quality"], made["distortion"]).round(4)
        frame = {"observer": observer.name, "image": made["image"], "expected_vote": expected}
        frames.append(pd.DataFrame(frame | {"quality": made["quality"]}))
    return pd.concat(frames, ignore_index=True)


def _fingerprint(seed: int) -> str:
    tables = (_RECIPE, SIZE, PHOTOGRAPHS, JPEG_CLASSES, _LEVELS, simulated.OBSERVERS, seed)
    return hashlib.sha256(repr(tables).encode()).hexdigest()


def _is_current(root: Path, seed: int) -> bool:
    """Whether the demo set of today's recipe is in `root`; InputError where something else is."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    try:
        manifest = read_json(root / "manifest.json")
        if manifest["set"] == "demo":
            return manifest["recipe"] == _fingerprint(seed)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise InputError(f"{root}: holds something that is not a demo set; expected an empty or new folder")
