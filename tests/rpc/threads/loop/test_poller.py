"""Tests of npipe.rpc.threads.loop.poller: every poller has the methods of the interface."""

from __future__ import annotations

import inspect

import pytest

from npipe.rpc.threads.loop.poller import READ, WRITE, Poller
from npipe.rpc.threads.loop.port_poller import PortPoller
from npipe.rpc.threads.loop.selector_poller import SelectorPoller

METHODS = [name for name in vars(Poller) if not name.startswith("_")]


@pytest.mark.parametrize("kind", [PortPoller, SelectorPoller])
def test_every_poller_has_its_methods(kind: type[Poller]) -> None:
    assert METHODS == ["attach", "change", "wait", "wake", "drain", "close"]
    for name in METHODS:
        theirs, ours = getattr(Poller, name), getattr(kind, name)
        assert inspect.signature(theirs).parameters == inspect.signature(ours).parameters


def test_the_events_are_those_of_poll() -> None:
    """The leader passes on other bits, an error or a hang-up, to what is waited for."""
    assert READ & WRITE == 0
    assert (READ, WRITE) == (1, 4)
