"""Tests of npipe.rpc.threads.loop.pollers."""

from __future__ import annotations

import sys

from npipe.rpc.threads.loop.pollers import make_poller


def test_each_system_has_its_poller() -> None:
    poller = make_poller()
    poller.close()
    kinds = {"win32": "PortPoller", "linux": "EpollPoller"}
    assert type(poller).__name__ == kinds.get(sys.platform, "SelectorPoller")
