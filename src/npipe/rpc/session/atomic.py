"""Atomic steps that the core relies on in place of a lock.

Any thread may call any method of a session. The core has no lock; it changes shared lists, deques,
dicts and sets only by the steps below, and sets attributes. Each is one call of a C function on
objects whose hash and comparison run no Python code (bytes, str, int, or identity):

=============================  ====================================================================
step                           guarantee that is needed
=============================  ====================================================================
``attribute = value``          a reader sees the old or the new object, never a mixture
``list.append(item)``          the item is there once, also beside ``take_all``
``items[:]``                   a copy of one moment
``del items[:n]``              removes the first n; what was appended meanwhile stays
``deque.append, popleft``      each item is returned to exactly one thread
``dict.pop(key, default)``     exactly one thread receives the value
``dict.popitem, setdefault``   the same; one value wins, and all threads receive that one
``dict.update(dict)``          no key of another thread is lost
``set.add, discard``           no element of another thread is lost
``list(container)``            a copy of one moment (of a set or of a view of a dict, too)
``next(count)``                no number is returned twice
=============================  ====================================================================

With a GIL, CPython runs such a call without a switch of threads: it can switch between byte codes,
and in C code only where Python code is called. Without a GIL (3.13t and later) lists, dicts, sets
and deques have a lock each, which such a call holds, and ``itertools.count`` counts by an atomic
exchange (python/cpython#117657). ``tuple(container)`` is not such a call: it takes the elements of
anything but a list one after the other, and fails if it changes meanwhile.

Not atomic, and therefore never relied on: ``+=`` on an attribute. Counters that any thread
increments may lose an addition, and say so where they are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import count, islice
from typing import TypeVar

__all__ = ["Numbers", "pop_first", "pop_item", "snapshot", "take_all"]

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")


def take_all(items: list[T]) -> list[T]:
    """Remove and return all items of a list.

    Only one thread at a time may take; any thread may append meanwhile, and what it appends is
    returned now or stays.

    Args:
        items: The list.

    Returns:
        Its items, in order.
    """
    taken = items[:]
    del items[: len(taken)]
    return taken


def pop_first(items: deque[T]) -> T | None:
    """Remove and return the first item of a deque.

    Args:
        items: The deque. It contains no None.

    Returns:
        The item; None if there is none, also if another thread took the last one.
    """
    try:
        return items.popleft()
    except IndexError:
        return None


def pop_item(table: dict[K, V]) -> tuple[K, V] | None:
    """Remove and return an item of a dict; exactly one thread receives each.

    Args:
        table: The dict.

    Returns:
        The key and the value; None if there is none.
    """
    try:
        return table.popitem()
    except KeyError:
        return None


def snapshot(items: Iterable[T]) -> list[T]:
    """Return the elements that a container has at one moment, for a loop that may change it.

    Args:
        items: A set, or a view of a dict.

    Returns:
        The elements.
    """
    return list(items)


class Numbers:
    """The numbers 1, 2, 3 and so on. Any thread may call; no number is returned twice."""

    __slots__ = ("_numbers",)

    def __init__(self) -> None:
        self._numbers = count(1)

    def take(self) -> int:
        """Return the next number."""
        return next(self._numbers)

    def take_many(self, size: int) -> list[int]:
        """Return several numbers, in ascending order; those of other threads may lie between."""
        return list(islice(self._numbers, size))
