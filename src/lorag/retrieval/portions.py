"""Long work in portions: what ``Knowledge`` searches, embeds and writes at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


def in_parts(texts: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """``texts`` in their order, at most ``size`` at a time."""
    for start in range(0, len(texts), size):
        yield texts[start : start + size]


@contextmanager
def mapped(function: Callable[[S], T], items: Iterable[S], threads: int) -> Iterator[Iterator[T]]:
    """What ``function`` gives for each item, in order; with several threads they work ahead until the block ends."""
    if threads == 1:
        yield map(function, items)
        return
    pool = ThreadPoolExecutor(threads)
    try:
        yield pool.map(function, items)
    finally:
        pool.shutdown(cancel_futures=True)


def in_groups(documents: Sequence[list[T]], size: int) -> Iterator[list[T]]:
    """The rows of whole documents together, at least ``size`` in each group but the last."""
    group: list[T] = []
    for rows in documents:
        group += rows
        if len(group) >= size:
            yield group
            group = []
    if group:
        yield group
