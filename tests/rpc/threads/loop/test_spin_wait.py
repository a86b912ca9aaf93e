"""Tests of npipe.rpc.threads.loop.spin_wait: when polling is worth it."""

from __future__ import annotations

from npipe.rpc.threads.loop.poller import READ
from npipe.rpc.threads.loop.spin_wait import SpinWait

SECONDS = 60


class Polled:
    """A poller that reports events when it is asked for the n-th time."""

    def __init__(self, *answers: bool) -> None:
        self.answers = list(answers)
        self.asked = 0

    def wait(self, seconds: float | None) -> list[tuple[int, int]]:
        assert seconds == 0
        self.asked += 1
        return [(3, READ)] if self.answers and self.answers.pop(0) else []


def test_polling_returns_what_comes_soon() -> None:
    poller = Polled(False, False, True)
    assert SpinWait(SECONDS).poll(poller, None) == [(3, READ)]  # type: ignore[arg-type]
    assert poller.asked == 3


def test_polling_in_vain_is_done_less_and_less() -> None:
    poller, spin = Polled(), SpinWait(1e-9)
    polled = []
    for _ in range(12):
        before = poller.asked
        assert spin.poll(poller, None) == []  # type: ignore[arg-type]
        polled.append(poller.asked > before)
    assert [at for at, yes in enumerate(polled) if yes] == [0, 2, 6]


def test_no_polling_on_a_single_core_nor_where_nothing_is_to_be_waited_for() -> None:
    poller = Polled(True)
    assert SpinWait(0).poll(poller, None) == []  # type: ignore[arg-type]
    assert SpinWait(1).poll(poller, 0) == []  # type: ignore[arg-type]
    assert poller.asked == 0
