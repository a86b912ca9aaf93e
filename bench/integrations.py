"""Each integration against the library's own transport: the same library, client and server.

On POSIX alone, for only there do the libraries have a local transport of their own.
"""

from __future__ import annotations

import asyncio
import importlib.util
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import npipe

from .harness import Goal, Table, measure
from .servers import Absent, serve

REQUESTS = 200  # each takes near a millisecond
CALLS = "calls/s (more is better)"
AT_ONCE = 20


def tables(rounds: int) -> Iterator[Table]:
    for name in ("httpx", "aiohttp", "uvicorn", "web3", "grpclib"):
        if importlib.util.find_spec(name) is None:
            raise Absent(f"{name} is not installed: pip install 'npipe[integrations]'")
    with serve("http-npipe") as address:
        yield _against("httpx, one GET after the other", _httpx(address), rounds)
        yield _against(f"httpx, {AT_ONCE} GETs at once", _httpx_async(address), rounds)
        yield _against(f"aiohttp, {AT_ONCE} GETs at once", _aiohttp(address), rounds)
    with serve("http-npipe") as ours, serve("http-uds") as theirs:
        yield _against(
            f"uvicorn, {AT_ONCE} GETs at once of aiohttp", _uvicorn(ours, theirs), rounds
        )
    with serve("http-grpclib") as address:
        yield _against(f"grpclib, {AT_ONCE} calls at once", _grpclib(address), rounds)
    with serve("npipe-threads") as address:
        yield _against("web3.py make_request", _web3(address), rounds)
        yield _against("web3.py make_batch_request of 100", _web3_batch(address), rounds, goal=2)
        yield _against("web3.py with asyncio, one call after the other", _web3_one(address), rounds)
        yield _against(
            "web3.py with asyncio, 100 calls in flight", _web3_async(address), rounds, goal=2
        )
    yield measure(
        "web3.py with asyncio: the processor while one call waits",
        "seconds for each second (less is better)",
        [("npipe", lambda: _waiting(True)), ("its own", lambda: _waiting(False))],
        reference="its own",
        rounds=rounds,
    )


Contestants = list[tuple[str, Callable[[], float]]]


def _against(title: str, contestants: Contestants, rounds: int, *, goal: float = 1) -> Table:
    return measure(
        f"Integrations: {title}",
        CALLS,
        contestants,
        reference="its own",
        rounds=rounds,
        goals=[Goal("its own", goal)],
    )


def _rate(call: Callable[[], object], count: int = REQUESTS) -> float:
    start = time.perf_counter()
    for _ in range(count):
        call()
    return count / (time.perf_counter() - start)


async def _rate_at_once(call: Callable[[], Awaitable[object]], count: int = REQUESTS) -> float:
    await call()

    async def some() -> None:
        for _ in range(count // AT_ONCE):
            await call()

    start = time.perf_counter()
    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return count / (time.perf_counter() - start)


def _httpx(address: str) -> Contestants:
    import httpx

    from npipe.integrations.httpx import Transport

    def run(transport: httpx.BaseTransport) -> float:
        with httpx.Client(transport=transport) as client:
            client.get("http://x/")
            return _rate(lambda: client.get("http://x/"))

    return [
        ("npipe", lambda: run(Transport(address))),
        ("its own", lambda: run(httpx.HTTPTransport(uds=address))),
    ]


def _httpx_async(address: str) -> Contestants:
    import httpx

    from npipe.integrations.httpx import AsyncTransport

    async def run(make: Callable[[], httpx.AsyncBaseTransport]) -> float:
        async with httpx.AsyncClient(transport=make()) as client:
            return await _rate_at_once(lambda: client.get("http://x/"))

    return [
        ("npipe", lambda: asyncio.run(run(lambda: AsyncTransport(address)))),
        ("its own", lambda: asyncio.run(run(lambda: httpx.AsyncHTTPTransport(uds=address)))),
    ]


def _aiohttp(address: str) -> Contestants:
    import aiohttp

    from npipe.integrations.aiohttp import Connector

    return [
        ("npipe", lambda: asyncio.run(_get(lambda: Connector(address)))),
        ("its own", lambda: asyncio.run(_get(lambda: aiohttp.UnixConnector(address)))),
    ]


async def _get(make: Callable[[], Any]) -> float:
    import aiohttp

    async with aiohttp.ClientSession(connector=make()) as session:

        async def get() -> bytes:
            async with session.get("http://x/") as response:
                return await response.read()

        return await _rate_at_once(get, 4 * REQUESTS)


def _uvicorn(ours: str, theirs: str) -> Contestants:
    import aiohttp

    return [
        ("npipe", lambda: asyncio.run(_get(lambda: aiohttp.UnixConnector(ours)))),
        ("its own", lambda: asyncio.run(_get(lambda: aiohttp.UnixConnector(theirs)))),
    ]


def _grpclib(address: str) -> Contestants:
    import grpclib.client

    from npipe.integrations.grpclib import Channel

    from .http_server import METHOD, codec

    async def run(make: Callable[[], Any]) -> float:
        async with make() as channel:
            call = grpclib.client.UnaryUnaryMethod(channel, METHOD, bytes, bytes)
            return await _rate_at_once(lambda: call(b"x"))

    def own() -> Any:
        return grpclib.client.Channel(path=address, codec=codec())

    return [
        ("npipe", lambda: asyncio.run(run(lambda: Channel(address, codec=codec())))),
        ("its own", lambda: asyncio.run(run(own))),
        *_grpcio(address, METHOD),
    ]


def _grpcio(address: str, method: str) -> Contestants:
    if importlib.util.find_spec("grpc") is None:
        return []

    async def run() -> float:
        import grpc.aio

        async with grpc.aio.insecure_channel(f"unix:{address}") as channel:
            call = channel.unary_unary(method)
            return await _rate_at_once(lambda: call(b"x"))

    return [("grpcio (C)", lambda: asyncio.run(run()))]


def _web3(address: str) -> Contestants:
    ours, theirs = _providers(address)

    def run(provider: Any) -> float:
        return _rate(lambda: provider.make_request("eth_blockNumber", []), 5 * REQUESTS)

    return [("npipe", lambda: run(ours)), ("its own", lambda: run(theirs))]


def _web3_batch(address: str) -> Contestants:
    ours, theirs = _providers(address)
    batch = [("eth_blockNumber", [])] * 100

    def run(provider: Any) -> float:
        return 100 * _rate(lambda: provider.make_batch_request(batch), 50)

    return [("npipe", lambda: run(ours)), ("its own", lambda: run(theirs))]


def _providers(address: str) -> tuple[Any, Any]:
    from web3 import IPCProvider

    from npipe.integrations.web3 import Provider

    return Provider(address), IPCProvider(address)


def _web3_one(address: str) -> Contestants:
    async def one_by_one(w3: Any) -> float:
        start = time.perf_counter()
        for _ in range(REQUESTS):
            await w3.eth.get_block_number()
        return REQUESTS / (time.perf_counter() - start)

    return _asynchronous(address, one_by_one)


def _web3_async(address: str) -> Contestants:
    async def in_flight(w3: Any) -> float:
        start = time.perf_counter()
        for _ in range(5):
            await asyncio.gather(*(w3.eth.get_block_number() for _ in range(100)))
        return 500 / (time.perf_counter() - start)

    return _asynchronous(address, in_flight)


def _asynchronous(address: str, work: Callable[[Any], Awaitable[float]]) -> Contestants:
    from web3 import AsyncIPCProvider, AsyncWeb3

    from npipe.integrations.web3 import AsyncProvider

    async def run(provider: Any) -> float:
        async with AsyncWeb3(provider) as w3:
            return await work(w3)

    return [
        ("npipe", lambda: asyncio.run(run(AsyncProvider(address)))),
        ("its own", lambda: asyncio.run(run(AsyncIPCProvider(address)))),
    ]


def _waiting(ours: bool) -> float:
    """Return the processor time of a call whose node takes half a second, for each second."""
    import os
    import tempfile

    from web3 import AsyncIPCProvider, AsyncWeb3

    from npipe.integrations.web3 import AsyncProvider

    def answer(listener: npipe.Listener[npipe.Connection]) -> None:
        with listener.accept() as connection:
            connection.read(65536)
            time.sleep(0.5)
            connection.write(b'{"jsonrpc":"2.0","id":%d,"result":"0x1"}\n' % (1 if ours else 0))
            connection.read(1)

    async def call(address: str) -> float:
        provider = AsyncProvider(address) if ours else AsyncIPCProvider(address)
        async with AsyncWeb3(provider) as w3:
            before = time.process_time()
            await w3.provider.make_request("eth_chainId", [])  # type: ignore[arg-type]
            return (time.process_time() - before) / 0.5

    with tempfile.TemporaryDirectory(prefix="npb") as directory:
        address = os.path.join(directory, "s")
        with npipe.listen(address) as listener:
            thread = threading.Thread(target=answer, args=(listener,))
            thread.start()
            try:
                return asyncio.run(call(address))
            finally:
                listener.close()
                thread.join()
