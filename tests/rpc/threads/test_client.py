"""The client with threads: against our server, and against peers that answer as they like."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import npipe
from npipe import rpc
from npipe.errors import ClosedError, ConnectionLost
from npipe.transport.memory import memory_pair
from rpc.service import Service, make_api
from rpc.threads.peer import Peer


def test_close_ends_calls_in_flight(client: rpc.Client, service: Service) -> None:
    outcome: list[Exception] = []

    def work() -> None:
        try:
            client.call("test_block")
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert service.entered.wait(60)
    client.close()
    thread.join(60)
    assert isinstance(outcome[0], ClosedError)
    with pytest.raises(ClosedError):
        client.call("test_noArgsRets")
    client.close()


def test_the_server_s_end_is_connection_lost(peer: Peer) -> None:
    answer = peer.in_thread(lambda: peer.client.call("x"))
    peer.read()
    peer.connection.close()
    error = answer()
    assert isinstance(error, ConnectionLost)
    assert error.maybe_executed
    with pytest.raises(ConnectionLost) as caught:
        peer.client.call("y")
    assert not caught.value.maybe_executed


class Dialled:
    """A client that reconnects, and the ends of its connections."""

    def __init__(self) -> None:
        self.ends: list[npipe.Connection] = []
        self.ours: list[npipe.Connection] = []
        self.client = rpc.Client(self._dial, timeout=60, reconnect=10.0)

    def _dial(self, timeout: float | None) -> npipe.Connection:
        again = bool(self.ends)
        ours, theirs = memory_pair()
        self.ends.append(theirs)
        self.ours.append(ours)
        if again:
            rpc.Server(make_api()).serve_connection(theirs)
        return ours


def test_rpc_bug_11_reconnecting_closes_the_old_and_sends_what_is_safe() -> None:
    dialled = Dialled()
    dialled.ends[0].close()
    assert dialled.client.call("subtract", 3, 1) == 2  # never written to the old one
    assert len(dialled.ends) == 2
    assert dialled.ours[0].closed
    dialled.client.close()
    with pytest.raises(ClosedError):
        dialled.client.call("subtract", 3, 1)


@pytest.mark.parametrize("idempotent", [True, False])
def test_a_call_that_may_have_happened_is_sent_again_only_if_marked(idempotent: bool) -> None:
    dialled = Dialled()
    outcome: list[Any] = []

    def work() -> None:
        try:
            outcome.append(dialled.client.call("subtract", 3, 1, idempotent=idempotent))
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert b"subtract" in dialled.ends[0].read(1000)
    dialled.ends[0].close()
    thread.join(60)
    if idempotent:
        assert outcome == [2]
    else:
        assert isinstance(outcome[0], ConnectionLost)
        assert outcome[0].maybe_executed
    dialled.client.close()


def test_a_server_that_hangs_up_on_everybody_is_given_up() -> None:
    dials: list[int] = []

    def dial(timeout: float | None) -> npipe.Connection:
        ours, theirs = memory_pair()
        theirs.close()
        dials.append(1)
        return ours

    client = rpc.Client(dial, timeout=60, reconnect=0.1)
    with pytest.raises(ConnectionLost):
        client.call("x")
    assert 2 <= len(dials) < 20
    client.close()


def test_reconnecting_waits_for_the_server(address: str) -> None:
    with rpc.Server(make_api()) as first:
        first.serve(address)
        client = rpc.connect(address, reconnect=10, timeout=60)
        assert client.call("subtract", 3, 1) == 2
    second = rpc.Server(make_api())
    timer = threading.Timer(0.1, second.serve, (address,))
    timer.start()
    assert client.call("subtract", 3, 1, idempotent=True) == 2  # may meet the old one's last breath
    client.close()
    second.stop()


class Home:
    def name(self) -> str:
        return "client"

    async def later(self) -> str:
        return "async client"


def test_the_server_calls_back(server: rpc.Server, address: str) -> None:
    api = rpc.API()
    api.register("home", Home())
    with rpc.connect(address, api=api, timeout=60) as client:
        assert client.call("test_callMeBack", "home_name", []) == "client"
        assert client.call("test_callMeBack", "home_later", []) == "async client"
        with pytest.raises(rpc.MethodNotFound):
            client.call("test_callMeBack", "home_nothing", [])


def test_async_functions_on_the_server_with_threads() -> None:
    import asyncio

    class Async:
        def __init__(self) -> None:
            self.cancelled = threading.Event()
            self.entered = threading.Event()

        async def double(self, number: int) -> int:
            await asyncio.sleep(0)
            return 2 * number

        async def endless(self) -> None:
            self.entered.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise

        @rpc.subscription
        async def count(self, to: int) -> Any:
            for i in range(to):
                yield i

    target = Async()
    api = rpc.API()
    api.register("a", target)
    with rpc.Server(api) as server, rpc.connect(server, timeout=60) as client:
        assert client.call("a_double", 4) == 8
        assert list(client.subscribe("a", "count", 3)) == [0, 1, 2]
        with pytest.raises(TimeoutError):
            client.call("a_endless", timeout=0.05)
        assert target.cancelled.wait(60)
