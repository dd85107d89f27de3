"""Pictures on their way through networks: read in threads ahead of them, judged in batches, given back in order.

However many pictures there are, a fixed number of them is in memory.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from iqasuite.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from iqasuite.inference.predictor import Judge, Judgement

T = TypeVar("T")
R = TypeVar("R")
_BATCHES = 4  # looked at together, so that pictures of one shape find each other


def judged(
    judge: Judge, paths: Iterable[Path | str], batch_size: int = 16, workers: int | None = None
) -> Iterator[tuple[Path, Judgement | str]]:
    """Each picture file with what a model says of it, or with the reason why there is nothing, in their order.

    Args:
        judge: `inference.predictor.load_judge`.
        paths: taken as they are needed, a few batches ahead.
        batch_size: pictures of one shape that go through the network together, at most; on a processor
            fewer, where they are large.
        workers: threads that read files and bring them to the network's size; None = one a core, at most eight.

    Raises:
        InputError: a batch size or number of workers below 1.
    """
    for path, found in judged_by([judge], map(Path, paths), picture, batch_size, workers):
        yield path, found if isinstance(found, str) else found[0][0]


def picture(path: Path) -> np.ndarray:
    """A picture file as uint8 (H, W, 3), see `images.loading.read_image`."""
    from iqasuite.images.loading import read_image

    return read_image(path)


def judged_by(
    judges: Sequence[Judge],
    items: Iterable[T],
    read: Callable[[T], np.ndarray],
    batch_size: int = 16,
    workers: int | None = None,
) -> Iterator[tuple[T, list[tuple[Judgement, np.ndarray]] | str]]:
    """Each item with every judge's judgement and the picture as this judge saw it; or the reason why not.

    Args:
        judges: each is shown all pictures.
        items: what pictures are known by.
        read: item -> uint8 (H, W, 3), called in threads; raises InputError.
        batch_size, workers: as of `judged`.
    """
    if batch_size < 1 or (workers is not None and workers < 1):
        raise InputError(f"batch size {batch_size}, workers {workers}; expected 1 or more of each")
    sides = {judge.shorter_side: judge for judge in judges}

    def shown(item: T) -> dict[int, np.ndarray]:
        pixels = read(item)
        try:
            return {side: judge.shown(pixels) for side, judge in sides.items()}
        except InputError as error:
            raise InputError(f"{item}: {error}") from None

    stream = read_ahead(shown, items, workers, _BATCHES * batch_size)
    while some := list(islice(stream, _BATCHES * batch_size)):
        readable = [seen for _, seen in some if not isinstance(seen, str)]
        by_judge = []
        for judge in judges:
            mine = [seen[judge.shorter_side] for seen in readable]
            by_judge.append(zip(judge.judge(mine, batch_size), mine, strict=True))
        said = zip(*by_judge, strict=True)
        for item, seen in some:
            yield item, seen if isinstance(seen, str) else _defined(item, list(next(said)))


def _defined(item: object, said: list[tuple[Judgement, np.ndarray]]) -> list[tuple[Judgement, np.ndarray]] | str:
    wrong = [judgement.score for judgement, _ in said if not math.isfinite(judgement.score)]
    return f"{item}: the score is {wrong[0]}; expected a number" if wrong else said


def read_ahead(
    read: Callable[[T], R], items: Iterable[T], workers: int | None = None, ahead: int = 32
) -> Iterator[tuple[T, R | str]]:
    """Each item with what `read` makes of it, or with the message of its error, in order.

    Args:
        read: called in threads.
        items: taken when there is room for another.
        workers: threads; None = one a core, at most eight.
        ahead: how many may be read and not yet taken.
    """
    waiting: deque[tuple[T, Future[R]]] = deque()
    items = iter(items)
    with ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1), "read") as pool:
        try:
            for item in islice(items, ahead):
                waiting.append((item, pool.submit(read, item)))
            while waiting:
                item, future = waiting.popleft()
                result = _result(item, future)
                for another in islice(items, 1):
                    waiting.append((another, pool.submit(read, another)))
                yield item, result
        finally:  # whoever takes no more waits for what is being read, not for what is not begun
            pool.shutdown(wait=False, cancel_futures=True)


def _result(item: object, future: Future[R]) -> R | str:
    try:
        return future.result()
    except (InputError, OSError) as error:
        return str(error)
    except MemoryError:
        return f"{item}: too large for this machine's memory"
