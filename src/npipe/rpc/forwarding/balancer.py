"""Balancer: selects one of several servers for the next call. Sans-I/O; used in one thread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable

__all__ = ["Balancer", "Name"]

Name = Hashable
"""The key of a server."""


class Balancer:
    """The servers, with the number of calls in progress at each, over all clients."""

    def __init__(self, names: Callable[[], Iterable[Name]]) -> None:
        """Make a balancer.

        Args:
            names: Returns the servers that exist now.
        """
        self.names = names
        self.down: set[Name] = set()  # servers that could not be reached or were lost
        self.load: Counter[Name] = Counter()  # calls and subscriptions, or assigned clients
        self.lost: Counter[str] = Counter()  # lost calls, by whether they may have been executed

    def up(self, *, tried: Collection[Name] = ()) -> list[Name]:
        """Return the servers to try, the least loaded first.

        Servers that are down are returned only if there is no other.
        """
        names = [name for name in self.names() if name not in tried]
        usable = [name for name in names if name not in self.down] or names
        return sorted(usable, key=self.load.__getitem__)

    def mark_down(self, name: Name) -> None:
        """Return a server last from now on: it could not be reached, or was lost."""
        self.down.add(name)

    def mark_up(self, name: Name) -> None:
        """Return a server by its load again."""
        self.down.discard(name)
