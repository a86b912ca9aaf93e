"""The edge cases: each fails a connection that breaks its promise."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from npipe.errors import ClosedError
from testing.broken import Broken, assert_found
from testing.test_net_conn import SamplesTheDeadline


class ForgetsOnTimeout(Broken):
    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        late = self._incoming.reader.deadline
        if data and late is not None and time.monotonic() > late - 0.00001:
            raise TimeoutError("it came too late, so it was thrown away")
        return data


class MiscountsCutWrites(Broken):
    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except TimeoutError as error:
            error.characters_written = 0  # type: ignore[attr-defined]
            raise


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
        (SamplesTheDeadline, "deadline_extended"),
        (SamplesTheDeadline, "deadline_lifted"),
        (MiscountsCutWrites, "cut_write_is_told"),
        (CloseIsNotIdempotent, "double_close"),
        (SaysValueErrorAfterClose, "use_after_close"),
        (CloseWriteDoesNothing, "half_close"),
        (HalfDuplex, "both_ways_at_once"),
        (ResetsWhenUnreadDataIsLost, "eof_with_unread_data"),
        (TellsTheGoneByClosedError, "write_to_the_gone"),
    ],
)
def test_the_suite_finds(broken: type[Broken], case: str) -> None:
    assert_found(broken, case)
