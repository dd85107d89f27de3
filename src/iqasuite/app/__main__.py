"""`python -m iqasuite.app`: the page, as `iqasuite app` starts it."""

from iqasuite.app import serve

serve()
