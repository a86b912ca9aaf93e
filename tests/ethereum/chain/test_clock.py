"""The chain's time, moved on a clock of the test's own."""

from __future__ import annotations

import pytest

from npipe.ethereum.chain.clock import Clock
from npipe.ethereum.errors import ChainError


@pytest.fixture
def clock() -> Clock:
    return Clock(lambda: 1_000.7)


def test_a_block_is_later_than_its_parent(clock: Clock) -> None:
    assert (clock.now(), clock.next(10), clock.next(1_000), clock.next(5_000)) == (
        *(1_000, 1_000, 1_001, 5_001),
    )
    clock.interval = 12
    assert clock.next(5_000) == 5_012


def test_a_time_that_was_asked_for_is_gone_on_from(clock: Clock) -> None:
    clock.want(9_000, 8_000)
    assert clock.next(8_000) == 9_000
    clock.passed(9_000)
    assert (clock.next(9_000), clock.now(), clock.offset) == (9_001, 9_000, 8_000)
    with pytest.raises(ChainError, match="timestamp 5 is not later than the last block's"):
        clock.want(5, 5)


def test_moving_on_counts_from_a_parent_that_is_ahead(clock: Clock) -> None:
    assert clock.advance(100, 0) == 100
    assert clock.advance(0, 5_000) == 100
    assert clock.advance(10, 1_150) == 160
    assert clock.set(50) == -950
    for call in (lambda: clock.set(2**63), lambda: clock.advance(2**63, 0)):
        with pytest.raises(ChainError, match="the time cannot be"):
            call()


def test_it_is_put_back(clock: Clock) -> None:
    clock.set(5)
    clock.interval = 3
    kept = clock.state
    clock.reset()
    assert (clock.now(), clock.interval) == (1_000, None)
    clock.state = kept
    assert (clock.now(), clock.interval) == (5, 3)
