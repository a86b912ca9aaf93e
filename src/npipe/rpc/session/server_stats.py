"""Counters of a server, for ``Server.stats``. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from npipe.rpc.session.session import Session

__all__ = ["Counted", "Stats"]


class Counted(Protocol):
    """A connection that counts."""

    @property
    def session(self) -> Session: ...
    @property
    def bytes_in(self) -> int: ...
    @property
    def bytes_out(self) -> int: ...


class Stats:
    """Sums over the connections that have ended; ``report`` adds those that are open."""

    def __init__(self) -> None:
        self.connections = 0
        self._sums: dict[str, int] = {"calls": 0, "errors": 0, "bytes_in": 0, "bytes_out": 0}
        self._methods: dict[str, tuple[int, float]] = {}

    def add(self, link: Counted) -> None:
        """Keep the counts of a connection that has ended."""
        _add(self._sums, self._methods, link)

    def report(self, open_links: Iterable[Counted]) -> dict[str, Any]:
        """Return all counts, by name; seconds for ``methods``."""
        sums, methods, links = dict(self._sums), dict(self._methods), tuple(open_links)
        for link in links:
            _add(sums, methods, link)
        return {
            "connections": {"open": len(links), "total": self.connections},
            **sums,
            "subscriptions": sum(len(link.session.subscriptions) for link in links),
            "methods": {
                name: {"calls": calls, "seconds": seconds}
                for name, (calls, seconds) in sorted(methods.items())
            },
        }


def _add(sums: dict[str, int], methods: dict[str, tuple[int, float]], link: Counted) -> None:
    sums["calls"] += link.session.calls
    sums["errors"] += link.session.errors
    sums["bytes_in"] += link.bytes_in
    sums["bytes_out"] += link.bytes_out
    for name, timing in tuple(link.session.timings.items()):
        calls, seconds = methods.get(name, (0, 0.0))
        methods[name] = (calls + timing.calls, seconds + timing.seconds)
