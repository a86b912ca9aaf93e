"""Whether and when a call is sent again after its connection was lost."""

from __future__ import annotations

from itertools import takewhile

import pytest
from msgspec import Raw

from npipe.errors import ConnectionLost, RPCError
from npipe.rpc.calling.retry import FIRST_PAUSE, LONGEST_PAUSE, Retry

UNSENT = ConnectionLost("gone", maybe_executed=False)
SENT = ConnectionLost("gone", maybe_executed=True)


@pytest.mark.parametrize(
    ("outcomes", "idempotent", "again"),
    [
        ([UNSENT], False, True),
        ([SENT], False, False),
        ([SENT], True, True),
        ([UNSENT, SENT], False, False),
        ([Raw(b"1"), UNSENT], False, True),
        ([Raw(b"1")], True, False),
        ([RPCError("no")], True, False),
        ([], True, False),
    ],
)
def test_what_is_sent_again(outcomes: list[Raw | Exception], idempotent: bool, again: bool) -> None:
    retry = Retry(1.0, idempotent=idempotent)
    assert (retry.pause(outcomes, now=0.0) is not None) is again


def test_nothing_is_sent_again_without_reconnect() -> None:
    assert Retry(None, idempotent=True).pause([UNSENT], now=0.0) is None


def test_pauses_grow_and_end_with_the_window() -> None:
    retry, now = Retry(3.0, idempotent=False), 10.0
    pauses: list[float] = []
    while (pause := retry.pause([UNSENT], now)) is not None:
        pauses.append(pause)
        now += pause
    assert now == pytest.approx(13.0)  # from the first loss on, not from the call
    assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert max(pauses) == LONGEST_PAUSE
    growing = list(takewhile(lambda pause: pause < LONGEST_PAUSE, pauses))
    assert growing == sorted(growing)
    assert len(pauses) < 20
