"""The cases of net.Conn: each fails a connection that breaks its promise."""

from __future__ import annotations

import time
from typing import Any

import pytest

from npipe.errors import ClosedError
from npipe.testing.net_conn import NET_CONN_CASES
from testing.broken import Broken, assert_found


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


class WritesPart(Broken):
    def write(self, data: Any, /) -> int:
        return super().write(memoryview(data).cast("B")[:1000])


@pytest.mark.parametrize(
    ("broken", "case"),
    [
        (ReadsPastItsDeadline, "past_timeout"),
        (ReadsPastItsDeadline, "present_timeout"),
        (WakesNobody, "present_timeout"),
        (SamplesTheDeadline, "present_timeout"),
        (DropsTheRestOnClose, "basic_io"),
        (CloseWakesNobody, "close_timeout"),
        (WritesPart, "basic_io"),
    ],
)
def test_the_suite_finds(broken: type[Broken], case: str) -> None:
    assert_found(broken, case)


def test_they_are_the_eleven_of_nettest() -> None:
    assert len(NET_CONN_CASES) == 11
    assert all(case.__doc__ for case in NET_CONN_CASES)
