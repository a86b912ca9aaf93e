"""The send queue, and a session while its queue is long."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from npipe import rpc
from npipe.rpc import COMPILED
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.session.pending_calls import Outcome
from npipe.rpc.session.send_queue import PUSH_BYTES, SendQueue
from npipe.rpc.session.session import Session

MARK = 10_000
REPLY = 4_000


def test_it_is_crowded_from_its_mark_on_until_it_is_taken() -> None:
    send_queue = SendQueue(lambda *messages: b"".join(messages), 5)
    send_queue.put(b"12345")
    assert not send_queue.above_high_water
    send_queue.put(b"6")
    assert send_queue.above_high_water
    assert send_queue.take() == b"123456"
    assert not send_queue.above_high_water
    assert not send_queue.size


def test_a_count_that_threads_made_wrong_is_not_believed() -> None:
    send_queue = SendQueue(lambda *messages: b"".join(messages), 5)
    send_queue.put(b"1")
    send_queue.size = 1000  # as two threads that add at once may leave it
    assert not send_queue.above_high_water
    assert send_queue.size == 1


def test_a_closed_one_takes_nothing() -> None:
    send_queue = SendQueue(lambda *messages: b"".join(messages), 5)
    send_queue.put(b"before")
    send_queue.close()
    send_queue.put(b"after")
    assert not send_queue.put_pushes(Items([b"push"]))
    assert send_queue.take(pushes=True) == b""


class Items:
    """What a subscription is to its send_queue."""

    def __init__(self, items: list[bytes]) -> None:
        self.items = items

    def take(self) -> bytes:
        return self.items.pop(0)

    def has_more(self) -> bool:
        return bool(self.items)


def test_subscriptions_have_their_turns_after_the_messages() -> None:
    send_queue = SendQueue(lambda *messages: b" ".join(messages), 5)
    send_queue.put_pushes(Items([b"a1", b"a2", b"a3"]))
    send_queue.put_pushes(Items([b"b1"]))
    send_queue.put(b"reply")
    assert send_queue.take() == b"reply"
    assert send_queue.take(pushes=True) == b"a1 b1 a2 a3"
    assert not send_queue.has_pushes


def test_one_write_has_no_more_of_pushes_than_a_reply_may_wait_for() -> None:
    send_queue = SendQueue(lambda *messages: b"".join(messages), 5)
    send_queue.put_pushes(Items([b"x" * (PUSH_BYTES // 2)] * 5))
    assert len(send_queue.take(pushes=True)) == PUSH_BYTES
    assert send_queue.has_pushes


class Counter:
    """Functions with large replies, each run in a way of its own. All count."""

    def __init__(self) -> None:
        self.calls = 0

    def quick(self) -> str:
        self.calls += 1
        return "x" * REPLY

    @rpc.method(inline=True)
    def inline(self) -> str:
        return self.quick()

    def with_context(self, context: rpc.Context) -> str:
        return self.quick()

    @rpc.subscription
    def items(self) -> Iterator[int]:
        yield 1


def request(id: int, method: str, *params: Any) -> bytes:
    message = {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
    return json.dumps(message).encode()


@pytest.fixture
def counter() -> Counter:
    return Counter()


@pytest.fixture
def session(counter: Counter) -> Session:
    api = rpc.API()
    api.register("test", counter)
    return Session(Dispatcher(api), limits=rpc.Limits(queue_bytes=MARK, message_bytes=100_000))


def work(session: Session) -> None:
    while (call := session.next_call()) is not None:
        call.run()


@pytest.mark.parametrize("method", ["test_quick", "test_inline", "test_withContext"])
def test_no_call_is_begun_while_much_waits_to_leave(
    session: Session, counter: Counter, method: str
) -> None:
    session.receive([request(id, method) for id in range(1000)])
    taken = 0
    while taken < 1000:
        work(session)
        work(session)  # to ask again changes nothing
        assert counter.calls - taken <= MARK // REPLY + 1
        assert session.flow.deferred or counter.calls == 1000
        taken += len(session.take().splitlines())
    assert counter.calls == 1000


def test_a_batch_is_no_way_around_it(session: Session, counter: Counter) -> None:
    batch = b"[" + b",".join(request(id, "test_inline") for id in range(2)) + b"]"
    session.receive([batch] * 100)
    work(session)
    assert counter.calls <= 2 * (MARK // REPLY + 1)


def fill(session: Session) -> None:
    session.receive([request(id, "test_quick") for id in range(5)])
    work(session)
    assert session.flow.deferred


def test_replies_and_cancellations_do_not_wait_behind_calls_that_may_not_begin(
    session: Session, counter: Counter
) -> None:
    outcomes: list[Outcome] = []
    session.outgoing_calls.call("there", b"", outcomes.append)
    fill(session)
    begun = counter.calls
    session.receive(
        [
            request(100, "test_quick"),
            request(101, "test_quick"),
            b'{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":100}}',
            b'{"jsonrpc":"2.0","id":1,"result":"here"}',
        ]
    )
    work(session)
    assert [bytes(o) for o in outcomes if not isinstance(o, Exception)] == [b'"here"']
    assert counter.calls == begun
    replies = {}
    while session.flow.deferred:
        session.flow.resume()
        for line in session.take().splitlines():
            message = json.loads(line)
            replies[message["id"]] = message
        work(session)
    replies |= {m["id"]: m for m in map(json.loads, session.take().splitlines())}
    assert replies[100]["error"]["code"] == -32800
    assert "result" in replies[101]


def test_an_id_that_was_cancelled_may_be_used_again(session: Session) -> None:
    # The id stayed in the set of cancelled ones: the next call with it was answered -32800.
    fill(session)
    cancel = b'{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":100}}'
    session.receive([request(100, "test_quick"), cancel])
    codes = []
    for _ in range(2):
        while session.flow.deferred:
            session.flow.resume()
            work(session)
            for line in session.take().splitlines():
                message = json.loads(line)
                if message["id"] == 100:
                    codes.append(message.get("error", {}).get("code"))
            work(session)
        session.receive([request(100, "test_quick")])
        work(session)
    codes += [m.get("error", {}).get("code") for m in map(json.loads, session.take().splitlines())]
    assert codes[:2] == [-32800, None]


def test_what_is_put_aside_is_bounded_and_then_nothing_more_is_read(session: Session) -> None:
    fill(session)
    assert session.may_read
    while session.may_read:
        session.receive([request(7, "test_quick", "y" * 1000)])
        work(session)
    assert session.in_flight <= 100 + 5
    while session.flow.deferred:
        session.flow.resume()
        session.take()
        work(session)
    assert session.may_read


def test_what_the_shell_could_not_write_counts_too(session: Session, counter: Counter) -> None:
    session.flow.hold(True)
    session.receive([request(1, "test_quick")])
    work(session)
    assert (counter.calls, session.flow.deferred, session.flow.must_wait) == (0, True, True)
    session.flow.hold(False)
    work(session)
    assert counter.calls == 1


def test_a_proxy_keeps_the_order_and_looks_at_nothing_before_its_turn(session: Session) -> None:
    seen: list[object] = []
    session.become_proxy(lambda message, _, __: seen.append(message.method))
    session.flow.hold(True)
    session.receive([request(1, "a"), b'{"jsonrpc":"2.0","method":"$/progress"}'])
    work(session)
    assert seen == []
    assert not session.may_read
    session.flow.hold(False)
    work(session)
    assert seen == ["a", "$/progress"]


# Subscriptions whose id is not told


@pytest.fixture
def begun() -> list[Any]:
    return []


Make = Callable[..., Session]


@pytest.fixture
def make(counter: Counter, begun: list[Any]) -> Make:
    api = rpc.API()
    api.register("test", counter)
    return lambda **limits: Session(
        Dispatcher(api), limits=rpc.Limits(**limits), on_subscription=begun.append
    )


def test_a_subscription_in_a_batch_whose_reply_is_too_large_is_ended(
    make: Make, begun: list[Any]
) -> None:
    session = make(reply_bytes=REPLY + 60)
    subscribe = request(2, "test_subscribe", "items")
    session.receive([b"[" + request(1, "test_inline") + b"," + subscribe + b"]"])
    work(session)
    first, second = json.loads(session.take())
    assert "result" in first
    assert second["error"]["code"] == -32003
    assert not session.subscriptions
    assert [subscription.call.cancelled for subscription in begun] == [True]  # so it is closed


def test_one_that_fits_beside_one_that_does_not_is_begun(make: Make, begun: list[Any]) -> None:
    session = make(reply_bytes=REPLY)
    subscribe = request(1, "test_subscribe", "items")
    session.receive([b"[" + subscribe + b"," + request(2, "test_quick") + b"]"])
    work(session)
    first, second = json.loads(session.take())
    assert second["error"]["code"] == -32003
    assert list(session.subscriptions) == [first["result"]]
    assert [subscription.call.cancelled for subscription in begun] == [False]


def test_one_whose_own_reply_is_too_large_is_ended(make: Make, begun: list[Any]) -> None:
    session = make(reply_bytes=20)
    session.receive([request(1, "test_subscribe", "items")])
    work(session)
    assert json.loads(session.take())["error"]["code"] == -32003
    assert not session.subscriptions
    assert [subscription.call.cancelled for subscription in begun] == [True]


def test_many_messages_of_next_to_nothing_count_as_what_they_take(session: Session) -> None:
    fill(session)
    held = 0
    while session.may_read:  # 32 MiB of these would take a gibibyte
        session.receive([b"{}"])
        session.next_call()
        held += 1
    assert held <= 100_000 / (len(b"{}") + 48)  # bytes of memory that each one takes


def test_what_is_begun_while_another_thread_closes_is_cancelled(
    make: Make, begun: list[Any]
) -> None:
    session = make()
    session.close()  # and here is what the reading thread had in hand
    session.receive([request(1, "test_quick"), request(2, "test_subscribe", "items")])
    call = session.next_call()
    assert call is not None
    assert call.cancelled
    assert session.next_call() is None
    assert not session.subscriptions
    assert [subscription.call.cancelled for subscription in begun] == [True]


@pytest.mark.skipif(COMPILED, reason="a compiled class cannot be derived from")
def test_a_listener_that_is_taken_away_during_a_put_is_called_or_not() -> None:
    # It was read twice: None was called, the call stayed active for good, and nothing was logged.
    called: list[None] = []

    class TakenAway(SendQueue):
        __slots__ = ("_reads",)

        @property  # type: ignore[override]
        def on_put(self) -> object:
            self._reads += 1
            return (lambda: called.append(None)) if self._reads == 1 else None

        @on_put.setter
        def on_put(self, value: object) -> None:
            self._reads = 0

    send_queue = TakenAway(lambda *messages: b"".join(messages), 5)
    send_queue.put(b"x")
    assert (called, send_queue.take()) == ([None], b"x")
