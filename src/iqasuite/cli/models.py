"""`iqasuite models`, `iqasuite app`: which trained networks are available, and the page that they are tried on."""

from __future__ import annotations

from itertools import groupby
from typing import Annotated

import typer

from iqasuite.cli.options import model_names
from iqasuite.text_tables import aligned


def list_models(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME|FILE]", help="Only this one.", autocompletion=model_names)
    ] = None,
    long: Annotated[bool, typer.Option("--long", help="The whole card of each, as JSON.")] = False,
) -> None:
    """List the trained networks that are available.

    What they predict, on which scale, how well (and the SROCC of the mere sharpness of the image in the same test,
    where the card says it), under which licence. Networks that need no reference score images alone; the others
    compare. A set of artificial observers (AIOs), one for each observer, is one line.

    \b
    Example: iqasuite models
    Example: iqasuite models mobile_nr --long
    """
    from iqasuite.inference.tables import printable
    from iqasuite.weights import catalogue

    entries = catalogue.available() if name is None else [catalogue.find(name)]
    if long:
        for entry in entries:
            typer.echo(printable(f"{entry.name}  {entry.path}"))
            typer.echo(str(entry.card))
        return
    if not entries:
        typer.echo("no trained networks in the weights folders; train one: iqasuite train --help")
        return
    rows: list[tuple[str, ...]] = [("name", "predicts", "scale", "size", "scores", "sharpness", "licence", "what")]
    for group, members in groupby(entries, lambda entry: entry.set_name or entry.name):
        rows.append(tuple(map(printable, _line(group, list(members)))))
    typer.echo(aligned(rows))
    for entry in entries:
        if entry.card.caution:
            typer.echo(printable(f"{entry.name}: {entry.card.caution}"))


def _line(name: str, entries: list) -> tuple[str, ...]:
    """A model, or a set of AIOs, as one row of the list."""
    first = entries[0]
    ends = "" if first.low != first.low else f" {first.low:g}–{first.high:g}"
    what = "pairs" if first.needs_reference else f"as {first.observer}" if first.observer else "images"
    title, size = first.title, sum(entry.path.stat().st_size for entry in entries)
    if len(entries) > 1:
        from iqasuite.names import natural_order

        names = natural_order(entry.observer for entry in entries)
        what, title = f"as {len(entries)} observers", f"AIOs of {', '.join(names)}"
    return (
        name,
        what,
        f"{first.scale}{ends}",
        _size(size),
        _best(first.reached),
        next(iter(first.rank_baselines.values()), dict[str, str]()).get("sharpness", "–"),
        _short(first.card.licence or "–"),
        title,
    )


def _best(reached: dict[str, str]) -> str:
    """The first score of a card that is an agreement with observers, in short."""
    for name, value in reached.items():
        measure = name.replace(",", " ").split()[0]
        if measure in ("srocc", "plcc", "accuracy", "qwk"):
            return f"{measure.upper() if measure != 'accuracy' else measure} {value}"
    return "–"


def _short(text: str) -> str:
    return text if len(text) <= 24 else f"{text[:23]}…"


def _size(number: float) -> str:
    return f"{number / 1e6:.1f} MB" if number >= 1e5 else f"{number / 1e3:.0f} kB"


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port; the next free one where it is taken.")] = 7860,
    share: Annotated[bool, typer.Option("--share", help="Also a public address, through Gradio's servers.")] = False,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    rate: Annotated[
        str | None, typer.Option(metavar="FOLDER|NAME", help="Images for the tab Rate, on this computer only.")
    ] = None,
) -> None:
    """Start a page on which images can be tried.

    Scores, maps, artificial observers beside each other, in a browser; with --rate also images to rate.

    Example: iqasuite app --open
    """
    from iqasuite import app
    from iqasuite.cli.rating import set_to_rate

    app.serve(host, port, share, open_browser, None if rate is None else set_to_rate(rate))
