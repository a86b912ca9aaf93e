"""Conformance cases for known errors of pipe libraries, run like those of ``net_conn.py``."""

from __future__ import annotations

import array
import contextlib
import io
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from npipe.errors import ClosedError
from npipe.testing.case_threads import CaseThreads, P, T, past, pause, read_exactly

if TYPE_CHECKING:
    from npipe.transport.base import Connection

    Case = Callable[[Connection, Connection], None]

__all__ = ["PITFALL_CASES"]


def double_close(c1: Connection, c2: Connection) -> None:
    """A repeated ``close``, also from many threads, does nothing."""
    with CaseThreads(c1, c2) as threads:
        for closing in [threads.start(c1.close) for _ in range(10)]:
            closing.result()
        c1.close()
        assert c1.closed
        assert c2.read() == b""


def use_after_close(c1: Connection, c2: Connection) -> None:
    """After close every call raises ClosedError, neither a ConnectionError nor a TimeoutError."""
    c1.close()
    calls: list[Callable[[], object]] = [
        lambda: c1.read(1),
        lambda: c1.read(0),
        c1.read,
        lambda: c1.readinto(bytearray(1)),
        lambda: c1.write(b"x"),
        lambda: c1.write(b""),
        c1.close_write,
        c1.flush,
        lambda: c1.set_deadline(None),
        lambda: c1.set_read_deadline(past()),
        lambda: c1.set_write_deadline(past()),
    ]
    with CaseThreads(c1, c2) as threads:
        for call in calls:
            threads.raises(ClosedError, call)
    assert not issubclass(ClosedError, ConnectionError | TimeoutError)


def deadline_extended(c1: Connection, c2: Connection) -> None:
    """A deadline that is extended while a call waits applies to that call."""
    with CaseThreads(c1, c2) as threads:
        first = time.monotonic() + 0.2
        c1.set_read_deadline(first)
        reading = threads.start(_unless_it_fails, c1.read, 1)
        pause()
        c1.set_read_deadline(time.monotonic() + 60)
        in_time = time.monotonic() < first  # else the machine is too slow for this check
        _pass(first)
        waits = not reading.done()
        c2.write(b"x")
        assert (waits and reading.result() == b"x") or not in_time, "it went by the old deadline"


def deadline_lifted(c1: Connection, c2: Connection) -> None:
    """A deadline that is removed while a call waits does not end that call, in both directions."""
    with CaseThreads(c1, c2) as threads:
        first = time.monotonic() + 0.2
        c1.set_deadline(first)
        reading = threads.start(_unless_it_fails, c1.read, 1)
        writing = threads.start(_unless_it_fails, c1.write, bytes(4 << 20))
        pause()
        c1.set_deadline(None)
        if time.monotonic() >= first:
            c1.close()  # the machine is too slow for this check
            return
        _pass(first)
        assert not reading.done(), "the read went by the old deadline"
        assert not writing.done(), "the write went by the old deadline"
        c2.write(b"x")
        read_exactly(c2, 4 << 20)
        assert (reading.result(), writing.result()) == (b"x", 4 << 20)


def _unless_it_fails(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
    with contextlib.suppress(OSError):
        return call(*args, **kwargs)
    return None


def _pass(when: float) -> None:
    """Wait until ``when``, a value of ``time.monotonic()``, has passed by 20 ms."""
    while time.monotonic() < when + 0.02:
        pause()


def timed_out_reads_lose_nothing(c1: Connection, c2: Connection) -> None:
    """Thousands of deadlines that race the data neither lose nor repeat a byte."""
    sent = random.Random(2).randbytes(1 << 18)
    got = bytearray()

    def write() -> None:
        sizes = random.Random(3)
        start = 0
        while start < len(sent):
            start += c2.write(sent[start : start + sizes.randrange(1, 400)])
        c2.close()

    with CaseThreads(c1, c2) as threads:
        threads.start(write)
        ended = False
        while not ended:
            c1.set_read_deadline(time.monotonic() + 0.00002)
            with contextlib.suppress(TimeoutError):
                while data := c1.read(97):
                    got += data
                ended = True
    assert got == sent


def timed_out_readall_loses_nothing(c1: Connection, c2: Connection) -> None:
    """After a ``readall`` that timed out, the next read returns the bytes that had arrived."""
    with CaseThreads(c1, c2) as threads:
        c2.write(b"first")
        c1.set_read_deadline(time.monotonic() + 0.05)
        threads.raises(TimeoutError, c1.read)
        c1.set_read_deadline(None)
        c2.write(b"second")
        assert read_exactly(c1, 3) == b"fir"
        buffer = bytearray(1)
        assert c1.readinto(buffer) == 1
        assert buffer == b"s"
        c2.close()
        assert c1.read() == b"tsecond"


def cut_write_is_told(c1: Connection, c2: Connection) -> None:
    """A write that times out reports the number of bytes sent, or every later write fails."""
    sent = random.Random(4).randbytes(4 << 20)
    with CaseThreads(c1, c2) as threads:
        c1.set_write_deadline(time.monotonic() + 0.05)
        error = threads.raises(TimeoutError, c1.write, sent)
        c1.set_write_deadline(None)
        went = getattr(error, "characters_written", None)
        if went is None:
            threads.raises(OSError, c1.write, b"more")
            return
        assert 0 <= went < len(sent)
        reading = threads.start(c2.read)
        c1.write(sent[went:])
        c1.close()
        assert reading.result() == sent


def half_close(c1: Connection, c2: Connection) -> None:
    """After ``close_write`` the peer reads the end of the stream and can still write."""
    c1.write(b"question")
    try:
        c1.close_write()
    except io.UnsupportedOperation:
        c1.write(b", still open")  # the refusal had no effect
        assert read_exactly(c2, 20) == b"question, still open"
        return
    with CaseThreads(c1, c2) as threads:
        threads.raises(ClosedError, c1.write, b"x")
        c1.close_write()
        assert c2.read() == b"question"
        assert c2.read(1) == b""
        c2.write(b"answer")
        c2.close()
        assert c1.read() == b"answer"


def eof_with_unread_data(c1: Connection, c2: Connection) -> None:
    """An end that closes with unread data: the data that it wrote arrives before the end."""
    c1.write(b"never read")
    c2.write(b"last words")
    c2.close()
    assert c1.read() == b"last words"
    assert c1.read(1) == b""
    assert c1.readinto(bytearray(1)) == 0


def write_to_the_gone(c1: Connection, c2: Connection) -> None:
    """Writing to a closed end raises BrokenPipeError, also in a write that waits."""

    def write() -> None:
        while True:
            c1.write(bytes(65536))

    with CaseThreads(c1, c2) as threads:
        writing = threads.start(threads.raises, BrokenPipeError, write)
        pause()
        c2.close()
        writing.result()
        threads.raises(BrokenPipeError, c1.write, b"x")


def both_ways_at_once(c1: Connection, c2: Connection, size: int = 64 << 20) -> None:
    """Large transfers in both directions at once do not block each other."""
    sent = random.Random(5).randbytes(1 << 20)

    def write(me: Connection) -> None:
        for _ in range(size >> 20):
            me.write(sent)

    def read(me: Connection) -> None:
        buffer = bytearray(len(sent))
        view = memoryview(buffer)
        for _ in range(size >> 20):
            filled = 0
            while filled < len(buffer):
                count = me.readinto(view[filled:])
                assert count
                filled += count
            assert buffer == sent

    with CaseThreads(c1, c2) as threads:
        for me in (c1, c2):
            threads.start(write, me)
            threads.start(read, me)


def raw_file(c1: Connection, c2: Connection) -> None:
    """A connection is a raw file: any buffer, also an empty one, and the io wrappers work."""
    assert c1.write(b"") == 0
    assert c1.write(array.array("I", [1, 2])) == 2 * array.array("I").itemsize
    assert c1.write(memoryview(b"line 1\nline 2\n")) == 14
    c1.close()
    assert c2.read(0) == b""
    read_exactly(c2, 2 * array.array("I").itemsize)
    with io.BufferedReader(c2) as reader:
        assert reader.readline() == b"line 1\n"
        assert list(reader) == [b"line 2\n"]
    assert c2.closed


PITFALL_CASES: tuple[Case, ...] = (
    double_close,
    use_after_close,
    deadline_extended,
    deadline_lifted,
    timed_out_reads_lose_nothing,
    timed_out_readall_loses_nothing,
    cut_write_is_told,
    half_close,
    eof_with_unread_data,
    write_to_the_gone,
    both_ways_at_once,
    raw_file,
)
