"""The report of the benchmarks: the JSON of all sections, and its Markdown and pictures.

A run measures some of the sections; the others stay as an earlier run left them. So each section
has its own time and load average.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .harness import Goal, Row, Table
from .plots import draw_all
from .servers import PEERS, ROOT, Absent, find

REMARKS = Path(__file__).with_name(
    "remarks.md"
)  # on the goals: stands between the head and the tables


@dataclass
class Section:
    """The tables of one group, or the reason why there are none."""

    command: str
    made: str = field(default_factory=lambda: time.strftime("%Y-%m-%d %H:%M", time.gmtime()))
    load: list[float] = field(default_factory=lambda: [os.getloadavg()[0]])
    tables: list[Table] = field(default_factory=list)
    left_out: str = ""

    def markdown(self, name: str) -> str:
        load = " to ".join(f"{each:.1f}" for each in self.load)
        text = f"## {name}\n\n`{self.command}`, {self.made} UTC, load average {load}.\n\n"
        if self.left_out:
            text += f"Left out: {self.left_out}.\n"
        return text + "\n".join(table.markdown() for table in self.tables)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Section:
        tables = [
            Table(
                **{
                    **table,
                    "rows": [Row(**row) for row in table["rows"]],
                    "goals": [Goal(**goal) for goal in table["goals"]],
                }
            )
            for table in data.pop("tables")
        ]
        return cls(**data, tables=tables)


def load(path: Path) -> dict[str, Section]:
    """Return the sections of a report's JSON by name; none if there is no such file."""
    if not path.exists():
        return {}
    stored = json.loads(path.read_text())
    return {name: Section.from_json(data) for name, data in stored.items()}


class Report:
    """All sections by name, in ``output`` (Markdown), its ``.json``, and the pictures beside it."""

    def __init__(self, output: Path, order: tuple[str, ...]) -> None:
        self._output = output
        self._order = order
        self._sections = load(output.with_suffix(".json"))

    def put(self, name: str, section: Section) -> None:
        """Take a section in, and write all files."""
        self._sections[name] = section
        self._sections = {n: self._sections[n] for n in self._order if n in self._sections}
        stored = {name: asdict(each) for name, each in self._sections.items()}
        self._output.with_suffix(".json").write_text(_compact(stored))
        self._output.write_text(self._document())
        draw_all([t for s in self._sections.values() for t in s.tables], self._output)

    def _document(self) -> str:
        peers = "\n".join(f"| {name} | {version} |" for name, version in versions())
        head = f"""# Benchmarks

`make bench` installs the peers, runs every benchmark and writes this file. `make bench ARGS=rpc`
runs one section again and leaves the others unchanged; `--quick` makes three rounds only. All
contestants of a table ran in the same run, one after the other in each round. The numbers are
medians over the rounds. The spread is the interquartile range in percent of the median. A ratio
is the median of the ratios of the rounds. Compare ratios, not absolute numbers, and ignore
differences that are smaller than the spread.

`npipe-threads`, `npipe-asyncio` and `npipe-uvloop` are servers of npipe with threads, with
asyncio, and with asyncio on uvloop; `npipe-compiled` is the first of them in the compiled build,
and `npipe-workers` are two processes that serve one socket. `python-bare` is a loop of `recv` and
`sendall` that sends a prepared reply, without JSON-RPC and without polling. anvil, geth and jayson
are servers in Rust, Go and JavaScript. "64 in flight" means that the client keeps 64 calls
without a reply. A goal such as "2 x anvil" is the required ratio to the speed of that contestant,
and is met if at least one server or client of npipe reaches it. `us` is microseconds.

Machine: {processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}. The
load average without other programs is about 2.

![Calls per second that a server answers](benchmarks-servers.png)

![Calls per second that a client makes](benchmarks-clients.png)

![Speed of a connection](benchmarks-transport.png)

| contestant | version |
|---|---|
{peers}

"""
        remarks = REMARKS.read_text() + "\n" if REMARKS.exists() else ""
        sections = "\n".join(each.markdown(name) for name, each in self._sections.items())
        return head + self._goals() + remarks + sections

    def _goals(self) -> str:
        lines = [v for s in self._sections.values() for t in s.tables for v in t.verdicts()]
        if not lines:
            return ""
        top = "## Goals against others\n\n| what | goal | reached | |\n|---|---|---|---|\n"
        return top + "\n".join(lines) + "\n\n"


def _compact(stored: dict[str, Any]) -> str:
    """JSON with a line for each contestant, so that a difference can be read."""
    text = json.dumps(stored, indent=1, default=str)
    text = re.sub(r"(-?\d+\.\d{4})\d+(e-?\d+)?", r"\1\2", text)
    return re.sub(r"\[\s+([-\d.e,\s]+?)\s+\]", lambda m: f"[{' '.join(m[1].split())}]", text) + "\n"


def processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def versions() -> Iterator[tuple[str, str]]:
    """What ran: the interpreter, the packages and the peers that are installed."""
    yield "Python", platform.python_version()
    for name in ("npipe", "msgspec", "uvloop", "web3", "eth-tester"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            yield name, importlib.metadata.version(name)
    programs = {"anvil": "--version", "geth": "version", "node": "--version", "wine": "--version"}
    for name, option in programs.items():
        with contextlib.suppress(Absent, OSError):
            told = subprocess.run([find(name), option], capture_output=True, text=True, check=False)
            found = re.search(r"\d+\.\d+\S*", told.stdout)
            yield name, found[0] if found else "?"
    for path in PEERS.glob("**/node_modules/jayson/package.json"):
        yield "jayson", json.loads(path.read_text())["version"]
    pins = (ROOT / "tests" / "peers" / "go" / "go.mod").read_text()
    yield from re.findall(r"^\s(\S*(?:go-winio|npipe\.v2)) (\S+)", pins, re.MULTILINE)
