"""npipe's client against web3.py's on the same server: one program's calls, each by its own client.

Both have a client that blocks and one for asyncio.
"""

from __future__ import annotations

import asyncio
import importlib.util
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from npipe import rpc
from npipe.rpc import aio as rpc_aio

from .harness import Goal, Table, measure, one_core
from .servers import serve

if TYPE_CHECKING:
    import web3


def tables(rounds: int) -> Iterator[Table]:
    with serve("npipe-threads") as address:
        yield from _tables(address, rounds, "")
    with one_core(), serve("npipe-threads") as address:
        yield from _tables(address, rounds, ", on one core")


def _tables(address: str, rounds: int, where: str) -> Iterator[Table]:
    absent = {} if importlib.util.find_spec("web3") else {"web3.py": "not installed"}
    # As many calls as take each about as long: a short run is all luck on a busy machine.
    with rpc.connect(address) as client:
        contestants = [("npipe", lambda: _timed(_ours_sequential, client, 1000))]
        batches = [("npipe", lambda: _timed(_ours_batches, client, 10_000))]
        in_flight = [("npipe.rpc.aio", lambda: asyncio.run(_ours_in_flight(address, 5000)))]
        if not absent:
            import web3

            w3 = web3.Web3(web3.IPCProvider(address))
            contestants += [
                ("web3.py eth.block_number", lambda: _timed(_theirs, w3, 500)),
                ("web3.py make_request", lambda: _timed(_their_requests, w3, 500)),
            ]
            batches += [("web3.py", lambda: _timed(_their_batches, w3, 1000))]
            in_flight += [("web3.py async", lambda: asyncio.run(_theirs_in_flight(address, 300)))]
        for title, rows, reference in (
            ("one call after the other", contestants, "web3.py eth.block_number"),
            ("batches of 100", batches, "web3.py"),
            ("100 calls in flight", in_flight, "web3.py async"),
        ):
            yield measure(
                f"Clients on the same server: {title}{where}",
                "calls/s (more is better)",
                rows,
                reference=reference,
                rounds=rounds,
                goals=[Goal(reference, 10)] if "100" in title else [],
                absent=absent,
            )


def _timed(run: Callable[[Any, int], object], client: Any, count: int) -> float:
    start = time.perf_counter()
    run(client, count)
    return count / (time.perf_counter() - start)


def _ours_sequential(client: rpc.Client, count: int) -> None:
    for _ in range(count):
        client.call("eth_blockNumber")


def _ours_batches(client: rpc.Client, count: int) -> None:
    for _ in range(count // 100):
        client.batch([("eth_blockNumber", ())] * 100)


async def _ours_in_flight(address: str, count: int) -> float:
    async with await rpc_aio.connect(address) as client:
        start = time.perf_counter()
        for _ in range(count // 100):
            await asyncio.gather(*(client.call("eth_blockNumber") for _ in range(100)))
        return count / (time.perf_counter() - start)


def _theirs(w3: web3.Web3, count: int) -> None:
    for _ in range(count):
        w3.eth.block_number  # noqa: B018


def _their_requests(w3: web3.Web3, count: int) -> None:
    for _ in range(count):
        w3.provider.make_request("eth_blockNumber", [])  # type: ignore[arg-type]


def _their_batches(w3: web3.Web3, count: int) -> None:
    for _ in range(count // 100):
        with w3.batch_requests() as requests:
            for _ in range(100):
                requests.add(w3.eth.get_block_number())  # type: ignore[arg-type]
            requests.execute()


async def _theirs_in_flight(address: str, count: int) -> float:
    import web3

    async with web3.AsyncWeb3(web3.AsyncIPCProvider(address)) as w3:
        start = time.perf_counter()
        for _ in range(count // 100):
            await asyncio.gather(*(w3.eth.get_block_number() for _ in range(100)))
        return count / (time.perf_counter() - start)
