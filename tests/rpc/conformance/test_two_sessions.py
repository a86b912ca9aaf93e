"""Two sessions that talk to each other at random: nothing is lost, nothing comes twice or crossed.

Both ends call, serve, subscribe and give up; both read and write as little as they like; the wire
between them holds little, so that back-pressure is always near. At the end everything that could
still happen does, in a bounded number of steps: a deadlock would show there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from npipe import rpc
from npipe.errors import ConnectionLost
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.session.served_calls import ServedCall
from npipe.rpc.session.served_subscriptions import Push, ServedSubscription
from npipe.rpc.session.session import Session

WIRE_BYTES = 600  # that the wire holds in one direction
LIMITS = rpc.Limits(
    queue_bytes=400, calls=3, subscription_bytes=300, subscriptions=5, message_bytes=4000
)
SIZES = st.integers(0, 300)


class Service:
    @rpc.method(inline=True)
    def inline(self, number: int, size: int) -> str:
        return f"{number}:" + "x" * size

    def plain(self, number: int, size: int) -> str:
        return self.inline(number, size)

    @rpc.subscription
    def items(self, number: int, count: int) -> Iterator[str]:
        for item in range(count):
            yield f"{number}:{item}:" + "y" * 50


class End:
    """One of the two ends: a session, its driver, and what it expects."""

    def __init__(self) -> None:
        api = rpc.API()
        api.register("t", Service())
        self.feeds: list[tuple[ServedSubscription, Iterator[Any]]] = []
        self.session = Session(
            Dispatcher(api),
            limits=LIMITS,
            on_subscription=lambda sub: self.feeds.append((sub, iter(sub.items()))),
        )
        self.wire = b""  # what has left and not been read
        self.unsent = b""
        self.begun: list[ServedCall] = []
        self.waiting: dict[int, Any] = {}  # our calls: how each has to end
        self.pending: dict[int, Any] = {}
        self.pushed: dict[int, list[Any]] = {}
        self.wanted: dict[int, int] = {}
        self.wrong: list[str] = []

    # What a program does

    def expect(self, number: int, size: int) -> Any:
        self.waiting[number] = f"{number}:" + "x" * size

        def on_reply(outcome: Any) -> None:
            if self.waiting.get(number) is None:
                self.wrong.append(f"{number} is answered again, or was given up")
            wanted = self.waiting.pop(number, None)
            lost = isinstance(outcome, ConnectionLost)
            if not lost and json.loads(bytes(outcome)) != wanted:
                self.wrong.append(f"{number}: {outcome!r}")

        return on_reply

    def call(self, kind: str, number: int, size: int) -> None:
        on_reply = self.expect(number, size)
        params = b"[%d,%d]" % (number, size)
        self.pending[number] = self.session.outgoing_calls.call(f"t_{kind}", params, on_reply)

    def batch(self, kinds: list[str], number: int, size: int) -> None:
        members = [self.expect(number + at, size) for at in range(len(kinds))]
        entries = [(f"t_{kind}", (number + at, size)) for at, kind in enumerate(kinds)]

        def on_reply(outcomes: list[Any]) -> None:
            for member, outcome in zip(members, outcomes, strict=True):
                member(outcome)

        self.session.outgoing_calls.batch(entries, on_reply)

    def subscribe(self, number: int, count: int) -> None:
        got = self.pushed.setdefault(number, [])
        self.wanted[number] = count
        self.waiting[number] = "a subscription"

        def on_push(push: Push | ConnectionLost) -> None:
            if isinstance(push, ConnectionLost):
                got.append("lost")
            else:
                got.append("end" if push.end else json.loads(bytes(push.result)))

        def on_reply(outcome: Any) -> None:
            del self.waiting[number]
            if isinstance(outcome, Exception):
                self.wanted.pop(number)  # refused: too many

        params = b'["items",%d,%d]' % (number, count)
        self.session.outgoing_calls.subscribe("t", params, on_push, on_reply)

    def give_up(self) -> None:
        for number in list(self.pending)[:1]:
            pending = self.pending.pop(number)
            if number in self.waiting:
                self.waiting.pop(number)
                self.session.outgoing_calls.cancel(pending)

    # What a driver does

    def write(self, size: int) -> None:
        """Begin a write or go on with one; so many bytes leave, as far as there is room."""
        session = self.session
        if not self.unsent:
            session.flow.write_begins()
            self.unsent = session.take(pushes=True)
        room = max(0, min(size, WIRE_BYTES - len(self.wire)))
        self.wire += self.unsent[:room]
        self.unsent = self.unsent[room:]
        if not self.unsent:
            session.flow.write_ends()
            if session.flow.take_deferred():
                self.begin()

    def read_from(self, other: End, size: int) -> None:
        if self.session.may_read and other.wire:
            data, other.wire = other.wire[:size], other.wire[size:]
            self.session.feed(data)
            self.begin()

    def begin(self) -> None:
        while (call := self.session.next_call()) is not None:
            self.begun.append(call)
        assert len(self.begun) <= LIMITS.calls

    def run(self, at: int) -> None:
        if self.begun:
            self.begun.pop(at % len(self.begun)).run()
            self.begin()

    def yield_items(self) -> None:
        for feed in self.feeds[:]:
            subscription, items = feed
            if subscription.call.cancelled or (item := next(items, None)) is None:
                subscription.finish()
                self.feeds.remove(feed)
            elif not subscription.full:
                subscription.push(item)
            else:  # it waits: this item comes next
                self.feeds[self.feeds.index(feed)] = (subscription, _again(item, items))

    @property
    def quiet(self) -> bool:
        busy = self.begun or self.feeds or self.unsent or self.wire or not self.session.idle
        return not (busy or self.waiting)


def _again(item: Any, items: Iterator[Any]) -> Iterator[Any]:
    yield item
    yield from items


class Conversation(RuleBasedStateMachine):
    """A caller waits while ``must_wait``, as the drivers' callers do.

    Two ends that send without end and wait for room before they read stop each other.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ends = End(), End()
        self.number = 0
        self.closed = False

    def next_number(self, count: int = 1) -> int:
        self.number += count
        return self.number - count

    is_open = precondition(lambda self: not self.closed)
    sides, kinds = st.integers(0, 1), st.sampled_from(["inline", "plain"])

    @is_open
    @rule(side=sides, kind=kinds, size=SIZES)
    def call(self, side: int, kind: str, size: int) -> None:
        if not self.ends[side].session.flow.must_wait:
            self.ends[side].call(kind, self.next_number(), size)

    @is_open
    @rule(side=sides, kinds=st.lists(kinds, min_size=1, max_size=4), size=SIZES)
    def batch(self, side: int, kinds: list[str], size: int) -> None:
        if not self.ends[side].session.flow.must_wait:
            self.ends[side].batch(kinds, self.next_number(len(kinds)), size)

    @is_open
    @rule(side=sides, count=st.integers(0, 12))
    def subscribe(self, side: int, count: int) -> None:
        if not self.ends[side].session.flow.must_wait:
            self.ends[side].subscribe(self.next_number(), count)

    @is_open
    @rule(side=sides)
    def give_up(self, side: int) -> None:
        self.ends[side].give_up()

    @rule(side=sides, size=st.integers(1, 700))
    def write(self, side: int, size: int) -> None:
        self.ends[side].write(size)

    @rule(side=sides, size=st.integers(1, 700))
    def read(self, side: int, size: int) -> None:
        self.ends[side].read_from(self.ends[1 - side], size)

    @rule(side=sides, at=st.integers(0, 5))
    def run(self, side: int, at: int) -> None:
        self.ends[side].run(at)

    @rule(side=sides)
    def yield_items(self, side: int) -> None:
        self.ends[side].yield_items()

    @is_open
    @precondition(lambda self: self.number > 20)
    @rule()
    def close(self) -> None:
        self.closed = True
        for end in self.ends:
            end.session.close()
            end.wire = end.unsent = b""
            end.session.flow.write_ends()

    @invariant()
    def nothing_is_wrong(self) -> None:
        for end in self.ends:
            assert not end.wrong

    def teardown(self) -> None:
        one, other = self.ends
        for _ in range(3000):
            if one.quiet and other.quiet:
                break
            for end, peer in ((one, other), (other, one)):
                end.write(WIRE_BYTES)
                end.read_from(peer, WIRE_BYTES)
                end.run(0)
                end.yield_items()
        for end in self.ends:
            assert not end.wrong
            assert end.quiet, "it waits for ever"
            assert not end.session.flow.must_wait
            for number, count in end.wanted.items():
                items = [f"{number}:{at}:" + "y" * 50 for at in range(count)]
                got = end.pushed[number]
                if self.closed:
                    assert got[:-1] == items[: len(got) - 1]
                else:
                    assert got == [*items, "end"]


Conversation.TestCase.settings = settings(max_examples=60, stateful_step_count=60)
TestConversation = Conversation.TestCase
