"""npipe.transport.posix.receiving: reading without blocking, waiting for a reply."""

from __future__ import annotations

import itertools
import os
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

if sys.platform == "win32":
    pytest.skip("Unix sockets", allow_module_level=True)

import npipe
from npipe.address import Address
from npipe.errors import ClosedError
from npipe.transport.posix.connection import PosixConnection
from npipe.transport.posix.receiving import Receiver
from npipe.transport.posix.sending import Sender
from npipe.transport.posix.waiting import POLLIN, Direction

Pair = tuple[npipe.Connection, npipe.Connection]
NOWHERE = Address("unix", "/nowhere")


def socket_pair() -> tuple[PosixConnection, socket.socket]:
    ours, theirs = socket.socketpair()
    return PosixConnection(ours, NOWHERE), theirs


def test_b04_a_timed_out_read_leaves_its_buffer_alone(pair: Pair) -> None:
    client, server = pair
    buffer = bytearray(b"untouched")
    client.set_read_deadline(time.monotonic() + 0.001)
    with pytest.raises(TimeoutError):
        client.readinto(buffer)
    server.write(b"late data")
    assert buffer == b"untouched"
    client.set_read_deadline(None)
    assert client.readinto(buffer) == 9
    assert buffer == b"late data"


def test_b05_a_second_read_to_the_end_that_times_out_keeps_all_of_the_first(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, server = pair
    sent = os.urandom(200_000)
    server.set_read_deadline(time.monotonic() + 0.2)
    client.set_write_deadline(time.monotonic() + 30)
    with ThreadPoolExecutor() as pool:
        writing = pool.submit(client.write, sent)
        with pytest.raises(TimeoutError):
            server.read()
        writing.result(60)
    # The deadline passes once the next read has taken up a part of what the first one had.
    clock = itertools.chain([0.0], itertools.repeat(10.0))
    server.set_read_deadline(5.0)
    monkeypatch.setattr("npipe.transport.posix.waiting.monotonic", lambda: next(clock))
    with pytest.raises(TimeoutError):
        server.read()
    monkeypatch.undo()
    server.set_read_deadline(None)
    client.close()
    assert server.read() == sent


def test_a_large_read_costs_no_large_buffer(pair: Pair) -> None:
    client, server = pair
    client.write(b"little")
    assert server.read(1 << 50) == b"little"


def test_poll_read_reads_what_is_there_and_does_not_wait_for_more(pair: Pair) -> None:
    client, server = pair
    assert client.poll_read(9, 0.0) is None
    assert client.poll_read(9, 0.001) is None
    server.write(b"abc")
    assert [client.poll_read(2, 0.0), client.read(9)] == [b"ab", b"c"]
    server.close()
    assert client.poll_read(9, 0.0) == b""


def test_poll_read_takes_a_reset_for_the_end(pair: Pair) -> None:
    client, server = pair
    client.write(b"never read")
    server.close()
    assert client.poll_read(9, 0.0) == b""


def test_poll_read_sees_what_comes_while_it_looks(pair: Pair, threads: ThreadPoolExecutor) -> None:
    client, server = pair
    looking = threads.submit(client.poll_read, 9, 60)
    server.write(b"abc")
    assert looking.result(60) == b"abc"


def test_poll_read_is_ended_by_close_and_by_a_deadline(
    pair: Pair, threads: ThreadPoolExecutor
) -> None:
    client, _ = pair
    looking = threads.submit(client.poll_read, 9, 60)
    client.set_read_deadline(time.monotonic() + 0.01)
    assert isinstance(looking.exception(60), TimeoutError)
    client.set_read_deadline(None)
    looking = threads.submit(client.poll_read, 9, 60)
    client.close()
    assert isinstance(looking.exception(60), ClosedError)


def test_poll_read_returns_what_a_readall_had_to_leave(pair: Pair) -> None:
    client, server = pair
    server.write(b"abc")
    client.set_read_deadline(time.monotonic() + 0.02)
    with pytest.raises(TimeoutError):
        client.readall()
    client.set_read_deadline(None)
    assert [client.poll_read(2, 0.0), client.poll_read(9, 0.0)] == [b"ab", b"c"]


def test_read_now_returns_what_there_is_and_never_waits() -> None:
    connection, other = socket_pair()
    with connection, other:
        assert connection.read_now(10) is None
        other.send(b"one two")
        assert connection.read_now(3) == b"one"
        assert connection.read_now(10) == b" two"
        other.shutdown(socket.SHUT_WR)
        assert connection.read_now(10) == b""


def test_read_now_returns_what_a_read_to_the_end_had_got() -> None:
    connection, other = socket_pair()
    with connection, other:
        other.send(b"kept")
        connection.set_read_deadline(time.monotonic() + 0.02)
        with pytest.raises(TimeoutError):
            connection.read()
        assert connection.read_now(2) == b"ke"
        assert connection.read_now(10) == b"pt"
        assert connection.read_now(10) is None


def test_read_now_takes_a_reset_for_the_end() -> None:
    connection, other = socket_pair()
    with connection:
        connection.write(b"never read")
        other.close()
        assert connection.read_now(10) == b""


# Replies: a Receiver over a socket that is asked in a script, and a clock that moves on demand


class Script:
    """Socket whose recv() returns the next item of ``arrivals``; None is "nothing yet"."""

    def __init__(self) -> None:
        self.arrivals: list[bytes | None] = []

    def recv(self, size: int, flags: int) -> bytes:
        if (data := self.arrivals.pop(0)) is None:
            raise BlockingIOError
        return data

    def recv_into(self, *_: object) -> int:
        raise NotImplementedError

    send = recv_into


class Waits(Direction):
    """Direction whose waits are counted and end at once."""

    def __init__(self) -> None:
        super().__init__(-1, POLLIN, threading.RLock(), "thing")
        self.waits = 0

    def wait(self, until: float | None = None) -> bool:
        self.waits += 1
        return True


class Dialogue:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock, self.yields, self.step = 0.0, 0, 1e-6
        self.socket, self.reading = Script(), Waits()
        self.sender = Sender(self.socket, Waits())  # type: ignore[arg-type]
        self.receiver = Receiver(self.socket, self.reading, self.sender)  # type: ignore[arg-type]
        monkeypatch.setattr("npipe.transport.posix.receiving.monotonic", lambda: self.clock)
        monkeypatch.setattr("npipe.transport.posix.receiving._sched_yield", self.give_way)

    def give_way(self) -> None:
        self.yields += 1
        self.clock += self.step

    def reply(self, *arrivals: bytes | None) -> tuple[int, int]:
        """Read one reply after a write; return the numbers of yields and of waits."""
        before = self.yields, self.reading.waits
        self.sender.writes += 1
        self.socket.arrivals = [*arrivals]
        assert self.receiver.receive(9) == arrivals[-1]
        assert not self.socket.arrivals
        return self.yields - before[0], self.reading.waits - before[1]


@pytest.fixture
def dialogue(monkeypatch: pytest.MonkeyPatch) -> Dialogue:
    return Dialogue(monkeypatch)


def test_a_reply_that_arrives_at_once_costs_no_wait(dialogue: Dialogue) -> None:
    assert dialogue.reply(b"now") == (1, 0)
    assert dialogue.reply(None, None, b"soon") == (3, 0)


def test_a_read_without_a_write_before_it_neither_yields_nor_waits(dialogue: Dialogue) -> None:
    dialogue.reply(b"x")
    dialogue.socket.arrivals = [b"more"]
    assert dialogue.receiver.receive(9) == b"more"
    assert (dialogue.yields, dialogue.reading.waits) == (1, 0)


def test_slow_replies_are_waited_for_and_looked_for_ever_more_rarely(dialogue: Dialogue) -> None:
    dialogue.step = 1.0
    costs = [dialogue.reply(b"x") if rest else dialogue.reply(None, b"x") for rest in RESTS]
    assert costs == [(0, 1) if rest else (1, 1) for rest in RESTS]
    dialogue.step = 1e-6
    assert dialogue.reply(b"x") == (0, 1)


# 1 tells that a read after a failure sleeps at once: 1, 3, 7 of them, and so on.
RESTS = [0, 1, 0, 1, 1, 1, 0, *[1] * 7, 0, *[1] * 14]


def test_a_fast_reply_ends_the_caution(dialogue: Dialogue) -> None:
    dialogue.step = 1.0
    dialogue.reply(None, b"x")
    dialogue.reply(b"x")
    dialogue.step = 1e-6
    for _ in range(9):
        assert dialogue.reply(b"x") == (1, 0)


def test_a_yield_that_took_long_is_a_failure_though_data_arrived(dialogue: Dialogue) -> None:
    # Another program has the core; sleeping would have been no worse.
    dialogue.step = 1.0
    assert dialogue.reply(b"x") == (1, 0)
    assert dialogue.reply(b"x") == (0, 1)


def test_the_longest_rest_is_bounded(dialogue: Dialogue) -> None:
    dialogue.step = 1.0
    yields = sum(dialogue.reply(b"x")[0] for _ in range(10_000))
    assert 10_000 // 1024 <= yields <= 30


def test_a_reset_in_place_of_a_reply_is_the_end(pair: Pair) -> None:
    client, server = pair
    client.write(b"never read")
    server.close()
    assert client.read(1) == b""
