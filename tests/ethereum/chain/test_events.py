"""Events of the chain, and the call that they come from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from npipe.ethereum.chain.events import Event, EventBus, NewBlock, NewPending, RemovedBlock


class Caller:
    """The two parts of a context that the bus uses."""

    connection_id = 7

    def __init__(self) -> None:
        self.replied: list[Callable[[], object]] = []

    def on_reply(self, callback: Callable[[], object]) -> None:
        self.replied.append(callback)


def test_each_listener_hears_of_everything_in_order_until_it_is_removed() -> None:
    bus = EventBus()
    heard: list[list[Event]] = [[], []]
    tokens = [bus.add(heard[0].append), bus.add(heard[1].append)]
    block: Any = object()
    bus.new_block(block)
    bus.remove(tokens[0])
    bus.remove(tokens[0])  # again is nothing
    bus.removed_block(block)
    bus.new_pending("transaction")
    assert heard[0] == [NewBlock(block, None)]
    assert heard[1] == [
        NewBlock(block, None),
        RemovedBlock(block, None),
        NewPending("transaction", None),
    ]
    assert len(bus) == 1


def test_an_event_names_the_call_that_it_comes_from() -> None:
    bus, caller = EventBus(), Caller()
    heard: list[Any] = []
    bus.add(heard.append)
    context: Any = caller
    with bus.caused_by(context):
        bus.new_pending(1)
    bus.new_pending(2)
    first, second = heard
    assert (first.cause.connection, second.cause) == (7, None)
    assert not first.cause.replied.is_set()
    caller.replied[0]()
    assert first.cause.replied.is_set()
