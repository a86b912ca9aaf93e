"""Waiting for a socket, and being woken."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from npipe.transport.smb.waiter import Waiter


@pytest.fixture
def ends():
    here, there = socket.socketpair()
    with here, there:
        waiter = Waiter(here)
        yield waiter, here, there
        waiter.close()


def test_data_ends_the_wait(ends):
    waiter, _, there = ends
    there.send(b"x")
    waiter.wait(60)


def test_a_socket_that_can_be_written_ends_the_wait_if_asked(ends):
    waiter, _, _ = ends
    waiter.wait(60, to_write=True)
    begun = time.monotonic()
    waiter.wait(0.05)
    assert time.monotonic() - begun >= 0.04


def test_a_wake_ends_the_wait_also_before_it(ends):
    waiter, _, _ = ends
    for _ in range(100_000):  # more than the bell holds
        waiter.wake()
    while waiter._bell in [key.fileobj for key, _ in waiter._selector.select(0)]:
        waiter.wait(60)
    timer = threading.Timer(0.05, waiter.wake)
    timer.start()
    waiter.wait(None)
    timer.join()


def test_a_wake_after_the_end_is_harmless():
    here, there = socket.socketpair()
    with here, there:
        waiter = Waiter(here)
        waiter.close()
        waiter.wake()
