"""Options that several commands share, and the names with which the shell completes them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from iqasuite.errors import InputError
from iqasuite.inference.tables import FORMATS


def model_names(incomplete: str) -> list[str]:
    """Names of models that begin like this, for the shell's completion."""
    from iqasuite.weights.catalogue import available

    return [entry.name for entry in available() if entry.name.startswith(incomplete)]


def observer_names(incomplete: str) -> list[str]:
    """Artificial observers that begin like this, with their set and alone."""
    from iqasuite.weights.catalogue import available

    members = [entry for entry in available() if entry.set_name]
    names = {name for entry in members for name in (entry.observer, entry.name, "all", f"{entry.set_name}/all")}
    return sorted(name for name in names if name.startswith(incomplete))


def data_names(incomplete: str) -> list[str]:
    """Names of data sets that begin like this."""
    from iqasuite.datasets.adapters import NAMES

    return [name for name in NAMES if name.startswith(incomplete)]


BatchSize = Annotated[int, typer.Option(min=1, help="Images at a time on a GPU.")]
Format = Annotated[str | None, typer.Option("--format", metavar="|".join(FORMATS), help="Default: a table to read.")]
Jobs = Annotated[int | None, typer.Option(help="Runs at one time (default: one a GPU, else one a core).")]
Missing = Annotated[str, typer.Option(metavar="error|drop", help="Where images of the set are absent.")]
Output = Annotated[Path | None, typer.Option(help="File: .csv, .jsonl or .txt. Written whole or not at all.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there already.")]
Precision = Annotated[str, typer.Option(metavar="auto|float32", help="auto: bfloat16 where it is quick.")]
RatedSet = Annotated[
    str,
    typer.Option(
        metavar="NAME|FOLDER", help="Data set, or folder of images with a CSV of ratings.", autocompletion=data_names
    ),
]


def check_precision(precision: str) -> None:
    """Raise InputError unless it is one of the two."""
    if precision not in ("auto", "float32"):
        raise InputError(f"--precision {precision}: expected auto or float32")
