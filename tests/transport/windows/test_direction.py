"""npipe.transport.windows.direction, on the fake kernel: cancels, interrupts, late ends."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import wait
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from npipe.errors import ClosedError
from npipe.transport.windows import direction as direction_module
from npipe.transport.windows import overlapped as overlapped_module
from npipe.transport.windows.connection import WindowsConnection
from npipe.transport.windows.overlapped import REFUSED
from transport.conftest import no_thread_left
from transport.windows.fake_kernel32 import FakeKernel32
from transport.windows.faked import (
    QUOTA,
    Pair,
    SlowCancel,
    Spawn,
    after,
    connect,
    interrupt,
    listen,
    past,
    soon,
)


def test_b04_timed_out_read_awaits_the_cancel(
    fake: FakeKernel32, pair: Pair, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _ = pair
    slow = SlowCancel(fake, spawn)
    monkeypatch.setattr(fake, "CancelIoEx", slow)
    reading = spawn(client.read, 1)
    fake.pending()
    client.set_read_deadline(past())
    assert slow.asked.wait(60)
    fake.waiting()
    assert not reading.done()
    slow.end.set()
    with pytest.raises(TimeoutError):
        reading.result(60)


def test_b06_b08_b12_no_thread_and_no_event_per_call(fake: FakeKernel32, pair: Pair) -> None:
    client, server = pair
    ledger, made = fake.ledger, len(fake.made("CreateEvent"))
    with no_thread_left():
        for _ in range(100):
            client.set_read_deadline(time.monotonic() + 0.0001)
            with pytest.raises(TimeoutError):
                client.read(1)
            server.write(b"x")
            client.set_read_deadline(None)
            assert client.read(1) == b"x"
    assert fake.ledger == ledger
    assert len(fake.made("CreateEvent")) == made


def test_interrupted_read_is_cancelled(fake: FakeKernel32, pair: Pair) -> None:
    client, server = pair
    fake.hooks["WaitForMultipleObjects"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        client.read(1)
    assert len(fake.made("CancelIoEx")) == 1
    server.write(b"x")
    assert client.read(1) == b"x"


def test_second_interrupt_leaves_no_operation_behind(fake: FakeKernel32, pair: Pair) -> None:
    client, server = pair

    def press_once_more() -> None:
        fake.hooks.clear()
        interrupt()

    fake.hooks["WaitForMultipleObjects"] = interrupt
    fake.hooks["CancelIoEx"] = press_once_more
    buffer = bytearray(8)
    with pytest.raises(KeyboardInterrupt):
        client.readinto(buffer)
    server.write(b"XXXX")
    assert buffer == bytes(8)
    assert client.read(8) == b"XXXX"


def test_signal_handler_closes_what_its_thread_reads(fake: FakeKernel32, pair: Pair) -> None:
    client, _ = pair
    fake.hooks["WaitForMultipleObjects"] = client.close
    with pytest.raises(ClosedError):
        client.read(1)


def test_signal_handler_closes_just_before_the_read_begins(fake: FakeKernel32, pair: Pair) -> None:
    client, _ = pair
    fake.hooks["ReadFile"] = client.close
    with pytest.raises(ClosedError):
        client.read(1)


def test_b07_b17_b18_close_leaves_nothing_pending_and_no_event_to_wait_for(
    fake: FakeKernel32, pair: Pair, spawn: Spawn
) -> None:
    client, _ = pair
    reading = spawn(client.read, 1)
    writing = spawn(client.write, bytes(100_000))
    fake.pending(2)
    client.close()  # the fixture looks for handles closed under a waiter or an operation
    for call in (reading, writing):
        with pytest.raises(ClosedError):
            call.result(60)


def test_b07_no_wake_reaches_an_event_that_is_closed_by_then(
    fake: FakeKernel32, pair: Pair, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The read ends, and gives the handles back, while close is about to wake it."""
    client, server = pair
    reading = spawn(client.read, 1)
    fake.pending()

    def let_it_end() -> None:
        server.write(b"x")
        wait([reading], 0.2)

    monkeypatch.setattr(fake, "SetEvent", after(let_it_end, fake.SetEvent))
    client.close()
    assert reading.result(60) == b"x"


class InterruptAt:
    """Raises KeyboardInterrupt at the n-th line of an operation or its direction, by a trace.

    CPython looks for signals at the entry of a function, after a call and at the end of a loop.
    A line of this trace comes before each. Two kinds are left out, where it never looks: the way
    out of a ``with`` and of a ``finally``, which run no call of Python's.
    """

    def __init__(self, number: int) -> None:
        self._left = number
        self._seen: set[tuple[int, int]] = set()
        self.raised_at: int | None = None

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename not in LINES:
            return None
        if event == "line" and self._counts(frame):
            self._left -= 1
            if self._left == 0:
                self.raised_at = frame.f_lineno
                raise KeyboardInterrupt
        return self

    def _counts(self, frame: FrameType) -> bool:
        line, after = LINES[frame.f_code.co_filename][frame.f_lineno - 1 :][:2]
        line = line.strip()
        where = (id(frame), frame.f_lineno)
        # From Python 3.12 on a "return" inside of try reports its line again on the way to the
        # finally block, where no signal is looked for.
        left = line.startswith(("with ", "return ")) and where in self._seen
        self._seen.add(where)
        return not (left or "self.begun = False" in line + after)


LINES = {
    module.__file__: [*Path(module.__file__).read_text(encoding="utf-8").splitlines(), ""]
    for module in (direction_module, overlapped_module)
}


def run_with(interrupt_at: InterruptAt, call: Callable[[], Any]) -> Any:
    """Make the call under the trace; return its result, or KeyboardInterrupt if that came out."""
    before = sys.gettrace()
    sys.settrace(interrupt_at)
    try:
        return call()
    except KeyboardInterrupt as caught:
        return caught
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("data_first", [True, False], ids=["at once", "pending"])
def test_ctrl_c_at_every_line_of_a_read_loses_no_byte(
    fake: FakeKernel32, pair: Pair, data_first: bool
) -> None:
    client, server = pair
    for number in range(1, 200):
        message = b"%6d" % number
        if data_first:
            server.write(message)
        else:
            fake.hooks["WaitForMultipleObjects"] = lambda m=message: server.write(m) and None
        interrupt_at = InterruptAt(number)
        got = run_with(interrupt_at, lambda: client.read(64))
        fake.hooks.clear()
        if isinstance(got, KeyboardInterrupt):
            if not data_first:  # the interrupt may have come before the wait
                server.write(b"!")
                got = client.read(64)
                got = client.read(64) if got == message else got
                assert got in (b"!", message + b"!"), interrupt_at.raised_at
                continue
            got = client.read(64)
        assert got == message, interrupt_at.raised_at
        if interrupt_at.raised_at is None:
            break
    else:
        raise AssertionError("the read never ran to its end")
    assert number > 10
    assert fake.faults == []


@pytest.mark.parametrize("size", [6, 100_000], ids=["at once", "pending"])
def test_ctrl_c_at_every_line_of_a_write_sends_all_or_nothing_or_poisons(
    fake: FakeKernel32, size: int
) -> None:
    for number in range(1, 200):
        with listen(fake) as listener, connect(fake) as client, listener.accept(60) as server:
            interrupt_at = InterruptAt(number)
            got = run_with(interrupt_at, lambda client=client: write_soon(client, size))
            poisoned = False
            try:
                client.set_write_deadline(None)
                client.write(b"!")
            except BrokenPipeError:
                poisoned = True
            client.close()
            arrived = len(server.read())
            if poisoned:
                assert arrived in (0, size), interrupt_at.raised_at
            else:
                assert arrived in (1, size + 1), interrupt_at.raised_at
        if interrupt_at.raised_at is None:
            break
    else:
        raise AssertionError("the write never ran to its end")
    assert number > 10
    assert isinstance(got, int) == (size == 6)


def write_soon(client: WindowsConnection, size: int) -> int | None:
    if size > QUOTA:  # one that ends at once must not be late on a slow machine
        client.set_write_deadline(soon())
    try:
        return client.write(bytes(size))
    except TimeoutError:
        return None


def test_a_direction_that_rests_has_no_event_until_its_next_operation(
    fake: FakeKernel32, pair: Pair
) -> None:
    client, server = pair
    before = fake.ledger["handles"]
    for direction in (client._reader, client._writer):
        direction.rest()
        direction.rest()  # nothing is left to release
        assert direction.result == (REFUSED, 0)
    assert fake.ledger["handles"] == before - 2
    client.set_deadline(time.monotonic() + 60)  # has nothing to wake
    server.write(b"x")
    assert client.read(1) == b"x"
    client.write(b"y")
    assert server.read(1) == b"y"
    assert fake.ledger["handles"] == before


def test_a_direction_that_rests_may_be_closed(fake: FakeKernel32, pair: Pair) -> None:
    pair[0]._reader.rest()
    pair[0].close()  # the fixture looks for handles that are left
    with pytest.raises(ClosedError):
        pair[0].read(1)


def test_without_an_event_to_be_had_an_operation_after_a_rest_fails(
    fake: FakeKernel32, pair: Pair
) -> None:
    client, server = pair
    client._reader.rest()
    fake.fail("CreateEvent", 8)
    with pytest.raises(OSError, match="8"):
        client.read(1)
    server.write(b"x")
    assert client.read(1) == b"x"
