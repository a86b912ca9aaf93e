"""What 500 well-behaved clients notice of hostile ones: the 99th percentile of their latency.

Each well-behaved client makes a call every 100 ms, and its replies are checked. In each round the
clients are measured alone ("quiet"), beside each attack of ``bench.attacks`` on their server, and
beside the same attack on another server of the same kind ("elsewhere"), which shows what
the attack costs only because all processes share the cores.
"""

from __future__ import annotations

import contextlib
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterator

from .attacks import ATTACKS
from .harness import Row, Table
from .load import Load, calls
from .servers import ROOT, Absent, serve

CLIENTS = 500
PAUSE = 0.1  # seconds between two calls of a client
SECONDS = 3.0  # of one sample
FEW = CLIENTS + 100  # the limit of descriptors of the server whose descriptors are exhausted
SERVERS = ("npipe-threads", "npipe-compiled", "npipe-asyncio")
KINDS = [calls("echo_inline"), calls("echo_plain")]
ELSEWHERE = "{}, elsewhere"


def tables(rounds: int) -> Iterator[Table]:
    names = os.environ.get("NPIPE_ATTACKS", "").split() or list(ATTACKS)
    for server in SERVERS:
        absent = {}
        rows = {"quiet": Row("quiet")}
        for name in names:
            rows[name], rows[ELSEWHERE.format(name)] = Row(name), Row(ELSEWHERE.format(name))
        try:
            for number in range(rounds + 1):
                for row, value in _round(server, names):
                    if number:
                        rows[row].values.append(value)
        except Absent as reason:
            absent, rows = {server: str(reason)}, {"quiet": Row("quiet", [0.0])}
        title = f"{CLIENTS} well-behaved clients of {server} beside hostile ones: 99th percentile"
        yield Table(title, "ms", "quiet", list(rows.values()), absent=absent)


def _round(server: str, names: list[str]) -> Iterator[tuple[str, float]]:
    quiet = []
    for name in names:
        with _limited(name), serve(server) as address, serve(server) as other:
            load = Load(address, CLIENTS, KINDS, pause=PAUSE)
            try:
                quiet.append(_p99(load))
                with _attack(name, other):
                    yield ELSEWHERE.format(name), _p99(load)
                with _attack(name, address):
                    yield name, _p99(load)
            finally:
                load.close()
    yield "quiet", statistics.median(quiet)


def _p99(load: Load) -> float:
    load.latencies.clear()
    load.run(SECONDS)
    return statistics.quantiles(load.latencies, n=100)[98]


@contextlib.contextmanager
def _limited(name: str) -> Iterator[None]:
    """Let the servers that are started meanwhile have as many descriptors as the attack needs."""
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW if name == "descriptors" else hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))


@contextlib.contextmanager
def _attack(name: str, address: str) -> Iterator[None]:
    command = [sys.executable, "-m", "bench.attacks", name, address]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout
        try:
            if process.stdout.readline() != b"begun\n":
                raise RuntimeError(f"the attack {name} has not begun")
            yield
        finally:
            process.kill()
