"""`make app`: the page in the browser, images in, predicted quality out; on this computer only unless asked.

`page` is the page, `answers` what it shows, `uploads` what it takes.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from iqasuite.app.style import CSS, MONO, SANS
from iqasuite.app.uploads import MAX_BYTES, private_folder
from iqasuite.errors import InputError

if TYPE_CHECKING:
    import gradio as gr

_SILENT = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1", "DISABLE_TELEMETRY": "1"}
_LOCAL = ("127.0.0.1", "localhost", "::1")
QUEUE, AT_ONCE = 64, 4  # events that wait, and of one kind that run
_flushed = partial(print, flush=True)  # seen at once where the output is a file


def serve(
    host: str = "127.0.0.1",
    port: int | None = 7860,
    share: bool = False,
    open_browser: bool = False,
    say: Callable[[str], None] = _flushed,
) -> None:
    """Run the page until Ctrl-C (or SIGTERM); then its uploads are deleted.

    Args:
        host: "127.0.0.1" = this computer only; "0.0.0.0" = everybody who reaches it.
        port: None or one that is taken = the next free one from 7860 or from it.
        share: make a public address through Gradio's servers.
        open_browser: open the page in the browser.
        say: takes the line with the address once the page is ready.

    Raises:
        InputError: no model without a reference in the weights folders, or no free port.
    """
    page = None
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = private_folder()
    try:
        page = build(folder)
        chosen = free_port(host, port or 7860)
        page.queue(max_size=QUEUE, default_concurrency_limit=AT_ONCE, api_open=False)
        _, address, public = page.launch(
            server_name=host,
            server_port=chosen,
            share=share,
            inbrowser=open_browser,
            prevent_thread_lock=True,
            quiet=True,
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            mcp_server=False,
            pwa=False,
            ssr_mode=False,
            allowed_paths=[],
            max_file_size=MAX_BYTES,
            theme=_theme(),
            css=CSS,
            app_kwargs={"middleware": _middleware(host, share)},
        )
        say(f"IQA Suite's page: {address}{f' and, for everybody, {public}' if public else ''} (Ctrl-C ends it)")
        threading.Event().wait()
    except KeyboardInterrupt:
        pass
    finally:
        if page is not None:
            page.close(verbose=False)
        shutil.rmtree(folder, ignore_errors=True)


def build(folder: Path) -> gr.Blocks:
    """The page, see `page.build`; Gradio is imported here, after it was told to be silent and where to write."""
    os.environ.update(_SILENT)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # Gradio asks itself whether it is up
    from iqasuite.app import page

    return page.build(folder)


def free_port(host: str, first: int) -> int:
    """The first port from `first` on that nobody listens on.

    Raises:
        InputError: a hundred are taken, or the host is none of this computer's, or the port needs more rights.
    """
    for port in range(first, min(first + 100, 65536)):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    continue
                raise InputError(f"host {host!r}, port {port}: {error.strerror}; expected 127.0.0.1, say") from None
            return port
    raise InputError(f"port {first}: no free one from there to {port} on {host}")


def _theme() -> gr.themes.Base:
    import gradio as gr

    return gr.themes.Base(primary_hue="blue", neutral_hue="slate", font=list(SANS), font_mono=list(MONO))


def _middleware(host: str, share: bool) -> list:
    """Who may ask what: other names for this computer are tricks of other pages (DNS rebinding)."""
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from iqasuite.app.page import Doorkeeper

    local = [Middleware(TrustedHostMiddleware, allowed_hosts=list(_LOCAL))] if host in _LOCAL and not share else []
    return [*local, Middleware(Doorkeeper, forwarded=share)]
