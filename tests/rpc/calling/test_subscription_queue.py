"""The queue of a client's subscription: order, limit, end; both flavours drive it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec import Raw

from npipe.errors import ClosedError, ConnectionLost, RPCError
from npipe.rpc.calling.subscription_queue import END, NOTHING, SubscriptionQueue
from npipe.rpc.session.served_subscriptions import Push
from npipe.rpc.wire.messages import read_error

ID = Raw(b'"0x1"')
SIZE = 3


def item(value: int) -> Push:
    return Push(ID, result=Raw(b"%d" % value))


class Queue(SubscriptionQueue):
    """One that counts what it calls."""

    def __init__(self, size: int = SIZE) -> None:
        self.woken = 0
        self.unsubscribed: list[bytes] = []
        super().__init__(int, read_error, size, self.unsubscribed.append, self._woken)
        self.id = bytes(ID)

    def _woken(self) -> None:
        self.woken += 1


def test_items_come_in_order_and_then_the_end() -> None:
    queue = Queue()
    assert queue.take() is NOTHING
    queue.push(item(1))
    queue.push(item(2))
    queue.push(Push(ID, end=True))
    queue.push(item(3))  # after the end: dropped
    assert [queue.take() for _ in range(4)] == [1, 2, END, END]
    assert queue.woken == 3
    assert queue.unsubscribed == []


def test_an_error_comes_after_the_items_and_stays() -> None:
    queue = Queue()
    queue.push(item(1))
    queue.push(Push(ID, error=Raw(b'{"code":-32005,"message":"too slow"}')))
    assert queue.take() == 1
    for _ in range(2):
        with pytest.raises(RPCError, match="too slow"):
            queue.take()


def test_one_item_too_many_ends_it() -> None:
    queue = Queue(size=2)
    for value in range(4):
        queue.push(item(value))
    assert queue.unsubscribed == [bytes(ID)]
    assert [queue.take(), queue.take()] == [0, 1]
    with pytest.raises(RPCError, match="more than 2 items"):
        queue.take()


def test_the_loss_of_the_connection_is_raised() -> None:
    queue = Queue()
    queue.push(ConnectionLost("gone", maybe_executed=True))
    with pytest.raises(ConnectionLost):
        queue.take()


def test_closing_drops_what_waits_and_unsubscribes_once() -> None:
    queue = Queue()
    queue.push(item(1))
    queue.close()
    queue.close()
    assert queue.unsubscribed == [bytes(ID)]
    with pytest.raises(ClosedError):
        queue.take()


def test_an_item_that_cannot_be_decoded_is_that_item_s_error() -> None:
    queue = Queue()
    queue.push(Push(ID, result=Raw(b"x")))
    queue.push(item(2))
    with pytest.raises(ValueError, match="invalid literal"):
        queue.take()
    assert queue.take() == 2


@pytest.mark.parametrize("size", [0, -1])
def test_a_queue_without_room_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="queue_size must be 1 or more"):
        Queue(size)


class Model(RuleBasedStateMachine):
    """The queue beside a list and the one thing that ended it."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = Queue()
        self.items: list[int] = []
        self.end: Any = None  # END, or the type that is raised
        self.unsubscribes = 0

    @rule(value=st.integers(0, 9))
    def push(self, value: int) -> None:
        self.queue.push(item(value))
        if self.end is not None:
            return
        if len(self.items) == SIZE:
            self.end = RPCError
            self.unsubscribes += 1
        else:
            self.items.append(value)

    @rule()
    def lose(self) -> None:
        self.queue.push(ConnectionLost("gone", maybe_executed=True))
        self.end = self.end or ConnectionLost

    @rule()
    def finish(self) -> None:
        self.queue.push(Push(ID, end=True))
        self.end = self.end or END

    @precondition(lambda self: self.end is not ClosedError)
    @rule()
    def close(self) -> None:
        self.queue.close()
        self.unsubscribes += self.end is None
        self.end = ClosedError if self.end in (None, END) else self.end
        self.items.clear()

    @rule()
    def take(self) -> None:
        if self.items:
            assert self.queue.take() == self.items.pop(0)
        elif self.end in (None, END):
            assert self.queue.take() is (NOTHING if self.end is None else END)
        else:
            with pytest.raises(self.end):
                self.queue.take()

    @invariant()
    def is_ready_where_a_take_would_not_wait(self) -> None:
        assert self.queue.ready is (bool(self.items) or self.end is not None)
        assert len(self.queue.unsubscribed) == self.unsubscribes


TestModel = settings(max_examples=30, stateful_step_count=20)(Model).TestCase  # type: ignore[operator]
