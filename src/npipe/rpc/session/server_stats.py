"""Counters of a server, for ``Server.stats``. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from npipe.rpc.session.atomic import snapshot
from npipe.rpc.session.session import Session
from npipe.rpc.session.timing import Timing

__all__ = ["Counted", "Stats", "add_up"]

_SUMS = ("calls", "errors", "bytes_in", "bytes_out", "in_flight", "subscriptions")


class Counted(Protocol):
    """A connection with counters."""

    @property
    def session(self) -> Session: ...
    @property
    def bytes_in(self) -> int: ...
    @property
    def bytes_out(self) -> int: ...


class Stats:
    """Sums over the ended connections; ``report`` adds those that are open."""

    def __init__(self) -> None:
        self.connections = 0
        self._sums: dict[str, int] = {"calls": 0, "errors": 0, "bytes_in": 0, "bytes_out": 0}
        self._methods: dict[str, Timing] = {}

    def add(self, connection: Counted) -> None:
        """Add the counters of a connection that has ended."""
        _add(self._sums, self._methods, connection)

    def report(self, open_connections: Iterable[Counted]) -> dict[str, Any]:
        """Return all counters by name; durations in ``methods`` are in seconds."""
        sums, connections = dict(self._sums), tuple(open_connections)
        methods: dict[str, Timing] = {}
        _add_timings(methods, self._methods)
        for one in connections:
            _add(sums, methods, one)
        return {
            "connections": {"open": len(connections), "total": self.connections},
            **sums,
            "in_flight": sum(one.session.in_flight for one in connections),
            "subscriptions": sum(len(one.session.subscriptions) for one in connections),
            "methods": {name: timing.record() for name, timing in sorted(methods.items())},
        }


def add_up(reports: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sum of the reports of several servers, in the form of ``Server.stats()``.

    An error code may be a string, as in a report decoded from JSON.
    """
    found = list(reports)
    methods: dict[str, Timing] = {}
    for report in found:
        _add_timings(methods, {name: _timing(each) for name, each in report["methods"].items()})
    return {
        "connections": {
            name: sum(report["connections"][name] for report in found) for name in ("open", "total")
        },
        **{name: sum(report[name] for report in found) for name in _SUMS},
        "methods": {name: timing.record() for name, timing in sorted(methods.items())},
    }


def _timing(record: Mapping[str, Any]) -> Timing:
    timing = Timing()
    timing.seconds = record["seconds"]
    timing.buckets = list(record["buckets"])
    timing.errors = {int(code): number for code, number in record["errors"].items()}
    return timing


def _add(sums: dict[str, int], methods: dict[str, Timing], connection: Counted) -> None:
    sums["calls"] += connection.session.statistics.calls
    sums["errors"] += connection.session.statistics.errors
    sums["bytes_in"] += connection.bytes_in
    sums["bytes_out"] += connection.bytes_out
    _add_timings(methods, connection.session.statistics.timings)


def _add_timings(methods: dict[str, Timing], more: Mapping[str, Timing]) -> None:
    for name, timing in snapshot(more.items()):
        if name not in methods:
            methods[name] = Timing()
        methods[name].add(timing)
