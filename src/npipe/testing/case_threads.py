"""What the cases share: threads whose failures are seen, and small conversations."""

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

MARK = b"\xff"  # what resync looks for: no other data of the cases that use it has this byte
_PAUSE = 0.05  # seconds: long for a call to get in flight, short for a person


class CaseThreads:
    """Threads for one case. The first failure, anywhere, closes both ends and is raised at the end.

    So no thread is left waiting for one that has failed.
    """

    def __init__(self, *connections: Connection) -> None:
        self._connections = connections
        self._pool = ThreadPoolExecutor(max_workers=800)
        self._failures: list[BaseException] = []

    def start(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run the function in a thread."""
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
    """Give a call the time to get in flight."""
    time.sleep(_PAUSE)


def read_exactly(connection: Connection, size: int) -> bytes:
    """Read ``size`` bytes."""
    got = bytearray()
    while len(got) < size:
        data = connection.read(size - len(got))
        assert data, f"the end came after {len(got)} of {size} bytes"
        got += data
    return bytes(got)


def echo(connection: Connection) -> None:
    """Send back what comes until either end is closed."""
    with contextlib.suppress(OSError):
        while data := connection.read(4096):
            connection.write(data)


def round_trip(connection: Connection) -> None:
    """Have the other end, which echoes, send something back."""
    connection.write(b"hello, pipe")
    assert read_exactly(connection, 11) == b"hello, pipe"


def resync(crew: CaseThreads, connection: Connection) -> None:
    """Skip the echo of everything that earlier writes may have left on the way."""
    writing = crew.start(connection.write, MARK)
    while (data := connection.read(4096)) and MARK not in data:
        pass
    assert data.endswith(MARK)
    writing.result()


def write_until_timeout(connection: Connection) -> TimeoutError:
    """Write until a write times out; return its error."""
    try:
        while True:
            connection.write(bytes(1024))
    except TimeoutError as error:
        return error
