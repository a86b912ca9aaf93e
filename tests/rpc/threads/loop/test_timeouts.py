"""Tests of npipe.rpc.threads.loop.timeouts, on a clock of their own."""

from __future__ import annotations

import pytest

from npipe.rpc import API, Limits
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.session.session import Session
from npipe.rpc.threads.loop import timeouts as module
from npipe.rpc.threads.loop.timeouts import Timeouts

PART = b'{"jsonrpc"'
REST = b':"2.0","method":"x"}\n'


class Connection:
    """A driver, its connection, its loop and the clock, moved by hand."""

    def __init__(self, **limits: float | None) -> None:
        defaults = {"idle_timeout": None, "message_timeout": None, "write_timeout": None}
        self.session = Session(Dispatcher(API()), limits=Limits(**{**defaults, **limits}))  # type: ignore[arg-type]
        self.now = 100.0
        self.at_end = self.stalled = self.gone = False
        self.idle = self.reading = True
        self.reason = ""
        self.scheduled: list[float] = []
        self.connection = self
        self.timeouts = Timeouts(self, self, lambda: self.now)  # type: ignore[arg-type]
        self.timeouts.start()

    def has_gone(self) -> bool:
        return self.gone

    def schedule(self, driver: Connection, when: float) -> None:
        assert driver is self
        self.scheduled.append(when)

    def write_unsent(self) -> bool:
        return self.stalled

    def close(self, reason: str) -> None:
        self.reason = reason

    def feed(self, data: bytes) -> None:
        self.timeouts.has_read(self.session.feed(data))
        while self.session.next_call() is not None:
            pass

    def wait(self, seconds: float) -> str:
        """Let time pass, and the timers that were set with it. Return why it was closed."""
        self.now += seconds
        while self.scheduled and min(self.scheduled) <= self.now and not self.reason:
            self.scheduled.remove(min(self.scheduled))
            self.timeouts.on_timer(self.now)
        return self.reason


def test_without_limits_no_timer_is_set() -> None:
    connection = Connection()
    connection.feed(PART)
    connection.timeouts.has_written(stalled=True)
    assert connection.scheduled == []


def test_an_idle_connection_is_closed_and_a_busy_one_is_not() -> None:
    connection = Connection(idle_timeout=10)
    assert connection.wait(9) == ""
    connection.feed(PART + REST)
    assert connection.wait(9) == ""
    connection.timeouts.has_written()
    assert connection.wait(9) == ""
    connection.idle = False
    assert connection.wait(100) == ""
    connection.idle = True
    assert connection.wait(10) == "idle for too long"


def test_whitespace_keeps_no_connection_open() -> None:
    connection = Connection(idle_timeout=10)
    connection.wait(9)
    connection.feed(b" \n")
    assert connection.wait(1) == "idle for too long"


def test_the_rest_of_a_message_has_to_come_in_time() -> None:
    connection = Connection(message_timeout=5)
    connection.feed(PART)
    connection.wait(4)
    connection.feed(PART[:0] + b":")
    assert connection.wait(1) == "no complete message in time"


def test_a_complete_message_begins_the_time_of_the_next_anew() -> None:
    connection = Connection(message_timeout=5)
    connection.feed(PART)
    connection.wait(4)
    connection.feed(REST + PART)
    assert connection.wait(4) == ""
    connection.feed(REST)
    assert connection.wait(100) == ""


def test_the_time_of_a_message_stands_while_reading_is_paused() -> None:
    connection = Connection(message_timeout=5)
    connection.feed(PART)
    connection.reading = False
    assert connection.wait(50) == ""
    connection.reading = True
    connection.timeouts.has_resumed()
    assert connection.wait(4) == ""
    assert connection.wait(1) == "no complete message in time"


def test_a_peer_that_reads_nothing_is_disconnected() -> None:
    connection = Connection(write_timeout=5)
    connection.stalled = True
    connection.timeouts.has_written(stalled=True)
    connection.wait(4)
    connection.timeouts.has_written(stalled=True)  # it read some bytes
    assert connection.wait(4) == ""
    assert connection.wait(1) == "the peer reads too slowly"


def test_a_last_write_may_show_that_the_peer_did_read(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Connection(write_timeout=5)
    connection.stalled = True
    connection.timeouts.has_written(stalled=True)

    def write_unsent() -> bool:
        connection.timeouts.has_written(stalled=True)
        return True

    monkeypatch.setattr(connection, "write_unsent", write_unsent)
    assert connection.wait(5) == ""
    monkeypatch.undo()


def test_a_half_closed_peer_that_has_gone_is_noticed() -> None:
    connection = Connection(idle_timeout=1)
    connection.at_end = True
    connection.timeouts.has_ended()
    assert connection.wait(100) == ""  # no idle timeout: a call may still run
    connection.gone = True
    assert connection.wait(module.GONE_SECONDS) == "the peer has disconnected"
