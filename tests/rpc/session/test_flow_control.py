"""Tests of npipe.rpc.session.flow_control: the transition table, row by row and at random."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from npipe.rpc.session.flow_control import FlowControl
from npipe.rpc.session.send_queue import SendQueue

HIGH_WATER = 100


class Machine(RuleBasedStateMachine):
    """A send queue and its flow control, beside the state that the table says."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = SendQueue(lambda *messages: b"".join(messages), HIGH_WATER)
        self.flow = FlowControl(self.queue)
        self.queued = 0
        self.blocked = self.held = self.deferred = False

    @rule(size=st.integers(1, 2 * HIGH_WATER))
    def queue_a_message(self, size: int) -> None:
        self.queue.put(b"x" * size)
        self.queued += size

    @rule()
    def begin_to_write(self) -> None:
        self.flow.write_begins()
        self.blocked = self.blocked or (self.queued > HIGH_WATER and not self.flow.forwards)
        assert len(self.queue.take()) == self.queued
        self.queued = 0

    @rule()
    def end_the_write(self) -> None:
        self.flow.write_ends()
        self.blocked = False

    @rule(on=st.booleans())
    def hold(self, on: bool) -> None:
        self.flow.hold(on)
        self.held = on

    @rule()
    def defer(self) -> None:
        if not self.flow.may_begin_call:
            self.flow.defer(True)
            self.deferred = True

    @rule()
    def take_deferred(self) -> None:
        may = self.deferred and self.flow.may_begin_call
        assert self.flow.take_deferred() is may
        self.deferred = self.deferred and not may

    @rule()
    def become_a_proxy(self) -> None:
        self.flow.forward()

    @invariant()
    def the_answers_are_those_of_the_state(self) -> None:
        blocked, high = self.blocked or self.held, self.queued > HIGH_WATER
        assert self.flow.must_wait is (blocked or high)
        assert self.flow.may_begin_call is not (blocked or (high and not self.flow.forwards))
        assert self.flow.deferred is self.deferred


Machine.TestCase.settings = settings(max_examples=100, stateful_step_count=30)
TestMachine = Machine.TestCase


# The table, row by row

Event = Callable[[SendQueue, FlowControl], object]

EVENTS: dict[str, Event] = {
    "a message is queued": lambda queue, flow: queue.put(b"x" * (HIGH_WATER + 1)),
    "write_begins": lambda queue, flow: flow.write_begins(),
    "the queue is taken": lambda queue, flow: queue.take(),
    "write_ends": lambda queue, flow: flow.write_ends(),
    "hold": lambda queue, flow: flow.hold(True),
    "release": lambda queue, flow: flow.hold(False),
}
#: The events that lead to a state from OPEN, an event, and the state after it.
TABLE = [
    ([], "a message is queued", "HIGH"),
    ([], "write_begins", "OPEN"),
    ([], "write_ends", "OPEN"),
    ([], "hold", "BLOCKED"),
    (["a message is queued"], "write_begins", "BLOCKED"),
    (["a message is queued"], "the queue is taken", "OPEN"),
    (["a message is queued"], "write_ends", "HIGH"),
    (["a message is queued"], "hold", "BLOCKED"),
    (["a message is queued", "write_begins"], "the queue is taken", "BLOCKED"),
    (["a message is queued", "write_begins", "the queue is taken"], "write_ends", "OPEN"),
    (["a message is queued", "write_begins"], "write_ends", "HIGH"),
    (["a message is queued", "write_begins", "hold"], "write_ends", "BLOCKED"),
    (["hold"], "release", "OPEN"),
    (["hold", "a message is queued"], "release", "HIGH"),
    (["a message is queued", "write_begins", "hold"], "release", "BLOCKED"),
]


@pytest.mark.parametrize(("before", "event", "expected"), TABLE)
def test_a_transition(before: list[str], event: str, expected: str) -> None:
    queue = SendQueue(lambda *messages: b"".join(messages), HIGH_WATER)
    flow = FlowControl(queue)
    for name in (*before, event):
        EVENTS[name](queue, flow)
    assert flow.must_wait is (expected != "OPEN")
    assert flow.may_begin_call is (expected == "OPEN")
    flow.forward()
    assert flow.may_begin_call is (expected != "BLOCKED")
