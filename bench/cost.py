"""The fixed costs of npipe: start-up time, memory, and idle connections."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from .harness import Table, measure
from .servers import COMPILED_PYTHON, Absent, serve


def _start(*arguments: str, python: str = sys.executable) -> float:
    """Milliseconds from start to end of a process."""
    # With this variable each process would compile the sources: twice the time.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    subprocess.run([python, *arguments], check=True, stdout=subprocess.DEVNULL, env=environment)
    return (time.perf_counter() - start) * 1000


def _memory(pid: int) -> int:
    """Bytes of resident memory, from Linux's /proc."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * resource.getpagesize()


def _cpu(pid: int) -> float:
    """Seconds of processor time used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def _children() -> set[int]:
    me = Path("/proc/self/task")
    return {int(pid) for task in me.iterdir() for pid in (task / "children").read_text().split()}


def _idle(kind: str, count: int) -> tuple[float, float]:
    """KiB of memory for each of so many idle connections, and CPU seconds used in 3 s of idling."""
    before_start = _children()
    with serve(kind) as address, contextlib.ExitStack() as stack:
        (pid,) = _children() - before_start
        before = _memory(pid)
        for _ in range(count):
            sock = stack.enter_context(socket.socket(socket.AF_UNIX))
            while True:
                try:
                    sock.connect(address)
                    break
                except BlockingIOError:
                    time.sleep(0.01)
        sock.sendall(b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}\n')
        assert sock.recv(4096)
        memory = (_memory(pid) - before) / count / 1024
        time.sleep(1)  # for what the last clients began to come to its end
        used = _cpu(pid)
        time.sleep(3)
        return memory, _cpu(pid) - used


def tables(rounds: int) -> Iterator[Table]:
    yield measure(
        "Start-up of an import",
        "ms a process (less is better)",
        [
            ("python -c pass", lambda: _start("-c", "pass")),
            ("import npipe", lambda: _start("-c", "import npipe")),
            ("import npipe.rpc", lambda: _start("-c", "import npipe.rpc")),
            ("import msgspec", lambda: _start("-c", "import msgspec")),
            ("import asyncio", lambda: _start("-c", "import asyncio")),
            *(
                (
                    f"{statement}, compiled",
                    lambda s=statement: _start("-c", s, python=str(COMPILED_PYTHON)),
                )
                for statement in ("import npipe", "import npipe.rpc")
                if COMPILED_PYTHON.exists()
            ),
        ],
        reference="python -c pass",
        rounds=max(rounds, 9),
        goal="over python -c pass: import npipe 15 ms, import npipe.rpc 80 ms, compiled 60 ms",
    )
    with contextlib.suppress(Absent), serve("npipe-asyncio") as address:
        yield measure(
            "Start-up of the command line",
            "ms a process (less is better)",
            [
                ("python -c pass", lambda: _start("-c", "pass")),
                (
                    "npipe call",
                    lambda: _start("-m", "npipe.cli", "call", address, "eth_chainId"),
                ),
                ("npipe --version", lambda: _start("-m", "npipe.cli", "--version")),
                ("npipe --help", lambda: _start("-m", "npipe.cli", "--help")),
            ],
            reference="python -c pass",
            rounds=max(rounds, 9),
        )
    for count in (1000, 10000):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < count + 100:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 1000), hard))
        results = {kind: _idle(kind, count) for kind in ("npipe-asyncio", "npipe-threads")}
        yield measure(
            f"Memory of an idle connection, {count} of them",
            "KiB of the server's resident memory (less is better)",
            [(kind, lambda v=memory: v) for kind, (memory, _) in results.items()],
            reference="npipe-asyncio",
            rounds=1,
        )
        yield measure(
            f"Processor time of {count} idle connections",
            "ms in 3 s (must be 0)",
            [(kind, lambda v=cpu: v * 1000 + 1e-9) for kind, (_, cpu) in results.items()],
            reference="npipe-asyncio",
            rounds=1,
        )
