"""Running the cases: each on a pair of its own, within a time limit."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

import npipe
from npipe.testing import check_case, check_connection, memory_pair


def test_check_connection_runs_every_case_on_a_pair_of_its_own() -> None:
    pairs = []
    ran = []

    def make() -> tuple[npipe.Connection, npipe.Connection, Callable[[], None]]:
        c1, c2 = memory_pair()
        pairs.append((c1, c2))
        return c1, c2, lambda: (c1.close(), c2.close())  # type: ignore[return-value]

    def one(c1: npipe.Connection, c2: npipe.Connection) -> None:
        ran.append((c1, c2))

    check_connection(make, cases=[one, one])
    assert ran == pairs
    assert len(pairs) == 2
    assert all(each.closed for pair in pairs for each in pair)


def test_a_case_that_hangs_is_stopped_and_named() -> None:
    stopped = threading.Event()

    def hangs(c1: npipe.Connection, c2: npipe.Connection) -> None:
        stopped.wait(60)

    with pytest.raises(AssertionError, match=r"hangs was stopped after 0.01 s"):
        check_case(hangs, lambda: (*memory_pair(), stopped.set), time_limit=0.01)
