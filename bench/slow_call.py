"""How long the first slow call of a method, and the next one, hold up the calls of others."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

from . import rawclient
from .harness import Row, Table
from .servers import ASYNCIO_COMPILED, COMPILED, Absent, serve

SERVERS = ("npipe-threads", COMPILED, "npipe-asyncio", ASYNCIO_COMPILED)
SLOW = rawclient.request("hostile_block")  # it never returns
SECONDS = 0.3  # in which the others call


def tables(rounds: int) -> Iterator[Table]:
    samples: dict[str, list[float]] = {}
    absent: dict[str, str] = {}
    for _ in range(rounds):
        for kind in SERVERS:
            if kind in absent:
                continue
            try:
                for name, value in _hold_ups(kind):
                    samples.setdefault(f"{kind}, {name}", []).append(value)
            except Absent as reason:
                absent[kind] = str(reason)
    yield Table(
        "The longest call of another client during a slow call",
        "ms (less is better)",
        f"{SERVERS[0]}, no slow call",
        [Row(name, values) for name, values in samples.items()],
        "the first slow call of a method 20 ms, the next one 1 ms",
        absent,
    )


def _hold_ups(kind: str) -> Iterator[tuple[str, float]]:
    """Start a server; yield the longest call in ms, without slow calls and during two of them."""
    with serve(kind) as address, rawclient.dial(address) as other:
        _longest(other)
        yield "no slow call", _longest(other)
        with rawclient.dial(address) as first, rawclient.dial(address) as second:
            for name, sock in (("first slow call", first), ("next slow call", second)):
                sock.sendall(SLOW)
                yield name, _longest(other)


def _longest(sock: socket.socket) -> float:
    """The longest of the calls, one after the other, that a client makes in SECONDS, in ms."""
    request, longest = rawclient.request("user_plain"), 0.0
    end = time.perf_counter() + SECONDS
    while (begun := time.perf_counter()) < end:
        sock.sendall(request)
        sock.recv(4096)
        longest = max(longest, time.perf_counter() - begun)
    return longest * 1000
