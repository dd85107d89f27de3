"""`python -m iqasuite`: the same as the `iqasuite` command."""

from iqasuite.cli import app

app(prog_name="iqasuite")
