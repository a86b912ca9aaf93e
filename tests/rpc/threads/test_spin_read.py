"""Tests of npipe.rpc.threads.spin_read: polling for a message before a sleep."""

from __future__ import annotations

import threading
from typing import cast

import pytest

from npipe.rpc.threads.spin_read import LONGEST_REST, SpinReader
from npipe.transport.base import Connection


class Answers:
    """A connection on which messages come at once, or not."""

    quick = True
    looked = 0

    def poll_read(self, size: int, seconds: float, /) -> bytes | None:
        self.looked += 1
        return b"x" if self.quick else None


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Answers:
    monkeypatch.setattr("npipe.rpc.threads.spin_read.cores", lambda: 2)
    return Answers()


def read(reads: SpinReader, connection: Answers) -> bytes | None:
    return reads.read(cast("Connection", connection), 1)


def reads_until_it_looks(reads: SpinReader, connection: Answers) -> int:
    before, rested = connection.looked, 0
    while read(reads, connection) is None and connection.looked == before:
        rested += 1
    return rested


def test_it_looks_each_time_while_that_pays(connection: Answers) -> None:
    reads = SpinReader(threading.Lock())
    assert [read(reads, connection) for _ in range(9)] == [b"x"] * 9


def test_each_failure_in_a_row_makes_the_rest_longer(connection: Answers) -> None:
    reads = SpinReader(threading.Lock())
    connection.quick = False
    rests = [reads_until_it_looks(reads, connection) for _ in range(9)]
    assert rests == [0, 1, 3, 7, 15, 31, 63, LONGEST_REST, LONGEST_REST]


def test_one_success_is_enough_to_begin_anew(connection: Answers) -> None:
    reads = SpinReader(threading.Lock())
    connection.quick = False
    for _ in range(5):
        reads_until_it_looks(reads, connection)
    connection.quick = True
    reads_until_it_looks(reads, connection)
    assert [read(reads, connection) for _ in range(9)] == [b"x"] * 9


def test_one_at_a_time_looks(connection: Answers) -> None:
    lock = threading.Lock()
    reads = SpinReader(lock)
    with lock:
        assert read(reads, connection) is None
    assert not connection.looked
    assert read(reads, connection) == b"x"
    assert not lock.locked()


def test_on_one_core_nobody_looks(connection: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("npipe.rpc.threads.spin_read.cores", lambda: 1)
    reads = SpinReader(threading.Lock())
    assert all(read(reads, connection) is None for _ in range(1000))
    assert not connection.looked
