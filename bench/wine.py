"""npipe on Windows pipes, under Wine, against the other ways to use them there.

Each contestant is two Windows programs of the same kind, as a user would have it: one serves, the
other drives it and measures, on orders from here. All of Wine runs on one core: a round trip then
costs what its calls cost. On two, it mostly costs how the system happens to place the processes,
differently in each run. What this shows is which of them needs the fewest and cheapest calls, not
how fast any of them is on Windows.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator

from .harness import Table, measure, one_core
from .servers import PEERS, ROOT, Absent

sys.path.append(str(ROOT / "tools"))
import wine  # tools/wine.py

PYTHON = wine.VERSIONS[-1]
#: What the tables call each, and how to run it: a kind of bench/wine_peer.py, or a Go package.
PYTHONS = {
    "npipe": "npipe",
    "multiprocessing.connection": "multiprocessing",
    "asyncio streams (Proactor)": "asyncio",
    "pywin32, overlapped": "pywin32",
}
GO = {"Go: natefinch/npipe": "natefinch", "Go: Microsoft/go-winio": "winio"}

ORDERS = [
    ("Ping-pong of 64 bytes", "ping 64 1000", "us a round trip (less is better)"),
    ("Ping-pong of 65536 bytes", "ping 65536 300", "us a round trip (less is better)"),
    ("One-way stream of 64 KiB chunks", "stream 400", "MB/s (more is better)"),
    ("Connect and close", "connect 100", "connections/s (more is better)"),
]
GOAL = "ahead of each Python peer and of natefinch/npipe"


class Driver:
    """A contestant: its server and its client, running for as long as the block lasts."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.command, self.environment = command, environment
        self.address = rf"\\.\pipe\npipe-bench-{uuid.uuid4()}"

    def __enter__(self) -> Driver:
        self.server = self._start("serve")
        self.client = self._start("drive")
        if self._line(self.server) != "ready":
            raise Absent(f"{' '.join(self.command)} serves no pipe")
        return self

    def __exit__(self, *_: object) -> None:
        for process in (self.client, self.server):
            process.kill()
            process.wait()
            assert process.stdin and process.stdout
            process.stdin.close()
            process.stdout.close()

    def order(self, text: str) -> float:
        assert self.client.stdin
        self.client.stdin.write(text + "\n")
        self.client.stdin.flush()
        answer = self._line(self.client)
        if not answer:
            raise RuntimeError(f"{' '.join(self.command)} gave no answer to {text!r}")
        return float(answer)

    def _start(self, role: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.command, role, self.address],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    @staticmethod
    def _line(process: subprocess.Popen[str]) -> str:
        """Return what it prints next; nothing if it died. A minute's silence ends it."""
        assert process.stdout
        patience = threading.Timer(60, process.kill)
        patience.start()
        try:
            return process.stdout.readline().strip()
        finally:
            patience.cancel()


def tables(rounds: int) -> Iterator[Table]:
    if not shutil.which("wine"):
        raise Absent("wine is not installed; see CONTRIBUTING.md")
    windows = wine.Wine(wine.HOME)
    packages = windows.setup_bench(PYTHON)
    environment = windows.env | {
        "PYTHONPATH": ";".join(map(wine.windows_path, (ROOT / "src", ROOT))),
        "NPIPE_BENCH_SITE": wine.windows_path(packages),
    }
    python = ["wine", str(windows.python(PYTHON)), "-m", "bench.wine_peer"]
    commands = {name: [*python, kind] for name, kind in PYTHONS.items()}
    absent = {}
    pipebench = PEERS / "windows" / "pipebench.exe"
    for name, kind in GO.items():
        if pipebench.exists():
            commands[name] = ["wine", str(pipebench), kind]
        else:
            absent[name] = "it is built by tools/install_peers.py, which needs go"
    with one_core(), contextlib.ExitStack() as stack:
        windows.start()
        drivers = {}
        for name, command in commands.items():
            try:
                drivers[name] = stack.enter_context(Driver(command, environment))
            except Absent as reason:
                absent[name] = str(reason)
        for title, order, unit in ORDERS:
            yield measure(
                f"{title}, under Wine",
                unit,
                [(name, lambda d=each, o=order: d.order(o)) for name, each in drivers.items()],
                reference="npipe",
                rounds=rounds,
                goal="" if order.startswith("connect") else GOAL,
                absent=absent,
            )
