"""The proxy, between a client and a server of ours."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

import npipe
from npipe import rpc
from npipe.transport.base import Connection
from npipe.transport.memory import memory_pair
from rpc.service import Service, make_api


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def client(service: Service, address: str) -> Iterator[rpc.Client]:
    with rpc.Server(make_api(service)) as server, rpc.Proxy(server) as proxy:
        proxy.serve(address)
        api = rpc.API()
        api.register("home", Home())
        with rpc.connect(address, timeout=60, api=api) as client:
            yield client
        service.release.set()


class Home:
    def name(self) -> str:
        return "client"


def test_a_proxy_that_stops_while_it_connects_disconnects_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, client = memory_pair()
    upstream, theirs = memory_pair()
    proxy = rpc.Proxy("./nowhere.ipc")

    def stop_and_open(*_: object, **__: object) -> Connection:
        proxy.stop()
        return upstream

    monkeypatch.setattr("npipe.rpc.threads.proxy.open_endpoint", stop_and_open)
    proxy.serve_connection(ours)
    for end in (client, theirs):
        end.set_read_deadline(time.monotonic() + 10)
        assert end.read(1) == b""
        end.close()


def test_calls_errors_and_batches_pass(client: rpc.Client) -> None:
    assert client.call("subtract", 42, 23) == 19
    assert client.modules() == {"rpc": "1.0", "test": "1.0"}
    with pytest.raises(rpc.RPCError) as caught:
        client.call("test_returnError")
    assert (caught.value.code, caught.value.data) == (444, "testError data")
    seven, error = client.batch([("sum", [1, 2, 4]), ("nothing", [])])
    assert seven == 7
    assert isinstance(error, rpc.MethodNotFound)


def test_params_and_results_pass_byte_for_byte(address: str) -> None:
    with rpc.Server(make_api()) as server, rpc.Proxy(server) as proxy:
        proxy.serve(address)
        with npipe.connect(address) as connection:
            connection.write(
                b'{"jsonrpc":"2.0","id":"\\u0041","method":"test_echoPlain","params":[1.50]}\n'
            )
            assert connection.read(100) == b'{"jsonrpc":"2.0","id":"\\u0041","result":1.5}\n'


def test_subscriptions_and_calls_back_pass(client: rpc.Client) -> None:
    assert list(client.subscribe("test", "counter", 3)) == [0, 1, 2]
    assert client.call("test_callMeBack", "home_name", []) == "client"


def test_cancelling_passes(client: rpc.Client, service: Service) -> None:
    with pytest.raises(TimeoutError):
        client.call("test_block", timeout=0.2)
    assert service.cancelled.wait(60)
    assert client.call("subtract", 1, 1) == 0


def test_the_end_of_one_side_is_the_other_s(client: rpc.Client, service: Service) -> None:
    def call() -> None:
        with pytest.raises(OSError):
            client.call("test_block")

    thread = threading.Thread(target=call)
    thread.start()
    assert service.entered.wait(60)
    client.close()
    thread.join(60)
    assert service.cancelled.wait(60)


def test_without_an_upstream_the_client_is_turned_away(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    with rpc.Proxy(address + "-nobody") as proxy:
        proxy.serve(address)
        with npipe.connect(address) as connection:
            assert connection.read(10) == b""
    assert "the upstream server cannot be reached" in caplog.text


def test_a_half_closed_connection_gets_its_pending_replies(address: str) -> None:
    service = Service()
    with rpc.Server(make_api(service)) as server, rpc.Proxy(server) as proxy:
        proxy.serve(address, message_mode=True)  # on Windows only such a pipe can be half-closed
        with npipe.connect(address) as connection:
            connection.write(b'{"jsonrpc":"2.0","id":1,"method":"test_block"}\n')
            connection.close_write()
            assert service.entered.wait(60)
            connection.set_read_deadline(time.monotonic() + 0.2)
            with pytest.raises(TimeoutError):  # neither a reply nor the end
                connection.read(100)
            connection.set_read_deadline(None)
            service.release.set()
            assert connection.read(100) == b'{"jsonrpc":"2.0","id":1,"result":"released"}\n'
            assert connection.read(100) == b""
