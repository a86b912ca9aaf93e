"""1,000 connections with a mixed load: rate, latency, memory, descriptors and threads.

Each connection has one request at a time unanswered: a call of one of three methods, or a batch of
ten. All of them are driven by one thread, so that the client costs the same for every server.
"""

from __future__ import annotations

import os
import random
import resource
import selectors
import socket
import statistics
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import rawclient
from .harness import Goal, Row, Table
from .rpc import BARE, servers
from .servers import ASYNCIO_COMPILED, COMPILED

CONNECTIONS = 1000
SECONDS = 5.0  # one sample
CONTESTANTS = (
    *("npipe-threads", COMPILED, "npipe-asyncio", ASYNCIO_COMPILED, "geth", "anvil", BARE),
)
METHODS = ("eth_chainId", "eth_blockNumber", "web3_clientVersion")
BATCH = 10


@dataclass
class Sample:
    """The results of one server in one round."""

    rate: float  # calls a second
    p50: float  # milliseconds
    p99: float
    memory: float  # MiB, the most since its start
    descriptors: float
    threads: float


TITLES = {
    "rate": ("calls", "calls/s"),
    "p50": ("latency, median", "ms"),
    "p99": ("latency, 99th percentile", "ms"),
    "memory": ("resident memory at its peak", "MiB"),
    "descriptors": ("open descriptors", "descriptors"),
    "threads": ("threads", "threads"),
}


def tables(rounds: int) -> Iterator[Table]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # for the servers, too
    with servers(CONTESTANTS) as (addresses, absent):
        samples: dict[str, list[Sample]] = {name: [] for name in addresses}
        for number in range(rounds + 1):
            names = list(addresses)
            random.Random(number).shuffle(names)
            for name in names:
                sample = load(addresses[name])
                if number:
                    samples[name].append(sample)
    for field, (what, unit) in TITLES.items():
        rows = [Row(name, [getattr(s, field) for s in each]) for name, each in samples.items()]
        goals = [Goal("geth", 1.0)] if field == "rate" else []
        title = f"{CONNECTIONS:,} connections, mixed load: {what}"
        yield Table(title, unit, "geth", rows, absent=absent, goals=goals)


def load(address: str) -> Sample:
    """Put the load on a server for SECONDS; return what it did."""
    single = [rawclient.request(method) for method in METHODS]
    items = b",".join(rawclient.request(METHODS[0], n).strip() for n in range(BATCH))
    kinds = [(data, 1) for data in single * 3] + [(b"[" + items + b"]\n", BATCH)]
    choose = random.Random(1).choice
    socks = [_dial(address) for _ in range(CONNECTIONS)]
    begun: dict[socket.socket, tuple[float, int]] = {}
    latencies, calls = [], 0

    def ask(sock: socket.socket, now: float) -> None:
        data, count = choose(kinds)
        sock.sendall(data)
        begun[sock] = now, count

    try:
        with selectors.DefaultSelector() as selector:
            end = time.perf_counter() + SECONDS
            for sock in socks:
                selector.register(sock, selectors.EVENT_READ)
                ask(sock, time.perf_counter())
            while (now := time.perf_counter()) < end:
                for key, _ in selector.select(1):
                    sock = key.fileobj  # type: ignore[assignment]
                    data = sock.recv(65536)
                    if not data:
                        raise ConnectionError("the server cut a client")
                    if data.endswith(b"\n"):
                        now = time.perf_counter()
                        since, count = begun[sock]
                        latencies.append((now - since) * 1000)
                        calls += count
                        ask(sock, now)
        memory, descriptors, threads = _usage(socks[0])
    finally:
        for sock in socks:
            sock.close()
    percentiles = statistics.quantiles(latencies, n=100)
    return Sample(calls / SECONDS, percentiles[49], percentiles[98], memory, descriptors, threads)


def _dial(address: str) -> socket.socket:
    """Connect; wait while the queue of clients is full."""
    for _ in range(1000):
        try:
            return rawclient.dial(address)
        except (BlockingIOError, ConnectionRefusedError):
            time.sleep(0.01)
    raise TimeoutError(f"{address} accepts nothing")


def _usage(sock: socket.socket) -> tuple[float, float, float]:
    """Return memory in MiB, descriptors and threads of the process that serves. Linux only."""
    size = struct.calcsize("iII")
    pid, _, _ = struct.unpack("iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    status = Path(f"/proc/{pid}/status").read_text()
    peak = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    descriptors, threads = (len(os.listdir(f"/proc/{pid}/{name}")) for name in ("fd", "task"))
    return int(peak) / 1024, descriptors, threads
