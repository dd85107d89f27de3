"""The rating of images in a notebook's cell: the same session and playlists as the page's, with buttons for keys."""

from __future__ import annotations

import time

import ipywidgets

from iqasuite.app.own_observer import answer
from iqasuite.datasets.dataset import Dataset
from iqasuite.datasets.rating_session import CATEGORIES, RatingSession, Shown
from iqasuite.errors import InputError
from iqasuite.evaluation.subjects.trunk_scores import TrunkScores
from iqasuite.images.distortions.compression import png_bytes


class RatingCell:
    """A cell in which one observer rates a set, one image at a time.

    Args:
        dataset: whose images, each at the set's display size.
        observer: who rates.

    Attributes:
        widget: what a notebook displays; every vote is in `session.votes()` as it is given.
        session: what was rated, and what comes next.

    Raises:
        InputError: as `RatingSession`.
    """

    def __init__(self, dataset: Dataset, observer: str):
        self.session = RatingSession(dataset, observer)
        self._image, self._line, self._result = ipywidgets.Image(format="png"), ipywidgets.Label(), ipywidgets.HTML()
        self._votes = [ipywidgets.Button(description=f"{k} {word}") for k, word in enumerate(CATEGORIES, 1)]
        for vote, button in enumerate(self._votes, 1):
            button.on_click(lambda _, vote=vote: self._given(vote))
        undo, result = ipywidgets.Button(description="Undo"), ipywidgets.Button(description="Your observer")
        undo.on_click(lambda _: self._undo())
        result.on_click(lambda _: self._show_result())
        shown = ipywidgets.VBox([self._image], layout=ipywidgets.Layout(align_items="center", padding="12px"))
        shown.add_class("iqa-mid-gray")
        gray = ipywidgets.HTML("<style>.iqa-mid-gray { background: #808080; }</style>")
        rows = [ipywidgets.HBox(self._votes), ipywidgets.HBox([undo, result, self._line])]
        self.widget = ipywidgets.VBox([gray, shown, *rows, self._result])
        self._now: Shown | None = None
        self._next()

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.widget)

    def _next(self, said: str = "") -> None:
        votes = self.session.votes()
        while now := self.session.coming(votes):
            try:
                dataset, image = self.session.dataset, self.session.images[now.image]
                self._image.value = png_bytes(dataset.read(image, dataset.display_size))
                break
            except InputError as error:
                self.session.unreadable[now.image] = said = str(error)
        self._now, self._since = now, time.monotonic()
        for button in self._votes:
            button.disabled = now is None
        progress = f"{len(votes) + 1} of {len(votes) + self.session.left(votes)}" if now else "All images are rated."
        self._line.value = said or progress

    def _given(self, vote: int) -> None:
        try:
            if self._now is not None:
                self.session.record(self._now, vote, time.monotonic() - self._since)
            self._next()
        except InputError as error:
            self._next(str(error))

    def _undo(self) -> None:
        last = self.session.last(self.session.votes())
        try:
            if last is not None:
                self.session.undo(last)
            self._next()
        except InputError as error:
            self._next(str(error))

    def _show_result(self) -> None:
        votes, scores = self.session.votes(), TrunkScores(self.session.dataset)
        try:
            scores.complete(self.session.dataset.images["image"])
            self._result.value = str(answer(self.session, votes, scores))
        except InputError as error:
            self._line.value = str(error)
