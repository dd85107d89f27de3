"""`iqasuite data …`: which sets there are, getting them, checking them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from iqasuite.errors import InputError
from iqasuite.text_tables import aligned

app = typer.Typer(help="Data sets.", no_args_is_help=True)


@app.command("list")
def list_data(long: Annotated[bool, typer.Option("--long", help="All facts, not one line a set.")] = False) -> None:
    """List the data sets, their licences, and whether they are available.

    Example: iqasuite data list --long
    """
    from iqasuite.datasets import adapters
    from iqasuite.datasets.integrity import state

    cards = [adapters.card(name) for name in adapters.NAMES]
    if long:
        typer.echo("\n\n".join(_facts(card) for card in cards))
        return
    rows = [("name", "here?", "images", "votes", "download", "licence", "title")]
    for card in cards:
        licence = card.licence if len(card.licence) <= 24 else f"{card.licence[:23]}…"
        rows.append((card.name, state(card), f"{card.n_images:,}", card.votes, _source(card), licence, card.title))
    typer.echo(aligned(rows, right=("images",)))


def _facts(card) -> str:
    from iqasuite.datasets.integrity import state

    lines = {
        "": card.title,
        "state": f"{state(card)}, {card.folder()}",
        "images": f"{card.n_images:,}, references {card.n_references:,}; {card.structure}",
        "votes": f"{card.votes}; {card.scale.name} {card.scale.low:g}…{card.scale.high:g}, "
        f"{'higher' if card.scale.higher_is_better else 'lower'} = better",
        "licence": card.licence,
        "citation": card.citation or "none",
        "homepage": card.homepage,
        "download": _source(card),
    }
    whole = [f"{card.name}", *(f"  {key:9} {value}" for key, value in lines.items())]
    whole += [f"  {'':9} {download.url}" for download in card.downloads[:3]]
    whole += [f"  {'':9} … and {len(card.downloads) - 3} more files"] if len(card.downloads) > 3 else []
    whole += [f"  {'by hand':9} {card.manual}"] if card.manual else []
    return "\n".join(whole)


def _source(card) -> str:
    """Size of the download, or why there is none."""
    if card.made:
        return "none needed"
    return (_bytes(card.size) if card.size else "size unknown") if card.downloads else "by hand"


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB"):
        if number < 999.5:
            return f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


@app.command("get")
def get_data(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Data sets (iqasuite data list).")],
    into: Annotated[Path | None, typer.Option(help="Folder for the sets' folders (default: the data folder).")] = None,
    keep_archives: Annotated[bool, typer.Option("--keep-archives", help="Keep what was downloaded.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before large downloads.")] = False,
) -> None:
    """Download and unpack data sets; what broke off goes on where it was.

    Exit status 1: something is left to do by hand, or not all of a set is here.

    Example: iqasuite data get kodak24
    """
    raise typer.Exit(_for_each(names, lambda name: _get(name, into, keep_archives, yes)))


def _for_each(names: list[str], work) -> int:
    """The worst exit status of work done for each name; an error stops only its own."""
    worst = 0
    for name in names:
        try:
            worst = max(worst, work(name))
        except InputError as error:
            typer.echo(f"error: {error}", err=True)
            worst = 2
    return worst


def _get(name: str, into: Path | None, keep_archives: bool, yes: bool) -> int:
    from iqasuite import datasets
    from iqasuite.datasets import acquisition, adapters
    from iqasuite.datasets.integrity import check

    card = adapters.card(name)
    folder = acquisition.place(card, into)
    if card.made:
        how = f"of what is in other folders. {card.manual}" if card.manual else "or by: iqasuite data make-demo"
        typer.echo(f"{name}: nothing to download, made on first use {how}")
        return 0
    typer.echo(f"{name}: {card.title}\n  licence   {card.licence}\n  download  {_source(card)}\n  folder    {folder}")
    if not (folder / acquisition.UNFINISHED).exists():
        with contextlib.suppress(InputError):
            here = datasets.load(name, folder)
            typer.echo(f"  here      all {len(here.images):,} images; next: iqasuite data check {name}")
            return 0
    if card.manual or not card.downloads:
        way = "or by hand" if card.downloads else "by hand  "
        typer.echo(f"  {way} {card.manual or card.homepage}")
    if not card.downloads:
        typer.echo(f"  then      iqasuite data check {name}")
        return 1
    if (card.size > 1e9 or not card.size) and not yes and _on_terminal():
        typer.confirm(f"Download {_source(card)}?", abort=True)
    left = acquisition.get(card, into, keep_archives, _downloading())
    for step in left:
        typer.echo(f"  by hand   {step}")
    if left:
        typer.echo(f"  then      iqasuite data check {name}")
        return 1
    report = check(name, root=folder, quick=True)
    typer.echo(f"{_counts(report)}\n  next      iqasuite data check {name}")
    return 0 if report.whole else 1


def _on_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _downloading() -> Callable[[str, int, int], None]:
    """A bar on a terminal, a line a tenth of the file (100 MB, where its length is unknown) elsewhere."""
    from tqdm import tqdm

    bars: dict[str, tqdm] = {}
    written: dict[str, int] = {}

    def bar(name: str, done: int, total: int) -> None:
        if name not in bars:
            bars[name] = tqdm(desc=name, total=total or None, unit="B", unit_scale=True, initial=done)
        bars[name].update(done - bars[name].n)
        if done == total:
            bars[name].close()

    def line(name: str, done: int, total: int) -> None:
        step = done * 10 // total if total else done // 10**8
        if step > written.get(name, 0 if total else -1):
            written[name] = step
            typer.echo(f"{name}: {_bytes(done)}" + (f" of {_bytes(total)}" if total else ""), err=True)

    return bar if sys.stderr.isatty() else line


@app.command("check")
def check_data(
    names: Annotated[list[str], typer.Argument(metavar="NAME|FOLDER...", help="Data sets, or folders of your own.")],
    quick: Annotated[bool, typer.Option("--quick", help="Do not decode the images, only look for them.")] = False,
) -> None:
    """Decode every image; name what is absent, broken or changed since the first check.

    Exit status 1: something is.

    Example: iqasuite data check kodak24 --quick
    """
    raise typer.Exit(_for_each(names, lambda name: _check(name, quick)))


def _check(name: str, quick: bool) -> int:
    from tqdm import tqdm

    from iqasuite.datasets.integrity import check

    with tqdm(desc=name, unit="file", disable=not sys.stderr.isatty(), leave=False) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        report = check(name, quick=quick, progress=progress)
    typer.echo(f"{report.name}: {report.folder}\n{_counts(report)}")
    reasons = [f"{file}: {reason}" for file, reason in report.broken.items()]
    for what, items in (("absent", report.absent), ("broken", reasons), ("changed", report.changed)):
        for item in items[:20]:
            typer.echo(f"  {what:9} {item}")
        if len(items) > 20:
            typer.echo(f"  {what:9} … and {len(items) - 20:,} more")
    if report.changed:
        typer.echo(f"  changed files are as they should be? Delete {report.record or 'the record'} and check again")
    return 0 if report.whole else 1


def _counts(report) -> str:

    def of(number: int, expected: int | None) -> str:
        return f"{number:,}" if expected is None else f"{number:,} of {expected:,}"

    faults = (
        f"{len(report.absent):,} absent, {len(report.broken):,} broken, {len(report.changed):,} changed, "
        f"{report.new:,} seen for the first time"
    )
    return (
        f"  images    {of(report.n_images, report.expected_images)}, references "
        f"{of(report.n_references, report.expected_references)}, votes {report.n_votes:,}\n  files     {faults}"
    )


@app.command("make-demo")
def make_demo(
    folder: Annotated[Path | None, typer.Option(help="Where (default: demo/ in the cache folder).")] = None,
) -> None:
    """Make the demo set: photographs that need no download, distorted and rated by simulated observers."""
    from iqasuite.datasets import demo
    from iqasuite.paths import cache_root

    root = folder or cache_root() / "demo"
    demo.make(root)
    typer.echo(root)
