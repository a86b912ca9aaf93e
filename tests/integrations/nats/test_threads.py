"""A worker and its clients without an event loop of their own."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

pytest.importorskip("nats", reason="nats-py is not installed")

from npipe import rpc
from npipe.integrations.nats import connect
from npipe.security import PeerIdentity
from peers.brokers import Broker


class Lab:
    def __init__(self) -> None:
        self.peers: list[PeerIdentity | None] = []

    def echo(self, text: str, context: rpc.Context) -> str:
        self.peers.append(context.peer)
        return text

    def ask(self, context: rpc.Context) -> object:
        return context.remote.call("user_name")

    @rpc.subscription
    def ticks(self, count: int) -> Iterator[int]:
        yield from range(count)


class User:
    def name(self) -> str:
        return "me"


def test_all_that_a_connection_can_do(broker: Broker) -> None:
    lab, api, user = Lab(), rpc.API(), rpc.API()
    api.register("lab", lab)
    api.register("mine", {"secret": lambda: 1}, allow=lambda peer: peer.uid is not None)
    user.register("user", User())
    before = set(threading.enumerate())
    with rpc.Server(api) as server:
        assert str(server.serve(broker.url())) == broker.url()
        with rpc.connect(broker.url(), api=user, timeout=60) as client:
            assert client.call("lab_echo", "x" * 5_000_000) == "x" * 5_000_000
            assert client.batch([("lab_echo", ["a"])] * 3) == ["a"] * 3
            assert list(client.subscribe("lab", "ticks", 3)) == [0, 1, 2]
            assert client.call("lab_ask") == "me"
            with pytest.raises(rpc.MethodNotFound):  # whoever calls, nobody knows who it is
                client.call("mine_secret")
        assert {peer and peer.uid for peer in lab.peers} == {None}
        assert server.stats()["connections"]["total"] == 1
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive(), thread


def test_limits_hold_here_too(broker: Broker) -> None:
    api = rpc.API()
    api.register("lab", Lab())
    with rpc.Server(api, limits=rpc.Limits(connections=1)) as server:
        server.serve(broker.url())
        with rpc.connect(broker.url(), timeout=60) as client:
            assert client.call("lab_echo", "a") == "a"
            with rpc.connect(broker.url(), timeout=60) as other, pytest.raises(rpc.ConnectionLost):
                other.call("lab_echo", "b")


def test_a_connection_is_one_as_any_other(broker: Broker) -> None:
    api = rpc.API()
    api.register("lab", Lab())
    with rpc.Server(api) as server:
        server.serve(broker.url())
        with connect(broker.url()) as connection:
            connection.write(b'{"jsonrpc":"2.0","id":1,"method":"lab_echo","params":["a"]}')
            assert connection.read(100) == b'{"jsonrpc":"2.0","id":1,"result":"a"}\n'
            assert connection.peer == PeerIdentity()
    with pytest.raises(ConnectionRefusedError, match="no worker"):
        connect(broker.url())


def test_what_comes_while_the_two_sides_are_joined_keeps_its_order() -> None:
    """Data may arrive before the way on is there, and while it is being made."""
    import asyncio

    from npipe.integrations.nats.threads import _Half

    class Sink(asyncio.Transport):
        def __init__(self) -> None:
            super().__init__()
            self.data = b""

        def write(self, data: object) -> None:
            self.data += bytes(data)  # type: ignore[call-overload]

    async def main() -> None:
        near, far, sink = _Half(), _Half(), Sink()
        far.connection_made(Sink())
        far.data_received(b"1")
        near.connection_made(sink)
        far.data_received(b"2")
        near.join(far)
        far.data_received(b"3")
        assert sink.data == b"123"

    asyncio.run(main())
