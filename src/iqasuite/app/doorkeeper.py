"""Where the page listens, and who may ask it what: nobody but itself and programs may change anything."""

from __future__ import annotations

import errno
import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from iqasuite.errors import InputError

LOCAL = ("127.0.0.1", "localhost", "::1")
# What a browser asks for to show the page; Gradio offers much else (proxy, recordings, editing of code).
_OPEN = ("/", "/config", "/favicon.ico", "/robots.txt", "/theme.css", "/manifest.json")
_OPEN_FOLDERS = ("/assets/", "/static/", "/svelte/", "/gradio_api/file=")
_OPEN_CALLS = (
    *("info", "app_id", "theme.css", "startup-events", "heartbeat", "upload", "upload_progress"),
    *("queue", "run", "call", "cancel", "reset"),
)
_READING = ("GET", "HEAD", "OPTIONS")  # which change nothing
_HEADERS = {
    "content-security-policy": "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; frame-ancestors 'self'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
}


class Doorkeeper:
    """Lets through what the page needs, and tells browsers to load nothing from elsewhere (an ASGI middleware).

    Args:
        app: behind it.
        forwarded: whether a tunnel stands before it, which says in a header what host it was asked for.
        rating: answers what lies below `/rate/`; None = nothing does.
    """

    def __init__(self, app: ASGIApp, forwarded: bool = False, rating: ASGIApp | None = None):
        self.app, self.forwarded, self.rating = app, forwarded, rating

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] == "websocket":  # the page has none
            await send({"type": "websocket.close", "code": 1008})
            return
        app = self.app
        if scope["type"] == "http" and scope["path"].startswith("/rate/") and self.rating is not None:
            app = self.rating
        elif scope["type"] == "http" and not _is_open(scope["path"]):
            await _refuse(send, 404, b"not here")
            return
        if scope["type"] == "http" and scope["method"] not in _READING and not self._own(Headers(scope=scope)):
            await _refuse(send, 403, b"not from another page")
            return

        async def with_headers(message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *added]
            await send(message)

        await app(scope, receive, with_headers)

    def _own(self, headers: Headers) -> bool:
        """Whether a request comes from the page itself or from a program: browsers say where theirs come from."""
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return False
        hosts = headers.getlist("host") + (headers.getlist("x-forwarded-host") if self.forwarded else [])
        return all(_host(origin) in map(str.lower, hosts) for origin in headers.getlist("origin"))


def _host(origin: str) -> str:
    """Host and port of an origin as a Host header has them; "null", of pages without one, is no host."""
    try:
        return urlsplit(origin).netloc.lower() or "null"
    except ValueError:
        return "null"


async def _refuse(send: Send, status: int, why: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": why})


def _is_open(path: str) -> bool:
    if path.startswith("/gradio_api/") and not path.startswith(_OPEN_FOLDERS):
        return path.split("/")[2] in _OPEN_CALLS
    return path in _OPEN or path.startswith(_OPEN_FOLDERS)


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
