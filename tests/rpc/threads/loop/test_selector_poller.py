"""Tests of npipe.rpc.threads.loop.poller: each poller keeps the same promises."""

from __future__ import annotations

import errno
import socket
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

if sys.platform == "win32":
    pytest.skip("Windows has a completion port", allow_module_level=True)

from npipe.rpc.threads.loop.poller import READ, WRITE, Poller
from npipe.rpc.threads.loop.pollers import make_poller
from npipe.rpc.threads.loop.selector_poller import SelectorPoller, WokenPoller
from npipe.rpc.threads.loop.waker import Waker
from npipe.transport.memory import memory_pair


@pytest.fixture(params=[make_poller, SelectorPoller])
def poller(request: pytest.FixtureRequest) -> Iterator[Poller]:
    make: Callable[[], Poller] = request.param
    poller = make()
    yield poller
    poller.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


Pair = tuple[socket.socket, socket.socket]


def test_events_are_reported_until_they_are_dealt_with(poller: Poller, pair: Pair) -> None:
    ours, theirs = pair
    poller.change(ours.fileno(), 0, READ)
    assert poller.wait(0) == []
    theirs.send(b"x")
    for _ in range(2):
        assert poller.wait(60) == [(ours.fileno(), READ)]
    ours.recv(1)
    assert poller.wait(0) == []


def test_what_is_waited_for_can_be_changed_and_removed(poller: Poller, pair: Pair) -> None:
    ours, theirs = pair
    fd = ours.fileno()
    theirs.send(b"x")
    poller.change(fd, 0, READ | WRITE)
    assert poller.wait(60) == [(fd, READ | WRITE)]
    poller.change(fd, READ | WRITE, WRITE)
    assert poller.wait(60) == [(fd, WRITE)]
    poller.change(fd, WRITE, 0)
    assert poller.wait(0) == []


def test_a_descriptor_that_is_added_by_another_thread_ends_a_wait(
    poller: Poller, pair: Pair
) -> None:
    ours, theirs = pair
    theirs.send(b"x")
    events: list[tuple[int, int]] = []
    waiting = threading.Thread(target=lambda: events.extend(poller.wait(60)))
    waiting.start()
    poller.change(ours.fileno(), 0, READ)
    waiting.join(60)
    assert events == [(ours.fileno(), READ)]


def test_changes_after_close_do_nothing(poller: Poller, pair: Pair) -> None:
    poller.close()
    poller.change(pair[0].fileno(), 0, READ)


def test_a_wake_ends_a_wait_until_it_is_drained(poller: Poller) -> None:
    for _ in range(2):
        poller.wake()
        poller.wake()
        ((fd, event),) = poller.wait(0)
        assert event == READ
        poller.drain(fd + 1)
        assert poller.wait(0) == [(fd, READ)]
        poller.drain(fd)
        assert poller.wait(0) == []
    for _ in range(100_000):  # more than a pipe holds
        poller.wake()
    poller.close()
    poller.wake()


def test_no_descriptor_is_left_open_where_there_are_too_few(
    poller: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Waker] = []

    def fail(poller: WokenPoller, fd: int, before: int, now: int) -> None:
        made.append(poller._waker)
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(type(poller), "change", fail)
    with pytest.raises(OSError):
        type(poller)()
    assert [waker._reader.fileno() for waker in made] == [-1]


def test_it_takes_what_a_selector_takes(poller: Poller) -> None:
    ours, theirs = memory_pair()
    with ours, theirs:
        assert not poller.attach(ours)


def test_a_descriptor_that_was_closed_elsewhere_is_removed_without_an_error(
    poller: Poller,
) -> None:
    ours, theirs = socket.socketpair()
    fd = ours.fileno()
    poller.change(fd, 0, READ)
    ours.close()
    poller.change(fd, READ, 0)
    theirs.close()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert fd in (ours.fileno(), theirs.fileno())  # the lowest free number
        if fd == theirs.fileno():
            ours, theirs = theirs, ours
        poller.change(fd, 0, READ)
        theirs.send(b"x")
        assert poller.wait(60) == [(fd, READ)]
        poller.change(fd, READ, 0)
