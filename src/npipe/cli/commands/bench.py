"""``npipe bench``: measures the calls of an endpoint. The loads are in ``npipe.cli.measure``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

import npipe
from npipe.cli.common import Failure, dump, failures
from npipe.cli.measure import LOADS, Connect, Result, run
from npipe.cli.params import parse_params
from npipe.cli.remote import Remote, remote_options
from npipe.rpc import connect as rpc_connect

__all__ = ["bench"]


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("address")
@click.argument("method", default="web3_clientVersion")
@click.argument("params", nargs=-1, type=click.UNPROCESSED, metavar="[PARAM]...")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=2.0,
    show_default=True,
    help="Duration of each load.",
)
@click.option(
    "--connections",
    type=click.IntRange(1, 1000),
    default=32,
    show_default=True,
    help="Number of connections of the last load.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one line of JSON.")
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    help='Write a plot of the latencies to this file (extra "plot").',
)
@remote_options
def bench(
    *,
    address: str,
    method: str,
    params: tuple[str, ...],
    seconds: float,
    connections: int,
    as_json: bool,
    plot: Path | None,
    remote: Remote,
) -> None:
    """Measure the speed of calls of METHOD at ADDRESS.

    There are four loads: one call after the other, 64 calls in flight, batches of 100, and many
    connections. METHOD is called as often as possible, so it should change nothing.

    \b
    Examples:
      npipe bench npipe
      npipe bench ./node.ipc eth_getBalance 0x0000000000000000000000000000000000000000 latest
      npipe bench --user me '\\\\host\\pipe\\app' app_status
    """
    if plot is not None:
        _require_matplotlib()
    try:
        arguments = parse_params(params)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    with failures(address):
        options = remote.options(address)  # once: they may ask for the password
        # Check the call once: otherwise the table would measure error replies.
        with rpc_connect(address, **options) as client:
            client.call(method, *arguments, timeout=60)

        def connect() -> npipe.Connection:
            return npipe.connect(address, connect_timeout=30, **options)

        results = _measure(connect, _request(method, arguments), seconds, connections, as_json)
    if plot is not None:
        _draw(results, plot)
    click.echo(_as_json(results) if as_json else _table(results))


def _request(method: str, arguments: list[Any]) -> bytes:
    call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": arguments}
    return msgspec.json.encode(call) + b"\n"


def _measure(
    connect: Connect, request: bytes, seconds: float, connections: int, quiet: bool
) -> list[Result]:
    work = [(load, 1) for load in LOADS] + [(LOADS[0], connections)]
    bar = click.progressbar(
        work,
        label="measuring",
        item_show_func=lambda item: _title(*item) if item else "",
        file=sys.stderr,
        hidden=quiet or not sys.stderr.isatty(),
    )
    with bar:
        return [run(load, connect, request, seconds, count) for load, count in bar]


def _title(load: Any, connections: int) -> str:
    return f"{load.title}, {connections} connection{'s' if connections > 1 else ''}"


def _table(results: Sequence[Result]) -> str:
    titles = {load.name: load for load in LOADS}
    head = f"{'':38}{'calls/s':>10}{'p50':>10}{'p90':>10}{'p99':>10}{'p99.9':>10}  (microseconds)"
    rows = [
        f"{_title(titles[r.load], r.connections):38}{r.calls_per_second:10,.0f}"
        f"{r.p50:10,.0f}{r.p90:10,.0f}{r.p99:10,.0f}{r.p99_9:10,.0f}"
        for r in results
    ]
    return "\n".join([head, *rows, "", *_histogram(results[0])])


def _histogram(result: Result) -> list[str]:
    """Draw the latencies of one call after the other, in powers of two."""
    buckets: dict[int, int] = {}
    for micros in result.latencies:
        size = max(0, int(micros)).bit_length()
        buckets[size] = buckets.get(size, 0) + 1
    most = max(buckets.values())
    return ["latency of one call, one connection:"] + [
        f"  under {1 << size:>9,} us {count:>9,}  {'#' * round(40 * count / most)}"
        for size, count in sorted(buckets.items())
    ]


def _as_json(results: Sequence[Result]) -> str:
    rows = [msgspec.to_builtins(result) for result in results]
    for row in rows:
        del row["latencies"]
    return dump(rows, pretty=False)


def _require_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise Failure('--plot needs matplotlib: pip install "npipe[plot]"') from None


def _draw(results: Sequence[Result], path: Path) -> None:
    """Draw the number of replies over the latency, one line per load."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    titles = {load.name: load for load in LOADS}
    figure, axes = pyplot.subplots(figsize=(9, 5), layout="constrained")
    for result in results:
        count = len(result.latencies)
        shares = [100 * (at + 1) / count for at in range(count)]
        axes.plot(result.latencies, shares, label=_title(titles[result.load], result.connections))
    axes.set_xscale("log")
    axes.set(xlabel="microseconds", ylabel="Calls answered (%)", title="Latency")
    axes.legend()
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise Failure(f"cannot write {path}: {error}") from None
