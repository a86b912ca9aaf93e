"""The loads of ``npipe bench``, and their results.

The requests are encoded before the measurement, and of a reply only the end of its line is
searched, so the time is that of the server and not of this program. Nothing is printed here.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from npipe.errors import ProtocolError
from npipe.transport.base import Connection

__all__ = ["LOADS", "Connect", "Load", "Result", "run"]

_CHUNK = 1 << 18
_BATCH = 100
_WINDOW = 64

Connect = Callable[[], Connection]


@dataclass(frozen=True, slots=True)
class Load:
    """A load: ``run`` makes calls for some seconds and returns the latency of each, in seconds."""

    name: str
    title: str
    calls: int  # calls per latency: 1, or the size of a batch
    run: Callable[[Connection, bytes, float], list[float]]


class Result(msgspec.Struct):
    """The result of a load. Latencies are in microseconds, of a call or of a whole batch."""

    load: str
    connections: int
    calls: int
    seconds: float
    calls_per_second: float
    p50: float
    p90: float
    p99: float
    p99_9: float
    latencies: list[float]


def run(load: Load, connect: Connect, request: bytes, seconds: float, connections: int) -> Result:
    """Run one load for about ``seconds``, on each of a number of connections."""
    latencies: list[float] = []
    failures: list[Exception] = []
    ready = threading.Barrier(connections + 1)

    def client() -> None:
        try:
            with connect() as connection:
                connection.set_deadline(time.monotonic() + seconds + 60)
                ready.wait()
                latencies.extend(load.run(connection, request, seconds))
        except Exception as error:
            failures.append(error)
            ready.abort()

    threads = [threading.Thread(target=client, daemon=True) for _ in range(connections)]
    for thread in threads:
        thread.start()
    with contextlib.suppress(threading.BrokenBarrierError):
        ready.wait()  # broken: a connection failed, and its error is raised below
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - start
    failures.sort(key=lambda error: isinstance(error, threading.BrokenBarrierError))
    if failures:
        raise failures[0]
    return _summary(load, connections, latencies, took)


def _summary(load: Load, connections: int, latencies: Sequence[float], took: float) -> Result:
    micros = sorted(each * 1e6 for each in latencies)
    calls = len(micros) * load.calls
    return Result(
        load=load.name,
        connections=connections,
        calls=calls,
        seconds=took,
        calls_per_second=calls / took,
        p50=_rank(micros, 0.5),
        p90=_rank(micros, 0.9),
        p99=_rank(micros, 0.99),
        p99_9=_rank(micros, 0.999),
        latencies=micros,
    )


def _rank(ordered: Sequence[float], share: float) -> float:
    """Return a percentile by nearest rank, which is a measured value."""
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def _answer(connection: Connection) -> None:
    """Read to the end of a line."""
    while True:
        data = connection.read(_CHUNK)
        if not data:
            raise ProtocolError("the server closed the connection")
        if data.endswith(b"\n"):
            return


def _sequential(connection: Connection, request: bytes, seconds: float) -> list[float]:
    return _one_by_one(connection, request, seconds)


def _batches(connection: Connection, request: bytes, seconds: float) -> list[float]:
    batch = b"[" + b",".join([request.rstrip()] * _BATCH) + b"]\n"
    return _one_by_one(connection, batch, seconds)


def _one_by_one(connection: Connection, request: bytes, seconds: float) -> list[float]:
    latencies = []
    now = time.perf_counter
    before = now()
    end = before + seconds
    while before < end:
        connection.write(request)
        _answer(connection)
        after = now()
        latencies.append(after - before)
        before = after
    return latencies


def _in_flight(connection: Connection, request: bytes, seconds: float) -> list[float]:
    """Keep a window of calls in flight, and return the latency of each in seconds.

    Replies are matched to calls in order (first in, first out), which is right on average.
    """
    latencies: list[float] = []
    now = time.perf_counter
    before = now()
    end = before + seconds
    sent = [before] * _WINDOW
    connection.write(request * _WINDOW)
    while sent:
        data = connection.read(_CHUNK)
        if not data:
            raise ProtocolError("the server closed the connection")
        count = data.count(b"\n")
        after = now()
        latencies.extend(after - then for then in sent[:count])
        del sent[:count]
        if after < end and count:
            sent.extend([after] * count)
            connection.write(request * count)
    return latencies


LOADS = (
    Load("sequential", "one call after the other", 1, _sequential),
    Load("in-flight", f"{_WINDOW} calls in flight", 1, _in_flight),
    Load("batch", f"batches of {_BATCH}", _BATCH, _batches),
)
