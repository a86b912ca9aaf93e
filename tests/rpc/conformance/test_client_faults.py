"""What a call waits for, what a client refuses, what it says of itself: threads and asyncio alike.

``Both`` gives the two clients one face: the asyncio one is driven by a loop in this thread.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import npipe
from npipe import rpc
from npipe.rpc import aio
from npipe.transport.memory import memory_pair
from until import wait_until

LONG = 60.0  # seconds that nothing here takes


class Both:
    """``connect`` and what it returns, blocking, in either flavour."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.loop = asyncio.new_event_loop()

    def connect(self, *args: Any, **options: Any) -> Any:
        if self.kind == "threads":
            return rpc.connect(*args, **options)

        async def connect() -> aio.Client:
            return await aio.connect(*args, **options)

        return self.loop.run_until_complete(connect())

    def __call__(self, value: Any) -> Any:
        """Wait for what a method of a client returned."""
        return self.loop.run_until_complete(value) if inspect.isawaitable(value) else value

    def while_turning(self, ready: Callable[[], bool]) -> None:
        """Let the loop turn until ``ready()``."""
        end = time.monotonic() + LONG
        while not ready():
            assert time.monotonic() < end
            self.loop.run_until_complete(asyncio.sleep(0.005))


@pytest.fixture(params=["threads", "asyncio"])
def both(request: pytest.FixtureRequest) -> Iterator[Both]:
    both = Both(request.param)
    yield both
    both.loop.run_until_complete(both.loop.shutdown_default_executor())
    both.loop.close()


@pytest.fixture
def server(address: str) -> Iterator[rpc.Server]:
    api = rpc.API()
    api.register("calc", {"add_up": lambda a, b: a + b, "name": lambda: "calc"})
    with rpc.Server(api) as server:
        server.serve(address)
        yield server


def lose(both: Both, client: Any, server: rpc.Server) -> None:
    """Stop the server, and wait until the client knows."""
    server.stop()
    both.while_turning(lambda: not client.connected)


@pytest.mark.parametrize("what", ["call", "batch", "notify", "subscribe"])
def test_a_timeout_bounds_connecting_again(
    both: Both, address: str, server: rpc.Server, what: str
) -> None:
    client = both.connect(address, reconnect=LONG)
    lose(both, client, server)
    started = time.monotonic()
    calls = {
        "call": lambda: client.call("calc_addUp", 1, 2, timeout=0.2),
        "batch": lambda: client.batch([("calc_addUp", [1, 2])], timeout=0.2),
        "notify": lambda: client.notify("calc_addUp", 1, 2, timeout=0.2),
        "subscribe": lambda: client.subscribe("calc", "ticks", timeout=0.2),
    }
    with pytest.raises(TimeoutError, match=r"no connection within 0\.2 seconds"):
        both(calls[what]())
    assert time.monotonic() - started < LONG / 2
    both(client.close())


def test_a_timeout_bounds_waiting_for_another_caller_that_connects(
    address: str, server: rpc.Server
) -> None:
    client = rpc.connect(address, reconnect=1.0)
    server.stop()
    wait_until(lambda: not client.connected)
    dialling, dial = threading.Event(), client._dial

    def slow_dial(timeout: float | None) -> npipe.Connection:
        dialling.set()
        return dial(timeout)

    client._dial = slow_dial

    def call() -> None:
        with pytest.raises(OSError, match=r".+"):
            client.modules()

    other = threading.Thread(target=call)
    other.start()
    assert dialling.wait(LONG)
    with pytest.raises(TimeoutError, match=r"no connection within 0\.1 seconds"):
        client.call("calc_addUp", 1, 2, timeout=0.1)
    other.join(LONG)
    client.close()


def test_a_timeout_bounds_a_notification_to_who_does_not_read(both: Both, address: str) -> None:
    with npipe.listen(address) as listener:
        client = both.connect(address)
        held = listener.accept(LONG)
        with pytest.raises(TimeoutError, match=r"could not be sent within 0\.2 seconds"):
            for _ in range(100):
                both(client.notify("x", "y" * 300_000, timeout=0.2))
        held.close()
        both(client.close())


@pytest.mark.parametrize("wrong", [math.nan, -1, math.inf, 1e300])
def test_a_timeout_that_is_none_is_refused_and_nothing_ends(
    both: Both, address: str, server: rpc.Server, wrong: float
) -> None:
    client = both.connect(address)
    for call in (
        lambda: client.call("calc_addUp", 1, 2, timeout=wrong),
        lambda: client.batch([], timeout=wrong),
        lambda: client.notify("calc_addUp", 1, 2, timeout=wrong),
        lambda: client.subscribe("calc", "ticks", timeout=wrong),
        lambda: client.modules(timeout=wrong),
    ):
        with pytest.raises(ValueError, match="timeout"):
            both(call())
    assert both(client.call("calc_addUp", 1, 2)) == 3
    for name in ("timeout", "connect_timeout", "reconnect"):
        with pytest.raises(ValueError, match=name):
            both.connect(address, **{name: wrong})
    both(client.close())


def test_a_timeout_of_years_is_one(both: Both, address: str, server: rpc.Server) -> None:
    client = both.connect(address, timeout=3e8)
    assert both(client.call("calc_addUp", 1, 2)) == 3
    both(client.close())


@pytest.mark.parametrize("wrong", [123, b"name", 1.5, None, [], ["a", 1], {}, object()])
def test_what_is_no_endpoint_is_refused(both: Both, wrong: Any) -> None:
    with pytest.raises(TypeError, match="an endpoint is an address"):
        both.connect(wrong)


@pytest.mark.skipif("sys.platform == 'win32'", reason="a pipe is no file there")
def test_a_path_is_an_endpoint(both: Both, address: str, server: rpc.Server) -> None:
    client = both.connect(Path(address))
    assert both(client.call("calc_addUp", 1, 2)) == 3
    both(client.close())


def test_the_first_connection_waits_for_the_server_too(both: Both, address: str) -> None:
    api = rpc.API()
    api.register("calc", {"one": lambda: 1})
    with rpc.Server(api) as server:
        timer = threading.Timer(0.2, server.serve, [address])
        timer.start()
        client = both.connect(address, reconnect=LONG)
        assert both(client.call("calc_one")) == 1
        both(client.close())
        timer.join()


def test_without_reconnect_the_server_must_be_there(both: Both, address: str) -> None:
    with pytest.raises(FileNotFoundError):
        both.connect(address)
    with pytest.raises(OSError, match=r".+"):
        both.connect(address, reconnect=0.05)


def test_a_client_tells_that_its_connection_was_lost(
    both: Both, address: str, server: rpc.Server
) -> None:
    reasons: list[str] = []
    client = both.connect(address, on_disconnect=reasons.append)
    assert (client.connected, client.closed) == (True, False)
    lose(both, client, server)
    both.while_turning(lambda: bool(reasons))
    assert (client.connected, client.closed) == (False, True)
    both(client.close())
    assert len(reasons) == 1


def test_one_that_reconnects_is_not_closed_by_a_loss(
    both: Both, address: str, server: rpc.Server
) -> None:
    def fail(reason: str) -> None:
        raise ValueError(reason)  # logged, and nothing else

    client = both.connect(address, reconnect=LONG, on_disconnect=fail)
    lose(both, client, server)
    assert (client.connected, client.closed) == (False, False)
    both(client.close())
    assert client.closed


def test_closing_is_not_a_loss(both: Both, address: str, server: rpc.Server) -> None:
    reasons: list[str] = []
    client = both.connect(address, on_disconnect=reasons.append)
    both(client.close())
    assert (client.connected, client.closed, reasons) == (False, True, [])


def test_a_loss_says_how_the_call_would_have_been_sent_again(both: Both, address: str) -> None:
    with npipe.listen(address) as listener:
        client = both.connect(address, reconnect=LONG)
        held = listener.accept(LONG)
        thread = threading.Thread(target=lambda: (held.read(1), held.close()))
        thread.start()
        with pytest.raises(rpc.ConnectionLost, match="idempotent=True") as caught:
            both(client.call("x"))
        assert caught.value.maybe_executed
        thread.join(LONG)
        both(client.close())


def test_a_client_over_a_connection_that_exists(both: Both) -> None:
    ours, theirs = memory_pair()
    api = rpc.API()
    api.register("calc", {"one": lambda: 1})
    with rpc.Server(api) as server:
        server.serve_connection(theirs)
        client = both.connect(ours)
        assert both(client.call("calc_one")) == 1
        with pytest.raises(ValueError, match="not an open connection"):
            both.connect(ours, reconnect=1)
        both(client.close())
        assert ours.closed


def test_attributes_are_methods(both: Both, address: str, server: rpc.Server) -> None:
    client = both.connect(address)
    assert both(client.calc.add_up(1, 2)) == 3
    assert both(client.calc.addUp(a=1, b=2)) == 3
    assert both(client.calc.name()) == "calc"
    assert both(client.rpc_modules())["calc"] == "1.0"
    with pytest.raises(TypeError, match="not both"):
        both(client.calc.add_up(1, b=2))
    with pytest.raises(AttributeError):
        _ = client._missing
    both(client.close())


def test_raw_parameters_go_as_they_are(both: Both, address: str, server: rpc.Server) -> None:
    client = both.connect(address)
    assert both(client.call("calc_addUp", rpc.Raw(b"40"), 2)) == 42
    assert both(client.call("calc_addUp", named=rpc.Raw(b'{"a":1,"b":2}'))) == 3
    assert bytes(both(client.call("calc_addUp", 1, 2, result_type=rpc.Raw))) == b"3"
    assert both(client.batch([("calc_addUp", rpc.Raw(b"[1,2]"))])) == [3]
    both(client.close())
