"""Tests of npipe.rpc.threads.loop.waker."""

from __future__ import annotations

import sys

import pytest

if sys.platform == "win32":
    pytest.skip("Windows has a completion port", allow_module_level=True)

from npipe.rpc.threads.loop.poller import READ
from npipe.rpc.threads.loop.pollers import make_poller
from npipe.rpc.threads.loop.waker import Waker


def test_a_waker_is_ready_until_it_is_drained() -> None:
    waker, poller = Waker(), make_poller()
    poller.change(waker.fd, 0, READ)
    for _ in range(2):
        waker.wake()
        waker.wake()
        assert poller.wait(0) == [(waker.fd, READ)]
        waker.drain()
        assert poller.wait(0) == []
    for _ in range(100_000):  # more than a pipe holds
        waker.wake()
    poller.close()
    waker.close()
    waker.wake()
