"""Conformance cases after the ``nettest`` checks of a net.Conn in Go.

Each case takes the two ends of a new pair and may leave them in any state. It makes no system call,
so it runs on any class that implements ``npipe.Connection``.

Where a case needs a call in flight it pauses first. The pause makes that likely but not certain;
the required behaviour is the same in either order.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from npipe.errors import ClosedError
from npipe.testing.case_threads import (
    CaseThreads,
    echo,
    past,
    pause,
    read_exactly,
    resync,
    round_trip,
    write_until_timeout,
)

if TYPE_CHECKING:
    from npipe.transport.base import Connection

    Case = Callable[[Connection, Connection], None]

__all__ = ["NET_CONN_CASES"]


def basic_io(c1: Connection, c2: Connection) -> None:
    """All bytes written before close arrive in order, then the end of the stream."""
    sent = random.Random(1).randbytes(1 << 20)

    def write() -> None:
        for start in range(0, len(sent), 1024):
            assert c1.write(sent[start : start + 1024]) == 1024
        c1.close()

    with CaseThreads(c1, c2) as threads:
        threads.start(write)
        assert c2.read() == sent
        c2.close()


def ping_pong(c1: Connection, c2: Connection) -> None:
    """Small messages in alternating directions arrive once each and in order."""

    def play(me: Connection, first: int) -> None:
        for value in range(first, 1000, 2):
            if value:
                assert int.from_bytes(read_exactly(me, 8), "little") == value - 1
            me.write(value.to_bytes(8, "little"))

    with CaseThreads(c1, c2) as threads:
        threads.start(play, c1, 0)
        threads.start(play, c2, 1)


def racy_read(c1: Connection, c2: Connection) -> None:
    """A read that timed out no longer writes to its buffer, in any number of threads."""
    counts = []

    def feed() -> None:
        with contextlib.suppress(OSError):
            while True:
                c2.write(b"\1" * 1024)

    def read() -> None:
        for _ in range(100):
            buffer = bytearray(1024)
            try:
                count = c1.readinto(buffer)
                counts.append(count)
            except TimeoutError:
                count = 0
                c1.set_read_deadline(time.monotonic() + 0.001)
            assert buffer == b"\1" * count + bytes(1024 - count)
            buffer[:] = b"\2" * 1024
            seen.append(buffer)

    seen: list[bytearray] = []
    c1.set_read_deadline(time.monotonic() + 0.001)
    with CaseThreads(c1, c2) as threads:
        feeder = threads.start(feed)
        for reader in [threads.start(read) for _ in range(10)]:
            reader.result()
        c1.close()
        feeder.result()
    assert all(buffer == b"\2" * 1024 for buffer in seen), "written to after the read returned"


def racy_write(c1: Connection, c2: Connection) -> None:
    """Writes that time out, in any number of threads, report the exact number of bytes sent."""
    total = [0]
    guard = threading.Lock()
    unknown = threading.Event()  # the system cannot report the length of an incomplete write

    def write() -> None:
        for _ in range(100):
            try:
                sent = c1.write(b"\1" * 1024)
            except TimeoutError as error:
                sent = getattr(error, "characters_written", -1)
                c1.set_write_deadline(time.monotonic() + 0.001)
            except OSError:
                assert unknown.is_set(), "a write failed after one that was cut cleanly"
                return
            if sent < 0:
                unknown.set()
                return
            with guard:
                total[0] += sent

    c1.set_write_deadline(time.monotonic() + 0.001)
    with CaseThreads(c1, c2) as threads:
        drained = threads.start(c2.read)
        for writer in [threads.start(write) for _ in range(10)]:
            writer.result()
        c1.close()
        got = len(drained.result())
    assert got == total[0] if not unknown.is_set() else got >= total[0]


def read_timeout(c1: Connection, c2: Connection) -> None:
    """A read deadline that has passed fails reads and does not affect writes."""
    c1.set_read_deadline(past())
    with CaseThreads(c1, c2) as threads:
        threads.start(read_exactly, c2, 1024)
        threads.raises(TimeoutError, c1.read, 1024)
        assert c1.write(bytes(1024)) == 1024


def write_timeout(c1: Connection, c2: Connection) -> None:
    """A write deadline that has passed fails writes and does not affect reads."""
    c1.set_write_deadline(past())
    with CaseThreads(c1, c2) as threads:
        threads.start(c2.write, bytes(1024))
        threads.raises(TimeoutError, c1.write, bytes(1024))
        assert len(read_exactly(c1, 1024)) == 1024


def past_timeout(c1: Connection, c2: Connection) -> None:
    """A passed deadline fails also a call that could succeed, loses no data and can be removed."""
    with CaseThreads(c1, c2) as threads:
        threads.start(echo, c2)
        round_trip(c1)
        c1.set_deadline(past())
        error = threads.raises(TimeoutError, c1.write, bytes(1024))
        assert getattr(error, "characters_written", None) == 0
        threads.raises(TimeoutError, c1.read, 1024)
        c1.set_deadline(None)
        round_trip(c1)
        c1.write(b"waiting")
        pause()
        c1.set_read_deadline(past())
        threads.raises(TimeoutError, c1.read, 7)
        c1.set_read_deadline(None)
        assert read_exactly(c1, 7) == b"waiting"
        c1.close()


def present_timeout(c1: Connection, c2: Connection) -> None:
    """Setting a deadline in the past ends the calls in flight, which do not end before."""
    now = threading.Event()

    def read() -> None:
        threads.raises(TimeoutError, c1.read, 1024)
        assert now.is_set()

    def write() -> None:
        write_until_timeout(c1)
        assert now.is_set()

    with CaseThreads(c1, c2) as threads:
        threads.start(read)
        threads.start(write)
        pause()
        now.set()
        c1.set_deadline(past())


def future_timeout(c1: Connection, c2: Connection) -> None:
    """A future deadline ends reads and writes in time; the connection works after its removal."""
    with CaseThreads(c1, c2) as threads:
        due = time.monotonic() + 0.1
        c1.set_deadline(due)
        writing = threads.start(write_until_timeout, c1)
        threads.raises(TimeoutError, c1.read, 1024)
        error = writing.result()
        assert time.monotonic() >= due
        c1.set_deadline(None)
        if not hasattr(error, "characters_written"):
            threads.raises(OSError, c1.write, b"x")  # every write after an incomplete one fails
            return
        threads.start(echo, c2)
        resync(threads, c1)
        round_trip(c1)
        c1.close()


def close_timeout(c1: Connection, c2: Connection) -> None:
    """``close`` ends the calls in flight in both directions with ClosedError."""

    def write() -> None:
        while True:
            c1.write(bytes(1024))

    with CaseThreads(c1, c2) as threads:
        reading = threads.start(threads.raises, ClosedError, c1.read, 1024)
        writing = threads.start(threads.raises, ClosedError, write)
        pause()
        c1.close()
        reading.result()
        writing.result()


def concurrent_methods(c1: Connection, c2: Connection) -> None:
    """Any thread may call any method at any time."""
    poisoned = threading.Event()

    def read() -> None:
        with contextlib.suppress(TimeoutError):
            c1.read(1024)

    def write() -> None:
        try:
            c1.write(bytes(1024))
        except OSError as error:
            if not hasattr(error, "characters_written"):
                poisoned.set()

    actions: list[Callable[[], object]] = [
        read,
        write,
        lambda: c1.set_deadline(time.monotonic() + 0.01),
        lambda: c1.set_read_deadline(past()),
        lambda: c1.set_write_deadline(past()),
        lambda: c1.local_address,
        lambda: c1.remote_address,
    ]
    with CaseThreads(c1, c2) as threads:
        threads.start(echo, c2)
        started = []
        for _ in range(100):
            started += [threads.start(action) for action in actions]
        # In some orders of the threads the last deadline that they set ends no call.
        c1.set_deadline(time.monotonic() + 0.2)
        for each in started:
            each.result()
        c1.set_deadline(None)
        if not poisoned.is_set():
            resync(threads, c1)
            round_trip(c1)
        c1.close()


NET_CONN_CASES: tuple[Case, ...] = (
    basic_io,
    ping_pong,
    racy_read,
    racy_write,
    read_timeout,
    write_timeout,
    past_timeout,
    present_timeout,
    future_timeout,
    close_timeout,
    concurrent_methods,
)
