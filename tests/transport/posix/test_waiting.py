"""npipe.transport.posix.waiting: waiting, waking, and closing at the right moment."""

from __future__ import annotations

import os
import random
import select
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

if sys.platform == "win32":
    pytest.skip("Unix sockets", allow_module_level=True)

from npipe.errors import ClosedError
from npipe.transport.posix.shared_socket import SharedSocket
from npipe.transport.posix.waiting import POLLIN, POLLOUT, Direction
from npipe.transport.posix.waker import Waker


class Ends:
    def __init__(self) -> None:
        near, self.far = socket.socketpair()
        self.descriptor = SharedSocket(near, (POLLIN, POLLOUT), "thing")
        self.reading, self.writing = self.descriptor.directions


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.descriptor.shut()
    made.far.close()


def test_wait_returns_when_ready(ends: Ends) -> None:
    ends.far.send(b"x")
    ends.reading.wait()
    ends.writing.wait()


def test_a_wake_up_long_before_the_wait_costs_one_more_look(ends: Ends) -> None:
    ends.reading.prepare()
    ends.reading._waiting = True  # as if a wait were ending at this moment
    ends.reading.wake()
    ends.reading.deadline = time.monotonic() + 0.01
    with pytest.raises(TimeoutError):
        ends.reading.wait()


def test_nobody_waiting_nobody_is_rung_for(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    ends.reading.prepare()
    monkeypatch.setattr(Waker, "wake", lambda self: pytest.fail("it woke"))
    ends.reading.wake()


def test_no_change_is_missed(ends: Ends, threads: ThreadPoolExecutor) -> None:
    # The race that the first rule is about: a deadline set just as the wait begins.
    for _ in range(500):
        ends.reading.deadline = None
        waiting = threads.submit(ends.reading.wait)
        for _ in range(random.randrange(50)):
            pass
        ends.reading.deadline = 0
        ends.reading.wake()
        assert isinstance(waiting.exception(60), TimeoutError)


def test_a_deadline_set_while_the_first_wait_makes_its_waker_ends_it(
    ends: Ends, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make() -> Waker:
        ends.reading.deadline = 0
        ends.reading.wake()  # there is nothing to wake yet
        return Waker()

    monkeypatch.setattr("npipe.transport.posix.waiting.Waker", make)
    waiting = threads.submit(ends.reading.wait)
    try:
        assert isinstance(waiting.exception(5), TimeoutError)
    finally:
        ends.reading.wake()


def test_an_interrupt_of_the_first_wait_leaves_no_descriptor_and_loses_no_wake_up(
    ends: Ends, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: Direction) -> select.poll:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Direction, "_new_poll", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ends.reading.wait()
    waker = ends.reading._waker
    assert waker is not None
    waiting = threads.submit(ends.reading.wait)
    while not ends.reading._waiting:
        time.sleep(0)
    ends.reading.deadline = 0
    ends.reading.wake()
    assert isinstance(waiting.exception(5), TimeoutError)
    ends.descriptor.shut()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(waker.reader)


def test_pause_ends_early_when_closed(ends: Ends, threads: ThreadPoolExecutor) -> None:
    pausing = threads.submit(ends.reading.pause, 3600)
    while not ends.reading._waiting:
        time.sleep(0)
    ends.descriptor.shut()
    pausing.result(60)
    with pytest.raises(ClosedError, match="this thing has been closed"):
        ends.reading.pause(0)


def test_pause_keeps_the_deadline(ends: Ends) -> None:
    ends.reading.deadline = time.monotonic() + 0.01
    ends.reading.pause(3600)
    with pytest.raises(TimeoutError):
        ends.reading.pause(3600)
