"""Warnings of image decoders go to the log, with the name of the file."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

_log = logging.getLogger(__name__)


class DecoderWarnings:
    """Warnings of those threads that read a file are logged, all others are shown as before.

    Python's warning filters belong to the whole process: they are changed when the first thread begins to read, and
    put back when the last one ends, so that threads do not undo each other's changes.
    """

    def __init__(self) -> None:
        self._lock, self._reading, self._here = threading.Lock(), 0, threading.local()

    @contextmanager
    def logged(self, path: Path) -> Iterator[None]:
        """Warnings of this thread, each once, are of this file."""
        with self._lock:
            self._reading += 1
            if self._reading == 1:
                self._change()
        self._here.messages = {}
        try:
            yield
        finally:
            messages, self._here.messages = self._here.messages, None
            with self._lock:
                self._reading -= 1
                if not self._reading:
                    self._before.__exit__(None, None, None)
            for message in messages:
                _log.warning("%s: %s", path, message)

    def _change(self) -> None:
        self._before = warnings.catch_warnings()
        self._before.__enter__()
        show = warnings.showwarning

        def keep(message: Warning | str, *details: Any, **more: Any) -> None:
            messages = getattr(self._here, "messages", None)
            if messages is None:
                show(message, *details, **more)
            else:
                messages[" ".join(str(message).split())] = True

        warnings.showwarning = keep
        warnings.filterwarnings("always", module="PIL")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit is ours
