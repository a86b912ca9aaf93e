"""npipe.testing: the suite must fail what is wrong. Each connection here breaks one promise."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import npipe
from npipe.errors import ClosedError
from npipe.testing import CASES, Case, check_case, check_connection, memory_pair
from npipe.testing.case_threads import CaseThreads
from npipe.transport.memory import MemoryConnection

BY_NAME: dict[str, Case] = {case.__name__: case for case in CASES}


class Broken(MemoryConnection):
    """The pair in memory, with one thing wrong in the subclass."""


class ForgetsOnTimeout(Broken):
    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        late = self._incoming.reader.deadline
        if data and late is not None and time.monotonic() > late - 0.00001:
            raise TimeoutError("it came too late, so it was thrown away")
        return data


class ReadsPastItsDeadline(Broken):
    def set_read_deadline(self, when: float | None) -> None:
        super().set_read_deadline(None if when is not None and when < time.monotonic() else when)


class WakesNobody(Broken):
    def _set(self, flow: Any, side: Any, when: float | None) -> None:
        if side.closed:
            raise ClosedError
        side.deadline = when


class SamplesTheDeadline(Broken):
    """A call goes by the deadline that it found when it began, as the seed's did."""

    def _set(self, flow: Any, side: Any, when: float | None) -> None:
        if not side.turn.locked():
            super()._set(flow, side, when)


class MiscountsCutWrites(Broken):
    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except TimeoutError as error:
            error.characters_written = 0  # type: ignore[attr-defined]
            raise


class DropsTheRestOnClose(Broken):
    def close(self) -> None:
        with self._outgoing.changed:
            if not self.closed:
                self._outgoing.data.clear()
        super().close()


class CloseWakesNobody(Broken):
    def close(self) -> None:
        self._incoming.reader.closed = True
        self._outgoing.writer.closed = self._outgoing.writer.shut = True


class CloseIsNotIdempotent(Broken):
    def close(self) -> None:
        if self.closed:
            raise ClosedError
        super().close()


class SaysValueErrorAfterClose(Broken):
    def flush(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")


class CloseWriteDoesNothing(Broken):
    def close_write(self) -> None:
        pass


class HalfDuplex(Broken):
    """One lock for both directions, as a careless wrapper of a file has."""

    lock = threading.Lock()

    def read(self, size: int | None = -1, /) -> bytes:
        with self.lock:
            return super().read(size)

    def write(self, data: Any, /) -> int:
        with self.lock:
            return super().write(data)


class WritesPart(Broken):
    def write(self, data: Any, /) -> int:
        return super().write(memoryview(data).cast("B")[:1000])


class ResetsWhenUnreadDataIsLost(Broken):
    def close(self) -> None:
        if self._incoming.data:
            self._outgoing.data.clear()
        super().close()


class TellsTheGoneByClosedError(Broken):
    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise ClosedError from None


@pytest.mark.parametrize(
    ("broken", "case"),
    [
        (ForgetsOnTimeout, "timed_out_reads_lose_nothing"),
        (ReadsPastItsDeadline, "past_timeout"),
        (ReadsPastItsDeadline, "present_timeout"),
        (WakesNobody, "present_timeout"),
        (SamplesTheDeadline, "present_timeout"),
        (SamplesTheDeadline, "deadline_extended"),
        (SamplesTheDeadline, "deadline_lifted"),
        (MiscountsCutWrites, "cut_write_is_told"),
        (DropsTheRestOnClose, "basic_io"),
        (CloseWakesNobody, "close_timeout"),
        (CloseIsNotIdempotent, "double_close"),
        (SaysValueErrorAfterClose, "use_after_close"),
        (CloseWriteDoesNothing, "half_close"),
        (HalfDuplex, "both_ways_at_once"),
        (WritesPart, "basic_io"),
        (ResetsWhenUnreadDataIsLost, "eof_with_unread_data"),
        (TellsTheGoneByClosedError, "write_to_the_gone"),
    ],
)
def test_the_suite_finds(broken: type[MemoryConnection], case: str) -> None:
    def make() -> tuple[npipe.Connection, npipe.Connection, Callable[[], None]]:
        c1, c2 = memory_pair()
        c1.__class__ = c2.__class__ = broken
        return c1, c2, lambda: (MemoryConnection.close(c1), MemoryConnection.close(c2))  # type: ignore[arg-type, return-value]

    with pytest.raises(Exception):
        check_case(BY_NAME[case], make, time_limit=1.5)


def test_check_connection_runs_every_case_on_a_pair_of_its_own() -> None:
    pairs = []
    ran = []

    def make() -> tuple[npipe.Connection, npipe.Connection, Callable[[], None]]:
        c1, c2 = memory_pair()
        pairs.append((c1, c2))
        return c1, c2, lambda: (c1.close(), c2.close())  # type: ignore[return-value]

    def one(c1: npipe.Connection, c2: npipe.Connection) -> None:
        ran.append((c1, c2))

    check_connection(make, cases=[one, one])
    assert ran == pairs
    assert len(pairs) == 2
    assert all(each.closed for pair in pairs for each in pair)


def test_a_case_that_hangs_is_stopped_and_named() -> None:
    stopped = threading.Event()

    def hangs(c1: npipe.Connection, c2: npipe.Connection) -> None:
        stopped.wait(60)

    with pytest.raises(AssertionError, match=r"hangs was stopped after 0.01 s"):
        check_case(hangs, lambda: (*memory_pair(), stopped.set), time_limit=0.01)


def test_the_first_failure_of_a_crew_is_raised_and_ends_the_others() -> None:
    c1, c2 = memory_pair()
    with pytest.raises(ZeroDivisionError), CaseThreads(c1, c2) as crew:
        crew.start(c1.read, 1)  # would wait for ever
        crew.start(lambda: 1 // 0)


def test_the_pair_is_bounded() -> None:
    c1, c2 = memory_pair(capacity=10)
    c1.set_write_deadline(time.monotonic() + 0.01)
    with pytest.raises(TimeoutError) as caught:
        c1.write(bytes(11))
    assert caught.value.characters_written == 10  # type: ignore[attr-defined]
    assert len(c2.read(100)) == 10
    c1.close()
    c2.close()
