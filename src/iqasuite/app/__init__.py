"""`make app`: the page in the browser, images in, predicted quality out; on this computer only unless asked.

`page` is the page, `answers` what it shows, `uploads` what it takes.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from iqasuite.app.doorkeeper import LOCAL, Doorkeeper, free_port
from iqasuite.app.uploads import MAX_BYTES, private_folder

if TYPE_CHECKING:
    import gradio as gr
    from starlette.types import ASGIApp

    from iqasuite.datasets.dataset import Dataset

_SILENT = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1", "DISABLE_TELEMETRY": "1"}
QUEUE, AT_ONCE = 64, 4  # events that wait, and of one kind that run


def serve(
    host: str = "127.0.0.1",
    port: int | None = 7860,
    share: bool = False,
    open_browser: bool = False,
    rated: Dataset | None = None,
) -> None:
    """Run the page until Ctrl-C (or SIGTERM); then its uploads are deleted.

    Args:
        host: "127.0.0.1" = this computer only; "0.0.0.0" = everybody who reaches it.
        port: None or one that is taken = the next free one from 7860 or from it.
        share: make a public address through Gradio's servers.
        open_browser: open the page in the browser.
        rated: whose images the tab Rate shows; on this computer only, None = it says how to.

    Raises:
        InputError: no model without a reference in the weights folders, or no free port.
    """
    from iqasuite.app.rating import Rating
    from iqasuite.app.style import CSS  # takes seconds, and the rating page alone needs none

    page = None
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = private_folder()
    try:
        rating = Rating(rated).app() if rated is not None and host in LOCAL and not share else None
        page = build(folder, rating is not None)
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
            app_kwargs={"middleware": _middleware(host, share, rating)},
        )
        everybody = f" and, for everybody, {public}" if public else ""
        print(f"IQA Suite's page: {address}{everybody} (Ctrl-C ends it)", flush=True)
        threading.Event().wait()
    except KeyboardInterrupt:
        pass
    finally:
        if page is not None:
            page.close(verbose=False)
        shutil.rmtree(folder, ignore_errors=True)


def build(folder: Path, rating: bool = False) -> gr.Blocks:
    """The page, see `page.build`; Gradio is imported here, after it was told to be silent and where to write."""
    os.environ.update(_SILENT)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # Gradio asks itself whether it is up
    from iqasuite.app import page

    return page.build(folder, rating)


def _theme() -> gr.themes.Base:
    import gradio as gr

    from iqasuite.app.style import MONO, SANS

    return gr.themes.Base(primary_hue="blue", neutral_hue="slate", font=list(SANS), font_mono=list(MONO))


def _middleware(host: str, share: bool, rating: ASGIApp | None = None) -> list:
    """Who may ask what: other names for this computer are tricks of other pages (DNS rebinding)."""
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    local = [Middleware(TrustedHostMiddleware, allowed_hosts=list(LOCAL))] if host in LOCAL and not share else []
    return [*local, Middleware(Doorkeeper, forwarded=share, rating=rating)]
