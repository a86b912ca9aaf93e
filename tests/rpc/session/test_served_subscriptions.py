"""The queue of a served subscription, on the session alone."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from npipe import rpc
from npipe.rpc.handlers.thread_feed import run_subscription
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.session.send_queue import PUSH_BYTES
from npipe.rpc.session.served_subscriptions import ServedSubscription
from npipe.rpc.session.session import Session

KB = 1000  # what one item of the tests is, about


class Service:
    def __init__(self) -> None:
        self.closed = threading.Event()

    @rpc.subscription
    def items(self, count: int) -> Iterator[list[Any]]:
        try:
            for number in range(count):
                yield [number, "x" * KB]
        finally:
            self.closed.set()

    @rpc.method(inline=True)
    def hello(self) -> str:
        return "hello"


class Served:
    """A session, and the subscriptions that are asked of it. Nothing feeds them."""

    def __init__(self, **limits: Any) -> None:
        self.service, api = Service(), rpc.API()
        api.register("test", self.service)
        self.subscriptions: list[ServedSubscription] = []
        self.session = Session(
            Dispatcher(api),
            limits=rpc.Limits(**limits),
            on_subscription=self.subscriptions.append,
        )

    def subscribe(self, count: int = 0) -> ServedSubscription:
        self.call("test_subscribe", ["items", count])
        self.session.take()
        return self.subscriptions[-1]

    def call(self, method: str, params: list[Any]) -> None:
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        self.session.receive([json.dumps(message).encode()])
        assert self.session.next_call() is None

    def take(self) -> list[dict[str, Any]]:
        """Take once, as for one write."""
        return [json.loads(line) for line in self.session.take(pushes=True).splitlines()]

    def take_all(self) -> list[dict[str, Any]]:
        messages = []
        while self.session.has_output or self.session.has_pushes:
            messages += self.take()
        return messages


def results(messages: list[dict[str, Any]], subscription: ServedSubscription) -> list[Any]:
    mine = [m["params"] for m in messages if m.get("params", {}).get("subscription")]
    return [p["result"] for p in mine if p["subscription"] == subscription.id and "result" in p]


def start(
    target: Callable[[ServedSubscription], object], subscription: ServedSubscription
) -> threading.Thread:
    thread = threading.Thread(target=target, args=(subscription,), daemon=True)
    thread.start()
    return thread


def test_a_burst_that_fits_the_queue_loses_nothing() -> None:
    served = Served()
    subscription = served.subscribe(900)  # less than subscription_bytes, more than one write
    run_subscription(subscription)  # it does not wait for anybody
    messages = served.take_all()
    assert [number for number, _ in results(messages, subscription)] == list(range(900))
    assert messages[-1]["params"] == {"subscription": subscription.id, "end": True}


def test_a_generator_waits_while_its_queue_is_full_and_loses_nothing() -> None:
    served = Served(subscription_bytes=10 * KB)
    subscription = served.subscribe(500)
    feeding = start(run_subscription, subscription)
    messages = []
    while feeding.is_alive() or served.session.has_pushes:
        messages += served.take()
        assert len(subscription._queue) <= 10
    assert [number for number, _ in results(messages, subscription)] == list(range(500))


def test_a_reader_that_takes_nothing_is_dropped_after_what_was_queued() -> None:
    served = Served(subscription_bytes=10 * KB - 100, subscription_timeout=0.05)
    subscription, other = served.subscribe(500), served.subscribe()
    run_subscription(subscription)
    assert served.service.closed.is_set()
    assert subscription.call.cancelled
    assert list(served.session.subscriptions) == [other.id]
    messages = served.take_all()
    assert [number for number, _ in results(messages, subscription)] == list(range(9))
    assert messages[-1]["params"] == {
        "subscription": subscription.id,
        "error": {"code": -32005, "message": "dropped: nothing was read for 0.05 seconds"},
    }
    assert not served.session.closed
    assert other.push(1)
    served.call("test_hello", [])
    assert [m.get("result", m.get("params")) for m in served.take_all()] == [
        "hello",
        {"subscription": other.id, "result": 1},
    ]


def test_a_reader_that_is_slow_but_steady_is_not_dropped() -> None:
    served = Served(subscription_bytes=100 * KB, subscription_timeout=1)
    subscription = served.subscribe(200)
    feeding = start(run_subscription, subscription)
    until = time.monotonic() + 2  # twice what one that reads nothing has; half a queue in that time
    messages = []
    while time.monotonic() < until:
        messages.append(json.loads(subscription.take() or b"{}"))
        time.sleep(0.05)
    while feeding.is_alive() or served.session.has_pushes:
        messages += served.take()
    assert [number for number, _ in results(messages, subscription)] == list(range(200))
    assert messages[-1]["params"].get("end")


def test_a_flood_of_one_subscription_delays_no_other_and_no_reply() -> None:
    served = Served()
    flood, other = served.subscribe(), served.subscribe()
    while not flood.full:
        flood.push("x" * KB)
    other.push("mine")
    served.call("test_hello", [])
    reply, *pushes = served.take()
    assert reply["result"] == "hello"
    assert "mine" in results(pushes[:2], other)
    assert sum(len(json.dumps(push)) for push in pushes) < PUSH_BYTES + 2 * KB


def test_nothing_more_comes_after_the_reply_to_unsubscribe() -> None:
    served = Served(subscription_bytes=10 * KB, subscription_timeout=None)
    subscription = served.subscribe(500)
    feeding = start(run_subscription, subscription)
    while not subscription.full:
        time.sleep(0.001)
    served.call("test_unsubscribe", [subscription.id])
    feeding.join(10)
    assert not feeding.is_alive()
    assert served.service.closed.is_set()
    (reply,) = served.take_all()
    assert reply["result"] is True


def test_an_item_that_is_larger_than_a_reply_may_be_ends_its_subscription() -> None:
    served = Served(reply_bytes=KB)
    subscription = served.subscribe(1)
    run_subscription(subscription)
    (push,) = served.take_all()
    assert push["params"]["error"]["code"] == -32003


@pytest.mark.parametrize("end", [Session.close, Session.receive_eof])
def test_the_end_of_the_connection_ends_a_generator_that_waits(
    end: Callable[[Session], None],
) -> None:
    served = Served(subscription_bytes=10 * KB, subscription_timeout=None)
    subscription = served.subscribe(500)
    feeding = start(run_subscription, subscription)
    while not subscription.full:
        time.sleep(0.001)
    end(served.session)
    feeding.join(10)
    assert not feeding.is_alive()
    assert served.take_all() == []
    assert served.session.idle
