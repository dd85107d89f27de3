"""A function called in threads, a few items ahead of whoever takes the results, so that memory stays small."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def futures_ahead(
    read: Callable[[T], R], items: Iterable[T], workers: int | None = None, ahead: int = 32
) -> Iterator[tuple[T, Future[R]]]:
    """Each item with the future of what `read` makes of it, in order.

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
                future.exception()  # waits
                for another in islice(items, 1):
                    waiting.append((another, pool.submit(read, another)))
                yield item, future
        finally:  # whoever takes no more waits for what is being read, not for what is not begun
            pool.shutdown(wait=False, cancel_futures=True)


def read_ahead(read: Callable[[T], R], items: Iterable[T], workers: int | None = None, ahead: int = 16) -> Iterator[R]:
    """What `read` makes of each item, in order; its errors are raised. Arguments as of `futures_ahead`."""
    for _, future in futures_ahead(read, items, workers, ahead):
        yield future.result()
