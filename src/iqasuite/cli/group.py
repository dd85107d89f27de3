"""How the command begins and ends: old names, and one line with an exit status, whatever went wrong."""

from __future__ import annotations

import errno
from typing import Any

import typer
from typer.core import TyperGroup

from iqasuite.errors import InputError

# package that only some commands need -> the extra of pyproject.toml that brings it
EXTRAS = {
    "gradio": "app",
    **dict.fromkeys(("onnx", "onnxruntime"), "export"),
    **dict.fromkeys(
        ("snakemake", "papermill", "nbformat", "nbclient", "nbconvert", "jinja2", "markdown_it", "bleach", "pygments"),
        "batch",
    ),
}
# names of the five programs before this suite (docs/systems.md) -> ours; "" = the value alone, without an option
OLD_COMMANDS = {"inference": "score"}
OLD_OPTIONS = {"--model-path": "--model", "--ref": "--reference", "--image-path": "", "--distorted": ""}


class Commands(TyperGroup):
    """Errors that the user can mend are one line and exit status 2; Ctrl-C is 130; old names are taken, with a hint."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put today's names for old ones, each with a line on standard error."""
        today: list[str] = []
        for place, word in enumerate(args):
            name, equals, value = word.partition("=")
            new = OLD_COMMANDS.get(word) if place == 0 else OLD_OPTIONS.get(name)
            if new is None or "--" in args[:place]:
                today.append(word)
                continue
            typer.echo(f"{name}: the old name; now {new or 'the file alone, without an option'}", err=True)
            today += [f"{new}{equals}{value}"] if new else [value] * bool(equals)
        return super().parse_args(ctx, today)

    def invoke(self, ctx: Any) -> object:
        """Run the command, and turn what goes wrong into a line and an exit status."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(2) from None
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package not in EXTRAS:
                raise
            advice = f"pip install 'iqasuite[{EXTRAS[package]}]'"
            typer.echo(f"error: {package} is not installed; expected the extra that has it: {advice}", err=True)
            raise typer.Exit(2) from None
        except BrokenPipeError:  # the reader of our lines has gone (| head)
            raise
        except OSError as error:  # a full disk behind `>`; files are named by `paths.writable`
            where = "standard output: " if error.filename is None and error.errno == errno.ENOSPC else ""
            typer.echo(f"error: {where}{error}", err=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
