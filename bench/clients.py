"""npipe's client, in both builds, against web3.py's on the same server.

Both have a client that blocks and one for asyncio.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from .client_calls import clients
from .harness import Goal, Table, measure, one_core
from .servers import COMPILED, Absent, serve

if TYPE_CHECKING:
    import web3


def tables(rounds: int) -> Iterator[Table]:
    for kind, of, goals in (
        ("npipe-threads", "", (8, 8)),
        (COMPILED, ", compiled server", (10, 12)),
    ):
        with contextlib.suppress(Absent):
            with serve(kind) as address, clients(address) as ours:
                yield from _tables(address, ours, rounds, of, goals[0])
            with one_core(), serve(kind) as address, clients(address) as ours:
                yield from _tables(address, ours, rounds, f"{of}, on one core", goals[1])


def _tables(
    address: str, ours: dict[str, Callable[[str, int], float]], rounds: int, where: str, goal: float
) -> Iterator[Table]:
    absent = {} if importlib.util.find_spec("web3") else {"web3.py": "not installed"}

    def rows(load: str, calls: int) -> list[tuple[str, Callable[[], float]]]:
        return [(name, partial(run, load, calls)) for name, run in ours.items()]

    # As many calls as take each about as long: a short run is all luck on a busy machine.
    contestants, batches = rows("sequential", 1000), rows("batches", 10_000)
    in_flight = rows("in_flight", 5000)
    if not absent:
        import web3

        w3 = web3.Web3(web3.IPCProvider(address))
        contestants += [
            ("web3.py eth.block_number", lambda: _timed(_theirs, w3, 500)),
            ("web3.py make_request", lambda: _timed(_their_requests, w3, 500)),
        ]
        batches += [("web3.py", lambda: _timed(_their_batches, w3, 1000))]
        in_flight += [("web3.py async", lambda: asyncio.run(_theirs_in_flight(address, 300)))]
    for title, contest, reference in (
        ("one call after the other", contestants, "web3.py eth.block_number"),
        ("batches of 100", batches, "web3.py"),
        ("100 calls in flight", in_flight, "web3.py async"),
    ):
        yield measure(
            f"Clients on the same server: {title}{where}",
            "calls/s (more is better)",
            contest,
            reference=reference,
            rounds=rounds,
            goals=[Goal(reference, goal)] if title == "batches of 100" else [],
            absent=absent,
        )


def _timed(run: Callable[[Any, int], object], client: Any, count: int) -> float:
    start = time.perf_counter()
    run(client, count)
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
