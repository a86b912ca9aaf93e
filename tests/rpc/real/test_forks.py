"""Processes forked by a function of a server: they have a copy of each connection."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Iterator

import pytest

if sys.platform == "win32":
    pytest.skip("Windows has no fork", allow_module_level=True)

from npipe import rpc
from npipe.rpc import aio
from until import wait_until

SECONDS = 60


class Service:
    """Starts child processes that live until the end of the test."""

    def __init__(self) -> None:
        self.children: list[int] = []

    def fork(self) -> int:
        child = os.fork()
        if not child:
            while True:
                signal.pause()
        self.children.append(child)
        return child

    def well(self) -> int:
        return 1

    def end(self) -> None:
        while self.children:
            child = self.children.pop()
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.end()


@pytest.fixture
def api(service: Service) -> rpc.API:
    api = rpc.API()
    api.register("t", service)
    return api


def test_a_stopped_server_ends_its_connections_although_a_child_has_copies(
    api: rpc.API, address: str
) -> None:
    ended = threading.Event()
    with rpc.Server(api) as server:
        server.serve(address)
        with rpc.connect(address, on_disconnect=lambda reason: ended.set()) as client:
            client.call("t_fork", timeout=SECONDS)
            server.stop()
            assert ended.wait(SECONDS)


def test_a_stopped_asyncio_server_does_so_too(api: rpc.API, address: str) -> None:
    ended = threading.Event()

    async def main() -> None:
        async with aio.Server(api) as server:
            await server.serve(address)
            client = await asyncio.to_thread(
                rpc.connect, address, on_disconnect=lambda reason: ended.set()
            )
            await asyncio.to_thread(client.call, "t_fork", timeout=SECONDS)
            await server.stop()
            assert await asyncio.to_thread(ended.wait, SECONDS)
            client.close()

    asyncio.run(main())


def test_a_closed_client_ends_its_connection_although_a_child_has_a_copy(
    api: rpc.API, address: str, service: Service
) -> None:
    with rpc.Server(api) as server:
        server.serve(address)
        client = rpc.connect(address)
        assert client.call("t_well", timeout=SECONDS) == 1
        service.fork()
        client.close()
        wait_until(lambda: server.stats()["connections"]["open"] == 0)


def test_a_child_that_stops_its_copy_of_the_server_ends_nothing(api: rpc.API, address: str) -> None:
    with rpc.Server(api) as server:
        server.serve(address)
        with rpc.connect(address) as client:
            assert client.call("t_well", timeout=SECONDS) == 1
            child = os.fork()
            if not child:
                try:
                    server.stop()
                    client.close()
                finally:
                    os._exit(0)
            assert os.waitpid(child, 0) == (child, 0)
            assert client.call("t_well", timeout=SECONDS) == 1
