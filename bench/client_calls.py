"""A client of npipe for the benchmarks, in a process of its own, so that each build can be one.

``python -m bench.client_calls ADDRESS`` makes calls for each line ``LOAD CALLS`` of its input, and
prints how many it made a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from npipe import rpc
from npipe.rpc import aio as rpc_aio

from .servers import COMPILED, COMPILED_PYTHON


def sequential(client: rpc.Client, calls: int) -> None:
    for _ in range(calls):
        client.call("eth_blockNumber")


def batches(client: rpc.Client, calls: int) -> None:
    for _ in range(calls // 100):
        client.batch([("eth_blockNumber", ())] * 100)


async def in_flight(address: str, calls: int) -> float:
    async with await rpc_aio.connect(address) as client:
        start = time.perf_counter()
        for _ in range(calls // 100):
            await asyncio.gather(*(client.call("eth_blockNumber") for _ in range(100)))
        return calls / (time.perf_counter() - start)


@contextlib.contextmanager
def clients(address: str) -> Iterator[dict[str, Callable[[str, int], float]]]:
    """Start a client of each build. Each is a function of a load and a number of calls."""
    pythons = {"npipe": sys.executable}
    if COMPILED_PYTHON.exists():
        pythons[COMPILED] = str(COMPILED_PYTHON)
    with contextlib.ExitStack() as stack:
        yield {name: _start(python, address, stack) for name, python in pythons.items()}


def _start(python: str, address: str, stack: contextlib.ExitStack) -> Callable[[str, int], float]:
    command = [python, "-m", "bench.client_calls", address]
    process = stack.enter_context(
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    )
    assert process.stdin is not None and process.stdout is not None
    to, source = process.stdin, process.stdout
    stack.callback(to.close)  # before the end is awaited

    def run(load: str, calls: int) -> float:
        print(load, calls, file=to, flush=True)
        return float(source.readline())

    return run


def main(address: str) -> None:
    loads = {"sequential": sequential, "batches": batches}
    with rpc.connect(address) as client:
        for line in sys.stdin:
            load, calls = line.split()
            if load == "in_flight":
                print(asyncio.run(in_flight(address, int(calls))), flush=True)
                continue
            start = time.perf_counter()
            loads[load](client, int(calls))
            print(int(calls) / (time.perf_counter() - start), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
