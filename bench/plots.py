"""The pictures of the documentation, one for each question: ``python -m bench.plots [JSON]``.

They are drawn from the JSON of a report, without measuring. A bar is a ratio of speeds in one run:
the median of the rounds' own ratios, as in the tables. Needs matplotlib.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .harness import Table

DEFAULT = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.json"
OURS = ("#1b6ca8", "#6db3e8")
OTHERS = ("#b5651d", "#8a8a8a", "#c9c9c9")


@dataclass
class Picture:
    """A question, its loads (label and table), and its contestants (label and row)."""

    name: str
    question: str
    reference: str
    loads: dict[str, str]
    contestants: dict[str, tuple[str, ...]]  # the first of these rows that the table has


PICTURES = (
    Picture(
        "servers",
        "Calls per second that a server answers, relative to geth",
        "geth",
        {
            "one call after the other": "eth_chainId: sequential calls, 1 connection",
            "64 calls in flight": "eth_chainId: 64 in flight, 1 connection",
            "batches of 100": "eth_chainId: batches of 100, 1 connection",
            "32 connections": "eth_chainId: 32 connections",
        },
        {
            "npipe, threads": ("npipe-threads",),
            "npipe, asyncio": ("npipe-asyncio",),
            "anvil (Rust)": ("anvil",),
            "geth (Go)": ("geth",),
        },
    ),
    Picture(
        "clients",
        "Calls per second that a client makes of one server, relative to web3.py",
        "web3.py",
        {
            "one call after the other": "Clients on the same server: one call after the other",
            "100 calls in flight, asyncio": "Clients on the same server: 100 calls in flight",
            "batches of 100": "Clients on the same server: batches of 100",
        },
        {
            "npipe": ("npipe", "npipe.rpc.aio"),
            "web3.py": ("web3.py eth.block_number", "web3.py async", "web3.py"),
        },
    ),
    Picture(
        "transport",
        "Speed of a connection, relative to blocking sockets",
        "socket",
        {
            "ping-pong of 64 bytes": "Ping-pong of 64 bytes, threads",
            "ping-pong of 64 KiB": "Ping-pong of 65536 bytes, threads",
            "stream of 64 KiB chunks": "One-way stream of 64 KiB chunks",
        },
        {
            "npipe": ("npipe",),
            "multiprocessing.connection": ("multiprocessing.connection",),
            "asyncio streams": ("asyncio streams",),
            "blocking sockets": ("socket, blocking",),
        },
    ),
)


def speeds(picture: Picture, tables: dict[str, Table]) -> Iterator[tuple[str, list[float]]]:
    """Yield each contestant with its speed in each load; NaN where it was not measured."""
    for label, names in picture.contestants.items():
        values = []
        for title in picture.loads.values():
            table = tables.get(title)
            rows = {row.name: row for row in table.rows} if table else {}
            row = next((rows[name] for name in names if name in rows), None)
            base = next((r for r in rows.values() if r.name.startswith(picture.reference)), None)
            if table is None or row is None or base is None:
                values.append(float("nan"))
                continue
            ratio = table.ratio(row) / table.ratio(base)
            values.append(1 / ratio if "less is better" in table.unit else ratio)
        yield label, values


def draw(picture: Picture, tables: dict[str, Table], path: Path) -> None:
    """Write one picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    contestants = list(speeds(picture, tables))
    loads, count = list(picture.loads), len(contestants)
    height = 0.8 / count
    figure, axes = pyplot.subplots(
        figsize=(8, 1.0 + 0.25 * count * len(loads)), layout="constrained"
    )
    colours = _colours(label for label, _ in contestants)
    for at, (label, values) in enumerate(contestants):
        places = [load + (at - (count - 1) / 2) * height for load in range(len(loads))]
        bars = axes.barh(places, values, 0.92 * height, color=next(colours), label=label)
        texts = ["" if math.isnan(value) else f"{value:.2g}" for value in values]
        axes.bar_label(bars, texts, padding=3, fontsize=8, color="#444444")
    axes.set_yticks(range(len(loads)), loads)
    axes.invert_yaxis()
    axes.set_title(picture.question, fontsize=11, loc="left")
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.tick_params(axis="x", bottom=False, labelbottom=False)
    axes.tick_params(axis="y", left=False)
    axes.margins(x=0.08)
    figure.legend(fontsize=9, frameon=False, loc="outside lower center", ncols=count)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _colours(labels: Iterator[str]) -> Iterator[str]:
    ours, others = iter(OURS), iter(OTHERS)
    return iter([next(ours) if label.startswith("npipe") else next(others) for label in labels])


def draw_all(tables: list[Table], document: Path) -> None:
    """Write the pictures beside ``document``, as DOCUMENT-NAME.png."""
    by_title = {table.title: table for table in tables}
    for picture in PICTURES:
        draw(picture, by_title, document.with_name(f"{document.stem}-{picture.name}.png"))


def main(arguments: list[str]) -> Any:
    """Draw the pictures of a report that was measured before."""
    from .report import load

    path = Path(arguments[0]) if arguments else DEFAULT
    draw_all([table for section in load(path).values() for table in section.tables], path)


if __name__ == "__main__":
    main(sys.argv[1:])
