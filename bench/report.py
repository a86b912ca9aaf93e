"""What was measured, kept and shown: the JSON of all sections, and the Markdown and plot of it.

A run measures some sections; the others stay as an earlier run left them. So each section says
when and how loaded it was made.
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
from .servers import PEERS, ROOT, Absent, find

REMARKS = Path(__file__).with_name("remarks.md")  # on the goals: goes between head and tables


@dataclass
class Section:
    """The tables of one group, or why there are none."""

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


class Report:
    """All sections, by name, in the files ``output`` (Markdown), ``.json`` and ``.png``."""

    def __init__(self, output: Path, order: tuple[str, ...]) -> None:
        self._output = output
        self._order = order
        self._sections: dict[str, Section] = {}
        kept = output.with_suffix(".json")
        if kept.exists():
            stored = json.loads(kept.read_text())
            self._sections = {name: Section.from_json(data) for name, data in stored.items()}

    def put(self, name: str, section: Section) -> None:
        """Take a section in, and write all files."""
        self._sections[name] = section
        self._sections = {n: self._sections[n] for n in self._order if n in self._sections}
        stored = {name: asdict(each) for name, each in self._sections.items()}
        self._output.with_suffix(".json").write_text(_compact(stored))
        self._output.write_text(self._document())
        plot([t for s in self._sections.values() for t in s.tables], self._output)

    def _document(self) -> str:
        peers = "\n".join(f"| {name} | {version} |" for name, version in versions())
        head = f"""# Benchmarks

`make bench` installs the peers, measures everything and writes this file; `make bench ARGS=rpc`
measures one section again and leaves the others as they are; `--quick` takes three rounds. Every
contestant of a table ran in the same run, one after the other in each round. The numbers are
medians, the spread is that of the middle half of the rounds, a ratio is the median of the rounds'
own ratios. Trust the ratios, not the absolute numbers, and no ratio more than its spread.

Machine: {processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}. The
benchmarks alone make a load average of about 2.

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


def plot(tables: list[Table], output: Path) -> None:
    """A bar for each contestant's ratio, one panel a table; needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = 3
    rows = max(1, -(-len(tables) // columns))
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
    pyplot.close(figure)
