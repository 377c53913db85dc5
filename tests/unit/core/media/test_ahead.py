"""Items that are made in a thread while others are used."""

import threading
from collections.abc import Iterator

import pytest

from components.core.media.ahead import ahead


def test_the_same_items_in_order_made_in_one_other_thread() -> None:
    threads = set()

    def items() -> Iterator[int]:
        for item in range(100):
            threads.add(threading.current_thread())
            yield item

    assert list(ahead(items(), 3)) == list(range(100))
    assert len(threads) == 1 and threading.current_thread() not in threads
    assert list(ahead([])) == []


def test_an_error_comes_where_the_item_would_have_come() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("no more")

    made = ahead(items(), 8)
    assert [next(made), next(made)] == [1, 2]
    with pytest.raises(OSError, match="no more"):
        next(made)


def test_who_stops_early_ends_the_making() -> None:
    closed, made = threading.Event(), []

    def items() -> Iterator[int]:
        try:
            for item in range(1000):
                made.append(item)
                yield item
        finally:
            closed.set()

    source = ahead(items(), 4)
    assert next(source) == 0
    source.close()
    assert closed.is_set()
    assert len(made) <= 6  # the one that was taken, and those ahead
