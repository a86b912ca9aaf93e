"""JSON-RPC servers against each other, and npipe's client against web3.py's.

Every server answers the same raw client (``rawclient.py``) on a Unix socket, in one run.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from . import rawclient
from .harness import Table, measure
from .servers import Absent, serve

OURS = ("npipe-threads", "npipe-asyncio", "npipe-uvloop")
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
        for kind in OURS + THEIRS:
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
    from npipe import rpc

    count = 2000

    def timed(run: Callable[[], object]) -> float:
        start = time.perf_counter()
        run()
        return count / (time.perf_counter() - start)

    with contextlib.ExitStack() as stack:
        client = stack.enter_context(rpc.connect(address))

        def ours_sequential() -> None:
            for _ in range(count):
                client.call("eth_blockNumber")

        def ours_batch() -> None:
            for _ in range(count // 100):
                client.batch([("eth_blockNumber",)] * 100)

        def ours_in_flight() -> None:
            for _ in range(count // 100):
                calls = [client.start("eth_blockNumber") for _ in range(100)]
                for call in calls:
                    call.result(60)

        sequential: list[tuple[str, Callable[[], float]]] = [
            ("npipe", lambda: timed(ours_sequential))
        ]
        batch: list[tuple[str, Callable[[], float]]] = [
            ("npipe", lambda: timed(ours_batch)),
            ("npipe, 100 in flight", lambda: timed(ours_in_flight)),
        ]
        absent = {}
        try:
            import web3
        except ImportError:
            absent["web3.py"] = "not installed"
        else:
            w3 = web3.Web3(web3.IPCProvider(address))

            def theirs_sequential() -> None:
                for _ in range(count):
                    w3.eth.block_number  # noqa: B018

            def theirs_batch() -> None:
                for _ in range(count // 100):
                    with w3.batch_requests() as requests:
                        for _ in range(100):
                            requests.add(w3.eth.get_block_number())
                        requests.execute()

            sequential.append(("web3.py eth.block_number", lambda: timed(theirs_sequential)))
            sequential.append(
                (
                    "web3.py make_request",
                    lambda: timed(
                        lambda: [
                            w3.provider.make_request("eth_blockNumber", []) for _ in range(count)
                        ]
                    ),
                )
            )
            batch.append(("web3.py", lambda: timed(theirs_batch)))
        reference = "npipe" if absent else "web3.py"
        yield measure(
            "Clients on the same server: one call after the other",
            "calls/s (more is better)",
            sequential,
            reference="npipe" if absent else "web3.py eth.block_number",
            rounds=rounds,
            absent=absent,
        )
        yield measure(
            "Clients on the same server: 100 calls at a time",
            "calls/s (more is better)",
            batch,
            reference=reference,
            rounds=rounds,
            goal="10 x web3.py",
            absent=absent,
        )
