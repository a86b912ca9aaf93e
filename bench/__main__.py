"""``python -m bench [GROUP ...] [--rounds N] [--output FILE]``: run, print, write the tables."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from .harness import Table
from .servers import PEERS, Absent, find

REMARKS = Path(__file__).with_name("remarks.md")  # on the goals: goes between head and tables
GROUPS = ("transport", "rpc", "framing", "cost")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("group", nargs="*", choices=[*GROUPS, []], help="default: all")
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds (default: 5)")
    parser.add_argument("--output", type=Path, help="write Markdown here, and a plot beside it")
    options = parser.parse_args()
    sections: dict[str, list[Table]] = {}
    before = os.getloadavg()[0]
    for group in options.group or GROUPS:
        for table in importlib.import_module(f"bench.{group}").tables(options.rounds):
            sections.setdefault(group, []).append(table)
            print(table.markdown(), flush=True)
        if options.output:  # after each group: a run takes long, and may be cut off
            options.output.write_text(document(sections, before))
    if options.output:
        plot((t for tables in sections.values() for t in tables), options.output)


def document(sections: dict[str, list[Table]], load: float) -> str:
    """The tables as Markdown. ``load`` is that of the machine when the run began."""
    peers = "\n".join(f"| {name} | {version} |" for name, version in versions())
    now = os.getloadavg()[0]
    head = f"""# Benchmarks

Made by `python -m bench {" ".join(sys.argv[1:])}` on {time.strftime("%Y-%m-%d %H:%M")} UTC; `make
bench` installs the peers and does the same. Every contestant of a table ran in the same run, one
after the other in each round; the numbers are medians, the spread is (largest - smallest) / median.
Trust the ratios, not the absolute numbers, and no ratio more than its spread.

Machine: {processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}.
Load average {load:.1f} at the start and {now:.1f} at the end; the benchmarks alone make about 2.

| contestant | version |
|---|---|
{peers}

"""
    remarks = REMARKS.read_text() + "\n" if REMARKS.exists() else ""
    return (
        head
        + remarks
        + "\n".join(
            f"## {group}\n\n" + "\n".join(table.markdown() for table in tables)
            for group, tables in sections.items()
        )
    )


def processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def versions() -> Iterator[tuple[str, str]]:
    """What ran: the interpreter, the packages and the peers that are installed."""
    yield "Python", platform.python_version()
    for name in ("npipe", "msgspec", "uvloop", "web3"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            yield name, importlib.metadata.version(name)
    for name, option in (("anvil", "--version"), ("geth", "version"), ("node", "--version")):
        with contextlib.suppress(Absent, OSError):
            told = subprocess.run([find(name), option], capture_output=True, text=True, check=False)
            found = re.search(r"\d+\.\d+\.\d+\S*", told.stdout)
            yield name, found[0] if found else "?"
    for path in PEERS.glob("**/node_modules/jayson/package.json"):
        yield "jayson", json.loads(path.read_text())["version"]


def plot(tables: Iterable[Table], output: Path) -> None:
    """A bar for each contestant's ratio, one panel a table; needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    tables = list(tables)
    columns = 3
    rows = -(-len(tables) // columns)
    figure, panels = pyplot.subplots(
        rows, columns, figsize=(18, 3 * rows), layout="constrained", squeeze=False
    )
    for panel in panels.flat[len(tables) :]:
        panel.set_axis_off()
    for panel, table in zip(panels.flat, tables, strict=False):
        names = [row.name for row in table.rows]
        panel.barh(names, [table.ratio(row) for row in table.rows])
        panel.axvline(1, color="grey", linewidth=0.8)
        panel.invert_yaxis()
        panel.set_title(f"{table.title}\nratio to {table.reference}; {table.unit}", fontsize=8)
        panel.tick_params(labelsize=7)
    figure.savefig(output.with_suffix(".png"), dpi=80)


if __name__ == "__main__":
    main()
