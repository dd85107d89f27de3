"""`iqasuite playlist …`: rating playlists checked and converted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from iqasuite.cli.options import Overwrite
from iqasuite.errors import InputError

app = typer.Typer(help="Rating playlists (CSV).", no_args_is_help=True)


@app.command("check")
def check_playlist(
    source: Annotated[Path, typer.Argument(metavar="FILE|FOLDER", help="Playlist, or folder with one per observer.")],
    images: Annotated[Path | None, typer.Option(help="Folder of the images that may be named.")] = None,
) -> None:
    """Check rating playlists; list what is in them, or what is wrong.

    Of a folder: a report of every session, and warnings where a session does not repeat the one it should, or is listed
    twice. Exit status 2: files that cannot be read; all of them are named.

    Example: iqasuite playlist check playlists/demo
    """
    from iqasuite.datasets.playlists import read_playlist

    if images is not None and not images.is_dir():
        raise InputError(f"{images}: no such folder")
    files = [path for path in images.rglob("*") if path.is_file()] if images else []
    known = [path.relative_to(images).as_posix() for path in files] if images else None
    if source.is_dir():
        _check_sessions(source, known)
        return
    votes = read_playlist(source, known_images=known)
    counts = ", ".join(f"{vote}: {number}" for vote, number in votes["vote"].value_counts().sort_index().items())
    typer.echo(f"{source}: {len(votes)} votes, {votes['image'].nunique()} images ({counts})")


def _check_sessions(folder: Path, known_images: list[str] | None) -> None:
    from iqasuite.datasets.playlists import checked_playlists
    from iqasuite.datasets.sessions import copied_sessions, faulty_runs, report_text, session_report

    votes, messages = checked_playlists(folder, known_images=known_images)
    for message in messages:
        typer.echo(f"error: {message}", err=True)
    if messages:
        raise typer.Exit(2)
    report = session_report(votes)
    typer.echo(report_text(report))
    typer.echo(f"{folder}: {len(votes)} votes of {votes['observer'].nunique()} observers in {len(report)} sessions")
    for why in [*faulty_runs(votes)["why"], *copied_sessions(votes)["why"]]:
        typer.echo(f"warning: {why}")


@app.command("convert")
def convert_playlist(
    source: Annotated[Path, typer.Argument(help="MATLAB session (.mat), or a folder of them.")],
    target: Annotated[Path, typer.Argument(help="Folder for the playlists; for one session also a name in .csv.")],
    overwrite: Overwrite = False,
) -> None:
    """Make CSV playlists of rating sessions that MATLAB saved: all of them or none.

    Example: iqasuite playlist convert sessions playlists/mine
    """
    from iqasuite.datasets.playlists import convert_playlists

    written = convert_playlists(source, target, overwrite)
    for path in written:
        typer.echo(path)
    typer.echo(f"{len(written)} playlists; next: iqasuite playlist check {target}")
