"""JSON-RPC servers against each other, and npipe's client against web3.py's.

Every server answers the same raw client (``rawclient.py``) on a Unix socket, in one run.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from npipe import rpc
from npipe.rpc import aio as rpc_aio

from . import rawclient
from .harness import Table, measure
from .servers import Absent, serve

if TYPE_CHECKING:
    import web3

CALLS = 2000
OURS = ("npipe-threads", "npipe-asyncio", "npipe-uvloop")
WORKERS = "npipe-workers"  # two processes on one socket, for the row of many connections
THEIRS = ("anvil", "geth", "jayson")

LOADS: tuple[tuple[str, Callable[[str, str, int], float], int, str], ...] = (
    ("sequential calls, 1 connection", rawclient.sequential, 8000, "1.0 x anvil, 2.5 x geth"),
    ("64 in flight, 1 connection", rawclient.in_flight, 40000, "2 x anvil, 8 x geth"),
    ("batches of 100, 1 connection", rawclient.batches, 40000, "1.0 x anvil"),
    ("32 connections", rawclient.connections, 16000, "1.0 x anvil"),
)


def tables(rounds: int) -> Iterator[Table]:
    with contextlib.ExitStack() as stack:
        addresses: dict[str, str] = {}
        absent: dict[str, str] = {}
        for kind in (*OURS, WORKERS, *THEIRS):
            try:
                addresses[kind] = stack.enter_context(serve(kind))
            except Absent as error:
                absent[kind] = str(error)
        for address in addresses.values():
            rawclient.check(address, "eth_chainId")
        reference = "anvil" if "anvil" in addresses else "npipe-asyncio"
        for method in ("web3_clientVersion", "eth_chainId", "eth_blockNumber"):
            for title, load, count, goal in LOADS:
                yield measure(
                    f"{method}: {title}",
                    "calls/s (more is better)",
                    [
                        (kind, lambda a=address, r=load, n=count, m=method: r(a, m, n))
                        for kind, address in addresses.items()
                        if kind != WORKERS or load is rawclient.connections
                    ],
                    reference=reference,
                    rounds=rounds,
                    goal=goal,
                    absent=absent,
                )
        yield from _user_functions(addresses, rounds)
        yield from _clients(addresses["npipe-asyncio"], rounds)


def _user_functions(addresses: dict[str, str], rounds: int) -> Iterator[Table]:
    for title, load, count, _ in LOADS[:2]:
        yield measure(
            f"User functions: {title}",
            "calls/s (more is better)",
            [
                (
                    f"{kind}, {name}",
                    lambda a=addresses[kind], m=f"user_{name}", r=load, n=count: r(a, m, n),
                )
                for kind in OURS
                if kind in addresses
                for name in ("inline", "plain", "coroutine")
            ],
            reference="npipe-asyncio, inline",
            rounds=rounds,
        )


def _clients(address: str, rounds: int) -> Iterator[Table]:
    """One program's calls: npipe's client and web3.py's, each its sync and its asyncio one."""
    absent = {} if importlib.util.find_spec("web3") else {"web3.py": "not installed"}
    with rpc.connect(address) as client:
        contestants = [("npipe", lambda: _timed(CALLS, lambda: _ours_sequential(client)))]
        batches = [("npipe", lambda: _timed(CALLS, lambda: _ours_batches(client)))]
        in_flight = [("npipe.rpc.aio", lambda: asyncio.run(_ours_in_flight(address)))]
        if not absent:
            import web3

            w3 = web3.Web3(web3.IPCProvider(address))
            contestants += [
                ("web3.py eth.block_number", lambda: _timed(CALLS, lambda: _theirs(w3))),
                ("web3.py make_request", lambda: _timed(CALLS, lambda: _their_requests(w3))),
            ]
            batches += [("web3.py", lambda: _timed(CALLS, lambda: _their_batches(w3)))]
            in_flight += [("web3.py async", lambda: asyncio.run(_theirs_in_flight(address)))]
        for title, rows, reference in (
            ("one call after the other", contestants, "web3.py eth.block_number"),
            ("batches of 100", batches, "web3.py"),
            ("100 calls in flight", in_flight, "web3.py async"),
        ):
            yield measure(
                f"Clients on the same server: {title}",
                "calls/s (more is better)",
                rows,
                reference=reference,
                rounds=rounds,
                goal="10 x web3.py" if "100" in title else "",
                absent=absent,
            )


def _timed(count: int, run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return count / (time.perf_counter() - start)


def _ours_sequential(client: rpc.Client) -> None:
    for _ in range(CALLS):
        client.call("eth_blockNumber")


def _ours_batches(client: rpc.Client) -> None:
    for _ in range(CALLS // 100):
        client.batch([("eth_blockNumber", ())] * 100)


async def _ours_in_flight(address: str) -> float:
    async with await rpc_aio.connect(address) as client:
        start = time.perf_counter()
        for _ in range(CALLS // 100):
            await asyncio.gather(*(client.call("eth_blockNumber") for _ in range(100)))
        return CALLS / (time.perf_counter() - start)


def _theirs(w3: web3.Web3) -> None:
    for _ in range(CALLS):
        w3.eth.block_number  # noqa: B018


def _their_requests(w3: web3.Web3) -> None:
    for _ in range(CALLS):
        w3.provider.make_request("eth_blockNumber", [])  # type: ignore[arg-type]


def _their_batches(w3: web3.Web3) -> None:
    for _ in range(CALLS // 100):
        with w3.batch_requests() as requests:
            for _ in range(100):
                requests.add(w3.eth.get_block_number())  # type: ignore[arg-type]
            requests.execute()


async def _theirs_in_flight(address: str) -> float:
    import web3

    async with web3.AsyncWeb3(web3.AsyncIPCProvider(address)) as w3:
        start = time.perf_counter()
        for _ in range(CALLS // 100):
            await asyncio.gather(*(w3.eth.get_block_number() for _ in range(100)))
        return CALLS / (time.perf_counter() - start)
