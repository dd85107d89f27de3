"""Results on their way to the screen or a file: rows as they are done, a progress bar, errors beside them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import typer

from iqasuite.inference.tables import format_of, lines, printable
from iqasuite.paths import replacing

_NAMED = 20  # failed images in the last line


@dataclass(frozen=True)
class Target:
    """Where results go.

    Attributes:
        output: file; None = the screen.
        form: as asked for; None = that of the file's ending, else a table.
    """

    output: Path | None
    form: str | None

    def format(self) -> str:
        """One of `tables.FORMATS`; raises InputError where output and form contradict each other."""
        return format_of(self.output, self.form)

    def write_lines(self, text: Iterable[str]) -> None:
        """Write lines as they come; a file is there at the end or not at all."""
        output = self.output
        with replacing(output, "w", encoding="utf-8", newline="") if output else nullcontext(sys.stdout) as file:
            for line in text:
                file.write(f"{line}\n")

    def write_rows(self, rows: Iterable, columns: dict[str, str], legend: Sequence[str], total: int | None) -> int:
        """Write rows as they come and name those with an error; the exit status."""
        failed: list[str] = []
        n_rows, n_failed, form = 0, 0, self.format()

        def noted() -> Iterator:
            nonlocal n_rows, n_failed
            for row in watched(rows, total, "image", self.output is not None):
                n_rows += 1
                if say_error(row.get("error")):
                    n_failed += 1
                    failed[:] = [*failed, row["image"]][:_NAMED]
                yield row
            if self.output and n_failed == n_rows:
                raise typer.Exit(_say_failed(failed, n_failed, n_rows))  # and with it goes the file that holds nothing

        if form == "table":
            columns = {name: width for name, width in columns.items() if name != "error"}
        self.write_lines(chain(legend if form == "table" else [], lines(noted(), columns, form)))
        if self.output:
            typer.echo(f"{self.output}: {n_rows - n_failed:,} of {n_rows:,} images; {'; '.join(legend)}")
        return _say_failed(failed, n_failed, n_rows)


def _say_failed(failed: list[str], n_failed: int, n_rows: int) -> int:
    if n_rows == 0:
        typer.echo("error: no images named on standard input", err=True)
        return 1
    if failed:
        more = f" … and {n_failed - len(failed):,} more" if n_failed > len(failed) else ""
        names = ", ".join(map(printable, failed))
        typer.echo(f"error: {n_failed:,} of {n_rows:,} not scored: {names}{more}", err=True)
    return int(bool(failed))


def say_error(error: str | None) -> bool:
    """Whether there is an error, which is then written to standard error."""
    if error:
        typer.echo(f"error: {printable(error)}", err=True)
    return bool(error)


def warn(text: str) -> None:
    """Write a warning to standard error."""
    typer.echo(f"warning: {text}", err=True)


def watched(items: Iterable, total: int | None, unit: str = "image", to_file: bool = True) -> Iterable:
    """Items with a progress bar, where standard error is a terminal and no lines go by on it."""
    from tqdm import tqdm

    seen = sys.stderr.isatty() and (to_file or not sys.stdout.isatty())
    return tqdm(items, total=total, unit=unit, leave=False, disable=not seen)
