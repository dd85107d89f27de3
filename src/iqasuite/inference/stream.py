"""Images on their way through networks: read in threads ahead of them, predicted in batches, given back in order.

However many images there are, a fixed number of them is in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from iqasuite.errors import InputError
from iqasuite.images.loading import read_image
from iqasuite.images.read_ahead import futures_ahead

if TYPE_CHECKING:
    import numpy as np

    from iqasuite.inference.predictor import Prediction, Predictor

T = TypeVar("T")
_BATCHES = 4  # looked at together, so that images of one shape find each other


def predicted(
    predictor: Predictor, paths: Iterable[Path | str], batch_size: int = 16, workers: int | None = None
) -> Iterator[tuple[Path, Prediction | str]]:
    """Each image file with its prediction, or with the reason why there is none, in their order.

    Args:
        predictor: `inference.predictor.load_predictor`.
        paths: taken as they are needed, a few batches ahead.
        batch_size: images of one shape that go through the network together on a GPU, at most; on a processor each
            goes alone.
        workers: threads that read files and bring them to the network's size; None = one a core, at most eight.

    Raises:
        InputError: a batch size or number of workers below 1.
    """
    for path, result in predicted_by([predictor], map(Path, paths), read_image, batch_size, workers):
        yield path, result if isinstance(result, str) else result[0][0]


def predicted_by(
    predictors: Sequence[Predictor],
    items: Iterable[T],
    read: Callable[[T], np.ndarray],
    batch_size: int = 16,
    workers: int | None = None,
) -> Iterator[tuple[T, list[tuple[Prediction, np.ndarray]] | str]]:
    """Each item with every predictor's prediction and the image as this predictor saw it; or the reason why not.

    Args:
        predictors: each is shown all images.
        items: what images are known by.
        read: item -> uint8 (H, W, 3), called in threads; raises InputError.
        batch_size, workers: as of `predicted`.
    """
    if batch_size < 1 or (workers is not None and workers < 1):
        raise InputError(f"batch size {batch_size}, workers {workers}; expected 1 or more of each")
    sides = {predictor.shorter_side: predictor for predictor in predictors}

    def shown(item: T) -> tuple[dict[int, np.ndarray], list[np.ndarray | None]]:
        pixels = read(item)
        try:
            seen = {side: predictor.shown(pixels) for side, predictor in sides.items()}
            return seen, [predictor.features(seen[predictor.shorter_side], pixels) for predictor in predictors]
        except InputError as error:
            raise InputError(f"{item}: {error}") from None

    ahead = _BATCHES * batch_size
    stream = futures_ahead(shown, items, workers, ahead)
    while some := [(item, _result(item, future)) for item, future in islice(stream, ahead)]:
        readable = [images for _, images in some if not isinstance(images, str)]
        by_predictor = []
        for k, predictor in enumerate(predictors):
            mine = [images[predictor.shorter_side] for images, _ in readable]
            predicted = predictor.predict(mine, batch_size, [features[k] for _, features in readable])
            by_predictor.append(zip(predicted, mine, strict=True))
        predictions = zip(*by_predictor, strict=True)
        for item, images in some:
            yield item, images if isinstance(images, str) else _defined(item, next(predictions))


def _defined(item: object, predicted: Iterable[tuple[Prediction, np.ndarray]]) -> list | str:
    predictions = list(predicted)
    wrong = [prediction.score for prediction, _ in predictions if not math.isfinite(prediction.score)]
    return f"{item}: the score is {wrong[0]}; expected a number" if wrong else predictions


def _result(item: object, future: Future) -> Any:
    try:
        return future.result()
    except (InputError, OSError) as error:
        return str(error)
    except MemoryError:
        return f"{item}: too large for this machine's memory"
