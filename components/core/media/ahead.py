"""Making the next items while the last ones are used: decoders, drawing and encoders need no GIL."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class _End:
    """Comes after the last item."""


def ahead(items: Iterable[T], most: int = 16) -> Iterator[T]:
    """The same items in the same order, made in a thread of their own, up to `most` ahead.

    What making them raises is raised where the item would have come.
    """
    source, end = iter(items), _End()
    pool = ThreadPoolExecutor(max_workers=1)
    waiting: deque[Future[T | _End]] = deque(pool.submit(next, source, end) for _ in range(most))
    try:
        while not isinstance(item := waiting.popleft().result(), _End):
            waiting.append(pool.submit(next, source, end))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)
        if hasattr(source, "close"):
            source.close()
