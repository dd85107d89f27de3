"""The `iqasuite` command. What takes long to import is imported inside the commands, so that `--help` is quick."""

from __future__ import annotations

import io
import logging
import sys
from typing import Annotated

import typer

from iqasuite.cli import data, evaluating, models, playlist, rating, scoring, suite, training
from iqasuite.cli.group import Commands

__all__ = ["app"]


class _Program(typer.Typer):
    def __call__(self, *args: object, **options: object) -> object:
        """Run it; a letter that the screen's encoding lacks is written as its number, as in `\\u5199.png`."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        # jsonschema, which checks notebooks, would parse a grammar of international addresses for 3 s a process.
        sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
        return super().__call__(*args, **options)


# Plain help: boxes and colours would take twice as long to import as everything else together.
app = _Program(cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"iqasuite {version('iqasuite')}")
        raise typer.Exit


@app.callback()
def start(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Image quality as individual observers see it: scores of images, experiments, data.

    \b
    iqasuite score holiday/                      scores of all images of a folder
    iqasuite score --reference a.png a.jpg       how good a distorted image is
    iqasuite rate holiday/ --observer Anna       your own votes, and an observer that votes as you do
    iqasuite models                              which trained networks are available
    iqasuite COMMAND --help                      what a command takes, with examples
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)


app.command("score")(scoring.score_images)
app.command("evaluate")(evaluating.evaluate)
app.command("train")(training.train)
app.command("rate")(rating.rate)
app.command("models")(models.list_models)
app.command("app")(models.serve)
app.add_typer(data.app, name="data")
app.add_typer(playlist.app, name="playlist")
app.add_typer(suite.app, name="suite")
app.command("gallery")(suite.build_gallery)
app.command("run-notebook", hidden=True)(suite.run_notebook)
