"""``python -m bench.idle_connections [COUNT]``: what an idle connection costs an asyncio server.

For each contestant a fresh server process holds COUNT (10,000) connections that say nothing, made
by a process of their own. "Python memory" is what tracemalloc counts, "resident" what the system
does, in a second run without tracemalloc. Linux only. Fails if npipe's streams take more than
10 KiB of Python memory each.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

LIMIT = 10  # KiB of Python memory for each connection

CLIENTS = """
import socket, sys, time
path, count, clients = sys.argv[1], int(sys.argv[2]), []
while len(clients) < count:
    client = socket.socket(socket.AF_UNIX)
    while True:
        try:
            client.connect(path)
            break
        except BlockingIOError:
            time.sleep(0.001)
    clients.append(client)
print("connected", flush=True)
sys.stdin.read()
"""


async def idle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        await reader.read(1)
    writer.close()


async def start(contestant: str, path: str) -> asyncio.AbstractServer:
    import npipe.aio

    if contestant == "asyncio streams":
        return await asyncio.start_unix_server(idle, path, backlog=4096)
    if contestant == "npipe.aio protocols":
        return await npipe.aio.create_server(asyncio.Protocol, path)
    return await npipe.aio.start_server(idle, path)


async def hold(contestant: str, count: int, measure: str) -> float:
    """Serve until ``count`` clients are there; return what each costs, in bytes."""
    with tempfile.TemporaryDirectory(prefix="np") as folder:
        path = os.path.join(folder, "s")
        server = await start(contestant, path)
        clients = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            CLIENTS,
            path,
            str(count),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert clients.stdout is not None and clients.stdin is not None
        before = used(measure)
        assert await clients.stdout.readline() == b"connected\n"
        while len(os.listdir("/proc/self/fd")) < count:
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.1)
        cost = (used(measure) - before) / count
        clients.stdin.close()
        await clients.wait()
        server.close()
        await server.wait_closed()
        return cost


def used(measure: str) -> int:
    gc.collect()
    if measure == "python":
        return tracemalloc.get_traced_memory()[0]
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def child(contestant: str, count: int, measure: str) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if measure == "python":
        tracemalloc.start()
    if contestant.endswith("uvloop"):
        import uvloop

        print(uvloop.run(hold(contestant, count, measure)))
    else:
        print(asyncio.run(hold(contestant, count, measure)))


def main(count: int) -> int:
    contestants = [
        "asyncio streams",
        "npipe.aio streams",
        "npipe.aio protocols",
        "npipe.aio streams, uvloop",
    ]
    print(f"{count} idle connections; KiB for each\n")
    print("| server | Python memory | resident | seconds |\n|---|---:|---:|---:|")
    worst = 0.0
    for contestant in contestants:
        begun = time.perf_counter()
        python, resident = (
            float(
                subprocess.run(
                    [sys.executable, "-m", "bench.idle_connections", contestant, str(count), each],
                    check=True,
                    stdout=subprocess.PIPE,
                ).stdout
            )
            / 1024
            for each in ("python", "resident")
        )
        took = time.perf_counter() - begun
        print(f"| {contestant} | {python:.2f} | {resident:.2f} | {took:.1f} |", flush=True)
        if contestant.startswith("npipe"):
            worst = max(worst, python)
    print(f"\nGoal: at most {LIMIT} KiB of Python memory. The most is {worst:.2f}.")
    return worst > LIMIT


if __name__ == "__main__":
    if len(sys.argv) == 4:
        child(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    else:
        sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
