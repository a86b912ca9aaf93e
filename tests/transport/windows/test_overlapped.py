"""npipe.transport.windows.overlapped, on the fake kernel: cancels, interrupts, late ends."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import wait
from types import FrameType
from typing import Any

import pytest

from npipe.errors import ClosedError
from npipe.transport.windows import overlapped as overlapped_module
from npipe.transport.windows.connection import WindowsConnection
from npipe.transport.windows.overlapped import Direction, Operation, State, ThreadCall
from transport.conftest import no_thread_left
from transport.windows.fake_kernel32 import FakeKernel32
from transport.windows.faked import (
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


def test_b05_bytes_that_beat_the_cancel_are_data(
    fake: FakeKernel32, pair: Pair, spawn: Spawn
) -> None:
    client, server = pair
    fake.hooks["CancelIoEx"] = lambda: server.write(b"just in time") and None
    reading = spawn(client.read, 100)
    fake.pending()
    client.set_read_deadline(past())
    assert reading.result(60) == b"just in time"


def test_b05_a_read_to_the_end_that_timed_out_gives_what_it_had_to_the_next(
    fake: FakeKernel32, pair: Pair, spawn: Spawn
) -> None:
    client, server = pair
    server.write(b"first")
    reading = spawn(client.read)
    fake.pending()
    client.set_read_deadline(past())
    with pytest.raises(TimeoutError):
        reading.result(60)
    client.set_read_deadline(None)
    server.write(b"second")
    server.close()
    assert client.read() == b"firstsecond"


def test_b05_a_write_that_beats_the_cancel_has_gone(
    fake: FakeKernel32, pair: Pair, spawn: Spawn
) -> None:
    client, server = pair
    got: list[bytes] = []
    fake.hooks["CancelIoEx"] = lambda: got.extend([server.read(65536), server.read(65536)])
    writing = spawn(client.write, b"x" * 100_000)
    fake.pending()
    client.set_write_deadline(past())
    assert writing.result(60) == 100_000
    client.set_write_deadline(None)
    assert client.write(b"more") == 4
    assert server.read(100) == b"more"


def test_b05_a_cut_write_tells_no_number_and_poisons_the_write_side(
    fake: FakeKernel32, pair: Pair, spawn: Spawn
) -> None:
    """Windows reports 0 bytes although the other end has read some, and drops the rest."""
    client, server = pair
    writing = spawn(client.write, bytes(100_000))
    fake.pending()
    assert len(server.read(100)) == 100
    client.set_write_deadline(past())
    with pytest.raises(TimeoutError) as caught:
        writing.result(60)
    assert not hasattr(caught.value, "characters_written")
    client.set_write_deadline(None)
    with pytest.raises(BrokenPipeError, match="cut") as poisoned:
        client.write(b"x")
    assert poisoned.value.characters_written == 0  # type: ignore[attr-defined]
    server.write(b"reading goes on")
    assert client.read(100) == b"reading goes on"


def test_b05_a_deadline_between_two_parts_tells_how_much_went(
    pair: Pair, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A big write goes in parts of 1 MiB; cut between two, it is known what went."""
    client, server = pair
    reading = spawn(lambda: b"".join(server.read(65536) for _ in range(16)))
    transfer = Direction.transfer

    def late(direction: Direction, call: Any, buffer: Any, size: int, *due: Any) -> Any:
        result = transfer(direction, call, buffer, size, *due)
        if size == 1 << 20:
            direction.set_deadline(past())
        return result

    monkeypatch.setattr(Direction, "transfer", late)
    with pytest.raises(TimeoutError) as caught:
        client.write(bytes(3 << 20))
    assert caught.value.characters_written == 1 << 20  # type: ignore[attr-defined]
    assert len(reading.result(60)) == 1 << 20
    client.set_write_deadline(None)
    assert client.write(b"goes on") == 7


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


def test_interrupted_read_loses_no_byte(fake: FakeKernel32, pair: Pair) -> None:
    client, server = pair

    def data_then_interrupt() -> None:
        server.write(b"came with ctrl-c")
        interrupt()

    fake.hooks["WaitForMultipleObjects"] = data_then_interrupt
    with pytest.raises(KeyboardInterrupt):
        client.readinto(bytearray(100))
    assert client.read(4) == b"came"
    buffer = bytearray(100)
    assert client.readinto(buffer) == 12


def test_interrupted_read_is_cancelled(fake: FakeKernel32, pair: Pair) -> None:
    client, server = pair
    fake.hooks["WaitForMultipleObjects"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        client.read(1)
    assert len(fake.made("CancelIoEx")) == 1
    server.write(b"x")
    assert client.read(1) == b"x"


def test_interrupt_before_the_call_brings_nothing_back(
    fake: FakeKernel32, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, server = pair
    server.write(b"12345678")
    assert client.read(64) == b"12345678"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fake, "ReadFile", lambda *_: interrupt())
        client.read(64)
    server.write(b"next")
    assert client.read(64) == b"next"


def test_interrupt_of_a_read_does_not_repeat_an_earlier_one(
    fake: FakeKernel32, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, server = pair

    def data_then_interrupt() -> None:
        server.write(b"once")
        interrupt()

    fake.hooks["WaitForMultipleObjects"] = data_then_interrupt
    with pytest.raises(KeyboardInterrupt):
        client.read(64)
    fake.hooks.clear()
    assert client.read(64) == b"once"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Direction, "transfer", lambda *_: interrupt())
        client.read(64)
    server.write(b"next")
    assert client.read(64) == b"next"


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


def test_interrupted_write_that_was_not_begun_poisons_nothing(
    fake: FakeKernel32, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, server = pair
    client.write(b"abc")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fake, "WriteFile", lambda *_: interrupt())
        client.write(b"lost")
    client.write(b"def")
    assert server.read(3) + server.read(3) == b"abcdef"


def test_interrupted_write_poisons(fake: FakeKernel32, pair: Pair) -> None:
    client, _ = pair
    fake.hooks["WaitForMultipleObjects"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        client.write(bytes(100_000))
    with pytest.raises(BrokenPipeError, match="cut"):
        client.write(b"x")


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


# -- Ctrl-C at every line


class InterruptAt:
    """Raises KeyboardInterrupt at the n-th line that ``overlapped.py`` runs, by a trace function.

    CPython looks for signals at the entry of a function, after a call and at the end of a loop.
    A line of this trace comes before each. Two kinds are left out, where it never looks: the way
    out of a ``with`` and of a ``finally``, which run no call of Python's.
    """

    def __init__(self, number: int) -> None:
        self._left = number
        self._seen: set[tuple[int, int]] = set()
        self.raised_at: int | None = None

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename != overlapped_module.__file__:
            return None
        if event == "line" and self._counts(frame):
            self._left -= 1
            if self._left == 0:
                self.raised_at = frame.f_lineno
                raise KeyboardInterrupt
        return self

    def _counts(self, frame: FrameType) -> bool:
        line = LINES[frame.f_lineno - 1].strip()
        where = (id(frame), frame.f_lineno)
        # From Python 3.12 on a "return" inside of try reports its line again on the way to the
        # finally block, where no signal is looked for.
        left = line.startswith(("with ", "return ")) and where in self._seen
        self._seen.add(where)
        return not (left or "self.begun = False" in line or frame.f_lineno in FINALLY_WITH)


with open(overlapped_module.__file__, encoding="utf-8") as source:
    LINES = source.readlines()
FINALLY_WITH = {n for n, after in enumerate(LINES[1:], 1) if "self.begun = False" in after}


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
    client.set_write_deadline(soon())
    try:
        return client.write(bytes(size))
    except TimeoutError:
        return None


# -- Operation


def test_an_operation_that_fails_at_once_is_idle_again(fake: FakeKernel32) -> None:
    """Its status says "pending" for ever: that is not looked at."""
    code, event = fake.CreateEvent()
    assert not code
    operation = Operation(fake, 12345, event)
    code = operation.begin(lambda handle, reference: fake._fail(reference, 6))
    assert (code, operation.state, operation.result) == (6, State.IDLE, (6, 0))
    assert operation.cancel() == (6, 0)
    fake.CloseHandle(event)


def test_w11_a_flush_that_cannot_be_cancelled_does_not_keep_close_waiting(
    fake: FakeKernel32, pair: Pair, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, server = pair
    client.write(b"unread")
    monkeypatch.setattr(fake, "CancelSynchronousIo", lambda _: 1168)
    monkeypatch.setattr(overlapped_module, "_CANCEL_PATIENCE", 0.05)
    flushing = spawn(client.flush)
    fake.until(lambda: fake.made("FlushFileBuffers"))
    client.close()
    with pytest.raises(ClosedError):
        flushing.result(60)
    server.close()
    fake.until(lambda: not fake._in_call)


def test_w13_a_thread_that_was_given_up_closes_what_it_gets(fake: FakeKernel32) -> None:
    go, unwanted = threading.Event(), list[tuple[int, int]]()
    done = threading.Event()

    def call() -> tuple[int, int]:
        assert go.wait(60)
        return 0, 7

    aside = ThreadCall(call, "test", fake, done=done.set, unwanted=unwanted.append)
    aside.start()
    aside.wait(time.monotonic() + 0.01)
    assert aside.finish(patience=0) == (995, 0)
    go.set()
    assert done.wait(60)
    assert unwanted == [(0, 7)]
