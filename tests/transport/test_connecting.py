"""npipe.transport.connecting: pauses between attempts, and when to give up."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from npipe.address import Address
from npipe.errors import ClosedError
from npipe.transport.connecting import Attempts, Backoff, accept_backoff

NOWHERE = Address("unix", "/nowhere")


class Clock:
    """The time, as the code under test sees it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("npipe.transport.connecting.time", made)
    return made


def until_timeout(call: Callable[[], object]) -> str:
    with pytest.raises(TimeoutError) as caught:
        while True:
            call()
    return str(caught.value)


def test_a_pause_doubles_until_the_longest_and_begins_anew_after_a_success() -> None:
    backoff = accept_backoff()
    assert not backoff.failures
    assert [backoff.failed() for _ in range(10)] == [
        *(0.005 * 2**n for n in range(8)),
        1.0,
        1.0,
    ]
    assert backoff.failures
    backoff.succeeded()
    assert not backoff.failures
    assert backoff.failed() == 0.005
    assert Backoff(3, 2).failed() == 2


def test_attempts_end_with_the_time_for_all_of_them(clock: Clock) -> None:
    attempts = Attempts(NOWHERE, 0.2)
    assert "the server stayed busy within 0.2 s" in until_timeout(
        lambda: attempts.sleep("the server stayed busy")
    )
    assert sum(clock.slept) == pytest.approx(0.2)
    assert clock.slept[:3] == [0.001, 0.002, 0.004]


def test_attempts_without_a_timeout_do_not_end(clock: Clock) -> None:
    attempts = Attempts(NOWHERE, None)
    assert attempts.deadline is None
    for _ in range(10_000):
        attempts.sleep("no server appeared")
    assert clock.slept[-1] == 0.05


def test_a_negative_timeout_has_one_attempt(clock: Clock) -> None:
    with pytest.raises(TimeoutError):
        Attempts(NOWHERE, -1).pause("no server appeared")


def test_t19_nan_is_no_timeout() -> None:
    with pytest.raises(ValueError, match="timeout=nan"):
        Attempts(NOWHERE, float("nan"))


def test_an_event_ends_the_attempts() -> None:
    cancel = threading.Event()
    attempts = Attempts(NOWHERE, None, cancel)
    attempts.sleep("no server appeared")
    cancel.set()
    with pytest.raises(ClosedError, match="this attempt to connect"):
        attempts.sleep("no server appeared")
    with pytest.raises(ClosedError):
        Attempts(NOWHERE, None, cancel)
