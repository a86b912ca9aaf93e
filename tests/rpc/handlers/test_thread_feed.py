"""Subscribers that read slowly, on both shells and with both kinds of generators.

The server is the one under test; its client is a plain connection that reads when it wants to.
"""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import npipe
from npipe import rpc
from rpc.conftest import ServeAPI
from until import until

SIZE = 10_000  # of an item of a flood


class Service:
    """Each subscription twice: with a plain generator, and with an async one."""

    def __init__(self) -> None:
        self.closed = threading.Event()  # the generator of a flood
        self.tick = threading.Event()

    @rpc.method(inline=True)
    def hello(self) -> str:
        return "hello"

    @rpc.subscription
    def plain_count(self, count: int) -> Iterator[int]:
        yield from range(count)

    @rpc.subscription
    async def async_count(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number

    @rpc.subscription
    def plain_flood(self) -> Iterator[list[Any]]:
        try:
            number = 0
            while True:
                yield [number, "x" * SIZE]
                number += 1
        finally:
            self.closed.set()

    @rpc.subscription
    async def async_flood(self) -> AsyncIterator[list[Any]]:
        try:
            number = 0
            while True:
                yield [number, "x" * SIZE]
                number += 1
        finally:
            self.closed.set()

    @rpc.subscription
    def plain_tick(self) -> Iterator[str]:
        assert self.tick.wait(30)
        yield "tick"

    @rpc.subscription
    async def async_tick(self) -> AsyncIterator[str]:
        await until(self.tick.is_set)
        yield "tick"

    @rpc.subscription
    def plain_exit(self) -> Iterator[str]:
        yield "first"
        raise SystemExit("a secret")

    @rpc.subscription
    async def async_exit(self) -> AsyncIterator[str]:
        yield "first"
        raise SystemExit("a secret")

    @rpc.subscription
    def plain_exit_in_closing(self) -> Iterator[str]:
        try:
            yield "first"
            yield object()  # type: ignore[misc]  # no JSON: so it is closed here
        finally:
            raise SystemExit("a secret")

    @rpc.subscription
    async def async_exit_in_closing(self) -> AsyncIterator[str]:
        try:
            yield "first"
            yield object()  # type: ignore[misc]
        finally:
            raise SystemExit("a secret")


class Reader:
    """A connection that is read line by line, when the test says so."""

    def __init__(self, connection: npipe.Connection) -> None:
        self.connection = connection
        self._lines: list[bytes] = []
        self._rest = b""
        self.bytes = 0

    def send(self, id: int, method: str, *params: Any) -> None:
        message = {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
        self.connection.write(json.dumps(message).encode() + b"\n")

    def read(self) -> dict[str, Any]:
        """Read a message: it must be whole, and JSON."""
        while not self._lines:
            data = self.connection.read(65536)
            assert data, "the server closed the connection"
            self.bytes += len(data)
            *self._lines, self._rest = (self._rest + data).split(b"\n")
        return json.loads(self._lines.pop(0))  # type: ignore[no-any-return]

    def read_until(self, wanted: Callable[[dict[str, Any]], Any]) -> list[dict[str, Any]]:
        messages = [self.read()]
        while not wanted(messages[-1]):
            messages.append(self.read())
        return messages


Serve = Callable[..., tuple[Service, Reader]]


@pytest.fixture
def serve(serve_api: ServeAPI, address: str) -> Iterator[Serve]:
    """Start a server with these limits, and connect to it."""
    service, api = Service(), rpc.API()
    api.register("test", service)
    connections: list[npipe.Connection] = []

    def start(**limits: Any) -> tuple[Service, Reader]:
        serve_api(api, limits=rpc.Limits(**limits))
        connections.append(npipe.connect(address))
        return service, Reader(connections[0])

    yield start
    for connection in connections:
        connection.close()
    service.tick.set()


both_kinds = pytest.mark.parametrize("kind", ["plain", "async"])


@both_kinds
def test_a_subscriber_that_does_not_read_is_dropped_alone(serve: Serve, kind: str) -> None:
    service, reader = serve(subscription_bytes=20 * SIZE, subscription_timeout=0.3)
    reader.send(1, "test_subscribe", f"{kind}Tick")
    ticks = reader.read()["result"]
    reader.send(2, "test_subscribe", f"{kind}Flood")
    flood = reader.read_until(lambda message: message.get("id") == 2)[-1]["result"]
    assert service.closed.wait(20)  # nobody has read: its generator is closed
    # Now the reader wakes up. It finds every item that was accepted, then why there is no more.
    *items, last = reader.read_until(lambda message: "error" in message["params"])
    numbers = [item["params"]["result"][0] for item in items]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) < 150  # the queue, one write and what the pipe holds
    assert {item["params"]["subscription"] for item in (*items, last)} == {flood}
    assert last["params"]["error"]["code"] == -32005
    # The connection and what else is on it live on.
    reader.send(3, "test_hello")
    assert reader.read() == {"jsonrpc": "2.0", "id": 3, "result": "hello"}
    service.tick.set()
    assert reader.read()["params"] == {"subscription": ticks, "result": "tick"}
    assert reader.read()["params"] == {"subscription": ticks, "end": True}


@both_kinds
def test_a_generator_quicker_than_the_wire_is_slowed_down_and_loses_nothing(
    serve: Serve, kind: str
) -> None:
    _, reader = serve(subscription_bytes=5_000)  # some 50 items
    reader.send(1, "test_subscribe", f"{kind}Count", 5_000)
    reader.read()
    *items, _end = reader.read_until(lambda message: "end" in message["params"])
    assert [item["params"]["result"] for item in items] == list(range(5_000))


@both_kinds
def test_a_reply_does_not_wait_behind_a_flood(serve: Serve, kind: str) -> None:
    _, reader = serve(subscription_bytes=1000 * SIZE)
    reader.send(1, "test_subscribe", f"{kind}Flood")
    reader.read_until(lambda message: message.get("params", {}).get("result", [0])[0] == 100)
    reader.send(2, "test_hello")
    before = reader.bytes
    reader.read_until(lambda message: message.get("id") == 2)
    assert reader.bytes - before < 100 * SIZE  # not behind the queue


@both_kinds
def test_unsubscribing_ends_a_generator_that_waits_for_a_reader(serve: Serve, kind: str) -> None:
    service, reader = serve(subscription_bytes=SIZE, subscription_timeout=None)
    reader.send(1, "test_subscribe", f"{kind}Flood")
    flood = reader.read()["result"]
    assert reader.read()["params"]["subscription"] == flood  # it has begun
    reader.send(2, "test_unsubscribe", flood)
    assert reader.read_until(lambda message: message.get("id") == 2)[-1]["result"] is True
    assert service.closed.wait(20)
    reader.send(3, "test_hello")
    assert reader.read()["id"] == 3  # no push after the reply to unsubscribe


@pytest.mark.parametrize("name", ["exit", "exitInClosing"])
@pytest.mark.parametrize("kind", ["plain", "async"])
def test_one_that_raises_what_is_no_exception_ends_with_an_error_and_is_freed(
    serve: Serve, kind: str, name: str
) -> None:
    _, reader = serve(subscriptions=1)
    for id in (1, 2):  # the second finds room: the first one is gone
        reader.send(id, "test_subscribe", kind + name[0].upper() + name[1:])
        answer, first, last = reader.read(), reader.read(), reader.read()
        assert answer["id"] == id
        assert first["params"] == {"subscription": answer["result"], "result": "first"}
        assert last["params"]["subscription"] == answer["result"]
        assert last["params"]["error"] == {"code": -32603, "message": "internal error"}
    reader.send(3, "test_hello")  # and so does all else
    assert reader.read()["result"] == "hello"


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_one_that_nobody_was_told_of_is_closed_without_an_item(serve: Serve, kind: str) -> None:
    service, reader = serve(reply_bytes=60, subscriptions=1)
    for id in (1, 2):
        reader.send(id, "test_subscribe", f"{kind}Flood")
        answer = reader.read()
        assert (answer["id"], answer["error"]["code"]) == (id, -32003)
    reader.send(3, "test_hello")
    assert reader.read()["result"] == "hello"
    assert not service.closed.is_set()  # it never began
