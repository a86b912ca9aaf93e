"""1,000 busy connections for a long time: each reply is checked, and what the server holds.

One round is one minute, so ``--rounds 10`` runs ten minutes for each server. The connections make
single calls of all kinds of functions, several calls in one write, batches, and large messages;
after each minute, one in ten is closed and opened again. A reply that is lost, repeated or
that belongs to another request ends the run with an error.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Iterator

from .harness import Row, Table
from .load import Load, batch, calls, usage
from .servers import Absent, serve

CONNECTIONS = 1000
SECONDS = 60.0  # of one round
SERVERS = ("npipe-threads", "npipe-compiled", "npipe-asyncio")
KINDS = [
    *(calls(f"echo_{name}") for name in ("inline", "inline", "inline", "plain", "coroutine")),
    *(calls("echo_inline", 8), calls("echo_plain", 8), batch("echo_inline", 10)),
    *(calls("echo_slow"), batch("echo_coroutine", 10), calls("echo_inline", size=100_000)),
]
TITLES = {
    "rate": ("calls", "calls/s"),
    "p99": ("latency, 99th percentile", "ms"),
    "memory": ("resident memory", "MiB, at the end of each minute"),
    "descriptors": ("open descriptors", "descriptors"),
    "threads": ("threads", "threads"),
}


def tables(rounds: int) -> Iterator[Table]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # for the servers, too
    samples: dict[str, list[dict[str, float]]] = {}
    absent, answered, growth = {}, 0, []
    for name in SERVERS:
        try:
            with serve(name) as address:
                samples[name], number = soak(address, rounds)
        except Absent as reason:
            absent[name] = str(reason)
        else:
            answered += number
            slope = _slope([sample["memory"] for sample in samples[name]])
            growth.append(f"{name} {slope:+.2f}")
    for field, (what, unit) in TITLES.items():
        title = f"{CONNECTIONS:,} busy connections for {rounds} minutes: {what}"
        if field == "memory" and growth:
            title += f" (MiB a minute: {', '.join(growth)})"
        if field == "rate":
            title += f" ({answered:,} replies checked, none lost or crossed)"
        rows = [Row(name, [s[field] for s in each]) for name, each in samples.items()]
        yield Table(title, unit, SERVERS[0], rows, absent=absent)


def soak(address: str, rounds: int) -> tuple[list[dict[str, float]], int]:
    """Put the load on a server; return a sample for each minute, and the number of calls.

    The first minute, in which its memory grows, is not among the samples.
    """
    load = Load(address, CONNECTIONS, KINDS)
    samples = []
    try:
        for number in range(rounds + 1):
            begun, calls_before = time.perf_counter(), load.calls
            load.latencies.clear()
            load.run(SECONDS)
            rate = (load.calls - calls_before) / (time.perf_counter() - begun)
            p99 = statistics.quantiles(load.latencies, n=100)[98]
            sample = {"rate": rate, "p99": p99, **usage(load.server)}
            print(f"minute {number}: {sample}", file=sys.stderr, flush=True)
            if number:
                samples.append(sample)
            load.churn(0.1)
    finally:
        load.close()
    return samples, load.calls


def _slope(values: list[float]) -> float:
    """Return the growth from one value to the next, by least squares."""
    if len(values) < 2:
        return 0.0
    return statistics.linear_regression(range(len(values)), values).slope
