"""Figures and tables on their way into `results/`, each with the caption that the gallery shows under it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from iqasuite.csv_texts import frame_csv
from iqasuite.datasets.frames import read_frame, validate
from iqasuite.errors import InputError
from iqasuite.paths import locked, read_json, results_root, work_root, write_atomic
from iqasuite.report.figures.style import webp_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTIONS = "captions.json"
DIGITS = 6  # significant ones, of numbers in tables and predictions that are kept


def save_figure(fig: Figure, suite: str, run: str, name: str, caption: str, dpi: int = 110) -> Path:
    """Write `results/<suite>/figures/<run>/<name>.webp` and remember its caption.

    Args:
        fig: the figure.
        suite, run, name: where it goes.
        caption: one or two sentences that say what is seen; also the image's text for those who cannot see it.
        dpi: pixels per inch.

    Returns:
        The file's path. The figure stays open, and a notebook that shows it then shows the same pixels.
    """
    fig.set_dpi(dpi)
    return _save(results_root(suite) / "figures" / run, f"{name}.webp", caption, webp_of(fig))


def save_table(frame: pd.DataFrame, suite: str, run: str, name: str, caption: str, index: bool = False) -> Path:
    """Write `results/<suite>/tables/<run>/<name>.csv` and remember its caption.

    Args:
        frame: the table.
        suite, run, name: where it goes.
        caption: one or two sentences that say what the rows are.
        index: whether the frame's index is a column of the table.

    Returns:
        The file's path.

    Raises:
        InputError: a table without columns, which nobody could read again.
    """
    if not index and frame.columns.empty:
        raise InputError(f"table {name} of run {run}: it has no columns; expected one or more")
    return _save(
        results_root(suite) / "tables" / run, f"{name}.csv", caption, frame_csv(significant(frame), index).encode()
    )


def save_scores(scores: pd.DataFrame, suite: str, run: str, caption: str) -> Path:
    """Write a run's scores as its table `scores`, and all runs' scores together as `results/<suite>/scores.csv`.

    Args:
        scores: scores frame.
        suite, run: whose they are.
        caption: one or two sentences that say whose scores they are.

    Returns:
        Path of that `scores.csv`, with the tables of all runs in the order of their names.

    Raises:
        InputError: not a scores frame; another run's table is none.
    """
    save_table(validate(scores, "scores", f"run {run}"), suite, run, "scores", caption)
    gathered = gather_scores(suite)
    assert gathered is not None  # the run's own scores are there
    return gathered


def gather_scores(suite: str) -> Path | None:
    """`results/<suite>/scores.csv` from the tables `scores` of all runs; None where no run has one.

    Where two runs have scored one method, the row of the one that is first by name stays.
    """
    with locked(work_root(suite) / "scores"):  # two runs may end at the same time
        files = sorted((results_root(suite) / "tables").glob("*/scores.csv"))
        frames = [read_frame(file, "scores") for file in files]
        if not frames:
            return None
        together = pd.concat(frames).drop_duplicates(["dataset", "model", "protocol", "observer", "part", "metric"])
        return write_atomic(results_root(suite) / "scores.csv", frame_csv(together))


def significant(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its numbers rounded to `DIGITS` significant digits; whole numbers stay as they are."""
    rounded = frame.copy()
    for place in (place for place, kind in enumerate(frame.dtypes) if kind.kind == "f"):
        numbers = frame.iloc[:, place].to_numpy(float)
        fraction = np.isfinite(numbers) & (numbers != np.round(numbers))
        size = np.floor(np.log10(np.abs(numbers), where=fraction, out=np.zeros_like(numbers)))
        scale = 10.0 ** np.minimum(DIGITS - 1 - size, 300)  # of the smallest p-values it would be infinite
        rounded.isetitem(place, np.where(fraction, np.round(np.where(fraction, numbers, 0) * scale) / scale, numbers))
    return rounded


def captions(folder: Path) -> dict[str, str]:
    """Captions of a run's figures or tables by name, in the order in which they were saved."""
    path = folder / CAPTIONS
    return read_json(path) if path.is_file() else {}


def _save(folder: Path, file: str, caption: str, content: bytes) -> Path:
    name = file.rpartition(".")[0]
    if not name or "/" in name or "\\" in name:
        raise InputError(f"name of a figure or table: found {name!r}; expected a file's name without folders")
    path = write_atomic(folder / file, content)
    known = captions(folder) | {name: " ".join(caption.split())}
    write_atomic(folder / CAPTIONS, json.dumps(known, indent=1, ensure_ascii=False) + "\n")
    return path
