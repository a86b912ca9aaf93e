"""Functions that raise what is no Exception: the call fails, and its server goes on."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import pytest

from npipe import rpc
from npipe.rpc import aio

SECONDS = 30
KINDS = ["plain", "inline", "context", "limited", "slow", "coroutine"]


class Service:
    """One function of each kind, which raises what it is told to."""

    error: BaseException = SystemExit(3)

    def plain(self) -> int:
        raise self.error

    @rpc.method(inline=True)
    def inline(self) -> int:
        raise self.error

    @rpc.method(inline=True)
    def context(self, context: rpc.Context) -> int:
        raise self.error

    @rpc.method(concurrency=1)
    def limited(self) -> int:
        raise self.error

    def slow(self) -> int:
        time.sleep(0.05)  # longer than the monitor's patience: another thread takes over
        raise self.error

    async def coroutine(self) -> int:
        raise self.error

    def well(self) -> int:
        return 1

    async def awaited(self) -> int:
        return 2


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def api(service: Service) -> rpc.API:
    api = rpc.API()
    api.register("t", service)
    return api


def check(client: rpc.Client, name: str, codes: list[int]) -> None:
    for code in codes:
        with pytest.raises(rpc.RPCError) as caught:
            client.call(f"t_{name}", timeout=SECONDS)
        assert caught.value.code == code
        assert client.call("t_well", timeout=SECONDS) == 1
        assert client.call("t_awaited", timeout=SECONDS) == 2


@pytest.mark.parametrize("name", KINDS)
def test_an_exit_fails_its_call_only_on_the_loop(api: rpc.API, address: str, name: str) -> None:
    with rpc.Server(api) as server:
        server.serve(address)
        with rpc.connect(address) as other, rpc.connect(address) as client:
            check(client, name, [-32603, -32603])
            assert other.call("t_well", timeout=SECONDS) == 1


@pytest.mark.parametrize("name", KINDS)
def test_an_exit_fails_its_call_only_on_threads_of_its_own(api: rpc.API, name: str) -> None:
    with rpc.Server(api) as server, rpc.connect(server) as client:
        check(client, name, [-32603, -32603])


@pytest.mark.parametrize("name", KINDS)
def test_an_exit_fails_its_call_only_with_asyncio(api: rpc.API, address: str, name: str) -> None:
    async def main() -> None:
        async with aio.Server(api) as server:
            await server.serve(address)
            with await asyncio.to_thread(rpc.connect, address) as client:
                await asyncio.to_thread(check, client, name, [-32603, -32603])

    asyncio.run(main())


@pytest.mark.parametrize("name", [kind for kind in KINDS if kind != "inline"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), asyncio.CancelledError()])
def test_what_is_no_error_is_a_cancellation_in_a_thread(
    api: rpc.API, service: Service, address: str, name: str, error: BaseException
) -> None:
    service.error = error
    with rpc.Server(api) as server:
        server.serve(address)
        for endpoint in (address, server):
            with rpc.connect(endpoint) as client:
                check(client, name, [-32800, -32800])


def test_an_interrupt_of_an_inline_function_ends_one_connection_only(
    api: rpc.API, service: Service, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    service.error = KeyboardInterrupt()
    caplog.set_level(logging.CRITICAL, "npipe.rpc")
    with rpc.Server(api) as server:
        server.serve(address)
        with rpc.connect(address) as client, pytest.raises(rpc.ConnectionLost):
            client.call("t_inline", timeout=SECONDS)
        with rpc.connect(address) as client:
            assert client.call("t_well", timeout=SECONDS) == 1
            stats: Any = server.stats()
            assert stats["connections"]["open"] == 1
