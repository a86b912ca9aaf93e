"""npipe.transport.posix.shared_socket: closing at the right moment."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

if sys.platform == "win32":
    pytest.skip("Unix sockets", allow_module_level=True)

from npipe.errors import ClosedError
from npipe.transport.posix.shared_socket import SharedSocket
from npipe.transport.posix.waiting import POLLIN, POLLOUT, Direction


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


def test_shut_closes_at_once_if_no_call_is_in_progress(ends: Ends) -> None:
    ends.reading.prepare()
    waker = ends.reading._waker
    assert waker is not None
    ends.descriptor.shut()
    assert ends.descriptor.socket.fileno() == -1
    with pytest.raises(OSError):
        os.fstat(waker.reader)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_last_call_to_leave_closes(ends: Ends, order: tuple[int, int]) -> None:
    directions = ends.descriptor.directions
    for direction in directions:
        direction.busy = True  # as in a signal handler, in the middle of both
    ends.descriptor.shut()
    for number in order:
        assert ends.descriptor.socket.fileno() != -1
        directions[number].busy = False
        ends.descriptor.release()
    assert ends.descriptor.socket.fileno() == -1
    ends.descriptor.release()
    ends.descriptor.shut()


def test_of_many_calls_that_leave_at_once_one_closes(threads: ThreadPoolExecutor) -> None:
    for _ in range(200):
        ends = Ends()
        barrier = threading.Barrier(3)

        def call(direction: Direction, ends: Ends, barrier: threading.Barrier) -> None:
            try:
                with direction.lock:
                    barrier.wait()
                    direction.wait()
                    direction.wait()
            except ClosedError:
                pass
            finally:
                if direction.closed:
                    ends.descriptor.release()

        calls = [
            threads.submit(call, direction, ends, barrier)
            for direction in ends.descriptor.directions
        ]
        barrier.wait()
        ends.descriptor.shut()
        for each in calls:
            each.result(60)
        assert ends.descriptor.socket.fileno() == -1
        ends.far.close()
