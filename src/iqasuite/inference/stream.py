"""Images on their way through networks: read in threads ahead of them, predicted in batches, given back in order.

However many pictures there are, a fixed number of them is in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from iqasuite.errors import InputError
from iqasuite.images.read_ahead import futures_ahead

if TYPE_CHECKING:
    import numpy as np

    from iqasuite.inference.predictor import Prediction, Predictor

T = TypeVar("T")
R = TypeVar("R")
_BATCHES = 4  # looked at together, so that pictures of one shape find each other


def predicted(
    predictor: Predictor, paths: Iterable[Path | str], batch_size: int = 16, workers: int | None = None
) -> Iterator[tuple[Path, Prediction | str]]:
    """Each picture file with what a model says of it, or with the reason why there is nothing, in their order.

    Args:
        predictor: `inference.predictor.load_predictor`.
        paths: taken as they are needed, a few batches ahead.
        batch_size: pictures of one shape that go through the network together on a GPU, at most; on a processor each
            goes alone.
        workers: threads that read files and bring them to the network's size; None = one a core, at most eight.

    Raises:
        InputError: a batch size or number of workers below 1.
    """
    for path, found in predicted_by([predictor], map(Path, paths), picture, batch_size, workers):
        yield path, found if isinstance(found, str) else found[0][0]


def picture(path: Path) -> np.ndarray:
    """A picture file as uint8 (H, W, 3), see `images.loading.read_image`."""
    from iqasuite.images.loading import read_image

    return read_image(path)


def predicted_by(
    predictors: Sequence[Predictor],
    items: Iterable[T],
    read: Callable[[T], np.ndarray],
    batch_size: int = 16,
    workers: int | None = None,
) -> Iterator[tuple[T, list[tuple[Prediction, np.ndarray]] | str]]:
    """Each item with every predictor's prediction and the image as this predictor saw it; or the reason why not.

    Args:
        predictors: each is shown all pictures.
        items: what pictures are known by.
        read: item -> uint8 (H, W, 3), called in threads; raises InputError.
        batch_size, workers: as of `predicted`.
    """
    if batch_size < 1 or (workers is not None and workers < 1):
        raise InputError(f"batch size {batch_size}, workers {workers}; expected 1 or more of each")
    sides = {predictor.shorter_side: predictor for predictor in predictors}

    def shown(item: T) -> dict[int, np.ndarray]:
        pixels = read(item)
        try:
            return {side: predictor.shown(pixels) for side, predictor in sides.items()}
        except InputError as error:
            raise InputError(f"{item}: {error}") from None

    stream = read_ahead(shown, items, workers, _BATCHES * batch_size)
    while some := list(islice(stream, _BATCHES * batch_size)):
        readable = [seen for _, seen in some if not isinstance(seen, str)]
        by_predictor = []
        for predictor in predictors:
            mine = [seen[predictor.shorter_side] for seen in readable]
            by_predictor.append(zip(predictor.predict(mine, batch_size), mine, strict=True))
        said = zip(*by_predictor, strict=True)
        for item, seen in some:
            yield item, seen if isinstance(seen, str) else _defined(item, list(next(said)))


def _defined(item: object, said: list[tuple[Prediction, np.ndarray]]) -> list[tuple[Prediction, np.ndarray]] | str:
    wrong = [prediction.score for prediction, _ in said if not math.isfinite(prediction.score)]
    return f"{item}: the score is {wrong[0]}; expected a number" if wrong else said


def read_ahead(
    read: Callable[[T], R], items: Iterable[T], workers: int | None = None, ahead: int = 32
) -> Iterator[tuple[T, R | str]]:
    """Each item with what `read` makes of it, or with the message of its error, in order; arguments as of
    `images.read_ahead.futures_ahead`."""
    for item, future in futures_ahead(read, items, workers, ahead):
        result = _result(item, future)
        yield item, result


def _result(item: object, future: Future[R]) -> R | str:
    try:
        return future.result()
    except (InputError, OSError) as error:
        return str(error)
    except MemoryError:
        return f"{item}: too large for this machine's memory"
