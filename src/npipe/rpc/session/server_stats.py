"""Counters of a server, for ``Server.stats``. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

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

    def add(self, link: Counted) -> None:
        """Add the counters of a connection that has ended."""
        _add(self._sums, self._methods, link)

    def report(self, open_links: Iterable[Counted]) -> dict[str, Any]:
        """Return all counters by name; durations in ``methods`` are in seconds."""
        sums, links = dict(self._sums), tuple(open_links)
        methods: dict[str, Timing] = {}
        _add_timings(methods, self._methods)
        for link in links:
            _add(sums, methods, link)
        return {
            "connections": {"open": len(links), "total": self.connections},
            **sums,
            "in_flight": sum(link.session.in_flight for link in links),
            "subscriptions": sum(len(link.session.subscriptions) for link in links),
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


def _add(sums: dict[str, int], methods: dict[str, Timing], link: Counted) -> None:
    sums["calls"] += link.session.calls
    sums["errors"] += link.session.errors
    sums["bytes_in"] += link.bytes_in
    sums["bytes_out"] += link.bytes_out
    _add_timings(methods, link.session.timings)


def _add_timings(methods: dict[str, Timing], more: Mapping[str, Timing]) -> None:
    for name, timing in tuple(more.items()):
        if name not in methods:
            methods[name] = Timing()
        methods[name].add(timing)
