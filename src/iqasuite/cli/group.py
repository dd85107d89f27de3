"""How the command ends: in one line and an exit status, whatever went wrong."""

from __future__ import annotations

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


class Commands(TyperGroup):
    """Errors that the user can mend are one line and exit status 2; Ctrl-C is 130."""

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
        except OSError as error:  # a full disk, a folder that cannot be written
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
