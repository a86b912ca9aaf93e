"""Helpers of the conformance cases: threads that report failures, and small exchanges."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, ParamSpec, Self, TypeVar

if TYPE_CHECKING:
    from npipe.transport.base import Connection

P = ParamSpec("P")
T = TypeVar("T")
E = TypeVar("E", bound=BaseException)

MARK = b"\xff"  # sent by resync; no other data of its cases contains this byte
_PAUSE = 0.05  # seconds; enough for a call to begin


class CaseThreads:
    """Threads of one case.

    The first failure in any thread closes both ends, so that no thread waits for one that has
    failed. The failure is raised at the end of the ``with`` block.
    """

    def __init__(self, *connections: Connection) -> None:
        self._connections = connections
        self._pool = ThreadPoolExecutor(max_workers=800)
        self._failures: list[BaseException] = []

    def start(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run the function in a thread; return the future of its result."""
        future = self._pool.submit(function, *args, **kwargs)
        future.add_done_callback(self._look)
        return future

    def raises(
        self, error: type[E], function: Callable[P, object], *args: P.args, **kwargs: P.kwargs
    ) -> E:
        """Call the function; return the error that it must raise."""
        try:
            result = function(*args, **kwargs)
        except error as raised:
            return raised
        raise AssertionError(f"expected {error.__name__}, but it returned {result!r:.80}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if error is not None:
            self._fail(error)
        self._pool.shutdown()
        if self._failures and self._failures[0] is not error:
            raise self._failures[0]

    def _look(self, future: Future[T]) -> None:
        error = future.exception()
        if error is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._failures.append(error)
        for connection in self._connections:
            connection.close()


def past() -> float:
    """Return a deadline that has passed."""
    return time.monotonic() - 1


def pause() -> None:
    """Wait until a call in another thread has probably begun."""
    time.sleep(_PAUSE)


def read_exactly(connection: Connection, size: int) -> bytes:
    """Read exactly ``size`` bytes; fail if the stream ends before."""
    got = bytearray()
    while len(got) < size:
        data = connection.read(size - len(got))
        assert data, f"the end came after {len(got)} of {size} bytes"
        got += data
    return bytes(got)


def echo(connection: Connection) -> None:
    """Write back all bytes that arrive until either end is closed."""
    with contextlib.suppress(OSError):
        while data := connection.read(4096):
            connection.write(data)


def round_trip(connection: Connection) -> None:
    """Write a message and read it back from the peer, which echoes."""
    connection.write(b"hello, pipe")
    assert read_exactly(connection, 11) == b"hello, pipe"


def resync(threads: CaseThreads, connection: Connection) -> None:
    """Read and discard the echo of earlier writes, up to a mark that this function writes."""
    writing = threads.start(connection.write, MARK)
    while (data := connection.read(4096)) and MARK not in data:
        pass
    assert data.endswith(MARK)
    writing.result()


def write_until_timeout(connection: Connection) -> TimeoutError:
    """Write until a write raises TimeoutError; return the error."""
    try:
        while True:
            connection.write(bytes(1024))
    except TimeoutError as error:
        return error
