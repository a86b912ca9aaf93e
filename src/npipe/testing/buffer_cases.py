"""Conformance cases: use of the program's buffers by reads and writes, and interrupted writes."""

from __future__ import annotations

import array
import random
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from npipe.errors import ClosedError
from npipe.testing.case_threads import CaseThreads, past, pause, read_exactly

if TYPE_CHECKING:
    from npipe.transport.base import Connection

    Case = Callable[[Connection, Connection], None]

__all__ = ["BUFFER_CASES"]


def buffers_are_released(c1: Connection, c2: Connection) -> None:
    """No view of a caller's buffer outlives the call, also while its error is kept."""
    view = memoryview(b"hello")
    c1.write(view)
    view.release()
    buffer = bytearray(5)
    assert c2.readinto(buffer)
    buffer.clear()
    with CaseThreads(c1, c2) as threads:
        errors: list[OSError] = []  # their tracebacks refer to the frames of the calls

        def fail(error: type[OSError], call: Callable[[bytearray], object], size: int) -> None:
            buffer = bytearray(size)
            errors.append(threads.raises(error, call, buffer))
            buffer.clear()  # BufferError if there is a view

        for deadline in (past(), time.monotonic() + 0.02):
            c1.set_deadline(deadline)
            fail(TimeoutError, c1.readinto, 4)
            fail(TimeoutError, c1.write, 4 << 20)
        c1.close()
        fail(ClosedError, c1.readinto, 4)
        fail(ClosedError, c1.write, 4)


def buffers_of_any_shape(c1: Connection, c2: Connection) -> None:
    """Buffers of several dimensions and large items count in bytes; empty ones do nothing."""
    empty: list[Any] = [
        bytearray(),
        array.array("I"),
        memoryview(bytearray(6)).cast("B", [2, 3])[:0],
    ]
    for buffer in (b"", *empty):
        assert c1.write(buffer) == 0
    for buffer in empty:
        assert c1.readinto(buffer) == 0  # it does not wait
    assert c1.write(memoryview(b"abcdef").cast("B", [2, 3])) == 6
    assert c1.write(array.array("I", [7])) == array.array("I").itemsize
    assert read_exactly(c2, 6 + array.array("I").itemsize) == b"abcdef" + bytes(
        array.array("I", [7])
    )
    c2.write(b"abc")
    room = bytearray(6)
    count = c1.readinto(memoryview(room).cast("B", [2, 3]))
    assert room[:count] == b"abc"[:count]
    assert count


class _Interrupt(BaseException):
    """Exception as a signal handler raises it, which no handler of OSError catches."""


def interrupted_write(c1: Connection, c2: Connection) -> None:
    """A write that an exception interrupts reports its bytes, or every later write fails."""
    sent = random.Random(6).randbytes(4 << 20)
    interrupt = threading.Event()

    def trace(*_: object) -> Any:
        if interrupt.is_set():
            raise _Interrupt  # at the next line of the write
        return trace

    def write() -> int | None:
        sys.settrace(trace)
        try:
            return c1.write(sent)
        except _Interrupt as error:
            return getattr(error, "characters_written", None)
        finally:
            sys.settrace(None)

    with CaseThreads(c1, c2) as threads:
        writing = threads.start(write)
        pause()
        interrupt.set()
        c1.set_write_deadline(time.monotonic() + 3600)  # wakes the write
        count = writing.result()
        if count is None:
            threads.raises(OSError, c1.write, b"more")
            return
        assert 0 <= count < len(sent)
        reading = threads.start(c2.read)
        c1.write(sent[count:])
        c1.close()
        assert reading.result() == sent


BUFFER_CASES: tuple[Case, ...] = (buffers_are_released, buffers_of_any_shape, interrupted_write)
