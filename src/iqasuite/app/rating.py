"""The Rate page: images one at a time, a vote each by keyboard, and the observer that they make. Loopback only.

It stands alone (`iqasuite rate`) and as a tab of the page; both are the same addresses below `/rate/`.
"""

from __future__ import annotations

import hashlib
import io
import logging
import socket
import threading
import webbrowser
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from iqasuite.app.doorkeeper import LOCAL, Doorkeeper, free_port
from iqasuite.datasets.dataset import Dataset
from iqasuite.datasets.rating_session import RatingSession, Shown
from iqasuite.errors import InputError

_log = logging.getLogger(__name__)
HOST = "127.0.0.1"
_PAGE = Path(__file__).with_name("rating.html")
_MOST = 10_000  # bytes of what the page sends
_OBSERVERS, _IMAGES = 64, 6  # that are kept in memory
_AT_ONCE = 4  # images that are scored before an observer that waits is made


class Rating:
    """The rating of one set by any number of observers, each of whom sees their own votes only.

    Args:
        dataset: whose images are rated, the only files that are served.
        observer: who rates; "" = the page asks for the name.
    """

    def __init__(self, dataset: Dataset, observer: str = ""):
        self.dataset, self.observer = dataset, observer
        if observer:
            RatingSession(dataset, observer)  # a wrong name is an error before anything begins
        self._sessions: OrderedDict[str, tuple[RatingSession, dict[str, Shown]]] = OrderedDict()
        self._encoded: OrderedDict[str, bytes] = OrderedDict()
        self._lock, self._scoring = threading.Lock(), threading.Lock()
        self._scores: Any = None
        self._background: threading.Thread | None = None

    def app(self) -> Starlette:
        """What answers the addresses below `/rate/`."""
        routes = [
            Route("/rate/", self._page),
            Route("/rate/state", partial(self._answer, self.state)),
            Route("/rate/image/{token}", self._image),
            Route("/rate/vote", partial(self._answer, self.vote), methods=["POST"]),
            Route("/rate/undo", partial(self._answer, self.undo), methods=["POST"]),
            Route("/rate/observer", partial(self._answer, self.result), methods=["POST"]),
            Route("/", lambda request: RedirectResponse("/rate/")),
        ]
        return Starlette(routes=routes)

    def state(self, observer: str, sent: dict[str, Any] | None = None) -> dict[str, Any]:
        """What the page shows next: tokens of images, how far the observer is, and sentences about the folder."""
        session, _ = self._session(observer)
        votes = session.votes()
        now = self._readable(session, votes)
        last, after = session.last(votes), now and session.following(votes, now)
        quality = {} if self._scores is None else {i: row[0] for i, row in dict(self._scores.values).items()}
        wrong = [
            f"{name}: {why.rpartition(f'{name}: ')[2]}; it is left out." for name, why in session.unreadable.items()
        ]
        return {
            "observer": session.observer,
            "done": len(votes),
            "left": session.left(votes),
            "now": now and _token(session, now),
            "after": after and _token(session, after),
            "undo": last and _token(session, last),
            "training": [] if len(votes) else [_token(session, Shown(i)) for i in session.training(quality)],
            "notes": [*session.changes(votes), *wrong],
        }

    def vote(self, observer: str, sent: dict[str, Any]) -> dict[str, Any]:
        """Record a vote; the state after it."""
        session, tokens = self._session(observer)
        session.record(_shown(tokens, sent), sent.get("vote"), sent.get("duration"))
        return self.state(observer)

    def undo(self, observer: str, sent: dict[str, Any]) -> dict[str, Any]:
        """Take the last vote back; the state after it."""
        session, tokens = self._session(observer)
        session.undo(_shown(tokens, sent))
        return self.state(observer)

    def result(self, observer: str, sent: dict[str, Any] | None = None) -> dict[str, Any]:
        """The observer that the votes make, as HTML; its weights are written for `iqasuite score`."""
        from iqasuite.app.own_observer import answer  # the models take seconds to import: not before the first image

        session, _ = self._session(observer)
        votes = session.votes()
        with self._scoring:
            scores = self._trunk()
            scores.complete([session.images[name] for name in votes["image"].unique() if name in session.images])
            return {"html": str(answer(session, votes, scores))}

    async def _answer(self, function: Callable[..., dict[str, Any]], request: Request) -> Response:
        observer = self.observer
        try:
            sent = await _sent(request)
            observer = str(sent.get("observer") or self.observer)
            return JSONResponse(await run_in_threadpool(function, observer, sent))
        except InputError as error:
            answer: dict[str, Any] = {"error": str(error)}
            status = 409 if function in (self.vote, self.undo) else 422
            if status == 409:
                answer["state"] = await run_in_threadpool(_quietly, self.state, observer)
            return JSONResponse(answer, status)
        except Exception:
            _log.exception("the page could not answer")
            return JSONResponse({"error": "Something went wrong; the program's log has the reason."}, 500)

    async def _page(self, request: Request) -> Response:
        return HTMLResponse(await run_in_threadpool(_PAGE.read_text, encoding="utf-8"))

    async def _image(self, request: Request) -> Response:
        try:
            session, tokens = self._session(request.query_params.get("observer") or self.observer)
            image = session.images[_shown(tokens, request.path_params).image]
            content = await run_in_threadpool(self._png, image)
        except (InputError, KeyError) as error:
            return Response(str(error), 404, media_type="text/plain")
        self._begin_scoring(session)
        return Response(content, media_type="image/png", headers={"cache-control": "private, max-age=600"})

    def _session(self, observer: str) -> tuple[RatingSession, dict[str, Shown]]:
        with self._lock:
            if observer not in self._sessions:
                session = RatingSession(self.dataset, observer)
                shown = [Shown(image, repeat) for image in session.images for repeat in (False, True)]
                self._sessions[observer] = session, {_token(session, each): each for each in shown}
                while len(self._sessions) > _OBSERVERS:
                    self._sessions.popitem(last=False)
            return self._sessions[observer]

    def _readable(self, session: RatingSession, votes) -> Shown | None:
        """The next image that can be shown; what cannot be read is noted, and no more asked for."""
        while shown := session.coming(votes):
            try:
                self._png(session.images[shown.image])
                return shown
            except InputError as error:
                session.unreadable[shown.image] = str(error)
        return None

    def _png(self, image: str) -> bytes:
        """An image at its display size, lossless whatever its format; only of files below the set's folder."""
        with self._lock:
            if image in self._encoded:
                return self._encoded[image]
        if not self.dataset.path(image).resolve().is_relative_to(self.dataset.root.resolve()):
            raise InputError(f"{image}: leads out of the folder; expected an image in it")
        file = io.BytesIO()
        Image.fromarray(self.dataset.read(image, self.dataset.display_size)).save(file, "PNG", compress_level=1)
        with self._lock:
            self._encoded[image] = file.getvalue()
            while len(self._encoded) > _IMAGES:
                self._encoded.popitem(last=False)
        return file.getvalue()

    def _trunk(self):
        from iqasuite.evaluation.subjects.trunk_scores import TrunkScores

        if self._scores is None:
            self._scores = TrunkScores(self.dataset)
        return self._scores

    def _begin_scoring(self, session: RatingSession) -> None:
        """Have the trunk score the images while the observer looks at them."""
        with self._lock:
            if self._background is None:
                self._background = threading.Thread(target=self._score, args=(session,), daemon=True)
                self._background.start()

    def _score(self, session: RatingSession) -> None:
        try:
            from iqasuite.app import own_observer  # noqa: F401 (imported before it is asked for)

            images = list(session.images.values())
            for start in range(0, len(images), _AT_ONCE):
                with self._scoring:
                    self._trunk().complete(images[start : start + _AT_ONCE])
        except Exception:
            _log.exception("the images could not be scored")


async def _sent(request: Request) -> dict[str, Any]:
    """What the page sent: the address's parameters, or a small JSON object."""
    if request.method == "GET":
        return dict(request.query_params)
    length = request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > _MOST:
        raise InputError(f"a request of {length or 'unknown'} bytes; expected at most {_MOST}")
    try:
        sent = await request.json()
    except ValueError:
        sent = None
    if not isinstance(sent, dict):
        raise InputError("a request that is no JSON object; expected what the page sends")
    return sent


def _quietly(function: Callable[[str], dict[str, Any]], observer: str) -> dict[str, Any] | None:
    try:
        return function(observer)
    except InputError:
        return None


def _token(session: RatingSession, shown: Shown) -> str:
    """What the page calls an image: its name may give the distortion away, and that it is shown again is hidden."""
    text = "\0".join((session.observer, shown.image, str(shown.repeat)))
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _shown(tokens: dict[str, Shown], sent: dict[str, Any]) -> Shown:
    token = sent.get("token")
    if not isinstance(token, str) or token not in tokens:
        raise InputError("an image that is not in the folder any more; expected one of its images")
    return tokens[token]


def serve(
    dataset: Dataset,
    observer: str = "",
    port: int = 7860,
    open_browser: bool = False,
    say: Callable[[str], None] = print,
) -> None:
    """Run the rating page alone until Ctrl-C, on this computer only.

    Args:
        dataset: whose images are rated.
        observer: who rates; "" = the page asks.
        port: the next free one where it is taken.
        open_browser: open the page in the browser.
        say: takes the line with the address once the page is ready.

    Raises:
        InputError: a wrong name, no free port.
    """
    rating = Rating(dataset, observer).app()
    app = TrustedHostMiddleware(Doorkeeper(rating, rating=rating), list(LOCAL))
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, free_port(HOST, port)))
        listening.listen()
        address = f"http://{HOST}:{listening.getsockname()[1]}/rate/" + (
            f"?observer={quote(observer)}" if observer else ""
        )
        say(f"Rate: {address} (Ctrl-C ends it; every vote is saved as it is given)")
        if open_browser:
            webbrowser.open(address)
        config = uvicorn.Config(app, log_level="warning", lifespan="off", ws="none")
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])
