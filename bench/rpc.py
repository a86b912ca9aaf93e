"""JSON-RPC servers against each other: each answers the same raw client (``rawclient.py``).

``python-bare`` is a loop of recv and sendall that sends a prepared reply, whatever it is asked:
what is left to gain for a server in Python.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from . import rawclient
from .harness import Goal, Table, measure
from .servers import ASYNCIO_COMPILED, COMPILED, Absent, serve

OURS = ("npipe-threads", COMPILED, "npipe-asyncio", ASYNCIO_COMPILED, "npipe-uvloop")
WORKERS = "npipe-workers"  # two processes on one socket, for the row of many connections
THEIRS = ("anvil", "geth", "jayson")
BARE = "python-bare"
METHODS = ("web3_clientVersion", "eth_chainId", "eth_blockNumber")

#: What to call it, the client, how many calls, and the goals against anvil and geth.
LOADS: tuple[tuple[str, Callable[[str, str, int], float], int, list[Goal]], ...] = (
    (
        *("sequential calls, 1 connection", rawclient.sequential, 3000),
        [Goal("anvil", 1), Goal("geth", 2.5)],
    ),
    (
        *("64 in flight, 1 connection", rawclient.in_flight, 20000),
        [Goal("anvil", 2), Goal("geth", 8)],
    ),
    ("batches of 100, 1 connection", rawclient.batches, 20000, [Goal("anvil", 1)]),
    ("32 connections", rawclient.connections, 6000, [Goal("anvil", 1)]),
)


def tables(rounds: int) -> Iterator[Table]:
    with servers((*OURS, WORKERS, *THEIRS, BARE)) as (addresses, absent):
        for method in METHODS:
            yield from loads(method, addresses, absent, rounds)
        yield from _user_functions(addresses, rounds)


@contextlib.contextmanager
def servers(kinds: tuple[str, ...]) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """The addresses of all these servers, and why some are not there."""
    addresses: dict[str, str] = {}
    absent: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        for kind in kinds:
            try:
                addresses[kind] = stack.enter_context(serve(kind))
            except Absent as error:
                absent[kind] = str(error)
        for address in addresses.values():
            rawclient.check(address, "eth_chainId")
        yield addresses, absent


def loads(
    method: str, addresses: dict[str, str], absent: dict[str, str], rounds: int
) -> Iterator[Table]:
    """A table for each kind of load."""
    for title, load, count, goals in LOADS:
        yield measure(
            f"{method}: {title}",
            "calls/s (more is better)",
            [
                (kind, lambda a=address, r=load, n=count: r(a, method, n))
                for kind, address in addresses.items()
                if kind != WORKERS or load is rawclient.connections
            ],
            reference="anvil" if "anvil" in addresses else "npipe-asyncio",
            rounds=rounds,
            goals=goals,
            absent=absent,
        )


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
