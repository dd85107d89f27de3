"""The `iqasuite` command. What takes long to import is imported inside the commands, so that `--help` is quick."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from iqasuite.errors import InputError


class _Commands(TyperGroup):
    """Errors that the user can mend are one line and exit status 2; Ctrl-C is 130."""

    def invoke(self, ctx: typer.Context) -> object:
        try:
            return super().invoke(ctx)
        except InputError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(2) from None
        except OSError as error:  # a full disk, a folder that cannot be written
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None


OPTIONS = {"no_args_is_help": True, "pretty_exceptions_enable": False, "add_completion": False}
app = typer.Typer(cls=_Commands, help="Experiments on image quality as individual people see it.", **OPTIONS)
suite_app = typer.Typer(help="Batches of notebooks.", no_args_is_help=True)
data_app = typer.Typer(help="Data sets.", no_args_is_help=True)
playlist_app = typer.Typer(help="Rating playlists (CSV).", no_args_is_help=True)
app.add_typer(suite_app, name="suite")
app.add_typer(data_app, name="data")
app.add_typer(playlist_app, name="playlist")

SuiteName = Annotated[str, typer.Argument(metavar="SUITE", help="Name of a file in notebooks/suites, or its path.")]


@app.callback()
def start() -> None:
    """Experiments on image quality as individual people see it."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)


@suite_app.command("list")
def list_suites() -> None:
    """List the suites and what they are."""
    from iqasuite.suite import known_suites, read_suite

    for name in known_suites():
        suite = read_suite(name)
        typer.echo(f"{name:10} {len(suite.runs):4} runs   {suite.title}")


@suite_app.command("check")
def check_suite(name: SuiteName) -> None:
    """Check a suite's runs, needs and parameters against its notebooks; run nothing."""
    from iqasuite.suite import check, read_suite

    suite = read_suite(name)
    check(suite)
    typer.echo(
        f"{suite.name}: {len(suite.runs)} runs of {len({run.notebook for run in suite.runs})} notebooks, all well"
    )


@suite_app.command("run")
def run_suite(
    name: SuiteName,
    jobs: Annotated[int | None, typer.Option(help="Runs at one time [default: one a GPU, else one a core].")] = None,
    keep_going: Annotated[bool, typer.Option(help="Go on with runs that do not need a failed one.")] = True,
) -> None:
    """Run what is not done yet of a suite, then build its gallery."""
    from iqasuite import batch

    raise typer.Exit(batch.run_suite(name, jobs, keep_going))


@app.command("run-notebook", hidden=True)
def run_notebook(suite: str, run: str, threads: int = 1) -> None:
    """One run of a suite: what the Snakefile calls."""
    from iqasuite import batch

    try:
        batch.run_notebook(suite, run, threads)
    except batch.RunFailed as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


@app.command("gallery")
def build_gallery(name: SuiteName) -> None:
    """Build the pages of a suite from what its runs have left in results/."""
    from iqasuite.report import gallery
    from iqasuite.suite import read_suite

    typer.echo(gallery.build(read_suite(name)))


@data_app.command("list")
def list_data() -> None:
    """List the data sets and whether they are here."""
    from iqasuite.paths import cache_root, data_root

    folders = {"demo": cache_root() / "demo", "tta_h265_lab": data_root() / "tta_h265_lab"}
    for name, folder in folders.items():
        state = "here" if folder.is_dir() else "made on first use" if name == "demo" else "not here"
        typer.echo(f"{name:14} {state:18} {folder}")


@data_app.command("make-demo")
def make_demo(
    folder: Annotated[Path | None, typer.Option(help="Where [default: demo/ in the cache folder].")] = None,
) -> None:
    """Make the demo set: photographs that need no download, distorted and rated by simulated observers."""
    from iqasuite.data import demo
    from iqasuite.paths import cache_root

    root = folder or cache_root() / "demo"
    demo.make(root)
    typer.echo(root)


@playlist_app.command("check")
def check_playlist(
    file: Annotated[Path, typer.Argument(help="Playlist: Image Name,Vote[,Duration,Timestamp].")],
    images: Annotated[Path | None, typer.Option(help="Folder of the images that may be named.")] = None,
) -> None:
    """Check a rating playlist; say in one line what is in it, or what is wrong."""
    from iqasuite.data.playlists import read_playlist

    if images is not None and not images.is_dir():
        raise InputError(f"{images}: no such folder")
    known = (
        None
        if images is None
        else [path.relative_to(images).as_posix() for path in images.rglob("*") if path.is_file()]
    )
    votes = read_playlist(file, known_images=known)
    counts = ", ".join(f"{vote}: {number}" for vote, number in votes["vote"].value_counts().sort_index().items())
    typer.echo(f"{file}: {len(votes)} votes, {votes['image'].nunique()} images ({counts})")
